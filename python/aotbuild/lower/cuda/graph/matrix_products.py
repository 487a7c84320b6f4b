"""Matrix products that templates of this project compute: through tensor maps on Hopper, and those of few rows."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch._inductor import ir, lowering
from torch._inductor.kernel.mm_common import addmm_epilogue, mm_args
from torch._inductor.lowering import lowerings
from torch._inductor.select_algorithm import SymbolicGridFn, TritonTemplate, autotune_select_algorithm
from torch._inductor.utils import triton_type
from torch._inductor.virtualized import V

from aotbuild.spec.target import CudaArchitecture
from aotbuild.spec.upstream import patched_entries

aten = torch.ops.aten
prims = torch.ops.prims

# Tensor maps, and kernels that start before the one before them has ended, came with Hopper.
_HOPPER = 90
# The copy engine reads rows that begin at multiples of so many bytes (CUDA driver API, cuTensorMapEncodeTiled).
_MAP_ALIGNMENT = 16
# Up to so many rows, a product takes as long as reading its weights: no tile is wide enough to read each one once.
FEW_ROWS = 16
# Sums are divided into pieces of so many at least, and among so many blocks at most: TorchInductor adds up fewer than 8
# parts wherever they are read.
_LEAST_DEPTH = 512
_MAX_SPLITS = 6

# Of tiles through tensor maps: rows, columns, depth, stages, warps; the microseconds of a step of the depth and of all
# else. The first two are fitted to timings of products in bfloat16 on an H200 of 132 multiprocessors; the others are
# guesses in proportion.
_MAPPED_TILES = (
    ((128, 256, 64, 3, 8), 0.74, 1.4),
    ((128, 128, 64, 4, 4), 0.38, 0.9),
    ((128, 64, 64, 4, 4), 0.24, 0.8),
    ((64, 128, 64, 4, 4), 0.25, 0.8),
    ((64, 64, 64, 5, 4), 0.18, 0.7),
)


@SymbolicGridFn
def _mapped_grid(m: Any, n: Any, meta: Any, *, cdiv: Any, min: Any) -> Any:
    return min(meta["BLOCKS"], cdiv(m, meta["BLOCK_M"]) * cdiv(n, meta["BLOCK_N"])), 1, 1


# Blocks stay for several tiles: the copies of the next one begin while the last one's result is written. Operands are
# read by the copy engine, which gives zeros beyond their ends, so no read has a mask.
_mapped = TritonTemplate(
    name="mapped_product",
    grid=_mapped_grid,
    source=r"""
{% if SCALED %}
{{def_kernel("A", "B", "R", "S")}}
{% else %}
{{def_kernel("A", "B")}}
{% endif %}
    M = {{size("A", 0)}}
    N = {{size("B", 1)}}
    K = {{size("A", 1)}}
    a_map = tl.make_tensor_descriptor(
        A, shape=[M, K], strides=[{{stride("A", 0)}}, 1], block_shape=[BLOCK_M, BLOCK_K]
    )
{% if B_COLUMNS %}
    b_map = tl.make_tensor_descriptor(
        B, shape=[N, K], strides=[{{stride("B", 1)}}, 1], block_shape=[BLOCK_N, BLOCK_K]
    )
{% else %}
    b_map = tl.make_tensor_descriptor(
        B, shape=[K, N], strides=[{{stride("B", 0)}}, 1], block_shape=[BLOCK_K, BLOCK_N]
    )
{% endif %}
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    width = GROUP_M * tiles_n
    for tile in tl.range(tl.program_id(0), tiles_m * tiles_n, BLOCKS, flatten=True):
        group = tile // width
        rows_of_group = min(tiles_m - group * GROUP_M, GROUP_M)
        first_m = (group * GROUP_M + (tile % width) % rows_of_group) * BLOCK_M
        first_n = (tile % width) // rows_of_group * BLOCK_N
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=ACC_TYPE)
        for step in range(tl.cdiv(K, BLOCK_K)):
            a = a_map.load([first_m, step * BLOCK_K])
{% if B_COLUMNS %}
            b = b_map.load([first_n, step * BLOCK_K]).T
{% else %}
            b = b_map.load([step * BLOCK_K, first_n])
{% endif %}
            acc = tl.dot(a, b, acc, out_dtype=ACC_TYPE)
        idx_m = (first_m + tl.arange(0, BLOCK_M)).to(INDEX_DTYPE)[:, None]
        idx_n = (first_n + tl.arange(0, BLOCK_N)).to(INDEX_DTYPE)[None, :]
        mask = (idx_m < M) & (idx_n < N)
{% if SCALED %}
        row_scale = tl.load(R + idx_m, mask=idx_m < M, other=0.0).to(tl.float32)
        acc = acc.to(tl.float32) * row_scale * tl.load(S + idx_n, mask=idx_n < N, other=0.0).to(tl.float32)
{% endif %}
        {{store_output(("idx_m", "idx_n"), "acc", "mask", indent_width=8, val_shape=("BLOCK_M", "BLOCK_N"))}}
""",
)


@SymbolicGridFn
def few_rows_grid(m: Any, n: Any, meta: Any, *, cdiv: Any) -> Any:
    return cdiv(n, meta["BLOCK_N"]), meta.get("SPLITS", 1), 1


# A block takes some columns of the result, whose weights are rows of memory. It lets the next kernel start at once, and
# reads its first weights, which no kernel writes, before it waits for the kernel before it: memory is never idle.
_one_row = TritonTemplate(
    name="one_row_product",
    grid=few_rows_grid,
    source=r"""
{{def_kernel("A", "B")}}
    M = {{size("A", 0)}}
    N = {{size("B", 1)}}
    K = {{size("A", 1)}}
    column = tl.program_id(0).to(INDEX_DTYPE) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    weights = B + column[:, None] * {{stride("B", 1)}} + k[None, :]
    inside = (column < N)[:, None] & (k < K)[None, :]
{% if EARLY %}
    tl.extra.cuda.gdc_launch_dependents()
    b = tl.load(weights, mask=inside, other=0.0)
    tl.extra.cuda.gdc_wait()
{% else %}
    b = tl.load(weights, mask=inside, other=0.0)
{% endif %}
    a = tl.load(A + k * {{stride("A", 1)}}, mask=k < K, other=0.0)
    acc = a.to(tl.float32)[None, :] * b.to(tl.float32)
    for start in {{"tl.static_range" if UNROLL else "tl.range"}}(BLOCK_K, DEPTH, BLOCK_K):
        inside = (column < N)[:, None] & (start + k < K)[None, :]
        b = tl.load(weights + start, mask=inside, other=0.0)
        a = tl.load(A + (start + k) * {{stride("A", 1)}}, mask=start + k < K, other=0.0)
        acc += a.to(tl.float32)[None, :] * b.to(tl.float32)
    total = tl.sum(acc, 1)[:, None]
    idx_m = tl.zeros((1, 1), tl.int32)
    idx_n = column[:, None]
    mask = idx_n < N
    {{store_output(("idx_m", "idx_n"), "total", "mask", val_shape=("BLOCK_N", "1"))}}
""",
)

# The weights are the left operand of tensor cores, which want 16 rows at least, and the rows are padded to as many.
# With SPLITS the sums are divided among blocks: the result has as many matrices, one below the other.
_few_rows = TritonTemplate(
    name="few_rows_product",
    grid=few_rows_grid,
    source=r"""
{{def_kernel("A", "B")}}
    M = {{size("A", 0)}}
    N = {{size("B", 1)}}
    K = {{size("A", 1)}}
    column = tl.program_id(0).to(INDEX_DTYPE) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.arange(0, BLOCK_M)
    k = tl.arange(0, BLOCK_K)
    weights = B + (column % N)[:, None] * {{stride("B", 1)}}
    rows = A + (row % M)[None, :] * {{stride("A", 0)}}
{% if EARLY %}
    tl.extra.cuda.gdc_launch_dependents()
    tl.extra.cuda.gdc_wait()
{% endif %}
    acc = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
    piece = tl.program_id(1)
    steps = tl.cdiv(K, BLOCK_K)
    for step in range(piece * steps // SPLITS, (piece + 1) * steps // SPLITS):
        place = step * BLOCK_K + k
        b = tl.load(weights + place[None, :], mask=(place < K)[None, :], other=0.0)
        a = tl.load(rows + place[:, None] * {{stride("A", 1)}}, mask=(place < K)[:, None], other=0.0)
        acc = tl.dot(b.to(DOT_TYPE), a.to(DOT_TYPE), acc)
    idx_m = piece * M + row[None, :]
    idx_n = column[:, None]
    mask = (row < M)[None, :] & (idx_n < N)
    {{store_output(("idx_m", "idx_n"), "acc", "mask", val_shape=("BLOCK_N", "BLOCK_M"))}}
""",
)


@dataclass(frozen=True)
class Operands:
    """``a`` [m, k] @ ``b`` [k, n], and what is added to it. ``rows``: m as a number, by the example where it varies.

    ``scales``: of rows [m, 1] and of columns [n, 1], which the product is multiplied by; of large products alone.
    """

    m: Any
    n: int
    k: int
    a: Any
    b: Any
    layout: Any
    bias: Any
    factors: tuple[float, float]
    scales: tuple[Any, ...] = ()

    @property
    def rows(self) -> int:
        return max(1, int(V.graph.sizevars.optimization_hint(self.m, fallback=128)))


@contextlib.contextmanager
def own_templates(gpu: CudaArchitecture, constants: AbstractSet[str]) -> Iterator[None]:
    """Lowers ``aten.mm`` and ``aten.addmm`` to templates of this project where these serve, else as upstream does.

    Args:
        constants: inputs of the graph that no kernel writes to.
    """
    upstream = {name: lowerings[name] for name in (aten.mm.default, aten.addmm.default)}

    def product(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
        result = None if args or kwargs else _lower(gpu, constants, a, b)
        return upstream[aten.mm.default](a, b, *args, **kwargs) if result is None else result

    def sum_and_product(bias: Any, a: Any, b: Any, *, alpha: float = 1, beta: float = 1, **kwargs: Any) -> Any:
        result = None if kwargs else _lower(gpu, constants, a, b, bias, (alpha, beta))
        if result is not None:
            return result
        return upstream[aten.addmm.default](bias, a, b, alpha=alpha, beta=beta, **kwargs)

    replaced: dict[Any, Callable[..., Any]] = {
        aten.mm: product,
        aten.mm.default: product,
        aten.addmm: sum_and_product,
        aten.addmm.default: sum_and_product,
    }
    with patched_entries(lowering, "lowerings", replaced):
        yield


def _lower(
    gpu: CudaArchitecture,
    constants: AbstractSet[str],
    a: Any,
    b: Any,
    bias: Any = None,
    factors: tuple[float, float] = (1, 1),
) -> Any:
    """The product, or None where no template of this project serves it."""
    if a.get_dtype() not in (torch.float16, torch.bfloat16) or a.get_dtype() != b.get_dtype():
        return None
    sizes = [*a.get_size(), b.get_size()[1]]
    if not all(isinstance(size, (int, sympy.Integer)) and size > 0 for size in sizes[1:]):
        return None
    if bias is None:
        m, n, k, layout, a, b = mm_args(a, b)
    else:
        m, n, k, layout, a, b, bias = mm_args(a, b, bias)
    for operand in (a, b):
        ir.as_storage_and_layout(operand, freeze=True)
    operands = Operands(m, int(n), int(k), a, b, layout, bias, factors)
    if isinstance(m, (int, sympy.Integer)) and 0 < m <= FEW_ROWS:
        return _with_few_rows(operands, gpu, constants)
    if gpu.capability == _HOPPER:
        return through_maps(operands, gpu)
    return None


def _with_few_rows(operands: Operands, gpu: CudaArchitecture, constants: AbstractSet[str]) -> Any:
    strides = operands.b.get_layout().stride
    if strides[0] != 1 or operands.n == 1:
        return None
    if operands.m == 1:
        early = starts_early(gpu) and operands.b.get_name() in constants
        columns, depth, warps = one_row_tile(operands.n, operands.k)
        settings = {"BLOCK_M": 1, "BLOCK_N": columns, "BLOCK_K": depth, "num_warps": warps, "num_stages": 1}
        unroll = math.ceil(operands.k / depth) <= 16
        return _chosen(_one_row, operands, settings, EARLY=early, UNROLL=unroll, DEPTH=operands.k)
    return few_rows(operands, gpu)


def starts_early(gpu: CudaArchitecture) -> bool:
    """Whether a kernel may start before the one before it has ended."""
    return gpu.capability >= _HOPPER


def few_rows(operands: Operands, gpu: CudaArchitecture) -> Any:
    """A product of at most ``FEW_ROWS`` rows, whose weights are rows of memory."""
    columns, depth, stages, warps, splits = few_rows_tile(operands.n, operands.k, gpu.multi_processor_count)
    settings = {
        "BLOCK_M": FEW_ROWS,
        "BLOCK_N": columns,
        "BLOCK_K": depth,
        "num_warps": warps,
        "num_stages": stages,
    }
    options = {"EARLY": starts_early(gpu), "SPLITS": splits, "DOT_TYPE": _dot_type(operands)}
    if splits == 1:
        return _chosen(_few_rows, operands, settings, **options)
    layout = parts_layout(operands.layout, splits)
    parts = _chosen(_few_rows, dataclasses.replace(operands, layout=layout, bias=None), settings, **options)
    return joined(parts, operands, splits)


def _dot_type(operands: Operands) -> str:
    """What tensor cores multiply: the rows' type, or float16, which has each number of int8 and of float8."""
    dtype = operands.a.get_dtype()
    return triton_type(dtype if dtype in (torch.float16, torch.bfloat16) else torch.float16)


def parts_layout(layout: Any, splits: int) -> Any:
    """Of matrices of float32, one below the other."""
    rows, columns = layout.size
    return ir.FixedLayout(layout.device, torch.float32, [splits * rows, columns])


def joined(parts: Any, operands: Operands, splits: int) -> Any:
    """The sum of the parts, and of what is added, in float32; it becomes part of the kernel that follows."""
    rows, columns = operands.layout.size
    total = lowerings[aten.sum](lowerings[aten.reshape](parts, [splits, rows, columns]), [0])
    if operands.bias is not None:
        alpha, beta = operands.factors
        bias = lowerings[prims.convert_element_type](operands.bias, torch.float32)
        total, bias = (
            value if factor == 1 else lowerings[aten.mul](value, factor)
            for value, factor in ((total, alpha), (bias, beta))
        )
        total = lowerings[aten.add](total, bias)
    return lowerings[prims.convert_element_type](total, operands.layout.dtype)


def one_row_tile(n: int, k: int) -> tuple[int, int, int]:
    """Columns, depth and warps of a block for one row: the fastest of those timed on an H200, or close to it."""
    depth = min(1024, max(32, 1 << (k - 1).bit_length()))
    return 2, depth, 1 if depth < 512 else 2 if n >= 8192 or k >= 4096 else 4


def few_rows_tile(n: int, k: int, multiprocessors: int) -> tuple[int, int, int, int, int]:
    """Columns, depth, stages, warps and splits of a block for 2 to 16 rows.

    Where there are fewer tiles than multiprocessors, sums are divided.
    """
    depth = min(128, max(16, 1 << (k - 1).bit_length()))
    blocks = math.ceil(n / 64)
    splits = max(1, min(2 * multiprocessors // blocks, k // _LEAST_DEPTH, _MAX_SPLITS))
    return 64, depth, 4, 4, splits


def through_maps(operands: Operands, gpu: CudaArchitecture, sums: str = "tl.float32") -> Any:
    """A product of many rows; None where no tile or no tensor map serves it. ``sums``: their type."""
    by_columns = operands.b.get_layout().stride[0] == 1
    if not has_map(operands.a, rows=True) or not has_map(operands.b, rows=not by_columns):
        return None
    tile = mapped_tile(operands.rows, operands.n, operands.k, gpu.multi_processor_count)
    if tile is None:
        return None
    m, n, k, stages, warps = tile
    k *= 2 // operands.a.get_dtype().itemsize  # as many bytes
    settings = {"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "num_stages": stages, "num_warps": warps, "GROUP_M": 8}
    options = {"BLOCKS": gpu.multi_processor_count, "B_COLUMNS": by_columns, "ACC_TYPE": sums}
    return _chosen(_mapped, operands, settings, **options, SCALED=bool(operands.scales))


def has_map(matrix: Any, *, rows: bool) -> bool:
    """Whether the copy engine reads a matrix, of which the elements of a row follow one another; else of a column."""
    layout = matrix.get_layout()
    inner, outer = (1, 0) if rows else (0, 1)
    numbers = (layout.stride[outer], layout.offset)
    return (
        layout.stride[inner] == 1
        and all(isinstance(number, (int, sympy.Integer)) for number in numbers)
        and all(int(number) * layout.dtype.itemsize % _MAP_ALIGNMENT == 0 for number in numbers)
        and layout.stride[outer] != 0
    )


def mapped_tile(m: int, n: int, k: int, multiprocessors: int) -> tuple[int, int, int, int, int] | None:
    """Rows, columns, depth, stages and warps of a block; None where other kernels do as well or better."""
    if m * n < 64 * 64 * 16 or k < 128 or m < 64 or n < 64:
        return None

    def time(entry: tuple[tuple[int, int, int, int, int], float, float]) -> float:
        (rows, columns, depth, _, _), step, rest = entry
        waves = math.ceil(math.ceil(m / rows) * math.ceil(n / columns) / multiprocessors)
        return waves * (math.ceil(k / depth) * step + rest)

    return min(_MAPPED_TILES, key=time)[0]


def _chosen(template: TritonTemplate, operands: Operands, settings: dict[str, int], **options: Any) -> Any:
    inputs = [operands.a, operands.b, *operands.scales]
    added: dict[str, Any] = {}
    if operands.bias is not None:
        dtype = operands.layout.dtype
        alpha, beta = operands.factors
        inputs = [operands.bias, *inputs]
        added = {
            "prefix_args": 1,
            "epilogue_fn": addmm_epilogue(dtype, alpha, beta),
            "epilogue_fn_hash": str(["addmm_epilogue", dtype, alpha, beta]),
        }
    choices: list[Any] = []
    template.maybe_append_choice(
        choices, input_nodes=tuple(inputs), layout=operands.layout, **settings, **options, **added
    )
    result, _ = autotune_select_algorithm("mm", choices, inputs, operands.layout)
    return result
