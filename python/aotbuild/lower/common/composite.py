"""Composite operators, which PyTorch itself writes in other ones: found once a process, and traced as they are."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.export import ExportedProgram, exported_program

from aotbuild.lower.common import branches
from aotbuild.spec.upstream import patched

Table = dict[Any, Callable[..., Any]]


def decompositions() -> Mapping[Any, Callable[..., Any]]:
    """PyTorch's own way to write each composite operator that export can leave whole."""
    return _decompositions(len(torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")))


# An operator library that is loaded later registers more of them.
@functools.lru_cache(maxsize=1)
def _decompositions(registrations: int) -> Mapping[Any, Callable[..., Any]]:
    from torch._export.utils import _collect_all_valid_cia_ops, _get_decomp_for_cia

    return {op: _get_decomp_for_cia(op) for op in _collect_all_valid_cia_ops()}


def decomposed(program: ExportedProgram, table: Table) -> ExportedProgram:
    """Once more where branches return what they were given, which eager PyTorch allows."""
    with traced_as_they_are():
        try:
            return program.run_decompositions(table)  # type: ignore[no-any-return]
        except Exception as error:
            if "might be aliasing the input" not in str(error):
                raise
        branches.copy_results(program.graph_module)
        return program.run_decompositions(table)  # type: ignore[no-any-return]


def traced_as_they_are() -> contextlib.AbstractContextManager[Any]:
    """Within, ``run_decompositions`` replaces those composite operators alone that the table has another way for.

    Upstream looks for all of them in each call and registers kernels for each, which takes half the time of a small
    model's decomposition; the dispatcher writes them out without that.
    """
    return patched(exported_program, "_split_decomp_table_to_cia_and_python_decomp", _split)


def _split(table: Table) -> tuple[Table, Table]:
    """The composite operators of ``table`` that are not written PyTorch's way, with those it lacks, and the others."""
    from torch._export.utils import _special_op_to_preserve_cia

    own = decompositions()
    composite = {op: table.get(op, _special_op_to_preserve_cia) for op in own}
    changed = {op: function for op, function in composite.items() if not _is_alike(function, own[op])}
    return changed, {op: function for op, function in table.items() if op not in own}


def _is_alike(function: Callable[..., Any], own: Callable[..., Any]) -> bool:
    """Whether both are PyTorch's way: each of its tables has an object of its own for it."""
    if not (isinstance(function, functools.partial) and isinstance(own, functools.partial)):
        return function is own
    return function.func.__qualname__ == own.func.__qualname__ and function.keywords == own.keywords
