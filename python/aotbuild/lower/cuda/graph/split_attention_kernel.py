"""Attention of few queries over many keys, as when a decoder makes a token: blocks take parts of the keys.

Flash-Decoding (Dao, Haziza, Massa, Sizov, 2023): each part has its own running softmax, and a second kernel adds them.
"""

# Triton reads the annotations of parameters, and knows no others than its own.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def attend_part(
    query,
    key,
    value,
    mask,
    totals,
    peaks,
    sums,
    heads,
    group,
    queries,
    keys,
    query_batch_stride,
    query_head_stride,
    query_row_stride,
    query_dim_stride,
    key_batch_stride,
    key_head_stride,
    key_row_stride,
    key_dim_stride,
    value_batch_stride,
    value_head_stride,
    value_row_stride,
    value_dim_stride,
    mask_batch_stride,
    mask_head_stride,
    mask_row_stride,
    mask_column_stride,
    SCALE: tl.constexpr,
    MASK: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_M: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """The softmax of one part of the keys, for all query heads that share a head of keys.

    totals[b, h, i, s] = sum over the part's j of exp2(score[j] - peaks[b, h, i, s]) * value[j], and ``sums`` without
    the values; ``peaks`` are the largest scores, minus infinity where no key of the part takes part. Arguments are
    those of ``attention_kernel.attention``; BLOCK_M holds ``group * queries`` rows.
    """
    part = tl.program_id(0)
    kv_heads = heads // group
    batch = (tl.program_id(1) // kv_heads).to(tl.int64)
    kv_head = (tl.program_id(1) % kv_heads).to(tl.int64)
    row = tl.arange(0, BLOCK_M)
    head = kv_head * group + row // queries
    place = row % queries
    real = row < group * queries
    dims = tl.arange(0, BLOCK_D)
    value_dims = tl.arange(0, BLOCK_V)
    result = ((batch * heads + head) * queries + place) * SPLITS + part
    per_part = tl.cdiv(tl.cdiv(keys, SPLITS), BLOCK_N) * BLOCK_N
    first = part * per_part
    last = tl.minimum(keys, first + per_part)
    q = tl.load(
        query
        + batch * query_batch_stride
        + (head * query_head_stride + place * query_row_stride)[:, None]
        + dims[None, :] * query_dim_stride,
        mask=real[:, None] & (dims[None, :] < HEAD_DIM),
        other=0.0,
    )
    key += batch * key_batch_stride + kv_head * key_head_stride
    value += batch * value_batch_stride + kv_head * value_head_stride
    if MASK != "none":
        mask += batch * mask_batch_stride
        mask_rows = mask + (head * mask_head_stride + place * mask_row_stride)[:, None]
    total = tl.zeros([BLOCK_M, BLOCK_V], dtype=tl.float32)
    sum = tl.zeros([BLOCK_M], dtype=tl.float32)
    peak = tl.zeros([BLOCK_M], dtype=tl.float32) - float("inf")
    if MASK == "bool":
        # A part that nobody sees is not read: of a cache that has room for more, or before a window.
        found = tl.zeros([BLOCK_M, BLOCK_N], dtype=tl.int32)
        for start in tl.range(first, last, BLOCK_N):
            columns = start + tl.arange(0, BLOCK_N)
            within = real[:, None] & (columns < last)[None, :]
            found |= tl.load(mask_rows + columns[None, :] * mask_column_stride, mask=within, other=0).to(tl.int32)
        last = tl.where(tl.max(found) != 0, last, first)
    for start in tl.range(first, last, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        inside = columns < last
        k = tl.load(
            key + dims[:, None] * key_dim_stride + columns[None, :] * key_row_stride,
            mask=(dims[:, None] < HEAD_DIM) & inside[None, :],
            other=0.0,
        )
        v = tl.load(
            value + columns[:, None] * value_row_stride + value_dims[None, :] * value_dim_stride,
            mask=inside[:, None] & (value_dims[None, :] < VALUE_DIM),
            other=0.0,
        )
        seen = real[:, None] & inside[None, :]
        scores = tl.dot(q, k, input_precision="ieee") * SCALE
        if MASK == "bool":
            seen = seen & (tl.load(mask_rows + columns[None, :] * mask_column_stride, mask=seen, other=0) != 0)
        if MASK == "additive":
            # Scores are in units of log2(e), because exp2 is what the hardware has.
            added = tl.load(mask_rows + columns[None, :] * mask_column_stride, mask=seen, other=0.0)
            scores += added.to(tl.float32) * 1.4426950408889634
        scores = tl.where(seen, scores, -float("inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1))
        finite_peak = tl.where(new_peak == -float("inf"), 0.0, new_peak)
        shrink = tl.math.exp2(peak - finite_peak)
        weights = tl.math.exp2(scores - finite_peak[:, None])
        sum = sum * shrink + tl.sum(weights, 1)
        total = tl.dot(weights.to(v.dtype), v, total * shrink[:, None], input_precision="ieee")
        peak = new_peak
    tl.store(peaks + result, peak, mask=real)
    tl.store(sums + result, sum, mask=real)
    tl.store(
        totals + result[:, None] * VALUE_DIM + value_dims[None, :],
        total,
        mask=real[:, None] & (value_dims[None, :] < VALUE_DIM),
    )


@triton.jit
def join_parts(
    totals,
    peaks,
    sums,
    output,
    heads,
    queries,
    output_batch_stride,
    output_head_stride,
    output_row_stride,
    VALUE_DIM: tl.constexpr,
    BLOCK_V: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """output[b, h, i] = what ``attend_part`` has computed of all parts, divided by the sum of all weights.

    A row that sees no key is 0.
    """
    program = tl.program_id(0).to(tl.int64)
    place = program % queries
    head = program // queries % heads
    batch = program // queries // heads
    parts = tl.arange(0, BLOCK_S)
    value_dims = tl.arange(0, BLOCK_V)
    real = parts < SPLITS
    peak = tl.load(peaks + program * SPLITS + parts, mask=real, other=-float("inf"))
    sum = tl.load(sums + program * SPLITS + parts, mask=real, other=0.0)
    total = tl.load(
        totals + (program * SPLITS + parts)[:, None] * VALUE_DIM + value_dims[None, :],
        mask=real[:, None] & (value_dims[None, :] < VALUE_DIM),
        other=0.0,
    )
    highest = tl.max(peak, 0)
    share = tl.math.exp2(peak - tl.where(highest == -float("inf"), 0.0, highest))
    weight = tl.sum(sum * share, 0)
    result = tl.sum(total * share[:, None], 0) / tl.where(weight == 0.0, 1.0, weight)
    tl.store(
        output + batch * output_batch_stride + head * output_head_stride + place * output_row_stride + value_dims,
        result.to(output.dtype.element_ty),
        mask=value_dims < VALUE_DIM,
    )
