"""Plans of calls: kept for those that did not change, and the same that the generator and `aotbuild plan` say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import HEAD, CMakeProject

from aotbuild.spec.files import ModelKeywords, model_files

pytestmark = pytest.mark.quick
MakeProject = Callable[..., CMakeProject]


def test_a_plan_is_kept_until_its_call_or_its_file_changes(make_project: MakeProject, tmp_path: Path) -> None:
    log, python = tmp_path / "starts", tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" != -I ] || echo plan >>"{log}"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    call = "add_aot_model(encoder MODEL model.py:build NO_TEST{})\n"
    project = make_project(HEAD + call.format(""))

    def plans(error: bool = False) -> int:
        log.write_text("")
        output = project.configure(f"-DAOTBUILD_PYTHON={python}", error=error)
        assert not error or "model.py does not exist" in " ".join(output.split())
        return log.read_text().count("plan")

    assert plans() == 1
    assert plans() == 0
    project.write("CMakeLists.txt", HEAD + call.format(" CPU_ISA avx512"))
    assert plans() == 1
    assert plans() == 0
    (project.source / "model.py").unlink()
    assert plans(error=True) == 1


def test_the_command_prints_the_plan(tmp_path: Path) -> None:
    (tmp_path / "net.py").touch()
    words = ["net", "MODEL", "net.py:build", "METHODS", "encode", "decode", "WEIGHTS", "FILE"]
    command = [sys.executable, "-m", "aotbuild", "plan", "add_aot_model", f"source_dir={tmp_path}", "--", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    plan = json.loads(done.stdout)
    isas = (("x86-64-v3", "x86_64_v3"),)
    expected = model_files(ModelKeywords("net", methods=("encode", "decode"), cpu=isas, weights="file"))
    assert plan["message"] == ""
    assert plan["outputs"] == [f"{tmp_path}/build/net.aotbuild/{path}" for path in expected.all()]
    assert f"{tmp_path}/build/net.aotbuild/src/net.decode_kernels_x86_64_v3_3.cpp" in plan["outputs"]
