"""Concrete values of a launch's arguments to tune a kernel with: sizes at their hints, buffers by their extent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch._inductor.codegen.wrapper import SymbolicCallArg
from torch._inductor.virtualized import V

from aotbuild.lower.cuda.compile.templates import is_open

# Of a dimension without an upper bound, sizes up to this many times the example's are looked at.
_UNBOUNDED = 16


@dataclass(frozen=True)
class BufferHint:
    """Memory that a launch gets a pointer to. ``name``: the graph's input or buffer that lies there."""

    nbytes: int
    dtype: str
    name: str


# Sizes of a template's grid stay expressions of its tile sizes.
ArgumentHint = BufferHint | int | float | object

# The values of all arguments of one launch, in its order.
Case = tuple[ArgumentHint, ...]


def cases(arguments: Sequence[Any], raw_arguments: Sequence[Any]) -> tuple[Case, ...]:
    """A launch's arguments at the example's sizes and, with dynamic sizes, at a smaller and a larger one.

    Args:
        raw_arguments: the nodes that the arguments stand for, where the wrapper's caller knows them; else empty.
    """
    nodes = raw_arguments or [None] * len(arguments)
    found = [
        tuple(_hint(argument, node, sizes) for argument, node in zip(arguments, nodes, strict=True))
        for sizes in _assignments()
    ]
    return tuple(dict.fromkeys(found))


def _hint(argument: Any, node: Any, sizes: Mapping[sympy.Symbol, int]) -> ArgumentHint:
    if isinstance(argument, SymbolicCallArg):
        return _evaluated(argument.inner_expr, sizes)
    if isinstance(argument, str):
        buffer = V.graph.try_get_buffer(argument) if node is None else node
        return _buffer(buffer, sizes) if hasattr(buffer, "get_stride") else None
    if isinstance(argument, float):
        return argument
    if isinstance(argument, sympy.Expr) and argument.is_Float:
        return float(argument)
    if is_open(argument):
        return argument.subs(sizes)  # type: ignore[no-any-return]
    return _evaluated(argument, sizes)


def _buffer(buffer: Any, sizes: Mapping[sympy.Symbol, int]) -> BufferHint:
    shape = [_evaluated(size, sizes) for size in buffer.get_size()]
    strides = [_evaluated(stride, sizes) for stride in buffer.get_stride()]
    extent = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides)) if 0 not in shape else 0
    dtype = buffer.get_dtype()
    name = "" if isinstance(buffer, torch._inductor.ir.ReinterpretView) else str(buffer.get_name())
    return BufferHint(extent * dtype.itemsize, str(dtype).removeprefix("torch."), name)


def _evaluated(expression: Any, sizes: Mapping[sympy.Symbol, int]) -> int:
    expression = sympy.sympify(expression)
    expression = V.graph.sizevars.inv_precomputed_replacements.get(expression, expression)
    value = expression.subs(sizes)
    return int(value) if value.is_number else int(V.graph.sizevars.optimization_hint(value, fallback=128))


def _assignments() -> Iterator[dict[sympy.Symbol, int]]:
    """The example's sizes first; then halfway, by ratio, to the ends of the ranges."""
    sizevars = V.graph.sizevars
    symbols: dict[sympy.Symbol, None] = {}
    for value in V.graph.graph_inputs.values():
        for size in value.get_size() if hasattr(value, "get_size") else [value]:
            symbols.update(dict.fromkeys(sorted(sympy.sympify(size).free_symbols, key=str)))
    hints = {symbol: int(sizevars.optimization_hint(symbol, fallback=128)) for symbol in symbols}
    yield hints
    if symbols:
        ranges = {symbol: sizevars.shape_env.var_to_range[symbol] for symbol in symbols}
        yield {symbol: _between(hint, _bound(ranges[symbol].lower, hint, 1)) for symbol, hint in hints.items()}
        largest = {symbol: _bound(ranges[symbol].upper, hint, _UNBOUNDED * hint) for symbol, hint in hints.items()}
        yield {symbol: _between(hint, largest[symbol]) for symbol, hint in hints.items()}


def _bound(bound: Any, hint: int, otherwise: int) -> int:
    """An end of a range where there is one that is not out of all proportion."""
    value = int(bound) if getattr(bound, "is_Integer", False) else otherwise
    return max(1, min(value, _UNBOUNDED * _UNBOUNDED * hint))


def _between(hint: int, end: int) -> int:
    return round(math.sqrt(hint * end))
