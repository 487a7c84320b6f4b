"""Fixtures of the CMake tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# pytest's importlib mode adds no folder to sys.path.
sys.path.insert(0, str(Path(__file__).parent))

from cmake_project import CMakeProject


@pytest.fixture(params=["Ninja", "Unix Makefiles"])
def generator(request: pytest.FixtureRequest) -> str:
    """CMake's generator: tests that build run under each."""
    return str(request.param)


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., CMakeProject]:
    """Makes a user's project out of the text of its CMakeLists.txt and further files."""

    def make(lists: str, files: dict[str, str | bytes] | None = None, generator: str = "Ninja") -> CMakeProject:
        return CMakeProject(tmp_path, lists, files or {}, generator)

    return make
