"""Scatters that reduce by maximum, minimum, product or mean: sorted by index, each run of equal indices is reduced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "prod": torch.mul,
    "amax": torch.maximum,
    "amin": torch.minimum,
}


def _scatter_reduce(
    self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Any:
    if reduce == "sum":
        return NotImplemented
    if index.numel() == 0:
        return self.clone()
    if self.dim() == 0:
        values, index, src = (tensor.reshape(1) for tensor in (self, index, src))
        return _scatter_reduce(values, 0, index, src, reduce, include_self=include_self).reshape(())
    src = src[tuple(slice(size) for size in index.shape)]
    if self.dtype in (torch.float16, torch.bfloat16):  # rounded once, at the end
        wide = _scatter_reduce(self.float(), dim, index, src.float(), reduce, include_self=include_self)
        return wide.to(self.dtype)
    if reduce == "mean":
        return _mean(self, dim, index, src, include_self)
    operation = _OPERATIONS[reduce]
    index, order = torch.sort(index.movedim(dim, -1), stable=True)
    values = _reduced_runs(src.movedim(dim, -1).gather(-1, order), index, operation)
    # The last element of a run has its result; the others are written behind the end.
    rows = self.movedim(dim, -1)
    if include_self:
        values = operation(values, _picked(rows, index))
    is_last = torch.cat((index[..., 1:] != index[..., :-1], torch.ones_like(index[..., :1], dtype=torch.bool)), -1)
    slots = torch.where(is_last, index, rows.shape[-1])
    padded = torch.cat((rows, rows[..., :1]), -1)
    return padded.scatter(-1, slots, values)[..., :-1].movedim(-1, dim)


def _reduced_runs(values: Tensor, index: Tensor, operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Each element with all before it that have its index, doubling how far it has looked with each step."""
    step = 1
    while step < index.shape[-1]:
        same = index[..., step:] == index[..., :-step]
        further = operation(values[..., step:], values[..., :-step])
        values = torch.cat((values[..., :step], torch.where(same, further, values[..., step:])), -1)
        step *= 2
    return values


def _mean(self: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool) -> Tensor:
    counts = torch.zeros_like(self).scatter_add(dim, index, torch.ones_like(src))
    kept = self if include_self else torch.where(counts > 0, 0, self)
    total = kept.scatter_add(dim, index, src)
    divisor = (counts + 1 if include_self else counts).clamp(min=1)
    return total / divisor if self.is_floating_point() else total.div(divisor, rounding_mode="floor")


def _picked(rows: Tensor, index: Tensor) -> Tensor:
    """The elements that the indices name; other dimensions of ``rows`` may be larger."""
    return rows[tuple(slice(size) for size in index.shape[:-1])].gather(-1, index)


def _index_reduce(
    self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Any:
    rows = self.reshape(1) if self.dim() == 0 else self
    source = source.reshape(-1) if self.dim() == 0 else source
    shape = [1] * rows.dim()
    shape[dim] = index.numel()
    expanded = index.to(torch.int64).reshape(shape).expand(source.shape)
    return _scatter_reduce(rows, dim, expanded, source, reduce, include_self=include_self).reshape(self.shape)


TABLE: dict[Any, Callable[..., Any]] = {
    aten.scatter_reduce.two: _scatter_reduce,
    aten.index_reduce.default: _index_reduce,
}
