"""Elementary functions of complex numbers on their parts, without the cancellation that their definitions have.

Branch cuts and formulas are those of Kahan, "Branch cuts for complex elementary functions" (1987).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Parts = tuple[Tensor, Tensor]


def sqrt(real: Tensor, imag: Tensor) -> Parts:
    greater = ((torch.hypot(real, imag) + real.abs()) / 2).sqrt()
    smaller = torch.where(greater == 0, greater, imag.abs() / (2 * greater))
    first, second = torch.where(real < 0, smaller, greater), torch.where(real < 0, greater, smaller)
    return first, torch.copysign(second, imag)


def exp(real: Tensor, imag: Tensor) -> Parts:
    return real.exp() * imag.cos(), real.exp() * imag.sin()


def sin(real: Tensor, imag: Tensor) -> Parts:
    return real.sin() * imag.cosh(), real.cos() * imag.sinh()


def cos(real: Tensor, imag: Tensor) -> Parts:
    return real.cos() * imag.cosh(), -real.sin() * imag.sinh()


def sinh(real: Tensor, imag: Tensor) -> Parts:
    return real.sinh() * imag.cos(), real.cosh() * imag.sin()


def cosh(real: Tensor, imag: Tensor) -> Parts:
    return real.cosh() * imag.cos(), real.sinh() * imag.sin()


def tanh(real: Tensor, imag: Tensor) -> Parts:
    bound = 20.0 if real.dtype == torch.float64 else 10.0  # from where tanh(real) is 1
    near = real.clamp(-bound, bound)
    below = near.sinh().square() + imag.cos().square()
    inside = near.sinh() * near.cosh() / below, imag.sin() * imag.cos() / below
    beyond = torch.copysign(torch.ones_like(real), real), 4 * imag.sin() * imag.cos() * (-2 * real.abs()).exp()
    is_near = real.abs() < bound
    return torch.where(is_near, inside[0], beyond[0]), torch.where(is_near, inside[1], beyond[1])


def tan(real: Tensor, imag: Tensor) -> Parts:
    return _of_turned(tanh, real, imag)


def log(real: Tensor, imag: Tensor) -> Parts:
    size = torch.hypot(real, imag)
    greater, smaller = torch.maximum(real.abs(), imag.abs()), torch.minimum(real.abs(), imag.abs())
    near_one = torch.log1p((greater - 1) * (greater + 1) + smaller.square()) / 2
    return torch.where((size > 0.5) & (size < 2), near_one, size.log()), torch.atan2(imag, real)


def log2(real: Tensor, imag: Tensor) -> Parts:
    size, angle = log(real, imag)
    return size / math.log(2), angle / math.log(2)


def log10(real: Tensor, imag: Tensor) -> Parts:
    size, angle = log(real, imag)
    return size / math.log(10), angle / math.log(10)


def log1p(real: Tensor, imag: Tensor) -> Parts:
    size = torch.hypot(1 + real, imag).log()
    small = torch.log1p(real * (2 + real) + imag.square()) / 2
    return torch.where(torch.hypot(real, imag) < 0.5, small, size), torch.atan2(imag, 1 + real)


def expm1(real: Tensor, imag: Tensor) -> Parts:
    half = (imag / 2).sin()
    return real.expm1() * imag.cos() - 2 * half.square(), real.exp() * imag.sin()


def asin(real: Tensor, imag: Tensor) -> Parts:
    (a, b), (c, d) = sqrt(1 - real, -imag), sqrt(1 + real, imag)
    return torch.atan2(real, a * c - b * d), (a * d - b * c).asinh()


def acos(real: Tensor, imag: Tensor) -> Parts:
    (a, b), (c, d) = sqrt(1 - real, -imag), sqrt(1 + real, imag)
    return 2 * torch.atan2(a, c), (c * b - d * a).asinh()


def asinh(real: Tensor, imag: Tensor) -> Parts:
    return _of_turned(asin, real, imag)


def acosh(real: Tensor, imag: Tensor) -> Parts:
    (a, b), (c, d) = sqrt(real - 1, imag), sqrt(real + 1, imag)
    return (a * c + b * d).asinh(), 2 * torch.atan2(b, c)


def atanh(real: Tensor, imag: Tensor) -> Parts:
    size = torch.log1p(4 * real.abs() / ((1 - real.abs()).square() + imag.square())) / 4
    return torch.copysign(size, real), torch.atan2(2 * imag, (1 - real) * (1 + real) - imag.square()) / 2


def atan(real: Tensor, imag: Tensor) -> Parts:
    return _of_turned(atanh, real, imag)


def _of_turned(function: Callable[[Tensor, Tensor], Parts], real: Tensor, imag: Tensor) -> Parts:
    """``-i f(i z)``, which is the circular function of a hyperbolic ``f``, and the other way round."""
    first, second = function(-imag, real)
    return second, -first


FUNCTIONS = (
    *(sqrt, exp, sin, cos, tan, sinh, cosh, tanh, log, log2, log10, log1p, expm1),
    *(asin, acos, atan, asinh, acosh, atanh),
)
