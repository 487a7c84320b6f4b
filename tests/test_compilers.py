"""The runtime and a model with Clang; all other tests compile with the system's compiler, which is GCC."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTS = f"""
set(AOTBUILD_BUILD_TESTS ON)
find_package(GTest REQUIRED)
add_subdirectory("{ROOT}" aotbuild EXCLUDE_FROM_ALL)
add_custom_target(tests ALL DEPENDS aotbuild_runtime_tests)
"""


def installed_clang() -> str | None:
    """The oldest Clang that is installed and has OpenMP."""
    program = "#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }\n"
    for name in (*(f"clang++-{version}" for version in range(14, 31)), "clang++"):
        if shutil.which(name):
            command = [name, "-fopenmp", "-x", "c++", "-", "-o", "/dev/null"]
            if subprocess.run(command, input=program, text=True, capture_output=True, check=False).returncode == 0:
                return name
    return None


@pytest.mark.slow
def test_runtime_and_models_pass_their_tests_with_clang() -> None:
    from model_builds import Target, build_targets, run

    clang = installed_clang()
    if clang is None:
        pytest.skip("no Clang from 14 on with OpenMP: make cross-tools")
    build = build_targets(
        ROOT / "build" / "clang",
        [Target("transformer", "transformer", kind="STATIC", test=True, preset="debug")],
        LISTS,
        "-DCMAKE_BUILD_TYPE=Debug",
        "-DCMAKE_CXX_FLAGS_DEBUG=",  # -O0 and no debug information compile fastest
        "-DAOTBUILD_EIGEN=OFF",
        f"-DCMAKE_CXX_COMPILER={clang}",
    )
    run("ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", "-R", "^(runtime|transformer)")
