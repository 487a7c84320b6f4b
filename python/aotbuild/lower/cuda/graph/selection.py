"""Operators that pick elements by order or by value (medians, modes, non-zero and unique elements), by sorts and scans.

Results whose size depends on values read that size on the host: a model with them is not captured into a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


# --- order


def _kthvalue(self: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    if self.dim() == 0:
        return NotImplemented
    values, order = torch.sort(self, dim=dim, stable=True)
    return _kept(values.narrow(dim, k - 1, 1), order.narrow(dim, k - 1, 1), dim, keepdim)


def _median(self: Tensor) -> Any:
    return aten.median.dim(self.reshape(-1), 0)[0]


def _nanmedian(self: Tensor) -> Any:
    return aten.nanmedian.dim(self.reshape(-1), 0)[0]


def _median_dim(self: Tensor, dim: int, keepdim: bool = False) -> Any:
    """The lower of two in the middle; NaN where there is one, and it sorts last."""
    if self.dim() == 0:
        return NotImplemented
    values, order = torch.sort(self, dim=dim, stable=True)
    length = self.shape[dim]
    middle = torch.full_like(order.narrow(dim, 0, 1), (length - 1) // 2)
    if self.is_floating_point():
        count = self.isnan().sum(dim, keepdim=True)
        middle = torch.where(count > 0, length - count, middle)
    return _kept(values.gather(dim, middle), order.gather(dim, middle), dim, keepdim)


def _nanmedian_dim(self: Tensor, dim: int, keepdim: bool = False) -> Any:
    if self.dim() == 0:
        return NotImplemented
    if not self.is_floating_point():
        return _median_dim(self, dim, keepdim)
    values, order = torch.sort(self, dim=dim, stable=True)
    numbers = self.shape[dim] - self.isnan().sum(dim, keepdim=True)
    middle = ((numbers - 1) // 2).clamp(min=0)
    return _kept(values.gather(dim, middle), order.gather(dim, middle), dim, keepdim)


def _mode(self: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The end of the longest run of equal elements once they are sorted; of several runs the first."""
    if self.dim() == 0:
        return NotImplemented
    values, order = (part.movedim(dim, -1) for part in torch.sort(self, dim=dim, stable=True))
    positions = torch.arange(values.shape[-1], device=self.device).expand(values.shape)
    starts = torch.cummax(torch.where(_is_new(values), positions, 0), -1).values
    best = (positions - starts).argmax(-1, keepdim=True)
    value, index = (part.gather(-1, best).movedim(-1, dim) for part in (values, order))
    return _kept(value, index, dim, keepdim)


def _kept(values: Tensor, indices: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))


def _is_new(rows: Tensor) -> Tensor:
    """Where an element differs from the one before it in its row."""
    first = torch.ones_like(rows.narrow(-1, 0, 1), dtype=torch.bool)
    return torch.cat((first, rows[..., 1:] != rows[..., :-1]), -1)


# --- results of sizes that depend on values


def _nonzero(self: Tensor) -> Any:
    indices = _positions(_is_nonzero(self))
    return _coordinates(indices, self)


def _nonzero_static(self: Tensor, *, size: int, fill_value: int = -1) -> Any:
    mask = _is_nonzero(self)
    count = mask.shape[0]
    ranks = mask.cumsum(0) - 1
    slots = torch.where(mask & (ranks < size), ranks, size)
    flat = torch.zeros(size + 1, dtype=torch.int64, device=self.device)
    flat = flat.scatter(0, slots, torch.arange(count, device=self.device)).narrow(0, 0, size)
    found = (torch.arange(size, device=self.device) < mask.sum()).unsqueeze(-1)
    return torch.where(found, _coordinates(flat, self), fill_value)


def _masked_select(self: Tensor, mask: Tensor) -> Any:
    self, mask = torch.broadcast_tensors(self, mask)
    return self.reshape(-1)[_positions(mask.reshape(-1))]


def _unique2(
    self: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    values, order = torch.sort(self.reshape(-1), stable=True)
    unique, inverse, counts = _runs(values)
    inverse = torch.empty_like(order).scatter(0, order, inverse).reshape(self.shape)
    return unique, inverse, counts


def _unique_consecutive(
    self: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    if dim is not None:
        return NotImplemented
    unique, inverse, counts = _runs(self.reshape(-1))
    return unique, inverse.reshape(self.shape), counts


def _repeat_interleave(repeats: Tensor, *, output_size: int | None = None) -> Tensor:
    """Each index as often as ``repeats`` says."""
    ends = repeats.cumsum(0)
    total: Any = repeats.sum().item() if output_size is None else output_size
    torch._check(total >= 0)
    return torch.searchsorted(ends, torch.arange(total, device=repeats.device), right=True).to(repeats.dtype)


def _runs(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of a row: the first element of each run of equal ones, the run of each element, and the runs' lengths."""
    new = _is_new(values)
    starts = _positions(new)
    inverse = new.cumsum(0) - 1
    counts = torch.zeros_like(starts).index_add(0, inverse, torch.ones_like(inverse))
    return values[starts], inverse, counts


def _is_nonzero(self: Tensor) -> Tensor:
    return (self != 0).reshape(-1)


def _positions(mask: Tensor) -> Tensor:
    """The indices of a row's true elements: each is written to the place that its rank among them gives it."""
    length = mask.shape[0]
    count: Any = mask.sum().item()
    torch._check(count >= 0)
    torch._check(count <= length)
    slots = torch.where(mask, mask.cumsum(0) - 1, length)
    indices = torch.zeros(length + 1, dtype=torch.int64, device=mask.device)
    indices = indices.scatter(0, slots, torch.arange(length, device=mask.device))
    return indices.narrow(0, 0, count)


def _coordinates(flat: Tensor, like: Tensor) -> Tensor:
    """Indices into the flattened tensor as one column for each of its dimensions."""
    columns = []
    for size in reversed(like.shape):
        length = size if isinstance(size, torch.SymInt) else max(size, 1)
        columns.append(flat % length)
        flat = flat // length
    return torch.stack(columns[::-1], -1) if columns else flat.new_empty((flat.shape[0], 0))


TABLE: dict[Any, Callable[..., Any]] = {
    aten.kthvalue.default: _kthvalue,
    aten.median.default: _median,
    aten.median.dim: _median_dim,
    aten.nanmedian.default: _nanmedian,
    aten.nanmedian.dim: _nanmedian_dim,
    aten.mode.default: _mode,
    aten.nonzero.default: _nonzero,
    aten.nonzero_static.default: _nonzero_static,
    aten.masked_select.default: _masked_select,
    aten._unique2.default: _unique2,
    aten.unique_consecutive.default: _unique_consecutive,
    aten.repeat_interleave.Tensor: _repeat_interleave,
}
