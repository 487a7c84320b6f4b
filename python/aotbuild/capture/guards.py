"""The conditions on sizes under which a trace holds, as ``torch.export`` records them."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy.printers import CppPrinter, PythonPrinter
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

from aotbuild.capture import checks
from aotbuild.capture.sizes import Point, Size
from aotbuild.spec.program import SizeCondition


class Guard:
    """One condition: ``expression`` of the symbols of ``sizes``. ``reason``: the text of the model's own check."""

    def __init__(self, expression: Any, sizes: Sequence[Size], reason: str = "") -> None:
        self.expression = expression
        self.reason = reason
        self.symbols = tuple(size.symbol for size in sizes if size.symbol in expression.free_symbols)
        self._code = compile(PythonPrinter().doprint(expression), "<guard>", "eval")

    @property
    def is_technical(self) -> bool:
        """Whether it is of the form in which PyTorch asks of itself whether a size is 1, or 0, or another size."""
        if not isinstance(self.expression, sympy.Ne):
            return False
        against = self.expression.rhs
        return not against.is_number or against in (0, 1)

    def holds(self, point: Point) -> bool:
        """Whether it is true of these sizes; where it has no value it is not."""
        names = {str(symbol): point[symbol] for symbol in self.symbols}
        try:
            return bool(eval(self._code, {"max": max, "min": min, "math": math, "torch": torch}, names))
        except ZeroDivisionError:
            return False

    def is_implied(self, ranges: Mapping[sympy.Symbol, tuple[int, int]]) -> bool:
        """Whether it follows from the sizes' ranges alone."""
        limits = {symbol: ValueRanges(*map(sympy.Integer, ranges[symbol])) for symbol in self.symbols}
        try:
            bounds = bound_sympy(self.expression, limits)
        except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
            return False
        return bool(bounds.is_singleton() and bounds.lower == sympy.true)

    def text(self, sizes: Sequence[Size]) -> str:
        """As the user would write it."""
        text = str(PythonPrinter().doprint(self.expression.xreplace({s.symbol: _named(s.label) for s in sizes})))
        return f"{text} ({self.reason})" if self.reason else text

    def condition(self, sizes: Sequence[Size]) -> SizeCondition:
        """For the generated library, which gets the sizes in this order."""
        numbered = {size.symbol: _named(f"sizes[{index}]") for index, size in enumerate(sizes)}
        return SizeCondition(self.text(sizes), str(_Cpp().doprint(self.expression.xreplace(numbered))))


def guards(program: ExportedProgram, sizes: Sequence[Size]) -> list[Guard]:
    """What the trace takes for true of the program's sizes, beyond their ranges."""
    known = {size.symbol for size in sizes}
    recorded = getattr(_shape_environment(program), "guards", ())  # of a loaded program, what loading it needed alone
    found = [*_written_guards(program), *(guard.expr for guard in recorded)]
    parts = [part for guard in found for part in (guard.args if isinstance(guard, sympy.And) else (guard,))]
    relevant = (part for part in dict.fromkeys(parts) if part.free_symbols and part.free_symbols <= known)
    texts = checks.texts_of(program)
    return [Guard(part, sizes, next((texts[f] for f in checks.forms(part) if f in texts), "")) for part in relevant]


def _named(text: str) -> sympy.Symbol:
    return sympy.Symbol(text, integer=True)


def _shape_environment(program: ExportedProgram) -> Any:
    for node in program.graph.nodes:
        found = node.meta.get("val")
        if node.op == "placeholder" and isinstance(found, torch.Tensor):
            return getattr(getattr(found, "fake_mode", None), "shape_env", None)
    return None


# --- from the text that a .pt2 file has

_SOURCE = re.compile(r"L((?:\[[^\[\]]+\])+)\.size\(\)\[(\d+)\]")
_EXAMPLE = re.compile(r"\bL\[")  # what is left of an input: the tensor that the example is a view of, its strides


def _written_guards(program: ExportedProgram) -> Iterator[Any]:
    """The guards as a saved program has them: Python over ``L['x'].size()[0]``."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [str(name) for name in program.graph_signature.user_inputs]
    functions = {"max": _folded(torch.sym_max), "min": _folded(torch.sym_min)}
    for code in getattr(program, "_guards_code", None) or ():
        operands: dict[str, Any] = {}

        def operand(match: re.Match[str], operands: dict[str, Any] = operands) -> str:
            keys = [ast.literal_eval(key) for key in re.findall(r"\[([^\[\]]+)\]", match[1])]
            name = inputs[keys[1]] if keys[0] == "flat_args" else "_".join(map(str, keys))
            tensor = values.get(re.sub(r"\W", "_", name).lower(), values.get(name))
            assert isinstance(tensor, torch.Tensor), match[0]
            label = f"size{len(operands)}"
            operands[label] = tensor.shape[int(match[2])]
            return label

        for part in _conjuncts(_SOURCE.sub(operand, code)):
            if _EXAMPLE.search(part):
                continue
            found = eval(part, {"__builtins__": {}, **functions}, operands)  # text that torch.export wrote
            if isinstance(found, torch.SymBool):
                yield found.node.expr


def _conjuncts(code: str) -> Iterator[str]:
    tree = ast.parse(code.strip(), mode="eval").body
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    yield from map(ast.unparse, parts)


def _folded(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def call(first: Any, *others: Any) -> Any:
        for other in others:
            first = function(first, other)
        return first

    return call


class _Cpp(CppPrinter):
    """As Python computes: division and remainder round down, and by zero they throw (detail/sizes.hpp)."""

    def _print_FloorDiv(self, expr: Any) -> str:  # noqa: N802
        return f"floor_divide({', '.join(map(self.doprint, expr.args))})"

    def _print_Mod(self, expr: Any) -> str:  # noqa: N802
        return f"floor_remainder({', '.join(map(self.doprint, expr.args))})"

    def _print_And(self, expr: Any) -> str:  # noqa: N802
        return " && ".join(f"({self.doprint(part)})" for part in expr.args)

    def _print_Or(self, expr: Any) -> str:  # noqa: N802
        return " || ".join(f"({self.doprint(part)})" for part in expr.args)

    def _print_CleanDiv(self, expr: Any) -> str:  # noqa: N802
        return self._print_FloorDiv(expr)

    def _print_PythonMod(self, expr: Any) -> str:  # noqa: N802
        return self._print_Mod(expr)
