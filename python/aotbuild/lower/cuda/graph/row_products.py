"""Products of one row with what stands before and behind them: a normalisation of the row, a gate over two products.

A decoder that makes one token is little but such products. Each reads its weights at the speed of memory, and every
kernel between two of them is time in which memory does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch._inductor import ir
from torch._inductor.lowering import register_lowering
from torch._inductor.select_algorithm import TritonTemplate, autotune_select_algorithm
from torch._inductor.utils import get_num_sms
from torch._inductor.virtualized import V
from torch.fx import GraphModule, Node

from aotbuild.lower.cuda.graph import gates
from aotbuild.lower.cuda.graph.integer_rows import integer_row
from aotbuild.lower.cuda.graph.matrix_products import few_rows_grid, one_row_tile
from aotbuild.lower.cuda.graph.rewriting import Writer

aten = torch.ops.aten
prims = torch.ops.prims

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define(
    "row_product(Tensor row, Tensor weight, Tensor? other, Tensor? scale, float epsilon, bool rounds_first, "
    "int gate, Tensor? weight_scale, Tensor? other_scale) -> Tensor"
)

# Beyond, a block would read the row more often than its weights.
_MAX_DEPTH = 16384
_MOST_BLOCKS = 12  # for each multiprocessor
_MOST_COLUMNS = 16


# --- the graph


@dataclass(frozen=True)
class _Norm:
    """``row * rsqrt(mean(row ** 2) + epsilon) * scale``; ``rounds_first``: to the row's type, before ``scale``."""

    row: Node
    scale: Node
    epsilon: float
    rounds_first: bool


@dataclass(frozen=True)
class _RowProduct:
    """``row`` [1, K] @ ``weight`` [N, K].T; ``scale``: of a quantized weight (``quantized_product``)."""

    row: Node
    weight: Node
    scale: Node | None = None


def join_gates(gm: GraphModule, weights: set[Node]) -> None:
    """Makes ``act(row @ gate) * (row @ up)``, whatever pointwise ``act`` is, one call."""
    for node in list(gm.graph.nodes):
        first = _row_product(node, weights)
        partner = None if first is None else _partner(node, first, weights)
        calls = [] if partner is None else _calls_to_gate(node, partner)
        if first is None or partner is None or not calls:
            continue
        second = _row_product(partner, weights)
        assert second is not None
        last = calls[-1]
        number = gates.numbered(gates.gate_of(node, partner, calls))
        write = Writer(gm, last)
        product = write.call(
            torch.ops.aotbuild.row_product.default,
            first.row, first.weight, second.weight, None, 0.0, False, number, first.scale, second.scale,
        )  # fmt: skip
        last.replace_all_uses_with(write.call(aten.view.default, product, list(last.meta["val"].shape)))
    gm.graph.eliminate_dead_code()
    gm.graph.lint()


def _row_product(node: Node, weights: set[Node]) -> _RowProduct | None:
    if node.target is torch.ops.aotbuild.quantized_product.default:
        row, weight, scale = node.args
    elif node.target is aten.mm.default:
        row, columns = node.args
        weight, scale = _rows(columns), None
        if weight is None or not _is_constant(weight, weights):
            return None
    else:
        return None
    assert isinstance(row, Node)
    value = row.meta["val"]
    fits = (
        all(isinstance(size, int) for size in value.shape)
        and value.shape[0] == 1
        and 32 <= value.shape[1] <= _MAX_DEPTH
        and value.dtype in gates.HALF_TYPES
    )
    return _RowProduct(row, weight, scale) if fits else None  # type: ignore[arg-type]


def _rows(columns: Any) -> Any:
    """[N, K] of a right operand [K, N] that is its transpose; None where it is none."""
    if columns.target is aten.permute.default and [dim % 2 for dim in columns.args[1]] == [1, 0]:
        return columns.args[0]
    return columns.args[0] if columns.target is aten.t.default else None


def _is_constant(node: Node, weights: set[Node]) -> bool:
    """Whether a node is a weight, or products' weights side by side."""
    return node in weights or (node.target is aten.cat.default and all(part in weights for part in node.args[0]))  # type: ignore[union-attr]


def _partner(node: Node, first: _RowProduct, weights: set[Node]) -> Node | None:
    """The only other product of the same row, of as many columns and alike weights, that comes later."""
    source = gates.origin(first.row)
    after = False
    found = []
    for other in node.graph.nodes:
        after = after or other is node
        product = _row_product(other, weights) if after and other is not node else None
        if product is not None and gates.origin(product.row) is source:
            found.append((other, product))
    if len(found) != 1:
        return None
    partner, second = found[0]
    parts = [(first.weight, second.weight), (first.scale, second.scale)]
    return partner if all(_form(one) == _form(other) for one, other in parts) else None


def _form(node: Node | None) -> Any:
    return None if node is None else (node.meta["val"].dtype, node.meta["val"].shape)


def _calls_to_gate(first: Node, second: Node) -> list[Node]:
    """The calls from both products to the first that depends on both; none if anything else depends on them."""
    depends: dict[Node, int] = {first: 1, second: 2}
    calls: list[Node] = []
    after = False
    for node in first.graph.nodes:
        after = after or node is first
        if not after or node in depends:
            continue
        sources = [operand for operand in node.all_input_nodes if operand in depends]
        if not sources:
            continue
        if not gates.is_pointwise(node) or set(sources) != gates.operands(node):
            return []
        depends[node] = 0
        for operand in sources:
            depends[node] |= depends[operand]
        calls.append(node)
        if depends[node] == 3:
            inner = {first, second, *calls[:-1]}
            alone = all(user in inner or user is node for part in inner for user in part.users)
            same = node.meta["val"].numel() == first.meta["val"].numel()
            return calls if alone and same else []
    return []


def fuse_norms(gm: GraphModule, weights: set[Node]) -> None:
    """Makes root-mean-square normalisations of a row part of the products that read it."""
    for node in list(gm.graph.nodes):
        product = _row_product(node, weights)
        rest: tuple[Any, ...]
        if product is not None:
            row, weight, other, rest = product.row, product.weight, None, (-1, product.scale, None)
        elif node.target is torch.ops.aotbuild.row_product.default and node.args[3] is None:
            row, weight, other, *_ = node.args
            rest = node.args[6:]
        else:
            continue
        norm = _norm(gates.origin(row), weights)
        if norm is None:
            continue
        write = Writer(gm, node)
        flat = write.call(aten.view.default, norm.row, [1, norm.row.meta["val"].shape[-1]])
        result = write.call(
            torch.ops.aotbuild.row_product.default,
            flat, weight, other, norm.scale, norm.epsilon, norm.rounds_first, *rest,
        )  # fmt: skip
        node.replace_all_uses_with(result)
        gm.graph.erase_node(node)
    gm.graph.eliminate_dead_code()
    gm.graph.lint()


def _norm(node: Node, weights: set[Node]) -> _Norm | None:
    """The normalisation that a node is the result of, as PyTorch's ``rms_norm`` or written out in float32."""
    dtype = node.meta["val"].dtype
    scaled, rounds_first = _uncast(node), False
    scale, product = _weight_of(scaled, weights)
    if product is None:
        return None
    if product.meta["val"].dtype == dtype:  # rounded before the scale, as Hugging Face's models do
        product, rounds_first = _uncast(product), True
    if product.target is not aten.mul.Tensor:
        return None
    for wide, factor in (product.args, product.args[::-1]):
        if isinstance(factor, Node) and factor.target is aten.rsqrt.default:
            epsilon = _epsilon(factor.args[0], wide)
            row = _uncast(wide)
            if epsilon is None or row is wide or row.meta["val"].dtype != dtype or dtype not in gates.HALF_TYPES:
                return None
            is_row = row.meta["val"].numel() == row.meta["val"].shape[-1] == scale.meta["val"].numel()
            return _Norm(row, scale, epsilon, rounds_first) if is_row else None
    return None


def _uncast(node: Any) -> Any:
    return node.args[0] if node.target is prims.convert_element_type.default else node


def _weight_of(node: Node, weights: set[Node]) -> tuple[Any, Any]:
    if node.target is aten.mul.Tensor:
        for product, scale in (node.args, node.args[::-1]):
            if scale in weights and isinstance(product, Node) and product not in weights:
                return scale, product
    return None, None


def _epsilon(total: Any, wide: Any) -> float | None:
    """What is added to the mean of the squares of ``wide``, if that is what ``total`` is."""
    if total.target not in (aten.add.Scalar, aten.add.Tensor) or not isinstance(total.args[1], float | int):
        return None
    mean = total.args[0]
    if mean.target is not aten.mean.dim or len(mean.args) < 3 or not mean.args[2]:
        return None
    square = mean.args[0]
    last = [dim % wide.meta["val"].dim() for dim in mean.args[1]] == [wide.meta["val"].dim() - 1]
    is_square = square.target is aten.pow.Tensor_Scalar and tuple(square.args) == (wide, 2)
    is_product = square.target is aten.mul.Tensor and tuple(square.args) == (wide, wide)
    is_float = wide.meta["val"].dtype == torch.float32
    return float(total.args[1]) if last and is_float and (is_square or is_product) else None


@torch.library.register_fake("aotbuild::row_product", lib=_library)  # type: ignore[untyped-decorator]
def _fake(
    row: torch.Tensor,
    weight: torch.Tensor,
    other: torch.Tensor | None,
    scale: torch.Tensor | None,
    epsilon: float,
    rounds_first: bool,
    gate: int,
    weight_scale: torch.Tensor | None,
    other_scale: torch.Tensor | None,
) -> torch.Tensor:
    return row.new_empty((1, weight.shape[0]))


# --- the kernel

# As ``matrix_products`` has it for one row. Every block normalises the row itself: it is read from the cache.
_template = TritonTemplate(
    name="row_product",
    grid=few_rows_grid,
    source=r"""
{{def_kernel("A", "B", "C", "G", "S", "T")}}
    M = {{size("A", 0)}}
    N = {{size("B", 0)}}
    K = {{size("A", 1)}}
    column = tl.program_id(0).to(INDEX_DTYPE) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    weights = B + column[:, None] * {{stride("B", 0)}} + k[None, :]
    inside = (column < N)[:, None] & (k < K)[None, :]
{% if GATED %}
    others = C + column[:, None] * {{stride("C", 0)}} + k[None, :]
{% endif %}
{% if EARLY %}
    tl.extra.cuda.gdc_launch_dependents()
{% endif %}
    b = tl.load(weights, mask=inside, other=0.0)
{% if GATED %}
    c = tl.load(others, mask=inside, other=0.0)
{% endif %}
{% if EARLY %}
    tl.extra.cuda.gdc_wait()
{% endif %}
{% if NORMED %}
    squares = tl.zeros((BLOCK_K,), tl.float32)
    for start in tl.static_range(0, DEPTH, BLOCK_K):
        x = tl.load(A + start + k, mask=start + k < K, other=0.0).to(tl.float32)
        squares += x * x
    factor = tl.rsqrt(tl.sum(squares, 0) / K + EPSILON)
{% endif %}
    acc = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
{% if GATED %}
    other = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
{% endif %}
    for start in tl.static_range(0, DEPTH, BLOCK_K):
        if start > 0:
            inside = (column < N)[:, None] & (start + k < K)[None, :]
            b = tl.load(weights + start, mask=inside, other=0.0)
{% if GATED %}
            c = tl.load(others + start, mask=inside, other=0.0)
{% endif %}
        a = tl.load(A + start + k, mask=start + k < K, other=0.0).to(tl.float32)
{% if NORMED %}
        g = tl.load(G + start + k, mask=start + k < K, other=0.0).to(tl.float32)
{% if ROUNDS_FIRST %}
        a = (a * factor).to(A.dtype.element_ty).to(tl.float32) * g
{% else %}
        a = a * factor * g
{% endif %}
        a = a.to(A.dtype.element_ty).to(tl.float32)
{% endif %}
        acc += a[None, :] * b.to(tl.float32)
{% if GATED %}
        other += a[None, :] * c.to(tl.float32)
{% endif %}
    total = tl.sum(acc, 1)[:, None]
{% if GATED %}
    beside = tl.sum(other, 1)[:, None]
{% endif %}
{% if SCALED %}
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


@register_lowering(torch.ops.aotbuild.row_product.default, type_promotion_kind=None)
def _lower(
    row: Any,
    weight: Any,
    other: Any,
    norm_scale: Any,
    epsilon: float,
    rounds_first: bool,
    gate: int,
    weight_scale: Any,
    other_scale: Any,
) -> Any:
    row, weight = _read(row), _read(weight)
    normed, is_gated, is_scaled = norm_scale is not None, gate >= 0, weight_scale is not None
    scale = _read(weight_scale) if is_scaled else row
    inputs = [
        row,
        weight,
        _read(other) if is_gated else weight,
        _read(norm_scale) if normed else row,
        scale,
        _read(other_scale) if is_gated and is_scaled else scale,
    ]
    n, k = (int(V.graph.sizevars.guard_int(size)) for size in (weight.get_size()[0], row.get_size()[1]))
    layout = ir.FixedLayout(row.get_device(), row.get_dtype(), [1, n])
    options: dict[str, Any] = {
        "GATED": is_gated,
        "NORMED": normed,
        "ROUNDS_FIRST": rounds_first,
        "EPSILON": epsilon,
        "DEPTH": k,
        "EARLY": torch.cuda.get_device_capability() >= (9, 0),
    }
    if is_gated:
        options["epilogue_fn"] = gates.epilogue(gates.of_number(gate))
        options["epilogue_fn_hash"] = f"gate {gate}"
    if weight.get_dtype() in (torch.int8, torch.uint8):
        return integer_row(inputs, layout, n, k, options)
    columns, depth, warps = one_row_tile(n, k)
    if normed:
        warps = max(warps, 4 if depth >= 512 else 1)
        # A block normalises the row anew, so there are not many more than can run at a time.
        while n // columns > _MOST_BLOCKS * get_num_sms() and columns < _MOST_COLUMNS:
            columns *= 2
    choices: list[Any] = []
    _template.maybe_append_choice(
        choices,
        input_nodes=tuple(inputs),
        layout=layout,
        BLOCK_M=1,
        BLOCK_N=columns,
        BLOCK_K=depth,
        num_warps=warps,
        num_stages=1,
        SCALED=is_scaled,
        **options,
    )
    result, _ = autotune_select_algorithm("row_product", choices, inputs, layout)
    return result


def _read(operand: Any) -> Any:
    return ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(operand))
