"""Integers divided by zero: an error of the call, as in eager PyTorch, that names the line of the model."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
from torch import Tensor

import aotbuild

DTYPES = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


def divide(x: Tensor, y: Tensor) -> list[Tensor]:
    """``y``: [types, divisions, 67], a row of divisors for each. What is added makes one kernel of several."""
    found = []
    for number, dtype in enumerate(DTYPES):
        a, rows = x.to(dtype), iter(y[number].to(dtype))
        found.append(torch.floor_divide(a, next(rows)))
        found.append((a + 1) // next(rows))
        found.append((a + 2) % next(rows))
        found.append(torch.div(a, next(rows), rounding_mode="floor") + 3)
        found.append(torch.div(a, next(rows), rounding_mode="trunc") + 4)
        found.append(torch.remainder(a, next(rows)) + 5)
        found.append(torch.fmod(a, next(rows)) + 6)
        found.append(7 // next(rows))
        found.append(8 % next(rows))
        found.append(torch.fmod(a, next(rows)[-1]))
        found.append(a[:, None] // next(rows)[None, :3])
        found.append((a % next(rows)).sum())
        b = found[-1] // 3
        found.append(b // next(rows))
    return found


def lines() -> list[tuple[int, str]]:
    """Where ``divide`` divides by each row."""
    text, first = inspect.getsourcelines(divide)
    return [(first + number, line.strip()) for number, line in enumerate(text) if "next(rows)" in line]


def ones() -> Tensor:
    return torch.ones(len(DTYPES), len(lines()), 67, dtype=torch.int64)


def _is_refused(x: Tensor, y: Tensor) -> bool:
    """By eager PyTorch."""
    try:
        divide(x, y)
    except RuntimeError as error:
        return "ZeroDivisionError" in str(error)
    return False


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return aotbuild.compile(divide, (torch.arange(67), ones()), output_dir=tmp_path_factory.mktemp("divisions")).runner


def test_quotients_are_eager_pytorchs(library: Any) -> None:
    x = torch.arange(-30, 37)
    y = ones() * torch.arange(1, 68)
    for actual, expected in zip(library(x, y), divide(x, y), strict=True):
        assert torch.equal(torch.as_tensor(actual), expected)


@pytest.mark.parametrize("place", [0, 2, 66])
def test_a_divisor_of_zero_is_an_error_with_the_models_line(library: Any, place: int) -> None:
    x = torch.arange(67)
    refused = []
    for number in range(len(DTYPES)):
        for row, (line, code) in enumerate(lines()):
            y = ones()
            y[number, row, place] = 0
            if not _is_refused(x, y):
                continue  # this one reads no divisor there
            named = rf"\(test_divisions\.py:{line} in \w+: {re.escape(code)}\)$"
            with pytest.raises(aotbuild.Error, match=f"ZeroDivisionError: an integer is divided by zero {named}"):
                library(x, y)
            refused.append(code)
    assert len(refused) >= len(DTYPES) * (len(lines()) - 2)
    assert len(library(x, ones())) == len(DTYPES) * len(lines())
