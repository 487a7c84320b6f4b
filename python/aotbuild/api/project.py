"""The CMake project that ``aotbuild.compile`` makes of a model: its text, configuring it and building it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.paths import cmake_directory

_STAND_IN = Path(__file__).with_name("stand_in.py")
_LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(aotbuild_compile LANGUAGES CXX)
enable_testing()
find_package(aotbuild REQUIRED CONFIG PATHS {cmake_dir} NO_DEFAULT_PATH)
add_aot_model({words})
"""


class Project:
    """A project with one model in ``directory``, built in ``directory/build``."""

    def __init__(self, directory: Path, target: str, keywords: Mapping[str, Sequence[str]], *, quiet: bool) -> None:
        """Writes CMakeLists.txt.

        Args:
            keywords: of ``add_aot_model`` beside the target, SHARED and MODEL, each with its values.
        """
        self.directory = directory
        self.build_directory = directory / "build"
        self.target = target
        self._quiet = quiet
        directory.mkdir(parents=True, exist_ok=True)
        words = [_quoted(target), "SHARED", "MODEL aotbuild.compile:model"]
        words += [" ".join([keyword, *map(_quoted, values)]) for keyword, values in keywords.items()]
        text = _LISTS.format(cmake_dir=_quoted(cmake_directory().as_posix()), words="\n  ".join(words))
        (directory / "CMakeLists.txt").write_text(text)

    @property
    def library(self) -> Path:
        return self.build_directory / f"lib{self.target}.so"

    def configure(self) -> list[str]:
        """Returns the arguments that the generator is to be called with."""
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        settings = [f"-DAOTBUILD_PYTHON={sys.executable}", f"-DAOTBUILD_GENERATOR={_STAND_IN}"]
        settings += ["-DCMAKE_BUILD_TYPE=Release", *generator]
        folders = ["-S", str(self.directory), "-B", str(self.build_directory)]
        self._run("configuring", [_tool("cmake"), *folders, *settings])
        request = self.build_directory / "CMakeFiles" / f"{self.target}.explain_request.json"
        command: list[str] = json.loads(request.read_text())["command"]
        return command[command.index(str(_STAND_IN)) + 1 :]

    def keep_request(self, arguments: Sequence[str]) -> None:
        """What the generator was called with, after it has written all files, for the stand-in."""
        stamp = Path(arguments[arguments.index("--stamp") + 1])
        stamp.with_suffix(".request.json").write_text(json.dumps(list(arguments)))

    def build(self, *, test: bool) -> None:
        """Builds the library; with ``test`` also its test, which has to pass."""
        targets = [self.target, *([f"{self.target}_test"] if test else [])]
        command = [_tool("cmake"), "--build", str(self.build_directory), "--target", *targets, "--parallel"]
        self._run("building", command)
        if test:
            names = ["-R", f"^{re.escape(self.target)}$"]
            self._run(
                "testing", [_tool("ctest"), "--test-dir", str(self.build_directory), "--output-on-failure", *names]
            )

    def _run(self, step: str, command: Sequence[str]) -> None:
        """Runs one step; its output is shown as it comes, or only the part with the error when it fails."""
        package_parent = str(Path(__file__).resolve().parents[2])
        python_path = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(python_path)}
        lines = []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if not self._quiet:
                    print(lines[-1], flush=True)
        if process.returncode != 0:
            raise AotbuildError(f"{self.target}: {step} the model's CMake project failed:\n{_error_part(lines)}")


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise AotbuildError(f"{name} was not found on PATH; install CMake 3.24 or newer")
    return path


def _error_part(lines: Sequence[str]) -> str:
    """The 40 lines from the first error on, or the last ones."""
    errors = [i for i, line in enumerate(lines) if "error:" in line or "CMake Error" in line or "[  FAILED  ]" in line]
    first = max(0, min(errors[0] if errors else len(lines), len(lines) - 40))
    return "\n".join(lines[first : first + 40])


def _quoted(text: str) -> str:
    """A quoted argument of CMake; semicolons do not part lists."""
    return '"' + re.sub(r'([\\"$;])', r"\\\1", text) + '"'
