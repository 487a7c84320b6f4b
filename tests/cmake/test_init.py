"""`aotbuild init`: a project that builds, passes its tests and prints its result as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from aotbuild.commands import cli
from aotbuild.spec.paths import cmake_directory


def run(command: Sequence[str | Path], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_project_builds_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my-app"
    assert cli.main(["init", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert f"wrote {folder / 'main.cpp'}\n" in printed
    found = [f"-Daotbuild_DIR={cmake_directory()}", f"-DAOTBUILD_PYTHON={sys.executable}", "-G", "Ninja"]
    steps = [line.split() for line in printed.partition("Next:")[2].splitlines()[2:]]
    run([*steps[0], *found], folder)
    for step in steps[1:-1]:
        output = run(step, folder)
    assert "100% tests passed, 0 tests failed out of 2" in output
    rows = run([folder / steps[-1][0]], folder).splitlines()
    assert [len(row.split()) for row in rows] == [3, 3]
    for row in rows:
        assert sum(map(float, row.split())) == pytest.approx(1.0, rel=1e-4)
    assert (folder / "build/compile_commands.json").exists()
    assert sorted(name for name in os.listdir(folder) if name.startswith(".")) == [".clangd", ".gitignore"]


@pytest.mark.quick
def test_files_that_exist_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.cpp").write_text("mine")
    assert cli.main(["init", str(folder)]) == 1
    assert capsys.readouterr().err == f"aotbuild: error: init: {folder} has main.cpp already; name a new folder\n"
    assert [path.name for path in folder.iterdir()] == ["main.cpp"]
    assert (folder / "main.cpp").read_text() == "mine"


@pytest.mark.quick
@pytest.mark.parametrize("name", ["3d", "test", "---"])
def test_a_folder_whose_name_is_no_targets_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", str(tmp_path / name)]) == 1
    assert f"a project can't be named after the folder {name!r}" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
