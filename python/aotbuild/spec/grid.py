"""Grid expressions of hand-written kernels: integers as in Python, evaluated here and written as C++."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aotbuild.spec.errors import AotbuildError

_ALLOWED = "integers, arguments, constants, + - * // %, cdiv(a, b), min(a, ...), max(a, ...)"

# By operator: how it is written in C++, with functions of detail/launcher.hpp.
_BINARY: dict[type[ast.operator], tuple[str, Callable[[int, int], int]]] = {
    ast.Add: ("({} + {})", lambda a, b: a + b),
    ast.Sub: ("({} - {})", lambda a, b: a - b),
    ast.Mult: ("({} * {})", lambda a, b: a * b),
    ast.FloorDiv: ("floor_div({}, {})", lambda a, b: a // b),
    ast.Mod: ("modulo({}, {})", lambda a, b: a % b),
}


def cdiv(a: int, b: int) -> int:
    """``triton.cdiv``: a / b, rounded up."""
    return -(-a // b)


@dataclass(frozen=True)
class GridExpression:
    """An expression as it was written, and the names in it."""

    text: str
    names: frozenset[str]

    def evaluate(self, values: Mapping[str, int]) -> int:
        """Its value.

        Raises:
            ZeroDivisionError: it divides by 0.
        """
        return _evaluate(ast.parse(self.text, mode="eval").body, values)

    def cpp(self, variables: Mapping[str, str]) -> str:
        """The expression in C++, over variables of type ``std::int64_t`` by its names."""
        return _bare(_cpp(ast.parse(self.text, mode="eval").body, variables))


def parse(keyword: str, text: str) -> GridExpression:
    """Reads an expression.

    Raises:
        AotbuildError: it is none, or has something that a grid may not have. The message begins with ``keyword``.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise AotbuildError(f"{keyword} {text!r} is no expression: {error.msg}; use {_ALLOWED}") from None
    names: set[str] = set()
    _check(tree, f"{keyword} {text!r}", names)
    for part in ast.walk(tree):
        if isinstance(part, ast.expr) and not any(isinstance(inner, ast.Name) for inner in ast.walk(part)):
            try:
                _evaluate(part, {})
            except ZeroDivisionError:
                raise AotbuildError(f"{keyword} {text!r} divides by 0") from None
    return GridExpression(" ".join(text.split()), frozenset(names))


def _check(node: ast.expr, where: str, names: set[str]) -> None:
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        _check(node.left, where, names)
        _check(node.right, where, names)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        _check(node.operand, where, names)
    elif isinstance(node, ast.Name):
        names.add(node.id)
    elif isinstance(node, ast.Call) and _function(node):
        for argument in node.args:
            _check(argument, where, names)
    elif not (isinstance(node, ast.Constant) and type(node.value) is int):
        remedy = "; use // for integers" if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else ""
        raise AotbuildError(f"{where}: {ast.unparse(node)} is not allowed{remedy}; a grid has {_ALLOWED}")


def _function(node: ast.Call) -> str:
    """The name of the function that is called, "" where it is none that a grid may call so."""
    name = ast.unparse(node.func).removeprefix("triton.")
    count = len(node.args)
    fits = count == 2 if name == "cdiv" else name in ("min", "max") and count >= 1
    return name if fits and not node.keywords else ""


def _evaluate(node: ast.expr, values: Mapping[str, int]) -> int:
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)][1](_evaluate(node.left, values), _evaluate(node.right, values))
    if isinstance(node, ast.UnaryOp):
        return -_evaluate(node.operand, values)
    if isinstance(node, ast.Name):
        return int(values[node.id])
    if isinstance(node, ast.Call):
        arguments = [_evaluate(argument, values) for argument in node.args]
        function = _function(node)
        return cdiv(*arguments) if function == "cdiv" else min(arguments) if function == "min" else max(arguments)
    assert isinstance(node, ast.Constant) and isinstance(node.value, int)
    return node.value


def _cpp(node: ast.expr, variables: Mapping[str, str]) -> str:
    if not any(isinstance(part, ast.Name) for part in ast.walk(node)):
        return str(_evaluate(node, {}))
    if isinstance(node, ast.BinOp):
        form = _BINARY[type(node.op)][0]
        left, right = _cpp(node.left, variables), _cpp(node.right, variables)
        return form.format(left, right) if form.startswith("(") else form.format(_bare(left), _bare(right))
    if isinstance(node, ast.UnaryOp):
        return f"(-{_cpp(node.operand, variables)})"
    if isinstance(node, ast.Name):
        return variables[node.id]
    assert isinstance(node, ast.Call)
    arguments = ", ".join(_bare(_cpp(argument, variables)) for argument in node.args)
    function = _function(node)
    return f"cdiv({arguments})" if function == "cdiv" else f"std::{function}<std::int64_t>({{{arguments}}})"


def _bare(text: str) -> str:
    """``text`` without parentheses around the whole."""
    if not text.startswith("("):
        return text
    depth = 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[1:-1] if position == len(text) - 1 else text
    return text
