"""Heads of keys and values that a model copies for each of its query heads: attention reads the originals."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

aten = torch.ops.aten

_RESHAPES = (aten.view.default, aten.reshape.default, aten._unsafe_view.default)


def share_heads(gm: GraphModule) -> None:
    """Takes ``repeat_kv`` and ``repeat_interleave`` off the operands of attention, whose kernels have groups of heads.

    A cache would be copied as a whole, several times over, for each token.
    """
    for node in gm.graph.nodes:
        if node.target is not torch.ops.aotbuild.cuda_attention.default:
            continue
        query, key, value, *rest = node.args
        originals = [_original(operand) for operand in (key, value)]
        if any(original is None for original in originals):
            continue
        heads = {original.meta["val"].shape[1] for original in originals}
        if len(heads) == 1 and query.meta["val"].shape[1] % heads.pop() == 0:
            node.args = (query, *originals, *rest)
    gm.graph.eliminate_dead_code()
    gm.graph.lint()


def _original(operand: Any) -> Any:
    """[batch, heads, n, width] of which ``operand`` has every head several times in a row, or None."""
    node = operand
    if node.target not in _RESHAPES:
        return None
    node = node.args[0]
    if node.target is aten.clone.default:
        node = node.args[0]
    if not isinstance(node, Node) or node.target is not aten.expand.default:
        return None
    expanded, source = node.meta["val"].shape, node.args[0]
    while isinstance(source, Node) and source.target is aten.slice.Tensor and _is_whole(source):
        source = source.args[0]
    if not isinstance(source, Node) or source.target is not aten.unsqueeze.default or source.args[1] not in (2, -3):
        return None
    original = source.args[0]
    assert isinstance(original, Node)
    sizes = original.meta["val"].shape
    if len(sizes) != 4 or len(expanded) != 5 or tuple(sizes) != (*expanded[:2], *expanded[3:]):
        return None
    wanted = (sizes[0], sizes[1] * expanded[2], sizes[2], sizes[3])
    return original if tuple(operand.meta["val"].shape) == wanted else None


def _is_whole(node: Node) -> bool:
    """Whether a slice is of everything."""
    source = node.args[0]
    assert isinstance(source, Node)
    return tuple(node.meta["val"].shape) == tuple(source.meta["val"].shape)
