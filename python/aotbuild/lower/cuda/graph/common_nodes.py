"""Calls that a graph makes twice with the same arguments are made once: a mask that every layer computes, say."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

aten = torch.ops.aten


def merge_equal_calls(gm: GraphModule) -> None:
    """Keeps the first of the equal calls of operators that have no effect and draw no random numbers.

    Views are left alone: they cost nothing, and code that looks for patterns finds them where the model has them. So
    are results of the model, each of which has memory of its own.
    """
    known: dict[Any, Node] = {}
    for node in list(gm.graph.nodes):
        if not _is_pure(node) or any(user.op == "output" for user in node.users):
            continue
        leaves, spec = pytree.tree_flatten((node.args, node.kwargs))
        key = (node.target, tuple((type(leaf), leaf) for leaf in leaves), str(spec))
        first = known.setdefault(key, node)
        if first is not node:
            node.replace_all_uses_with(first)
            gm.graph.erase_node(node)


# Memory without a value, which hand-written kernels write to: one for two of them would be copied.
_WITHOUT_VALUE = (aten.empty.memory_format, aten.empty_strided.default, aten.empty_like.default, aten.new_empty.default)


def _is_pure(node: Node) -> bool:
    operator = node.target
    if operator in _WITHOUT_VALUE:
        return False
    if node.op != "call_function" or not isinstance(operator, torch._ops.OpOverload):
        return False
    if operator._schema.is_mutable or node.is_impure() or torch.Tag.nondeterministic_seeded in operator.tags:
        return False
    if not isinstance(node.meta.get("val"), torch.Tensor) or any(
        r.alias_info is not None for r in operator._schema.returns
    ):
        return False
    return all(_is_hashable(leaf) for leaf in pytree.tree_leaves((node.args, node.kwargs)))


def _is_hashable(value: Any) -> bool:
    return value is None or isinstance(
        value, (Node, bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format)
    )
