"""Golden cases: the model run eagerly on its example, on further calls, and at the extremes of dynamic sizes."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
import torch
from torch.utils import _pytree as pytree

from aotbuild.capture import triton_kernels
from aotbuild.capture.frames import user_line
from aotbuild.capture.guards import Guard
from aotbuild.capture.modules import buffers_kept
from aotbuild.capture.signature import NUMBER_DTYPES, UNBOUNDED
from aotbuild.capture.sizes import Point, Size, Sizes
from aotbuild.capture.tolerances import coarser, exact_results, rounded_error, rounded_results, tolerance
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Method
from aotbuild.spec.program import GoldenCase, Signature, TensorData

# Largest number of elements of one input in a golden case, so that recording the extremes stays affordable.
_MAX_GOLDEN_ELEMENTS = 1 << 21


def tensor_data(tensor: torch.Tensor, *, copy: bool = True) -> TensorData:
    """The values of a tensor as contiguous bytes; without ``copy`` those of the tensor's own memory, where they are."""
    detached = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    # A tensor of one element is contiguous with any stride, and only a stride of 1 can be viewed as bytes.
    flat = detached.as_strided((detached.numel(),), (1,))
    raw = np.empty(0, np.uint8) if flat.numel() == 0 else flat.view(torch.uint8).numpy()
    raw = raw.copy() if copy else raw
    return TensorData(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), raw)


Call = tuple[str, tuple[Any, ...], dict[str, Any]]
Recorded = tuple[tuple[GoldenCase, ...], tuple[str, ...]]  # cases, and lines for the user
Session = tuple[tuple[str, GoldenCase], ...]  # methods with the cases of their calls


@dataclass(frozen=True)
class Eager:
    """What golden cases are recorded of.

    ``roundings``: the coarsest type on the way to each output, and to each input that the call writes to.
    ``precision``: the type of PRECISION, if the model has one.
    """

    module: Any
    signature: Signature
    roundings: Sequence[torch.dtype | None]
    target: str
    precision: torch.dtype | None = None


def example_inputs(args: Sequence[Any], kwargs: Mapping[str, Any]) -> GoldenCase:
    """The inputs of the example, of a model that is not run."""
    leaves = [leaf for leaf in pytree.tree_leaves((tuple(args), dict(kwargs))) if isinstance(leaf, torch.Tensor)]
    return GoldenCase("example", tuple(map(tensor_data, leaves)), (), (), ())


def record(eager: Eager, calls: Sequence[Call], sizes: Sizes, guards: Sequence[Guard]) -> Recorded:
    """Runs the model eagerly on the example, on the further calls, and with each dynamic size at its extremes.

    Args:
        guards: what sizes have to keep.

    Returns:
        The cases, and a line for each extreme that is not among them.
    """
    cases = []
    for call in calls:
        with buffers_kept(eager.module):
            cases.append(_run(eager, call))
    notes: list[str] = []
    cases += _extremes(eager, sizes, guards, notes)
    return tuple(cases), tuple(notes)


def record_session(eager: Mapping[str, Eager], methods: Mapping[str, Method]) -> Session:
    """Every method's example one after the other, and all once more, over the state that the calls leave behind."""
    cases = []
    with buffers_kept(next(iter(eager.values())).module):
        for number, name in enumerate([*eager, *eager]):
            method = methods[name]
            call = (f"session{number}", tuple(method.example_inputs), dict(method.example_kwargs))
            cases.append((name, _run(eager[name], call)))
    return tuple(cases)


def joined(ranks: Sequence[Recorded]) -> Recorded:
    """What ``record`` gave for each rank as cases of the first, with the others in ``GoldenCase.ranks``."""
    cases, notes = zip(*ranks)
    return tuple(dataclasses.replace(first, ranks=tuple(rest)) for first, *rest in zip(*cases, strict=True)), notes[0]


def joined_session(ranks: Sequence[Session]) -> Session:
    """The same of ``record_session``."""
    return tuple(
        (first[0], dataclasses.replace(first[1], ranks=tuple(case for _, case in rest)))
        for first, *rest in zip(*ranks, strict=True)
    )


def _run(eager: Eager, call: Call) -> GoldenCase:
    module, signature = eager.module, eager.signature
    name, args, kwargs = call
    exact = exact_results(module, args, kwargs)
    with torch.no_grad(), triton_kernels.interpreted():
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        inputs = [tensor.clone() for tensor in given]
        torch.manual_seed(0)
        try:
            outputs = module(*args, **kwargs)
        except Exception as error:
            raise _eager_error(error, name, signature, inputs, eager.target) from error
    leaves = [
        leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf, dtype=NUMBER_DTYPES[type(leaf)])
        for leaf in pytree.tree_leaves(outputs)
        if not isinstance(leaf, str | None)
    ]
    # Copies, before buffers and inputs get their values back: an output may be one of them.
    outputs_data = tuple(map(tensor_data, leaves))
    written = [(tensor, before) for spec, tensor, before in zip(signature.inputs, given, inputs) if spec.written]
    written_data = tuple(tensor_data(tensor) for tensor, _ in written)
    results = [*leaves, *(tensor for tensor, _ in written)]
    exacts = _by_place(exact, signature, len(leaves))
    errors: list[float] = []
    roundings = list(eager.roundings)
    if eager.precision is not None:
        rounded = _by_place(rounded_results(module, args, kwargs, eager.precision), signature, len(leaves))
        errors = [rounded_error(value, exacts.get(i), rounded.get(i)) for i, value in enumerate(results)]
        roundings = [coarser(eager.precision, rounding) for rounding in roundings]
    tolerances = [
        tolerance(value, rounding, exacts.get(index), errors[index] if errors else None)
        for index, (value, rounding) in enumerate(zip(results, roundings, strict=True))
    ]
    with torch.no_grad():
        for tensor, before in written:
            tensor.copy_(before)
    recorded = tuple(map(tensor_data, inputs))
    return GoldenCase(name, recorded, outputs_data, written_data, tuple(tolerances), rounded_errors=tuple(errors))


def precision_notes(precision: str, cases: Sequence[GoldenCase]) -> Iterator[str]:
    """A line on what PRECISION, if any, costs eager PyTorch on the golden inputs; no cases: nothing has run."""
    if precision and cases:
        yield _precision_note(precision, cases)
    elif precision:
        yield f"PRECISION {precision}: nothing runs with NO_TEST, so what it costs is not known; build once without it"


def _precision_note(precision: str, cases: Sequence[GoldenCase]) -> str:
    shares = [
        error / scale
        for case in cases
        for output, error in zip(case.outputs, case.rounded_errors)
        if error == error and (scale := _greatest(output))
    ]
    cost = f"errs by up to {max(shares):.1e} of an output's greatest value" if shares else "could not be run"
    return (
        f"PRECISION {precision}: eager PyTorch, cast to it by torch.autocast, {cost} on the golden inputs; tolerances "
        "of the test are those of the type, and it prints the library's own error"
    )


def _greatest(output: TensorData) -> float:
    values = output.data.view(output.dtype) if output.dtype in ("float32", "float64") else np.empty(0)
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def _by_place(
    results: tuple[list[Any], list[torch.Tensor]] | None, signature: Signature, output_count: int
) -> dict[int, Any]:
    """What a run of another kind gave, in the places of the outputs and then of what is written to."""
    outputs, inputs = results or ([], [])
    found = dict(enumerate(outputs)) if len(outputs) == output_count else {}
    written = (value for spec, value in zip(signature.inputs, inputs) if spec.written)
    return found | {output_count + index: value for index, value in enumerate(written)}


def _eager_error(
    error: Exception, case: str, signature: Signature, inputs: Sequence[torch.Tensor], target: str
) -> AotbuildError:
    sizes = ", ".join(f"{spec.name} {list(tensor.shape)}" for spec, tensor in zip(signature.inputs, inputs))
    where = user_line(error.__traceback__)
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


def _extremes(eager: Eager, sizes: Sizes, guards: Sequence[Guard], notes: list[str]) -> Iterator[GoldenCase]:
    """A case with each dynamic size at its least and at its greatest, the other sizes as in the example.

    Where the model's own guards refuse such sizes, the nearest ones that they let through stand for them.
    """
    for size in sizes.sizes:
        low, high = sizes.range(size.symbol)
        for label, extreme, step in (("min", low, 1), ("max", high, -1)):
            if extreme == size.example or extreme >= UNBOUNDED:
                continue
            point = _nearest(sizes, guards, size, extreme, step)
            if point is None or point[size.symbol] != extreme:
                broken = [guard for guard in guards if not guard.holds({**sizes.example(), size.symbol: extreme})]
                instead = "" if point is None else f"; {point[size.symbol]} is tested instead"
                notes.append(
                    f"{size.place} is not tested at its {label}imum {extreme}: the model needs "
                    f"{broken[0].text(sizes.sizes)}{instead}"
                )
            if point is None or point[size.symbol] == size.example or sizes.elements(point) > _MAX_GOLDEN_ELEMENTS:
                continue
            case = _run_extreme(eager, sizes, point, size, f"{size.name}_{label}", notes)
            if case is not None:
                yield case


def _nearest(
    sizes: Sizes, guards: Sequence[Guard], size: Size, extreme: int, step: int
) -> dict[sympy.Symbol, int] | None:
    """The example's sizes with one of them as near to its extreme as the guards let it be."""
    for value in range(extreme, size.example, step):
        point = {**sizes.example(), size.symbol: value}
        if all(guard.holds(point) for guard in guards):
            return point
    return None


def _run_extreme(
    eager: Eager, sizes: Sizes, point: Point, size: Size, name: str, notes: list[str]
) -> GoldenCase | None:
    """A case at these sizes. The model may refuse one size alone that fits together with others.

    None where sizes come from the values of inputs too: those of the example are none that fit.
    """
    first: AotbuildError | None = None
    extreme = point[size.symbol]
    together = {**point, **{other.symbol: extreme for other in sizes.sizes if other.example == size.example}}
    everywhere = {
        other.symbol: min(max(extreme, sizes.range(other.symbol)[0]), sizes.range(other.symbol)[1])
        for other in sizes.sizes
    }
    for tried in (point, together, everywhere):
        for zero_integers in (False, True):
            args, kwargs = sizes.call(tried, zero_integers=zero_integers)
            try:
                with buffers_kept(eager.module), contextlib.redirect_stderr(io.StringIO()):  # the next one may do
                    case = _run(eager, (name, args, kwargs))
            except AotbuildError as error:
                first = first or error
                continue
            if tried is not point:
                others = [f"{other.label} = {tried[other.symbol]}" for other in sizes.sizes if other is not size]
                notes.append(f"{size.place} is tested at {extreme} together with {', '.join(others)}")
            return case
    assert first is not None
    if not sizes.of_values():
        raise first
    notes.append(
        f"{size.place} is not tested at {extreme}: other sizes come from the values of inputs, and eager PyTorch takes "
        f"none of the example's there: {str(first.__cause__).splitlines()[0]}"
    )
    return None
