"""Linear layers over quantized constant weights: found in the graph, run by the runtime, called by slot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._inductor.lowering import register_lowering
from torch.fx import GraphModule, Node

from aotbuild.lower.common.graph import dequantize_operator, eliminate_dead_code
from aotbuild.lower.cpu.linear import lower_packed
from aotbuild.spec.program import QuantizedLinear

aten = torch.ops.aten

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define("quantized_linear(Tensor input, int slot, SymInt out_features) -> Tensor")


@torch.library.register_fake("aotbuild::quantized_linear", lib=_library)  # type: ignore[untyped-decorator]
def _quantized_linear_meta(input: torch.Tensor, slot: int, out_features: int) -> torch.Tensor:
    return input.new_empty((*input.shape[:-1], out_features), dtype=_result_dtype(input.dtype))


def _result_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.int32 if dtype == torch.int8 else dtype


@register_lowering(torch.ops.aotbuild.quantized_linear.default, type_promotion_kind=None)
def _lower_quantized_linear(input: Any, slot: int, out_features: int) -> Any:
    return lower_packed(input, slot, out_features, "context_quantized_linear", _result_dtype(input.get_dtype()))


def pack_quantized(gm: GraphModule, weight_index: dict[str, int], mutated: set[int]) -> list[QuantizedLinear]:
    """Replaces products with quantized constant weights by calls of the runtime.

    These are ``_int_mm`` of int8 with int32 sums; products of float32 with int8 weights that are only converted, whose
    scales are multiplied by afterwards; and linear layers over weights that torchao's ``dequantize_affine`` gives, or
    QUANTIZE, in groups of a row.
    """
    finder = _Finder(weight_index, mutated)
    finders: dict[Any, Callable[[Node], QuantizedLinear | None]] = {
        aten._int_mm.default: finder.integers,
        aten.mm.default: finder.converted,
        aten.linear.default: finder.dequantized,
    }
    layers: list[QuantizedLinear] = []
    for node in list(gm.graph.nodes):
        find = finders.get(node.target)
        layer = None if find is None else find(node)
        if layer is not None:
            _replace(gm, node, len(layers))
            layers.append(layer)
    eliminate_dead_code(gm)
    gm.recompile()
    return layers


class _Finder:
    """Which calls are layers over quantized constants; each method returns None for those that are not."""

    def __init__(self, weight_index: dict[str, int], mutated: set[int]) -> None:
        self._weight_index = weight_index
        self._mutated = mutated

    def integers(self, node: Node) -> QuantizedLinear | None:
        source, other = _nodes(node)
        weight = self._transposed(other)
        if weight is None or source.meta["val"].dtype != torch.int8:
            return None
        index, features = weight
        return QuantizedLinear(index, None, None, features, integers=True)

    def converted(self, node: Node) -> QuantizedLinear | None:
        source, other = _nodes(node)
        if other.target is not torch.ops.prims.convert_element_type.default:
            return None
        weight = self._transposed(_nodes(other)[0])
        if weight is None or source.meta["val"].dtype != torch.float32 or other.args[1] != torch.float32:
            return None
        index, features = weight
        return QuantizedLinear(index, None, None, features)

    def dequantized(self, node: Node) -> QuantizedLinear | None:
        source, values = _nodes(node)[:2]
        if values.target is torch.ops.aotbuild.dequantize.default:
            return self._of_keyword(source, values)
        if values.target is not dequantize_operator() or values.meta["val"].dtype != torch.float32:
            return None
        arguments = dict(zip([a.name for a in values.target._schema.arguments], values.args)) | values.kwargs
        shape, block = values.meta["val"].shape, arguments["block_size"]
        if len(shape) != 2 or block[0] != 1 or block[1] < 1 or shape[1] % block[1] != 0:
            return None
        groups = shape[0] * (shape[1] // block[1])
        weight = self._constant(arguments["input"], torch.int8)
        scale = self._constant(arguments["scale"], torch.float32, groups)
        zero = arguments.get("zero_point")
        zero_point = self._constant(zero, torch.int8, groups)
        if weight is None or scale is None or source.meta["val"].dtype != torch.float32:
            return None
        if zero is not None and zero_point is None:
            return None
        low, high = arguments.get("quant_min"), arguments.get("quant_max")
        is_small = low is not None and high is not None and low >= -8 and high <= 7
        bits = 4 if is_small and block[1] % 32 == 0 else 8
        return QuantizedLinear(weight, scale, zero_point, block[1], bits)

    def _of_keyword(self, source: Node, values: Node) -> QuantizedLinear | None:
        matrix, scales, bits = values.args
        weight, scale = self._constant(matrix, torch.int8), self._constant(scales, torch.float32)
        if weight is None or scale is None or source.meta["val"].dtype != torch.float32:
            return None
        columns, groups = matrix.meta["val"].shape[1], scales.meta["val"].shape[1]  # type: ignore[union-attr]
        return QuantizedLinear(weight, scale, None, columns // groups, int(bits))  # type: ignore[arg-type]

    def _constant(self, node: Any, dtype: torch.dtype, count: int | None = None) -> int | None:
        """The index of a weight that a node is, if calls do not change it, of ``count`` elements where given."""
        if not isinstance(node, Node) or node.meta["val"].dtype != dtype:
            return None
        if count is not None and node.meta["val"].numel() != count:
            return None
        index = self._weight_index.get(node.name)
        return None if index in self._mutated else index

    def _transposed(self, node: Node) -> tuple[int, int] | None:
        """The index of an int8 weight [N, K] whose transpose a node is, and K."""
        is_transpose = node.target is aten.t.default or (
            node.target is aten.permute.default and list(node.args[1]) == [1, 0]  # type: ignore[arg-type]
        )
        if not is_transpose:
            return None
        (matrix,) = _nodes(node)
        index = self._constant(matrix, torch.int8)
        return None if index is None else (index, matrix.meta["val"].shape[1])


def _nodes(node: Node) -> list[Node]:
    return [argument for argument in node.args if isinstance(argument, Node)]


def _replace(gm: GraphModule, node: Node, slot: int) -> None:
    """The runtime's call in the place of a product, with the bias of a linear layer added to it."""
    source = _nodes(node)[0]
    bias = None
    out_features = node.meta["val"].shape[-1]
    if node.target is aten.linear.default:
        bias = node.args[2] if len(node.args) > 2 else node.kwargs.get("bias")
    with gm.graph.inserting_before(node):
        result = gm.graph.call_function(torch.ops.aotbuild.quantized_linear.default, (source, slot, out_features))
        result.meta = dict(node.meta)
        if bias is not None:
            result = gm.graph.call_function(aten.add.Tensor, (result, bias))
            result.meta = dict(node.meta)
    node.replace_all_uses_with(result)
    gm.graph.erase_node(node)
