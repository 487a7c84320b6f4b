"""Products with quantized weights, found in the graph: kernels read these as they are stored.

Of int8 and float8 a value has a byte, of four bits half of one (``spec/packing.py``).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from aotbuild.lower.common.graph import PreparedGraph
from aotbuild.lower.cuda.graph.rewriting import Writer
from aotbuild.spec.packing import FOUR_BITS_BLOCK, with_four_bits

aten = torch.ops.aten
prims = torch.ops.prims

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define("quantized_product(Tensor rows, Tensor weight, Tensor scale) -> Tensor")

# What a layer that QUANTIZE made calls.
QUANTIZED = (torch.ops.aotbuild.dequantize.default, torch.ops.aotbuild.scaled_product.default)


@torch.library.register_fake("aotbuild::quantized_product", lib=_library)  # type: ignore[untyped-decorator]
def _fake(rows: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """``rows`` [M, K]; ``weight`` [N, K] and ``scale`` [N, 1], or [N, K / 2] of two values each and [N, groups]."""
    return rows.new_empty((rows.shape[0], weight.shape[0]))


@dataclass(frozen=True)
class _Dequantized:
    """What a node ``dequantize(weight, scale, bits)`` has."""

    node: Node
    weight: Node
    scale: Node
    bits: int


def use_quantized_products(prepared: PreparedGraph, constants: set[Node]) -> PreparedGraph:
    """Makes products with dequantized constant weights calls of ``quantized_product``.

    Weights of four bits are stored two values to a byte from here on. What else reads a quantized weight gets it
    dequantized.
    """
    gm = prepared.module
    weights = list(prepared.weights)
    packed: dict[Node, Node] = {}
    for node in list(gm.graph.nodes):
        if node.target is not torch.ops.aotbuild.dequantize.default:
            continue
        weight, scale, bits = node.args
        found = _Dequantized(node, weight, scale, bits)
        if bits == 4 and weight not in packed and _has_four_bits(found, constants):
            index = prepared.weight_index[weight.name]
            weights[index] = dataclasses.replace(weights[index], tensor=with_four_bits(weights[index].tensor))
            packed[weight] = _unpacked(gm, weight)
        if weight in constants and scale in constants:
            _replace_products(gm, found, weight in packed)
        _write_out(gm, dataclasses.replace(found, weight=packed.get(weight, weight)))
    gm.graph.eliminate_dead_code()
    gm.graph.lint()
    return dataclasses.replace(prepared, weights=tuple(weights))


def _has_four_bits(found: _Dequantized, constants: set[Node]) -> bool:
    """Whether nothing but layers of four bits reads the weight, and whole blocks of values are in a row."""
    same = all(user.target is found.node.target for user in found.weight.users)
    return same and found.weight in constants and found.weight.meta["val"].shape[1] % FOUR_BITS_BLOCK == 0


def _unpacked(gm: GraphModule, weight: Node) -> Node:
    """[N, K] of int8 out of the bytes [N, K / 2] that ``weight`` is made into."""
    rows, columns = weight.meta["val"].shape
    with_bytes = weight.meta["val"].new_empty((rows, columns // 2), dtype=torch.uint8)
    users = list(weight.users)
    weight.meta["val"] = with_bytes
    first = next(node for node in gm.graph.nodes if node.op != "placeholder")
    write = Writer(gm, first)
    half = FOUR_BITS_BLOCK // 2
    wide = write.cast(write.call(aten.view.default, weight, [rows, columns // FOUR_BITS_BLOCK, half]), torch.int32)
    low = write.call(aten.bitwise_and.Scalar, wide, 15)
    high = write.call(aten.__rshift__.Scalar, wide, 4)
    values = write.call(aten.view.default, write.call(aten.cat.default, [low, high], 2), [rows, columns])
    # From 0 to 15 as two's complement of four bits has it, to -8 to 7.
    signed = write.call(aten.sub.Scalar, write.call(aten.bitwise_xor.Scalar, values, 8), 8)
    result = write.cast(signed, torch.int8)
    for user in users:
        user.replace_input_with(weight, result)
    return result


def _replace_products(gm: GraphModule, found: _Dequantized, is_packed: bool) -> None:
    columns, groups = found.node.meta["val"].shape[1], found.scale.meta["val"].shape[1]
    group = columns // groups
    # Blocks are of powers of two, and so many values are in a word's block.
    suits = group % FOUR_BITS_BLOCK == 0 and group & (group - 1) == 0 if is_packed else groups == 1
    if not suits:
        return
    for transposed in list(found.node.users):
        is_transpose = transposed.target is aten.permute.default and list(transposed.args[1]) == [1, 0]  # type: ignore[arg-type]
        if not is_transpose and transposed.target is not aten.t.default:
            continue
        for user in list(transposed.users):
            _replace_product(gm, user, transposed, found.weight, found.scale)


def _replace_product(gm: GraphModule, node: Node, transposed: Node, weight: Node, scale: Node) -> None:
    bias: Any = None
    if node.target is aten.mm.default and node.args[1] is transposed:
        rows = node.args[0]
    elif node.target is aten.addmm.default and node.args[2] is transposed and not node.kwargs:
        bias, rows, _ = node.args
    else:
        return
    write = Writer(gm, node)
    result = write.call(torch.ops.aotbuild.quantized_product.default, rows, weight, scale)
    if bias is not None:
        result = write.call(aten.add.Tensor, result, bias)
    node.replace_all_uses_with(result)
    gm.graph.erase_node(node)


def _write_out(gm: GraphModule, found: _Dequantized) -> None:
    """The dequantized weight in plain operators, where anything still reads it."""
    if not found.node.users:
        return
    write = Writer(gm, found.node)
    rows, columns = found.weight.meta["val"].shape
    groups = found.scale.meta["val"].shape[1]
    wide = torch.promote_types(found.scale.meta["val"].dtype, torch.float32)
    values = write.call(aten.view.default, write.cast(found.weight, wide), [rows, groups, columns // groups])
    scale = write.call(aten.unsqueeze.default, write.cast(found.scale, wide), 2)
    product = write.call(aten.view.default, write.call(aten.mul.Tensor, values, scale), [rows, columns])
    found.node.replace_all_uses_with(write.cast(product, found.node.meta["val"].dtype))
