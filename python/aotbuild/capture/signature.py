"""The C++ surface of an exported program: names, element types and ranges of inputs and outputs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument,
    InputKind,
    OutputKind,
    SymBoolArgument,
    SymFloatArgument,
    SymIntArgument,
    TensorArgument,
)
from torch.utils import _pytree as pytree

from aotbuild.capture.call import NodeClass, describe_call
from aotbuild.capture.labels import child_keys
from aotbuild.capture.writes import written_inputs
from aotbuild.spec.calls import Node
from aotbuild.spec.dtypes import DTYPES
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.identifiers import identifier, unique_names
from aotbuild.spec.program import Dim, Signature, TensorSpec

# Numbers among the outputs are 0-dimensional tensors of these types.
NUMBER_DTYPES: dict[type, torch.dtype] = {bool: torch.bool, int: torch.int64, float: torch.float64}


_SYMBOLIC: dict[type, type] = {SymIntArgument: int, SymFloatArgument: float, SymBoolArgument: bool}


# Sizes beyond which a dynamic dimension without an upper bound is not tested.
UNBOUNDED = 2**31 - 1


@dataclasses.dataclass
class _Level:
    """The fields of one structure: wanted names, each with the tree below it, and whether the model has that name."""

    entries: list[tuple[str, pytree.TreeSpec, bool]] = dataclasses.field(default_factory=list)

    def add(self, name: str, spec: pytree.TreeSpec, is_given: bool = True) -> None:
        """Elements of a tuple or list become fields of the structure that holds it, with their index in the name."""
        if not spec.is_leaf() and spec.type in (list, tuple):
            for index, child in enumerate(spec.children()):
                self.add(f"{name}_{index}", child, False)
        else:
            self.entries.append((name, spec, is_given))

    def paths(self) -> list[tuple[str, ...]]:
        """Paths of the leaves, all different: where two fields want one name, the model's is the one without ending."""
        found: list[tuple[str, ...]] = []
        order = sorted(range(len(self.entries)), key=lambda index: not self.entries[index][2])
        names = dict(zip(order, unique_names([self.entries[index][0] for index in order], rule=identifier)))
        for index, (_, spec, _) in enumerate(self.entries):
            name = names[index]
            if spec.is_leaf():
                found.append((name,))
                continue
            below = _Level()
            for key, child in zip(child_keys(spec), spec.children()):
                below.add(str(key), child)
            found += [(name, *path) for path in below.paths()]
        return found


def _input_paths(program: ExportedProgram) -> list[tuple[str, ...]]:
    in_spec = program.call_spec.in_spec
    assert in_spec is not None
    args_spec, kwargs_spec = in_spec.children()
    names = [*_argument_names(program, len(args_spec.children())), *map(str, kwargs_spec.context)]
    level = _Level()
    for name, child in zip(names, [*args_spec.children(), *kwargs_spec.children()], strict=True):
        level.add(name, child)
    return level.paths()


def _argument_names(program: ExportedProgram, count: int) -> list[str]:
    names = getattr(program.module_call_graph[0].signature, "forward_arg_names", None)
    if names and len(names) >= count:
        return list(names)[:count]
    return [f"arg{index}" for index in range(count)]


def _output_paths(program: ExportedProgram) -> list[tuple[str, ...]]:
    out_spec = program.call_spec.out_spec
    assert out_spec is not None
    level = _Level()
    if out_spec.is_leaf() or (out_spec.type in (list, tuple) and len(out_spec.children()) == 1):
        level.add("output", out_spec if out_spec.is_leaf() else out_spec.children()[0])
    elif out_spec.type in (list, tuple):
        level.add("output", out_spec)
    else:
        for key, child in zip(child_keys(out_spec), out_spec.children()):
            level.add(str(key), child)
    return level.paths()


def describe(
    program: ExportedProgram, forward: Callable[..., Any], names: Mapping[Any, str] | None = None
) -> tuple[Signature, tuple[NodeClass, ...]]:
    """The surface of an exported program: tensor inputs and outputs with names, dtypes and ranges, and its Python call.

    Args:
        forward: what was exported.
        names: those of size symbols.

    Returns:
        It, and the classes of the call's containers.
    """
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    symbols = _SymbolNames(program, names or {})
    inputs = []
    written = written_inputs(program)
    user_inputs = [spec for spec in program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    for spec, path in zip(user_inputs, _input_paths(program), strict=True):
        if isinstance(spec.arg, ConstantArgument):
            continue
        if not isinstance(spec.arg, TensorArgument):
            raise AotbuildError(
                f"input {'.'.join(path)!r} is a Python number that varies; pass it as a 0-dimensional tensor"
            )
        inputs.append(
            dataclasses.replace(_tensor_spec(path, values[spec.arg.name], symbols), written=spec.arg.name in written)
        )
    outputs: list[TensorSpec] = []
    results: list[Node] = []
    user_outputs = [spec for spec in program.graph_signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]
    for out, path in zip(user_outputs, _output_paths(program), strict=True):
        if isinstance(out.arg, ConstantArgument) and isinstance(out.arg.value, str | None):
            results.append(Node("constant", value=out.arg.value))
            continue
        kind: Any = type(out.arg.value) if isinstance(out.arg, ConstantArgument) else _SYMBOLIC.get(type(out.arg))
        if kind is None:
            results.append(Node("tensor", index=len(outputs)))
            outputs.append(_tensor_spec(path, values[out.arg.name], symbols, is_output=True))
        else:
            results.append(Node("number", index=len(outputs), value=kind.__name__))
            outputs.append(TensorSpec(path, str(NUMBER_DTYPES[kind]).removeprefix("torch."), ()))
    call, classes = describe_call(program, forward, results)
    return Signature(tuple(inputs), tuple(outputs), call), classes


class _SymbolNames:
    """Ranges of the program's size symbols, and their names: the ``Dim``s', else s0, s1, ... in order of appearance."""

    def __init__(self, program: ExportedProgram, names: Mapping[Any, str]) -> None:
        self._ranges = program.range_constraints
        self._names: dict[Any, str] = dict(names)

    def name(self, symbol: Any) -> str:
        if symbol not in self._names:
            free = (f"s{index}" for index in itertools.count())
            self._names[symbol] = next(name for name in free if name not in self._names.values())
        return self._names[symbol]

    def bounds(self, expression: Any) -> tuple[int, int]:
        from torch.utils._sympy.value_ranges import bound_sympy

        limits = bound_sympy(expression, self._ranges)
        # Infinity has several forms, and not each says of itself that it is not finite.
        low = int(limits.lower) if limits.lower.is_Integer else 0
        high = int(limits.upper) if limits.upper.is_Integer else UNBOUNDED
        return max(low, 0), min(high, UNBOUNDED)

    def dim(self, size: Any) -> Dim:
        if isinstance(size, int):
            return Dim(size, size)
        expression = size.node.expr
        if expression.is_number:
            return Dim(int(expression), int(expression))
        low, high = self.bounds(expression)
        free = expression.free_symbols
        if len(free) == 1:
            (symbol,) = free
            multiplier = expression.coeff(symbol, 1)
            offset = sympy.expand(expression - multiplier * symbol)
            if multiplier.is_Integer and offset.is_Integer:
                known = symbol in self._ranges and not str(symbol).startswith("u")
                if known:
                    return Dim(low, high, self.name(symbol), int(multiplier), int(offset))
        return Dim(low, high, "?")


def _tensor_spec(path: tuple[str, ...], value: Any, symbols: _SymbolNames, is_output: bool = False) -> TensorSpec:
    if value.layout is not torch.strided:
        what = "output" if is_output else "input"
        layout = str(value.layout).removeprefix("torch.")
        raise AotbuildError(
            f"{what} {'.'.join(path)!r} is a tensor of layout {layout}; a compiled model takes and returns dense "
            "tensors: convert it with to_dense() in the model, or pass its indices and values as tensors"
        )
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise AotbuildError(
            f"{'output' if is_output else 'input'} {'.'.join(path)!r} has the element type {dtype}; a compiled model "
            f"takes and returns tensors of {', '.join(DTYPES)}: convert it in the model"
        )
    dims = tuple(symbols.dim(size) for size in value.shape)
    strides: tuple[int, ...] | None = None
    if not is_output and not _is_contiguous(value):
        strides = tuple(stride if isinstance(stride, int) else -1 for stride in value.stride())
    return TensorSpec(path, dtype, dims, strides, value.device.type)


def refuse_types_of_torch(signature: Signature, target: str) -> None:
    """Raises for inputs and outputs of an element type that only RUNTIME torch has."""
    for what, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            if not DTYPES[spec.dtype].standalone:
                raise AotbuildError(
                    f"{target}: {what} {spec.name!r} has the element type {spec.dtype}, for which a model has to be "
                    "built for the CPU with RUNTIME torch; or convert it in the model"
                )


def _is_contiguous(value: Any) -> bool:
    expected: Any = 1
    for size, stride in zip(reversed(value.shape), reversed(value.stride())):
        if isinstance(size, int) and size == 1:
            continue
        if str(stride) != str(expected) and stride != expected:
            return False
        expected = expected * size
    return True
