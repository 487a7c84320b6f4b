"""Scaled dot product attention as one Triton kernel, block by block of the keys: no score matrix is made.

The algorithm is FlashAttention's (Dao et al., 2022, algorithm 1), with the loop over keys inside.
"""

# Triton reads the annotations of parameters, and knows no others than its own.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _attend(
    total,
    sum,
    peak,
    query,
    key,
    value,
    mask,
    rows,
    first,
    last,
    queries,
    keys,
    key_row_stride,
    key_dim_stride,
    value_row_stride,
    value_dim_stride,
    mask_row_stride,
    mask_column_stride,
    SCALE: tl.constexpr,
    EDGE: tl.constexpr,
    CAUSAL: tl.constexpr,
    MASK: tl.constexpr,
    MASK_ROWS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Takes keys ``first`` to ``last`` into the running sums; EDGE: some may be past the end or above the diagonal."""
    dims = tl.arange(0, BLOCK_D)
    value_dims = tl.arange(0, BLOCK_V)
    for start in tl.range(first, last, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        inside = columns < keys
        k_pointers = key + dims[:, None] * key_dim_stride + columns[None, :] * key_row_stride
        v_pointers = value + columns[:, None] * value_row_stride + value_dims[None, :] * value_dim_stride
        if EDGE or HEAD_DIM != BLOCK_D:
            k = tl.load(k_pointers, mask=(dims[:, None] < HEAD_DIM) & inside[None, :], other=0.0)
        else:
            k = tl.load(k_pointers)
        scores = tl.dot(query, k, input_precision="ieee") * SCALE
        if MASK != "none":
            if MASK_ROWS:
                pointers = mask + rows[:, None] * mask_row_stride + columns[None, :] * mask_column_stride
                within = (rows[:, None] < queries) & inside[None, :]
            else:  # the same for all rows, of which it is read once
                pointers = (mask + columns * mask_column_stride)[None, :]
                within = inside[None, :]
            if MASK == "bool":
                scores = tl.where(tl.load(pointers, mask=within, other=0) != 0, scores, -float("inf"))
            else:
                # Scores are in units of log2(e), because exp2 is what the hardware has.
                scores += tl.load(pointers, mask=within, other=0.0).to(tl.float32) * 1.4426950408889634
        if EDGE:
            scores = tl.where(inside[None, :], scores, -float("inf"))
        if EDGE and CAUSAL:
            scores = tl.where(columns[None, :] <= rows[:, None], scores, -float("inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1))
        finite_peak = tl.where(new_peak == -float("inf"), 0.0, new_peak)
        shrink = tl.math.exp2(peak - finite_peak)
        weights = tl.math.exp2(scores - finite_peak[:, None])
        sum = sum * shrink + tl.sum(weights, 1)
        if EDGE or VALUE_DIM != BLOCK_V:
            v = tl.load(v_pointers, mask=inside[:, None] & (value_dims[None, :] < VALUE_DIM), other=0.0)
        else:
            v = tl.load(v_pointers)
        total = tl.dot(weights.to(v.dtype), v, total * shrink[:, None], input_precision="ieee")
        peak = new_peak
    return total, sum, peak


@triton.jit
def attention(
    query,
    key,
    value,
    mask,
    output,
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
    output_batch_stride,
    output_head_stride,
    output_row_stride,
    SCALE: tl.constexpr,
    CAUSAL: tl.constexpr,
    MASK: tl.constexpr,
    MASK_ROWS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """output[b, h, i] = sum over j of softmax(query[b, h, i] . key[b, h / group, j] * scale + mask) * value[...]

    One program computes BLOCK_M rows of one head. ``group`` query heads share a head of keys and values. SCALE
    includes log2(e). CAUSAL: row i sees keys 0 to i. MASK: "none", "bool" (true takes part) or "additive".
    MASK_ROWS: its rows differ. A row that sees no key is 0.
    """
    blocks = tl.cdiv(queries, BLOCK_M)
    program = tl.program_id(0)
    # The last rows of a causal head have the most to do, so they start first.
    block = blocks - 1 - program % blocks
    batch = (program // blocks // heads).to(tl.int64)
    head = (program // blocks % heads).to(tl.int64)
    query += batch * query_batch_stride + head * query_head_stride
    key += batch * key_batch_stride + head // group * key_head_stride
    value += batch * value_batch_stride + head // group * value_head_stride
    output += batch * output_batch_stride + head * output_head_stride
    if MASK != "none":
        mask += batch * mask_batch_stride + head * mask_head_stride
    rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
    dims = tl.arange(0, BLOCK_D)
    value_dims = tl.arange(0, BLOCK_V)
    q = tl.load(
        query + rows[:, None] * query_row_stride + dims[None, :] * query_dim_stride,
        mask=(rows[:, None] < queries) & (dims[None, :] < HEAD_DIM),
        other=0.0,
    )
    total = tl.zeros([BLOCK_M, BLOCK_V], dtype=tl.float32)
    sum = tl.zeros([BLOCK_M], dtype=tl.float32)
    peak = tl.zeros([BLOCK_M], dtype=tl.float32) - float("inf")
    last = keys
    inner = keys
    if CAUSAL:
        last = tl.minimum(keys, (block + 1) * BLOCK_M)
        inner = tl.minimum(keys, block * BLOCK_M)
    inner = inner // BLOCK_N * BLOCK_N
    total, sum, peak = _attend(
        total,
        sum,
        peak,
        q,
        key,
        value,
        mask,
        rows,
        0,
        inner,
        queries,
        keys,
        key_row_stride,
        key_dim_stride,
        value_row_stride,
        value_dim_stride,
        mask_row_stride,
        mask_column_stride,
        SCALE,
        False,
        CAUSAL,
        MASK,
        MASK_ROWS,
        HEAD_DIM,
        VALUE_DIM,
        BLOCK_D,
        BLOCK_V,
        BLOCK_N,
    )
    total, sum, peak = _attend(
        total,
        sum,
        peak,
        q,
        key,
        value,
        mask,
        rows,
        inner,
        last,
        queries,
        keys,
        key_row_stride,
        key_dim_stride,
        value_row_stride,
        value_dim_stride,
        mask_row_stride,
        mask_column_stride,
        SCALE,
        True,
        CAUSAL,
        MASK,
        MASK_ROWS,
        HEAD_DIM,
        VALUE_DIM,
        BLOCK_D,
        BLOCK_V,
        BLOCK_N,
    )
    result = total / tl.where(sum == 0.0, 1.0, sum)[:, None]
    tl.store(
        output + rows[:, None] * output_row_stride + value_dims[None, :],
        result.to(output.dtype.element_ty),
        mask=(rows[:, None] < queries) & (value_dims[None, :] < VALUE_DIM),
    )
