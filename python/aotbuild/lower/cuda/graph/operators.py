"""Operators that TorchInductor would leave to a CUDA library, in others that become Triton kernels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


# --- recurrent cells


def _lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    gates = torch.nn.functional.linear(input, w_ih, b_ih) + torch.nn.functional.linear(hx[0], w_hh, b_hh)
    in_gate, forget_gate, cell_gate, out_gate = gates.chunk(4, 1)
    cell = forget_gate.sigmoid() * hx[1] + in_gate.sigmoid() * cell_gate.tanh()
    return out_gate.sigmoid() * cell.tanh(), cell


def _gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    from_input = torch.nn.functional.linear(input, w_ih, b_ih).chunk(3, 1)
    from_hidden = torch.nn.functional.linear(hx, w_hh, b_hh).chunk(3, 1)
    reset, update = ((a + b).sigmoid() for a, b in zip(from_input[:2], from_hidden[:2]))
    new = (from_input[2] + reset * from_hidden[2]).tanh()
    return (hx - new) * update + new


# --- adaptive pools


def _adaptive_avg_pool3d(self: Tensor, output_size: Sequence[int]) -> Any:
    """One dimension after the other: the windows of a dimension do not depend on the others."""
    if any(isinstance(size, torch.SymInt) for size in self.shape[-3:]):
        return NotImplemented
    result = _wide(self)
    for dim, size in zip((-3, -2, -1), output_size):
        indices, inside = _windows(self.shape[dim], size, self.device)
        elements = result.movedim(dim, -1)[..., indices]
        total = torch.where(inside, elements, 0).sum(-1)
        result = (total / inside.sum(-1)).movedim(-1, dim)
    return result.to(self.dtype)


def _adaptive_max_pool3d(self: Tensor, output_size: Sequence[int]) -> Any:
    if any(isinstance(size, torch.SymInt) for size in self.shape[-3:]):
        return NotImplemented
    elements = self
    places: Any = 0
    allowed: Any = True
    for dim, size in enumerate(output_size):
        length = self.shape[dim - 3]
        indices, inside = _windows(length, size, self.device)
        shape = [1] * 6
        shape[dim], shape[dim + 3] = indices.shape
        elements = elements.movedim(self.dim() - 3, -1)[..., indices]
        places = places * length + indices.reshape(shape)
        allowed = allowed & inside.reshape(shape)
    # Now [..., out, window, out, window, out, window]; the windows go to the end.
    batch = self.dim() - 3
    order = [*range(batch), *(batch + i for i in (0, 2, 4, 1, 3, 5))]
    lowest = -math.inf if self.is_floating_point() else torch.iinfo(self.dtype).min
    windows = torch.where(allowed, elements.permute(order), lowest).flatten(-3)
    best = windows.argmax(-1, keepdim=True)
    flat = places.flatten(-3).expand(windows.shape)
    return windows.gather(-1, best).squeeze(-1), flat.gather(-1, best).squeeze(-1)


def _wide(self: Tensor) -> Tensor:
    """Half types as float32: results of several operations are rounded once, at their end."""
    return self.float() if self.dtype in (torch.float16, torch.bfloat16) else self


def _windows(length: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The indices of the elements of each of ``count`` windows, and which of them are inside it."""
    starts = [i * length // count for i in range(count)]
    ends = [-(-(i + 1) * length // count) for i in range(count)]
    width = max((end - start for start, end in zip(starts, ends)), default=1)
    first = torch.arange(count, device=device) * length // count
    last = ((torch.arange(count, device=device) + 1) * length + count - 1) // count
    indices = first.unsqueeze(-1) + torch.arange(width, device=device)
    return indices.clamp(max=length - 1), indices < last.unsqueeze(-1)


# --- distances


def _cdist_forward(x1: Tensor, x2: Tensor, p: float, compute_mode: int | None) -> Tensor:
    return _norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


def _pdist_forward(self: Tensor, p: float = 2) -> Any:
    if isinstance(self.shape[0], torch.SymInt):
        return NotImplemented
    first, second = torch.triu_indices(self.shape[0], self.shape[0], 1, device=self.device)
    return _norm(self[first] - self[second], p)


def _norm(difference: Tensor, p: float) -> Tensor:
    distance = difference.abs()
    if p == 0:
        return (distance != 0).sum(-1).to(difference.dtype)
    if p == 1:
        return distance.sum(-1)
    if p == 2:
        return (distance * distance).sum(-1).sqrt()
    if math.isinf(p):
        return distance.amax(-1) if difference.shape[-1] else distance.sum(-1)
    result: Tensor = distance.pow(p).sum(-1).pow(1 / p)
    return result


# --- histograms, bags, samples


def _histc(self: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Elements that equal ``max`` are in the last bin; where both bounds are equal they are those of the data."""
    values = self.reshape(-1)
    low: Any = min
    high: Any = max
    if min == max and self.numel():
        low, high = values.amin(), values.amax()
        alike = low == high
        low, high = torch.where(alike, low - 1, low), torch.where(alike, high + 1, high)
    inside = (values >= low) & (values <= high)
    indices = ((values - low) * bins / (high - low)).to(torch.int64).clamp(0, bins - 1)
    return torch.zeros(bins, dtype=self.dtype, device=self.device).index_add(0, indices, inside.to(self.dtype))


def _embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Any:
    """Sums and means of the rows of each bag. The outputs that only a backward pass reads are empty."""
    if mode not in (0, 1):
        return NotImplemented
    bags = offsets.shape[0] - (1 if include_last_offset else 0)
    indices, offsets = indices.to(torch.int64), offsets.to(torch.int64)
    positions = torch.arange(indices.shape[0], device=indices.device)
    bag = torch.searchsorted(offsets[:bags], positions, right=True) - 1
    counted = _wide((indices != padding_idx).to(weight.dtype))
    rows = _wide(weight[indices]) * counted.unsqueeze(-1)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    output = rows.new_zeros((bags, weight.shape[1])).index_add(0, bag, rows)
    sizes = rows.new_zeros((bags,)).index_add(0, bag, counted)
    if mode == 1:
        output = output / sizes.clamp(min=1).unsqueeze(-1)
    return output.to(weight.dtype), bag, sizes.to(torch.int64), torch.zeros_like(sizes, dtype=torch.int64)


def _multinomial(self: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Any:
    """With replacement by the inverse of the distribution function; without, the least of exponential times."""
    if generator is not None:
        return NotImplemented
    weights = self.float()
    if not replacement:
        return (weights / -torch.rand_like(weights).log()).topk(num_samples, -1).indices
    cumulative = weights.cumsum(-1)
    drawn = torch.rand((*weights.shape[:-1], num_samples), device=self.device) * cumulative[..., -1:]
    last = (weights > 0).long() * torch.arange(weights.shape[-1], device=self.device)
    return torch.searchsorted(cumulative, drawn, right=True).minimum(last.amax(-1, keepdim=True))


def _uniform(self: Tensor, low: float = 0.0, high: float = 1.0, generator: Any = None) -> Any:
    return NotImplemented if generator is not None else torch.rand_like(self) * (high - low) + low


def _normal(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Any:
    return NotImplemented if generator is not None else torch.randn_like(self) * std + mean


# --- grid sampler

_BILINEAR, _NEAREST = 0, 1
_ZEROS, _BORDER = 0, 1


def _grid_sampler_3d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Any:
    """Values of [N, C, D, H, W] at the places that ``grid`` [N, d, h, w, 3] names, x first, between -1 and 1."""
    if interpolation_mode not in (_BILINEAR, _NEAREST):
        return NotImplemented
    sizes = input.shape[:1:-1]  # W, H, D
    places = [_place(_wide(grid)[..., i], size, padding_mode, align_corners) for i, size in enumerate(sizes)]
    if interpolation_mode == _NEAREST:
        return _sample(input, [place.round() for place in places])
    wide = _wide(input)
    lower = [place.floor() for place in places]
    result: Any = 0
    for corner in itertools.product((0, 1), repeat=3):
        weight: Any = 1
        for place, low, upper in zip(places, lower, corner):
            weight = weight * (place - low if upper else low + 1 - place)
        values = _sample(wide, [low + upper for low, upper in zip(lower, corner)])
        result = result + values * weight.unsqueeze(1)
    return result.to(input.dtype)


def _place(coordinate: Tensor, size: Any, padding_mode: int, align_corners: bool) -> Tensor:
    """From -1..1 to indices of a dimension, kept inside it as the padding mode says."""
    place: Tensor = (coordinate + 1) / 2 * (size - 1) if align_corners else ((coordinate + 1) * size - 1) / 2
    if padding_mode == _ZEROS:
        return place
    if padding_mode != _BORDER:  # reflection
        low, span = (0.0, size - 1) if align_corners else (-0.5, size)
        if align_corners and size == 1:
            return torch.zeros_like(place)
        distance = (place - low).abs()
        rest = distance.fmod(span)
        flipped = (distance / span).floor().to(torch.int32) % 2 == 1
        place = torch.where(flipped, span - rest, rest) + low
    return place.clamp(0, size - 1)


def _sample(input: Tensor, places: Sequence[Tensor]) -> Tensor:
    """The elements at whole coordinates x, y, z; 0 outside."""
    indices = [place.to(torch.int64) for place in reversed(places)]
    inside: Any = True
    for index, size in zip(indices, input.shape[2:]):
        inside = inside & (index >= 0) & (index < size)
    batch = torch.arange(input.shape[0], device=input.device).reshape(-1, 1, 1, 1)
    z, y, x = (torch.where(inside, index, 0) for index in indices)
    values = input.permute(0, 2, 3, 4, 1)[batch, z, y, x]  # [N, d, h, w, C]
    return torch.where(inside.unsqueeze(-1), values, 0).permute(0, 4, 1, 2, 3)


# --- special functions


def _digamma(self: Tensor) -> Tensor:
    """By reflection where it is negative, ten steps, and the asymptotic series."""
    dtype = self.dtype if self.is_floating_point() else torch.float32
    self = _wide(self.to(dtype))
    reflected = self < 0
    start = torch.where(reflected, 1 - self, self)
    total: Any = 0.0
    for step in range(_DIGAMMA_STEPS):
        total = total - 1 / (start + step)
    x = start + _DIGAMMA_STEPS
    y = 1 / (x * x)
    series: Any = 0.0
    for coefficient in _DIGAMMA:
        series = series * y + coefficient
    result = total + x.log() - 0.5 / x - series * y
    fraction = self - self.trunc()
    result = torch.where(reflected, result - math.pi / torch.tan(math.pi * fraction), result)
    result = torch.where(reflected & (fraction == 0), math.nan, result)
    return torch.where(self == 0, torch.copysign(torch.full_like(self, math.inf), -self), result).to(dtype)


_DIGAMMA_STEPS = 10
# B(2n) / 2n, the last first.
_DIGAMMA = (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)


TABLE: dict[Any, Callable[..., Any]] = {
    aten.lstm_cell.default: _lstm_cell,
    aten.gru_cell.default: _gru_cell,
    aten._adaptive_avg_pool3d.default: _adaptive_avg_pool3d,
    aten.adaptive_max_pool3d.default: _adaptive_max_pool3d,
    aten._cdist_forward.default: _cdist_forward,
    aten._pdist_forward.default: _pdist_forward,
    aten.histc.default: _histc,
    aten._embedding_bag.default: _embedding_bag,
    aten._embedding_bag_forward_only.default: _embedding_bag,
    aten.multinomial.default: _multinomial,
    aten.uniform.default: _uniform,
    aten.normal_functional.default: _normal,
    aten.grid_sampler_3d.default: _grid_sampler_3d,
    aten.digamma.default: _digamma,
}
