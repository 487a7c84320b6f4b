"""Matrix products that cuBLASLt may compute in the place of their Triton kernels, read from these kernels' sources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aotbuild.lower.cuda.compile import templates
from aotbuild.lower.cuda.compile.kernels import CompiledKernel, TritonKernel
from aotbuild.spec.errors import AotbuildError

# The key of OPTIONS, and what it may be.
OPTION = "cuda_libraries"
_LIBRARIES = ("cublaslt",)
_PLANNED = ("cudnn",)

# Triton's types, and those of the C shim.
_DTYPES = {"*fp16": 5, "*fp32": 6, "*bf16": 15}

_SIZE = re.compile(r"^    (M|N|K|BATCH|stride_[ab][qmkn]) = (\d+)$", re.MULTILINE)
_STORED = r"(?:tl\.broadcast_to\(xindex, \[BLOCK_M, BLOCK_N\]\)|xindex)"
_PLAIN = re.compile(rf"    tl\.store\((?P<out>\w+) \+ \({_STORED}\), acc, mask\)\n*")
_BIASED = re.compile(
    r"    tmp0 = tl\.load\((?P<bias>\w+) \+ \(tl\.broadcast_to\(idx_n, \[BLOCK_M, BLOCK_N\]\)\), mask, "
    r"eviction_policy='evict_last'\)(?:\.to\(tl\.float32\))?\n"
    rf"    tmp1 = acc \+ tmp0\n    tl\.store\((?P<out>\w+) \+ \({_STORED}\), tmp1, mask\)\n*"
)
_SUFFIX = "    # inductor generates a suffix\n"


@dataclass(frozen=True)
class Product:
    """``out[q, m, n] = a[q, m, k] @ b[q, k, n] + bias[n]``.

    ``sizes``: batch, m, n, k. ``a_strides``, ``b_strides``: batch, row, column. ``a``, ``b``, ``bias``, ``out``: names
    of parameters; ``bias`` may be "".
    """

    dtype: int
    sizes: tuple[int, ...]
    a_strides: tuple[int, ...]
    b_strides: tuple[int, ...]
    a: str
    b: str
    bias: str
    out: str


def wants_cublaslt(options: Mapping[str, Any], target: str) -> bool:
    """Whether OPTIONS ask for cuBLASLt.

    Raises:
        AotbuildError: they ask for another library.
    """
    names = [name.strip() for name in str(options.get(OPTION, "")).split(",") if name.strip()]
    for name in names:
        if name in _PLANNED:
            raise AotbuildError(f"{target}: OPTIONS {OPTION}={name} is not supported yet; use {OPTION}=cublaslt")
        if name not in _LIBRARIES:
            raise AotbuildError(f"{target}: OPTIONS {OPTION}={name} is unknown; use {OPTION}=cublaslt")
    return bool(names)


def product_of(source: str, signature: Mapping[str, str]) -> Product | None:
    """The product that a kernel computes, if that and a bias are all, and its sizes are known.

    Args:
        signature: the types of the parameters that a launch passes.
    """
    if not templates.is_template(source) or _SUFFIX not in source:
        return None
    values = {name: int(value) for name, value in _SIZE.findall(source)}
    sizes = tuple(values.get(name, 1 if name == "BATCH" else 0) for name in ("BATCH", "M", "N", "K"))
    index, _, rest = source.partition(_SUFFIX)[2].partition("\n")
    stored = _PLAIN.fullmatch(rest) or _BIASED.fullmatch(rest)
    if stored is None or 0 in sizes:
        return None
    m, n = sizes[1:3]
    expected = "idx_n" + (f" + {n}*idx_m" if m > 1 else "") + (f" + {m * n}*idx_q" if "BATCH" in values else "")
    if index != f"    xindex = {expected}":
        return None
    a_strides, b_strides = (
        tuple(values.get(f"stride_{x}", 0) for x in names) for names in (("aq", "am", "ak"), ("bq", "bk", "bn"))
    )
    # A matrix has rows or columns that follow one another, and no element of it comes twice.
    if any(1 not in stride[1:] or 0 in stride[1:] for stride in (a_strides, b_strides)):
        return None
    bias = stored.groupdict().get("bias") or ""
    parameters = {name for name in ("arg_A", "arg_B", bias, stored["out"]) if name}
    types = set(signature.values())
    if parameters != set(signature) or len(types) != 1 or not types <= set(_DTYPES):
        return None
    return Product(
        _DTYPES[types.pop()],
        sizes,
        a_strides,
        b_strides,
        "arg_A",
        "arg_B",
        bias,
        stored["out"],
    )


def table(
    kernels: Sequence[TritonKernel], compiled: Sequence[CompiledKernel], grids: Mapping[str, tuple[int, int, int]]
) -> tuple[int, str]:
    """The number of products, and the rows of their C++ table.

    Args:
        grids: of kernels that are launched with one grid whose sizes are known.
    """
    sources = {kernel.name: kernel.source for kernel in kernels}
    rows = []
    for index, kernel in enumerate(compiled):
        types = {name: kernel.signature[name] for name in kernel.parameters}
        product = product_of(sources[kernel.name], types) if kernel.name in sources else None
        if product is None or kernel.name not in grids:
            continue
        places = [
            kernel.parameters.index(name) if name else -1 for name in (product.a, product.b, product.bias, product.out)
        ]
        lists = (product.sizes, product.a_strides, product.b_strides)
        shown = ", ".join(f"{{{', '.join(map(str, values))}}}" for values in lists)
        grid = ", ".join(map(str, grids[kernel.name]))
        rows.append(f"    {{{index}, {product.dtype}, {shown}, {', '.join(map(str, places))}, {{{grid}}}}},\n")
    return len(rows), "".join(rows)
