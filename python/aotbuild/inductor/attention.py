"""Scaled dot product attention kept whole: found in the graph, run by a blocked kernel that makes no score matrix."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch._inductor import ir
from torch._inductor.lowering import register_lowering
from torch.fx import GraphModule, Node

aten = torch.ops.aten

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define("attention(Tensor query, Tensor key, Tensor value, Tensor? mask, bool causal, float scale) -> Tensor")

KERNEL_NAME = "scaled_dot_product_attention"
_PARAMETERS = (
    "(const aotbuild::detail::AttentionShape& shape, const float* query, const float* key, const float* value, "
    "const float* mask, float* output)"
)
# Declaration and definition of the one kernel that all attention layers of a model share.
KERNEL = (
    f"void {KERNEL_NAME}{_PARAMETERS};",
    f"void {KERNEL_NAME}{_PARAMETERS} {{\n  aotbuild::detail::attention(shape, query, key, value, mask, output);\n}}",
)


@torch.library.register_fake("aotbuild::attention", lib=_library)  # type: ignore[untyped-decorator]
def _attention_meta(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, causal: bool, scale: float
) -> torch.Tensor:
    batch, heads, rows, _ = query.shape
    return query.new_empty((batch, rows, heads, value.shape[3])).permute(0, 2, 1, 3)


class Attention(ir.ExternKernelOut):
    """A call of the attention kernel; inputs are query, key, value and, if there is one, the mask."""

    def __init__(self, layout: ir.Layout, inputs: list[Any], causal: bool, scale: float) -> None:
        self.causal = causal
        self.scale = scale
        super().__init__(layout, inputs, python_kernel_name="aotbuild.attention", cpp_kernel_name=KERNEL_NAME)

    def codegen(self, wrapper: Any) -> None:
        wrapper.generate_attention(self)


@register_lowering(torch.ops.aotbuild.attention.default, type_promotion_kind=None)
def _lower_attention(query: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float) -> Any:
    operands = [_unit_last_stride(operand) for operand in (query, key, value)]
    if mask is not None:
        operands.append(_realized(mask))
    batch, heads, rows, _ = query.get_size()
    width = value.get_size()[3]
    layout = ir.FixedLayout(
        query.get_device(),
        query.get_dtype(),
        [batch, heads, rows, width],
        [rows * heads * width, width, heads * width, 1],
    )
    return ir.TensorBox.create(Attention(layout, operands, causal, scale))


def _realized(operand: Any) -> Any:
    result = ir.ExternKernel.realize_input(operand)
    ir.as_storage_and_layout(result, freeze=True)
    return result


def _unit_last_stride(operand: Any) -> Any:
    result = _realized(operand)
    return result if result.get_stride()[-1] == 1 else _realized(ir.ExternKernel.copy_input(result))


def is_supported(node: Node) -> bool:
    """Whether an ``aten.scaled_dot_product_attention`` call is one for the kernel: float32, 4-d, no dropout."""
    tensors = [node.args[i] for i in range(3)]
    arguments = _arguments(node)
    return (
        all(isinstance(t, Node) and t.meta["val"].dim() == 4 and t.meta["val"].dtype == torch.float32 for t in tensors)
        and arguments["dropout_p"] == 0.0
    )


def _arguments(node: Node) -> dict[str, Any]:
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    values = {argument.name: argument.default_value for argument in schema}
    values.update({argument.name: value for argument, value in zip(schema, node.args)})
    values.update(node.kwargs)
    return values


def use_attention_kernel(gm: GraphModule) -> None:
    """Replaces attention calls, written by the user or found by Inductor's patterns, by the kernel."""
    masks: dict[Node, Node] = {}
    for node in list(gm.graph.nodes):
        if node.target is aten.scaled_dot_product_attention.default:
            _replace(gm, node, node, masks)
        elif node.target is aten._scaled_dot_product_flash_attention_for_cpu.default and is_supported(node):
            users = list(node.users)
            if all(user.target.__name__ == "getitem" and user.args[1] == 0 for user in users):
                for user in users:
                    _replace(gm, node, user, masks)
                gm.graph.erase_node(node)
    gm.graph.lint()
    gm.recompile()


def _replace(gm: GraphModule, call: Node, result: Node, masks: dict[Node, Node]) -> None:
    arguments = _arguments(call)
    query = arguments["query"]
    scale = arguments["scale"]
    if scale is None:
        scale = 1.0 / math.sqrt(int(query.meta["val"].shape[-1]))
    mask = arguments.get("attn_mask")
    with gm.graph.inserting_before(call):
        if mask is not None:
            mask = _additive_mask(gm, mask, masks)
        inputs = (query, arguments["key"], arguments["value"], mask, bool(arguments["is_causal"]), float(scale))
        replacement = gm.graph.call_function(torch.ops.aotbuild.attention.default, inputs)
    values = [None if operand is None else operand.meta["val"] for operand in inputs[:4]]
    replacement.meta = {**result.meta, "val": torch.ops.aotbuild.attention.default(*values, *inputs[4:])}
    result.replace_all_uses_with(replacement)
    gm.graph.erase_node(result)


def _additive_mask(gm: GraphModule, mask: Node, masks: dict[Node, Node]) -> Node:
    """A boolean mask as 0 where it is true and -inf elsewhere; written once for all layers that share the mask."""
    if mask.meta["val"].dtype != torch.bool:
        return mask
    if mask in masks:
        return masks[mask]
    # Masks are often expanded over heads; what is broadcast is not worth writing out.
    source = mask
    while source.target is aten.expand.default and source.args[0].meta["val"].dim() == mask.meta["val"].dim():  # type: ignore[union-attr]
        source = source.args[0]  # type: ignore[assignment]
    place = source if source.op != "placeholder" else _last_placeholder(gm)
    value = source.meta["val"]
    with gm.graph.inserting_before(place.next):
        choices = []
        for scalar in (0.0, -math.inf):
            constant = gm.graph.call_function(
                aten.full.default, ([], scalar), {"dtype": torch.float32, "device": value.device}
            )
            constant.meta["val"] = value.new_empty((), dtype=torch.float32)
            choices.append(constant)
        where = gm.graph.call_function(aten.where.self, (source, *choices))
    where.meta["val"] = value.new_empty(value.shape, dtype=torch.float32)
    masks[mask] = where
    return where


def _last_placeholder(gm: GraphModule) -> Node:
    last: Node = [node for node in gm.graph.nodes if node.op == "placeholder"][-1]
    return last
