"""Kernels of products with weights of four bits, which come eight to a word (``quantized_products``)."""

from __future__ import annotations

import math
from typing import Any

from torch._inductor.select_algorithm import TritonTemplate, autotune_select_algorithm

from aotbuild.lower.cuda.graph.matrix_products import FEW_ROWS, few_rows_grid

# A value of a word becomes a float32 by the bits of a number that its own are the last of: 2 ** 7, 11, 15, 19 or 23,
# which is taken off again, and the 8 that words have more. ``PLACES``: of each value of a word, the word, or the word
# 12 bits further down, the value's bits, the number's, and what is taken off.
_PLACES = """{% set PLACES = [
    ("b", "0xF", "0x4B000000", "8388616.0"),
    ("b", "0xF0", "0x49000000", "524296.0"),
    ("b", "0xF00", "0x47000000", "32776.0"),
    ("b", "0xF000", "0x45000000", "2056.0"),
    ("b", "0xF0000", "0x43000000", "136.0"),
    ("high", "0xF00", "0x47000000", "32776.0"),
    ("high", "0xF000", "0x45000000", "2056.0"),
    ("high", "0xF0000", "0x43000000", "136.0"),
] %}
{% macro value(word, bits, number) -%}
tl.inline_asm_elementwise("lop3.b32 $0, $1, {{bits}}, {{number}}, 0xEA;", "=r,r", [{{word}}], tl.int32, True, 1)\
.to(tl.float32, bitcast=True)
{%- endmacro %}
"""

# As ``row_products`` has it. What is taken off of the smaller numbers is taken off of their sum: all columns have the
# same. A word lies within a group.
_one_row = TritonTemplate(
    name="four_bit_row_product",
    grid=few_rows_grid,
    source=_PLACES
    + r"""
{{def_kernel("A", "B", "C", "G", "S", "T")}}
    M = {{size("A", 0)}}
    N = {{size("B", 0)}}
    K = {{size("A", 1)}}
    column = tl.program_id(0).to(INDEX_DTYPE) * BLOCK_N + tl.arange(0, BLOCK_N)
    word = tl.arange(0, WORDS)
    first = word // 4 * 32 + word % 4
    weights = B + column[:, None] * {{stride("B", 0)}} + word[None, :]
    inside = (column < N)[:, None] & (word < K // 8)[None, :]
{% if GATED %}
    others = C + column[:, None] * {{stride("C", 0)}} + word[None, :]
{% endif %}
{% if EARLY %}
    tl.extra.cuda.gdc_launch_dependents()
{% endif %}
    b = tl.load(weights, mask=inside, other=0)
{% if GATED %}
    c = tl.load(others, mask=inside, other=0)
{% endif %}
{% if EARLY %}
    tl.extra.cuda.gdc_wait()
{% endif %}
{% if NORMED %}
    k = tl.arange(0, WORDS * 8)
    squares = tl.zeros((WORDS * 8,), tl.float32)
    for start in tl.static_range(0, DEPTH, WORDS * 8):
        x = tl.load(A + start + k, mask=start + k < K, other=0.0).to(tl.float32)
        squares += x * x
    factor = tl.rsqrt(tl.sum(squares, 0) / K + EPSILON)
{% endif %}
    acc = tl.zeros((BLOCK_N, WORDS), tl.float32)
{% if GATED %}
    other = tl.zeros((BLOCK_N, WORDS), tl.float32)
{% endif %}
    for start in tl.static_range(0, DEPTH // 8, WORDS):
        if start > 0:
            inside = (column < N)[:, None] & (start + word < K // 8)[None, :]
            b = tl.load(weights + start, mask=inside, other=0)
{% if GATED %}
            c = tl.load(others + start, mask=inside, other=0)
{% endif %}
        high = b >> 12
        part = tl.zeros((BLOCK_N, WORDS), tl.float32)
{% if GATED %}
        other_high = c >> 12
        other_part = tl.zeros((BLOCK_N, WORDS), tl.float32)
{% endif %}
        taken = tl.zeros((WORDS,), tl.float32)
{% for source, bits, number, offset in PLACES %}
        k = start * 8 + first + 4 * {{loop.index0}}
        a = tl.load(A + k, mask=k < K, other=0.0).to(tl.float32)
{% if NORMED %}
        g = tl.load(G + k, mask=k < K, other=0.0).to(tl.float32)
{% if ROUNDS_FIRST %}
        a = (a * factor).to(A.dtype.element_ty).to(tl.float32) * g
{% else %}
        a = a * factor * g
{% endif %}
        a = a.to(A.dtype.element_ty).to(tl.float32)
{% endif %}
        x = {{value(source, bits, number)}}
{% if GATED %}
        y = {{value("c" if source == "b" else "other_high", bits, number)}}
{% endif %}
{% if number in ("0x45000000", "0x43000000") %}
        taken += a * {{offset}}
{% else %}
        x -= {{offset}}
{% if GATED %}
        y -= {{offset}}
{% endif %}
{% endif %}
        part += a[None, :] * x
{% if GATED %}
        other_part += a[None, :] * y
{% endif %}
{% endfor %}
        group = start * 8 // GROUP + tl.arange(0, WORDS * 8 // GROUP)
        has_scale = (column < N)[:, None] & (group < K // GROUP)[None, :]
        s = tl.load(S + column[:, None] * (K // GROUP) + group[None, :], mask=has_scale, other=0.0).to(tl.float32)
        part = tl.reshape(part - taken[None, :], (BLOCK_N, WORDS * 8 // GROUP, GROUP // 8)) * s[:, :, None]
        acc += tl.reshape(part, (BLOCK_N, WORDS))
{% if GATED %}
        t = tl.load(T + column[:, None] * (K // GROUP) + group[None, :], mask=has_scale, other=0.0).to(tl.float32)
        other_part = tl.reshape(other_part - taken[None, :], (BLOCK_N, WORDS * 8 // GROUP, GROUP // 8)) * t[:, :, None]
        other += tl.reshape(other_part, (BLOCK_N, WORDS))
{% endif %}
    total = tl.sum(acc, 1)[:, None]
{% if GATED %}
    beside = tl.sum(other, 1)[:, None]
{% endif %}
    idx_m = tl.zeros((1, 1), tl.int32)
    idx_n = column[:, None]
    mask = idx_n < N
    {{store_output(("idx_m", "idx_n"), "total", "mask", val_shape=("BLOCK_N", "1"))}}
""",
)

# As ``matrix_products`` has it. Weights are rounded to the rows' type, as eager PyTorch's dequantized ones are.
_few_rows = TritonTemplate(
    name="four_bit_few_rows_product",
    grid=few_rows_grid,
    source=_PLACES
    + r"""
{{def_kernel("A", "B", "S")}}
    M = {{size("A", 0)}}
    N = {{size("B", 0)}}
    K = {{size("A", 1)}}
    column = tl.program_id(0).to(INDEX_DTYPE) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.arange(0, BLOCK_M)
    weights = B + (column % N)[:, None] * {{stride("B", 0)}}
    scales = S + (column % N)[:, None] * (K // GROUP)
    rows = A + (row % M)[None, :] * {{stride("A", 0)}}
{% if EARLY %}
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()
{% endif %}
    acc = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
    piece = tl.program_id(1)
    steps = tl.cdiv(K // 8, WORDS)
    for step in range(piece * steps // SPLITS, (piece + 1) * steps // SPLITS):
        word = step * WORDS + tl.arange(0, WORDS)
        inside = (word < K // 8)[None, :]
        b = tl.load(weights + word[None, :], mask=inside, other=0)
        s = tl.load(scales + (word * 8 // GROUP)[None, :], mask=inside, other=0.0).to(tl.float32)
        high = b >> 12
        first = word // 4 * 32 + word % 4
{% for source, bits, number, offset in PLACES %}
        k = first + 4 * {{loop.index0}}
        a = tl.load(rows + k[:, None] * {{stride("A", 1)}}, mask=(k < K)[:, None], other=0.0)
        x = {{value(source, bits, number)}}
        acc = tl.dot(((x - {{offset}}) * s).to(A.dtype.element_ty), a, acc)
{% endfor %}
    idx_m = piece * M + row[None, :]
    idx_n = column[:, None]
    mask = (row < M)[None, :] & (idx_n < N)
    {{store_output(("idx_m", "idx_n"), "acc", "mask", val_shape=("BLOCK_N", "BLOCK_M"))}}
""",
)


def four_bit_row(inputs: list[Any], layout: Any, n: int, k: int, options: dict[str, Any]) -> Any:
    """The lowering of ``row_product`` whose weights are words."""
    columns, words, warps = _row_tile(n, k)
    choices: list[Any] = []
    _one_row.maybe_append_choice(
        choices,
        input_nodes=tuple(inputs),
        layout=layout,
        BLOCK_M=1,
        BLOCK_N=columns // 2 if options["GATED"] else columns,
        WORDS=words,
        GROUP=k // int(inputs[4].get_size()[1]),
        num_warps=warps,
        num_stages=1,
        **options,
    )
    result, _ = autotune_select_algorithm("row_product", choices, inputs, layout)
    return result


def _row_tile(n: int, k: int) -> tuple[int, int, int]:
    """Columns, words and warps of a block: the fastest of those timed on an H200, where a thread reads 4 words."""
    words = max(32, 1 << (k // 8 - 1).bit_length())
    if n >= 8192:
        columns, most = 8, 128
    else:
        columns, most = 4, 256 if k < 4096 else 1024
    words = min(words, most)
    return columns, words, max(1, min(4, words // 128))


def four_bit_few_rows(rows: Any, weight: Any, scale: Any, layout: Any, splits: int, starts_early: bool) -> Any:
    """[splits * M, N]: parts of ``rows`` [M, K] times words [N, K / 8], one below the other."""
    k = int(rows.get_size()[1])
    choices: list[Any] = []
    _few_rows.maybe_append_choice(
        choices,
        input_nodes=(rows, weight, scale),
        layout=layout,
        BLOCK_M=FEW_ROWS,
        BLOCK_N=64,
        WORDS=max(16, min(32, 1 << (math.ceil(k / 8) - 1).bit_length())),
        GROUP=k // int(scale.get_size()[1]),
        EARLY=starts_early,
        SPLITS=splits,
        num_warps=4,
        num_stages=3,
    )
    result, _ = autotune_select_algorithm("mm", choices, [rows, weight, scale], layout)
    return result
