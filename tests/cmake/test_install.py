"""An installed model is used where there is no Python, torch or aotbuild."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import HEAD, CMakeProject

MakeProject = Callable[..., CMakeProject]

LISTS = """
add_aot_model(encoder STATIC MODEL model.py:build)
add_aot_model(decoder SHARED MODEL model.py:build WEIGHTS FILE PARAMS add=1)
aotbuild_install(TARGETS encoder decoder PACKAGE models VERSION 2.1)
"""

# The real runtime's libraries need oneDNN and Sleef; the empty runtime needs nothing, and neither does the stand-in.
CONSUMER = """
cmake_minimum_required(VERSION 3.24)
project(consumer LANGUAGES CXX)
find_package(models 2.0 REQUIRED)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE models::encoder models::decoder)
get_target_property(weights models::decoder AOTBUILD_WEIGHTS_FILE)
if(NOT EXISTS "${weights}")
  message(FATAL_ERROR "no weights: ${weights}")
endif()
"""

MAIN = """\
#include <cstdio>
#include <aotbuild/c_api.h>
#include <encoder.hpp>
#include <decoder.hpp>
int main() { std::printf("%d %d", encoder()(), decoder()()); }
"""


@pytest.fixture
def installed(make_project: MakeProject, tmp_path: Path) -> tuple[CMakeProject, Path]:
    """A project whose models are installed, then moved to another folder; its source and build trees are gone."""
    project = make_project(HEAD + LISTS)
    project.configure("-DCMAKE_INSTALL_LIBDIR=lib")
    project.build()
    project.run("cmake", "--install", project.build_dir, "--prefix", tmp_path / "first")
    prefix = tmp_path / "moved"
    (tmp_path / "first").rename(prefix)
    shutil.rmtree(project.source)
    shutil.rmtree(project.build_dir)
    project.write("main.cpp", MAIN)
    return project, prefix


def test_installed_tree_holds_what_is_needed_and_no_more(installed: tuple[CMakeProject, Path]) -> None:
    _, prefix = installed
    files = {path.relative_to(prefix).as_posix() for path in prefix.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith("include/aotbuild/")} == {
        "include/decoder.h",
        "include/decoder.hpp",
        "include/encoder.h",
        "include/encoder.hpp",
        "lib/cmake/models/modelsConfig.cmake",
        "lib/cmake/models/modelsConfigVersion.cmake",
        "lib/cmake/models/modelsTargets-noconfig.cmake",
        "lib/cmake/models/modelsTargets.cmake",
        "lib/decoder.safetensors",
        "lib/libaotbuild_runtime.a",
        "lib/libaotbuild_runtime_shared.so",
        "lib/libdecoder.so",
        "lib/libdnnl.so.3",
        "lib/libencoder.a",
        "lib/libsleef.so.3",
        "lib/pkgconfig/decoder.pc",
        "lib/pkgconfig/encoder.pc",
        "share/models/decoder.manifest.json",
        "share/models/encoder.manifest.json",
    }


def test_installed_text_files_name_no_path_outside(installed: tuple[CMakeProject, Path]) -> None:
    project, prefix = installed
    for path in [*prefix.rglob("*.cmake"), *prefix.rglob("*.pc"), *prefix.rglob("*.json"), *prefix.rglob("*.h*")]:
        assert str(project.source.parent) not in path.read_text(), path


@pytest.mark.quick
def test_find_package_uses_the_installed_models(installed: tuple[CMakeProject, Path]) -> None:
    project, prefix = installed
    project.write("CMakeLists.txt", CONSUMER)
    project.configure(
        f"-DCMAKE_PREFIX_PATH={prefix}",
        "-DCMAKE_DISABLE_FIND_PACKAGE_Python3=ON",
        "-DCMAKE_DISABLE_FIND_PACKAGE_aotbuild=ON",
        standin=False,
        package=False,
    )
    project.build()
    assert project.program() == "12 8"


def test_pkg_config_uses_the_installed_models(installed: tuple[CMakeProject, Path]) -> None:
    project, prefix = installed
    flags = project.run(
        "pkg-config", "--cflags", "--libs", "encoder", "decoder",
        environment={"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")},
    ).split()  # fmt: skip
    project.build_dir.mkdir()
    project.run("c++", project.source / "main.cpp", "-o", project.build_dir / "app", *flags)
    assert project.program() == "12 8"


def test_object_library_installs(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(
        HEAD + "add_aot_model(encoder OBJECT MODEL model.py:build)\naotbuild_install(TARGETS encoder PACKAGE models)\n"
    )
    project.configure("-DCMAKE_INSTALL_LIBDIR=lib")
    project.build()
    project.run("cmake", "--install", project.build_dir, "--prefix", tmp_path / "prefix")
    consumer = CMakeProject(
        tmp_path / "consumer",
        CONSUMER[: CONSUMER.index("get_target")].replace(" models::decoder", "").replace(" 2.0", ""),
        {},
        "Ninja",
    )
    consumer.configure(f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}", standin=False, package=False)
    consumer.build()
    assert consumer.program() == "12"


def test_projects_own_export_set_takes_the_output_targets(make_project: MakeProject) -> None:
    lists = (
        HEAD
        + """
add_aot_model(encoder MODEL model.py:build OUTPUT_TARGETS targets)
install(TARGETS ${targets} EXPORT mine)
install(EXPORT mine NAMESPACE mine:: DESTINATION lib/cmake/mine)
"""
    )
    make_project(lists).configure()
