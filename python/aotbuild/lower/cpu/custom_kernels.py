"""Registered kernels in a lowering: operators become calls of the user's functions, checked against their schemas."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch._inductor import lowering as inductor_lowering

from aotbuild.capture import custom_kernels
from aotbuild.capture.custom_kernels import CustomKernel
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.upstream import patched_entries

Operator = torch._ops.OpOverload


def registered_operators() -> dict[Operator, CustomKernel]:
    """Every operator that has a registered kernel.

    Raises:
        AotbuildError: torch does not have the operator, or its schema asks for another function.
    """
    found = {}
    for name, kernel in custom_kernels.registered().items():
        operator = _operator(name, kernel)
        _check_declaration(operator, kernel)
        found[operator] = kernel
    return found


def _operator(name: str, kernel: CustomKernel) -> Operator:
    namespace, _, rest = name.partition("::")
    base, _, overload = rest.partition(".")
    packet = getattr(getattr(torch.ops, namespace), base, None)
    if packet is None:
        raise AotbuildError(f"register_kernel {name}: torch has no such operator\n  at {kernel.place}")
    if (overload or "default") not in packet.overloads():
        names = ", ".join(f"{namespace}::{base}.{known}" for known in packet.overloads())
        raise AotbuildError(f"register_kernel {name}: name one of its overloads: {names}\n  at {kernel.place}")
    operator: Operator = getattr(packet, overload or "default")
    return operator


# Types of a schema as C types, which are those of AOTInductor's shim.
_C_TYPES: tuple[tuple[Any, str], ...] = (
    (torch.TensorType, "AtenTensorHandle"),
    (torch.BoolType, "int32_t"),
    (torch.IntType, "int64_t"),
    (torch.SymIntType, "int64_t"),
    (torch.FloatType, "double"),
    (torch.NumberType, "double"),
    (torch.StringType, "const char*"),
)


def _element_type(kind: Any) -> str | None:
    if str(kind) in ("ScalarType", "Layout", "MemoryFormat"):
        return "int32_t"
    return next((text for known, text in _C_TYPES if isinstance(kind, known)), None)


def _parameter_types(kind: Any) -> list[str] | None:
    """The C types of the parameters that stand for one argument; None where C has none."""
    if isinstance(kind, torch.OptionalType):
        inner = _parameter_types(kind.getElementType())
        return None if inner is None else [f"{inner[0]}*", *inner[1:]]
    if isinstance(kind, torch.ListType):
        element = _element_type(kind.getElementType())
        return None if element is None else [f"const {element.removeprefix('const ')}*", "int64_t"]
    element = _element_type(kind)
    return None if element is None else [element]


def expected_parameters(operator: Operator) -> list[tuple[str, str]] | None:
    """The parameters of a kernel for the operator: arguments, then a place for each result. None: C cannot have it."""
    parameters = []
    for argument in operator._schema.arguments:
        types = _parameter_types(argument.real_type)
        if types is None:
            return None
        parameters.append((types[0], argument.name))
        parameters += [(kind, f"{argument.name}_size") for kind in types[1:]]
    # What is returned of an argument that the operator writes to is no result.
    returns = [value for value in operator._schema.returns if value.alias_info is None or not value.alias_info.is_write]
    for index, value in enumerate(returns):
        if not isinstance(value.real_type, torch.TensorType) or value.alias_info is not None:
            return None
        name = value.name or ("result" if len(returns) == 1 else f"result{index}")
        parameters.append(("AtenTensorHandle*", name))
    return parameters


def _check_declaration(operator: Operator, kernel: CustomKernel) -> None:
    expected = expected_parameters(operator)
    if expected is None:
        raise AotbuildError(
            f"register_kernel {kernel.operator}: the schema {operator._schema} has arguments or results that a C "
            "function cannot take; kernels take tensors, numbers, strings, their lists and optional ones, and return "
            f"tensors\n  at {kernel.place}"
        )
    declared = kernel.declaration.partition("(")[2].rpartition(")")[0]
    types = (
        [_normalized(parameter) for parameter in declared.split(",")] if declared.strip() not in ("", "void") else []
    )
    if types != [kind for kind, _ in expected]:
        wanted = ", ".join(f"{kind} {name}" for kind, name in expected)
        raise AotbuildError(
            f"register_kernel {kernel.operator}: the declaration\n    {kernel.declaration}\n"
            f"  does not fit the operator's schema\n    {operator._schema}\n"
            f"  which asks for\n    AOTITorchError {kernel.function}({wanted})\n  at {kernel.place}"
        )


def _normalized(parameter: str) -> str:
    """The type of a parameter as ``expected_parameters`` writes it: "const std::int64_t *x" is "const int64_t*"."""
    match = re.fullmatch(r"\s*(const )?\s*(?:std::)?(\w+)((?:\s*\*)*)\s*(\w*)\s*", parameter)
    if match is None:
        return parameter.strip()
    const, name, stars, _ = match.groups()
    return f"{const or ''}{name}{''.join(stars.split())}"


@contextlib.contextmanager
def as_library_calls(operators: Iterable[Operator]) -> Iterator[None]:
    """No code is generated for these operators: they stay calls, whatever TorchInductor would make of them."""
    handlers = {
        operator: inductor_lowering.fallback_handler(operator, add_to_fallback_set=False) for operator in operators
    }
    with patched_entries(inductor_lowering, "lowerings", handlers):
        yield
