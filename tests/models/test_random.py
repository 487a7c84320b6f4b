"""Random numbers: a seed gives those of torch.compile, or eager's where TorchInductor leaves them to PyTorch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import aotbuild


def generated(x: Tensor) -> tuple[Tensor, ...]:
    """What TorchInductor makes by Philox from a seed of each operator."""
    numbers = torch.rand(4, 20), torch.randn(20), torch.randint(0, 1000, (5,)), torch.rand_like(x)
    return (*numbers, torch.nn.functional.dropout(x, 0.5, True), torch.bernoulli(x))


def drawn(x: Tensor) -> tuple[Tensor, ...]:
    return torch.rand(4, 20), torch.randn(20), torch.randint(0, 1000, (5,)), torch.randn(3), torch.rand_like(x)


def equal(actual: Any, expected: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.slow
def test_a_seed_gives_the_numbers_of_torch_compile(tmp_path: Path) -> None:
    x = torch.rand(3, 4)
    model = aotbuild.compile(generated, (x,), output_dir=tmp_path, name="generated").runner
    compiled = torch.compile(generated)
    torch.manual_seed(1234567890123)
    model.manual_seed(1234567890123)
    first = model(x)
    for expected in (compiled(x), compiled(x)):  # the second call draws on
        assert equal(first, expected)
        first = model(x)
    model.manual_seed(7)
    torch.manual_seed(7)
    assert equal(model(x), compiled(x))

    # A new object starts as PyTorch does, and objects do not draw from one another.
    fresh = aotbuild.load(tmp_path / "build" / "libgenerated.so")
    torch.manual_seed(67280421310721)
    assert equal(fresh(x), compiled(x))

    # Calls at the same time take each of the numbers once.
    model.manual_seed(3)
    in_turn = {tuple(model(x)[1].tolist()) for _ in range(32)}
    model.manual_seed(3)
    with ThreadPoolExecutor(4) as pool:
        at_once = {tuple(result[1].tolist()) for result in pool.map(model, [x] * 32)}
    assert at_once == in_turn and len(in_turn) == 32


@pytest.mark.slow
def test_with_fallback_random_a_seed_gives_eagers_numbers(tmp_path: Path) -> None:
    x = torch.rand(3, 4)
    options = {"fallback_random": True}
    model = aotbuild.compile(drawn, (x,), options=options, output_dir=tmp_path, name="drawn").runner
    torch.manual_seed(42)
    model.manual_seed(42)
    for _ in range(3):
        actual, expected = model(x), drawn(x)
        for a, b in zip(actual, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
