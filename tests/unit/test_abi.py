"""The C ABI is the recorded one, after abidiff of libabigail; a change of it is seen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aotbuild.spec import abi

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "abi"
RECORDED = HERE / f"c_api_{abi.ABI_VERSION}.abi"
HEADER = (ROOT / "cpp/include/aotbuild/c_api.h").read_text()
COMPILERS = [name for name in ("gcc", "clang", "clang-14") if shutil.which(name)]
# What docs/c-abi.md forbids within a version: each is one edit of the header.
BREAKING = {
    "a field that is gone": ("  int32_t num_threads;", "  //"),
    "a field in the middle": ("  int64_t min;\n", "  int64_t step;\n  int64_t min;\n"),
    "another type of a field": ("  uint64_t calls;", "  uint32_t calls;"),
    "another number of an enumerator": ("AOTBUILD_OUT_OF_MEMORY = 4", "AOTBUILD_OUT_OF_MEMORY = 6"),
    "another parameter of a function": ("model, uint64_t seed", "model, uint32_t seed"),
    "a function that is gone": ("  const char* (*last_error)(void);\n", ""),
}  # fmt: skip


def library(folder: Path, header: str = HEADER, compiler: str = "gcc") -> Path:
    (folder / "aotbuild").mkdir(exist_ok=True)
    (folder / "aotbuild/c_api.h").write_text(header)
    result = folder / f"{compiler}.so"
    command = [compiler, "-g", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{folder}", "types.c"]
    subprocess.run([*command, "-o", str(result)], cwd=HERE, check=True)
    return result


def differences(changed: Path) -> str:
    """What abidiff reports; empty for nothing."""
    command = ["abidiff", "--no-architecture", str(RECORDED), str(changed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode & 3, done.stderr  # abidiff itself failed
    return done.stdout if done.returncode else ""


@pytest.mark.quick
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_c_abi_is_the_recorded_one(tmp_path: Path, compiler: str) -> None:
    built = library(tmp_path, compiler=compiler)
    # AOTBUILD_RECORD=1 pytest tests/unit/test_abi.py: for fields, functions and enumerators that came at an end. For
    # anything else AOTBUILD_ABI_VERSION is raised, and the file has another name.
    if os.environ.get("AOTBUILD_RECORD") and compiler == "gcc":
        options = ["--no-show-locs", "--no-corpus-path", "--no-comp-dir-path", "--no-architecture", "--no-elf-needed"]
        subprocess.run(["abidw", *options, "--type-id-style", "hash", str(built), "--out-file", RECORDED], check=True)
    assert not differences(built)


@pytest.mark.quick
@pytest.mark.parametrize("edit", BREAKING.values(), ids=BREAKING.keys())
def test_a_change_of_the_abi_is_reported(tmp_path: Path, edit: tuple[str, str]) -> None:
    assert edit[0] in HEADER
    report = differences(library(tmp_path, HEADER.replace(*edit)))
    assert re.search(r"[1-9]\d* Changed", report), report


@pytest.mark.quick
def test_every_structure_is_recorded_and_says_its_size() -> None:
    names = re.findall(r"^typedef struct (aotbuild_\w+) \{", HEADER, re.MULTILINE)
    assert len(names) > 10
    recorded = RECORDED.read_text()
    for name in names:
        assert f"<class-decl name='{name}'" in recorded
        body = HEADER.partition(f"typedef struct {name} {{")[2].partition("\n}")[0]
        # Those of DLPack never change, and NCCL's unique id neither.
        fixed = ("aotbuild_communicator_id", "aotbuild_device", "aotbuild_dtype", "aotbuild_tensor")
        assert ("struct_size;" in body) != (name in fixed), name
