"""RUNTIME torch: which libtorch a project takes, and models of it that are installed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from cmake_project import HEAD, CMakeProject

MakeProject = Callable[..., CMakeProject]

# The stand-in's models call nothing of libtorch.
LISTS = HEAD + "add_library(aotbuild_runtime_torch STATIC runtime.cpp)\n"
LISTS += "add_library(aotbuild_runtime_torch_shared STATIC runtime.cpp)\n"
MODELS = """
add_aot_model(encoder STATIC MODEL model.py:build RUNTIME torch OUTPUT_TARGETS encoder_targets)
add_aot_model(decoder SHARED MODEL model.py:build RUNTIME torch PARAMS add=1 OUTPUT_TARGETS decoder_targets)
"""
MAIN = """\
#include <decoder.hpp>
#include <encoder.hpp>
int main() { return decoder()() - encoder()() - 1; }
"""
VERSION = metadata.version("torch").partition("+")[0]


def write_libtorch(folder: Path, version: str = VERSION, libraries: tuple[str, ...] = ("torch_cpu", "c10")) -> Path:
    """What a project finds of a libtorch; the folder of its package."""
    package = folder / "share" / "cmake" / "Torch"
    package.mkdir(parents=True)
    (package / "TorchConfig.cmake").write_text('message(FATAL_ERROR "loaded")\n')
    (package / "TorchConfigVersion.cmake").write_text(f'set(PACKAGE_VERSION "{version}")\n')
    (folder / "lib").mkdir()
    for name in libraries:
        library = folder / "lib" / f"lib{name}.so"
        subprocess.run(
            ["cc", "-shared", "-o", library, f"-Wl,-soname,{library.name}", "-x", "c", "/dev/null"], check=True
        )
    return package


def errors(project: CMakeProject, *arguments: str) -> str:
    return " ".join(project.configure(*arguments, error=True).split())


@pytest.mark.quick
def test_the_generators_own_libtorch_is_taken_by_default(make_project: MakeProject) -> None:
    project = make_project(
        LISTS + MODELS + "get_target_property(include aotbuild::torch INTERFACE_INCLUDE_DIRECTORIES)\n"
        'message(STATUS "found ${include}")\nmessage(STATUS "targets ${encoder_targets} ${decoder_targets}")\n'
    )
    output = project.configure()
    assert f"found {metadata.distribution('torch').locate_file('torch/include')}" in output
    expected = "encoder;aotbuild_runtime;aotbuild_runtime_torch decoder;aotbuild_runtime_shared"
    assert f"targets {expected}" in output


@pytest.mark.quick
def test_libtorch_of_another_version_or_kind_is_refused(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(LISTS + MODELS)
    other = write_libtorch(tmp_path / "other", "2.9.1")
    assert (
        f"add_aot_model(encoder): RUNTIME torch needs libtorch {VERSION}, the version that the model is generated "
        f"with, but the one at {tmp_path / 'other'} is 2.9.1. Set Torch_DIR to the folder of the TorchConfig.cmake of "
        f"libtorch {VERSION}, or generate with torch 2.9.1."
    ) in errors(project, f"-DTorch_DIR={other}")
    static = write_libtorch(tmp_path / "static", libraries=())
    message = "has no shared library torch_cpu; RUNTIME torch needs one that was built with BUILD_SHARED_LIBS."
    assert message in errors(project, f"-DTorch_DIR={static}")


def test_installed_models_find_libtorch_where_they_are_used(make_project: MakeProject, tmp_path: Path) -> None:
    libtorch = write_libtorch(tmp_path / "libtorch")
    project = make_project(LISTS + MODELS + "aotbuild_install(TARGETS encoder decoder PACKAGE models)\n")
    project.configure("-DCMAKE_INSTALL_LIBDIR=lib", f"-DTorch_DIR={libtorch}")
    project.build()
    prefix = tmp_path / "prefix"
    project.run("cmake", "--install", project.build_dir, "--prefix", prefix)
    for path in [*prefix.rglob("*.cmake"), *prefix.rglob("*.pc")]:
        assert str(tmp_path) not in path.read_text(), path
    assert "-laotbuild_runtime_torch -laotbuild_runtime" in (prefix / "lib/pkgconfig/encoder.pc").read_text()

    consumer = CMakeProject(
        tmp_path / "consumer",
        "cmake_minimum_required(VERSION 3.24)\nproject(consumer LANGUAGES CXX)\nfind_package(models REQUIRED)\n"
        "add_executable(app main.cpp)\ntarget_link_libraries(app PRIVATE models::encoder models::decoder)\n",
        {"main.cpp": MAIN},
        "Ninja",
    )
    here = f"-DCMAKE_PREFIX_PATH={prefix}"
    message = (
        f"find_package(models): RUNTIME torch needs libtorch {VERSION}, and no TorchConfig.cmake was found. "
        "Set Torch_DIR to its folder (share/cmake/Torch below libtorch or below the Python package torch), or build "
        "the model with RUNTIME standalone."
    )
    output = consumer.configure(
        here, "-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF", standin=False, package=False, error=True
    )
    assert message in " ".join(output.split())
    consumer.configure(here, f"-DTorch_DIR={libtorch}", standin=False, package=False)
    consumer.build()
    consumer.program()
    needed = consumer.run("readelf", "-d", consumer.build_dir / "app")
    assert "libtorch_cpu.so" in needed


def test_python_packages_load_libtorch_of_the_package_torch(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(LISTS + MODELS + "aotbuild_install(TARGETS decoder PYTHON_PACKAGE site/pkg)\n")
    project.configure(f"-DTorch_DIR={write_libtorch(tmp_path / 'libtorch')}")
    project.build()
    project.run("cmake", "--install", project.build_dir, "--prefix", tmp_path / "prefix")
    dynamic = project.run("readelf", "-d", tmp_path / "prefix/site/pkg/libdecoder.so")
    assert "[$ORIGIN:$ORIGIN/../../torch/lib]" in dynamic
