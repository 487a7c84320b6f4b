"""Convolutions over constant weights: packed when weights are loaded, run channels-last, called by slot."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch._inductor import ir
from torch._inductor.lowering import register_lowering
from torch.fx import GraphModule, Node

from aotbuild.lower.common.activation import Activation, following
from aotbuild.lower.common.graph import BATCH_NORM
from aotbuild.lower.cpu.linear import PACKED_DTYPES, size_hint
from aotbuild.spec.program import BatchNorm, Convolution

aten = torch.ops.aten

_library = torch.library.Library("aotbuild", "FRAGMENT")
# `output` gives the sizes: a convolution of the same geometry, traced but never run.
_library.define("convolution(Tensor input, int slot, SymInt[] sizes) -> Tensor")


@torch.library.register_fake("aotbuild::convolution", lib=_library)  # type: ignore[untyped-decorator]
def _convolution_fake(input: torch.Tensor, slot: int, sizes: list[int]) -> torch.Tensor:
    return input.new_empty(sizes).permute(0, len(sizes) - 1, *range(1, len(sizes) - 1))


class PackedConvolution(ir.ExternKernelOut):
    """``context_convolution(context, slot, input, output)`` on channels-last tensors."""

    def __init__(self, layout: ir.Layout, input: ir.IRNode, slot: int) -> None:
        self.slot = slot
        super().__init__(
            layout, [input], python_kernel_name="aotbuild.convolution", cpp_kernel_name="context_convolution"
        )

    def codegen(self, wrapper: Any) -> None:
        wrapper.generate_packed(self, "context_convolution")


@register_lowering(torch.ops.aotbuild.convolution.default, type_promotion_kind=None)
def _lower_convolution(input: Any, slot: int, sizes: list[Any]) -> Any:
    rank = len(sizes)
    order = [rank - 1, 0, *range(rank - 2, 0, -1)]  # channels vary fastest, then the last spatial dimension
    source = ir.ExternKernel.require_stride_order(ir.ExternKernel.realize_input(input), order)
    batch, *spatial, channels = sizes
    logical = [batch, channels, *spatial]
    strides: list[Any] = [0] * rank
    strides[1] = 1
    step: Any = channels
    for dim in range(rank - 1, 1, -1):
        strides[dim] = step
        step = step * logical[dim]
    strides[0] = step
    layout = ir.FixedLayout(source.get_device_or_error(), source.get_dtype(), logical, strides)
    return ir.TensorBox.create(PackedConvolution(layout, source, slot))


def pack_convolutions(
    gm: GraphModule, weight_index: dict[str, int], mutated: set[int], precisions: Sequence[str]
) -> list[Convolution]:
    """Replaces ``aten.convolution`` over constant weights, float32 or of 16-bit types, by packed convolutions.

    Args:
        precisions: of layers over each weight, where that is float32; empty for its own.
    """
    found: list[Convolution] = []
    for node in list(gm.graph.nodes):
        if node.target is aten.convolution.default:
            convolution = _describe(node, weight_index, mutated)
            if convolution is not None:
                is_wide = node.meta["val"].dtype == torch.float32
                _replace(gm, node, len(found))
                found.append(replace(convolution, precision=precisions[convolution.weight] if is_wide else ""))
    gm.graph.lint()
    gm.recompile()
    return found


def _describe(node: Node, weight_index: dict[str, int], mutated: set[int]) -> Convolution | None:
    arguments: tuple[Any, ...] = node.args
    source, weight, bias, stride, padding, dilation, transposed, output_padding, groups = arguments
    assert isinstance(source, Node) and isinstance(weight, Node)
    value = source.meta["val"]
    rank = value.dim() - 2
    if value.dtype not in PACKED_DTYPES or rank not in (1, 2, 3) or weight.meta["val"].dim() != value.dim():
        return None
    if any(operand.meta["val"].dtype != value.dtype for operand in (weight, bias) if isinstance(operand, Node)):
        return None
    indices = [weight_index.get(operand.name) for operand in (weight, bias) if isinstance(operand, Node)]
    if any(index is None or index in mutated for index in indices):
        return None
    geometry = [tuple(g) for g in (stride, padding, dilation, output_padding)]
    if not all(isinstance(number, int) for numbers in geometry for number in numbers):
        return None
    stride, padding, dilation, output_padding = (g * rank if len(g) == 1 else g for g in geometry)
    norm = _take_norm(node, weight_index, mutated)
    followed = following(node)
    activation = Activation("none")
    if followed is not None:
        call, activation = followed
        call.replace_all_uses_with(node)
        call.graph.erase_node(call)
    return Convolution(
        weight=int(indices[0] or 0),
        bias=indices[1] if bias is not None else None,
        spatial_rank=rank,
        transposed=bool(transposed),
        channels_last=True,
        groups=int(groups),
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_padding=output_padding,
        input_hint=tuple(size_hint(size) for size in value.shape),
        norm=norm,
        activation=activation.name,
        alpha=activation.alpha,
    )


def _take_norm(node: Node, weight_index: dict[str, int], mutated: set[int]) -> BatchNorm | None:
    """The batch normalisation over weights that is the only reader of ``node``, taken out of the graph."""
    if len(node.users) != 1:
        return None
    (user,) = node.users
    if user.target is not BATCH_NORM or user.args[0] is not node:
        return None
    results = list(user.users)
    if any(result.target is not operator.getitem or result.args[1] != 0 for result in results):
        return None
    _, weight, bias, mean, variance, _, epsilon = user.args
    indices: list[int | None] = []
    for operand in (mean, variance, weight, bias):
        index = weight_index.get(operand.name) if isinstance(operand, Node) else None
        if operand is not None and (index is None or index in mutated):
            return None
        indices.append(index)
    if indices[0] is None or indices[1] is None:
        return None
    for result in results:
        result.replace_all_uses_with(node)
        result.graph.erase_node(result)
    user.graph.erase_node(user)
    return BatchNorm(indices[0], indices[1], indices[2], indices[3], float(epsilon))  # type: ignore[arg-type]


def _replace(gm: GraphModule, node: Node, slot: int) -> None:
    value = node.meta["val"]
    graph = gm.graph
    source = node.args[0]
    with graph.inserting_before(node):
        # Sizes that depend on dynamic ones are read off a copy of the node that dead code elimination removes again
        # when they are static.
        sizes: list[Any] = []
        for dim in (0, *range(2, value.dim()), 1):
            size = value.shape[dim]
            sizes.append(size if isinstance(size, int) else _symbolic_size(graph, node, source, dim))
        packed = graph.call_function(torch.ops.aotbuild.convolution.default, (source, slot, sizes))
    strides_order = (0, value.dim() - 1, *range(1, value.dim() - 1))
    shape = [value.shape[dim] for dim in (0, *range(2, value.dim()), 1)]
    packed.meta = {**node.meta, "val": value.new_empty(shape).permute(strides_order)}
    node.replace_all_uses_with(packed)
    graph.erase_node(node)


def _symbolic_size(graph: torch.fx.Graph, node: Node, source: Any, dim: int) -> Node:
    """Output size ``dim`` as a node computed from the input's size, by the formula of ``torch.nn.Conv2d``."""
    value = source.meta["val"]
    if dim == 0:
        size = graph.call_function(aten.sym_size.int, (source, 0))
        size.meta["val"] = value.shape[0]
        return size
    weight = node.args[1].meta["val"]  # type: ignore[union-attr]
    stride, padding, dilation, transposed, output_padding = node.args[3:8]

    def of(numbers: Any) -> int:
        return int(numbers[0] if len(numbers) == 1 else numbers[dim - 2])

    size = graph.call_function(aten.sym_size.int, (source, dim))
    size.meta["val"] = value.shape[dim]
    reach = of(dilation) * (int(weight.shape[dim]) - 1)

    def apply(function: Any, *args: Any) -> Node:
        result = graph.call_function(function, args)
        result.meta["val"] = function(*torch.fx.node.map_arg(args, lambda n: n.meta["val"]))
        return result

    if transposed:
        scaled = apply(operator.mul, apply(operator.sub, size, 1), of(stride))
        return apply(operator.add, scaled, reach + of(output_padding) + 1 - 2 * of(padding))
    room = apply(operator.add, size, 2 * of(padding) - reach - 1)
    return apply(operator.add, apply(operator.floordiv, room, of(stride)), 1)
