"""What nodes of a schedule and of a graph do: bytes that they move, operations of products and of loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch._inductor import ir
from torch._inductor.dependencies import StarDep, WeakDep
from torch._inductor.scheduler import SchedulerNode
from torch._inductor.virtualized import V

aten = torch.ops.aten
prims = torch.ops.prims

# Pointwise by their tags, and no arithmetic.
_MOVES = {aten.clone, aten._to_copy, aten.copy, aten.where, prims.convert_element_type}


def accesses(nodes: Sequence[Any]) -> Iterator[int]:
    """Bytes of what is read from before and written for later. Of a table no more than is looked up."""
    inside = set(nodes)
    counts: dict[tuple[str, bool], int] = {}
    for node in nodes:
        ranges = node.get_ranges() if isinstance(node, SchedulerNode) and not node.is_template() else None
        visited = None if ranges is None else _hint(math.prod(itertools.chain(*ranges)))
        for writes, dependencies in ((False, node.read_writes.reads), (True, node.read_writes.writes)):
            for dependency in dependencies:
                if isinstance(dependency, WeakDep) or not _has_memory(dependency.name):
                    continue
                size = _numel(dependency.name)
                if visited is not None and not isinstance(dependency, StarDep):
                    size = min(size, visited)
                key = (dependency.name, writes)
                counts[key] = min(_numel(dependency.name), counts.get(key, 0) + size)
    made = {name for name, writes in counts if writes}
    for (name, writes), count in counts.items():
        buffer = V.graph.scheduler.name_to_buf.get(name)
        outlives = buffer is None or any(user.node not in inside for user in buffer.users)
        if outlives if writes else name not in made:
            yield count * V.graph.get_dtype(name).itemsize


def _has_memory(name: str) -> bool:
    """Sizes that are read on the host, and several results at once, are buffers to the scheduler, too."""
    buffer = V.graph.try_get_buffer(name)
    return not isinstance(getattr(buffer, "layout", None), ir.NoneLayout | ir.MultiOutputLayout)


def _numel(name: str) -> int:
    return _hint(V.graph.get_numel(name))


def _hint(size: Any) -> int:
    return int(V.graph.sizevars.optimization_hint(size, fallback=128))


def shape(node: Any) -> list[int]:
    """The sizes of a node's tensor, the example's where they vary."""
    return sizes(node.meta["val"])


def sizes(value: torch.Tensor) -> list[int]:
    """Of a tensor, the example's where they vary."""
    return [_hint(size.node.expr if isinstance(size, torch.SymInt) else size) for size in value.shape]


# Of aotbuild's own operators, which exist where their modules are imported.
_ROWS_BY_COLUMNS = ("aotbuild.quantized_product.default", "aotbuild.scaled_product.default")
_ATTENTION = ("aotbuild.cuda_attention.default", "aotbuild.attention.default")


def product(origin: torch.fx.Node) -> int:
    """The operations of a matrix product, a convolution or attention; two for a multiplication that is added up."""
    target, operands = origin.target, origin.args
    name = str(target)
    if target in (aten.mm.default, aten.bmm.default) or name in _ROWS_BY_COLUMNS:
        return 2 * math.prod(shape(origin)) * shape(operands[0])[-1]
    if target in (aten.addmm.default, aten.baddbmm.default):
        return 2 * math.prod(shape(origin)) * shape(operands[1])[-1]
    if name == "aotbuild.row_product.default":
        return 2 * math.prod(shape(origin)) * shape(operands[0])[-1] * (1 if operands[2] is None else 2)
    if name in _ATTENTION:
        batch, heads, queries, head_dim = shape(operands[0])
        keys, value_dim = shape(operands[2])[-2:]
        return 2 * batch * heads * queries * keys * (head_dim + value_dim)
    if name == "aotbuild.channels_last_convolution.default":
        return 2 * math.prod(shape(origin)) * math.prod(shape(operands[1])[1:])
    if target is aten.convolution.default or name == "aotbuild.direct_convolution.default":
        transposed = operands[6 if target is aten.convolution.default else 5]
        pixels = shape(operands[0] if transposed else origin)
        return 2 * math.prod(pixels) * math.prod(shape(operands[1])[1:])
    return 0


def elements(origin: torch.fx.Node) -> int:
    """One operation for each element that a pointwise operator or a reduction of floating-point numbers computes."""
    target, value = origin.target, origin.meta.get("val")
    if not isinstance(target, torch._ops.OpOverload) or target.overloadpacket in _MOVES:
        return 0
    value = value[0] if isinstance(value, (list, tuple)) and value else value
    if not isinstance(value, torch.Tensor) or not value.dtype.is_floating_point:
        return 0
    if torch.Tag.pointwise in target.tags:
        return math.prod(sizes(value))
    reduced = origin.args[0].meta.get("val") if origin.args and isinstance(origin.args[0], torch.fx.Node) else None
    if torch.Tag.reduction in target.tags and isinstance(reduced, torch.Tensor):
        return math.prod(sizes(reduced))
    return 0
