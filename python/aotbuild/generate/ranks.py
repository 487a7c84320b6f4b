"""Models for several GPUs: every rank captured, one lowering for all, and the weights of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aotbuild.cache import graphs
from aotbuild.capture import load_source, process_group, refuse_collectives
from aotbuild.generate.request import CapturedModel, GenerateRequest
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import Variant, Weight

if TYPE_CHECKING:
    from collections.abc import Callable

    from aotbuild.capture import Captured, Source
    from aotbuild.lower.common.lowered import Lowered

    Capture = Callable[[Source, GenerateRequest, Sequence[CapturedModel]], CapturedModel]


def capture_others(request: GenerateRequest, capture_model: Capture) -> list[CapturedModel]:
    """The ranks after the first, which are not run: the first runs all.

    Raises:
        AotbuildError: as of ``capture.capture`` and ``capture.refuse_collectives``.
    """
    unrun = dataclasses.replace(request, emit=dataclasses.replace(request.emit, test=False))
    captured = []
    for rank in range(1, request.world_size):
        with process_group(rank, request.world_size):
            source = load_source(request.model, request.params, request.source_dir)
            captured.append(capture_model(source, unrun, ()))
            for method in captured[-1].methods.values():
                refuse_collectives(method.program, request.emit.target)
    return captured


def refuse_other_graphs(target: str, first: Mapping[str, Captured], ranks: Sequence[CapturedModel]) -> None:
    """Ranks may differ in the values of their weights alone.

    Raises:
        AotbuildError: a rank has another graph, weights of other shapes, or constants of other values.
    """
    for name, method in first.items():
        key = graphs.graph_key(method, {}, {}, "") if ranks else ""
        if ranks and not key:
            raise AotbuildError(
                f"{target}: with WORLD_SIZE a model may call PyTorch's own operators alone, as what others do is not "
                "in the graphs that are compared; leave Triton kernels and operators of other libraries out"
            )
        for rank, other in enumerate(ranks, 1):
            if graphs.graph_key(other.methods[name], {}, {}, "") != key:
                difference = _difference(method, other.methods[name])
                raise AotbuildError(
                    f"{target}: the graph of rank {rank} is not that of rank 0: {difference}. Ranks may differ in the "
                    "values of parameters and buffers alone: make what depends on the rank a buffer"
                )


def _difference(first: Captured, other: Captured) -> str:
    for mine, theirs in zip(first.program.graph.nodes, other.program.graph.nodes):
        texts = [f"{node.target}{node.args}" for node in (mine, theirs)]
        if texts[0] != texts[1]:
            return f"{texts[1]} where rank 0 has {texts[0]}"
    state = first.program.state_dict
    for name, tensor in other.program.state_dict.items():
        if name not in state or state[name].shape != tensor.shape or state[name].dtype != tensor.dtype:
            return f"the weight {name} is {list(tensor.shape)} of {tensor.dtype}"
    return "a constant has other values"


def weights_of_ranks(
    captured: CapturedModel, lowered: Mapping[str, Lowered[Variant]], target: str
) -> list[dict[str, tuple[Weight, ...]]]:
    """For each rank after the first, the weights of each method in the places that lowering gave the first's."""
    found = []
    for rank in captured.ranks:
        methods = {}
        for name, part in lowered.items():
            named = graphs.split_weights(part, captured.methods[name].program)
            if named is None:
                raise AotbuildError(f"{target}: {name} computes with weights while it is built, which ranks have apart")
            methods[name] = graphs.join_weights(named, rank[name].program).weights
        found.append(methods)
    return found
