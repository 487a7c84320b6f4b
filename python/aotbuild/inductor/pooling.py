"""Max pools whose places are read are the runtime's: eager gives the last of NaNs, loops of TorchInductor the first."""

from __future__ import annotations

import contextlib
import operator
import unittest.mock
from collections.abc import Iterator
from typing import Any

import torch
from torch._inductor import lowering
from torch.export import ExportedProgram

aten = torch.ops.aten

_POOLS = (aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default)


def pools_with_places(program: ExportedProgram) -> list[Any]:
    """The operators that stay whole: none, where no place is read, so that the loops are TorchInductor's."""
    is_read = any(
        user.target is operator.getitem and user.args[1] == 1
        for node in program.graph.nodes
        if node.target in (aten.max_pool1d_with_indices.default, *_POOLS)
        for user in node.users
    )
    return list(_POOLS) if is_read else []


@contextlib.contextmanager
def as_library_calls() -> Iterator[None]:
    """Calls of these operators that are left in the graph become calls of the runtime."""
    handlers = {pool: lowering.fallback_handler(pool, add_to_fallback_set=False) for pool in _POOLS}
    with unittest.mock.patch.dict(lowering.lowerings, handlers):
        yield
