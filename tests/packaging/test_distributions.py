"""The wheel and the source distribution hold exactly what they should, and the installed wheel is found by CMake."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(command: Sequence[str | Path], cwd: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def sources(*folders: str) -> set[str]:
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders])
    return {name for name in listed.splitlines() if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-build-isolation", "--no-deps", f"--config-settings=build-dir={folder / 'build'}"]
    run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, "."])
    (built,) = folder.glob("aotbuild-*.whl")
    return built


@pytest.mark.quick
def test_wheel_holds_the_package_the_cmake_code_and_the_runtime(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    version = wheel.name.split("-")[1]
    (runner,) = [name for name in names if name.startswith("aotbuild/_runner.") and name.endswith(".so")]
    assert names == {
        *(name.removeprefix("python/") for name in sources("python/aotbuild")),
        *(f"aotbuild/{name}" for name in sources("cmake", "cpp/include", "cpp/src")),
        *(f"aotbuild-{version}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")),
        f"aotbuild-{version}.dist-info/licenses/LICENSE",
        f"aotbuild-{version}.data/data/share/cmake/aotbuild/aotbuildConfig.cmake",
        f"aotbuild-{version}.data/data/share/cmake/aotbuild/aotbuildConfigVersion.cmake",
        runner,
    }


@pytest.mark.quick
def test_sdist_holds_what_builds_the_wheel(tmp_path: Path) -> None:
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    run([sys.executable, "-c", code, tmp_path])
    (built,) = tmp_path.glob("aotbuild-*.tar.gz")
    with tarfile.open(built) as archive:
        names = {entry.name.partition("/")[2] for entry in archive.getmembers() if entry.isfile()}
    assert names == {
        *sources("cmake", "cpp", "python"),
        *("CHANGELOG.md", "CMakeLists.txt", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"),
    }


def test_installed_wheel_is_found_when_its_environment_is_on_path(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    run([sys.executable, "-m", "venv", environment])
    run([environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", wheel])
    project = tmp_path / "project"
    project.mkdir()
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.24)\n"
        "project(user LANGUAGES CXX)\n"
        "find_package(aotbuild REQUIRED)\n"
        'if(NOT COMMAND add_aot_model)\n  message(FATAL_ERROR "no add_aot_model")\nendif()\n'
    )
    run(["cmake", "-S", project, "-B", tmp_path / "build"], PATH=f"{environment / 'bin'}:{os.environ['PATH']}")
    # NumPy and the other dependencies come from this environment: installing them again would take a minute.
    dependencies = sysconfig.get_path("platlib")
    shown = run([environment / "bin" / "python", "-m", "aotbuild", "--cmakedir"], PYTHONPATH=dependencies).strip()
    assert (Path(shown) / "aotbuildConfig.cmake").is_file()
    assert Path(shown).is_relative_to(environment)
