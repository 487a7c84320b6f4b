"""The one ``torch.export`` of a model, and the sizes that it declares."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from aotbuild.capture import checks, triton_kernels
from aotbuild.capture.aliases import refuse_merged_inputs, strays
from aotbuild.capture.frames import is_project_file, user_line
from aotbuild.capture.modules import as_module
from aotbuild.capture.other_exports import export_otherwise
from aotbuild.capture.recurrent import whole_layers
from aotbuild.capture.registration import register_dataclasses, register_results
from aotbuild.spec.dynamic import DynamicDim
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model


def export_program(model: Model, dynamic: Sequence[DynamicDim], target: str) -> ExportedProgram:
    """The one export. Raises AotbuildError with the user's source line when the model cannot be exported."""
    module = as_module(model)
    args, kwargs = tuple(model.example_inputs), dict(model.example_kwargs)
    register_dataclasses((args, kwargs))
    refuse_merged_inputs(module, args, kwargs, target)
    shapes = resolved_shapes(module, args, kwargs, model.dynamic_shapes, dynamic)
    printed = io.StringIO()  # a failing export prints its graph
    with (
        _contiguous_parameters(module),
        torch.no_grad(),
        contextlib.redirect_stderr(printed),
        triton_kernels.recorded(),
        whole_layers(),
        checks.recorded() as texts,
    ):
        try:
            program = _export_with_results(module, args, kwargs, shapes)
        except Exception as error:
            raise _export_error(error, target) from error
    sys.stderr.write(printed.getvalue())
    checks.keep(program, texts)
    _resolve_lazy_signs(program)
    _apply_declared_minimums(program, module, shapes, (args, kwargs))
    return program


def _export_with_results(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any
) -> ExportedProgram:
    """``_export``, once more where what is returned was of classes that torch did not know."""
    try:
        return _export(module, args, kwargs, shapes)
    except RuntimeError as error:
        if "which is not a known type" not in str(error):
            raise
    register_results(module, args, kwargs)
    return _export(module, args, kwargs, shapes)


def _export(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any) -> ExportedProgram:
    """Strict export, which is slower and refuses more, only where the other takes the model's state for constants.

    It does so with transformers' TorchExportableModuleWithStaticCache: the cache is in buffers, and in objects that are
    no modules. Tracing then writes to the module's own tensors.
    """
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    try:
        program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        return export_otherwise(error, module, args, kwargs, shapes)
    if not strays(program, module):
        return program
    for buffer, value in buffers:
        buffer.data.copy_(value)
    with contextlib.suppress(Exception):
        strict = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=True)
        return program if strays(strict, module) else strict
    return program


def _resolve_lazy_signs(program: ExportedProgram) -> None:
    """Tensors whose values are the negatives or conjugates of what their memory holds, as of ``z.conj().imag``.

    DLPack and ``torch.export.save`` hand on the memory alone, and complex numbers cannot be seen as pairs.
    """

    def resolved(value: Any) -> Any:
        is_lazy = isinstance(value, torch.Tensor) and (value.is_conj() or value.is_neg())
        return value.detach().resolve_conj().resolve_neg() if is_lazy else value

    with torch.no_grad():
        for values in (program.state_dict, program.constants):
            values.update({name: resolved(value) for name, value in values.items()})
        program.example_inputs = pytree.tree_map(resolved, program.example_inputs)
        for node in program.graph.find_nodes(op="placeholder"):
            node.meta["val"] = resolved(node.meta.get("val"))


@contextlib.contextmanager
def _contiguous_parameters(module: torch.nn.Module) -> Iterator[None]:
    """Weights are stored row-major; exporting them so keeps strides out of the generated code."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if not tensor.is_contiguous():
            tensor.data = tensor.data.contiguous()
    yield


def resolved_shapes(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], given: Any, extra: Sequence[DynamicDim]
) -> Any:
    if not extra:
        return given
    if given is not None:
        raise AotbuildError("DYNAMIC_SHAPES: the model file gives dynamic_shapes too; keep one of them")
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    shapes: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        shapes[name] = pytree.tree_map(lambda leaf: {} if isinstance(leaf, torch.Tensor) else None, value)
    for entry in extra:
        if entry.input not in shapes or not isinstance(bound.arguments[entry.input], torch.Tensor):
            names = ", ".join(n for n, v in bound.arguments.items() if isinstance(v, torch.Tensor))
            raise AotbuildError(f"DYNAMIC_SHAPES: no tensor input {entry.input!r}; the model's inputs are: {names}")
        rank = bound.arguments[entry.input].dim()
        if entry.dim >= rank:
            raise AotbuildError(
                f"DYNAMIC_SHAPES {entry.input}:{entry.dim}: input {entry.input!r} has dimensions 0 to {rank - 1}"
            )
        shapes[entry.input][entry.dim] = torch.export.Dim.DYNAMIC(min=entry.min, max=entry.max)
    return shapes


def _apply_declared_minimums(
    program: ExportedProgram, module: torch.nn.Module, shapes: Any, call: tuple[Any, Any]
) -> None:
    """A declared minimum of 0 or 1: export traces sizes of at least 2 and reports those bounds instead.

    Upstream does the same for named ``Dim``s. Whether such sizes hold is for small_sizes.py to find out.
    """
    for symbol, dim in declared_sizes(program, module, shapes, call):
        declared = getattr(dim, "min", None)
        limits = program.range_constraints.get(symbol)
        if declared is not None and limits is not None and declared < 2 and limits.lower == 2:
            program.range_constraints[symbol] = type(limits)(declared, limits.upper)


def declared_minimums(declared: Iterable[tuple[Any, Any]]) -> dict[Any, int]:
    """The minimums that the user wrote, of what ``declared_sizes`` gives.

    0 of a named ``Dim`` is its default; with ``Dim.AUTO`` torch.export is free to find another.
    """
    found: dict[Any, int] = {}
    for symbol, dim in declared:
        hint = getattr(getattr(dim, "type", None), "name", None)
        minimum = getattr(dim, "min", None)
        if minimum is not None and hint != "AUTO" and (hint is not None or minimum > 0):
            found[symbol] = max(minimum, found.get(symbol, 0))
    return found


def declared_sizes(
    program: ExportedProgram, module: torch.nn.Module, shapes: Any, call: tuple[Any, Any]
) -> Iterator[tuple[Any, Any]]:
    """The program's size symbols, each with the ``torch.export.Dim`` or hint that ``dynamic_shapes`` has for it.

    That of a derived ``Dim`` such as ``2 * half`` is the one that it is derived from.
    """
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    arguments = inspect.signature(module.forward).bind(*call[0], **call[1]).arguments
    for name, dims in zip(program.graph_signature.user_inputs, _leaf_shapes(dict(arguments), shapes), strict=True):
        value = values.get(str(name))
        if not isinstance(value, torch.Tensor) or not isinstance(dims, Mapping | list | tuple):
            continue
        for index, dim in dims.items() if isinstance(dims, Mapping) else enumerate(dims):
            size = value.shape[index]
            symbols = size.node.expr.free_symbols if isinstance(size, torch.SymInt) else ()
            if len(symbols) == 1 and (size.node.expr.is_Symbol or hasattr(dim, "root")):
                yield next(iter(symbols)), getattr(dim, "root", dim)


def _leaf_shapes(value: Any, shapes: Any) -> list[Any]:
    """The part of ``dynamic_shapes`` that each leaf of the arguments has; None for a leaf that it leaves out."""
    children, spec = pytree.tree_flatten(value, is_leaf=lambda part: part is not value)
    if spec.is_leaf():
        return [shapes]
    parts: Sequence[Any]
    if isinstance(shapes, Mapping):
        parts = [shapes.get(key) for key in spec.context] if isinstance(value, Mapping) else list(shapes.values())
    else:
        parts = list(shapes) if isinstance(shapes, list | tuple) else [None] * len(children)
    return [leaf for child, part in zip(children, parts, strict=True) for leaf in _leaf_shapes(child, part)]


# In errors of torch.cond, while_loop and their like.
_CALL_OF_FUNCTIONS = re.compile(r"Higher Order Operator: torch\.(\w+)|fake tensors: call_function (cond|while_loop)\(")


def _reason(text: str) -> str:
    """What an error of a higher-order operator says itself, without Dynamo's hints and frames."""
    explained = re.search(r"^\s*Explanation: (.*)$", text, re.MULTILINE)
    if explained is not None:
        inner = re.search(r"got \w+\([\"'](.*?)(?:\\n|[\"']\)$)", explained[1])
        return inner[1] if inner is not None else explained[1]
    said = [line.strip() for line in text.partition("Higher Order")[0].splitlines() if line.strip()]
    return " ".join(said)


def _export_error(error: Exception, target: str) -> AotbuildError:
    where = user_line(error.__traceback__)
    text = str(error).strip()
    if where is None:
        match = re.search(r'File "([^"]+)", line (\d+), in (\w+)\n\s+(.*)', text)
        if match and is_project_file(match[1]):
            where = f"{match[1]}:{match[2]} in {match[3]}: {match[4]}"
    called = _CALL_OF_FUNCTIONS.search(text)
    if called is not None:
        return AotbuildError(
            f"{target}: torch.export cannot capture a call of torch.{called[1] or called[2]}:\n"
            + (f"  at {where}\n" if where else "")
            + f"  {_reason(text)}\n"
            "  Its functions take and return tensors alone, of the same sizes and types whichever runs and however "
            "often, and change nothing else."
        )
    lines = "\n".join("  " + line for line in text.splitlines()[:24])
    return AotbuildError(
        f"{target}: the model cannot be exported by torch.export: {type(error).__name__}\n"
        + (f"  at {where}\n" if where else "")
        + f"{lines}\n"
        "  Change that line so that it does not depend on tensor values, or make the size that it names dynamic or "
        "static; `torch.export.export` on the same inputs gives the same error."
    )
