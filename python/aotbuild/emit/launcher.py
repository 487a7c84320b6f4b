"""Rendering of a hand-written kernel: typed header, C functions, the kernel for each architecture, manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from aotbuild.emit.names import TargetNames
from aotbuild.emit.render import ENVIRONMENT, WIDTH
from aotbuild.spec.ascii_names import ascii_identifier
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.files import Files
from aotbuild.spec.identifiers import cpp_identifier, include_guard, unique_names
from aotbuild.spec.launcher import CompiledLauncher, LauncherVariant, Parameter
from aotbuild.spec.program import EmitOptions

# C types of Triton's types; C has none for elements of half precision.
_C_TYPES = {
    "i1": "bool",
    "fp32": "float",
    "fp64": "double",
    **{f"i{bits}": f"int{bits}_t" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}_t" for bits in (8, 16, 32, 64)},
}
_ELEMENTS = {"fp16": "aotbuild::float16", "bf16": "aotbuild::bfloat16", "fp8e4nv": "uint8_t", "fp8e5": "uint8_t"}


# Macros of C's complex.h, and what the functions that parameters are given to have beside them.
_TAKEN = ("I", "complex", "imaginary", "Arguments", "kernel", "stream", "arguments", "scratch", "blocks")


def render(kernel: CompiledLauncher, options: EmitOptions) -> dict[str, bytes]:
    """The generated files of a kernel by their paths relative to the output folder.

    Raises:
        AotbuildError: for names that C++ does not allow.
    """
    names = TargetNames.of(options)
    if names.class_name == "Arguments":
        raise AotbuildError(
            f"target {options.target!r}: CLASS_NAME 'Arguments' is the name of a structure inside the class; choose "
            "another"
        )
    fields = _fields(kernel.parameters)
    context: dict[str, Any] = {
        "target": options.target,
        "names": names,
        "function": kernel.function,
        "parameters": kernel.parameters,
        "fields": fields,
        "grid": kernel.grid,
        "variants": kernel.variants,
        "c_parameters": [
            "const aotbuild_kernel* kernel",
            "void* stream",
            *(f"{_c_type(parameter)} {fields[parameter.name]}" for parameter in kernel.parameters),
        ],
        "values": ["kernel_.get()", "stream.handle()", *(_value(p, fields[p.name]) for p in kernel.parameters)],
        "addresses": [*(f"&{fields[p.name]}" for p in kernel.parameters), "&scratch", "&scratch"],
    }
    target = options.target
    paths = Files(target)
    files = {
        paths.header(names.header): _render("kernel.hpp.j2", context),
        paths.c_header: _render("kernel.h.j2", context),
        paths.library: _render("kernel.cpp.j2", context),
    }
    for variant in kernel.variants:
        files[paths.images("", variant.isa)] = variant.images
        files[paths.images_source("", variant.isa)] = _render("images.cpp.j2", {**context, "variant": variant})
        files[paths.launcher(variant.isa)] = _render(
            "kernel_variant.cpp.j2", {**context, **_grid(kernel, variant), "variant": variant}
        )
    content = {"kernels_version": 2, "target": target, "kernels": kernel.kernels, "epilogues": []}
    files[paths.kernels] = (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
    files[paths.manifest] = _manifest(kernel, options, names, files).encode()
    return dict(sorted(files.items()))


def _fields(parameters: Sequence[Parameter]) -> dict[str, str]:
    """Names of the parameters in C++ and C, which have other keywords than Python, and what uses some names itself."""
    names = [parameter.name for parameter in parameters]
    return dict(zip(names, unique_names(names, _TAKEN), strict=True))


def _c_type(parameter: Parameter) -> str:
    if not parameter.is_pointer:
        return _C_TYPES[parameter.kind]
    return f"{'' if parameter.written else 'const '}{_C_TYPES.get(parameter.kind[1:], 'void')}*"


def _field_type(parameter: Parameter) -> str:
    kind = parameter.kind.lstrip("*")
    element = _ELEMENTS.get(kind) or _C_TYPES[kind]
    element = f"std::{element}" if element.endswith("_t") else element
    if not parameter.is_pointer:
        return element
    return f"aotbuild::DevicePointer<{'' if parameter.written else 'const '}{element}>"


def _value(parameter: Parameter, field: str) -> str:
    return f"arguments.{field}{'.data()' if parameter.is_pointer else ''}"


def _grid(kernel: CompiledLauncher, variant: LauncherVariant) -> dict[str, Any]:
    """What the grid's function is written of: the arguments and constants that it reads, and the sizes."""
    used = {name for size in kernel.grid for name in size.names}
    fields = _fields(kernel.parameters)
    reads = [
        (fields[parameter.name], f"argument_value<{_field_type(parameter)}>(arguments[{index}])")
        for index, parameter in enumerate(kernel.parameters)
        if parameter.name in used
    ]
    constants = sorted(used - set(fields))
    variables = {**fields, **{name: cpp_identifier(name, [*_TAKEN, *fields.values()]) for name in constants}}
    return {
        "reads": reads,
        "settings": [(variables[name], int(variant.constants[name])) for name in constants],
        "blocks": [size.cpp(variables) for size in kernel.grid],
    }


def _manifest(kernel: CompiledLauncher, options: EmitOptions, names: TargetNames, files: Iterable[str]) -> str:
    target = options.target
    manifest = {
        "manifest_version": 1,
        "target": target,
        "kernel": kernel.function,
        "namespace": names.namespace,
        "class_name": names.class_name,
        "header": names.header,
        "symbol_prefix": names.prefix,
        "parameters": [
            {"name": p.name, "type": p.kind, "alignment": p.alignment, "written": p.written} for p in kernel.parameters
        ],
        "grid": [size.text for size in kernel.grid],
        "cuda_architectures": [variant.isa for variant in kernel.variants],
        "metadata": kernel.metadata,
        "files": sorted([*files, Files(target).manifest]),
    }
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


def _wrap_call(items: Iterable[str], prefix: str, suffix: str, indent: int = 0) -> str:
    """A call or declaration with its arguments on as many lines as they need, below one another."""
    start = " " * indent + prefix
    lines = [start]
    entries = list(items)
    for index, entry in enumerate(entries):
        text = entry + (suffix if index + 1 == len(entries) else ",")
        if len(lines[-1]) > len(start) and len(lines[-1]) + 1 + len(text) > WIDTH:
            lines.append(" " * len(start))
        lines[-1] += text if lines[-1] == start or not lines[-1].strip() else f" {text}"
    return "\n".join(lines)


_ENVIRONMENT = ENVIRONMENT.overlay()
_ENVIRONMENT.filters = {
    **ENVIRONMENT.filters,
    "c_type": _c_type,
    "field_type": _field_type,
    "identifier": ascii_identifier,
    "guard": include_guard,
    "wrap_call": _wrap_call,
}


def _render(template: str, context: dict[str, Any]) -> bytes:
    return _ENVIRONMENT.get_template(template).render(context).encode()
