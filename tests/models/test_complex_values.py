"""Functions of complex numbers with zero, infinite, NaN, tiny and huge parts: eager PyTorch's values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import aotbuild

_VALUES = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-3, -1e-20, 1e20, -1e30, 100.0),
    *(math.inf, -math.inf, math.nan),
)
TYPES = (torch.complex64, torch.complex128)
_ELEMENTARY = (
    *("exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
    *("asin", "acos", "atan", "asinh", "acosh", "atanh", "reciprocal", "sigmoid", "square", "abs", "angle"),
)
_EXPONENTS = (-2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 1 + 2j)


def _power(exponent: Any) -> Callable[[Tensor, Tensor], Any]:
    return lambda z, w: z**exponent


def _elementary(name: str) -> Callable[[Tensor, Tensor], Any]:
    return lambda z, w: getattr(torch, name)(z)


# Of two tensors of every value with every other as parts.
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    **{name: _elementary(name) for name in _ELEMENTARY},
    **{f"power {exponent}": _power(exponent) for exponent in _EXPONENTS},
    "sgn": lambda z, w: torch.sgn(torch.where(z.isinf(), w.isinf() + 2j, z)),  # of infinities it depends on their place
    "silu": lambda z, w: functional.silu(z),
    "power of 2": lambda z, w: 2**z,
    "power of 1": lambda z, w: 1**z,
    "power": torch.pow,
    "real power": lambda z, w: [z**w.real, z.real**w],
    "mul": torch.mul,
    "div": torch.div,
    "div by numbers": lambda z, w: [z / 2, z / (1 + 2j), 2 / z, z / 0],
    "div of real": lambda z, w: [z / w.real, w.real / z],
    "addcmul": lambda z, w: torch.addcmul(z, w, z, value=2),
    "addcdiv": lambda z, w: [torch.addcdiv(z, w, z), torch.addcdiv(w, w, z, value=0.5)],
    "logaddexp": torch.logaddexp,
    "strided": lambda z, w: z[:224].view(14, 16).t()[::3].sin(),
    "broadcast": lambda z, w: [z[:7, None] ** w[:5], z[:, None][:9] ** w[3]],
    "conjugate": lambda z, w: z.conj().exp(),
    "none": lambda z, w: [z[:0].exp(), z[:0] ** w[:1]],
}


def _inputs(dtype: torch.dtype, seed: int) -> Tensor:
    values = torch.tensor(_VALUES, dtype=dtype.to_real())
    order = torch.randperm(len(values) ** 2, generator=torch.Generator().manual_seed(seed))
    return torch.complex(values.repeat(len(values))[order], values.repeat_interleave(len(values))[order])


def _leaves(value: Any) -> list[Tensor]:
    return [leaf for part in value for leaf in _leaves(part)] if isinstance(value, list | tuple) else [value]


def _difference(actual: Tensor, expected: Tensor, near_1: bool) -> Tensor:
    """For each element, in units of the last place of its greater part (``near_1``: or of 1).

    Infinite where a NaN, an infinity or a zero's sign differs.
    """
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    got, want = (torch.view_as_real(value) if value.is_complex() else value[..., None] for value in (actual, expected))
    limits = torch.finfo(want.dtype)
    got, want = got.double(), want.double()
    size = want.abs().nan_to_num(0, 0).amax(-1, keepdim=True).clamp(min=1 if near_1 else limits.tiny)
    same = torch.where(want == 0, (got == 0) & (got.signbit() == want.signbit()), got == want)
    same |= got.isnan() & want.isnan()
    both_zero = (got == 0) & (want == 0) & (not near_1)
    units = ((got - want).abs() / (limits.eps * size)).nan_to_num(math.inf, math.inf)
    return torch.where(same, 0.0, torch.where(both_zero, math.inf, units)).amax(-1)


@pytest.fixture(scope="module")
def library() -> Any:
    def every(*inputs: Tensor) -> dict[str, Any]:
        pairs = zip(TYPES, (inputs[:2], inputs[2:]))
        return {f"{name} {dtype}": f(*pair) for dtype, pair in pairs for name, f in FUNCTIONS.items()}

    class Every(torch.nn.Module):
        def forward(self, *inputs: Tensor) -> dict[str, Any]:
            return every(*inputs)

    return aotbuild.compile(Every(), tuple(_inputs(dtype, seed) for dtype in TYPES for seed in (1, 2))).runner


def _expected(function: Callable[[Tensor, Tensor], Any], z: Tensor, w: Tensor) -> list[list[Tensor]]:
    """Of whole tensors, and of elements alone: eager PyTorch's vectors differ from the latter where parts overflow."""
    whole = _leaves(function(z, w))
    if any(leaf.shape != z.shape for leaf in whole):
        return [whole]
    alone = [_leaves(function(*pair)) for pair in ((z[i : i + 1], w[i : i + 1]) for i in range(len(z)))]
    return [whole, [torch.cat(parts) for parts in zip(*alone)]]


@pytest.mark.slow
def test_complex_functions_are_eager_pytorchs(library: Any) -> None:
    wrong = {}
    for seed in range(0, 6, 2):
        pairs = [(_inputs(dtype, seed), _inputs(dtype, seed + 1)) for dtype in TYPES]
        results = library(*pairs[0], *pairs[1])
        for dtype, pair in zip(TYPES, pairs):
            for name, function in FUNCTIONS.items():
                actual = _leaves(results[f"{name} {dtype}"])
                expected = _expected(function, *pair)
                for i, value in enumerate(actual):
                    # Eager PyTorch has pi / 2 - asin, which is inexact where the two are near.
                    near_1 = (name, dtype) == ("acos", torch.complex128)
                    off = torch.stack([_difference(value, wanted[i], near_1) for wanted in expected]).amin(0)
                    if (off > 4).any():
                        at = off.argmax()
                        wrong[f"{name} {dtype} {i}"] = f"{value.flatten()[at]}, not {expected[0][i].flatten()[at]}"
    assert wrong == {}
