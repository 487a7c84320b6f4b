"""What each call of a run function is for: places and operators of the model, and how much it does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch._inductor.virtualized import V

from aotbuild.capture import model_frame
from aotbuild.lower.common import work
from aotbuild.spec.program import KernelCall

# Of the runtime's packed layers: which argument is the slot, and the dimension that the weights are multiplied with.
_PACKED = {"aotbuild.convolution.default": (1, 1), "aotbuild.packed_recurrent.default": (2, 2)} | dict.fromkeys(
    ("aotbuild.linear.default", "aotbuild.mlp.default", "aotbuild.quantized_linear.default"), (1, -1)
)


class CallNotes:
    """Notes of one run function's calls.

    TorchInductor counts among a kernel's origins also nodes whose result it reads: each belongs to the first call that
    has it; only where nothing is new are the places of all of them named.
    """

    def __init__(self, *, counts_work: bool) -> None:
        self._counts_work = counts_work
        self._explained: set[torch.fx.Node] = set()
        self._places: dict[torch.fx.Graph, dict[torch.fx.Node, int]] = {}

    def of(self, function: str, operations: Sequence[Any], nodes: Sequence[Any] | None = None) -> KernelCall:
        """The note of the call that is about to be written.

        Args:
            operations: of the graph's IR that it computes.
            nodes: theirs in the schedule; by default those that the scheduler is at.
        """
        origins = dict.fromkeys(origin for operation in operations if operation for origin in operation.origins)
        new = [origin for origin in origins if origin not in self._explained]
        self._explained.update(new)
        places = tuple(dict.fromkeys(filter(None, map(_place, new or origins))))
        computed = sorted(new, key=self._number)
        operators = tuple(dict.fromkeys((name, _place(node) or "") for node in computed for name in _operator(node)))
        packed = next((origin for origin in origins if str(origin.target) in _PACKED), None)
        slot = None if packed is None else packed.args[_PACKED[str(packed.target)][0]]
        if not self._counts_work:
            return KernelCall(function, places, operators, slot=slot)
        current = V.graph.scheduler.current_node
        scheduled = nodes if nodes is not None else [] if current is None else current.get_nodes()
        flops = sum(work.product(origin) or work.elements(origin) for origin in new)
        nbytes = sum(work.accesses([node for node in scheduled if node.node is not None]))
        rows = (0, 0) if packed is None else _rows(packed)
        return KernelCall(function, places, operators, nbytes, flops, rows, slot)

    def _number(self, origin: torch.fx.Node) -> int:
        """In the order of the graph: TorchInductor keeps origins in that of its own calls."""
        graph = origin.graph
        if graph not in self._places:
            self._places[graph] = {node: number for number, node in enumerate(graph.nodes)}
        return self._places[graph].get(origin, -1)


def _place(origin: torch.fx.Node) -> str | None:
    return model_frame(origin.meta.get("stack_trace"))


def _operator(origin: torch.fx.Node) -> Iterator[str]:
    """The name of the operator that a node was in the model, of views none."""
    target = origin.meta.get("original_aten", origin.target)
    if not isinstance(target, torch._ops.OpOverload):
        return
    is_view = any(result.alias_info is not None and not result.alias_info.is_write for result in target._schema.returns)
    if not is_view:
        yield target.overloadpacket.__name__.strip("_")


def _rows(origin: torch.fx.Node) -> tuple[int, int]:
    """Of a packed layer: how many rows its input and its output have."""
    _, dim = _PACKED[str(origin.target)]
    value = origin.meta["val"]
    output = work.sizes(value[0] if isinstance(value, tuple | list) else value)
    return tuple(math.prod(sizes) // max(1, sizes[dim]) for sizes in (work.shape(origin.args[0]), output))  # type: ignore[return-value]
