"""Resizing of images: NaN and infinities reach only what they have a weight for, as in eager; bytes are eager's."""

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


def interpolated(image: Tensor) -> dict[str, Tensor]:
    """Without antialiasing; ``image``: [1, 2, 7, 9]."""
    results: dict[str, Tensor] = {}
    for corners in (False, True):
        results |= {
            f"bilinear_{size[0]}_{size[1]}_{corners}": interpolate(image, size, mode="bilinear", align_corners=corners)
            for size in ((14, 5), (7, 5), (7, 9))
        }
        results[f"bicubic_{corners}"] = interpolate(image, (14, 12), mode="bicubic", align_corners=corners)
        results[f"linear_{corners}"] = interpolate(image[0], 13, mode="linear", align_corners=corners)
        results[f"trilinear_{corners}"] = interpolate(
            image.unsqueeze(0), (3, 9, 5), mode="trilinear", align_corners=corners
        )
    results["factors"] = interpolate(image, scale_factor=(2, 1.7), mode="bilinear")
    results["factors_kept"] = interpolate(image, scale_factor=(2, 1.7), mode="bilinear", recompute_scale_factor=True)
    results["linear_factor"] = interpolate(image[0], scale_factor=2.3, mode="linear")
    results["bfloat16"] = interpolate(image.bfloat16(), scale_factor=2, mode="bilinear")
    results["nearest_exact"] = interpolate(image, scale_factor=(1.7, 0.6), mode="nearest-exact")
    return results


def bytes_resized(image: Tensor) -> dict[str, Tensor]:
    """``image``: [batch, channels, 7, 9] in uint8."""
    return {
        "bilinear": interpolate(image, (14, 5), mode="bilinear"),
        "bilinear_corners": interpolate(image, (4, 12), mode="bilinear", align_corners=True),
        "bilinear_antialias": interpolate(image, (4, 12), mode="bilinear", antialias=True),
        "bicubic": interpolate(image, (14, 5), mode="bicubic"),
        "bicubic_antialias": interpolate(image, (14, 5), mode="bicubic", antialias=True),
        "factors": interpolate(image, scale_factor=(2, 1.7), mode="bilinear"),
        "channels_last": interpolate(image.to(memory_format=torch.channels_last), (14, 9), mode="bilinear"),
    }


def both(image: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    names = interpolated(image), {f"bytes_{name}": value for name, value in bytes_resized(pixels).items()}
    return names[0] | names[1]


def of_any_size(image: Tensor) -> Tensor:
    return interpolate(image, (4, 5), mode="bilinear", antialias=True)


def assert_same(actual: Tensor, expected: Tensor, name: str) -> None:
    message = functools.partial("{}: {}".format, name)
    rtol, atol = (1e-2, 1e-2) if expected.dtype == torch.bfloat16 else (1e-4, 1e-5)
    torch.testing.assert_close(
        torch.as_tensor(actual), expected, rtol=rtol, atol=atol, equal_nan=True, check_stride=False, msg=message
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


@pytest.fixture(scope="module")
def interpolating(tmp_path_factory: pytest.TempPathFactory) -> Any:
    example = torch.randn(1, 2, 7, 9), torch.zeros(2, 3, 7, 9, dtype=torch.uint8)
    return aotbuild.compile(both, example, output_dir=tmp_path_factory.mktemp("interpolated")).runner


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -math.inf])
def test_interpolation_gives_eagers_values(interpolating: Any, value: float) -> None:
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (2, 3, 7, 9), dtype=torch.uint8)
    for place in ((3, 4), (0, 0), (6, 8), (0, 8)):
        image = torch.randn(1, 2, 7, 9)
        image[0, 1, place[0], place[1]] = value
        actual, expected = interpolating(image, pixels), both(image, pixels)
        for name, want in expected.items():
            if want.dtype == torch.uint8:
                assert torch.equal(torch.as_tensor(actual[name]), want), name
            else:
                assert_same(actual[name], want, name)


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
