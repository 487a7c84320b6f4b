"""Resizing without antialiasing: sums of products as in eager PyTorch, and bytes by whole weights as in eager."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp.decompositions import upsample_compute_output_size


def step(before: Any, after: Any, align_corners: bool, scale: float | None) -> Any:
    """How far apart two results in a row are, in elements of the input."""
    if align_corners:
        return (before - 1) / (after - 1) if after > 1 else 0.0
    return 1 / scale if scale is not None and scale > 0 else before / after


def _places(before: Any, after: Any, align_corners: bool, scale: float | None, dtype: torch.dtype, like: Tensor) -> Any:
    """For each result the element before it, that after it, and how far it lies from the first."""
    at = torch.arange(after, device=like.device)
    if isinstance(before, int) and isinstance(after, int) and before == after:
        return at, at, torch.zeros(after, dtype=dtype, device=like.device)
    distance = step(before, after, align_corners, scale)
    exact = at.to(dtype)
    exact = exact * distance if align_corners else ((exact + 0.5) * distance - 0.5).clamp(min=0)
    first = exact.to(torch.int64).clamp(max=before - 1)
    return first, (first + 1).clamp(max=before - 1), (exact - first).clamp(0, 1)


def _linear(self: Tensor, output_size: Sequence[Any], align_corners: bool, scales: Sequence[float | None]) -> Tensor:
    """Both neighbours times their weights, in each dimension: infinities stay, but NaN where the weight is 0."""
    dtype = self.dtype if self.dtype in (torch.float32, torch.float64) else torch.float32
    sizes = self.shape[2:]
    corners: list[tuple[tuple[Tensor, ...], ...]] = [()]
    weights = []
    for dim, (before, after, scale) in enumerate(zip(sizes, output_size, scales, strict=True)):
        shape = (-1, *[1] * (len(sizes) - 1 - dim))
        first, second, share = (part.view(shape) for part in _places(before, after, align_corners, scale, dtype, self))
        corners = [(*corner, place) for corner in corners for place in (first, second)]
        weights.append((1 - share, share))
    values = [torch.ops.aten._unsafe_index.Tensor(self, [None, None, *corner]).to(dtype) for corner in corners]
    for near, far in reversed(weights):
        values = [a * near + b * far for a, b in zip(values[::2], values[1::2])]
    layout = torch.contiguous_format
    if self.dim() == 4 and self.is_contiguous(memory_format=torch.channels_last):
        layout = torch.channels_last
    result: Tensor = values[0].to(self.dtype)
    return result.contiguous(memory_format=layout)


def _resized(
    upstream: Any, width: int, self: Tensor, size: Sequence[Any], corners: bool, scales: Sequence[float | None]
) -> Any:
    if self.dtype == torch.uint8 and self.dim() == 4:
        return _bytes_resized(self, size, corners, scales, width)
    if self.dtype.is_floating_point and width == 2:
        return _linear(self, size, corners, scales)
    return upstream(self, size, corners, *scales)


def _by_sizes(upstream: Any, width: int) -> Callable[..., Any]:
    def resize(self: Tensor, output_size: Sequence[Any], align_corners: bool, *scales: Any, **named: Any) -> Any:
        given = [*scales, *named.values()]
        given += [None] * (len(output_size) - len(given))
        return _resized(upstream, width, self, output_size, align_corners, given)

    return resize


def _by_factors(upstream: Any, width: int) -> Callable[..., Any]:
    def resize(input: Tensor, output_size: Any, align_corners: bool, scale_factors: Any = None) -> Any:
        size = upsample_compute_output_size(input.size(), output_size, scale_factors)
        return _resized(upstream, width, input, size, align_corners, scale_factors or [None] * len(size))

    return resize


def _table() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import decomposition_table

    table: dict[Any, Callable[..., Any]] = {}
    for name, width in (("linear1d", 2), ("bilinear2d", 2), ("trilinear3d", 2), ("bicubic2d", 4)):
        packet = getattr(torch.ops.aten, f"upsample_{name}")
        upstream = decomposition_table[packet.default]
        table[packet.default] = _by_sizes(upstream, width)
        table[packet.vec] = _by_factors(upstream, width)
    return table


def _triangle(distance: Tensor) -> Tensor:
    return 1 - distance.abs()


def cubic(distance: Tensor) -> Tensor:
    """The cubic convolution kernel with a = -0.75 (Keys, 1981), which eager has without antialiasing."""
    a, x = -0.75, distance.abs()
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, ((a + 2) * x - (a + 3)) * x * x + 1, far)


def whole_weights(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weights in 16 bits, and how many of their bits lie behind the point: as many as the greatest of them allows."""
    bits = torch.arange(22, device=weights.device)
    scaled = (weights.amax() * (2 << bits).to(torch.float64) + 0.5).trunc()
    precision = (scaled < 1 << 15).sum()
    factor = (1 << precision).to(torch.float64)
    return (weights * factor + torch.where(weights < 0, -0.5, 0.5)).trunc().to(torch.int32), precision.to(torch.int32)


def weighted_bytes(taken: Tensor, weights: Tensor) -> Tensor:
    """Bytes [..., results, weights] in int32 times weights [results, weights] in float64, summed as whole numbers."""
    whole, precision = whole_weights(weights)
    total = (taken * whole).sum(-1, dtype=torch.int32) + (1 << (precision - 1))
    return (total >> precision).clamp(0, 255)


def _bytes_along_last(self: Tensor, after: Any, align_corners: bool, scale: float | None, width: int) -> Tensor:
    before: Any = self.shape[-1]
    at = torch.arange(after, dtype=torch.float64, device=self.device)
    distance = step(before, after, align_corners, scale)
    exact = at * distance if align_corners else (at + 0.5) * distance - 0.5
    exact = exact if width == 4 or align_corners else exact.clamp(min=0)
    first = exact.floor().clamp(max=float(before - 1) if isinstance(before, int) else before - 1).unsqueeze(1)
    share = (exact.unsqueeze(1) - first).clamp(0, 1)
    offsets = torch.arange(1 - width // 2, 1 + width // 2, device=self.device)
    weights = (cubic if width == 4 else _triangle)(offsets.to(torch.float64) - share)
    places = first.to(torch.int64) + offsets
    inside = places.clamp(min=0).clamp(max=before - 1)
    # Places beyond the border are the border's: they have one weight together.
    weights = torch.where(inside.unsqueeze(2) == inside.unsqueeze(1), weights.unsqueeze(1), 0.0).sum(2)
    is_first = (offsets == offsets[0]) | ((places > 0) & (places < before))
    return weighted_bytes(self[..., inside], torch.where(is_first, weights, 0.0))


def _bytes_resized(
    self: Tensor, output_size: Sequence[Any], align_corners: bool, scales: Sequence[float | None], width: int
) -> Any:
    """``upsample_bilinear2d`` (``width`` 2) and ``upsample_bicubic2d`` (4) of uint8; the last dimension first."""
    return along_both(
        self.to(torch.int32),
        output_size,
        lambda image, size, dim: _bytes_along_last(image, size, align_corners, scales[dim], width),
    ).to(torch.uint8)


def along_both(image: Tensor, size: Sequence[Any], resize: Callable[[Tensor, Any, int], Tensor]) -> Tensor:
    """Eager leaves alone what keeps its size."""
    if size[1] != image.shape[-1]:
        image = resize(image, size[1], 1)
    if size[0] != image.shape[-2]:
        image = resize(image.mT, size[0], 0).mT
    return image


TABLE = _table()
