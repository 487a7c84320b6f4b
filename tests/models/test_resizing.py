"""Resizing of images with antialiasing: NaN and infinities reach only what they have a weight for, as in eager."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

import aotbuild

SIZES = ((4, 5), (14, 12), (7, 5))


def resized(image: Tensor) -> dict[str, Tensor]:
    """``image``: [batch, channels, 7, 9]."""
    return {
        f"{mode}_{height}_{width}_{corners}": interpolate(
            image, (height, width), mode=mode, align_corners=corners, antialias=True
        )
        for mode in ("bilinear", "bicubic")
        for height, width in SIZES
        for corners in (False, True)[: 1 + (height == 4)]
    }


def of_any_size(image: Tensor) -> Tensor:
    return interpolate(image, (4, 5), mode="bilinear", antialias=True)


def assert_same(actual: Tensor, expected: Tensor, name: str) -> None:
    message = functools.partial("{}: {}".format, name)
    torch.testing.assert_close(
        torch.as_tensor(actual), expected, rtol=1e-4, atol=1e-5, equal_nan=True, check_stride=False, msg=message
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("resized")
    return aotbuild.compile(resized, (torch.randn(1, 2, 7, 9),), output_dir=folder).runner


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -math.inf])
def test_antialiasing_spreads_no_nan_over_the_image(library: Any, value: float) -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 2, 7, 9)
    image[0, 1, 3, 4] = value
    actual, expected = library(image), resized(image)
    # An infinity times a weight of a cubic kernel that is nearly zero has the sign of a rounding error.
    names = [
        name for name in expected if not (math.isinf(value) and name.startswith("bicubic") and name.endswith("5_False"))
    ]
    for name in names:
        assert_same(actual[name], expected[name], name)


@pytest.mark.slow
def test_images_of_any_size_are_antialiased(tmp_path: Any) -> None:
    side = torch.export.Dim.DYNAMIC(min=6, max=40)
    library = aotbuild.compile(
        of_any_size, (torch.randn(1, 2, 7, 9),), dynamic_shapes={"image": {2: side, 3: side}}, output_dir=tmp_path
    ).runner
    for sizes in ((7, 9), (31, 8), (6, 40)):
        image = torch.randn(1, 2, *sizes)
        image[0, 1, 3, 4] = math.nan
        assert_same(library(image), of_any_size(image), str(sizes))
