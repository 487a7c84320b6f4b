"""The ways in which a project gets at the CMake package, and how the package gets at Python."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import HEAD, PACKAGE, REPOSITORY, CMakeProject

MakeProject = Callable[..., CMakeProject]

MODEL = (
    "add_aot_model(encoder MODEL model.py:build)\nadd_executable(app main.cpp)\ntarget_link_libraries(app encoder)\n"
)
FIND = "find_package(aotbuild REQUIRED)\n"


def test_add_subdirectory_of_the_repository(make_project: MakeProject) -> None:
    project = make_project(HEAD.replace(FIND, f'add_subdirectory("{REPOSITORY}" aotbuild)\n') + MODEL)
    project.configure(package=False)
    project.build()
    assert project.program() == "12"


def test_fetch_content_of_a_local_checkout(make_project: MakeProject) -> None:
    fetch = (
        f'include(FetchContent)\nFetchContent_Declare(aotbuild SOURCE_DIR "{REPOSITORY}" OVERRIDE_FIND_PACKAGE)\n{FIND}'
    )
    project = make_project(HEAD.replace(FIND, fetch) + MODEL)
    project.configure(package=False)
    project.build()
    assert project.program() == "12"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A Python environment with the layout of the wheel: cmake/ and cpp/ beside the modules of the package."""
    environment = tmp_path / "environment"
    package = environment / f"lib/python3.{sys.version_info.minor}/site-packages/aotbuild"
    shutil.copytree(REPOSITORY / "python/aotbuild", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PACKAGE, package / "cmake")
    shutil.copytree(REPOSITORY / "cpp", package / "cpp")
    (environment / "bin").mkdir()
    interpreter = environment / f"bin/python3.{sys.version_info.minor}"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    interpreter.chmod(0o755)
    return package


def test_site_packages_on_the_prefix_path(make_project: MakeProject, environment: Path) -> None:
    """As scikit-build-core sets it. The interpreter is the environment's own, whatever is active."""
    project = make_project(HEAD + MODEL)
    output = project.configure(
        f"-DCMAKE_PREFIX_PATH={environment.parent}",
        f"-DAOTBUILD_GENERATOR={Path(__file__).parent / 'standin_generator.py'}",
        package=False,
        standin=False,
    )
    assert "Configuring done" in output
    assert f"{environment.parents[3]}/bin/python3." in (project.build_dir / "build.ninja").read_text()
    project.build()
    assert project.program() == "12"


def test_package_without_torch_says_what_to_do(make_project: MakeProject, environment: Path) -> None:
    project = make_project(HEAD + MODEL)
    bare = project.source / "python"
    # An interpreter that sees none of the packages around it.
    project.write("python", f'#!/bin/sh\nexec "{sys.executable}" -S -E "$@"\n')
    bare.chmod(0o755)
    output = project.configure(f"-DAOTBUILD_PYTHON={bare}", standin=False, error=True)
    remedy = (
        "Install it there, or set AOTBUILD_PYTHON to the interpreter of the environment that has aotbuild and torch."
    )
    assert re.search(rf"aotbuild: {bare} has no package \w+\. {remedy}", " ".join(output.split()))


def test_interpreter_with_another_aotbuild_is_refused(make_project: MakeProject, environment: Path) -> None:
    output = make_project(HEAD + MODEL).configure(
        f"-Daotbuild_DIR={environment / 'cmake'}", f"-DAOTBUILD_PYTHON={sys.executable}", standin=False, error=True
    )
    assert (
        f"aotbuild: this CMake package belongs to {environment}, but {sys.executable} imports another aotbuild, "
        f"{REPOSITORY}/python/aotbuild. Use its CMake package "
        f'(-Daotbuild_DIR="$({sys.executable} -m aotbuild --cmakedir)"), or set AOTBUILD_PYTHON to the interpreter '
        "that this one belongs to."
    ) in " ".join(output.split())


def test_missing_interpreter_is_named(make_project: MakeProject) -> None:
    output = make_project(HEAD + MODEL).configure("-DAOTBUILD_PYTHON=/nowhere/python", standin=False, error=True)
    text = "AOTBUILD_PYTHON names the interpreter /nowhere/python, which does not exist; name another, or unset it."
    assert f"aotbuild: {text}" in " ".join(output.split())


def test_version_is_checked(make_project: MakeProject) -> None:
    project = make_project(HEAD.replace("find_package(aotbuild", "find_package(aotbuild 99"))
    assert "compatible with requested version" in " ".join(project.configure(error=True).split())


def test_project_without_cxx_is_refused(make_project: MakeProject) -> None:
    project = make_project(
        "cmake_minimum_required(VERSION 3.24)\nproject(user LANGUAGES NONE)\n"
        f"set(CMAKE_SYSTEM_PROCESSOR x86_64)\n{FIND}{MODEL}"
    )
    assert "aotbuild: C++ is not enabled; add CXX to the languages of project()." in project.configure(error=True)
