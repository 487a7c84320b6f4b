"""The user's own kernels: which C function of which sources computes an operator in a compiled model."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.identifiers import symbol

_CPP_SUFFIXES = (".cpp", ".cc", ".cxx", ".c++")
C_SUFFIX = ".c"


@dataclass(frozen=True)
class CustomKernel:
    """One registration.

    ``operator``: "namespace::name" or "namespace::name.overload". ``declaration``: the function's, without "extern"
    and semicolon. ``place``: the file and line of the registration.
    """

    operator: str
    function: str
    declaration: str
    sources: tuple[Path, ...]
    place: str

    def linked_name(self, target: str) -> str:
        """The function's name in a model's library: each has a copy of its own, so that programs may hold several."""
        return f"aotbuild_{symbol(target)}_kernel_{self.function}" if self.sources else self.function

    def linked_declaration(self, target: str) -> str:
        return re.sub(rf"\b{self.function}\b", self.linked_name(target), self.declaration, count=1)


_registered: dict[str, CustomKernel] = {}


def register_kernel(op: Any, c_declaration: str, sources: Sequence[str | os.PathLike[str]]) -> None:
    """Has models call a C function for an operator, which replaces whatever the runtime or TorchInductor has for it.

    Call it in the model file or in a module that the file imports. The sources are compiled into the target of each
    model that calls the operator. See docs/custom-kernels.md for the arguments of the function.

    Args:
        op: an operator of ``torch.ops``, what ``torch.library.custom_op`` made, or a name such as "mylib::snake".
        c_declaration: the function, as in
            ``"AOTITorchError mylib_snake(AtenTensorHandle x, double alpha, AtenTensorHandle* result)"``.
        sources: C++ or C files, relative to the file that calls this. Empty: a library that the project links to the
            target has the function.

    Raises:
        AotbuildError: the declaration or a source cannot be used, or the operator has another kernel already.
    """
    name = _operator_name(op)
    caller = inspect.stack()[1]
    folder = Path(caller.filename).parent
    declaration = " ".join(c_declaration.replace('extern "C"', "").split()).removesuffix(";").strip()
    match = re.fullmatch(r"(?:extern )?(AOTITorchError \**([A-Za-z_]\w*) ?\(.*\))", declaration)
    if match is None:
        raise AotbuildError(
            f"register_kernel {name}: {c_declaration!r} does not declare a function that returns AOTITorchError; "
            "write 'AOTITorchError my_function(AtenTensorHandle x, AtenTensorHandle* result)'"
        )
    paths = tuple(Path(os.path.abspath(folder / source)) for source in sources)
    for source, path in zip(sources, paths):
        if path.suffix not in (*_CPP_SUFFIXES, C_SUFFIX):
            known = ", ".join((*_CPP_SUFFIXES, C_SUFFIX))
            raise AotbuildError(f"register_kernel {name}: {source} is no source of C++ or C, which end in {known}")
        if not path.is_file():
            raise AotbuildError(f"register_kernel {name}: there is no file {source} (looked for {path})")
    kernel = CustomKernel(name, match[2], match[1], paths, f"{caller.filename}:{caller.lineno}")
    before = _registered.get(name, kernel)
    if (before.declaration, before.sources) != (kernel.declaration, kernel.sources):
        raise AotbuildError(
            f"register_kernel {name}: the operator has another kernel already, registered at {before.place}"
        )
    _registered[name] = kernel


def _operator_name(op: Any) -> str:
    """ "namespace::name.overload", without the overload where it is the default one."""
    op = getattr(op, "_opoverload", op)  # of what torch.library.custom_op made
    schema = getattr(op, "_schema", None)
    if schema is not None:
        return str(schema.name) + (f".{schema.overload_name}" if schema.overload_name else "")
    text = op if isinstance(op, str) else getattr(op, "_qualified_op_name", None)
    if isinstance(text, str) and re.fullmatch(r"\w+::\w+(\.\w+)?", text):
        return text.removesuffix(".default")
    raise AotbuildError(f"register_kernel {op!r}: name an operator, as in torch.ops.mylib.snake or 'mylib::snake'")


def registered() -> Mapping[str, CustomKernel]:
    """All registrations of this process, by operator."""
    return _registered


def settings(source_dir: Path) -> list[list[Any]]:
    """The registrations as plain values: what a model's result depends on."""
    return [
        [kernel.operator, kernel.declaration, [os.path.relpath(path, source_dir) for path in kernel.sources]]
        for kernel in _registered.values()
    ]


def source_files(functions: Sequence[str], source_dir: Path, count: int, c_enabled: bool, target: str) -> list[str]:
    """Contents of the generated files that include the sources of ``functions``: ``count`` of C++, and one of C.

    ``functions``: linked names. CMake knows the names of generated files before the model is loaded, hence their fixed
    number. Sources are named relative to ``source_dir``, so that no path of the machine gets into them.
    """
    from aotbuild.capture import is_project_file

    paths: dict[Path, CustomKernel] = {}
    names: list[str] = []
    for kernel in _registered.values():
        if kernel.sources and kernel.linked_name(target) in functions:
            paths |= dict.fromkeys(kernel.sources, kernel)
            names.append(f"#define {kernel.function} {kernel.linked_name(target)}\n")
    buckets: list[list[str]] = [[] for _ in range(count + 1)]
    for path, kernel in paths.items():
        if not is_project_file(str(path)):
            raise AotbuildError(
                f"{target}: the source {path} of the kernel for {kernel.operator} is part of an installed package; "
                "build it as a library, register the kernel with no sources, and link the library to the target"
            )
        is_c = path.suffix == C_SUFFIX
        if is_c and not c_enabled:
            raise AotbuildError(
                f"{target}: the kernel for {kernel.operator} has the C source {path.name}, and the project has no C "
                "compiler; add C to the languages of project()"
            )
        bucket = buckets[count] if is_c else min(buckets[:count], key=len)
        bucket.append(f'#include "{Path(os.path.relpath(path, source_dir)).as_posix()}"\n')
    return ["".join([*names, *bucket]) if bucket else _EMPTY for bucket in buckets]


# C does not allow a file without a declaration.
_EMPTY = "// The model has fewer sources of registered kernels.\ntypedef int aotbuild_no_kernel;\n"
