"""Decompositions and lowerings with the values of eager PyTorch, where TorchInductor's own compute others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._inductor import lowering
from torch._inductor.index_propagation import SymPyOps, TypedExpr
from torch._inductor.sizevars import SizeVarAllocator
from torch.fx import GraphModule
from torch.utils._sympy.functions import Max, Min

from aotbuild.spec.upstream import patched, patched_entries

aten = torch.ops.aten

HALF_TYPES = (torch.float16, torch.bfloat16)


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
    if dtype in HALF_TYPES and rounding_mode is not None:
        return _rounded_half_quotient(dividend, other, rounding_mode)
    if rounding_mode != "floor" or not dtype.is_floating_point:
        return NotImplemented
    return _floored_quotient(dividend, divisor)


def _floored_quotient(dividend: Tensor, divisor: Any, rounded: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    quotient = dividend / divisor
    rest = torch.fmod(dividend, divisor)
    whole = rounded(rounded(dividend - rest) / divisor)
    whole = torch.where((rest != 0) & ((rest < 0) != (divisor < 0)), rounded(whole - 1), whole)
    floor = whole.floor()
    floor = torch.where(whole - floor > 0.5, floor + 1, floor)
    floor = torch.where(whole != 0, floor, torch.copysign(torch.zeros_like(quotient), quotient))
    if not isinstance(divisor, Tensor):
        return quotient if divisor == 0 else floor
    return torch.where(divisor == 0, quotient, floor)


def _rounded_half_quotient(dividend: Tensor, divisor: Any, rounding_mode: str) -> Tensor:
    """Eager rounds each step to the half type where both are tensors, and none where the divisor is one number."""
    dtype, wide = dividend.dtype, dividend.float()
    is_number = not isinstance(divisor, Tensor) or all(isinstance(size, int) and size == 1 for size in divisor.shape)
    if isinstance(divisor, Tensor):
        divisor = divisor.float()

    def rounded(x: Tensor) -> Tensor:
        return x if is_number else x.to(dtype).float()

    if rounding_mode == "trunc":
        return rounded(wide / divisor).trunc().to(dtype)
    return _floored_quotient(wide, divisor, rounded).to(dtype)


def _round_to_decimals(self: Tensor, *, decimals: int) -> Any:
    if not self.dtype.is_floating_point:
        return NotImplemented
    power = 10.0 ** abs(decimals)
    return (self * power).round() / power if decimals >= 0 else (self / power).round() * power


def _threshold(self: Tensor, threshold: float, value: float) -> Any:
    """Upstream's converts whole numbers to float32 and back."""
    if self.dtype.is_floating_point:
        compared = self.float() if self.dtype in HALF_TYPES else self  # eager rounds no threshold
        return torch.where(compared <= threshold, value, self)
    return torch.where(self <= int(threshold), int(value), self)


def _power(self: Tensor, exponent: Any) -> Any:
    """Square roots as eager PyTorch has them: of -inf they are NaN, but for float16, whose power is that of C."""
    if isinstance(exponent, float) and abs(exponent) == 0.5 and self.dtype.is_floating_point:
        if self.dtype == torch.float16:
            return aten.pow.Tensor_Tensor(self, torch.full_like(self, exponent))
        return self.sqrt() if exponent > 0 else self.rsqrt()
    return NotImplemented


def _next_after(self: Tensor, other: Tensor) -> Any:
    """The next number of a half type: upstream's kernels look for it in float32."""
    dtype = torch.result_type(self, other)
    if dtype not in HALF_TYPES:
        return NotImplemented
    x, y = torch.broadcast_tensors(self.to(dtype), other.to(dtype))
    bits = x.view(torch.int16)
    away = (y > x) == (x > 0)
    least = torch.where(y > 0, 1, 1 - 2**15).to(torch.int16)
    bits = torch.where(x == 0, least, torch.where(away, bits + 1, bits - 1))
    found = torch.where(x == y, y, bits.view(dtype))
    return torch.where(x.isnan() | y.isnan(), x + y, found)


def _added(self: Any, other: Any, *, alpha: Any = 1) -> Any:
    """Of booleans, ``alpha`` is one too: upstream multiplies by it as a whole number, and stores vectors of these."""
    if (isinstance(alpha, int) and alpha == 1) or torch.result_type(self, other) != torch.bool:
        return NotImplemented
    return aten.add(self, other if alpha else other & False)


def _added_lists(self: Sequence[Tensor], other: Any, *, alpha: Any = 1) -> Any:
    others = [other] * len(self) if isinstance(other, Tensor) else other
    if all(tensor.dtype != torch.bool for tensor in self):
        return NotImplemented
    return [torch.add(one, another, alpha=alpha) for one, another in zip(self, others)]


def _total(operator: Any) -> Callable[..., Any]:
    """Sums and products in booleans, whose vectors cannot be added, and in bytes, as below."""

    def decompose(self: Tensor, *args: Any, dtype: torch.dtype | None = None) -> Any:
        if dtype not in _NARROW:
            return NotImplemented
        total = operator(self.to(dtype).to(torch.int32), *args, dtype=torch.int32 if dtype != torch.bool else None)
        return total.to(dtype)

    return decompose


_NARROW = (torch.bool, torch.uint8, torch.int8, torch.int16)


def _extreme(operator: Any) -> Callable[..., Any]:
    """Upstream has what is true as NaN in masks, and reduces bytes in more lanes than it has read."""

    def decompose(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.dtype not in _NARROW:
            return NotImplemented
        found = operator(self.to(torch.int32), *args, **kwargs)
        if isinstance(found, Tensor):
            return found.to(self.dtype) if found.dtype == torch.int32 else found
        return (found[0].to(self.dtype), found[1])

    return decompose


def _any(self: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Of uint8 it is uint8."""
    return torch.any(self != 0, *args, **kwargs).to(torch.uint8) if self.dtype == torch.uint8 else NotImplemented


def _all(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    found = torch.logical_not(torch.any(torch.logical_not(self), *args, **kwargs))
    return found.to(torch.uint8) if self.dtype == torch.uint8 else found


def _along_no_dimension(original: Any) -> Callable[..., Any]:
    """Sums and products along a tensor that has no dimension: upstream's shortcut for constants fails on these."""

    def decompose(self: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
        if self.dim():
            return NotImplemented
        is_whole = not (self.dtype.is_floating_point or self.dtype.is_complex)
        return self.to(dtype or (torch.int64 if is_whole else self.dtype), copy=True)

    return decompose


@contextlib.contextmanager
def sizes_of_every_call() -> Iterator[None]:
    """The smaller of two sizes that vary is one that varies: upstream takes the one that is smaller in the example."""

    def evaluate_min(sizes: SizeVarAllocator, left: Any, right: Any) -> Any:
        if sizes.statically_known_leq(left, right):
            return left
        return right if sizes.statically_known_leq(right, left) else Min(left, right)

    def evaluate_max(sizes: SizeVarAllocator, left: Any, right: Any) -> Any:
        if sizes.statically_known_leq(left, right):
            return right
        return left if sizes.statically_known_leq(right, left) else Max(left, right)

    with (
        patched(SizeVarAllocator, "evaluate_min", evaluate_min),
        patched(SizeVarAllocator, "evaluate_max", evaluate_max),
    ):
        yield


TABLE: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: _added,
    aten.add.Scalar: _added,
    aten._foreach_add.List: _added_lists,
    aten._foreach_add.Tensor: _added_lists,
    aten.min.dim: _extreme(aten.min.dim),
    aten.max.dim: _extreme(aten.max.dim),
    aten.argmin.default: _extreme(aten.argmin.default),
    aten.argmax.default: _extreme(aten.argmax.default),
    **{each: _extreme(each) for each in (aten.amin.default, aten.amax.default)},
    **{each: _extreme(each) for each in (aten.min.default, aten.max.default)},
    **{each: _total(each) for each in (aten.sum.default, aten.sum.dim_IntList)},
    **{each: _total(each) for each in (aten.prod.default, aten.prod.dim_int)},
    aten.remainder.Tensor: _remainder,
    aten.remainder.Scalar: _remainder,
    aten.remainder.Scalar_Tensor: _remainder,
    aten.div.Tensor_mode: _rounded_quotient,
    aten.div.Scalar_mode: _rounded_quotient,
    aten.round.decimals: _round_to_decimals,
    aten.threshold.default: _threshold,
    aten.pow.Tensor_Scalar: _power,
    aten.nextafter.default: _next_after,
    aten.any.default: _any,
    aten.any.dim: _any,
    aten.all.default: _all,
    aten.all.dim: _all,
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
    with patched_entries(lowering, "lowerings", {**replaced, **entries}):
        yield


# Types that hold every index; float32 those that a float32 can count.
_INDEX_TYPES = (torch.int32, torch.int64, torch.float32, torch.float64)


@contextlib.contextmanager
def converted_indices() -> Iterator[None]:
    """Conversions of indices and numbers to types that do not hold them: upstream changes the type, not the value."""
    upstreams = SymPyOps.to_dtype

    def to_dtype(
        value: TypedExpr, dtype: torch.dtype, src_dtype: torch.dtype | None = None, use_compute_types: bool = True
    ) -> Any:
        if value.is_constant():
            if use_compute_types or dtype not in HALF_TYPES:
                return upstreams(value, dtype)
            return TypedExpr(rounded_number(float(value.expr), dtype), dtype)
        return upstreams(value, dtype) if value.dtype in _INDEX_TYPES and dtype in _INDEX_TYPES else NotImplemented

    with patched(SymPyOps, "to_dtype", staticmethod(to_dtype)):
        yield


def rounded_number(number: float, dtype: torch.dtype) -> float:
    with torch.utils._python_dispatch._disable_current_modes():
        return torch.tensor(number, dtype=torch.float64).to(dtype).item()
