"""What the launches of a kernel do for the model: source lines that they come from, bytes moved, and operations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._inductor import ir
from torch._inductor.dependencies import StarDep, WeakDep
from torch._inductor.scheduler import SchedulerNode
from torch._inductor.virtualized import V

from aotbuild.capture import model_frame
from aotbuild.lower.cuda.compile.hints import BufferHint, cases

aten = torch.ops.aten
prims = torch.ops.prims

_TENSOR_CORE_DTYPES = (torch.float16, torch.bfloat16)
# Pointwise by their tags, and no arithmetic.
_MOVES = {aten.clone, aten._to_copy, aten.copy, aten.where, prims.convert_element_type}


@dataclass(frozen=True)
class Work:
    """A launch at the example's sizes.

    ``places``: of the model's code, as ``capture.model_frame`` writes them. ``nbytes``: each operand and result once.
    ``flops``: exact for matrix products, convolutions and attention; of other operators one for each element.
    ``tensor_cores``: most of them are products that tensor cores compute.
    """

    places: tuple[str, ...]
    nbytes: int
    flops: int
    tensor_cores: bool


def work(arguments: Sequence[Any], raw_arguments: Sequence[Any], counted: set[torch.fx.Node]) -> Work:
    """The work of the launch that is being written.

    TorchInductor counts among a kernel's origins also nodes whose result it reads. So each node belongs to the first
    launch that has it; only where nothing is new are all of its places named, and operations are never counted twice.

    Args:
        counted: nodes of earlier launches; those of this one are added.
    """
    current: Any = V.graph.scheduler.current_node
    nodes = [node for node in current.get_nodes() if node.node is not None]
    origins = dict.fromkeys(itertools.chain.from_iterable(node.node.origins for node in nodes))
    new = [origin for origin in origins if origin not in counted]
    counted.update(new)
    places = filter(None, (model_frame(origin.meta.get("stack_trace")) for origin in new or origins))
    if any(isinstance(node.node, ir.UserDefinedTritonKernel) for node in nodes):
        hints = cases(arguments, raw_arguments)[0]
        nbytes = sum(hint.nbytes for hint in dict.fromkeys(hints) if isinstance(hint, BufferHint))
    else:
        nbytes = sum(_accesses(nodes))
    products = {origin: count for origin in new if (count := _product(origin))}
    product_flops = sum(products.values())
    others = sum(_elements(origin) for origin in new)
    fast = any(origin.meta["val"].dtype in _TENSOR_CORE_DTYPES for origin in products)
    return Work(tuple(dict.fromkeys(places)), nbytes, product_flops + others, fast and product_flops > others)


def _accesses(nodes: Sequence[Any]) -> Iterator[int]:
    """Bytes of what is read from before and written for later. Of a table no more than is looked up."""
    inside = set(nodes)
    elements: dict[tuple[str, bool], int] = {}
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
                elements[key] = min(_numel(dependency.name), elements.get(key, 0) + size)
    made = {name for name, writes in elements if writes}
    for (name, writes), count in elements.items():
        buffer = V.graph.scheduler.name_to_buf.get(name)
        outlives = buffer is None or any(user.node not in inside for user in buffer.users)
        if outlives if writes else name not in made:
            yield count * V.graph.get_dtype(name).itemsize


def _has_memory(name: str) -> bool:
    """Sizes that are read on the host are buffers to the scheduler, too."""
    buffer = V.graph.try_get_buffer(name)
    return not isinstance(getattr(buffer, "layout", None), ir.NoneLayout)


def _numel(name: str) -> int:
    return _hint(V.graph.get_numel(name))


def _hint(size: Any) -> int:
    return int(V.graph.sizevars.optimization_hint(size, fallback=128))


def _shape(node: Any) -> list[int]:
    return _sizes(node.meta["val"])


def _sizes(value: torch.Tensor) -> list[int]:
    return [_hint(size.node.expr if isinstance(size, torch.SymInt) else size) for size in value.shape]


def _product(origin: torch.fx.Node) -> int:
    """The operations of a matrix product, a convolution or attention; two for a multiplication that is added up."""
    target, operands = origin.target, origin.args
    own = torch.ops.aotbuild
    if target in (aten.mm.default, aten.bmm.default, own.quantized_product.default, own.scaled_product.default):
        return 2 * math.prod(_shape(origin)) * _shape(operands[0])[-1]
    if target in (aten.addmm.default, aten.baddbmm.default):
        return 2 * math.prod(_shape(origin)) * _shape(operands[1])[-1]
    if target is own.row_product.default:
        return 2 * math.prod(_shape(origin)) * _shape(operands[0])[-1] * (1 if operands[2] is None else 2)
    if target is own.cuda_attention.default:
        batch, heads, queries, head_dim = _shape(operands[0])
        keys, value_dim = _shape(operands[2])[-2:]
        return 2 * batch * heads * queries * keys * (head_dim + value_dim)
    if target is own.channels_last_convolution.default:
        return 2 * math.prod(_shape(origin)) * math.prod(_shape(operands[1])[1:])
    if target in (aten.convolution.default, own.direct_convolution.default):
        transposed = operands[6 if target is aten.convolution.default else 5]
        pixels = _shape(operands[0] if transposed else origin)
        return 2 * math.prod(pixels) * math.prod(_shape(operands[1])[1:])
    return 0


def _elements(origin: torch.fx.Node) -> int:
    target, value = origin.target, origin.meta.get("val")
    if not isinstance(target, torch._ops.OpOverload) or target.overloadpacket in _MOVES:
        return 0
    value = value[0] if isinstance(value, (list, tuple)) and value else value
    if not isinstance(value, torch.Tensor) or not value.dtype.is_floating_point:
        return 0
    if torch.Tag.pointwise in target.tags:
        return math.prod(_sizes(value))
    reduced = origin.args[0].meta.get("val") if origin.args and isinstance(origin.args[0], torch.fx.Node) else None
    if torch.Tag.reduction in target.tags and isinstance(reduced, torch.Tensor):
        return math.prod(_sizes(reduced))
    return 0
