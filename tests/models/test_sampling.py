"""``grid_sample`` of images: NaN, infinities and huge numbers in the grid and in the image give what eager gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

import aotbuild

WAYS = list(itertools.product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)))


def sampled(image: Tensor, grid: Tensor) -> dict[str, Tensor]:
    """``image``: [2, 3, 5, 7]; ``grid``: [2, 4, 9, 2]."""
    return {
        f"{mode}_{padding}_{corners}": grid_sample(image, grid, mode, padding, corners)
        for mode, padding, corners in WAYS
    }


def example() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, 5, 7), torch.rand(2, 4, 9, 2) * 3 - 1.5


def calls() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    for value in (math.nan, math.inf, -math.inf, 1e30, -1e30, 3e9, 1e6, 1.0, -1.0):
        for every in (1, 3):
            image, grid = example()
            grid.view(-1)[::every] = value
            yield f"{value} in the grid, {every}", (image, grid)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 9), indexing="ij")
    whole = torch.stack((columns, rows), -1).expand(2, -1, -1, -1).contiguous()
    for value in (math.nan, math.inf, -math.inf):
        for place in (0, 17, 34):
            image, grid = example()
            image[0, 1].view(-1)[place] = value
            yield f"{value} at pixel {place}", (image, grid)
            yield f"{value} at pixel {place}, on the border", (image, whole)


@pytest.mark.slow
def test_sampling_gives_eagers_values(tmp_path: Any) -> None:
    library = aotbuild.compile(sampled, example(), output_dir=tmp_path).runner
    wrong: dict[str, list[str]] = {}
    for call, operands in calls():
        actual, expected = library(*operands), sampled(*operands)
        for name, want in expected.items():
            if not torch.allclose(torch.as_tensor(actual[name]), want, rtol=1e-4, atol=1e-5, equal_nan=True):
                wrong.setdefault(name, []).append(call)
    assert wrong == {}
