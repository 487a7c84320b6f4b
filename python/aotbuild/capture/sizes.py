"""The dynamic sizes of a program's inputs: symbols, ranges and names, and calls with other sizes than the example's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, TensorArgument
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.utils import _pytree as pytree
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

from aotbuild.capture.signature import UNBOUNDED
from aotbuild.spec.program import Signature

# A size for each symbol.
Point = Mapping[sympy.Symbol, int]


@dataclass(frozen=True)
class Size:
    """One symbol. ``declared``: the minimum that the user wrote; None where it is export's or a default."""

    symbol: sympy.Symbol
    name: str  # in the signature
    input: str
    dim: int
    example: int
    declared: int | None
    multiplier: int = 1
    offset: int = 0

    @property
    def place(self) -> str:
        return f"input {self.input!r} dimension {self.dim}"

    @property
    def label(self) -> str:
        """As Python writes it: the name of the ``Dim``, or the input's shape."""
        if not self.name.startswith("s") or not self.name[1:].isdigit():
            return self.name
        shape = f"{self.input}.shape[{self.dim}]"
        shape = f"({shape} - {self.offset})" if self.offset else shape
        return shape if self.multiplier == 1 else f"({shape} // {self.multiplier})"


class Sizes:
    """The dynamic sizes of a program in the order in which its inputs have them.

    Args:
        declared: the minimums that the user wrote.
        args, kwargs: the example call.
    """

    def __init__(
        self,
        program: ExportedProgram,
        signature: Signature,
        declared: Mapping[sympy.Symbol, int],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.program = program
        self._leaves, self._spec = pytree.tree_flatten((args, kwargs))
        tensors = [index for index, leaf in enumerate(self._leaves) if isinstance(leaf, torch.Tensor)]
        self._shapes = dict(zip(tensors, _input_shapes(program), strict=True))
        found: dict[sympy.Symbol, Size] = {}
        for (index, shape), spec in zip(self._shapes.items(), signature.inputs, strict=True):
            for number, (size, dim) in enumerate(zip(shape, spec.dims, strict=True)):
                if dim.symbol in (None, "?"):
                    continue
                assert dim.symbol is not None
                (symbol,) = size.free_symbols
                example = (self._leaves[index].shape[number] - dim.offset) // dim.multiplier
                parts = (spec.name, number, example, declared.get(symbol), dim.multiplier, dim.offset)
                found.setdefault(symbol, Size(symbol, dim.symbol, *parts))
        self.sizes = tuple(found.values())

    def range(self, symbol: sympy.Symbol) -> tuple[int, int]:
        """Its least and greatest value."""
        limits = self.program.range_constraints.get(symbol)
        if limits is None:
            return 0, UNBOUNDED
        low, high = sympy.sympify(limits.lower), sympy.sympify(limits.upper)
        return (int(low) if low.is_Integer else 0, int(high) if high.is_Integer else UNBOUNDED)

    def of_values(self) -> bool:
        """Whether a tensor of the model has a size that the values of its inputs say."""
        values = [(node.meta.get("val"), node.meta.get("unbacked_bindings")) for node in self.program.graph.nodes]
        return any(
            bool(bindings) or any(map(free_unbacked_symbols, value.shape))
            for value, bindings in values
            if isinstance(value, torch.Tensor)
        )

    def raise_minimum(self, symbol: sympy.Symbol, minimum: int) -> None:
        """Writes a greater minimum into the program's ranges, those of derived sizes among them."""
        ranges = self.program.range_constraints
        if symbol not in ranges or minimum <= ranges[symbol].lower:
            return
        ranges[symbol] = ValueRanges(minimum, ranges[symbol].upper)
        for derived in ranges:
            if not derived.is_Symbol and symbol in derived.free_symbols:
                ranges[derived] = bound_sympy(derived, ranges)

    def example(self) -> dict[sympy.Symbol, int]:
        return {size.symbol: size.example for size in self.sizes}

    def shapes(self, point: Point) -> dict[int, tuple[int, ...]]:
        """The shape of each tensor among the leaves of the call, by its number."""
        return {index: tuple(int(value(size, point)) for size in shape) for index, shape in self._shapes.items()}

    def elements(self, point: Point) -> int:
        """Of the largest input."""
        return max((sympy.prod(shape) for shape in self.shapes(point).values()), default=0)

    def call(self, point: Point, *, zero_integers: bool = False) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The example's values cut or repeated to other sizes.

        ``zero_integers``: integers are 0, so that no index is out of bounds because of the sizes alone.
        """
        leaves = list(self._leaves)
        for index, shape in self.shapes(point).items():
            resized = resize(leaves[index], shape)
            is_index = zero_integers and not resized.is_floating_point() and not resized.is_complex()
            leaves[index] = torch.zeros_like(resized) if is_index else resized
        args, kwargs = pytree.tree_unflatten(leaves, self._spec)
        return args, kwargs

    def text(self, point: Point) -> str:
        return ", ".join(f"{size.label} = {point[size.symbol]}" for size in self.sizes)


class UndefinedError(ArithmeticError):
    """An expression that has no value at some sizes, such as a quotient by a size that is 0."""


def value(expression: Any, point: Point) -> Any:
    """The number that an expression of sizes is; None where it depends on more than sizes.

    Raises:
        UndefinedError: it has no value there.
    """
    if isinstance(expression, int | float | bool):
        return expression
    if not expression.free_symbols <= point.keys():
        return None
    numbers = {symbol: sympy.Integer(size) for symbol, size in point.items()}
    try:
        found = sympy.sympify(expression.xreplace(numbers))
    except (ZeroDivisionError, AssertionError) as error:  # torch's functions assert what they take for granted
        raise UndefinedError(str(expression)) from error
    if found in (sympy.true, sympy.false):
        return bool(found)
    if not found.is_number or found is sympy.nan or found.has(sympy.zoo):
        raise UndefinedError(str(expression))
    return int(found) if found.is_integer else float(found)


def resize(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The tensor's values cut or repeated to another shape, so that indices stay in their range."""
    result = tensor
    for dim, size in enumerate(shape):
        have = result.shape[dim]
        if have == 0:
            return torch.zeros(tuple(shape), dtype=tensor.dtype)
        if size > have:
            result = result.repeat([-(-size // have) if d == dim else 1 for d in range(result.dim())])
        result = result.narrow(dim, 0, size)
    return result.contiguous()


def _input_shapes(program: ExportedProgram) -> Iterator[tuple[Any, ...]]:
    """The sizes of each tensor among the user's inputs: integers, and expressions of symbols."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT and isinstance(spec.arg, TensorArgument):
            yield tuple(size if isinstance(size, int) else size.node.expr for size in values[spec.arg.name].shape)
