"""What ends a configuration is named with its remedy: calls that do not fit together, and what a machine lacks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import HEAD, CMakeProject

pytestmark = pytest.mark.quick

FIND, _, RUNTIMES = HEAD.partition("find_package(aotbuild REQUIRED)\n")
MODEL = "add_aot_model(encoder MODEL model.py:build{})\n"
# Nothing is found in the folders of headers; what else a build needs is known.
NO_HEADERS = f"""\
set(CMAKE_IGNORE_PATH /usr/include /usr/local/include "{sys.prefix}/include")
set(AOTBUILD_SLEEF_INCLUDE_DIR /usr/include)
set(AOTBUILD_SLEEF_LIBRARY libsleef.so)
set(AOTBUILD_PREBUILT_RUNTIME OFF)
"""


@pytest.fixture
def fails(make_project: Callable[..., CMakeProject]) -> Callable[..., None]:
    """Configures a project, which has to fail, and looks for a text in what CMake prints."""
    project = make_project("", {"in\\quotes.bin": b""})

    def check(lists: str, text: str, head: str = HEAD, standin: bool = True) -> None:
        project.write("CMakeLists.txt", head + lists)
        output = " ".join(project.configure(error=True, standin=standin).split())
        assert text.format(source=project.source, build=project.build_dir) in output, output

    return check


def test_calls_that_do_not_fit_together(fails: Callable[..., None]) -> None:
    model = MODEL.format
    fails(
        model("") + "aotbuild_add_triton_model(encoder)\n",
        'aotbuild_add_triton_model(encoder): - "encoder" is nothing that a server can load; make it SHARED',
    )
    toolchain = "- the toolchain file is none of Emscripten's; set CMAKE_TOOLCHAIN_FILE to its Emscripten.cmake "
    fails(
        model(" SHARED WEIGHTS EXTERNAL") + "aotbuild_add_wasm_module(encoder)\n",
        'aotbuild_add_wasm_module(encoder): - "encoder" is no static library, as a module\'s parts are; make it STATIC '
        '- "encoder" has WEIGHTS EXTERNAL, and so no file that a page could fetch; use WEIGHTS FILE ' + toolchain,
    )
    fails(
        "set(EMSCRIPTEN TRUE)\nset(AOTBUILD_HAS_VECTORS TRUE)\n" + model(" SHARED"),
        "aotbuild: WebAssembly has no shared models; make them STATIC, and leave out BUILD_SHARED_LIBS.",
        head=FIND + "find_package(aotbuild REQUIRED)\n",
    )
    fails(
        model("") + model(""),
        'add_aot_model(encoder): - a model named "encoder" already exists in this build; choose another name '
        '- a target named "encoder" already exists; choose another name Keywords: VERBOSE ',
    )
    fails(
        model(" OUTPUT_DIR made") + "aotbuild_generate(decoder MODEL model.py:build OUTPUT_DIR made)\n",
        'aotbuild_generate(decoder): - OUTPUT_DIR {build}/made is the one of "encoder"; name another folder',
    )
    fails(
        "add_library(net_py INTERFACE)\n" + model(" PYTHON_MODULE net_py"),
        'add_aot_python_extension(encoder): - a target named "net_py", as the Python module, already exists; change '
        "PYTHON_MODULE",
    )
    fails(
        model(" NO_TEST") + "aotbuild_add_model_test(encoder)\n",
        "aotbuild_add_model_test(encoder): - the model was made with NO_TEST, which leaves out its test; remove it "
        "there",
    )
    fails(
        model("") + "aotbuild_add_model_benchmark(encoder)\n",
        "aotbuild_add_model_benchmark(encoder): - the model was made without BENCHMARK; add it there",
    )
    fails(
        model("") + "add_aot_python_extension(encoder)\n",
        "add_aot_python_extension(encoder): - the model was made without PYTHON_MODULE; add it there",
    )
    fails(
        model("") + "aotbuild_install(TARGETS encoder)\naotbuild_install(TARGETS encoder)\n",
        'aotbuild_install(encoder): - the package "user" is made by a call before; name all its TARGETS there, or '
        "choose another PACKAGE",
    )
    fails(
        model("") + "aotbuild_install(TARGETS encoder PYTHON_PACKAGE nets)\n",
        '- "encoder" is nothing that Python can load; make it SHARED or give it a PYTHON_MODULE',
    )
    fails(
        model("") + 'aotbuild_embed_binary(encoder FILE "in\\\\quotes.bin" SYMBOL blob)\n',
        'FILE "in\\quotes.bin": the assembler takes no name with quotes or backslashes; rename it',
    )
    fails(
        model("") + "aotbuild_embed_binary(encoder FILE .. SYMBOL blob)\n",
        'FILE "..": {source.parent}/ is a folder; name a file',
    )


def test_toolchain_of_webassembly_without_vectors(fails: Callable[..., None]) -> None:
    """The compiler is the machine's, which has no such option."""
    fails(
        "set(EMSCRIPTEN TRUE)\n" + MODEL.format(""),
        "makes no vectors of WebAssembly (-msimd128). Use Emscripten 3.1 or later (Debian: emscripten).",
        head=FIND + "find_package(aotbuild REQUIRED)\n",
    )


def test_module_of_a_project_with_threads(fails: Callable[..., None]) -> None:
    fails(
        "set(EMSCRIPTEN TRUE)\nset(AOTBUILD_HAS_VECTORS TRUE)\nset(AOTBUILD_WASM_THREADS TRUE)\n"
        + MODEL.format("")
        + "aotbuild_add_wasm_module(encoder)\n",
        "aotbuild_add_wasm_module(encoder): - the project is compiled with -pthread, and modules have one thread; "
        "leave it out",
        head=FIND + "find_package(aotbuild REQUIRED)\n",
    )


def test_what_a_machine_lacks(fails: Callable[..., None]) -> None:
    fails(
        "set(CMAKE_DISABLE_FIND_PACKAGE_GTest ON)\n" + MODEL.format(""),
        "aotbuild_add_model_test(encoder): GoogleTest was not found. Install it (Debian's libgtest-dev), or pass "
        "NO_TEST to add_aot_model to go without the test.",
    )
    fails(
        "set(CMAKE_DISABLE_FIND_PACKAGE_benchmark ON)\n" + MODEL.format(" NO_TEST BENCHMARK"),
        "aotbuild_add_model_benchmark(encoder): Google Benchmark was not found. Install it (Debian's libbenchmark-dev)"
        ", or leave out BENCHMARK.",
    )
    fails(
        "set(CMAKE_DISABLE_FIND_PACKAGE_pybind11 ON)\n" + MODEL.format(" NO_TEST PYTHON_MODULE net_py"),
        f"add_aot_python_extension(encoder): pybind11 was not found. Install it for {sys.executable} (pip install "
        "pybind11), or set pybind11_DIR.",
    )
    fails(
        "set(CMAKE_DISABLE_FIND_PACKAGE_OpenMP ON)\n" + MODEL.format(""),
        "has no OpenMP. GCC brings it; for Clang install libomp (Debian: libomp-dev). If it is there, "
        "CMake's log in CMakeFiles says why the check failed: a full disk, for example.",
    )
    fails(
        NO_HEADERS + MODEL.format(" NO_TEST"),
        "aotbuild: the header nlohmann/json.hpp was not found. Install it (Debian's nlohmann-json3-dev), or set "
        "AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR.",
        head=FIND + "find_package(aotbuild REQUIRED)\n",
    )
    fails(
        "unset(AOTBUILD_DNNL_INCLUDE_DIR CACHE)\n"
        + NO_HEADERS
        + "set(AOTBUILD_ONEDNN ON)\nset(AOTBUILD_DNNL_LIBRARY libdnnl.so)\n"
        + MODEL.format(" NO_TEST"),
        "aotbuild: oneDNN was not found (libdnnl and oneapi/dnnl/dnnl.hpp), neither below "
        f"{sys.prefix} nor in the system. Install it (pip install onednn-devel-cpu-gomp), or set AOTBUILD_DNNL_LIBRARY",
    )
    fails(
        "set(CMAKE_CXX_COMPILER_ID MSVC)\n" + MODEL.format(""),
        "aotbuild: the C++ compiler MSVC is not supported; GCC and Clang are.",
    )
    for compiler in ("GNU 10.2.1", "Clang 13.0.1"):
        name, version = compiler.split()
        fails(
            f"set(CMAKE_CXX_COMPILER_ID {name})\nset(CMAKE_CXX_COMPILER_VERSION {version})\n" + MODEL.format(""),
            f"is {compiler}; GCC 11 and Clang 14 are the oldest that are supported. Set CMAKE_CXX_COMPILER to a later "
            "one.",
        )


def test_interpreters_and_generators_that_do_not_work(fails: Callable[..., None], tmp_path: Path) -> None:
    remedy = "Set AOTBUILD_PYTHON to the interpreter of the environment that aotbuild and torch are installed in."
    scripts = {"broken": "echo no modules >&2; exit 1", "old": """echo '{"version": "3.9.1", "prefix": "/"}'"""}
    for name, line in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    fails(
        f'set(AOTBUILD_PYTHON "{tmp_path}/broken")\n' + MODEL.format(""),
        f"aotbuild: the Python interpreter {tmp_path}/broken does not work: no modules {remedy}",
        standin=False,
    )
    fails(
        f'set(AOTBUILD_PYTHON "{tmp_path}/old")\n' + MODEL.format(""),
        f"aotbuild: {tmp_path}/old is Python 3.9.1; 3.10 or later is needed. {remedy}",
        standin=False,
    )
    fails(
        'set(AOTBUILD_GENERATOR "/nowhere/generator.py")\n' + MODEL.format(""),
        "AOTBUILD_GENERATOR names the file /nowhere/generator.py, which does not exist; name another, or unset it.",
        standin=False,
    )


def test_a_plan_that_fails_is_reported_as_aotbuilds_fault(fails: Callable[..., None], tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" != -I ] || {{ echo no memory >&2; exit 1; }}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    fails(
        f'set(AOTBUILD_PYTHON "{python}")\n' + MODEL.format(""),
        "aotbuild: planning add_aot_model failed, which is a fault of aotbuild: no memory",
        standin=False,
    )
