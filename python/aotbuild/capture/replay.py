"""Runs an exported program at other sizes, and compares every value's sizes with what the program says of them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import _pytree as pytree

from aotbuild.capture.frames import user_frame
from aotbuild.capture.sizes import Point, UndefinedError, value
from aotbuild.capture.writes import written_buffers


@dataclass(frozen=True)
class Fault:
    """Why a program does not hold at some sizes. ``place``: the model's line.

    ``raised``: the operator itself refuses the sizes; otherwise it gives others than the program says.
    """

    text: str
    place: str | None
    raised: bool = False


class _DifferentError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


class _Replay(torch.fx.Interpreter):
    def __init__(self, module: torch.fx.GraphModule, point: Point) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self._point = point
        self._numbers: dict[Any, Any] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        try:
            result = super().run_node(n)
        except _DifferentError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise _DifferentError(Fault(text, _place(n), raised=True)) from error
        if n.op not in ("placeholder", "output"):
            self._compare(n, result)
        return result

    def _compare(self, node: torch.fx.Node, result: Any) -> None:
        expected, found = (pytree.tree_leaves(part) for part in (node.meta.get("val"), result))
        if len(expected) != len(found):
            return
        for wanted, got in zip(expected, found):
            try:
                shapes = self._sizes(wanted), self._sizes(got)
            except UndefinedError:
                raise _DifferentError(Fault(f"a size of {_name(node)} has no value", _place(node))) from None
            if len(shapes[0]) != len(shapes[1]) or any(
                a is not None and b is not None and a != b for a, b in zip(*shapes)
            ):
                text = f"{_name(node)} gives {_text(got, shapes[1])} where the exported program has "
                raise _DifferentError(Fault(text + _text(wanted, shapes[0]), _place(node)))

    def _sizes(self, found: Any) -> list[Any]:
        """A tensor's sizes, or a number; None for what no size determines."""
        parts: Sequence[Any] = found.shape if isinstance(found, torch.Tensor) else (found,)
        return [self._number(part) for part in parts]

    def _number(self, part: Any) -> Any:
        if not isinstance(part, torch.SymInt | torch.SymBool):
            return part if isinstance(part, int) else None
        expression = part.node.expr
        if expression not in self._numbers:
            self._numbers[expression] = value(expression, self._point)
        return self._numbers[expression]


def _name(node: torch.fx.Node) -> str:
    return getattr(node.target, "__name__", str(node.target)).removesuffix(".default")


def _text(found: Any, sizes: Sequence[Any]) -> str:
    numbers = ["?" if size is None else str(size) for size in sizes]
    return f"the sizes [{', '.join(numbers)}]" if isinstance(found, torch.Tensor) else numbers[0]


def _place(node: torch.fx.Node) -> str | None:
    return user_frame(node.meta.get("stack_trace"))


def replay(program: ExportedProgram, point: Point, leaves: Sequence[Any]) -> tuple[list[Any], Fault | None]:
    """Runs the program on the leaves of a call.

    Returns:
        What the user's outputs are; nothing where the run ends with a fault.
    """
    inputs = _placeholders(program, leaves)
    try:
        found = _Replay(program.graph_module, point).run(*inputs)
    except _DifferentError as different:
        return [], different.fault
    specs = program.graph_signature.output_specs
    return [part for spec, part in zip(specs, found, strict=True) if spec.kind is OutputKind.USER_OUTPUT], None


def sizes_fault(program: ExportedProgram, point: Point) -> Fault | None:
    """What is wrong with the sizes of the program's values, found without computing them; None where all agree.

    Branches and loops are looked at too, whichever a call would take.
    """
    modules = [module for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule)]
    for module in modules:
        with _quiet(), FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()), torch.no_grad():
            try:
                inputs = list(_made_inputs(module, point))
                if all(part is not None for part in inputs):
                    _Replay(module, point).run(*(part[0] for part in inputs if part is not None))
            except _DifferentError as different:
                return different.fault
            except UndefinedError as error:
                return Fault(f"the size {error} has no value", None)
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Operators that refuse their operands print them first."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _made_inputs(module: torch.fx.GraphModule, point: Point) -> Iterator[tuple[Any] | None]:
    """A tensor for each input of a graph; None for one whose sizes no size of the program's inputs determines."""
    for node in module.graph.nodes:
        if node.op != "placeholder":
            continue
        found = node.meta.get("val")
        if isinstance(found, torch.Tensor):
            shape, strides = ([_known(part, point) for part in parts] for parts in (found.shape, found.stride()))
            if None in shape or None in strides:
                yield None
            else:
                yield (torch.empty_strided(shape, strides, dtype=found.dtype, device=found.device),)  # type: ignore[arg-type]
        elif isinstance(found, torch.SymInt):
            number = _known(found, point)
            yield None if number is None else (number,)
        else:
            yield (found,)


def _known(part: Any, point: Point) -> int | None:
    found = part if isinstance(part, int) else value(part.node.expr, point)
    return None if found is None else int(found)


def _placeholders(program: ExportedProgram, leaves: Sequence[Any]) -> list[Any]:
    """All inputs of the graph; what the program writes to is copied."""
    written = written_buffers(program)
    given = iter(leaves)
    found: list[Any] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            leaf = next(given)
            constant = isinstance(spec.arg, ConstantArgument)
            found.append(spec.arg.value if constant else leaf.clone() if isinstance(leaf, torch.Tensor) else leaf)
        elif spec.kind is InputKind.TOKEN:
            found.append(torch.ops.prims._make_token())
        else:
            stored = program.state_dict.get(spec.target)
            stored = program.constants[spec.target] if stored is None else stored
            found.append(stored.clone() if spec.target in written else stored)
    return found
