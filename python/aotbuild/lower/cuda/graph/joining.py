"""Matrix products of one operand with several weights, such as query, key and value projections, become one product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from aotbuild.lower.cpu.linear import size_hint
from aotbuild.lower.cuda.graph.gates import RESHAPES, origin
from aotbuild.lower.cuda.graph.rewriting import Writer

aten = torch.ops.aten

# A product of this many tiles, of the usual sizes, does not keep a GPU busy: joined ones run in little more time.
_FEW_TILES = 64
_TILE = 128
# Through these a pointwise operation runs over a product's elements in their order, which a part of its kernel has to.
# Rotations of queries and keys look at heads that are transposed, and at halves of them.
_SAME_ORDER = (*RESHAPES, aten.alias.default, aten.squeeze.dim, aten.unsqueeze.default)


@dataclass(frozen=True)
class _Product:
    """``rows @ columns.T``, and ``bias`` added; ``columns`` is [N, K].

    ``scale``: of quantized ones. ``row_scale``: of rows that are quantized too.
    """

    node: Node
    rows: Node
    columns: Node
    bias: Node | None
    scale: Node | None = None
    row_scale: Node | None = None

    @property
    def width(self) -> int:
        return int(self.columns.meta["val"].shape[0])


def join_products(gm: GraphModule, weights: set[Node]) -> None:
    """Joins ``aten.mm``, ``aten.addmm`` over ``weights``, and products with quantized ones, where that is no loss.

    A following pointwise operation is part of a product's kernel, but cannot be of the joined one's. So large products
    are joined only where none follows.
    """
    groups: dict[Any, list[_Product]] = {}
    for node in gm.graph.nodes:
        product = _product(node, weights)
        if product is not None:
            step = None if product.row_scale is None else origin(product.row_scale)
            forms = [part.meta["val"] for part in (product.columns, product.scale) if part is not None]
            kinds = [(value.dtype, value.shape[1]) for value in forms]
            key = (origin(product.rows), step, str(product.rows.meta["val"].shape), product.bias is None, *kinds)
            groups.setdefault(key, []).append(product)
    for products in groups.values():
        if len(products) > 1 and (_is_small(products) or not any(_has_pointwise_user(p.node) for p in products)):
            _join(gm, products)
    gm.graph.eliminate_dead_code()
    gm.graph.lint()


def _product(node: Node, weights: set[Node]) -> _Product | None:
    bias: Any = None
    if node.target is torch.ops.aotbuild.quantized_product.default:
        rows, columns, scale = node.args
        return _Product(node, rows, columns, None, scale)  # type: ignore[arg-type]
    if node.target is torch.ops.aotbuild.scaled_product.default:
        rows, row_scale, columns, scale = node.args
        if columns not in weights or scale not in weights:
            return None
        return _Product(node, rows, columns, None, scale, row_scale)  # type: ignore[arg-type]
    if node.target is aten.mm.default:
        rows, transposed = node.args
    elif node.target is aten.addmm.default and not node.kwargs:
        bias, rows, transposed = node.args
        if bias not in weights or bias.meta["val"].dim() != 1:
            return None
    else:
        return None
    assert isinstance(rows, Node) and isinstance(transposed, Node)
    columns = transposed.args[0] if _is_transpose(transposed) else None
    if not isinstance(columns, Node) or columns not in weights:
        return None
    return _Product(node, rows, columns, bias)


def _is_transpose(node: Node) -> bool:
    if node.target is aten.permute.default:
        return [dim % 2 for dim in node.args[1]] == [1, 0]  # type: ignore[operator, union-attr]
    if node.target is aten.transpose.int:
        return node.args[1] != node.args[2]
    return node.target is aten.t.default


def _is_small(products: list[_Product]) -> bool:
    rows = size_hint(products[0].rows.meta["val"].shape[0])
    return max(-(-rows // _TILE) * -(-product.width // _TILE) for product in products) <= _FEW_TILES


def _has_pointwise_user(node: Node) -> bool:
    pending = [node]
    while pending:
        for user in pending.pop().users:
            if user.target in _SAME_ORDER:
                pending.append(user)
            elif isinstance(user.target, torch._ops.OpOverload) and torch.Tag.pointwise in user.target.tags:
                return True
    return False


def _join(gm: GraphModule, products: list[_Product]) -> None:
    # All operands but the rows are made of weights alone.
    first = products[0]
    write = Writer(gm, first.node)

    def side_by_side(name: str) -> Node:
        return write.call(aten.cat.default, [getattr(product, name) for product in products])

    if first.row_scale is not None:
        operator = torch.ops.aotbuild.scaled_product.default
        joined = write.call(operator, first.rows, first.row_scale, side_by_side("columns"), side_by_side("scale"))
    elif first.scale is not None:
        operator = torch.ops.aotbuild.quantized_product.default
        joined = write.call(operator, first.rows, side_by_side("columns"), side_by_side("scale"))
    else:
        transposed = write.call(aten.permute.default, side_by_side("columns"), [1, 0])
        if first.bias is None:
            joined = write.call(aten.mm.default, first.rows, transposed)
        else:
            joined = write.call(aten.addmm.default, side_by_side("bias"), first.rows, transposed)
    start = 0
    for product in products:
        part = write.call(aten.slice.Tensor, joined, 1, start, start + product.width)
        product.node.replace_all_uses_with(part)
        start += product.width
    for product in products:
        gm.graph.erase_node(product.node)
