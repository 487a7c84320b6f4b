"""Linear layers over constant weights: found in the graph, packed when weights are loaded, called by slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._inductor import ir
from torch._inductor.lowering import register_lowering
from torch.fx import GraphModule, Node

from aotbuild.lower.common.activation import Activation, following
from aotbuild.lower.common.graph import decompose_linear
from aotbuild.spec.program import Linear, Mlp

aten = torch.ops.aten

NO_ACTIVATION = Activation("none")

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define("mlp(Tensor input, int slot, SymInt out_features) -> Tensor")
_library.define("linear(Tensor input, int slot, SymInt out_features) -> Tensor")


@torch.library.register_fake("aotbuild::linear", lib=_library)  # type: ignore[untyped-decorator]
def _linear_meta(input: torch.Tensor, slot: int, out_features: int) -> torch.Tensor:
    return input.new_empty((*input.shape[:-1], out_features))


@torch.library.register_fake("aotbuild::mlp", lib=_library)  # type: ignore[untyped-decorator]
def _mlp_meta(input: torch.Tensor, slot: int, out_features: int) -> torch.Tensor:
    return input.new_empty((*input.shape[:-1], out_features))


class PackedLinear(ir.ExternKernelOut):
    """A call of the runtime that reads packed weights: input [..., K] with unit last stride, output [..., N]."""

    def __init__(self, layout: ir.Layout, input: ir.IRNode, slot: int, function: str) -> None:
        self.slot = slot
        self.function = function
        super().__init__(layout, [input], python_kernel_name="aotbuild.linear", cpp_kernel_name=function)

    def codegen(self, wrapper: Any) -> None:
        wrapper.generate_packed(self, self.function)


@register_lowering(torch.ops.aotbuild.linear.default, type_promotion_kind=None)
def _lower_linear(input: Any, slot: int, out_features: int) -> Any:
    return lower_packed(input, slot, out_features, "context_linear")


@register_lowering(torch.ops.aotbuild.mlp.default, type_promotion_kind=None)
def _lower_mlp(input: Any, slot: int, out_features: int) -> Any:
    return lower_packed(input, slot, out_features, "context_mlp")


def lower_packed(input: Any, slot: int, out_features: int, function: str, dtype: torch.dtype | None = None) -> Any:
    """A call ``function(context, slot, input, output)``; ``dtype`` of the output, where it is not the input's."""
    source = ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(input))
    size = [*source.get_size()[:-1], out_features]
    strides = ir.FlexibleLayout.contiguous_strides(size)
    layout = ir.FixedLayout(source.get_device_or_error(), dtype or source.get_dtype(), size, strides)
    return ir.TensorBox.create(PackedLinear(layout, source, slot, function))


@dataclass
class _Candidate:
    node: Node
    weight: int
    bias: int | None
    out_features: int
    transposed: bool
    activation: Activation

    @property
    def source(self) -> Node:
        """The layer's input, which may itself be a layer that was replaced."""
        source = self.node.args[1 if self.node.target is aten.addmm.default else 0]
        assert isinstance(source, Node)
        return source


# Hidden features from which two layers in a row are worth running in blocks.
_MIN_HIDDEN_FEATURES = 512


def join_mlps(gm: GraphModule, linears: list[Linear]) -> tuple[list[Linear], list[Mlp]]:
    """Joins packed layers that feed nothing but one other packed layer.

    Returns:
        The layers that stay alone, renumbered in the graph, and the pairs.
    """
    linear, mlp = torch.ops.aotbuild.linear.default, torch.ops.aotbuild.mlp.default
    alone: list[Linear] = []
    pairs: list[Mlp] = []
    for node in list(gm.graph.nodes):
        if node.target is not linear:
            continue
        source, slot, out_features = node.args
        second = linears[slot]
        if (
            source.target is linear
            and node.meta["val"].dtype == torch.float32
            and len(source.users) == 1
            and len(second.weights) == 1
            and len(linears[source.args[1]].weights) == 1
            and source.args[2] >= _MIN_HIDDEN_FEATURES
        ):
            with gm.graph.inserting_before(node):
                joined = gm.graph.call_function(mlp, (source.args[0], len(pairs), out_features))
            joined.meta = dict(node.meta)
            pairs.append(Mlp(linears[source.args[1]], second))
            node.replace_all_uses_with(joined)
            gm.graph.erase_node(node)
            gm.graph.erase_node(source)
    for node in gm.graph.nodes:
        if node.target is linear:
            alone.append(linears[node.args[1]])
            node.update_arg(1, len(alone) - 1)
    gm.recompile()
    return alone, pairs


def pack_linears(
    gm: GraphModule, weight_index: dict[str, int], mutated: set[int], precisions: Sequence[str]
) -> list[Linear]:
    """Replaces products with constant weights by packed layers, and decomposes other ``aten.linear`` calls.

    The weights are float32, or of 16-bit types, whose sums are float32 too.

    Layers of one input, such as query, key and value projections, become one packed layer and slices of its output
    (one pass over the input, and a wider matrix product).

    Args:
        precisions: of layers over each weight, where that is float32; empty for its own.
    """
    groups: dict[tuple[Node, bool, Node | None, str], list[_Candidate]] = {}
    for node in list(gm.graph.nodes):
        if node.target not in _PRODUCTS:
            continue
        candidate = _candidate(node, weight_index, mutated)
        if candidate is not None:
            alone = node if candidate.activation != NO_ACTIVATION else None
            precision = precisions[candidate.weight] if node.meta["val"].dtype == torch.float32 else ""
            groups.setdefault((candidate.source, candidate.transposed, alone, precision), []).append(candidate)
        elif node.target is aten.linear.default:
            decompose_linear(gm, node)
    linears: list[Linear] = []
    for (*_, precision), members in groups.items():
        _replace(gm, members, len(linears))
        linears.append(
            Linear(
                tuple(member.weight for member in members),
                tuple(member.bias for member in members),
                activation=members[0].activation.name,
                alpha=members[0].activation.alpha,
                transposed=members[0].transposed,
                precision=precision,
            )
        )
    gm.graph.lint()
    gm.recompile()
    return linears


# Of weights that the runtime packs.
PACKED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_PRODUCTS = (aten.linear.default, aten.addmm.default, aten.mm.default)


def _operands(node: Node) -> tuple[Any, Any, Any, bool] | None:
    """Input, weight, bias or None, and whether the weight is [K, N] and not [N, K]; None for what is no layer."""
    if node.target is aten.linear.default:
        source, weight, *rest = node.args
        return source, weight, rest[0] if rest else node.kwargs.get("bias"), False
    bias, source, weight = (None, *node.args) if node.target is aten.mm.default else node.args
    assert isinstance(weight, Node)
    if any(node.kwargs.get(factor, 1) != 1 for factor in ("alpha", "beta")):
        return None
    if isinstance(bias, Node) and bias.meta["val"].shape != weight.meta["val"].shape[1:]:
        return None
    swapped = _swapped(weight)
    return (source, weight, bias, True) if swapped is None else (source, swapped, bias, False)


def _swapped(node: Node) -> Node | None:
    """The matrix whose dimensions a call exchanges; None for other calls."""
    if node.target is aten.t.default:
        exchanges = True
    elif node.target is aten.permute.default:
        exchanges = [dim % 2 for dim in node.args[1]] == [1, 0]  # type: ignore[union-attr,operator]
    else:
        exchanges = node.target is aten.transpose.int and {dim % 2 for dim in node.args[1:]} == {0, 1}  # type: ignore[operator]
    matrix = node.args[0] if exchanges else None
    return matrix if isinstance(matrix, Node) else None


def _candidate(node: Node, weight_index: dict[str, int], mutated: set[int]) -> _Candidate | None:
    found = _operands(node)
    if found is None:
        return None
    source, weight, bias, transposed = found
    assert isinstance(source, Node) and isinstance(weight, Node)
    value = source.meta["val"]
    operands = [weight] if bias is None else [weight, bias]
    if value.dtype not in PACKED_DTYPES or any(operand.meta["val"].dtype != value.dtype for operand in operands):
        return None
    if weight.meta["val"].dim() != 2 or value.dim() < 1 or value.shape[-1] == 0:
        return None
    indices = [weight_index.get(operand.name) for operand in operands if isinstance(operand, Node)]
    if any(index is None or index in mutated for index in indices):
        return None
    followed = following(node)
    activation = NO_ACTIVATION
    if followed is not None:
        # The packed layer takes the place of the activation; what was the linear call stays to be replaced.
        call, activation = followed
        call.replace_all_uses_with(node)
        call.graph.erase_node(call)
    bias_index = indices[1] if bias is not None else None
    out_features = weight.meta["val"].shape[1 if transposed else 0]
    return _Candidate(node, int(indices[0] or 0), bias_index, out_features, transposed, activation)


def size_hint(size: int | torch.SymInt) -> int:
    """A size, or the example's for one that varies."""
    if isinstance(size, int):
        return size
    hint = size.node.hint
    return int(hint) if hint is not None else 1


def _replace(gm: GraphModule, members: list[_Candidate], slot: int) -> None:
    """Puts one packed layer in the place of the members."""
    graph = gm.graph
    first, source = members[0].node, members[0].source
    total = sum(member.out_features for member in members)
    with graph.inserting_before(first):
        packed = graph.call_function(torch.ops.aotbuild.linear.default, (source, slot, total))
        value = source.meta["val"]
        packed.meta = {**first.meta, "val": value.new_empty((*value.shape[:-1], total))}
        start = 0
        for member in members:
            if len(members) == 1:
                replacement = packed
            else:
                end = start + member.out_features
                replacement = graph.call_function(aten.slice.Tensor, (packed, -1, start, end))
                replacement.meta = {**member.node.meta, "val": packed.meta["val"][..., start:end]}
                start = end
            member.node.replace_all_uses_with(replacement)
    for member in members:
        graph.erase_node(member.node)
