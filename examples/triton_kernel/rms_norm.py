"""Root mean square normalisation of the rows of a matrix, as a Triton kernel."""

import triton
import triton.language as tl

CONFIGS = [
    triton.Config({"row_tile": rows}, num_warps=warps)
    for rows, warps in ((1, 4), (1, 1), (1, 2), (1, 8), (2, 4), (4, 4), (4, 8))
]


@triton.autotune(configs=CONFIGS, key=["columns"])
@triton.jit
def rms_norm(x, weight, out, rows, columns, epsilon, row_tile: tl.constexpr, column_tile: tl.constexpr = 1024):
    """out = x / sqrt(mean(x * x) + epsilon) * weight, for rows of at most ``column_tile`` columns."""
    row = tl.program_id(0) * row_tile + tl.arange(0, row_tile)[:, None]
    column = tl.arange(0, column_tile)[None, :]
    mask = (row < rows) & (column < columns)
    values = tl.load(x + row * columns + column, mask, other=0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(values * values, 1)[:, None] / columns + epsilon)
    weights = tl.load(weight + column, column < columns, other=0).to(tl.float32)
    tl.store(out + row * columns + column, values * scale * weights, mask)
