"""The texts of ``torch._check``, which ``torch.export`` drops: kept with the assertions that it writes instead."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram

from aotbuild.spec.upstream import patched

_UNNAMED = "Runtime assertion failed for expression"
_META = "aotbuild_checks"


@contextlib.contextmanager
def recorded() -> Iterator[dict[str, str]]:
    """While a model is traced: the texts of its checks of sizes and numbers, by each form of the condition."""
    texts: dict[str, str] = {}
    check = torch._check_with

    def check_with(error_type: Any, condition: Any, message: Any) -> None:
        if isinstance(condition, torch.SymBool) and _is_of_model(message):
            with contextlib.suppress(Exception):  # a text that cannot be made of symbols
                for form in forms(condition.node.expr):
                    texts.setdefault(form, str(message()))
        check(error_type, condition, message)

    with patched(torch, "_check_with", check_with):
        yield texts


def _is_of_model(message: Any) -> bool:
    code = getattr(message, "__code__", None)
    return code is not None and not code.co_filename.startswith(str(Path(torch.__file__).parent) + os.sep)


def keep(program: ExportedProgram, texts: Mapping[str, str]) -> None:
    """Puts the texts into the program's assertions, and beside the graph for conditions that became guards."""
    if not texts:
        return
    program.graph_module.meta[_META] = dict(texts)
    for node in program.graph.nodes:
        condition = _condition(node)
        if condition is not None and str(node.args[1]).startswith(_UNNAMED):
            found = next((texts[form] for form in forms(condition) if form in texts), None)
            if found is not None:
                node.args = (node.args[0], found)


def texts_of(program: ExportedProgram) -> dict[str, str]:
    """The texts of the program's checks, by each form that the condition may have."""
    texts: dict[str, str] = dict(program.graph_module.meta.get(_META, {}))
    for node in program.graph.nodes:
        condition = _condition(node)
        if condition is not None and not str(node.args[1]).startswith(_UNNAMED):
            texts |= {form: str(node.args[1]) for form in forms(condition)}
    return texts


def _condition(node: torch.fx.Node) -> Any:
    """The condition of an assertion about sizes or numbers; None of any other node."""
    if node.target is not torch.ops.aten._assert_scalar.default or not isinstance(node.args[0], torch.fx.Node):
        return None
    value = node.args[0].meta.get("val")
    return value.node.expr if isinstance(value, torch.SymBool) else None


def forms(condition: Any) -> list[str]:
    """The texts under which a condition may come back: turned round, or as the bound of an integer."""
    found = [str(condition)]
    if isinstance(condition, sympy.core.relational.Relational):
        found += [str(condition.reversed), str(condition.canonical)]
        for relation in (condition, condition.reversed):
            symbol, bound = relation.lhs, relation.rhs
            if symbol.is_Symbol and bound.is_Integer and isinstance(relation, sympy.StrictGreaterThan):
                found.append(f"{symbol} >= {bound + 1}")
            if symbol.is_Symbol and bound.is_Integer and isinstance(relation, sympy.StrictLessThan):
                found.append(f"{symbol} <= {bound - 1}")
    return list(dict.fromkeys(found))
