"""Plans of calls: kept for those that did not change, and the same that the generator and `aotbuild plan` say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import HEAD, PACKAGE, CMakeProject

from aotbuild.spec.files import ModelKeywords, model_files
from aotbuild.spec.statements import statements

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


def test_words_reach_the_command_and_its_explanation_as_they_stand(make_project: MakeProject) -> None:
    odd = r'PARAMS "a=\"x\;y\"" "b=[1]" "c=\\d"'
    project = make_project(HEAD + f"add_aot_model(encoder MODEL model.py:build NO_TEST {odd})\n")
    project.configure()
    request = json.loads((project.build_dir / "CMakeFiles/encoder.explain_request.json").read_text())
    assert [word for word in request["command"] if word[1:2] == "="] == ['a="x;y"', "b=[1]", r"c=\d"]
    assert request["depends"][0] == f"{project.source}/model.py"
    assert f"{project.build_dir}/encoder.aotbuild/include/encoder.hpp" in request["outputs"]


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


def test_statements_set_what_was_planned(tmp_path: Path) -> None:
    words = ["", "a;b", "\\;", "\n\n", '"${plan}" \\', "$<1:x>", "]]", "x]=]==", "]=", "größe", "#[["]
    plan = {**{f"w{number}": word for number, word in enumerate(words)}, "all": words[1:3], "no": [], "yes": True}
    plan["groups"] = [{"kind": "a", "sources": ["x", "y"]}, {"kind": "b", "sources": []}]
    lines = [
        *statements("plan", plan),
        "foreach(index RANGE 10)\n",
        f'file(WRITE "{tmp_path}/w${{index}}" "${{plan_w${{index}}}}")\n',
    ]
    lines += ["endforeach()\n", "foreach(part IN LISTS plan_all plan_groups plan_groups_0_sources plan_groups_1)\n"]
    lines += [f'file(APPEND "{tmp_path}/parts" "<${{part}}>")\n', "endforeach()\n"]
    lines += [f'file(APPEND "{tmp_path}/parts" "<${{plan_no}}><${{plan_yes}}><${{plan_groups_1_kind}}>")\n']
    script = tmp_path / "script.cmake"
    script.write_text("".join(lines))
    subprocess.run(["cmake", "-P", script], check=True)
    assert [(tmp_path / f"w{number}").read_text() for number in range(len(words))] == words
    assert (tmp_path / "parts").read_text() == "<a;b><\\;><0><1><x><y><kind><sources><><TRUE><b>"


def test_variables_of_the_project_mean_nothing_to_the_functions(make_project: MakeProject) -> None:
    """Whatever name a function of cmake/ gives a value may be a variable of the project too."""
    text = "".join(path.read_text() for path in sorted(PACKAGE.rglob("*.cmake")))
    names = sorted(set(re.findall(r"(?:set|foreach)\(([a-z]\w*)[ )]", text)))
    assert {"request", "flags", "target", "libraries"} <= set(names)
    calls = (
        "add_aot_model(encoder MODEL model.py:build WEIGHTS FILE)\n"
        "add_aot_model(net SHARED MODEL model.py:build DEVICE cuda CUDA_ARCHITECTURES 90)\n"
        "aotbuild_install(TARGETS encoder net PACKAGE models)\n"
    )
    found = []
    for variables in ("", " ".join(names)):
        lists = f"foreach(each IN ITEMS {variables})\n  set(${{each}} surprise)\nendforeach()\n"
        project = make_project(HEAD + lists + calls)
        project.run("cmake", "-E", "rm", "-rf", project.build_dir)
        project.configure()
        written = ["build.ninja", *(path.name for path in project.build_dir.glob("*.cmake"))]
        written += [f"CMakeFiles/{name}.explain_request.json" for name in ("encoder", "net")]
        found.append({name: (project.build_dir / name).read_text() for name in written})
    assert found[0] == found[1]
