"""A user's CMake project in a temporary folder: write files, configure, build, look at what ran."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "cmake"
STANDIN = Path(__file__).parent / "standin_generator.py"

# The stand-in's models call no runtime: an empty one spares each test the compilation of the real one.
HEAD = """\
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
enable_testing()
find_package(aotbuild REQUIRED)
add_library(aotbuild_runtime STATIC runtime.cpp)
add_library(aotbuild_runtime_shared SHARED runtime.cpp)
"""

FILES: dict[str, str | bytes] = {
    "runtime.cpp": "int empty_runtime();\nint empty_runtime() { return 0; }\n",
    "weights.bin": b"\x05rest",
    "helper.py": "VALUE = 7\n",
    "model.py": """\
from pathlib import Path
import helper

def build():
    weights = Path(__file__).parent / "weights.bin"
    return {"value": helper.VALUE, "weights": weights.read_bytes(), "data_files": [weights]}
""",
    "main.cpp": """\
#include <cstdio>
#include <encoder.hpp>
int main() { std::printf("%d", encoder()()); }
""",
}


class CMakeProject:
    """Files of the project lie in ``source``, the build tree is ``build``."""

    def __init__(self, folder: Path, lists: str, files: dict[str, str | bytes], generator: str) -> None:
        self.source = folder / "source"
        self.build_dir = folder / "build"
        self.generator = generator
        self.log = folder / "generator.log"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AOTBUILD_", "CMAKE_"))},
            "STANDIN_LOG": str(self.log),
            "PYTHONDONTWRITEBYTECODE": "1",  # an import that writes __pycache__ is no change, but keep the folder clean
        }
        for name, content in {**FILES, "CMakeLists.txt": lists, **files}.items():
            self.write(name, content)

    def write(self, name: str, content: str | bytes) -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def touch(self, name: str) -> None:
        """Makes a file newer than everything that was built (file times may be coarse)."""
        time.sleep(0.02)
        (self.source / name).touch()

    def run(self, *command: str | Path, error: bool = False, environment: dict[str, str] | None = None) -> str:
        """The command's output, both streams. ``error``: whether it has to fail."""
        done = subprocess.run(
            [str(word) for word in command],
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == error, done.stdout
        return done.stdout

    def configure(self, *arguments: str, error: bool = False, standin: bool = True, package: bool = True) -> str:
        known = [f"-Daotbuild_DIR={PACKAGE}"] if package else []
        if standin:
            known += [f"-DAOTBUILD_GENERATOR={STANDIN}", f"-DAOTBUILD_PYTHON={sys.executable}"]
        return self.run(
            "cmake", "-S", self.source, "-B", self.build_dir, "-G", self.generator, *known, *arguments, error=error
        )

    def build(self, target: str = "all", *arguments: str, error: bool = False, **environment: str) -> str:
        command = ["cmake", "--build", str(self.build_dir), "--parallel", "2", "--target", target, *arguments]
        return self.run(*command, error=error, environment=environment)

    def generated(self) -> list[str]:
        """Targets that the stand-in generated since the last call."""
        lines = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return sorted(lines)

    def ran(self, output: str) -> dict[str, list[str]]:
        """What a build's output says was compiled and linked, by the names of the files."""
        compiled = re.findall(r"Building CXX object \S*?([^/\s]+)\.o\b", output)
        linked = re.findall(
            r"Linking CXX (?:static library|shared library|shared module|executable) (?:\S*/)?(\S+)", output
        )
        return {"compiled": sorted(compiled), "linked": sorted(linked)}

    def program(self, name: str = "app") -> str:
        return self.run(self.build_dir / name)

    def check_errors(self, call: str, processor: str = "x86_64") -> str:
        """The error of one call's arguments, without CMake's wrapping; no project is configured."""
        script = self.source / "call.cmake"
        script.write_text(
            f"cmake_minimum_required(VERSION 3.24)\nset(CMAKE_SYSTEM_PROCESSOR {processor})\n"
            f'include("{PACKAGE}/aotbuildConfig.cmake")\n{call}\n'
        )
        output = subprocess.run(
            ["cmake", "-P", str(script)], cwd=self.source, capture_output=True, text=True, check=False
        ).stderr
        body = re.search(r"\(message\):\n(.*?)(?:Call Stack|\Z)", output, re.DOTALL)
        assert body is not None, output
        lines = [line[2:] if line.startswith("  ") else line for line in body[1].split("\n")]
        return re.sub(r"\n\n+", "\n", "\n".join(lines)).strip()


def replace_images(source: Path, images: Path) -> list[str]:
    """Writes what the stand-in loads over each image of a table of kernels, and gives the kernels' names."""
    data = bytearray(images.read_bytes())
    rows = re.findall(r'\{"(\w+)", images \+ (\d+), (\d+), ', source.read_text())
    assert rows
    for name, offset, size in rows:
        assert data[int(offset) : int(offset) + 4] == b"\x7fELF"
        fake = f"fake cubin 90 {name}\0".encode()
        assert len(fake) <= int(size)
        data[int(offset) : int(offset) + len(fake)] = fake
    images.write_bytes(data)
    return [name for name, _, _ in rows]
