"""What a model does with two products to make one of them, such as a gate's activation, in the products' own kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._inductor.virtualized import V
from torch.fx import Node

aten = torch.ops.aten
prims = torch.ops.prims

RESHAPES = (aten.view.default, aten.reshape.default)
HALF_TYPES = (torch.float16, torch.bfloat16)


def origin(node: Any) -> Any:
    """What a node is in another shape."""
    while node.target in RESHAPES:
        node = node.args[0]
    return node


@dataclass(frozen=True)
class _Step:
    """A pointwise call: ``operands`` are numbers, or places of earlier values; ``dtype`` is its result's."""

    target: Any
    operands: tuple[float | _Value, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class _Value:
    place: int


@dataclass(frozen=True)
class Gate:
    """The pointwise calls from two products, which are the values 0 and 1, to one result: the last value."""

    dtype: torch.dtype
    steps: tuple[_Step, ...]


# Gates by number, which is what calls of the graph have.
_gates: list[Gate] = []


def numbered(gate: Gate) -> int:
    """Of equal gates the same one, so that equal layers have one kernel."""
    if gate not in _gates:
        _gates.append(gate)
    return _gates.index(gate)


def of_number(number: int) -> Gate:
    return _gates[number]


def gate_of(first: Node, second: Node, calls: Sequence[Node]) -> Gate:
    places = {node: place for place, node in enumerate((first, second, *calls))}
    steps = []
    for node in calls:
        is_plain = node.target in (*_IDENTITIES, prims.convert_element_type.default)
        operands = node.args[:1] if is_plain else node.args
        values = (_Value(places[x]) if isinstance(x, Node) else float(x) for x in operands)  # type: ignore[arg-type]
        steps.append(_Step(node.target, tuple(values), node.meta["val"].dtype))
    return Gate(first.meta["val"].dtype, tuple(steps))


# By operators of the graph, those of TorchInductor's loops.
_POINTWISE: dict[Any, str] = {
    aten.add.Scalar: "add",
    aten.add.Tensor: "add",
    aten.sub.Tensor: "sub",
    aten.mul.Scalar: "mul",
    aten.mul.Tensor: "mul",
    aten.div.Tensor: "truediv",
    aten.neg.default: "neg",
    aten.exp.default: "exp",
    aten.erf.default: "erf",
    aten.tanh.default: "tanh",
    aten.sigmoid.default: "sigmoid",
    aten.relu.default: "relu",
    aten.pow.Tensor_Scalar: "pow",
}
_IDENTITIES = (*RESHAPES, aten.alias.default, aten.clone.default, aten.unsqueeze.default, aten.squeeze.dim)


def is_pointwise(node: Node) -> bool:
    if node.kwargs or node.meta["val"].dtype not in (*HALF_TYPES, torch.float32):
        return False
    if node.target is aten.pow.Tensor_Scalar:
        return node.args[1] in (2, 3)
    return node.target in _POINTWISE or node.target in _IDENTITIES or node.target is prims.convert_element_type.default


def operands(node: Node) -> set[Node]:
    """The tensors of a pointwise call; sizes of a reshape are none."""
    return {node.args[0]} if node.target in _IDENTITIES else set(node.all_input_nodes)  # type: ignore[arg-type]


def _evaluated(gate: Gate, first: Any, second: Any) -> Any:
    """The gate's result in a kernel that is being written, of values in float32; rounded wherever eager rounds."""
    ops: Any = V.ops

    def rounded(x: Any, dtype: torch.dtype) -> Any:
        if dtype == torch.float32:
            return x
        return ops.to_dtype(ops.to_dtype(x, dtype, use_compute_types=False), torch.float32)

    values = [rounded(first, gate.dtype), rounded(second, gate.dtype)]
    for step in gate.steps:
        given = [values[x.place] if isinstance(x, _Value) else ops.constant(x, torch.float32) for x in step.operands]
        name = _POINTWISE.get(step.target)
        if name is None:
            result = given[0]
        elif name == "pow":
            result = given[0]
            for _ in range(int(step.operands[1]) - 1):  # type: ignore[arg-type]
                result = ops.mul(result, given[0])
        elif name == "relu":
            result = ops.maximum(given[0], ops.constant(0.0, torch.float32))
        else:
            result = getattr(ops, name)(*given)
        values.append(rounded(result, step.dtype))
    return values[-1]


def epilogue(gate: Gate) -> Callable[[Any], Any]:
    """What a template does with its first sums; its text calls the second ones ``beside``."""

    def joined(total: Any) -> Any:
        beside = V.kernel.cse.namedvar("beside", dtype=torch.float32, shape=("BLOCK_N", "1"))
        return _evaluated(gate, total, beside)

    return joined
