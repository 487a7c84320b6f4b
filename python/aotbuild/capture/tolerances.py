"""Tolerances of golden values: from the types that each went through, and from eager PyTorch's own rounding error."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from aotbuild.capture import triton_kernels
from aotbuild.capture.writes import written_by, written_inputs
from aotbuild.spec.program import Tolerance

# The most elements of parameters, buffers and inputs for which a call is run in float64, too.
_MAX_EXACT_ELEMENTS = 1 << 27
# A measured tolerance that is more of the greatest value than this says nothing: random numbers, or a choice by rank.
_MAX_OF_SCALE = 0.25


@dataclass(frozen=True)
class _Rule:
    """For values that went through a type, in parts of the value (``rtol``) and of the output's greatest one.

    ``rtol``, ``of_scale``: where float64 cannot be run. Where it is: ``floor`` machine epsilons of both, four times as
    many for outputs of few elements, whose error may be small by luck; and ``factor`` times eager's greatest error.
    """

    rtol: float
    of_scale: float
    floor: float
    factor: float


# Eager PyTorch rounds half types after each operator and generated code after each kernel, which is less often.
_RULES = {
    torch.bfloat16: _Rule(2e-2, 2e-2, 2, 3),
    torch.float16: _Rule(1e-2, 2e-3, 2, 3),
    torch.float32: _Rule(1e-4, 1e-5, 16, 8),
    torch.float64: _Rule(1e-7, 1e-7, 0, 0),
}
_FEW = 64
# Of types of 8 bits: a number beside the one that eager rounded to.
_STEPS = {
    torch.float8_e4m3fn: Tolerance(2.0**-3, 2.0**-9),
    torch.float8_e5m2: Tolerance(2.0**-2, 2.0**-16),
}


def _real(dtype: torch.dtype) -> torch.dtype | None:
    """The type by which values are rounded; None for integers. Those of 8 bits are storage alone."""
    if dtype.is_complex:
        return dtype.to_real()
    return (dtype if dtype in _RULES else torch.float16) if dtype.is_floating_point else None


def coarser(*dtypes: torch.dtype | None) -> torch.dtype | None:
    known = [dtype for dtype in dtypes if dtype is not None]
    return max(known, key=lambda dtype: torch.finfo(dtype).eps, default=None)


def roundings(program: ExportedProgram, state: AbstractSet[str] = frozenset()) -> tuple[torch.dtype | None, ...]:
    """The coarsest type that an operator rounded to on the way to each output, and to each input that is written to.

    Inputs and weights are exact, whatever type they have; ``state`` names buffers that an earlier call rounded.
    """
    signature = program.graph_signature
    rounded = {
        spec.arg.name
        for spec in signature.input_specs
        if spec.kind is InputKind.BUFFER and spec.target in state and not isinstance(spec.arg, ConstantArgument)
    }
    found = _of_nodes(program.graph_module, rounded)
    values: Any = program.graph.output_node().args[0]
    results = {
        str(spec.target): value
        for spec, value in zip(signature.output_specs, values, strict=True)
        if spec.kind is OutputKind.USER_INPUT_MUTATION
    }
    outputs = [
        found.get(value) if isinstance(value, Node) else None
        for spec, value in zip(signature.output_specs, values, strict=True)
        if spec.kind is OutputKind.USER_OUTPUT and not _is_left_out(spec.arg)
    ]
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    changed = written_inputs(program)
    names = [str(name) for name in signature.user_inputs if name in changed]
    return (*outputs, *(found[results.get(name, placeholders[name])] for name in names))


def _is_left_out(argument: Any) -> bool:
    return isinstance(argument, ConstantArgument) and isinstance(argument.value, str | None)


def _of_nodes(module: GraphModule, rounded: AbstractSet[str] = frozenset()) -> dict[Node, torch.dtype | None]:
    found: dict[Node, torch.dtype | None] = {}
    for node in module.graph.nodes:
        own = None
        if node.op == "call_function" or node.name in rounded:
            values = pytree.tree_leaves(node.meta.get("val"))
            own = coarser(*(_real(value.dtype) for value in values if isinstance(value, torch.Tensor)))
        elif node.op == "get_attr" and isinstance(branch := getattr(module, str(node.target), None), GraphModule):
            own = coarser(*_of_nodes(branch).values())
        found[node] = coarser(own, *(found[operand] for operand in node.all_input_nodes))
        for changed in written_by(node):
            found[changed] = coarser(found[changed], found[node])
    return found


def exact_results(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], list[torch.Tensor]] | None:
    """What a call gives and leaves in its inputs with every number in float64; None where that cannot be run."""
    given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    held = [*module.parameters(), *module.buffers()]
    if sum(tensor.numel() for tensor in (*given, *held)) > _MAX_EXACT_ELEMENTS:
        return None
    return _results_of_twin(module, pytree.tree_map(_as_exact, (args, kwargs)), lambda twin: twin.double())


def rounded_results(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype
) -> tuple[list[Any], list[torch.Tensor]] | None:
    """The same as eager PyTorch gives it, cast to a 16-bit type where ``torch.autocast`` casts."""
    with torch.autocast("cpu", dtype):
        return _results_of_twin(module, pytree.tree_map(_copied, (args, kwargs)), lambda twin: twin)


def _results_of_twin(
    module: Any, call: tuple[tuple[Any, ...], dict[str, Any]], convert: Callable[[Any], Any]
) -> tuple[list[Any], list[torch.Tensor]] | None:
    inputs, options = call
    try:
        twin = convert(copy.deepcopy(module))
        with torch.no_grad(), triton_kernels.interpreted(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            outputs = twin(*inputs, **options)
    except Exception:  # whatever a model does that the type does not allow
        return None
    leaves = [leaf for leaf in pytree.tree_leaves(outputs) if not isinstance(leaf, str | None)]
    return leaves, [leaf for leaf in pytree.tree_leaves((inputs, options)) if isinstance(leaf, torch.Tensor)]


def _as_exact(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    if leaf.is_complex():
        return leaf.detach().to(torch.complex128, copy=True)
    return leaf.detach().to(torch.float64, copy=True) if leaf.is_floating_point() else leaf.detach().clone()


def _copied(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf


def rounded_error(value: torch.Tensor, exact: Any, rounded: Any) -> float:
    """The greatest error of ``rounded``; NaN where there is none."""
    if not isinstance(rounded, torch.Tensor) or _real(value.dtype) is None:
        return math.nan
    wide = torch.complex128 if value.is_complex() else torch.float64
    reference = exact if isinstance(exact, torch.Tensor) and exact.dtype == wide else value.detach().to(wide)
    error = _error(rounded.detach().to(wide), reference)
    return math.nan if error is None else error


def tolerance(value: torch.Tensor, rounding: torch.dtype | None, exact: Any, rounded: float | None = None) -> Tolerance:
    """How far a compiled model's result may be from ``value``, which eager PyTorch gave.

    Args:
        rounding: the coarsest type on the way to it.
        exact: the same in float64, where it could be had.
        rounded: the greatest error of eager PyTorch in ``rounding``, where the compiled model alone is rounded to it.
    """
    if value.dtype in _STEPS:
        return _STEPS[value.dtype]
    dtype = coarser(_real(value.dtype), rounding if _real(value.dtype) is not None else None)
    if dtype is None:
        return Tolerance(0.0, 0.0)  # integers are equal or wrong
    rule = _RULES[dtype]
    wide = value.detach().to(torch.complex128 if value.is_complex() else torch.float64)
    magnitudes = wide[torch.isfinite(wide)].abs()
    scale = magnitudes.max().item() if magnitudes.numel() else 0.0
    error = _error(wide, exact) if rule.factor else None
    if rounded is not None:
        error = None if math.isnan(rounded) else rounded
    if error is None or rule.factor * error > _MAX_OF_SCALE * scale:
        return Tolerance(rule.rtol, rule.of_scale * scale)
    floor = rule.floor * torch.finfo(dtype).eps * (4 if value.numel() < _FEW else 1)
    return Tolerance(floor, max(floor * scale, rule.factor * error))


def _error(value: torch.Tensor, exact: Any) -> float | None:
    """The greatest difference; None if ``exact`` is no result in float64, or is finite elsewhere."""
    if not isinstance(exact, torch.Tensor) or exact.dtype != value.dtype or exact.shape != value.shape:
        return None
    finite = torch.isfinite(value)
    if not torch.equal(finite, torch.isfinite(exact)):
        return None
    differences = (value - exact)[finite].abs()
    return differences.max().item() if differences.numel() else 0.0
