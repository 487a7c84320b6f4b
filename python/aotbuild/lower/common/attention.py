"""Scaled dot product attention kept whole: found in the graph, run by a blocked kernel that makes no score matrix."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch._inductor import ir
from torch._inductor.lowering import register_lowering
from torch.fx import GraphModule, Node

aten = torch.ops.aten

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define(
    "attention(Tensor query, Tensor key, Tensor value, Tensor? mask, bool causal, bool unseen_is_zero, "
    "float scale) -> Tensor"
)

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
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    unseen_is_zero: bool,
    scale: float,
) -> torch.Tensor:
    batch, heads, rows, _ = query.shape
    return query.new_empty((batch, rows, heads, value.shape[3])).permute(0, 2, 1, 3)


class Attention(ir.ExternKernelOut):
    """A call of the attention kernel; inputs are query, key, value and, if there is one, the mask."""

    def __init__(self, layout: ir.Layout, inputs: list[Any], causal: bool, unseen_is_zero: bool, scale: float) -> None:
        self.causal = causal
        self.unseen_is_zero = unseen_is_zero
        self.scale = scale
        super().__init__(layout, inputs, python_kernel_name="aotbuild.attention", cpp_kernel_name=KERNEL_NAME)

    def codegen(self, wrapper: Any) -> None:
        wrapper.generate_attention(self)


@register_lowering(torch.ops.aotbuild.attention.default, type_promotion_kind=None)
def _lower_attention(
    query: Any, key: Any, value: Any, mask: Any, causal: bool, unseen_is_zero: bool, scale: float
) -> Any:
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
    return ir.TensorBox.create(Attention(layout, operands, causal, unseen_is_zero, scale))


def _realized(operand: Any) -> Any:
    result = ir.ExternKernel.realize_input(operand)
    ir.as_storage_and_layout(result, freeze=True)
    return result


def _unit_last_stride(operand: Any) -> Any:
    result = _realized(operand)
    return result if result.get_stride()[-1] == 1 else _realized(ir.ExternKernel.copy_input(result))


def written_out(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: torch.Tensor | None = None,
    scale: float | None = None,
) -> Any:
    """``_scaled_dot_product_flash_attention_for_cpu`` where the kernel cannot be, as for float64.

    What a causal query does not see is no part of its maximum, and a query that sees nothing gives 0. The second result
    is the logarithm of the sums.
    """
    groups = query.shape[1] // key.shape[1] if key.shape[1] != query.shape[1] else 1
    if groups != 1:
        key, value = (operand.repeat_interleave(groups, 1) for operand in (key, value))
    scores = (query @ key.mT) * (1.0 / math.sqrt(query.shape[3]) if scale is None else scale)
    if is_causal:
        ones = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
        scores = torch.where(ones.tril(), scores, -math.inf)
    if attn_mask is not None:
        is_bool = attn_mask.dtype == torch.bool
        scores = scores + (torch.where(attn_mask, 0.0, -math.inf) if is_bool else attn_mask)
    most = scores.amax(-1, keepdim=True)
    most = torch.where(most == -math.inf, 0, most)
    weights = (scores - most).exp()
    sums = weights.sum(-1, keepdim=True)
    sums = torch.where(sums == 0, 1, sums)
    result = ((weights @ value) / sums).to(query.dtype)
    return result.transpose(1, 2).contiguous().transpose(1, 2), (most + sums.log()).squeeze(-1)


# With these types the kernel sums in float32, as eager PyTorch's does.
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
OPERATORS = (aten.scaled_dot_product_attention.default, aten._scaled_dot_product_flash_attention_for_cpu.default)


def is_supported(node: Node) -> bool:
    """Whether a call of one of ``OPERATORS`` is one for the kernel: of four dimensions, without dropout."""
    values = [tensor.meta["val"] for tensor in node.args[:3] if isinstance(tensor, Node)]
    arguments = _arguments(node)
    results = node.users if node.target is OPERATORS[1] else ()
    return (
        len(values) == 3
        and all(value.dim() == 4 and value.dtype in _DTYPES for value in values)
        and len({value.dtype for value in values}) == 1
        and arguments["dropout_p"] == 0.0
        and all(user.target is operator.getitem and user.args[1] == 0 for user in results)
    )


def _arguments(node: Node) -> dict[str, Any]:
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    values = {argument.name: argument.default_value for argument in schema}
    values.update({argument.name: value for argument, value in zip(schema, node.args)})
    values.update(node.kwargs)
    return values


def use_attention_kernel(gm: GraphModule, unseen_is_zero: bool) -> None:
    """Replaces attention calls by the kernel.

    ``unseen_is_zero``: what a query gives that sees no key: 0 where the user called the operator, but NaN, as of a
    softmax, where Inductor's patterns made the call of what the user wrote out.
    """
    masks: dict[Node, Node] = {}
    for node in list(gm.graph.nodes):
        if node.target not in OPERATORS or not is_supported(node):
            continue
        users = list(node.users) if node.target is OPERATORS[1] else [node]
        for user in users:
            _replace(gm, node, user, masks, unseen_is_zero)
        if node.target is OPERATORS[1]:
            gm.graph.erase_node(node)
    gm.graph.lint()
    gm.recompile()


def _converted(gm: GraphModule, node: Node, dtype: torch.dtype) -> Node:
    value = node.meta["val"]
    if value.dtype == dtype:
        return node
    result = gm.graph.call_function(torch.ops.prims.convert_element_type.default, (node, dtype))
    result.meta["val"] = torch.ops.prims.convert_element_type.default(value, dtype)
    return result


def _replace(gm: GraphModule, call: Node, result: Node, masks: dict[Node, Node], unseen_is_zero: bool) -> None:
    arguments = _arguments(call)
    query = arguments["query"]
    scale = arguments["scale"]
    if scale is None:
        scale = 1.0 / math.sqrt(int(query.meta["val"].shape[-1]))
    mask = arguments.get("attn_mask")
    with gm.graph.inserting_before(call):
        if mask is not None:
            mask = _additive_mask(gm, mask, masks)
        operands = [_converted(gm, arguments[name], torch.float32) for name in ("query", "key", "value")]
        inputs: tuple[Any, ...] = (*operands, mask, bool(arguments["is_causal"]), unseen_is_zero, float(scale))
        attended = gm.graph.call_function(torch.ops.aotbuild.attention.default, inputs)
        values = [None if operand is None else operand.meta["val"] for operand in (*operands, mask)]
        attended.meta = {**result.meta, "val": torch.ops.aotbuild.attention.default(*values, *inputs[4:])}
        replacement = _converted(gm, attended, query.meta["val"].dtype)
    result.replace_all_uses_with(replacement)
    gm.graph.erase_node(result)


def _additive_mask(gm: GraphModule, mask: Node, masks: dict[Node, Node]) -> Node:
    """A boolean mask as 0 where it is true and -inf elsewhere; written once for all layers that share the mask."""
    if mask.meta["val"].dtype != torch.bool:
        return _converted(gm, mask, torch.float32)
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
