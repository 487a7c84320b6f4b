"""Sorting and top-k of rows of any length, in operators that are Triton kernels: blocks are sorted, then merged."""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten

# The longest row that one block of threads sorts, in registers. A kernel for 1024 elements took 15 s to compile, one
# for 512 took 5.
_BLOCK = 512


def sort(self: torch.Tensor, dim: int = -1, descending: bool = False) -> Any:
    """``aten.sort``: rows longer than a block; others stay as they are."""
    return sort_stable(self, stable=False, dim=dim, descending=descending)


def sort_stable(self: torch.Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False) -> Any:
    """``aten.sort.stable``: rows longer than a block; others stay as they are."""
    if self.dim() == 0 or self.shape[dim] <= _BLOCK or self.dtype.is_complex:
        return NotImplemented
    rows = self.movedim(dim, -1)
    indices = _argsort(_keys(rows, descending))
    return rows.gather(-1, indices).movedim(-1, dim), indices.movedim(-1, dim)


def topk(self: torch.Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """``aten.topk``, always in order. Of a long row, each block is sorted and keeps ``k``, until one block is left."""
    if self.dim() == 0 or self.dtype.is_complex:
        return NotImplemented
    rows = self.movedim(dim, -1)
    if rows.shape[-1] <= _BLOCK or 2 * k > _BLOCK:
        in_order = torch.sort(rows, dim=-1, descending=largest)
        return tuple(part.narrow(-1, 0, k).movedim(-1, dim) for part in in_order)
    keys = _keys(rows, largest)
    indices: torch.Tensor | None = None
    while keys.shape[-1] > _BLOCK:
        blocks = _blocks(keys, 1)
        best, order = torch.sort(blocks, dim=-1, stable=True)
        starts = torch.arange(0, blocks.shape[-2] * _BLOCK, _BLOCK, device=keys.device)
        kept = (order.narrow(-1, 0, k) + starts.unsqueeze(-1)).flatten(-2)
        keys = best.narrow(-1, 0, k).flatten(-2)
        # Padding is kept only where all other candidates of its block are; it never wins, so any index will do.
        kept = kept.clamp(max=(rows if indices is None else indices).shape[-1] - 1)
        indices = kept if indices is None else indices.gather(-1, kept)
    _, order = torch.sort(keys, dim=-1, stable=True)
    assert indices is not None
    indices = indices.gather(-1, order.narrow(-1, 0, k))
    return rows.gather(-1, indices).movedim(-1, dim), indices.movedim(-1, dim)


def _keys(rows: torch.Tensor, descending: bool) -> torch.Tensor:
    """Integers in the order that the elements sort in: NaN is the greatest number, and 0.0 equals -0.0.

    The bits of an IEEE 754 number read as a signed integer are in order, except that negative ones run backwards.
    """
    if rows.dtype.is_floating_point:
        wide = rows if rows.dtype is torch.float64 else rows.float()
        integer = torch.int64 if wide.dtype is torch.float64 else torch.int32
        bits = (wide + 0.0).view(integer)
        limit = torch.iinfo(integer).max
        keys = torch.where(bits < 0, bits ^ limit, bits)
        keys = keys.masked_fill(wide.isnan(), limit)
    else:
        keys = rows if rows.dtype in (torch.int32, torch.int64) else rows.to(torch.int32)
    return keys.bitwise_not() if descending else keys


# Written without indexing, ~ and contiguous(), which fail on fake tensors of a device that PyTorch was built without.


def _blocks(keys: torch.Tensor, multiple: int) -> Any:
    """The rows cut into blocks, a multiple of ``multiple`` of them, padded with the greatest key."""
    count = -(-keys.shape[-1] // _BLOCK)
    count = -(-count // multiple) * multiple
    padding = count * _BLOCK - keys.shape[-1]
    padded = aten.constant_pad_nd(keys, [0, padding], torch.iinfo(keys.dtype).max)
    return padded.unflatten(-1, (count, _BLOCK))


def _argsort(keys: torch.Tensor) -> torch.Tensor:
    """Indices that sort the rows, stably, by merge sort: an element's place in the merge of two sorted blocks is its
    place in its own, plus the number of elements of the other that come before it."""
    length = keys.shape[-1]
    count = 1 << (-(-length // _BLOCK) - 1).bit_length()
    blocks, order = torch.sort(_blocks(keys, count), dim=-1, stable=True)
    order = order + torch.arange(0, count * _BLOCK, _BLOCK, device=keys.device).unsqueeze(-1)
    while blocks.shape[-2] > 1:
        size = blocks.shape[-1]
        left, right = (
            aten.clone(side, memory_format=torch.contiguous_format) for side in blocks.unflatten(-2, (-1, 2)).unbind(-2)
        )
        own = torch.arange(size, device=keys.device)
        places = torch.cat(
            (own + torch.searchsorted(right, left), own + torch.searchsorted(left, right, right=True)), dim=-1
        )
        merged = (*left.shape[:-1], 2 * size)
        order = order.reshape(merged)
        keys_in_pairs = blocks.reshape(merged)
        blocks = torch.empty_like(keys_in_pairs).scatter(-1, places, keys_in_pairs)
        order = torch.empty_like(order).scatter(-1, places, order)
    return order.squeeze(-2).narrow(-1, 0, length)
