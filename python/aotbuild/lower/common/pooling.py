"""Pools with eager PyTorch's places, where those of TorchInductor's loops are others."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sympy
import torch
from torch._inductor import lowering
from torch._inductor.virtualized import ops
from torch.export import ExportedProgram
from torch.fx import GraphModule

from aotbuild.spec.upstream import patched, patched_entries

aten = torch.ops.aten

# By pool, as what it reaches the lowering.
_PLACED = {
    aten.max_pool1d_with_indices.default: aten.max_pool2d_with_indices.default,
    aten.max_pool2d_with_indices.default: aten.max_pool2d_with_indices.default,
    aten.max_pool3d_with_indices.default: aten.max_pool3d_with_indices.default,
    aten.adaptive_max_pool2d.default: aten.adaptive_max_pool2d.default,
    aten.adaptive_max_pool3d.default: aten.adaptive_max_pool3d.default,
    aten.fractional_max_pool2d.default: aten.fractional_max_pool2d.default,
    aten.fractional_max_pool3d.default: aten.fractional_max_pool3d.default,
}


def pools_with_places(program: ExportedProgram) -> list[Any]:
    """Max pools that stay whole and are the runtime's: eager gives the last of NaNs, TorchInductor's loops the first.

    Those that no place is read of are not among them.
    """
    graphs = (module.graph for module in program.graph_module.modules() if isinstance(module, GraphModule))
    found = {
        _PLACED[node.target]
        for node in (node for graph in graphs for node in graph.nodes)
        if node.target in _PLACED
        and any(user.target is operator.getitem and user.args[1] == 1 and user.users for user in node.users)
    }
    return sorted(found, key=str)


@contextlib.contextmanager
def as_library_calls(pools: Sequence[Any]) -> Iterator[None]:
    """Calls of these operators become calls of the runtime."""
    handlers = {pool: lowering.fallback_handler(pool, add_to_fallback_set=False) for pool in pools}
    with patched_entries(lowering, "lowerings", handlers):
        yield


@contextlib.contextmanager
def eager_windows() -> Iterator[None]:
    """Fractional pools take their windows from the random numbers as eager does, and in the same precision."""
    with patched(lowering, "_fractional_pooling_offsets", _window_begins):
        yield


def _window_begins(
    samples: Any, in_sz: Sequence[Any], out_sz: Sequence[Any], kernel_sz: Sequence[Any], dim: int, ndims: int
) -> Callable[[Sequence[Any], Any], Any]:
    """Of dimension ``dim``, the place where each window begins, from ``samples`` [N, C, ``ndims``].

    Planes have the numbers of their width first, volumes those of their depth.
    """
    load, dtype = samples.make_loader(), samples.get_dtype()
    number = dim if ndims == 3 else ndims - 1 - dim
    computed = torch.float64 if dtype == torch.float64 else torch.float32
    room, steps = in_sz[dim] - kernel_sz[dim], out_sz[dim] - 1

    def rounded(value: Any) -> Any:
        return value if dtype == computed else ops.to_dtype(ops.to_dtype(value, dtype), computed)

    def size(value: Any) -> Any:
        return rounded(ops.to_dtype(ops.index_expr(value, torch.int64), computed))

    def begin(prefix: Sequence[Any], i: Any) -> Any:
        last = ops.index_expr(room, torch.int64)
        if steps == 0:
            return ops.indirect_indexing(last, sympy.sympify(in_sz[dim]))
        sample = ops.to_dtype(load([*[0, *prefix][-2:], number]), computed)
        step = rounded(ops.truediv(size(room), size(steps)))
        moved = ops.trunc(rounded(ops.mul(rounded(ops.add(size(i), sample)), step)))
        found = ops.to_dtype(ops.sub(moved, ops.trunc(rounded(ops.mul(sample, step)))), torch.int64)
        is_inner = ops.lt(ops.index_expr(i, torch.int64), ops.index_expr(steps, torch.int64))
        return ops.indirect_indexing(ops.where(is_inner, found, last), sympy.sympify(in_sz[dim]))

    return begin
