"""Special values: NaN, infinities, zeros of both signs, denormal and huge numbers, in vectors and in their rests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import model_zoo
import pytest
import torch
from torch import Tensor

HALF_TYPES = (torch.float16, torch.bfloat16)
_VALUES = (
    *(0.0, -0.0, 1.0, -1.0, 0.1, -0.3, 0.5, 1.5, -2.5, 3.0, 9.0, -7.0, 100.0, 1e6, 999999.5, 1e10, 12345678912.0),
    *(-3e10, 1e-3, -1e-5, 1e-10, 1e-20, 1e-38, 1e-40, -1e-45, 88.7, -104.0, 1e30, 1e38, 3.4e38, -3.4e38),
    *(float("inf"), -float("inf"), float("nan")),
)


def inputs() -> tuple[Tensor, Tensor]:
    """Every value with every other, in an order that brings each to each place of a vector."""
    values = torch.tensor(_VALUES)
    order = torch.randperm(len(values) ** 2, generator=torch.Generator().manual_seed(5))
    return values.repeat(len(values))[order], values.repeat_interleave(len(values))[order]


def difference(actual: Tensor, expected: Tensor) -> Tensor:
    """In units of the last place; infinite where a NaN, an infinity or a zero's sign differs."""
    if not expected.dtype.is_floating_point:
        return torch.where(actual == expected, 0.0, torch.inf)
    limits = torch.finfo(expected.dtype)
    got, want = actual.double(), expected.double()
    same = torch.where(want == 0, (got == 0) & (got.signbit() == want.signbit()), got == want)
    same |= got.isnan() & want.isnan()
    units = (got - want).abs() / (limits.eps * want.abs().clamp(min=limits.tiny))
    return torch.where(
        same, 0.0, torch.where((want == 0) & (got == 0), torch.inf, units).nan_to_num(torch.inf, torch.inf)
    )


# The model's sizes: one element, less than a vector, one or two vectors, vectors and a rest.
@pytest.mark.parametrize("size", [1, 3, 16, 67, len(_VALUES) ** 2])
def test_special_values_are_eager_pytorchs(load: Callable[..., Any], size: int) -> None:
    function: Any = model_zoo.MODELS["eager_values"]().module
    library = load("eager_values", num_threads=1, outputs="torch")
    x, y = inputs()
    for begin in range(0, x.numel() - size + 1, max(size, x.numel() // 20)):
        call = x[begin : begin + size].clone(), y[begin : begin + size].clone()
        for index, (actual, expected) in enumerate(zip(library(*call), function(*call), strict=True)):
            off = difference(actual, expected)
            assert off.max() <= 6, f"output {index}: {actual[off.argmax()]}, not {expected[off.argmax()]}"


def _around(number: float, dtype: torch.dtype) -> Tensor:
    """What a half type rounds the number to, and its neighbours, of both signs."""
    bits = torch.tensor(number).to(dtype).view(torch.int16)
    values = torch.stack([bits - 1, bits, bits + 1]).view(dtype)
    return torch.cat([values, -values])


@pytest.mark.parametrize("size", [1, 7, 16, 33, 64, 500])
def test_half_types_are_rounded_where_eager_pytorch_rounds(load: Callable[..., Any], size: int) -> None:
    function: Any = model_zoo.MODELS["half_types"]().module
    library = load("half_types", num_threads=1, outputs="torch")
    generator = torch.Generator().manual_seed(size)
    numbers = torch.cat([_around(number, dtype).double() for number in (0.1, 1 / 3, 257.0) for dtype in HALF_TYPES])
    numbers = torch.cat([numbers, torch.randn(len(numbers), generator=generator, dtype=torch.float64) * 100])
    places = torch.randint(len(numbers), (3, size), generator=generator)
    x, h, b = numbers[places]
    call = x.float(), h.half(), b.bfloat16()
    wrong = {}
    for index, (actual, expected) in enumerate(zip(library(*call), function(*call), strict=True)):
        assert actual.dtype == expected.dtype
        if not torch.equal(actual.double().nan_to_num(1e99), expected.double().nan_to_num(1e99)):
            at = (actual.double() - expected.double()).abs().argmax()
            wrong[index] = f"{actual.flatten()[at]}, not {expected.flatten()[at]}"
    assert wrong == {}


@pytest.mark.parametrize("size", [1, 7, 16, 33, 64, 500])
def test_integers_wrap_as_in_eager_pytorch(load: Callable[..., Any], size: int) -> None:
    function: Any = model_zoo.MODELS["wrapping_integers"]().module
    library = load("wrapping_integers", num_threads=1, outputs="torch")
    edges = [edge for bits in (7, 8, 15, 16, 31, 32, 63) for edge in (2**bits - 1, -(2**bits), 2**bits - 2)]
    values = torch.tensor([*range(-9, 10), 63, 64, 65, 100, -100, *edges])
    x, y = values[torch.randint(len(values), (2, size), generator=torch.Generator().manual_seed(size))]
    for index, (actual, expected) in enumerate(zip(library(x, y), function(x, y), strict=True)):
        assert actual.dtype == expected.dtype
        assert torch.equal(actual, expected), f"output {index}"
