"""Capture: from a model file to one ``torch.export`` program, the signature of its C++ surface, and golden cases."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import importlib.util
import inspect
import io
import itertools
import keyword
import operator
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
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

from aotbuild import triton_kernels
from aotbuild.errors import AotbuildError
from aotbuild.model import Method, Model
from aotbuild.program import DTYPE_SIZES, DTYPES_OF_TORCH, Dim, GoldenCase, Signature, TensorData, TensorSpec

# Sizes beyond which a dynamic dimension without an upper bound is not tested.
_UNBOUNDED = 2**31 - 1
# Largest number of elements of one input in a golden case, so that recording the extremes stays affordable.
_MAX_GOLDEN_ELEMENTS = 1 << 21


@dataclass(frozen=True)
class DynamicDim:
    """One entry of DYNAMIC_SHAPES: dimension ``dim`` of input ``input`` varies in ``[min, max]``."""

    input: str
    dim: int
    min: int
    max: int | None


@dataclass
class Source:
    """A model file, loaded: what its callable returned and the project files that it read.

    ``modules_before`` are those that were imported before the model's: the export may import more of the project.
    """

    model: Model | None
    program: ExportedProgram | None
    files: tuple[Path, ...]
    modules_before: frozenset[str] = field(default_factory=lambda: frozenset(sys.modules))


@dataclass
class Captured:
    """The result of the one export."""

    program: ExportedProgram
    signature: Signature
    golden: tuple[GoldenCase, ...]
    rtol: float
    atol: float
    files: tuple[Path, ...]
    state: frozenset[str] = frozenset()  # the buffers that some method of the model writes to


def parse_dynamic_shape(text: str) -> DynamicDim:
    """``input:dim=min..max`` as DYNAMIC_SHAPES has it; ``max`` may be left out."""
    match = re.fullmatch(r"([A-Za-z_][\w.]*):(\d+)=(\d+)\.\.(\d*)", text)
    if match is None:
        raise AotbuildError(f"DYNAMIC_SHAPES {text!r}: write input:dim=min..max, for example ids:1=1..512")
    name, dim, low, high = match.groups()
    if high and int(high) < int(low):
        raise AotbuildError(f"DYNAMIC_SHAPES {text!r}: the maximum {high} is below the minimum {low}")
    return DynamicDim(name, int(dim), int(low), int(high) if high else None)


# --- loading


def load_source(model: str, params: Mapping[str, str], directory: Path | None = None) -> Source:
    """Loads MODEL: ``file.py:callable``, ``package.module:callable`` or ``file.pt2``.

    Args:
        model: the value of MODEL.
        params: PARAMS, passed to the callable as keyword arguments. A value that reads as a Python int, float or
            bool is passed as one, everything else as str.
        directory: what a relative file is relative to; None: the current directory.

    Raises:
        AotbuildError: the file, module or callable is missing or raises.
    """
    base = directory or Path.cwd()
    if model.endswith(".pt2"):
        path = base / model
        if not path.is_file():
            raise AotbuildError(f"MODEL {model}: no such file (looked for {path})")
        if params:
            raise AotbuildError(f"MODEL {model}: PARAMS go to a callable; a .pt2 file takes none")
        try:
            return Source(None, torch.export.load(path), (path,))
        except Exception as error:
            raise AotbuildError(
                f"MODEL {model}: cannot be read as a program written by torch.export.save: {error}"
            ) from error
    function, files, before = load_named("MODEL", model, base, "file.py:callable, package.module:callable or file.pt2")
    name = model.rpartition(":")[2]
    if not callable(function):
        raise AotbuildError(f"MODEL {model}: {name!r} is a {type(function).__name__}, not a callable")
    try:
        returned = function(**{key: _literal(value) for key, value in params.items()})
    except Exception as error:
        where = _user_line(error.__traceback__) or "in the model file"
        raise AotbuildError(f"MODEL {model}: {name}() raised {type(error).__name__}: {error}\n  {where}") from error
    result = _as_model(returned, model)
    files |= {*_project_files(set(sys.modules) - before)}  # what the call imported
    for extra in result.data_files:
        path = base / extra
        if not path.is_file():
            raise AotbuildError(f"MODEL {model}: data_files names {extra}, and there is no such file")
        files.add(path)
    return Source(result, None, tuple(sorted(files)), before)


def load_named(keyword: str, text: str, base: Path, forms: str) -> tuple[Any, set[Path], frozenset[str]]:
    """Loads what ``file.py:name`` or ``package.module:name`` names.

    Args:
        keyword: of the CMake function, for errors.
        base: what a relative file is relative to.
        forms: what the keyword may be, for errors.

    Returns:
        The object, the project's files that loading it has read, and the modules that were there before.

    Raises:
        AotbuildError: the file, module or name is missing, or importing it raises.
    """
    what = f"{keyword} {text}"
    place, separator, name = text.rpartition(":")
    if not separator or not place or not name:
        raise AotbuildError(f"{what}: write {forms}")
    before = frozenset(sys.modules)
    module = _import_file(base / place, what) if place.endswith(".py") else _import_module(place, base, what)
    found = getattr(module, name, None)
    if found is None:
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        has = ", ".join(public) or "no callables"
        raise AotbuildError(f"{what}: {place} defines no {name!r}; it has: {has}")
    return found, {*_project_files(set(sys.modules) - before | {module.__name__})}, before


def _import_file(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise AotbuildError(f"{what}: no such file (looked for {path})")
    name = path.stem
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader
    _execute(lambda: loader.exec_module(module), what)
    return module


def _import_module(name: str, base: Path, what: str) -> ModuleType:
    sys.path.insert(0, str(base))
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise AotbuildError(f"{what}: no module {name!r} on PYTHONPATH or beside the project's CMakeLists.txt")
    holder: list[ModuleType] = []
    _execute(lambda: holder.append(importlib.import_module(name)), what)
    return holder[0]


def _execute(action: Callable[[], None], what: str) -> None:
    try:
        action()
    except Exception as error:
        where = _user_line(error.__traceback__) or "while it was imported"
        raise AotbuildError(f"{what}: importing it raised {type(error).__name__}: {error}\n  {where}") from error


def _literal(text: str) -> Any:
    if text in ("True", "true", "ON"):
        return True
    if text in ("False", "false", "OFF"):
        return False
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _as_model(returned: Any, model: str) -> Model:
    if isinstance(returned, Model):
        return returned
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], (tuple, list)):
        return Model(returned[0], returned[1])
    if isinstance(returned, tuple) and len(returned) == 3 and isinstance(returned[2], Mapping):
        return Model(returned[0], returned[1], returned[2])
    raise AotbuildError(
        f"MODEL {model}: the callable returned a {type(returned).__name__}; return an aotbuild.Model, "
        "or (module, args) with args a tuple of example inputs"
    )


def _library_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    roots = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    roots.add(str(Path(torch.__file__).parent.parent))
    roots.add(str(Path(__file__).parent))
    return tuple(os.path.realpath(root) + os.sep for root in roots)


def is_project_file(filename: str | None) -> bool:
    """Whether a file is the user's: neither Python's, nor an installed package's, nor aotbuild's own."""
    if not filename or filename.startswith("<"):
        return False
    real = os.path.realpath(filename)
    return not real.startswith(_library_roots())


def _project_files(modules: Iterable[str]) -> Iterator[Path]:
    for name in modules:
        module = sys.modules.get(name)
        filename = getattr(module, "__file__", None)
        if filename and is_project_file(filename):
            yield Path(os.path.abspath(filename))


def _user_line(trace: Any) -> str | None:
    """The last line of the user's own code in a traceback, as "file:line in function: code"."""
    for frame in reversed(traceback.extract_tb(trace)):
        if is_project_file(frame.filename):
            return f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    return None


def user_frame(stack_trace: str | None) -> str | None:
    """The last line of the user's own code in the text of a traceback, in the same form."""
    return _last_frame(stack_trace, is_project_file)


def model_frame(stack_trace: str | None) -> str | None:
    """The last line of the model's code, which may be another library's, in the text of a traceback."""
    torch_folder = str(Path(torch.__file__).parent)
    return _last_frame(stack_trace, lambda file: not file.startswith(torch_folder))


def _last_frame(stack_trace: str | None, counts: Callable[[str], bool]) -> str | None:
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\S+)\n\s*(.*)', stack_trace or "")
    own = [frame for frame in frames if counts(frame[0])] or frames
    return "{}:{} in {}: {}".format(*own[-1]) if own else None


def node_places(program: torch.export.ExportedProgram) -> list[str | None]:
    """Where each node of the exported program, those of its subgraphs included, is in the model's code."""
    modules = (module for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule))
    return [model_frame(node.meta.get("stack_trace")) for module in modules for node in module.graph.nodes]


def node_numbers(program: torch.export.ExportedProgram) -> dict[str, int]:
    """The first node from each place in the model's code, as an index into ``node_places``.

    What is kept of a lowering refers to places so: an edit elsewhere in the file moves lines, and no nodes.
    """
    places = node_places(program)
    return {place: number for number, place in reversed(list(enumerate(places))) if place is not None}


# --- export


class _FunctionModule(torch.nn.Module):
    """A plain function as a module, so that it can be exported."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.forward = _named_forward(function) if isinstance(function, FunctionType) else function


def _named_forward(function: FunctionType) -> FunctionType:
    """The function with code that is called forward: export records source lines of frames of that name only."""
    code = function.__code__.replace(co_name="forward")
    copy = FunctionType(code, function.__globals__, "forward", function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def capture(source: Source, dynamic: Sequence[DynamicDim] = (), target: str = "model") -> Captured:
    """Exports the model once and records golden cases by running it eagerly.

    Raises:
        AotbuildError: the model does not export (with the user's source line), or an input is of a kind that a
            compiled model cannot take.
    """
    if source.program is not None:
        if dynamic:
            raise AotbuildError("DYNAMIC_SHAPES: a .pt2 program already says which sizes vary; export it with them")
        program = source.program
        if program.example_inputs is None:
            raise AotbuildError("MODEL: the .pt2 program has no example inputs; save it from torch.export.export")
        args, kwargs = program.example_inputs
        calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [("example", tuple(args), dict(kwargs))]
        module: Any = program.module()
        rtol = atol = None
        names: dict[Any, str] = {}
    else:
        model = source.model
        assert model is not None
        if model.methods:
            has = " ".join(model.methods)
            raise AotbuildError(f"{target}: the model file has methods; say which are built: METHODS {has}")
        module = as_module(model)
        args, kwargs = tuple(model.example_inputs), dict(model.example_kwargs)
        program = export_program(dataclasses.replace(model, module=module), dynamic, target)
        shapes = _dynamic_shapes(module, args, kwargs, model.dynamic_shapes, dynamic)
        names = {
            symbol: str(dim.__name__)
            for symbol, dim in _declared_sizes(program, module, shapes, (args, kwargs))
            if hasattr(dim, "__name__")
        }
        calls = [("example", args, kwargs)]
        calls += [(f"golden{i}", tuple(a), dict(k)) for i, (a, k) in enumerate(model.golden_inputs)]
        rtol, atol = model.rtol, model.atol
    signature = describe(program, names)
    golden = _record(module, program, signature, calls, target)
    default_rtol, default_atol = _default_tolerance(signature)
    return Captured(
        program,
        signature,
        golden,
        default_rtol if rtol is None else rtol,
        default_atol if atol is None else atol,
        tuple(sorted({*source.files, *_project_files(set(sys.modules) - source.modules_before)})),
    )


def written_buffers(program: ExportedProgram) -> frozenset[str]:
    """The names of buffers and parameters that the program writes to, also before it is made functional."""
    signature = program.graph_signature
    parameters: Mapping[str, str] = getattr(signature, "parameters_to_mutate", {})
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    written = {names[base.name] for node in program.graph.nodes for base in _written(node) if base.name in names}
    return frozenset((*signature.buffers_to_mutate.values(), *parameters.values(), *written))


def _written_inputs(program: ExportedProgram) -> set[str]:
    """The user's inputs that the program writes to."""
    inputs = {str(name) for name in program.graph_signature.user_inputs}
    written = {base.name for node in program.graph.nodes for base in _written(node)}
    return inputs & {*written, *program.graph_signature.user_inputs_to_mutate.values()}


def _written(node: torch.fx.Node) -> Iterator[torch.fx.Node]:
    """The tensors in whose memory a call writes."""
    if isinstance(node.target, torch._ops.OpOverload):
        for argument, value in zip(node.target._schema.arguments, node.args):
            if argument.alias_info is not None and argument.alias_info.is_write:
                yield from (_base(part) for part in pytree.tree_leaves(value) if isinstance(part, torch.fx.Node))


def _base(node: torch.fx.Node) -> torch.fx.Node:
    """The tensor that a view is of, or the node itself."""
    source = None
    if node.target is operator.getitem:
        source = node.args[0]
    elif isinstance(node.target, torch._ops.OpOverload):
        aliased = (argument.alias_info is not None for argument in node.target._schema.arguments)
        source = next((value for is_alias, value in zip(aliased, node.args) if is_alias), None)
    return _base(source) if isinstance(source, torch.fx.Node) else node


# What the C++ class, the C ABI and the Python object of a model have beside its methods.
_TAKEN_METHOD_NAMES = frozenset(
    (
        *("api", "capture_graph", "create", "describe", "destroy", "destroy_result", "last_error", "load_weights"),
        *("manual_seed", "new_session", "run", "run_method", "run_on_stream", "set_weights", "statistics"),
        *("synchronize", "info", "input_metadata", "manifest", "methods", "name", "output_metadata", "signature"),
        *("untyped", "weight_count", "weights"),
    )
)


def capture_methods(
    source: Source, names: Sequence[str], dynamic: Sequence[DynamicDim], target: str
) -> tuple[dict[str, Captured], tuple[tuple[str, GoldenCase], ...]]:
    """Exports each of the methods ``names`` once; see ``capture``.

    Returns:
        The methods, and the golden cases of calls in one session: every method's example, and all once more.

    Raises:
        AotbuildError: as ``capture``; and when METHODS and the model file disagree.
    """
    model = _model_with_methods(source, names)
    dims: dict[str, list[DynamicDim]] = {name: [] for name in names}
    for entry in dynamic:
        method, _, name = entry.input.partition(".")
        if not name or method not in dims:
            raise AotbuildError(
                f"DYNAMIC_SHAPES {entry.input}:{entry.dim}: with METHODS write method.input:dim=min..max; the methods "
                f"are {', '.join(names)}"
            )
        dims[method].append(dataclasses.replace(entry, input=name))
    captured = {}
    modules = {}
    for name in names:
        example = model.methods[name]
        modules[name] = _method_module(model.module, name)
        alone = Model(
            modules[name],
            example.example_inputs,
            example.example_kwargs,
            example.dynamic_shapes,
            model.rtol,
            model.atol,
            example.golden_inputs,
        )
        captured[name] = capture(dataclasses.replace(source, model=alone), dims[name], f"{target}.{name}")
    state = frozenset(name for method in captured.values() for name in written_buffers(method.program))
    captured = {name: dataclasses.replace(method, state=state) for name, method in captured.items()}
    return captured, _record_session(modules, model.methods, captured, target) if state else ()


def _model_with_methods(source: Source, names: Sequence[str]) -> Model:
    model = source.model
    if model is None:
        raise AotbuildError("METHODS: a .pt2 file holds one function; name a callable that returns an aotbuild.Model")
    if not model.methods:
        raise AotbuildError(
            "METHODS: the model file gives an example for one call only; return aotbuild.Model(module, methods={"
            + ", ".join(f'"{name}": aotbuild.Method(...)' for name in names)
            + "})"
        )
    if model.example_inputs or model.example_kwargs or model.golden_inputs or model.dynamic_shapes is not None:
        raise AotbuildError(
            "METHODS: the model file gives example inputs of the model and methods; each method has its own example in "
            "aotbuild.Method(...)"
        )
    has = ", ".join(model.methods)
    for name in names:
        if name not in model.methods:
            raise AotbuildError(f"METHODS {name}: the methods of the model file are {has}")
        if name in _TAKEN_METHOD_NAMES or name.startswith("_") or not name.isidentifier():
            raise AotbuildError(f"METHODS {name}: every model has that name for something else; rename the method")
        if not isinstance(model.module, torch.nn.Module) or not callable(getattr(model.module, name, None)):
            raise AotbuildError(f"METHODS {name}: the module, a {type(model.module).__name__}, has no such method")
    return model


def _method_module(module: Any, name: str) -> torch.nn.Module:
    """A module with the parameters, buffers and submodules of ``module`` whose ``forward`` is one of its methods."""
    method = getattr(module, name)
    instance: torch.nn.Module = copy.copy(module)
    function = getattr(method, "__func__", method)
    bound = MethodType(_named_forward(function), instance) if isinstance(function, FunctionType) else method
    instance.__dict__["forward"] = bound
    return instance


def as_module(model: Model) -> torch.nn.Module:
    """The model's module in evaluation mode; a plain function becomes a module."""
    module = model.module
    if not isinstance(module, torch.nn.Module):
        if not callable(module):
            raise AotbuildError(f"MODEL: the model is a {type(module).__name__}, not a module or function")
        module = _FunctionModule(module)
    return module.eval()


def export_program(model: Model, dynamic: Sequence[DynamicDim], target: str) -> ExportedProgram:
    """The one export. Raises AotbuildError with the user's source line when the model cannot be exported."""
    module = as_module(model)
    args, kwargs = tuple(model.example_inputs), dict(model.example_kwargs)
    shapes = _dynamic_shapes(module, args, kwargs, model.dynamic_shapes, dynamic)
    printed = io.StringIO()  # a failing export prints its graph
    with (
        _contiguous_parameters(module),
        torch.no_grad(),
        contextlib.redirect_stderr(printed),
        triton_kernels.recorded(),
    ):
        try:
            program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)
        except Exception as error:
            raise _export_error(error, target) from error
    sys.stderr.write(printed.getvalue())
    _apply_declared_minimums(program, module, shapes, (args, kwargs))
    return program


@contextlib.contextmanager
def _contiguous_parameters(module: torch.nn.Module) -> Iterator[None]:
    """Weights are stored row-major; exporting them so keeps strides out of the generated code."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if not tensor.is_contiguous():
            tensor.data = tensor.data.contiguous()
    yield


def _dynamic_shapes(
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
    """A declared minimum of 0 or 1 holds: export traces sizes of at least 2 and reports those bounds instead.

    Upstream does the same for named ``Dim``s, and the golden cases run each dimension's minimum.
    """
    for symbol, dim in _declared_sizes(program, module, shapes, call):
        declared = getattr(dim, "min", None)
        limits = program.range_constraints.get(symbol)
        if declared is not None and limits is not None and declared < 2 and limits.lower == 2:
            program.range_constraints[symbol] = type(limits)(declared, limits.upper)


def _declared_sizes(
    program: ExportedProgram, module: torch.nn.Module, shapes: Any, call: tuple[Any, Any]
) -> Iterator[tuple[Any, Any]]:
    """The program's size symbols, each with the ``torch.export.Dim`` or hint that ``dynamic_shapes`` has for it."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    arguments = inspect.signature(module.forward).bind(*call[0], **call[1]).arguments
    for name, dims in zip(program.graph_signature.user_inputs, _leaf_shapes(dict(arguments), shapes), strict=True):
        value = values.get(str(name))
        if not isinstance(value, torch.Tensor) or not isinstance(dims, Mapping | list | tuple):
            continue
        for index, dim in dims.items() if isinstance(dims, Mapping) else enumerate(dims):
            size = value.shape[index]
            if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                yield size.node.expr, dim


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


def _export_error(error: Exception, target: str) -> AotbuildError:
    where = _user_line(error.__traceback__)
    text = str(error).strip()
    if where is None:
        match = re.search(r'File "([^"]+)", line (\d+), in (\w+)\n\s+(.*)', text)
        if match and is_project_file(match[1]):
            where = f"{match[1]}:{match[2]} in {match[3]}: {match[4]}"
    lines = "\n".join("  " + line for line in text.splitlines()[:24])
    return AotbuildError(
        f"{target}: the model cannot be exported by torch.export: {type(error).__name__}\n"
        + (f"  at {where}\n" if where else "")
        + f"{lines}\n"
        "  Change that line so that it does not depend on tensor values, or make the size that it names dynamic or "
        "static; `torch.export.export` on the same inputs gives the same error."
    )


# --- signature

# Numbers among the outputs are 0-dimensional tensors of these types.
NUMBER_DTYPES: dict[type, torch.dtype] = {bool: torch.bool, int: torch.int64, float: torch.float64}
_SYMBOLIC: dict[type, type] = {SymIntArgument: int, SymFloatArgument: float, SymBoolArgument: bool}


def identifier(text: str) -> str:
    """``text`` as a C++ (and Python) identifier."""
    name = re.sub(r"\W", "_", text)
    if not name or name[0].isdigit():
        name = "_" + name
    return name + "_" if keyword.iskeyword(name) else name


def _paths(spec: pytree.TreeSpec, prefix: tuple[str, ...]) -> list[tuple[str, ...]]:
    """C++ field paths of the leaves of a pytree: named fields nest, indices go into the name."""
    if spec.is_leaf():
        return [prefix]
    children = spec.children()
    kind = spec.type
    if kind in (list, tuple):
        if not prefix:
            raise AssertionError("the caller names the elements of the outermost tuple")
        names = [(*prefix[:-1], f"{prefix[-1]}_{index}") for index in range(len(children))]
    else:
        keys = _field_names(spec)
        names = [(*prefix, identifier(str(key))) for key in keys]
    return [path for child, name in zip(children, names) for path in _paths(child, name)]


def _field_names(spec: pytree.TreeSpec) -> list[Any]:
    context = spec.context
    if hasattr(context, "_fields"):  # the class of a named tuple
        return list(context._fields)
    if isinstance(context, (list, tuple)):
        flat = context[-1] if context and isinstance(context[-1], (list, tuple)) else context
        if len(flat) == len(spec.children()):
            return list(flat)
        if len(context) >= 1 and isinstance(context[0], (list, tuple)) and len(context[0]) == len(spec.children()):
            return list(context[0])
    return list(range(len(spec.children())))


def _input_paths(program: ExportedProgram) -> list[tuple[str, ...]]:
    in_spec = program.call_spec.in_spec
    assert in_spec is not None
    args_spec, kwargs_spec = in_spec.children()
    names = _argument_names(program, len(args_spec.children()))
    paths: list[tuple[str, ...]] = []
    for child, name in zip(args_spec.children(), names):
        paths += _paths(child, (identifier(name),))
    for child, name in zip(kwargs_spec.children(), kwargs_spec.context):
        paths += _paths(child, (identifier(name),))
    return paths


def _argument_names(program: ExportedProgram, count: int) -> list[str]:
    names = getattr(program.module_call_graph[0].signature, "forward_arg_names", None)
    if names and len(names) >= count:
        return list(names)[:count]
    return [f"arg{index}" for index in range(count)]


def _output_paths(program: ExportedProgram) -> list[tuple[str, ...]]:
    out_spec = program.call_spec.out_spec
    assert out_spec is not None
    if out_spec.is_leaf():
        return [("output",)]
    if out_spec.type in (list, tuple):
        paths: list[tuple[str, ...]] = []
        single = len(out_spec.children()) == 1
        for index, child in enumerate(out_spec.children()):
            paths += _paths(child, ("output" if single else f"output_{index}",))
        return paths
    return _paths(out_spec, ())


def describe(program: ExportedProgram, names: Mapping[Any, str] | None = None) -> Signature:
    """The C++ surface of an exported program: tensor inputs and outputs with names, dtypes and ranges.

    ``names``: those of size symbols.
    """
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    symbols = _SymbolNames(program, names or {})
    inputs = []
    written_inputs = _written_inputs(program)
    user_inputs = [spec for spec in program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    for spec, path in zip(user_inputs, _input_paths(program), strict=True):
        if isinstance(spec.arg, ConstantArgument):
            continue
        if not isinstance(spec.arg, TensorArgument):
            raise AotbuildError(
                f"input {'.'.join(path)!r} is a Python number that varies; pass it as a 0-dimensional tensor"
            )
        inputs.append(
            dataclasses.replace(
                _tensor_spec(path, values[spec.arg.name], symbols), written=spec.arg.name in written_inputs
            )
        )
    outputs = []
    user_outputs = [spec for spec in program.graph_signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]
    for out, path in zip(user_outputs, _output_paths(program), strict=True):
        if isinstance(out.arg, ConstantArgument) and out.arg.value is None:
            continue
        kind: Any = type(out.arg.value) if isinstance(out.arg, ConstantArgument) else _SYMBOLIC.get(type(out.arg))
        if kind is not None:
            if kind not in NUMBER_DTYPES:
                raise AotbuildError(
                    f"output {'.'.join(path)!r} is a {kind.__name__}; a compiled model returns tensors and numbers"
                )
            outputs.append(TensorSpec(path, str(NUMBER_DTYPES[kind]).removeprefix("torch."), ()))
            continue
        outputs.append(_tensor_spec(path, values[out.arg.name], symbols, is_output=True))
    return Signature(tuple(inputs), tuple(outputs))


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
        low = int(limits.lower) if limits.lower.is_finite else 0
        high = int(limits.upper) if limits.upper.is_finite and limits.upper < _UNBOUNDED else _UNBOUNDED
        return max(low, 0), high

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
            offset = expression.subs(symbol, 0)
            if multiplier.is_Integer and offset.is_Integer and expression == multiplier * symbol + offset:
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
    if dtype not in DTYPE_SIZES:
        raise AotbuildError(
            f"{'output' if is_output else 'input'} {'.'.join(path)!r} has the element type {dtype}; a compiled model "
            f"takes and returns tensors of {', '.join(DTYPE_SIZES)}: convert it in the model"
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
            if spec.dtype in DTYPES_OF_TORCH:
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


# --- golden cases


def tensor_data(tensor: torch.Tensor) -> TensorData:
    """The values of a tensor as contiguous bytes."""
    detached = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    # A tensor of one element is contiguous with any stride, and only a stride of 1 can be viewed as bytes.
    flat = detached.as_strided((detached.numel(),), (1,))
    raw = np.empty(0, np.uint8) if flat.numel() == 0 else flat.view(torch.uint8).numpy().copy()
    return TensorData(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), raw)


def _record(
    module: Any,
    program: ExportedProgram,
    signature: Signature,
    calls: Sequence[tuple[str, tuple[Any, ...], dict[str, Any]]],
    target: str,
) -> tuple[GoldenCase, ...]:
    """Runs the model eagerly on the example, on the further calls, and with each dynamic size at its extremes."""
    cases = []
    _, args, kwargs = calls[0]
    for call in [*calls, *_extremes(program, signature, args, kwargs)]:
        with _buffers_kept(module):
            cases.append(_run(module, signature, call, target))
    return tuple(cases)


def _record_session(
    modules: Mapping[str, torch.nn.Module],
    methods: Mapping[str, Method],
    captured: Mapping[str, Captured],
    target: str,
) -> tuple[tuple[str, GoldenCase], ...]:
    """Every method's example one after the other, and all once more, over the state that the calls leave behind."""
    cases = []
    with _buffers_kept(next(iter(modules.values()))):
        for number, name in enumerate([*modules, *modules]):
            method = methods[name]
            call = (f"session{number}", tuple(method.example_inputs), dict(method.example_kwargs))
            cases.append((name, _run(modules[name], captured[name].signature, call, f"{target}.{name}")))
    return tuple(cases)


@contextlib.contextmanager
def _buffers_kept(module: torch.nn.Module) -> Iterator[None]:
    state = {key: value.clone() for key, value in _buffers(module).items()}
    yield
    for key, value in _buffers(module).items():
        value.data.copy_(state[key])


def _run(
    module: Any, signature: Signature, call: tuple[str, tuple[Any, ...], dict[str, Any]], target: str
) -> GoldenCase:
    name, args, kwargs = call
    with torch.no_grad(), triton_kernels.interpreted():
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        inputs = [tensor.clone() for tensor in given]
        torch.manual_seed(0)
        try:
            outputs = module(*args, **kwargs)
        except Exception as error:
            raise _eager_error(error, name, signature, inputs, target) from error
    leaves = [
        leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf, dtype=NUMBER_DTYPES[type(leaf)])
        for leaf in pytree.tree_leaves(outputs)
        if leaf is not None
    ]
    # Copies, before buffers and inputs get their values back: an output may be one of them.
    outputs_data = tuple(map(tensor_data, leaves))
    written = [(tensor, before) for spec, tensor, before in zip(signature.inputs, given, inputs) if spec.written]
    written_data = tuple(tensor_data(tensor) for tensor, _ in written)
    with torch.no_grad():
        for tensor, before in written:
            tensor.copy_(before)
    return GoldenCase(name, tuple(map(tensor_data, inputs)), outputs_data, written_data)


def _eager_error(
    error: Exception, case: str, signature: Signature, inputs: Sequence[torch.Tensor], target: str
) -> AotbuildError:
    sizes = ", ".join(f"{spec.name} {list(tensor.shape)}" for spec, tensor in zip(signature.inputs, inputs))
    where = _user_line(error.__traceback__)
    symbol, _, extreme = case.rpartition("_")
    if extreme in ("min", "max"):
        what = f"with the dynamic size {symbol} at its {extreme}imum"
        remedy = (
            "Narrow the range, or let sizes that vary together share one torch.export.Dim in the dynamic_shapes of the "
            "model file."
        )
    else:
        what = f"on the inputs of the case {case!r}"
        remedy = "Give inputs in the model file that the model accepts."
    return AotbuildError(
        f"{target}: the model raises {type(error).__name__} when it runs eagerly {what}: {error}\n"
        + (f"  at {where}\n" if where else "")
        + f"  The inputs were: {sizes}.\n  {remedy}"
    )


def _buffers(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.named_buffers())


def _extremes(
    program: ExportedProgram, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Calls with each dynamic size at its least and its greatest, the other sizes as in the example."""
    leaves, spec = pytree.tree_flatten((args, kwargs))
    tensors = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    specs = dict(zip(tensors, signature.inputs))
    example: dict[str, int] = {}
    ranges: dict[str, tuple[int, int]] = {}
    for index, tensor_spec in specs.items():
        for size, dim in zip(leaves[index].shape, tensor_spec.dims):
            if dim.symbol not in (None, "?"):
                assert dim.symbol is not None
                example[dim.symbol] = (size - dim.offset) // dim.multiplier
                low = -(-(dim.min - dim.offset) // dim.multiplier)
                high = (dim.max - dim.offset) // dim.multiplier
                before = ranges.get(dim.symbol, (low, high))
                ranges[dim.symbol] = (max(low, before[0]), min(high, before[1]))
    for symbol, (low, high) in ranges.items():
        for label, value in (("min", low), ("max", high)):
            if value == example[symbol] or (high >= _UNBOUNDED and label == "max"):
                continue
            sizes = {**example, symbol: value}
            shapes = {
                index: tuple(
                    dim.min if dim.symbol in (None, "?") else dim.multiplier * sizes[dim.symbol or ""] + dim.offset
                    for dim in tensor_spec.dims
                )
                for index, tensor_spec in specs.items()
            }
            if any(int(np.prod(shape, dtype=np.int64)) > _MAX_GOLDEN_ELEMENTS for shape in shapes.values()):
                continue
            resized = list(leaves)
            for index, shape in shapes.items():
                resized[index] = _resize(leaves[index], shape)
            call_args, call_kwargs = pytree.tree_unflatten(resized, spec)
            yield f"{symbol}_{label}", call_args, call_kwargs


def _resize(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The example's values cut or repeated to another shape, so that indices stay in their range."""
    result = tensor
    for dim, size in enumerate(shape):
        have = result.shape[dim]
        if have == 0:
            return torch.zeros(shape, dtype=tensor.dtype)
        if size > have:
            result = result.repeat([-(-size // have) if d == dim else 1 for d in range(result.dim())])
        result = result.narrow(dim, 0, size)
    return result.contiguous()


def _default_tolerance(signature: Signature) -> tuple[float, float]:
    """``torch.testing.assert_close``'s defaults, loosened for float32 because sums are ordered differently."""
    table = {"float16": (1e-2, 1e-3), "bfloat16": (2e-2, 2e-2), "float32": (1e-4, 1e-5), "complex64": (1e-4, 1e-5)}
    kinds = [table[spec.dtype] for spec in signature.outputs + signature.inputs if spec.dtype in table]
    return max((kind[0] for kind in kinds), default=1e-7), max((kind[1] for kind in kinds), default=1e-7)
