"""Lowers collectives of ``torch.distributed._functional_collectives`` to calls of the runtime on the call's stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import distributed
from torch._inductor import ir, lowering
from torch._inductor.lowering import lowerings

from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.upstream import patched_entries

# How detail/cuda_spec.hpp counts them.
_REDUCTIONS = {"sum": "kSum", "product": "kProduct", "max": "kMaximum", "min": "kMinimum", "avg": "kMean"}


class Collective(ir.ExternKernelOut):
    """``operation`` of all ranks: a contiguous input and output. ``argument``: a C++ expression."""

    def __init__(self, layout: ir.Layout, source: ir.IRNode, operation: str, argument: str) -> None:
        self.operation = operation
        self.argument = argument
        super().__init__(layout, [source], python_kernel_name="aotbuild.collective", cpp_kernel_name=operation)

    def codegen(self, wrapper: Any) -> None:
        wrapper.generate_collective(self)

    def has_side_effects(self) -> bool:
        """Other ranks wait for it, whether this one reads the result or not."""
        return True


@contextlib.contextmanager
def collective_calls() -> Iterator[None]:
    """Lowers collectives over all ranks of the process group that the model was captured with, if there is one.

    Raises:
        AotbuildError: while lowering, for a group of other ranks or an operation that the runtime lacks.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        yield
        return
    world_size = distributed.get_world_size()
    operators = torch.ops._c10d_functional
    gathered, scattered = operators.all_gather_into_tensor.default, operators.reduce_scatter_tensor.default

    def all_reduce(source: Any, by: str, group: str) -> Any:
        return _call(source, _sizes(source), "kAllReduce", _reduction(by), world_size, group)

    def all_gather(source: Any, size: int, group: str) -> Any:
        rows, *rest = _sizes(source)
        return _call(source, [rows * size, *rest], "kAllGather", "0", world_size, group)

    def reduce_scatter(source: Any, by: str, size: int, group: str) -> Any:
        rows, *rest = _sizes(source)
        return _call(source, [rows // size, *rest], "kReduceScatter", _reduction(by), world_size, group)

    def broadcast(source: Any, root: int, group: str) -> Any:
        return _call(source, _sizes(source), "kBroadcast", str(root), world_size, group)

    def all_to_all(source: Any, output_splits: Any, input_splits: Any, group: str) -> Any:
        rows = _sizes(source)[0]
        for splits in (output_splits, input_splits):
            if len(set(splits)) > 1 or sum(splits) != rows:
                raise AotbuildError(f"all_to_all_single splits {rows} rows into {list(splits)}; write equal parts")
        return _call(source, _sizes(source), "kAllToAll", "0", world_size, group)

    def wait(source: Any) -> Any:
        return source  # the stream's order

    added: dict[Any, Callable[..., Any]] = {
        operators.all_reduce.default: all_reduce,
        operators.all_reduce_.default: lambda source, by, group: _written(source, all_reduce(source, by, group)),
        gathered: all_gather,
        scattered: reduce_scatter,
        operators.broadcast.default: broadcast,
        operators.broadcast_.default: lambda source, root, group: _written(source, broadcast(source, root, group)),
        operators.all_to_all_single.default: all_to_all,
        operators.wait_tensor.default: wait,
    }
    with patched_entries(lowering, "lowerings", added):
        yield


def _sizes(source: Any) -> list[Any]:
    return list(source.get_size())


def _reduction(name: str) -> str:
    found = _REDUCTIONS.get(name.lower())
    if found is None:
        raise AotbuildError(f"the reduction {name!r} of a collective is none of {', '.join(_REDUCTIONS)}")
    return f"static_cast<int>(Reduction::{found})"


def _call(source: Any, sizes: Sequence[Any], operation: str, argument: str, world_size: int, group: str) -> Any:
    of_world: Any = torch.distributed.distributed_c10d
    ranks = of_world._resolve_process_group(group).size()
    if ranks != world_size:
        raise AotbuildError(f"a collective is over {ranks} of {world_size} ranks; write it over all of them")
    rows = ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(source))
    strides = ir.FlexibleLayout.contiguous_strides(sizes)
    layout = ir.FixedLayout(rows.get_device_or_error(), rows.get_dtype(), list(sizes), strides)
    return ir.TensorBox.create(Collective(layout, rows, operation, argument))


def _written(source: Any, result: Any) -> Any:
    return lowerings[torch.ops.aten.copy_.default](source, result)
