"""Lowers ``quantized_product`` and ``scaled_product``: to kernels that read quantized weights, or to plain products."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import sympy
import torch
from torch._inductor import ir, lowering
from torch._inductor.lowering import lowerings
from torch._inductor.virtualized import ops
from torch.utils._sympy.functions import FloorDiv, ModularIndexing

from aotbuild.lower.cuda.graph.gates import HALF_TYPES
from aotbuild.lower.cuda.graph.integer_rows import four_bit_few_rows
from aotbuild.lower.cuda.graph.matrix_products import (
    FEW_ROWS,
    Operands,
    few_rows,
    few_rows_tile,
    joined,
    parts_layout,
    starts_early,
    through_maps,
)
from aotbuild.spec.packing import FOUR_BITS_BLOCK
from aotbuild.spec.target import CudaArchitecture
from aotbuild.spec.upstream import patched_entries

aten = torch.ops.aten
prims = torch.ops.prims
own = torch.ops.aotbuild


@contextlib.contextmanager
def quantized_templates(gpu: CudaArchitecture) -> Iterator[None]:
    """Lowers both operators for a GPU; they have no lowering outside."""

    def product(rows: Any, weight: Any, scale: Any) -> Any:
        return _quantized(gpu, rows, weight, scale)

    def scaled(rows: Any, row_scale: Any, weight: Any, scale: Any) -> Any:
        return _scaled(gpu, rows, row_scale, weight, scale)

    added: dict[Any, Callable[..., Any]] = {
        own.quantized_product.default: product,
        own.scaled_product.default: scaled,
    }
    with patched_entries(lowering, "lowerings", added):
        yield


def _quantized(gpu: CudaArchitecture, rows: Any, weight: Any, scale: Any) -> Any:
    dtype = rows.get_dtype()
    if _has_few_rows(rows) and dtype in HALF_TYPES:
        if rows.get_size()[0] == 1:
            return lowerings[own.row_product.default](rows, weight, None, None, 0.0, False, -1, scale, None)
        if weight.get_dtype() == torch.uint8:
            return _four_bits(gpu, rows, weight, scale)
        product = few_rows(_operands(rows, weight, torch.float32), gpu)
        return _cast(lowerings[aten.mul](product, _row_of(scale)), dtype)
    values = _dequantized(weight, scale, dtype)
    values.realize()
    return lowerings[aten.mm.default](rows, lowerings[aten.permute](values, [1, 0]))


def _four_bits(gpu: CudaArchitecture, rows: Any, weight: Any, scale: Any) -> Any:
    operands = _operands(rows, weight, rows.get_dtype())
    *_, splits = few_rows_tile(operands.n, operands.k, gpu.multi_processor_count)
    layout = operands.layout if splits == 1 else parts_layout(operands.layout, splits)
    parts = four_bit_few_rows(operands.a, _read(weight), _read(scale), layout, splits, starts_early(gpu))
    return parts if splits == 1 else joined(parts, operands, splits)


def _scaled(gpu: CudaArchitecture, rows: Any, row_scale: Any, weight: Any, scale: Any) -> Any:
    dtype = scale.get_dtype()
    if not _has_few_rows(rows) and gpu.capability == 90:
        operands = _operands(rows, weight, dtype)
        with_scales = dataclasses.replace(operands, scales=(_read(row_scale), _read(scale)))
        product = through_maps(with_scales, gpu, "tl.int32" if rows.get_dtype() == torch.int8 else "tl.float32")
        if product is not None:
            return product
    product = _cast(_sums(gpu, rows, weight), torch.float32)
    return _cast(lowerings[aten.mul](lowerings[aten.mul](product, _wide(row_scale)), _row_of(scale)), dtype)


def _sums(gpu: CudaArchitecture, rows: Any, weight: Any) -> Any:
    """[M, N], not scaled: of few rows in float32, else of int8 in int32, and of float8 in bfloat16."""
    if _has_few_rows(rows):
        return few_rows(_operands(rows, weight, torch.float32), gpu)
    if rows.get_dtype() == torch.int8:
        operands = _operands(rows, weight, torch.int32)
        return lowerings[aten._int_mm.default](operands.a, operands.b)
    a, b = (_cast(operand, torch.bfloat16) for operand in (rows, weight))
    return lowerings[aten.mm.default](a, lowerings[aten.permute](b, [1, 0]))


def _operands(rows: Any, weight: Any, dtype: torch.dtype) -> Operands:
    """``rows`` [M, K] @ ``weight`` [N, K].T in ``dtype``; both are read as they lie."""
    m, k = rows.get_size()
    n = int(weight.get_size()[0])
    weight.realize()
    columns = ir.ExternKernel.realize_input(lowerings[aten.permute](weight, [1, 0]))
    return Operands(m, n, int(k), _read(rows), columns, ir.FixedLayout(rows.get_device(), dtype, [m, n]), None, (1, 1))


def _read(operand: Any) -> Any:
    return ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(operand))


def _has_few_rows(rows: Any) -> bool:
    m = rows.get_size()[0]
    return isinstance(m, int | sympy.Integer) and 0 < m <= FEW_ROWS


def _dequantized(weight: Any, scale: Any, dtype: torch.dtype) -> Any:
    """[N, K], by a kernel before that of the product: of many rows it takes little of the time."""
    n, groups = (int(size) for size in scale.get_size())
    values = _values(weight) if weight.get_dtype() == torch.uint8 else weight
    k = int(values.get_size()[1])
    parts = lowerings[aten.reshape](_wide(values), [n, groups, k // groups])
    product = lowerings[aten.mul](parts, lowerings[aten.unsqueeze](_wide(scale), 2))
    return _cast(lowerings[aten.reshape](product, [n, k]), dtype)


def _values(packed: Any) -> Any:
    """[N, K], from -8 to 7, of bytes [N, K / 2] of two values each."""
    n, count = (int(size) for size in packed.get_size())
    half = FOUR_BITS_BLOCK // 2
    loader = packed.make_loader()

    def value(index: Any) -> Any:
        row, column = index
        place = FloorDiv(column, FOUR_BITS_BLOCK) * half + ModularIndexing(column, 1, half)
        byte = ops.to_dtype(loader([row, place]), torch.int32)
        shift = ops.index_expr(ModularIndexing(column, half, 2) * 4, torch.int32)
        bits = ops.bitwise_and(ops.bitwise_right_shift(byte, shift), ops.constant(15, torch.int32))
        # Two's complement of four bits.
        return ops.sub(ops.bitwise_xor(bits, ops.constant(8, torch.int32)), ops.constant(8, torch.int32))

    return ir.Pointwise.create(device=packed.get_device(), dtype=torch.int32, inner_fn=value, ranges=[n, count * 2])


def _row_of(scale: Any) -> Any:
    """[1, N] of [N, 1]."""
    return lowerings[aten.permute](_wide(scale), [1, 0])


def _wide(value: Any) -> Any:
    return _cast(value, torch.float64 if value.get_dtype() == torch.float64 else torch.float32)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return lowerings[prims.convert_element_type](value, dtype)
