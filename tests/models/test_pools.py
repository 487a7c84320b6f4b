"""Pools over windows of every kind: large, overlapping, padded, dilated, with ceil_mode; NaN and infinities in them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import aotbuild


def _numbers(*sizes: int) -> Tensor:
    """Numbers between 0 and 1 that look random."""
    return (torch.arange(1, 1 + math.prod(sizes)) * 0.618034).frac().view(sizes)


POOLS: dict[str, Callable[[Tensor], Any]] = {
    "average_11_1": lambda x: functional.avg_pool2d(x, 11, 1),
    "average_7_1_3": lambda x: functional.avg_pool2d(x, 7, 1, 3),
    "average_ceil": lambda x: functional.avg_pool2d(x, 7, 2, 3, ceil_mode=True),
    "average_inside": lambda x: functional.avg_pool2d(x, 7, 2, 3, ceil_mode=True, count_include_pad=False),
    "average_divisor": lambda x: functional.avg_pool2d(x, (7, 8), (2, 3), 3, divisor_override=5),
    "average_plane": lambda x: functional.avg_pool2d(x[0], 7, 2),
    "average_1d": lambda x: functional.avg_pool1d(x.flatten(2), 40, 1),
    "average_3d": lambda x: functional.avg_pool3d(x.unsqueeze(1), 3, 1, 1),
    "average_3d_ceil": lambda x: functional.avg_pool3d(x.unsqueeze(1), (2, 4, 5), 3, (1, 2, 2), True, False),
    "average_channels_last": lambda x: functional.avg_pool2d(x.to(memory_format=torch.channels_last), 7, 1),
    "average_bfloat16": lambda x: functional.avg_pool2d(x.bfloat16(), 7, 1).float(),
    "average_double": lambda x: functional.avg_pool2d(x.double(), 7, 1),
    "greatest": lambda x: functional.max_pool2d(x, 9, 2, 4),
    "greatest_places": lambda x: functional.max_pool2d(x, 9, 2, 4, return_indices=True),
    "greatest_dilated": lambda x: functional.max_pool2d(x, 6, 1, 3, dilation=2, ceil_mode=True, return_indices=True),
    "greatest_1d": lambda x: functional.max_pool1d(x.flatten(2), 30, 7, 15),
    "greatest_3d": lambda x: functional.max_pool3d(x.unsqueeze(1), (3, 5, 5), 1, (1, 2, 2), return_indices=True),
    "greatest_small": lambda x: functional.max_pool2d(x, 3, 2, 1, return_indices=True),
    "greatest_small_dilated": lambda x: functional.max_pool2d(x, 2, 1, 1, dilation=2, return_indices=True),
    "greatest_places_1d": lambda x: functional.max_pool1d(x.flatten(2), 3, 2, 1, return_indices=True),
    # Eager takes the windows of planes and of volumes from the numbers in different orders.
    "fractional": lambda x: functional.fractional_max_pool2d(x, (2, 3), (7, 4), _random_samples=_numbers(2, 3, 2)),
    "fractional_3d": lambda x: functional.fractional_max_pool3d(
        x.transpose(0, 1), (1, 3, 2), (1, 5, 6), _random_samples=_numbers(1, 3, 3)
    ),
    "power": lambda x: functional.lp_pool2d(x.abs(), 2, 9, 2),
    "adaptive_average": lambda x: functional.adaptive_avg_pool2d(x, (2, 3)),
    "adaptive_greatest": lambda x: functional.adaptive_max_pool2d(x, (2, 3), return_indices=True),
}


def pools(x: Tensor) -> dict[str, Any]:
    """``x``: [batch, 3, 13, 14]."""
    return {name: pool(x) for name, pool in POOLS.items()}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("pools")
    return aotbuild.compile(pools, (torch.randn(2, 3, 13, 14),), output_dir=folder).runner


def leaves(value: Any) -> list[Tensor]:
    return [torch.as_tensor(part) for part in (value if isinstance(value, tuple | list) else [value])]


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("everywhere", [False, True])
def test_pools_give_eagers_values_and_places(library: Any, value: float, everywhere: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 13, 14)
    x.view(-1)[:: 1 if everywhere else 31] = value
    actual, expected = library(x), pools(x)
    got = {f"{name}_{i}": part for name in expected for i, part in enumerate(leaves(actual[name]))}
    want = {f"{name}_{i}": part for name, result in expected.items() for i, part in enumerate(leaves(result))}
    for name, right in want.items():
        rtol, atol = (1e-2, 1e-2) if "bfloat16" in name else (1e-5, 1e-6)
        message = functools.partial("{}: {}".format, name)
        torch.testing.assert_close(
            got[name], right, rtol=rtol, atol=atol, equal_nan=True, check_stride=False, msg=message
        )
