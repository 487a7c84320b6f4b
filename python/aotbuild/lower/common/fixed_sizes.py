"""Sizes that the model lets vary, and that TorchInductor's code fixes to the example's."""

from __future__ import annotations

from typing import Any

import sympy

from aotbuild.lower.common.graph import PreparedGraph
from aotbuild.spec.errors import AotbuildError

_MOST_TRIED = 64


def refuse_fixed_sizes(prepared: PreparedGraph, shape_env: Any, first: int, unit: str) -> None:
    """Raises AotbuildError where a guard of lowering, of number ``first`` or later, leaves a varying size one value."""
    before = [guard.expr for guard in shape_env.guards[:first]]
    for guard in shape_env.guards[first:]:
        if not isinstance(guard.expr, sympy.Eq):
            continue
        symbol, value = guard.expr.args
        if isinstance(symbol, sympy.Symbol) and value.is_Integer and _may_differ(prepared, symbol, value, before):
            places = _places(prepared, symbol)
            raise AotbuildError(
                f"{unit}: TorchInductor compiles {' and '.join(places)} for the example's size of {value} alone\n"
                "  Declare it static, or rewrite what needs it (the weights of a convolution have fixed sizes)."
            )


def _may_differ(prepared: PreparedGraph, symbol: sympy.Symbol, value: Any, conditions: list[Any]) -> bool:
    """Whether the model's own conditions leave the symbol other values; a short range is tried."""
    if not _places(prepared, symbol):
        return False
    own = [condition for condition in conditions if condition.free_symbols == {symbol}]
    sizes = (value + step for step in range(-min(value, _MOST_TRIED), _MOST_TRIED) if step and value + step > 1)
    return any(all(condition.subs(symbol, size) == sympy.true for condition in own) for size in sizes)


def _places(prepared: PreparedGraph, symbol: sympy.Symbol) -> list[str]:
    """Of the inputs, by the names that users know; ``with_own_names`` numbers them."""
    found = []
    names = {name: name.removeprefix(f"input{number}_") for number, name in enumerate(prepared.input_names)}
    for node in prepared.module.graph.nodes:
        if node.op == "placeholder":
            for dim, size in enumerate(getattr(node.meta.get("val"), "shape", ())):
                expression = getattr(getattr(size, "node", None), "_expr", None)
                if expression == symbol:
                    found.append(f"dimension {dim} of '{names.get(node.name, node.name)}'")
    return found
