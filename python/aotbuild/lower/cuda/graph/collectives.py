"""Lowers collectives of ``torch.distributed._functional_collectives`` to calls of the runtime on the call's stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import distributed
from torch._inductor import ir, lowering
from torch._inductor.lowering import lowerings

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
    """Lowers collectives, which ``capture.refuse_collectives`` has looked at."""
    if not distributed.is_available():
        yield
        return
    operators = torch.ops._c10d_functional
    gathered, scattered = operators.all_gather_into_tensor.default, operators.reduce_scatter_tensor.default

    def all_reduce(source: Any, by: str, group: str) -> Any:
        return _call(source, _sizes(source), "kAllReduce", _reduction(by))

    def all_gather(source: Any, size: int, group: str) -> Any:
        rows, *rest = _sizes(source)
        return _call(source, [rows * size, *rest], "kAllGather", "0")

    def reduce_scatter(source: Any, by: str, size: int, group: str) -> Any:
        rows, *rest = _sizes(source)
        return _call(source, [rows // size, *rest], "kReduceScatter", _reduction(by))

    def broadcast(source: Any, root: int, group: str) -> Any:
        return _call(source, _sizes(source), "kBroadcast", str(root))

    def all_to_all(source: Any, *_: Any) -> Any:
        return _call(source, _sizes(source), "kAllToAll", "0")

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
    return f"static_cast<int>(Reduction::{_REDUCTIONS[name.lower()]})"


def _call(source: Any, sizes: Sequence[Any], operation: str, argument: str) -> Any:
    rows = ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(source))
    strides = ir.FlexibleLayout.contiguous_strides(sizes)
    layout = ir.FixedLayout(rows.get_device_or_error(), rows.get_dtype(), list(sizes), strides)
    return ir.TensorBox.create(Collective(layout, rows, operation, argument))


def _written(source: Any, result: Any) -> Any:
    return lowerings[torch.ops.aten.copy_.default](source, result)
