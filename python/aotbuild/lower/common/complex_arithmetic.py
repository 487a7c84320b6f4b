"""Arithmetic and functions of complex tensors on their parts, which are a last dimension of two."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aotbuild.lower.common import complex_functions, complex_operators

Rule = Callable[..., Any]


def pair_of(real: Tensor, imag: Tensor) -> Tensor:
    return torch.view_as_complex(torch.stack(torch.broadcast_tensors(real, imag), -1))


def parts_of(value: Any) -> tuple[Any, Any]:
    """The real and the imaginary part of a tensor or a number."""
    if isinstance(value, Tensor):
        if not value.is_complex():
            return value, torch.zeros_like(value)
        pairs = torch.view_as_real(value)
        return pairs[..., 0], pairs[..., 1]
    return (value.real, value.imag) if isinstance(value, complex) else (value, 0)


def pairs_of(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor converted to a complex type, with its parts in a last dimension."""
    if value.dtype == dtype:
        return torch.view_as_real(value)
    if value.is_complex():
        return torch.view_as_real(value).to(dtype.to_real())
    real = value.to(dtype.to_real())
    return torch.stack((real, torch.zeros_like(real)), -1)


def where(condition: Tensor, self: Any, other: Any) -> Tensor:
    dtype = torch.result_type(self, other)
    return torch.view_as_complex(
        torch.where(condition.unsqueeze(-1), pairs_of(self, dtype), pairs_of(other, dtype)).contiguous()
    )


def sum_of(self: Any, other: Any, *, alpha: Any = 1, sign: int = 1) -> Tensor:
    other = other if alpha == 1 else other * alpha
    dtype = torch.result_type(self, other)
    if isinstance(self, Tensor) and isinstance(other, Tensor):
        a, b = pairs_of(self, dtype), pairs_of(other, dtype)
        # Dimensions are matched from the last: that of the parts is the last of both.
        return torch.view_as_complex((a + b if sign > 0 else a - b).contiguous())
    (a_real, a_imag), (b_real, b_imag) = parts_of(self), parts_of(other)
    return pair_of(a_real + sign * b_real, a_imag + sign * b_imag)


def product(self: Any, other: Any) -> Tensor:
    (a, b), (c, d) = parts_of(self), parts_of(other)
    return pair_of(a * c - b * d, a * d + b * c)


def quotient(self: Any, other: Any) -> Tensor:
    """Divided by the greater part of the divisor first, so that no square overflows (Smith 1962), as in eager."""
    if isinstance(self, Tensor) and not self.is_complex():  # upstream drops sums with a constant 0, which make -0 a 0
        self = _converted(self, torch.result_type(self, other))
    (a, b), (c, d) = parts_of(self), parts_of(other)
    if not isinstance(other, Tensor):
        c, d = (torch.full((), part, dtype=a.dtype, device=a.device) for part in (c, d))
    is_real = c.abs() >= d.abs()
    big, small = torch.where(is_real, c, d), torch.where(is_real, d, c)
    ratio = small / big
    scale = 1 / (big + small * ratio)
    real = torch.where(is_real, a + b * ratio, a * ratio + b) * scale
    imag = torch.where(is_real, b - a * ratio, b * ratio - a) * scale
    by_zero = (c == 0) & (d == 0)
    return pair_of(torch.where(by_zero, a / c.abs(), real), torch.where(by_zero, b / d.abs(), imag))


def reciprocal(self: Tensor) -> Tensor:
    return quotient(torch.ones((), dtype=self.dtype, device=self.device), self)


def sgn(self: Tensor) -> Tensor:
    size = absolute(self)
    return pair_of(*(torch.where(size == 0, 0.0, part / size) for part in parts_of(self)))


def absolute(self: Tensor) -> Tensor:
    return torch.hypot(*parts_of(self))


def angle(self: Tensor) -> Tensor:
    real, imag = parts_of(self)
    return torch.atan2(imag, real)


def elementary(function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Rule:
    return lambda self: pair_of(*function(*parts_of(self)))


def called(name: str) -> Rule:
    return lambda self: complex_operators.FUNCTION(self, name)


exp, sqrt = called("exp"), called("sqrt")
log = elementary(complex_functions.log)


def written_out(self: Tensor, name: str) -> Any:
    return elementary(getattr(complex_functions, name))(self)


# Powers that eager PyTorch has other functions for.
_POWERS: dict[Any, Rule] = {
    0: torch.ones_like,
    0.5: sqrt,
    1: torch.clone,
    2: lambda self: product(self, self),
    3: lambda self: product(product(self, self), self),
    -0.5: lambda self: reciprocal(sqrt(self)),
    -1: reciprocal,
    -2: lambda self: reciprocal(product(self, self)),
}


def power(self: Any, exponent: Any) -> Any:
    dtype = torch.result_type(self, exponent)
    if isinstance(exponent, int | float | complex) and exponent in _POWERS:
        return _POWERS[exponent](_converted(self, dtype))
    if isinstance(self, int | float | complex) and self == 1:
        return torch.ones_like(exponent, dtype=dtype)
    device = (self if isinstance(self, Tensor) else exponent).device
    base, raised_to = (
        _converted(value, dtype) if isinstance(value, Tensor) else torch.full((), value, dtype=dtype, device=device)
        for value in (self, exponent)
    )
    return complex_operators.POWER(base, raised_to)


def _converted(value: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.view_as_complex(pairs_of(value, dtype))


def power_written_out(self: Tensor, exponent: Tensor) -> Tensor:
    result = exp(product(log(self), exponent))
    real, imag = parts_of(exponent)
    at_zero = torch.where((real == 0) & (imag == 0), 1.0, torch.where(real > 0, 0.0, math.inf))
    return where(absolute(self) == 0, pair_of(at_zero, torch.zeros_like(at_zero)), result)


def logaddexp(self: Tensor, other: Tensor) -> Tensor:
    """Upstream's, which loses NaN beside infinities."""
    is_nan = self.isnan() | other.isnan()
    return pair_of(*(torch.where(is_nan, math.nan, part) for part in parts_of(torch._refs.logaddexp(self, other))))


def is_nonzero(value: Tensor) -> Any:
    real, imag = parts_of(value)
    return (real != 0) | (imag != 0)


def equal(self: Any, other: Any) -> Any:
    (a, b), (c, d) = parts_of(self), parts_of(other)
    return (a == c) & (b == d)
