"""One model, or its methods, captured: exported once, described, with its golden cases."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from aotbuild.capture.aliases import refuse_shared_writes, refuse_stray_state
from aotbuild.capture.call import NodeClass
from aotbuild.capture.export import declared_minimums, declared_sizes, export_program, resolved_shapes
from aotbuild.capture.frames import project_files
from aotbuild.capture.golden import (
    Eager,
    example_inputs,
    joined,
    joined_session,
    precision_notes,
    record,
    record_session,
)
from aotbuild.capture.load import Source
from aotbuild.capture.modules import as_module, method_module
from aotbuild.capture.other_exports import export_notes
from aotbuild.capture.ranks import Lockstep
from aotbuild.capture.signature import describe
from aotbuild.capture.sizes import Sizes
from aotbuild.capture.small_sizes import settle
from aotbuild.capture.tolerances import roundings
from aotbuild.capture.writes import written_buffers
from aotbuild.spec.dynamic import DynamicDim
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model
from aotbuild.spec.program import GoldenCase, Signature


@dataclass
class Captured:
    """The result of the one export."""

    program: ExportedProgram
    signature: Signature
    golden: tuple[GoldenCase, ...]
    rtol: float | None  # given by the model file, in the place of those of the golden cases
    atol: float | None
    files: tuple[Path, ...]
    state: frozenset[str] = frozenset()  # the buffers that some method of the model writes to
    classes: tuple[NodeClass, ...] = ()  # of the containers of the signature's call
    notes: tuple[str, ...] = ()  # what the user should know of the export and of the golden cases


def capture(
    source: Source,
    dynamic: Sequence[DynamicDim] = (),
    target: str = "model",
    *,
    runs: bool = True,
    precision: str = "",
    others: Sequence[ExportedProgram] = (),
) -> Captured:
    """Exports the model once and records golden cases by running it eagerly.

    Args:
        others: of a model for several GPUs, the programs of the ranks after the one of ``source``, the first.
        runs: False leaves the model unrun. The only golden case has the example's inputs and no outputs.
        precision: of PRECISION, which golden cases are compared in.

    Raises:
        AotbuildError: the model does not export (with the user's source line), or an input is of a kind that a
            compiled model cannot take.
    """
    if source.program is not None:
        program = source.program
        _refuse_incomplete(program, dynamic, target)
        args, kwargs = program.example_inputs
        calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [("example", tuple(args), dict(kwargs))]
        module: Any = program.module(check_guards=False)
        rtol = atol = None
        names: dict[Any, str] = {}
        minimums: dict[Any, int] = {}
    else:
        model = source.model
        assert model is not None
        if model.methods:
            has = " ".join(model.methods)
            raise AotbuildError(f"{target}: the model file has methods; say which are built: METHODS {has}")
        module = as_module(model)
        args, kwargs = tuple(model.example_inputs), dict(model.example_kwargs)
        program = export_program(dataclasses.replace(model, module=module), dynamic, target)
        shapes = resolved_shapes(module, args, kwargs, model.dynamic_shapes, dynamic)
        declared = list(declared_sizes(program, module, shapes, (args, kwargs)))
        names = {symbol: str(dim.__name__) for symbol, dim in declared if hasattr(dim, "__name__")}
        minimums = declared_minimums(declared)
        calls = [("example", args, kwargs)]
        calls += [(f"golden{i}", tuple(a), dict(k)) for i, (a, k) in enumerate(model.golden_inputs)]
        rtol, atol = model.rtol, model.atol
    refuse_stray_state(program, module, target)
    plain, classes = describe(program, module.forward, names)
    sizes = Sizes(program, plain, minimums, args, kwargs)
    held = settle(module, sizes, target, is_program=source.program is not None)
    conditions = tuple(guard.condition(sizes.sizes) for guard in held.guards)
    signature = dataclasses.replace(describe(program, module.forward, names)[0], conditions=conditions)
    refuse_shared_writes(signature, args, kwargs, target)
    rounded, dtype = roundings(program), _dtype(precision)
    recorded = [
        record(Eager(eager, signature, rounded, target, dtype), calls, sizes, held.guards)
        for eager in (_of_ranks(module, [program, *others]) if runs else ())
    ]
    golden, notes = joined(recorded) if runs else ((example_inputs(args, kwargs),), ())
    return Captured(
        program,
        signature,
        golden,
        rtol,
        atol,
        tuple(sorted({*source.files, *project_files(set(sys.modules) - source.modules_before)})),
        classes=classes,
        notes=(*export_notes(program), *notes, *precision_notes(precision, golden if runs else ())),
    )


def _refuse_incomplete(program: ExportedProgram, dynamic: Sequence[DynamicDim], target: str) -> None:
    if dynamic:
        raise AotbuildError("DYNAMIC_SHAPES: a .pt2 program already says which sizes vary; export it with them")
    if program.example_inputs is None:
        raise AotbuildError(
            f"{target}: the exported program has no example inputs; save it as torch.export.export returned it, or "
            "pass them to aotbuild.compile"
        )


def _of_ranks(module: Any, programs: Sequence[ExportedProgram]) -> list[Any]:
    """What gives eager's values of each rank; of a model for one GPU the module itself."""
    if len(programs) == 1:
        return [module]
    modules = [program.module(check_guards=False) for program in programs]
    return [Lockstep(modules, rank) for rank in range(len(modules))]


def _dtype(precision: str) -> torch.dtype | None:
    return getattr(torch, precision) if precision else None


def capture_methods(
    source: Source,
    names: Sequence[str],
    dynamic: Sequence[DynamicDim],
    target: str,
    *,
    runs: bool = True,
    precision: str = "",
    others: Sequence[Mapping[str, ExportedProgram]] = (),
) -> tuple[dict[str, Captured], tuple[tuple[str, GoldenCase], ...]]:
    """Exports each of the methods ``names`` once; see ``capture``.

    Returns:
        The methods, and the golden cases of calls in one session: every method's example, and all once more.

    Raises:
        AotbuildError: as ``capture``; and when METHODS and the model file disagree.
    """
    model = _model_with_methods(source, names)
    dims = _dims_of_methods(names, dynamic)
    captured = {}
    modules = {}
    for name in names:
        example = model.methods[name]
        modules[name] = method_module(model.module, name)
        alone = Model(
            modules[name],
            example.example_inputs,
            example.example_kwargs,
            example.dynamic_shapes,
            model.rtol,
            model.atol,
            example.golden_inputs,
        )
        captured[name] = capture(
            dataclasses.replace(source, model=alone),
            dims[name],
            f"{target}.{name}",
            runs=runs,
            precision=precision,
            others=[programs[name] for programs in others],
        )
    state = frozenset(name for method in captured.values() for name in written_buffers(method.program))
    captured = {name: dataclasses.replace(method, state=state) for name, method in captured.items()}
    if not state or not runs:
        return captured, ()
    dtype = _dtype(precision)
    of_ranks = {
        name: _of_ranks(modules[name], [method.program, *(programs[name] for programs in others)])
        for name, method in captured.items()
    }
    sessions = []
    for rank in range(1 + len(others)):
        eager = {
            name: Eager(
                of_ranks[name][rank], method.signature, roundings(method.program, state), f"{target}.{name}", dtype
            )
            for name, method in captured.items()
        }
        sessions.append(record_session(eager, model.methods))
    return captured, joined_session(sessions)


def _dims_of_methods(names: Sequence[str], dynamic: Sequence[DynamicDim]) -> dict[str, list[DynamicDim]]:
    dims: dict[str, list[DynamicDim]] = {name: [] for name in names}
    for entry in dynamic:
        method, _, name = entry.input.partition(".")
        if not name or method not in dims:
            raise AotbuildError(
                f"DYNAMIC_SHAPES {entry.input}:{entry.dim}: with METHODS write method.input:dim=min..max; the methods "
                f"are {', '.join(names)}"
            )
        dims[method].append(DynamicDim(name, entry.dim, entry.min, entry.max))
    return dims


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
        if not isinstance(model.module, torch.nn.Module) or not callable(getattr(model.module, name, None)):
            raise AotbuildError(f"METHODS {name}: the module, a {type(model.module).__name__}, has no such method")
    return model
