"""The model library that tests of the runner load, and a compile cache for tests that lower for GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def build_echo(path: Path, *flags: str) -> Path:
    """Compiles runner/echo_model.cpp."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler")
    source = Path(__file__).parent / "runner" / "echo_model.cpp"
    include = f"-I{ROOT / 'cpp/include'}"
    subprocess.run([compiler, "-std=c++17", "-shared", "-fPIC", include, *flags, source, "-o", path], check=True)
    return path


@pytest.fixture(scope="session")
def echo_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_echo(tmp_path_factory.mktemp("echo") / "libecho.so")


@pytest.fixture(scope="session")
def build_another_echo() -> Callable[..., Path]:
    return build_echo


@pytest.fixture
def echo(echo_library: Path) -> Any:
    aotbuild = pytest.importorskip("aotbuild")
    pytest.importorskip("aotbuild._runner", reason="aotbuild is not installed: run `make bootstrap`")
    return aotbuild.load(echo_library)


@pytest.fixture
def kernel_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One compile cache of this run: many tests compile the same kernels."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(run / "kernel_cache"))
