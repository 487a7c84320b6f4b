"""Resizing with antialiasing as gathered sums: what has no weight is not multiplied, so that NaN stays in its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from aotbuild.lower.common import interpolation


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """The cubic convolution kernel with a = -0.5 (Keys, 1981), which upstream uses with antialiasing."""
    a, x = -0.5, x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))


def _resized(
    self: Tensor, size: Any, align_corners: bool, scale: float | None, kernel: Callable[[Tensor], Tensor], reach: float
) -> Tensor:
    """``self`` with its last dimension resized; ``reach``: half of the width of ``kernel`` where nothing shrinks.

    Bytes come as int32, and go as such: their weights are those of float64, in 16 bits.
    """
    before: Any = self.shape[-1]
    dtype = self.dtype if self.dtype.is_floating_point else torch.float64
    step = interpolation.step(before, size, align_corners, scale)
    widened = max(step, 1.0)
    support = reach * widened
    centers = step * (torch.arange(size, dtype=dtype, device=self.device) + 0.5)
    first = (centers - support + 0.5).trunc().clamp(min=0).unsqueeze(1)
    last = (centers + support + 0.5).trunc().clamp(max=before).unsqueeze(1)
    if isinstance(before, int) and isinstance(size, int):
        offsets = torch.arange(math.ceil(2 * support) + 1, dtype=dtype, device=self.device)
        places = first + offsets
        # Rounded as upstream rounds: where a weight is nearly zero, its sign is that of an infinity's share.
        distances = offsets + (first - centers.unsqueeze(1))
        taken = self[..., places.clamp(max=before - 1).long()]
    else:  # how many have a weight is not known: all are looked at
        places = torch.arange(before, dtype=dtype, device=self.device)
        distances = places - centers.unsqueeze(1)
        taken = self.unsqueeze(-2)
    is_inside = (places >= first) & (places < last)
    weights = torch.where(is_inside, kernel((distances + 0.5) * (1 / widened)), 0)
    weights = weights / weights.sum(1, keepdim=True)
    if not self.dtype.is_floating_point:
        return interpolation.weighted_bytes(taken, weights)
    return torch.where(is_inside, taken * weights, 0).sum(-1)


def antialiased(kernel: Callable[[Tensor], Tensor], reach: float) -> Callable[..., Any]:
    """The decomposition of ``_upsample_*2d_aa`` with that kernel; the last dimension first, as in eager."""

    def resize(
        self: Tensor,
        output_size: Sequence[Any],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Any:
        if not (self.dtype.is_floating_point or self.dtype == torch.uint8):
            return NotImplemented
        wide = self.to(torch.int32) if self.dtype == torch.uint8 else self.float()
        wide = self if self.dtype == torch.float64 else wide
        scales = scales_h, scales_w

        def along_last(image: Tensor, size: Any, dim: int) -> Tensor:
            return _resized(image, size, align_corners, scales[dim], kernel, reach)

        return interpolation.along_both(wide, output_size, along_last).to(self.dtype)

    return resize


bilinear = antialiased(_triangle, 1.0)
bicubic = antialiased(_cubic, 2.0)
