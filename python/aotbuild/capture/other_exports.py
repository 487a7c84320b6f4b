"""Exports of other kinds, for models that the usual one is known to refuse without a reason in the model."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch.export import ExportedProgram

# Errors that strict export does not have, each with what it stands for, and whether operators that are made of others
# stay whole: those of tensors that are no plain memory cannot.
_FOR_STRICT = (
    ("Attempted to wrap unbacked SymInt", "a branch or a loop reads a number that the model computes", True),
    ("does not support tracing with fx.symbolic_trace", "the model makes nested tensors", False),
)
_REASON = "aotbuild_export"


def export_otherwise(
    error: Exception, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any
) -> ExportedProgram:
    """Exports anew after an error of a known kind. Raises that error where the other export fails as well."""
    from torch.export._trace import _export as of_each_operator

    call = {"dynamic_shapes": shapes, "strict": True}
    found = next(((reason, whole) for text, reason, whole in _FOR_STRICT if text in str(error)), None)
    try:
        if found is not None:
            reason, whole = found
            program = (
                torch.export.export(module, args, kwargs, **call)
                if whole
                else of_each_operator(module, args, kwargs, **call, pre_dispatch=False)
            )
            program.graph_module.meta[_REASON] = f"exported with strict=True, which alone takes it: {reason}"
            return program
        if _holds_always(str(error)):
            call = {"dynamic_shapes": shapes, "strict": False, "prefer_deferred_runtime_asserts_over_guards": True}
            return torch.export.export(module, args, kwargs, **call)
    except Exception:
        raise error from None
    raise error


def export_notes(program: ExportedProgram) -> tuple[str, ...]:
    """What the user should know of how the model was exported."""
    reason = program.graph_module.meta.get(_REASON)
    return () if reason is None else (reason,)


_GUARD = re.compile(
    r"Not all values of (\w+) = (\S+) in the specified range (\d+) <= \1 <= (\d+) satisfy the generated guard (.*)\.$",
    re.MULTILINE,
)
_MOST_VALUES = 100_000


def _holds_always(text: str) -> bool:
    """Whether each guard that torch.export could not prove is true for every size that is declared."""
    violations = [line for line in text.splitlines() if line.lstrip().startswith("- ")]
    guards = [match.groups() for match in map(_GUARD.search, violations) if match is not None]
    if not guards or len(guards) != len(violations):
        return False
    return all(_is_true(guard.replace(size, "size"), int(low), int(high)) for _, size, low, high, guard in guards)


def _is_true(guard: str, low: int, high: int) -> bool:
    """``guard``: Python's comparisons of arithmetic of ``size``."""
    if not re.fullmatch(r"(?:size|[\d\s()+*/%<>=!-]|and|or|not)*", guard) or high - low > _MOST_VALUES:
        return False
    try:
        holds = eval(f"lambda size: {guard}", {"__builtins__": {}})
        return all(holds(size) for size in range(low, high + 1))
    except (SyntaxError, ArithmeticError, TypeError):
        return False
