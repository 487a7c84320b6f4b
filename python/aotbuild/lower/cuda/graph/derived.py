"""Splits a graph in two: what depends on weights alone, computed once for each set of weights, and the rest."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from aotbuild.lower.common.graph import PreparedGraph

aten = torch.ops.aten

# Calls that only look at their operand's memory in another way: kernels read through them at no cost.
VIEWS = {
    aten.alias.default,
    aten.as_strided.default,
    aten.detach.default,
    aten.expand.default,
    aten.permute.default,
    aten.reshape.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.t.default,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
}

# A result that is this much larger than what it is made from (a mask, say) is made in each call.
_MAX_GROWTH = 4
_SMALL = 1 << 20


@dataclasses.dataclass
class SplitGraph:
    """``main`` reads the outputs of ``derived`` as further weights: their indices follow those of the weights.

    ``derived`` is None where nothing depends on weights alone. ``unread``: indices of weights that only it reads.
    """

    main: PreparedGraph
    derived: PreparedGraph | None
    unread: tuple[int, ...]


def constant_weights(prepared: PreparedGraph) -> set[Node]:
    """The placeholders of weights that the model does not write to."""
    index = prepared.weight_index
    return {
        node
        for node in prepared.module.graph.nodes
        if node.op == "placeholder" and node.name in index and not prepared.weights[index[node.name]].mutated
    }


def split(prepared: PreparedGraph) -> SplitGraph:
    """Takes what depends on weights alone out of ``prepared``'s graph."""
    gm = prepared.module
    gm.graph.eliminate_dead_code()
    moved = _moved(gm, constant_weights(prepared))
    outputs = _results(gm, moved)
    if not outputs:
        return SplitGraph(prepared, None, ())
    derived = _derived(prepared, moved, outputs)
    first = next(iter(gm.graph.nodes))
    index = dict(prepared.weight_index)
    for position, result in enumerate(outputs):
        with gm.graph.inserting_before(first):
            placeholder = gm.graph.placeholder(f"derived_{position}")
        placeholder.target = placeholder.name  # generated code calls a placeholder by its target
        placeholder.meta = {"val": result.meta["val"]}
        index[placeholder.name] = len(prepared.weights) + position
        result.replace_all_uses_with(placeholder)
    gm.graph.eliminate_dead_code()
    gm.recompile()
    placeholders = [node for node in gm.graph.nodes if node.op == "placeholder"]
    read = {index[node.name] for node in placeholders if node.name in index and node.users}
    main = dataclasses.replace(prepared, fake_inputs=[node.meta["val"] for node in placeholders], weight_index=index)
    return SplitGraph(main, derived, tuple(sorted(set(derived.weight_index.values()) - read)))


def _moved(gm: GraphModule, constants: set[Node]) -> dict[Node, int]:
    """Every node that depends on weights alone, in order, with the bytes of the weights that it depends on."""
    moved = {node: _nbytes(node) for node in gm.graph.nodes if node in constants}
    for node in gm.graph.nodes:
        if node.op != "call_function" or not node.all_input_nodes or not all(n in moved for n in node.all_input_nodes):
            continue
        if not isinstance(node.target, torch._ops.OpOverload) or node.is_impure():
            continue
        if torch.Tag.nondeterministic_seeded in node.target.tags or not isinstance(node.meta.get("val"), torch.Tensor):
            continue
        nbytes = sum(moved[operand] for operand in node.all_input_nodes)
        if node.target in VIEWS or _nbytes(node) <= max(_SMALL, _MAX_GROWTH * nbytes):
            moved[node] = nbytes
    return moved


def _results(gm: GraphModule, moved: Iterable[Node]) -> list[Node]:
    """What the rest of the graph reads; views are taken there."""
    inside = set(moved)
    results: dict[Node, None] = {}
    for node in gm.graph.nodes:
        if node in inside and any(user not in inside for user in node.users):
            base = node
            while base.target in VIEWS:
                base = base.all_input_nodes[0]
            if base.op != "placeholder":
                results[base] = None
    return list(results)


def _derived(prepared: PreparedGraph, moved: Iterable[Node], outputs: list[Node]) -> PreparedGraph:
    needed: set[Node] = set()
    pending = list(outputs)
    while pending:
        node = pending.pop()
        if node not in needed:
            needed.add(node)
            pending.extend(node.all_input_nodes)
    graph = Graph()
    copies: dict[Node, Node] = {}
    for node in moved:
        if node in needed:
            copies[node] = graph.node_copy(node, lambda operand: copies[operand])
            copies[node].name = node.name
    graph.output(tuple(copies[node] for node in outputs))
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    return PreparedGraph(
        GraphModule(torch.nn.Module(), graph),
        [node.meta["val"] for node in placeholders],
        prepared.weights,
        {node.name: prepared.weight_index[node.name] for node in placeholders},
        [],
    )


def describe_outputs(derived: PreparedGraph) -> tuple[str, ...]:
    """A text for each output that says what it is computed from, and how; its sizes, strides and type included."""
    texts: dict[Node, str] = {}
    for node in derived.module.graph.nodes:
        if node.op == "placeholder":
            weight = derived.weights[derived.weight_index[node.name]]
            # Constants are named by each lowering: it is their values that count.
            content = hashlib.sha256(weight.tensor.data.tobytes()).hexdigest()
            texts[node] = f"weight {weight.name if weight.required else content}"
        elif node.op == "call_function":
            arguments = torch.fx.node.map_arg((node.args, node.kwargs), lambda operand: _Text(texts[operand]))
            texts[node] = hashlib.sha256(f"{node.target} {arguments}".encode()).hexdigest()
    results: Any = derived.module.graph.output_node().args[0]
    values = [result.meta["val"] for result in results]
    return tuple(
        f"{texts[result]} {value.dtype} {tuple(value.shape)} {value.stride()}"
        for result, value in zip(results, values, strict=True)
    )


class _Text(str):
    """An operand in the printed arguments of a call."""

    def __repr__(self) -> str:
        return f"<{self}>"


def _nbytes(node: Node) -> int:
    value = node.meta["val"]
    return math.prod(int(size) for size in value.shape) * int(value.dtype.itemsize)
