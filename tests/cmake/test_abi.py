"""The shared runtime is told apart from that of another release, by its name and by those of its functions."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from cmake_project import CMakeProject

LISTS = """
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
find_package(aotbuild REQUIRED)
_aotbuild_python()
_aotbuild_runtime(SHARED runtime)
set_target_properties(${runtime} PROPERTIES EXCLUDE_FROM_ALL OFF)
"""


@pytest.mark.slow
def test_the_shared_runtime_is_named_after_its_release(make_project: Callable[..., CMakeProject]) -> None:
    project = make_project(LISTS)
    project.configure("-DCMAKE_BUILD_TYPE=Release", standin=False)
    project.build()
    library = project.build_dir / "libaotbuild_runtime_shared.so.0.1.0"
    assert "Library soname: [libaotbuild_runtime_shared.so.0.1.0]" in project.run("readelf", "-d", library)
    symbols = project.run("nm", "-D", "--defined-only", "--with-symbol-versions", library).split("\n")
    own = [symbol for symbol in symbols if re.search(r" (aotbuild_|_ZN8aotbuild)", symbol)]
    assert len(own) > 100
    assert not [symbol for symbol in own if not symbol.endswith("@@AOTBUILD_0.1.0")]
