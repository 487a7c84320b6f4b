"""``aotbuild doctor``: what a build would find on this machine, with versions, and the remedy for what is wrong."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from aotbuild import __version__, cache
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.paths import cmake_directory
from aotbuild.spec.target import FAMILIES, cpu_isas

_CMAKE_NEEDED = (3, 24)
_PYTHON_NEEDED = (3, 10)

# The build's own CMake code says what it finds and what to do: one configuration for each part of a model's build.
_PROJECT = """\
cmake_minimum_required(VERSION 3.24)
project(doctor LANGUAGES CXX)
find_package(aotbuild REQUIRED CONFIG PATHS "${PACKAGE}" NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
_aotbuild_require_compiler()
_aotbuild_python()
if(PART STREQUAL "compiler")
  message(STATUS "found: ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} (${CMAKE_CXX_COMPILER})")
elseif(PART STREQUAL "target")
  _aotbuild_target_processor(processor)
  message(STATUS "found: ${CMAKE_SYSTEM_NAME} ${processor}")
elseif(PART STREQUAL "emulator")
  if("${CMAKE_CROSSCOMPILING_EMULATOR}" STREQUAL "")
    message(FATAL_ERROR "the toolchain file names no CMAKE_CROSSCOMPILING_EMULATOR, so that tests of models cannot "
      "be run here; set it to a program that runs those of the target, such as wine or qemu-aarch64")
  endif()
  file(WRITE "${CMAKE_BINARY_DIR}/program.cpp" "int main() {}")
  try_run(status compiled "${CMAKE_BINARY_DIR}/program" "${CMAKE_BINARY_DIR}/program.cpp")
  if(NOT "${status}" STREQUAL "0")
    message(FATAL_ERROR "${CMAKE_CROSSCOMPILING_EMULATOR} does not run a program of the target; install it, or correct "
      "CMAKE_CROSSCOMPILING_EMULATOR in the toolchain file")
  endif()
  list(JOIN CMAKE_CROSSCOMPILING_EMULATOR " " emulator)
  message(STATUS "found: ${emulator}")
elseif(PART STREQUAL "runtime")
  _aotbuild_runtime(STATIC runtime)
  if(AOTBUILD_SLEEF_LIBRARY)
    message(STATUS "found: Sleef ${AOTBUILD_SLEEF_LIBRARY}")
  else()
    message(STATUS "found: the C library's functions in the place of Sleef's")
  endif()
  get_target_property(sources ${runtime} SOURCES)
  get_target_property(eigen ${runtime} AOTBUILD_EIGEN)
  if(sources MATCHES "[.]o(;|$)")
    message(STATUS "found: compiled, of the Python package")
  else()
    message(STATUS "found: nlohmann/json.hpp in ${AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR}")
  endif()
  if(eigen)
    message(STATUS "found: with Eigen")
  else()
    message(STATUS "found: no Eigen, which linear algebra and Fourier transforms need (Debian's libeigen3-dev)")
  endif()
elseif(PART STREQUAL "tests")
  find_package(GTest QUIET)
  if(NOT TARGET GTest::gtest)
    set(remedy "install it (Debian's libgtest-dev)")
    if(CMAKE_CROSSCOMPILING)
      set(remedy "install it for the target, or add its sources to the project, before the first model")
    endif()
    message(FATAL_ERROR "models without NO_TEST need GoogleTest; ${remedy}")
  endif()
  find_path(JSON_HEADERS nlohmann/json.hpp)
  if(NOT JSON_HEADERS)
    message(FATAL_ERROR "models without NO_TEST need nlohmann/json.hpp; install it (Debian's nlohmann-json3-dev)")
  endif()
  message(STATUS "found: GoogleTest ${GTest_VERSION}")
elseif(PART STREQUAL "benchmarks")
  find_package(benchmark QUIET)
  if(NOT TARGET benchmark::benchmark)
    message(FATAL_ERROR "BENCHMARK needs Google Benchmark; install it (Debian's libbenchmark-dev)")
  endif()
  message(STATUS "found: Google Benchmark ${benchmark_VERSION}")
elseif(PART STREQUAL "python modules")
  _aotbuild_find_pybind11("PYTHON_MODULE")
  message(STATUS "found: pybind11 ${pybind11_VERSION}")
endif()
"""
_PARTS = ("compiler", "runtime", "tests", "benchmarks", "python modules")
_CROSS_PARTS = ("compiler", "target", "runtime", "tests", "emulator", "benchmarks")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for. ``problem`` is empty when it is as it should be; ``needed`` for every build."""

    name: str
    found: str
    problem: str = ""
    needed: bool = True


def report(toolchain: str = "") -> tuple[str, bool]:
    """The report's text, and whether every build would work. ``toolchain``: the file of a build for another system."""
    findings = list(_findings(toolchain))
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        state = "ok" if not finding.problem else "WRONG" if finding.needed else "absent"
        texts = [text for text in (finding.found, finding.problem) if text]
        lines.append(f"{state:<6}  {finding.name:<{width}}  {': '.join(texts)}".rstrip())
    wrong = sum(bool(finding.problem) and finding.needed for finding in findings)
    lines.append("" if not wrong else f"\n{wrong} of these {'has' if wrong == 1 else 'have'} to be mended.")
    return "\n".join(lines).rstrip(), wrong == 0


def _findings(toolchain: str) -> Iterator[Finding]:
    yield Finding("aotbuild", f"{__version__} ({Path(__file__).parents[1]})")
    yield Finding("python", f"{platform.python_version()} ({sys.executable})", _python_problem())
    yield from _packages()
    if importlib.util.find_spec("aotbuild._runner") is None:
        yield Finding("runner", "", "aotbuild.load() has no compiled runner; install aotbuild with pip", needed=False)
    cmake = shutil.which("cmake")
    if cmake is None:
        yield Finding("cmake", "", "not found on PATH; install CMake 3.24 or newer (pip install cmake)")
    else:
        text = subprocess.run([cmake, "--version"], capture_output=True, text=True, check=False).stdout
        version = _version(text.partition("version ")[2])
        old = "older than 3.24; install a newer CMake (pip install cmake)" if version < _CMAKE_NEEDED else ""
        yield Finding("cmake", f"{'.'.join(map(str, version))} ({cmake})", old)
        yield _discovery()
        if not old:
            yield from _configure(cmake, toolchain)
    tools = [tool for tool in ("ninja", "make") if shutil.which(tool)]
    yield Finding("build tool", ", ".join(tools), "" if tools else "install Ninja (pip install ninja) or make")
    yield from _optional_tools()
    yield _cache()


def _python_problem() -> str:
    if sys.version_info >= _PYTHON_NEEDED:
        return ""
    return "Python 3.10 or later is needed; install aotbuild in an environment of one"


def _packages() -> Iterator[Finding]:
    """The packages that aotbuild requires, by its own metadata."""
    try:
        requirements = metadata.requires("aotbuild") or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", "", "aotbuild is not installed in this environment; pip install it", needed=False)
        requirements = []
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9_.-]+)([^;]*)(;.*)?$", requirement)
        if match is None or match[3]:
            continue
        name, wanted = match[1], match[2].strip()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "", f'not installed; pip install "{name}{wanted}"')
            continue
        problem = "" if satisfies(version, wanted) else f'{wanted} is needed; pip install "{name}{wanted}"'
        yield Finding(name, version, problem)
    triton = importlib.util.find_spec("triton")
    yield Finding(
        "triton", metadata.version("triton") if triton else "", "" if triton else "no GPU models", needed=False
    )


def _version(text: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", text.strip())
    return tuple(map(int, match[0].split("."))) if match else ()


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version lies in bounds such as ``>=2.11,<2.16``."""
    for low_or_high, bound in re.findall(r"(>=|<)\s*([\d.]+)", wanted):
        if (_version(version) >= _version(bound)) != (low_or_high == ">="):
            return False
    return True


def _discovery() -> Finding:
    """Whether ``find_package(aotbuild)`` works by itself."""
    shared = Path(sys.prefix, "share", "cmake", "aotbuild")
    on_path = os.path.join(sys.prefix, "bin") in os.environ.get("PATH", "").split(os.pathsep)
    if shared.is_dir() and on_path:
        return Finding("find_package", f"finds {shared}")
    why = f"{Path(sys.prefix, 'bin')} is not on PATH" if shared.is_dir() else "aotbuild runs from a checkout"
    remedy = f"{why}: pass -Daotbuild_DIR={cmake_directory()} to CMake"
    return Finding("find_package", "", remedy, needed=False)


def _configure(cmake: str, toolchain: str) -> Iterator[Finding]:
    if toolchain and not Path(toolchain).is_file():
        yield Finding("toolchain", "", f"{toolchain} is no file; name the one of CMAKE_TOOLCHAIN_FILE")
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "CMakeLists.txt").write_text(_PROJECT)
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        known = [f"-DPACKAGE={cmake_directory()}", f"-DAOTBUILD_PYTHON={sys.executable}"]
        known += [f"-DCMAKE_TOOLCHAIN_FILE={Path(toolchain).absolute()}"] if toolchain else []
        for part in _CROSS_PARTS if toolchain else _PARTS:
            command = [cmake, "-S", folder, "-B", f"{folder}/build", *generator, *known, f"-DPART={part}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            needed = part in ("compiler", "target", "runtime")
            if done.returncode == 0:
                found = "; ".join(re.findall(r"^-- found: (.*)$", done.stdout, re.MULTILINE))
                yield _target(found) if part == "target" else Finding(part, found)
            else:
                yield Finding(part, "", _cmake_error(done.stderr), needed)
                if part == "compiler":
                    return


def _target(found: str) -> Finding:
    """``found``: the system and the processor."""
    processor = found.rpartition(" ")[2]
    isas = cpu_isas(processor)
    problem = f"the processor {processor!r} is not supported; {', '.join(FAMILIES)} are"
    return Finding("target", f"{found}: CPU_ISA {', '.join(isas)}" if isas else found, "" if isas else problem)


def _cmake_error(output: str) -> str:
    body = re.search(r"CMake Error[^\n]*:\n(.*?)(?:Call Stack|\Z)", output, re.DOTALL)
    return " ".join((body[1] if body else output).split())


def _optional_tools() -> Iterator[Finding]:
    launchers: Sequence[str] = [tool for tool in ("ccache", "sccache") if shutil.which(tool)]
    problem = "" if launchers else "clean builds compile all C++ again; install ccache, set CMAKE_CXX_COMPILER_LAUNCHER"
    yield Finding("compiler cache", ", ".join(launchers), problem, needed=False)


def _cache() -> Finding:
    try:
        store = cache.enabled()
    except AotbuildError as error:
        return Finding("compile cache", "", str(error))
    if store is None:
        return Finding("compile cache", f"off ({cache.DIRECTORY_VARIABLE} names a folder to switch it on)")
    mib = store.size() / (1 << 20)
    found = f"{store.directory} ({mib:.0f} MiB of {store.max_bytes / (1 << 20):.0f})"
    existing = next(path for path in (store.directory, *store.directory.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        return Finding(
            "compile cache", found, f"{existing} can't be written to; set {cache.DIRECTORY_VARIABLE} to a folder"
        )
    return Finding("compile cache", found)
