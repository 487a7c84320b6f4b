"""``grid_sample`` of images with eager PyTorch's values: pixels outside count as 0, and NaN in the grid is a place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aotbuild.lower.common.interpolation import cubic

_BILINEAR, _NEAREST = 0, 1  # bicubic is 2
_ZEROS, _BORDER = 0, 1  # reflection is 2


def _in_pixels(grid: Tensor, size: Any, align_corners: bool) -> Tensor:
    scaled: Tensor = (grid + 1) * ((size - 1 if align_corners else size) / 2)
    return scaled if align_corners else scaled - 0.5


def _clamped(x: Tensor, size: Any) -> Tensor:
    """Into the image; what is NaN is at its beginning."""
    x = torch.where(x > 0, x, 0.0)
    last = float(size - 1) if isinstance(size, int) else size - 1
    return torch.where(x < last, x, last)


def _reflected(x: Tensor, size: Any, align_corners: bool) -> Tensor:
    if align_corners and isinstance(size, int) and size <= 1:
        return torch.zeros_like(x)
    low = 0.0 if align_corners else -0.5
    period = float(2 * (size - 1 if align_corners else size))
    distance = (x - low).abs()
    rest = distance - (distance / period).trunc() * period
    return torch.minimum(rest, period - rest) + low


def _placed(x: Tensor, size: Any, padding: int, align_corners: bool) -> Tensor:
    if padding == _ZEROS:
        return x
    return _clamped(x if padding == _BORDER else _reflected(x, size, align_corners), size)


class _Image:
    """[batch, channels, height, width], read pixel by pixel."""

    def __init__(self, image: Tensor) -> None:
        self._image = image
        batch, channels, self.height, self.width = image.shape
        self._batch = torch.arange(batch, device=image.device)
        self._channel = torch.arange(channels, device=image.device)

    def at(self, x: Tensor, y: Tensor) -> Tensor:
        """The pixels [batch, channels, ...] at whole numbers [batch, ...]; 0 where these lie outside or are NaN."""
        batch = self._batch.view(-1, *[1] * x.dim())
        channel = self._channel.view(-1, *[1] * (x.dim() - 1))
        is_inside = (x > -1) & (x < self.width) & (y > -1) & (y < self.height)
        column, row = (torch.where(is_inside, place, 0.0).to(torch.int64).unsqueeze(1) for place in (x, y))
        return torch.where(is_inside.unsqueeze(1), self._image[batch, channel, row, column], 0.0)


def _bilinear(image: _Image, x: Tensor, y: Tensor) -> Tensor:
    """The four pixels around a place are a dimension that is summed: one expression is less to compile than four."""
    corner = torch.arange(4, device=x.device)
    west, north = x.floor(), y.floor()
    across, down = (x - west).unsqueeze(-1), (y - north).unsqueeze(-1)
    is_east, is_south = corner % 2 == 1, corner >= 2
    weights = torch.where(is_south, down, 1 - down) * torch.where(is_east, across, 1 - across)
    values = image.at(west.unsqueeze(-1) + is_east.to(x.dtype), north.unsqueeze(-1) + is_south.to(x.dtype))
    return (values * weights.unsqueeze(1)).sum(-1)


def _bicubic(image: _Image, x: Tensor, y: Tensor, padding: int, align_corners: bool) -> Tensor:
    pixel = torch.arange(16, device=x.device)
    i, j = (pixel % 4 - 1).to(x.dtype), (pixel // 4 - 1).to(x.dtype)
    west, north = x.floor(), y.floor()
    across = cubic(i - (x - west).unsqueeze(-1))
    down = cubic(j - (y - north).unsqueeze(-1))
    column = _placed(west.unsqueeze(-1) + i, image.width, padding, align_corners)
    row = _placed(north.unsqueeze(-1) + j, image.height, padding, align_corners)
    return (image.at(column, row) * across.unsqueeze(1) * down.unsqueeze(1)).sum(-1)


def grid_sample(
    image: Tensor, grid: Tensor, interpolation_mode: int = 0, padding_mode: int = 0, align_corners: bool = False
) -> Tensor:
    """``grid_sampler_2d``: ``image`` [batch, channels, height, width], ``grid`` [batch, height, width, 2]."""
    pixels = _Image(image)
    x, y = (_in_pixels(grid[..., i], size, align_corners) for i, size in enumerate((pixels.width, pixels.height)))
    if interpolation_mode not in (_BILINEAR, _NEAREST):
        return _bicubic(pixels, x, y, padding_mode, align_corners)
    x = _placed(x, pixels.width, padding_mode, align_corners)
    y = _placed(y, pixels.height, padding_mode, align_corners)
    return _bilinear(pixels, x, y) if interpolation_mode == _BILINEAR else pixels.at(x.round(), y.round())
