"""From Python without writing CMake: a module or function becomes a library, through the same CMake functions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotbuild.errors import AotbuildError
from aotbuild.paths import cmake_directory

if TYPE_CHECKING:
    import torch

    from aotbuild.capture import DynamicDim
    from aotbuild.model import Model
    from aotbuild.runner import Runner

_PROJECT = """\
cmake_minimum_required(VERSION 3.24)
project(aotbuild_compile LANGUAGES CXX)
find_package(aotbuild REQUIRED CONFIG PATHS "{cmake_dir}" NO_DEFAULT_PATH)
add_aot_model({name} SHARED MODEL model.pt2 NO_TEST{extra})
"""


@dataclass(frozen=True)
class Compiled:
    """What ``compile`` returns: the library's path, the program that was exported, and the library loaded."""

    library: Path
    program: torch.export.ExportedProgram
    runner: Runner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.runner(*args, **kwargs)


def compile(
    f: torch.nn.Module | Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    options: Mapping[str, Any] | None = None,
    cpu_isa: Sequence[str] = (),
    output_dir: str | os.PathLike[str] | None = None,
    name: str = "model",
) -> Compiled:
    """Compiles a module or a function of tensors to a shared library and loads it.

    Args:
        f: an ``nn.Module`` (set to evaluation mode) or a function.
        args, kwargs: one example call.
        dynamic_shapes: as for ``torch.export.export``.
        options: options of ``torch._inductor.config``, as OPTIONS of ``add_aot_model`` takes them.
        cpu_isa: as CPU_ISA of ``add_aot_model`` takes them; empty is its portable default.
        output_dir: where the project and its build go; None makes a temporary folder that stays.
        name: the name of the target, hence of the library and of its C functions.

    Raises:
        AotbuildError: the function does not export, or the generator or compiler failed (with the end of its output).
    """
    from aotbuild.model import Model

    model = Model(f, tuple(args), dict(kwargs or {}), dynamic_shapes)
    return compile_model(model, options=options, cpu_isa=cpu_isa, output_dir=output_dir, name=name)


def compile_model(
    model: Model,
    dynamic: Sequence[DynamicDim] = (),
    *,
    options: Mapping[str, Any] | None = None,
    cpu_isa: Sequence[str] = (),
    output_dir: str | os.PathLike[str] | None = None,
    name: str = "model",
) -> Compiled:
    """``compile`` for what a model file returns; ``dynamic`` as DYNAMIC_SHAPES has it."""
    import torch

    from aotbuild.capture import export_program
    from aotbuild.runner import load

    program = export_program(model, dynamic, name)
    directory = Path(output_dir) if output_dir is not None else Path(tempfile.mkdtemp(prefix="aotbuild-"))
    directory.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, directory / "model.pt2")
    extra = ""
    if options:
        extra += "\n  OPTIONS " + " ".join(f'"{key}={value}"' for key, value in options.items())
    if cpu_isa:
        extra += "\n  CPU_ISA " + " ".join(cpu_isa)
    project = _PROJECT.format(cmake_dir=cmake_directory().as_posix(), name=name, extra=extra)
    (directory / "CMakeLists.txt").write_text(project)
    library = build_project(directory, name)
    return Compiled(library, program, load(library))


def build_project(directory: Path, target: str) -> Path:
    """Configures and builds the CMake project in ``directory`` into ``directory/build``; returns the library's path.

    Raises:
        AotbuildError: CMake is missing, or a step failed (with the last lines that it printed).
    """
    cmake = shutil.which("cmake")
    if cmake is None:
        raise AotbuildError("cmake was not found on PATH; install CMake 3.24 or newer")
    build = directory / "build"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    configure = [cmake, "-S", str(directory), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release", *generator]
    configure.append(f"-DAOTBUILD_PYTHON={sys.executable}")
    _run(configure, "configuring")
    _run([cmake, "--build", str(build), "--target", target, "--parallel"], "building")
    return build / f"lib{target}.so"


def _run(command: Sequence[str], step: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_python_path())}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    if done.returncode != 0:
        _, _, refusal = done.stdout.partition("aotbuild: error: ")
        if refusal:  # the generator's own words, without the build tool's about them
            raise AotbuildError(refusal.partition("\nninja: ")[0].partition("\nmake[")[0].strip())
        lines = done.stdout.splitlines()
        errors = [i for i, line in enumerate(lines) if "error:" in line or "CMake Error" in line]
        first = max(0, min(errors[0] if errors else len(lines), len(lines) - 40))
        text = "\n".join(lines[first : first + 40])
        raise AotbuildError(f"{step} the model's CMake project failed:\n{text}")


def _python_path() -> list[str]:
    package_parent = str(Path(__file__).resolve().parent.parent)
    given = os.environ.get("PYTHONPATH")
    return [package_parent, *([given] if given else [])]
