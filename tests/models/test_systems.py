"""Models on other systems, cross-compiled here: golden tests under wine. `check_systems.py` has many more."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from model_builds import run
from systems import SYSTEMS, build_for, output_of_installed, passed_tests

WINDOWS = SYSTEMS["windows"]
MODELS = ("transformer", "conv2d", "mathematics")
# Without optimisation every vector is kept on the stack, and compilers are fast.
UNOPTIMISED = (
    "-DCMAKE_BUILD_TYPE=Debug",
    "-DCMAKE_CXX_FLAGS_DEBUG=",
    "-DAOTBUILD_EIGEN=OFF",
    "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
)
UNALIGNED = "-Wa,-muse-unaligned-vector-move"
# Moves of 32 and 64 bytes that fault where their memory is not aligned; in AT&T's syntax memory is in parentheses.
ALIGNED_MOVE = re.compile(r"\bvmov(?:aps|apd|dqa|dqa32|dqa64|ntps|ntpd|ntdqa?)\s+(?=.*%[yz]mm)(?=.*\().*")


@pytest.fixture(scope="module")
def windows_build() -> Path:
    if missing := WINDOWS.missing():
        pytest.skip(f"needs the Debian packages {' '.join(missing)}: make cross-tools")
    trees = build_for(
        WINDOWS, {name: name for name in MODELS}, "debug", *UNOPTIMISED, kinds=("STATIC",), in_file=("conv2d",)
    )
    return trees["STATIC"]


def test_models_pass_their_golden_tests_on_windows(windows_build: Path) -> None:
    counts = passed_tests(windows_build)
    assert set(counts) == set(MODELS)
    assert all(count >= 3 for count in counts.values()), counts


def test_weights_are_mapped_from_a_folder_of_any_name(windows_build: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gr\u00f6\u00dfer \u6771\u4eac"
    folder.mkdir()
    for file in ("conv2d_test.exe", "conv2d.safetensors", "conv2d.aotbuild/test/conv2d.golden.safetensors"):
        shutil.copy(windows_build / file, folder)
    program = (WINDOWS.toolchain.parent / "wine.sh", "./conv2d_test.exe", "conv2d.golden.safetensors")
    environment = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    assert "[  PASSED  ]" in run("env", "-C", folder, *program, **environment)
    (folder / "conv2d.safetensors").unlink()
    output = run("env", "-C", folder, "sh", "-c", '! "$@"', "sh", *program, **environment)
    assert re.search(rf"cannot open weights file '.*{folder.name}\\conv2d\.safetensors': .+ \(error 2\)", output)


def test_installed_model_is_linked_on_windows(windows_build: Path) -> None:
    output = output_of_installed(WINDOWS, windows_build, "transformer", "Transformer")
    assert output.split() == ["src"]


def test_no_move_on_windows_needs_an_aligned_stack(windows_build: Path, tmp_path: Path) -> None:
    """GCC takes vectors of 32 bytes for aligned on a stack that Windows aligns to 16 (its bug 54412).

    Debian's GCC is patched, and for others an option of the assembler makes other moves.
    """
    commands = json.loads((windows_build / "compile_commands.json").read_text())
    ours = [entry for entry in commands if not re.search("/googletest/|_custom_|_weights[.]cpp", entry["file"])]
    assert len(ours) > 50
    assert [entry["file"] for entry in ours if UNALIGNED not in entry["command"]] == []
    code = run("x86_64-w64-mingw32-objdump", "--disassemble", windows_build / "conv2d_test.exe")
    assert code.count("vmovups") > 1000
    assert [line for line in code.splitlines() if ALIGNED_MOVE.search(line)] == []
    source = tmp_path / "moves.cpp"
    source.write_text('__asm__("vmovaps %ymm0, (%rsp)\\n vmovdqa64 (%rsp), %zmm1\\n vmovapd %zmm2, 64(%rsp)");\n')
    run("x86_64-w64-mingw32-g++-posix", UNALIGNED, "-c", source, "-o", tmp_path / "moves.o")
    code = run("x86_64-w64-mingw32-objdump", "--disassemble", tmp_path / "moves.o")
    assert re.findall(r"vmov\w+", code) == ["vmovups", "vmovdqu64", "vmovupd"]
