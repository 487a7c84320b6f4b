"""Matrix products that cuBLASLt may compute in the place of their Triton kernels, noted as these are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch._inductor.codegen.cuda_combined_scheduling import CUDACombinedScheduling
from torch._inductor.codegen.triton import TritonScheduling
from torch._inductor.ops_handler import MockHandler
from torch._inductor.scheduler import SchedulerNode
from torch._inductor.select_algorithm import TritonTemplateKernel
from torch._inductor.virtualized import V

from aotbuild.lower.cuda.compile.kernels import CompiledKernel
from aotbuild.spec.dtypes import DTYPES
from aotbuild.spec.errors import AotbuildError

# The key of OPTIONS, and what it may be.
OPTION = "cuda_libraries"
_LIBRARIES = ("cublaslt",)
_PLANNED = ("cudnn",)

_DTYPES = {getattr(torch, name): DTYPES[name].number for name in ("float16", "float32", "bfloat16")}


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


class Scheduling(CUDACombinedScheduling):
    """Upstream's, which tells the wrapper generator what its templates multiply."""

    def __init__(self, scheduler: Any) -> None:
        super().__init__(scheduler)
        self._triton_scheduling = _TritonScheduling(scheduler)


class _TritonScheduling(TritonScheduling):
    def define_kernel(self, src_code: str, node_schedule: Sequence[Any], kernel: Any) -> str:
        name = str(super().define_kernel(src_code, node_schedule, kernel))
        product = _product(kernel, *node_schedule) if isinstance(kernel, TritonTemplateKernel) else None
        if product is not None:
            code: Any = V.graph.wrapper_code
            code.code.products[name] = product
        return name


def _product(kernel: TritonTemplateKernel, template: Any, *epilogue: Any) -> Product | None:
    """The product that a template computes, if that and a bias are all, and its sizes are known."""
    operands = kernel.named_input_nodes
    if operands.keys() != {"A", "B"} or not template.is_template() or len(epilogue) > 1:
        return None
    bias = _row_of_template(kernel)
    if epilogue:
        bias = _row_of_epilogue(template, epilogue[0]) if bias == "" else None
    if bias is None:
        return None
    out = (*epilogue, template)[0].get_outputs()[0].node
    buffers = [operands["A"].get_name(), operands["B"].get_name(), bias, out.get_name()]
    definitions, passed, *_ = kernel.args.python_argdefs()
    parameters = {str(outer): definition.name for outer, definition in zip(passed, definitions, strict=True)}
    used = [name for name in buffers if name]
    if sorted(parameters) != sorted(used) or len(definitions) != len(used):
        return None
    dtypes = {V.graph.get_dtype(name) for name in used}
    if len(dtypes) != 1 or not dtypes <= _DTYPES.keys() or not out.get_layout().is_contiguous():
        return None
    a, b = (_matrix(operands[name]) for name in ("A", "B"))
    if a is None or b is None:
        return None
    ((batch, m, k), a_strides), ((_, _, n), b_strides) = a, b
    # A matrix has rows or columns that follow one another, and no element of it comes twice.
    # One row is bound by memory, which the Triton kernel reads as fast.
    if 0 in (batch, m - 1, n, k) or any(1 not in strides[1:] or 0 in strides[1:] for strides in (a_strides, b_strides)):
        return None
    return Product(
        _DTYPES[dtypes.pop()], (batch, m, n, k), a_strides, b_strides, *(parameters.get(name, "") for name in buffers)
    )


def _matrix(operand: Any) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The sizes and strides of a batch of matrices, where they are known and begin where their memory does."""
    layout = operand.get_layout()
    numbers = [*layout.size, *layout.stride, layout.offset]
    if layout.offset != 0 or not all(isinstance(number, int | sympy.Integer) for number in numbers):
        return None
    sizes, strides = (tuple(map(int, values)) for values in (layout.size, layout.stride))
    return (sizes, strides) if len(sizes) == 3 else ((1, *sizes), (0, *strides))


def _row_of_template(kernel: TritonTemplateKernel) -> str | None:
    """The buffer of which a template itself adds a row to its product; "" where that is the result."""
    addends = kernel.input_nodes[: kernel.prefix_args]
    with V.set_ops_handler(MockHandler()):  # its results are the operations as texts
        is_product = kernel.epilogue_fn("product", *("addend" for _ in addends)) == "product"
        is_sum = len(addends) == 1 and kernel.epilogue_fn("product", "addend") == V.ops.add("product", "addend")
    if not addends:
        return "" if is_product else None
    layout = addends[0].get_layout()
    is_row = layout.offset == 0 and layout.stride[-1] == 1 and not any(layout.stride[:-1])
    return str(addends[0].get_name()) if is_row and is_sum else None


_NO_ARITHMETIC = ("get_index", "to_dtype")


def _row_of_epilogue(template: Any, epilogue: Any) -> str | None:
    """The buffer of which a row is added to each of a template's result, where an epilogue does that alone."""
    if not isinstance(epilogue, SchedulerNode):
        return None
    nodes = epilogue._body.root_block.graph.nodes
    calls = Counter(node.target for node in nodes if node.op == "call_method" and node.target not in _NO_ARITHMETIC)
    product = template.get_outputs()[0].get_name()
    reads = {read.name: read for read in epilogue.read_writes.reads}
    others = [name for name in reads if name != product]
    if calls != {"load": 2, "add": 1, "store": 1} or len(reads) != 2 or len(others) != 1:
        return None
    (write,) = epilogue.read_writes.writes
    column = reads[others[0]].index
    same_place = reads[product].index == write.index
    return others[0] if same_place and column.is_Symbol and write.index.coeff(column) == 1 else None


def table(
    products: Mapping[str, Product], compiled: Sequence[CompiledKernel], grids: Mapping[str, tuple[int, int, int]]
) -> tuple[int, str]:
    """The number of products, and the rows of their C++ table.

    Args:
        products: by the names of their kernels.
        grids: of kernels that are launched with one grid whose sizes are known.
    """
    rows = []
    for index, kernel in enumerate(compiled):
        product = products.get(kernel.name)
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
