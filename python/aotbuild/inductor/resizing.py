"""Resizing with antialiasing as gathered sums: what has no weight is not multiplied, so that NaN stays in its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


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
    """``self`` with its last dimension resized; ``reach``: half of the width of ``kernel`` where nothing shrinks."""
    before: Any = self.shape[-1]
    if align_corners:
        step = (before - 1) / (size - 1) if size > 1 else 0.0
    else:
        step = 1 / scale if scale is not None and scale > 0 else before / size
    widened = max(step, 1.0)
    support = reach * widened
    centers = step * (torch.arange(size, dtype=self.dtype, device=self.device) + 0.5)
    first = (centers - support + 0.5).trunc().clamp(min=0).unsqueeze(1)
    last = (centers + support + 0.5).trunc().clamp(max=before).unsqueeze(1)
    if isinstance(before, int) and isinstance(size, int):
        offsets = torch.arange(math.ceil(2 * support) + 1, dtype=self.dtype, device=self.device)
        places = first + offsets
        # Rounded as upstream rounds: where a weight is nearly zero, its sign is that of an infinity's share.
        distances = offsets + (first - centers.unsqueeze(1))
        taken = self[..., places.clamp(max=before - 1).long()]
    else:  # how many have a weight is not known: all are looked at
        places = torch.arange(before, dtype=self.dtype, device=self.device)
        distances = places - centers.unsqueeze(1)
        taken = self.unsqueeze(-2)
    is_inside = (places >= first) & (places < last)
    weights = torch.where(is_inside, kernel((distances + 0.5) * (1 / widened)), 0)
    weights = weights / weights.sum(1, keepdim=True)
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
        if not self.dtype.is_floating_point:
            return NotImplemented
        wide = self if self.dtype == torch.float64 else self.float()
        if output_size[1] != self.shape[-1]:  # eager leaves alone what keeps its size
            wide = _resized(wide, output_size[1], align_corners, scales_w, kernel, reach)
        if output_size[0] != self.shape[-2]:
            wide = _resized(wide.mT, output_size[0], align_corners, scales_h, kernel, reach).mT
        return wide.to(self.dtype)

    return resize


bilinear = antialiased(_triangle, 1.0)
bicubic = antialiased(_cubic, 2.0)
