"""The wheel and the source distribution hold exactly what they should."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging_environment import ROOT, run


def sources(*folders: str) -> set[str]:
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders])
    return {name for name in listed.splitlines() if (ROOT / name).is_file()}


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
