"""What the launches of a kernel do for the model: source lines that they come from, bytes moved, and operations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._inductor import ir
from torch._inductor.virtualized import V

from aotbuild.capture import model_frame
from aotbuild.lower.common.work import accesses, elements, product
from aotbuild.lower.cuda.compile.hints import BufferHint, cases

_TENSOR_CORE_DTYPES = (torch.float16, torch.bfloat16)


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
        nbytes = sum(accesses(nodes))
    products = {origin: count for origin in new if (count := product(origin))}
    product_flops = sum(products.values())
    others = sum(elements(origin) for origin in new)
    fast = any(origin.meta["val"].dtype in _TENSOR_CORE_DTYPES for origin in products)
    return Work(tuple(dict.fromkeys(places)), nbytes, product_flops + others, fast and product_flops > others)
