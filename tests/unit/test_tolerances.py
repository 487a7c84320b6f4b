"""Tolerances of golden values follow the types that a value went through and eager PyTorch's own error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aotbuild import Method, Model
from aotbuild.capture import Source, capture, capture_methods
from aotbuild.capture.tolerances import tolerance
from aotbuild.spec.program import Tolerance


def recorded(module: Any, *inputs: Tensor) -> tuple[Tolerance, ...]:
    torch.manual_seed(0)
    return capture(Source(Model(module, inputs), None, ()), (), "net").golden[0].tolerances


def passes(value: Tensor, other: Tensor, allowed: Tolerance) -> bool:
    return torch.allclose(other.double(), value.double(), rtol=allowed.rtol, atol=allowed.atol, equal_nan=True)


def test_an_output_has_the_tolerance_of_its_own_types() -> None:
    inputs = (torch.randn(100).bfloat16(), torch.randn(100))
    half, single, widened = recorded(lambda a, b: (a * 2, b + 1, a.float() * b), *inputs)
    assert half.rtol > 1e-2
    assert single.rtol < 1e-5 > single.atol
    assert widened.rtol < 1e-5  # an input is exact, whatever type it has


def test_a_type_in_between_counts() -> None:
    (through,) = recorded(lambda x: x.bfloat16().float().exp(), torch.randn(100))
    assert through.rtol > 1e-2


def test_integers_and_booleans_are_equal_or_wrong() -> None:
    assert recorded(lambda x: (x.argmax(), x > 0), torch.randn(100)) == (Tolerance(0, 0), Tolerance(0, 0))


def test_small_values_of_a_softmax_are_compared_by_their_own_size() -> None:
    x = torch.randn(4, 32000).bfloat16()
    value = x.softmax(-1)
    (allowed,) = recorded(lambda x: x.softmax(-1), x)
    assert not passes(value, torch.zeros_like(value), allowed)
    assert passes(value, value.float() * 1.004, allowed)


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: (x.half() * 3).float(), lambda x: x * 2, (x,))


def test_types_inside_of_a_branch_count() -> None:
    (allowed,) = recorded(Branch(), torch.ones(100))
    assert allowed.rtol > 1e-3


def test_random_numbers_have_the_tolerance_of_their_type() -> None:
    (allowed,) = recorded(lambda x: torch.rand_like(x) + x, torch.ones(1000))
    assert allowed.rtol == 1e-4  # float64 draws others, which is no rounding error


def test_where_eager_has_the_larger_error_it_is_allowed() -> None:
    x = torch.linspace(1, 2, 4096)
    (allowed,) = recorded(lambda x: (x + 1e4).square() - (x * x + 2e4 * x + 1e8), x)
    eager = (x + 1e4).square() - (x * x + 2e4 * x + 1e8)
    assert allowed.rtol <= 1e-4
    assert allowed.atol < 20 * max(eager.abs().max().item(), 1.0)


class Written(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x.add_(1)
        return (y.bfloat16() * 2).float()


def test_what_is_written_has_a_tolerance_of_its_own() -> None:
    output, written = recorded(Written(), torch.randn(100), torch.randn(100))
    assert output.rtol > 1e-2 > 1e-5 > written.rtol


class Two(nn.Module):
    def single(self, x: Tensor) -> Tensor:
        return x * 3

    def narrow(self, x: Tensor) -> Tensor:
        return x.bfloat16() * 3


def test_methods_have_tolerances_of_their_own() -> None:
    x = torch.randn(100)
    model = Model(Two(), methods={"single": Method((x,)), "narrow": Method((x,))})
    captured, _ = capture_methods(Source(model, None, ()), ["single", "narrow"], (), "net")
    rtols = {name: method.golden[0].tolerances[0].rtol for name, method in captured.items()}
    assert rtols["single"] < 1e-5 < 1e-2 < rtols["narrow"]


PERTURBATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": torch.zeros_like,
    "the sign": torch.neg,
    "one per cent of the greatest": lambda x: torch.where(x.abs() == x.abs().max(), x * 1.01, x),
    "a NaN": lambda x: torch.where(x == x.max(), torch.nan, x),
    "an infinity": lambda x: torch.where(x == x.max(), torch.inf, x),
}


@pytest.mark.parametrize("what", PERTURBATIONS)
@pytest.mark.parametrize("count", [1, 2000])
def test_a_wrong_value_is_no_rounding(what: str, count: int) -> None:
    torch.manual_seed(0)
    exact = torch.randn(count, dtype=torch.float64)
    value = exact.float()
    assert not passes(value, PERTURBATIONS[what](value), tolerance(value, torch.float32, exact))
    assert not passes(value, PERTURBATIONS[what](value), tolerance(value, torch.float32, None))
    assert passes(value, value * (1 + 1e-6), tolerance(value, torch.float32, exact))
