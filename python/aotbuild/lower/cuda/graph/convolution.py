"""Convolutions without a template: as one reduction over channels and taps, for any type, dilation and group count."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch._inductor import ir
from torch._inductor.lowering import register_lowering
from torch._inductor.virtualized import ops
from torch.utils._sympy.functions import FloorDiv, ModularIndexing

aten = torch.ops.aten

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define(
    "direct_convolution(Tensor input, Tensor weight, SymInt[] stride, SymInt[] padding, SymInt[] dilation, "
    "bool transposed, SymInt[] output_padding, SymInt groups) -> Tensor"
)

# What the templates take; they multiply on tensor cores.
_TEMPLATE_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
# With fewer channels a group, tensor cores multiply mostly padding: depthwise convolutions.
_MIN_TEMPLATE_CHANNELS = 3


def decompose(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """``aten.convolution``: those that no template serves; others stay as they are."""
    rank = weight.dim() - 2
    if input.dim() == weight.dim() - 1:
        batch = input.unsqueeze(0)
        result = torch.convolution(
            batch,
            weight,
            bias,
            stride,
            padding,
            dilation,
            transposed,
            output_padding,
            groups,
        )
        return result.squeeze(0)
    stride, padding, dilation, output_padding = (
        spatial(values, rank) for values in (stride, padding, dilation, output_padding)
    )
    # Of three dimensions, TorchInductor's template serves; it knows no dilation.
    simple = rank in (1, 2) or (rank == 3 and all(d == 1 for d in dilation))
    if simple and not transposed and weight.shape[1] >= _MIN_TEMPLATE_CHANNELS and input.dtype in _TEMPLATE_DTYPES:
        if rank > 1:
            return NotImplemented
        row = torch.convolution(
            input.unsqueeze(2),
            weight.unsqueeze(2),
            bias,
            (1, *stride),
            (0, *padding),
            (1, *dilation),
            False,
            (0, *output_padding),
            groups,
        )
        return row.squeeze(2)
    result = torch.ops.aotbuild.direct_convolution(
        input, weight, stride, padding, dilation, transposed, output_padding, groups
    )
    return result if bias is None else result + bias.view(-1, *[1] * rank)


def spatial(values: Sequence[int], rank: int) -> tuple[int, ...]:
    """A value for each spatial dimension, of which a convolution may have one for all."""
    return tuple(values) * rank if len(values) == 1 else tuple(values)


@dataclass(frozen=True)
class _Window:
    """Which elements of its input an element of a convolution's result is made of, for each spatial dimension."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]

    def output_sizes(self, sizes: Sequence[Any], taps: Sequence[Any], divide: Callable[[Any, Any], Any]) -> list[Any]:
        """Sizes by the formulas of ``torch.nn.Conv2d`` and ``torch.nn.ConvTranspose2d``."""
        result = []
        for dim, size in enumerate(sizes):
            stride, padding, reach = self.stride[dim], self.padding[dim], self.dilation[dim] * (taps[dim] - 1)
            if self.transposed:
                result.append((size - 1) * stride - 2 * padding + reach + self.output_padding[dim] + 1)
            else:
                result.append(divide(size + 2 * padding - reach - 1, stride) + 1)
        return result

    def positions(
        self, sizes: Sequence[Any], taps: Sequence[Any], place: Sequence[Any], tap: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Where the input's element lies that a tap takes for a place of the result, and what has to hold of it."""
        positions, conditions = [], []
        for dim, size in enumerate(sizes):
            stride, padding = self.stride[dim], self.padding[dim]
            if self.transposed:
                spread = place[dim] + padding - tap[dim] * self.dilation[dim]
                if stride != 1:
                    # Shifted by a multiple of the stride, since ModularIndexing wants what is not negative.
                    shift = stride * self.dilation[dim] * taps[dim]
                    conditions.append(_equal(ModularIndexing(spread + shift, 1, stride), 0))
                position = FloorDiv(spread, stride)
            else:
                spread = position = place[dim] * stride - padding + tap[dim] * self.dilation[dim]
            if self.transposed or padding != 0:
                conditions += [_at_least(spread, 0), _below(position, size)]
            positions.append(position)
        return positions, conditions


@torch.library.register_fake("aotbuild::direct_convolution", lib=_library)  # type: ignore[untyped-decorator]
def _fake(
    input: torch.Tensor,
    weight: torch.Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> torch.Tensor:
    window = _Window(stride, padding, dilation, transposed, output_padding)
    spatial = window.output_sizes(input.shape[2:], weight.shape[2:], operator.floordiv)
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    return input.new_empty((input.shape[0], channels, *spatial))


@register_lowering(torch.ops.aotbuild.direct_convolution.default, type_promotion_kind=None)
def _lower(
    input: Any,
    weight: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """output[n, o, y] = sum over c, t of input[n, c, position(y, t)] * weight[o, c, t], in float32 or wider."""
    input.realize()
    weight.realize()
    load_input, load_weight = input.make_loader(), weight.make_loader()
    batch, in_channels, *in_sizes = input.get_size()
    out_channels, group_outputs = weight.get_size()[0], weight.get_size()[1]
    if transposed:
        out_channels = group_outputs * groups
    else:
        group_outputs = FloorDiv(out_channels, groups)
    group_inputs = FloorDiv(in_channels, groups)
    taps = weight.get_size()[2:]
    window = _Window(stride, padding, dilation, transposed, output_padding)
    out_sizes = window.output_sizes(in_sizes, taps, FloorDiv)
    dtype = input.get_dtype()
    accumulator = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype

    def product(index: Sequence[Any], reduced: Sequence[Any]) -> Any:
        n, o, *place = index
        c, *tap = reduced
        channel = FloorDiv(o, group_outputs) * group_inputs + c
        positions, conditions = window.positions(in_sizes, taps, place, tap)

        def multiply() -> Any:
            x = ops.to_dtype(load_input([n, channel, *positions]), accumulator)
            where = [channel, ModularIndexing(o, 1, group_outputs), *tap] if transposed else [o, c, *tap]
            return ops.mul(x, ops.to_dtype(load_weight(where), accumulator))

        if not conditions:
            return multiply()
        mask = conditions[0]
        for condition in conditions[1:]:
            mask = ops.logical_and(mask, condition)
        return ops.masked(mask, multiply, 0.0 if accumulator.is_floating_point else 0)

    result = ir.Reduction.create(
        device=input.get_device(),
        dst_dtype=accumulator,
        src_dtype=accumulator,
        inner_fn=product,
        ranges=[batch, out_channels, *out_sizes],
        reduction_ranges=[group_inputs, *taps],
        reduction_type="sum",
        input_node=input,
    )
    result.realize()
    if accumulator == dtype:
        return result
    from torch._inductor.lowering import to_dtype

    return to_dtype(result, dtype)


def _equal(expression: sympy.Expr, value: int) -> Any:
    return ops.eq(ops.index_expr(expression, torch.int64), ops.constant(value, torch.int64))


def _at_least(expression: sympy.Expr, value: int) -> Any:
    return ops.ge(ops.index_expr(expression, torch.int64), ops.constant(value, torch.int64))


def _below(expression: sympy.Expr, size: sympy.Expr) -> Any:
    return ops.lt(ops.index_expr(expression, torch.int64), ops.index_expr(size, torch.int64))
