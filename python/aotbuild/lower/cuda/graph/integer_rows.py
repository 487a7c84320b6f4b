"""Kernels of products with weights of 8 and of four bits, which are read as words of 32 bits.

For one row, its values become fixed-point numbers of 16 bits, of which each part has its own step, and an instruction
multiplies four bytes by four: one for their higher halves and one for their lower. Sums are whole numbers, and exact.
"""

from __future__ import annotations

import math
from typing import Any

from torch._inductor.select_algorithm import TritonTemplate, autotune_select_algorithm
from torch._inductor.utils import triton_type

from aotbuild.lower.cuda.graph.matrix_products import FEW_ROWS, few_rows_grid

# Of weights of 8 bits so many values of the row share a step; of four bits, those that share the weights' scale.
_PART = 64

# As ``row_products`` has it. A word has four weights, or eight: the lower halves of its bytes, then the higher ones,
# which are 16 places further on (``spec/packing.py``). 32512 is the greatest number whose rounded higher half fits a
# byte; adding 12582912, 1.5 * 2 ** 23, leaves the nearest whole number in the lowest bits. Of a row that has infinities
# or NaN the product is NaN.
_one_row = TritonTemplate(
    name="integer_row_product",
    grid=few_rows_grid,
    source=r"""
{% macro products(s, a, b, sums) -%}
tl.inline_asm_elementwise("dp4a.{{s}}32.s32 $0, $1, $2, $3;", "=r,r,r,r", [{{a}}, {{b}}, {{sums}}], tl.int32, True, 1)
{%- endmacro %}
{% macro halves(word) -%}
tl.inline_asm_elementwise("lop3.b32 $0, $1, 0x0F0F0F0F, 0x08080808, 0x6A;", "=r,r", [{{word}}], tl.int32, True, 1)
{%- endmacro %}
{% macro loaded(name, offset) %}
        k = start * PER_WORD + first[:, None] + place[None, :] + {{offset}}
        {{name}} = tl.load(A + k, mask=k < K, other=0.0).to(tl.float32)
{% if NORMED %}
        g = tl.load(G + k, mask=k < K, other=0.0).to(tl.float32)
{% if ROUNDS_FIRST %}
        {{name}} = ({{name}} * factor).to(A.dtype.element_ty).to(tl.float32) * g
{% else %}
        {{name}} = {{name}} * factor * g
{% endif %}
        {{name}} = {{name}}.to(A.dtype.element_ty).to(tl.float32)
{% endif %}
{% endmacro %}
{% macro packed(name) %}
        {{name}} = ({{name}} * inverse[:, None] + 12582912.0).to(tl.int32, bitcast=True) - 0x4B400000
        upper = ({{name}} + 128) >> 8
        {{name}}_upper = tl.sum((upper & 0xFF) << (8 * place)[None, :], 1)[None, :]
        {{name}}_lower = tl.sum((({{name}} - upper * 256) & 0xFF) << (8 * place)[None, :], 1)[None, :]
{% endmacro %}
{% macro summed(result, word) %}
{% if PER_WORD == 8 %}
        shifted = {{word}} >> 4
        low = {{halves(word)}}
        high = {{halves("shifted")}}
        upper = {{products("u", "high", "y_upper", "zero")}}
        upper = {{products("u", "low", "x_upper", "upper")}}
        lower = {{products("u", "high", "y_lower", "zero")}}
        lower = {{products("u", "low", "x_lower", "lower")}}
        {{result}} = upper * 256 + (lower - taken)
{% else %}
        upper = {{products("s", word, "x_upper", "zero")}}
        lower = {{products("s", word, "x_lower", "zero")}}
        {{result}} = upper * 256 + lower
{% endif %}
        {{result}} = tl.sum(tl.reshape({{result}}, (BLOCK_N, WORDS // 4, 4)), 2).to(tl.float32)
        {{result}} = tl.reshape({{result}}, (BLOCK_N, PARTS, PART // PER_WORD // 4))
{% endmacro %}
{{def_kernel("A", "B", "C", "G", "S", "T")}}
    M = {{size("A", 0)}}
    N = {{size("B", 0)}}
    K = {{size("A", 1)}}
    PARTS: tl.constexpr = WORDS * PER_WORD // PART
    column = tl.program_id(0).to(INDEX_DTYPE) * BLOCK_N + tl.arange(0, BLOCK_N)
    word = tl.arange(0, WORDS)
    place = tl.arange(0, 4)
    first = {{"word // 4 * 32 + word % 4 * 4" if PER_WORD == 8 else "word * 4"}}
    weights = B.to(tl.pointer_type(tl.int32), bitcast=True) + column[:, None] * (K // PER_WORD) + word[None, :]
    inside = (column < N)[:, None] & (word < K // PER_WORD)[None, :]
{% if GATED %}
    others = C.to(tl.pointer_type(tl.int32), bitcast=True) + column[:, None] * (K // PER_WORD) + word[None, :]
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
    k = tl.arange(0, WORDS * PER_WORD)
    squares = tl.zeros((WORDS * PER_WORD,), tl.float32)
    for start in tl.static_range(0, DEPTH, WORDS * PER_WORD):
        x = tl.load(A + start + k, mask=start + k < K, other=0.0).to(tl.float32)
        squares += x * x
    factor = tl.rsqrt(tl.sum(squares, 0) / K + EPSILON)
{% endif %}
    zero = tl.zeros((BLOCK_N, WORDS), tl.int32)
    acc = tl.zeros((BLOCK_N, WORDS // 4), tl.float32)
{% if GATED %}
    other = tl.zeros((BLOCK_N, WORDS // 4), tl.float32)
{% endif %}
    for start in tl.static_range(0, DEPTH // PER_WORD, WORDS):
        if start > 0:
            inside = (column < N)[:, None] & (start + word < K // PER_WORD)[None, :]
            b = tl.load(weights + start, mask=inside, other=0)
{% if GATED %}
            c = tl.load(others + start, mask=inside, other=0)
{% endif %}
{% if PER_WORD == 8 %}
        group = start * 8 // PART + tl.arange(0, PARTS)
        has_scale = (column < N)[:, None] & (group < K // PART)[None, :]
        s = tl.load(S + column[:, None] * (K // PART) + group[None, :], mask=has_scale, other=0.0).to(tl.float32)
{% if GATED %}
        t = tl.load(T + column[:, None] * (K // PART) + group[None, :], mask=has_scale, other=0.0).to(tl.float32)
{% endif %}
{% endif %}
{{loaded("x", 0)}}
{% if PER_WORD == 8 %}
{{loaded("y", 16)}}
        peak = tl.max(tl.maximum(tl.abs(x), tl.abs(y)), 1)
        broken = tl.sum((x - x) + (y - y), 1)
{% else %}
        peak = tl.max(tl.abs(x), 1)
        broken = tl.sum(x - x, 1)
{% endif %}
        peak = tl.max(tl.reshape(peak, (PARTS, PART // PER_WORD)), 1)
        step = peak * (1.0 / 32512.0) + tl.sum(tl.reshape(broken, (PARTS, PART // PER_WORD)), 1)
        inverse = tl.where(peak > 0.0, 32512.0 / peak, 0.0)[:, None]
        inverse = tl.reshape(tl.broadcast_to(inverse, (PARTS, PART // PER_WORD)), (WORDS,))
{{packed("x")}}
{% if PER_WORD == 8 %}
{{packed("y")}}
        taken = (tl.sum(x + y, 1) * 8)[None, :]
{% endif %}
{{summed("part", "b")}}
{% if GATED %}
{{summed("other_part", "c")}}
{% endif %}
{% if PER_WORD == 8 %}
        acc += tl.reshape(part * (s * step[None, :])[:, :, None], (BLOCK_N, WORDS // 4))
{% if GATED %}
        other += tl.reshape(other_part * (t * step[None, :])[:, :, None], (BLOCK_N, WORDS // 4))
{% endif %}
{% else %}
        acc += tl.reshape(part * step[None, :, None], (BLOCK_N, WORDS // 4))
{% if GATED %}
        other += tl.reshape(other_part * step[None, :, None], (BLOCK_N, WORDS // 4))
{% endif %}
{% endif %}
    total = tl.sum(acc, 1)[:, None]
{% if GATED %}
    beside = tl.sum(other, 1)[:, None]
{% endif %}
{% if PER_WORD == 4 %}
    total *= tl.load(S + column, mask=column < N, other=0.0).to(tl.float32)[:, None]
{% if GATED %}
    beside *= tl.load(T + column, mask=column < N, other=0.0).to(tl.float32)[:, None]
{% endif %}
{% endif %}
    idx_m = tl.zeros((1, 1), tl.int32)
    idx_n = column[:, None]
    mask = idx_n < N
    {{store_output(("idx_m", "idx_n"), "total", "mask", val_shape=("BLOCK_N", "1"))}}
""",
)

# As ``matrix_products`` has it. A value of a word becomes a number of 16 bits by the bits of one that its own are the
# last of, 128 in bfloat16 and 1024 in float16. That is taken off again, with the 8 that its sign bit, turned over,
# stands for. Two words are unpacked at a time: a register has a value of each. Products with the scale are rounded, as
# eager PyTorch's dequantized weights are.
_few_rows = TritonTemplate(
    name="four_bit_few_rows_product",
    grid=few_rows_grid,
    source=r"""
{% set KIND, ONE, NUMBER, OFF = ("f16x2", "0x3C003C00", "0x64006400", "0xE408E408") if DOT_TYPE == "tl.float16" else
    ("bf16x2", "0x3F803F80", "0x43004300", "0xC308C308") %}
{{def_kernel("A", "B", "S")}}
    M = {{size("A", 0)}}
    N = {{size("B", 0)}}
    K = {{size("A", 1)}}
    column = tl.program_id(0).to(INDEX_DTYPE) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.arange(0, BLOCK_M)
    weights = B.to(tl.pointer_type(tl.int32), bitcast=True) + (column % N)[:, None] * (K // 8)
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
        b = tl.load(weights + word[None, :], mask=inside, other=0) ^ -2004318072
        s = tl.load(scales + (word * 8 // GROUP)[None, :], mask=inside, other=0.0).to(DOT_TYPE)
        {% for i in range(8) %}w{{i}}{{", " if i < 7}}{% endfor %} = tl.inline_asm_elementwise(
            "{ .reg .b32 one, off, none, byte, next, x; "
            "mov.b32 one, {{ONE}}; mov.b32 off, {{OFF}}; mov.b32 none, 0x80008000; "
{% for i in range(4) %}
            "prmt.b32 byte, $8, $9, 0x{{i + 4}}{{i + 4}}{{i}}{{i}}; shr.u32 next, byte, 4; "
            "lop3.b32 x, byte, 0x000F000F, {{NUMBER}}, 0xEA; "
            "fma.rn.{{KIND}} x, x, one, off; fma.rn.{{KIND}} ${{2 * i}}, x, $10, none; "
            "lop3.b32 x, next, 0x000F000F, {{NUMBER}}, 0xEA; "
            "fma.rn.{{KIND}} x, x, one, off; fma.rn.{{KIND}} ${{2 * i + 1}}, x, $10, none; "
{% endfor %}
            "}", "=r,=r,=r,=r,=r,=r,=r,=r,r,r,r", [b, s], ({% for i in range(8) %}{{DOT_TYPE}}, {% endfor %}), True, 2)
        first = word // 4 * 32 + word % 4 * 4
{% for place in (0, 16, 1, 17, 2, 18, 3, 19) %}
        k = first + {{place}}
        a = tl.load(rows + k[:, None] * {{stride("A", 1)}}, mask=(k < K)[:, None], other=0.0)
        acc = tl.dot(w{{loop.index0}}, a.to(DOT_TYPE), acc)
{% endfor %}
    idx_m = piece * M + row[None, :]
    idx_n = column[:, None]
    mask = (row < M)[None, :] & (idx_n < N)
    {{store_output(("idx_m", "idx_n"), "acc", "mask", val_shape=("BLOCK_N", "BLOCK_M"))}}
""",
)


def integer_row(inputs: list[Any], layout: Any, n: int, k: int, options: dict[str, Any]) -> Any:
    """The lowering of ``row_product`` whose weights are whole numbers: bytes, or bytes of two values each."""
    per_word = 4 * k // int(inputs[1].get_size()[1])
    columns, words, warps = _row_tile(n, k, per_word)
    groups = int(inputs[4].get_size()[1])
    choices: list[Any] = []
    _one_row.maybe_append_choice(
        choices,
        input_nodes=tuple(inputs),
        layout=layout,
        BLOCK_M=1,
        BLOCK_N=columns // 2 if options["GATED"] else columns,
        WORDS=words,
        PER_WORD=per_word,
        PART=k // groups if per_word == 8 else min(_PART, words * per_word),
        num_warps=warps,
        num_stages=1,
        **options,
    )
    result, _ = autotune_select_algorithm("row_product", choices, inputs, layout)
    return result


def _row_tile(n: int, k: int, per_word: int) -> tuple[int, int, int]:
    """Columns, words and warps of a block: the fastest of those timed on an H200, or close to it."""
    whole = max(32, 1 << (math.ceil(k / per_word) - 1).bit_length())
    if n >= 8192:
        columns, words, warps = (16, 128, 4) if per_word == 8 else (8, 512, 4)
    elif k >= 4096:
        columns, words, warps = (8, 1024, 4) if per_word == 8 else (8, 1024, 8)
    else:
        columns, words, warps = (4, 256, 8) if per_word == 8 else (8, 512, 8)
    return columns, min(whole, words), warps


def four_bit_few_rows(rows: Any, weight: Any, scale: Any, layout: Any, splits: int, starts_early: bool) -> Any:
    """[splits * M, N]: parts of ``rows`` [M, K] times weights [N, K / 2] of two values, one below the other."""
    k = int(rows.get_size()[1])
    choices: list[Any] = []
    _few_rows.maybe_append_choice(
        choices,
        input_nodes=(rows, weight, scale),
        layout=layout,
        BLOCK_M=FEW_ROWS,
        BLOCK_N=64,
        WORDS=max(16, min(64, 1 << (math.ceil(k / 8) - 1).bit_length())),
        DOT_TYPE=triton_type(rows.get_dtype()),
        GROUP=k // int(scale.get_size()[1]),
        EARLY=starts_early,
        SPLITS=splits,
        num_warps=4,
        num_stages=3,
    )
    result, _ = autotune_select_algorithm("mm", choices, [rows, weight, scale], layout)
    return result
