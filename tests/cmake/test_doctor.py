"""aotbuild doctor: what it prints of a sound machine, and the remedy for each thing that is wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cmake_project import REPOSITORY

from aotbuild import __version__
from aotbuild.commands import doctor


def run_doctor(**environment: str) -> tuple[int, dict[str, str]]:
    """The exit status and each line by the name of what it is about."""
    known = {"PYTHONPATH": str(REPOSITORY / "python")}
    done = subprocess.run(
        [sys.executable, "-m", "aotbuild", "doctor"],
        env={**os.environ, **known, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    lines = [re.split(r"  +", line, maxsplit=2) for line in done.stdout.splitlines()]
    return done.returncode, {line[1]: f"{line[0]}: {line[-1]}" for line in lines if len(line) > 1}


@pytest.mark.quick
def test_sound_machine(tmp_path: Path) -> None:
    status, lines = run_doctor(AOTBUILD_CACHE_DIR=str(tmp_path), AOTBUILD_CACHE_SIZE="64M")
    assert status == 0
    assert lines["aotbuild"].startswith(f"ok: {__version__} (")
    assert re.match(r"ok: 2\.\d+", lines["torch"])
    assert re.match(r"ok: \d+\.\d+\.\d+ \(.*cmake\)", lines["cmake"])
    assert re.match(r"ok: Sleef \S+; (nlohmann/json.hpp in \S+|compiled, of the Python package); ", lines["runtime"])
    assert lines["compile cache"] == f"ok: {tmp_path} (0 MiB of 64)"
    assert not [line for line in lines.values() if line.startswith("WRONG")]


@pytest.mark.quick
def test_what_is_wrong_comes_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "cmake").write_text("#!/bin/sh\necho cmake version 3.20.1\n")
    (tmp_path / "cmake").chmod(0o755)
    status, lines = run_doctor(PATH=str(tmp_path), AOTBUILD_CACHE_SIZE="big", AOTBUILD_CACHE_DIR=str(tmp_path))
    assert status == 1
    assert lines["cmake"] == (
        f"WRONG: 3.20.1 ({tmp_path}/cmake): older than 3.24; install a newer CMake (pip install cmake)"
    )
    assert lines["build tool"] == "WRONG: install Ninja (pip install ninja) or make"
    assert lines["compile cache"].startswith("WRONG: AOTBUILD_CACHE_SIZE 'big' is no size")
    assert lines["find_package"].startswith("absent: ")
    (tmp_path / "cmake").unlink()
    status, lines = run_doctor(PATH=str(tmp_path))
    assert lines["cmake"] == "WRONG: not found on PATH; install CMake 3.24 or newer (pip install cmake)"


@pytest.mark.quick
def test_message_of_the_build_is_the_remedy() -> None:
    status, lines = run_doctor(CXX="/nowhere/c++")
    assert status == 1
    assert lines["compiler"].startswith("WRONG: ")
    assert "/nowhere/c++" in lines["compiler"]


@pytest.mark.quick
def test_versions_are_compared_as_numbers() -> None:
    assert doctor.satisfies("2.13.0+cpu", ">=2.11,<2.16")
    assert not doctor.satisfies("2.9.1", ">=2.11,<2.16")
    assert not doctor.satisfies("2.16", ">=2.11,<2.16")
    assert doctor.satisfies("1.0", "")


def cross_findings(toolchain: Path) -> dict[str, tuple[str, str, bool]]:
    with_cmake = shutil.which("cmake")
    assert with_cmake is not None
    return {
        finding.name: (finding.found, finding.problem, finding.needed)
        for finding in doctor._configure(with_cmake, str(toolchain))
    }


@pytest.mark.quick
def test_what_a_cross_build_lacks(tmp_path: Path) -> None:
    toolchain = tmp_path / "other.cmake"
    toolchain.write_text("set(CMAKE_SYSTEM_NAME Linux)\nset(CMAKE_SYSTEM_PROCESSOR riscv64)\n")
    found = cross_findings(toolchain)
    assert found["target"] == ("Linux riscv64: CPU_ISA riscv64", "", True)
    assert found["runtime"][0].startswith("the C library's functions in the place of Sleef's; ")
    assert found["emulator"] == (
        "",
        "the toolchain file names no CMAKE_CROSSCOMPILING_EMULATOR, so that tests of models cannot be run here; set it "
        "to a program that runs those of the target, such as wine or qemu-aarch64",
        False,
    )
    with toolchain.open("a") as file:
        file.write("set(CMAKE_CROSSCOMPILING_EMULATOR no-such-emulator)\n")
    assert cross_findings(toolchain)["emulator"][1] == (
        "no-such-emulator does not run a program of the target; install it, or correct "
        "CMAKE_CROSSCOMPILING_EMULATOR in the toolchain file"
    )


@pytest.mark.quick
def test_toolchain_that_cannot_be_used(tmp_path: Path) -> None:
    absent = tmp_path / "absent.cmake"
    assert cross_findings(absent) == {
        "toolchain": ("", f"{absent} is no file; name the one of CMAKE_TOOLCHAIN_FILE", True)
    }
    other = tmp_path / "other.cmake"
    other.write_text("set(CMAKE_SYSTEM_NAME Linux)\nset(CMAKE_SYSTEM_PROCESSOR sparc64)\n")
    problem = "the processor 'sparc64' is not supported; x86-64, aarch64, riscv64, armv7, wasm32 are"
    assert cross_findings(other)["target"] == ("Linux sparc64", problem, True)


def test_c_library_without_threads_is_refused(tmp_path: Path) -> None:
    if shutil.which("x86_64-w64-mingw32-g++-posix") is None:
        pytest.skip("needs the Debian package g++-mingw-w64-x86-64-posix: make cross-tools")
    toolchain = tmp_path / "windows.cmake"
    toolchain.write_text(
        "set(CMAKE_SYSTEM_NAME Windows)\nset(CMAKE_SYSTEM_PROCESSOR AMD64)\n"
        "set(CMAKE_CXX_COMPILER x86_64-w64-mingw32-g++-posix)\nset(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)\n"
        # what the library of GCC with win32 threads is like
        'file(WRITE ${CMAKE_CURRENT_LIST_DIR}/mutex "namespace std {}")\n'
        "set(CMAKE_CXX_FLAGS_INIT -I${CMAKE_CURRENT_LIST_DIR})\n"
    )
    problem = cross_findings(toolchain)["runtime"][1]
    assert problem.startswith("aotbuild: the C++ library of ")
    assert problem.endswith(
        "has no threads (std::mutex). Use MinGW-w64's GCC with posix threads (Debian: g++-mingw-w64-x86-64-posix, "
        "x86_64-w64-mingw32-g++-posix)."
    )
