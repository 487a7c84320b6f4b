"""Decompositions and lowerings with the values of eager PyTorch, where TorchInductor's own compute others."""

from __future__ import annotations

import contextlib
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._inductor import lowering
from torch.fx import GraphModule

aten = torch.ops.aten


def _operands(self: Any, other: Any) -> tuple[Any, Any, torch.dtype]:
    """Both in the type of the result, the first as a tensor."""
    dtype = torch.result_type(self, other)
    if isinstance(other, Tensor):
        other = other.to(dtype)
    return self.to(dtype) if isinstance(self, Tensor) else torch.full_like(other, self), other, dtype


def _remainder(self: Any, other: Any) -> Any:
    """What a whole number of divisors leaves, with the sign of the divisor.

    Upstream subtracts the rounded quotient times the divisor, which is off by as much as that product is rounded, and
    NaN where the divisor is infinite.
    """
    dividend, divisor, dtype = _operands(self, other)
    if not dtype.is_floating_point:
        return NotImplemented
    rest = torch.fmod(dividend, divisor)
    return torch.where((rest != 0) & ((rest < 0) != (divisor < 0)), rest + divisor, rest)


def _rounded_quotient(self: Any, other: Any, *, rounding_mode: str | None) -> Any:
    """``x // y`` of floating-point numbers by what the division leaves: 1.0 // 0.1 is 9, and 1.0 / 0.1 rounds to 10."""
    dividend, divisor, dtype = _operands(self, other)
    if rounding_mode != "floor" or not dtype.is_floating_point:
        return NotImplemented
    quotient = dividend / divisor
    rest = torch.fmod(dividend, divisor)
    whole = (dividend - rest) / divisor
    whole = torch.where((rest != 0) & ((rest < 0) != (divisor < 0)), whole - 1, whole)
    floor = whole.floor()
    floor = torch.where(whole - floor > 0.5, floor + 1, floor)
    floor = torch.where(whole != 0, floor, torch.copysign(torch.zeros_like(quotient), quotient))
    if not isinstance(divisor, Tensor):
        return quotient if divisor == 0 else floor
    return torch.where(divisor == 0, quotient, floor)


def _round_to_decimals(self: Tensor, *, decimals: int) -> Any:
    if not self.dtype.is_floating_point:
        return NotImplemented
    power = 10.0 ** abs(decimals)
    return (self * power).round() / power if decimals >= 0 else (self / power).round() * power


def _threshold(self: Tensor, threshold: float, value: float) -> Any:
    """Upstream's converts whole numbers to float32 and back."""
    if self.dtype.is_floating_point:
        return torch.where(self <= threshold, value, self)
    return torch.where(self <= int(threshold), int(value), self)


def _power(self: Tensor, exponent: Any) -> Any:
    """Square roots as eager PyTorch has them: of -inf they are NaN, but for float16, whose power is that of C."""
    if isinstance(exponent, float) and abs(exponent) == 0.5 and self.dtype.is_floating_point:
        if self.dtype == torch.float16:
            return aten.pow.Tensor_Tensor(self, torch.full_like(self, exponent))
        return self.sqrt() if exponent > 0 else self.rsqrt()
    return NotImplemented


def _along_no_dimension(original: Any) -> Callable[..., Any]:
    """Sums and products along a tensor that has no dimension: upstream's shortcut for constants fails on these."""

    def decompose(self: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
        if self.dim():
            return NotImplemented
        is_whole = not (self.dtype.is_floating_point or self.dtype.is_complex)
        return self.to(dtype or (torch.int64 if is_whole else self.dtype), copy=True)

    return decompose


TABLE: dict[Any, Callable[..., Any]] = {
    aten.remainder.Tensor: _remainder,
    aten.remainder.Scalar: _remainder,
    aten.remainder.Scalar_Tensor: _remainder,
    aten.div.Tensor_mode: _rounded_quotient,
    aten.div.Scalar_mode: _rounded_quotient,
    aten.round.decimals: _round_to_decimals,
    aten.threshold.default: _threshold,
    aten.pow.Tensor_Scalar: _power,
    aten.cumsum.default: _along_no_dimension(aten.cumsum),
    aten.cumprod.default: _along_no_dimension(aten.cumprod),
}


def keep_products_with_zero(gm: GraphModule) -> None:
    """``x * 0`` is NaN where ``x`` is NaN or infinite: upstream takes it for 0, but not ``x * 0.0``."""
    for node in gm.graph.nodes:
        if node.target not in (aten.mul.Tensor, aten.mul.Scalar):
            continue
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dtype.is_floating_point:
            node.args = tuple(0.0 if isinstance(arg, int) and arg == 0 else arg for arg in node.args)


@contextlib.contextmanager
def bounds_after_zeros() -> Iterator[None]:
    """Of two zeros, clamping keeps the tensor's, not the bound: machine code has the second of two equal numbers."""

    def clamp_min(x: Any, bound: Any) -> Any:
        return lowering.maximum(bound, x)

    def clamp_max(x: Any, bound: Any) -> Any:
        return lowering.minimum(bound, x)

    replaced = {aten.clamp_min: clamp_min, aten.clamp_max: clamp_max}
    entries = {
        getattr(packet, overload): function for packet, function in replaced.items() for overload in packet.overloads()
    }
    with unittest.mock.patch.dict(lowering.lowerings, {**replaced, **entries}):
        yield
