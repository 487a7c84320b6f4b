"""Systems that models are cross-compiled for, and how their golden tests are built and run here."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_builds import HERE, ROOT, Target, compile_targets, configure, generate_targets, run

FOLDER = ROOT / "build" / "systems"
GOOGLETEST = Path("/usr/src/googletest/googletest")


@dataclass(frozen=True)
class System:
    """One value of CMAKE_TOOLCHAIN_FILE. ``programs``: by the Debian package that has each."""

    name: str
    cpu_isa: str
    programs: dict[str, str]
    kinds: tuple[str, ...] = ("STATIC",)

    def missing(self, **more: str) -> list[str]:
        """The Debian packages that this machine lacks, ``more`` among them."""
        programs = {**self.programs, **more}
        absent = [package for package, program in programs.items() if shutil.which(program) is None]
        return [*absent, *([] if GOOGLETEST.is_dir() else ["googletest"])]

    @property
    def toolchain(self) -> Path:
        return HERE / "toolchains" / f"{self.name}.cmake"


SYSTEMS = {
    system.name: system
    for system in (
        System(
            "windows",
            "x86-64-v3",
            {"g++-mingw-w64-x86-64-posix": "x86_64-w64-mingw32-g++-posix", "wine": "wine"},
            ("STATIC", "SHARED"),
        ),
        System("aarch64", "aarch64", {"g++-aarch64-linux-gnu": "aarch64-linux-gnu-g++", "qemu-user": "qemu-aarch64"}),
        System("riscv64", "riscv64", {"g++-riscv64-linux-gnu": "riscv64-linux-gnu-g++", "qemu-user": "qemu-riscv64"}),
        System("wasm", "wasm32", {"emscripten": "em++", "nodejs": "node"}),
        System("wasm-threads", "wasm32", {"emscripten": "em++", "nodejs": "node"}),
        System("armv7", "armv7", {"g++-arm-linux-gnueabihf": "arm-linux-gnueabihf-g++", "qemu-user": "qemu-arm"}),
    )
}

# What makes a program of MSVC's ABI, by the Debian package that has each.
OTHER_COMPILER = {"clang": "clang", "lld": "lld-link", "llvm": "llvm-dlltool"}

# The model that is made a module of WebAssembly, of those of the zoo.
MODULE = "reductions"
# The project compiles GoogleTest, of which Debian has no package for these systems.
HEAD = f"""
enable_language(C)
set(INSTALL_GTEST OFF)
add_subdirectory("{GOOGLETEST}" googletest EXCLUDE_FROM_ALL)
"""


def build_for(
    system: System,
    models: Mapping[str, str],
    preset: str,
    *arguments: str,
    kinds: Sequence[str] = (),
    in_file: Sequence[str] = (),
) -> dict[str, Path]:
    """The build trees by the kind of library of models, functions of the zoo or values of MODEL by their targets.

    Each model is lowered once. ``kinds``: STATIC, SHARED or both; those of the system by default. ``in_file``: targets
    with WEIGHTS FILE.
    """
    kinds = kinds or system.kinds
    targets = [
        Target(
            name,
            model,
            kind=kinds[0],
            cpu_isa=(system.cpu_isa,),
            weights="FILE" if name in in_file else "EMBED",
            test=True,
            preset=preset,
        )
        for name, model in models.items()
    ]
    first = FOLDER / system.name / preset / kinds[0].lower()
    generate_targets(first, targets)
    trees = {}
    for kind in kinds:
        folder = FOLDER / system.name / preset / kind.lower()
        if folder != first:
            for target in targets:
                output = f"build/{target.name}.aotbuild"
                shutil.copytree(first / output, folder / output, dirs_exist_ok=True)
        trees[kind] = compile_targets(
            folder,
            [dataclasses.replace(target, kind=kind) for target in targets],
            f"aotbuild_install(TARGETS {targets[0].name} PACKAGE installed VERSION 1.0)\n"
            + (f"aotbuild_add_wasm_module({MODULE})\n" if system.name == "wasm" else ""),
            f"-DCMAKE_TOOLCHAIN_FILE={system.toolchain}",
            *(["-DAOTBUILD_TEST_DLLS=ON"] if kind == "SHARED" else []),
            *arguments,
            before=HEAD,
        )
    return trees


USER = """
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
find_package(installed 1.0 REQUIRED)
add_executable(user main.cpp)
target_link_libraries(user PRIVATE installed::{name})
install(TARGETS user)
"""
PROGRAM = """
#include <cstdio>

#include "{name}.hpp"

int main() {{
  const {class_name} model;
  std::puts({class_name}::input_metadata[0].name);
}}
"""


def output_of_installed(system: System, build: Path, name: str, class_name: str, *arguments: str) -> str:
    """What a program prints that knows the model by find_package alone, and that lies beside nothing but DLLs."""
    folder = build.parent / "user"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(USER.format(name=name))
    (folder / "main.cpp").write_text(PROGRAM.format(name=name, class_name=class_name))
    prefix = folder / "prefix"
    run("cmake", "--install", build, "--prefix", prefix)
    run(
        "cmake", "-S", folder, "-B", folder / "build", "-G", "Ninja", f"-Dinstalled_ROOT={prefix}",
        f"-DCMAKE_TOOLCHAIN_FILE={system.toolchain}", *arguments,
    )  # fmt: skip
    run("cmake", "--build", folder / "build")
    run("cmake", "--install", folder / "build", "--prefix", prefix)
    [program] = (prefix / "bin").glob("user*")
    return run(system.toolchain.parent / "wine.sh", program)


def refusal_without(system: System, build: Path, pattern: str) -> tuple[str, str]:
    """The name of a DLL that the program of ``output_of_installed`` needs, and what Windows prints without it."""
    folder = build.parent / "user/prefix/bin"
    [library] = folder.glob(pattern)
    [program] = folder.glob("user*")
    hidden = library.rename(library.with_suffix(".hidden"))
    try:
        wine = system.toolchain.parent / "wine.sh"
        return library.name, run("sh", "-c", '! "$@"', "sh", wine, program, WINEDEBUG="err+module")
    finally:
        hidden.rename(library)


def output_of_other_compiler(system: System, build: Path, name: str) -> str:
    """What a program of MSVC's ABI prints, which Clang compiles, of a model's DLL that MinGW-w64 made."""
    folder = build.parent / "msvc"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    installed = build.parent / "user/prefix/bin"
    for library in installed.glob("*.dll"):
        shutil.copy(library, folder)
    [library] = folder.glob(f"*{name}*.dll")
    exports = {
        "model": (library.name, f"{name}_api"),
        "kernel32": ("kernel32.dll", "GetStdHandle WriteFile ExitProcess"),
    }
    for stem, (file, symbols) in exports.items():
        (folder / f"{stem}.def").write_text("\n".join([f"LIBRARY {file}", "EXPORTS", *symbols.split()]) + "\n")
        run("llvm-dlltool", "-m", "i386:x86-64", "-d", folder / f"{stem}.def", "-l", folder / f"{stem}.lib")
    run(
        "clang", "--target=x86_64-pc-windows-msvc", "-std=c11", "-ffreestanding", "-Wall", "-Wextra", "-Werror",
        "-pedantic-errors", "-O1", f"-DMODEL_API={name}_api", f"-I{ROOT / 'cpp/include'}",
        "-c", HERE / "msvc_user.c", "-o", folder / "user.obj",
    )  # fmt: skip
    libraries = [folder / f"{stem}.lib" for stem in exports]
    run(
        "lld-link", "/entry:start", "/subsystem:console", "/nodefaultlib", f"/out:{folder / 'user.exe'}",
        folder / "user.obj", *libraries,
    )  # fmt: skip
    return run(system.toolchain.parent / "wine.sh", folder / "user.exe")


def output_of_module(build: Path, name: str, class_name: str) -> str:
    """What comparing the WebAssembly module of a model with its golden file prints."""
    module = build / f"{name}.web" / f"{name}.mjs"
    golden = build / f"{name}.aotbuild/test/{name}.golden.safetensors"
    return run("node", HERE / "module_test.mjs", module, class_name, golden)


def demo(system: System, *arguments: str) -> tuple[str, str, int]:
    """What the program of examples/semantic_search prints in a folder with its vocabulary and corpus alone, what its
    page says that it prints, and its size in bytes without symbols and weights."""
    example = ROOT / "examples" / "semantic_search"
    build, folder = FOLDER / system.name / "demo", FOLDER / system.name / "demo alone"
    configure(
        example, build, f"-DCMAKE_TOOLCHAIN_FILE={system.toolchain}", f"-DPython3_EXECUTABLE={sys.executable}",
        "-DBUILD_TESTING=OFF", "-DCMAKE_EXE_LINKER_FLAGS=-static -Wl,--gc-sections", *arguments,
    )  # fmt: skip
    run("cmake", "--build", build)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    program = folder / "semantic_search.exe"
    run("x86_64-w64-mingw32-strip", "-o", program, build / program.name)
    for file in (build / "vocab.txt", example / "corpus.txt"):
        shutil.copy(file, folder)
    # The page has how it is configured, built and run, and then what it prints.
    command, *expected = re.findall(r"(?<=^    ).*$", (example / "README.md").read_text(), re.MULTILINE)[2:7]
    query = command.split('"')[1]
    program_words = (f"./{program.name}", "--corpus", "corpus.txt", "--query", query)
    printed = run("env", "-C", folder, system.toolchain.parent / "wine.sh", *program_words)
    manifest = json.loads((build / "encoder.aotbuild" / "encoder.manifest.json").read_text())
    return printed.replace("\r", "").strip(), "\n".join(expected), program.stat().st_size - manifest["weights"]["bytes"]


def runtime_tests(system: System, *arguments: str) -> str:
    """What the C++ tests of public headers and of the CUDA runtime print, over the stand-in for the driver."""
    folder = FOLDER / system.name / "runtime"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "GTestConfig.cmake").write_text("# The project compiles GoogleTest.\n")
    (folder / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.24)\nproject(runtime LANGUAGES CXX)\nenable_testing()\n{HEAD}"
        f'set(GTest_DIR "{folder}")\nset(AOTBUILD_BUILD_TESTS ON)\n'
        f'add_subdirectory("{ROOT}" aotbuild EXCLUDE_FROM_ALL)\n'
    )
    build = folder / "build"
    configure(folder, build, f"-DCMAKE_TOOLCHAIN_FILE={system.toolchain}", *arguments)
    targets = ("aotbuild_cuda_tests", "aotbuild_tensor_tests")
    run("cmake", "--build", build, "--target", *targets)
    return run("ctest", "--test-dir", build, "--no-tests=error", "--output-on-failure", "-R", "^(cuda|tensor)[.]")


def passed_tests(build: Path, *arguments: str) -> dict[str, int]:
    """Runs the golden tests of a build tree: how many cases of each model have passed, if all have."""
    folder = build / "Testing" / "Temporary"
    run(
        "sh",
        "-c",
        'ctest "$@" || true',
        "ctest",
        "--test-dir",
        build,
        "--no-tests=error",
        "--timeout",
        "600",
        *arguments,
    )
    log = (folder / "LastTest.log").read_text(errors="replace")
    found: dict[str, int] = {}
    failed = []
    for name, text in re.findall(r"^\d+/\d+ Testing: (\S+)\n(.*?)^\"\1\" end time", log, re.DOTALL | re.MULTILINE):
        passed = re.findall(r"^\[  PASSED  \] (\d+) tests?\.", text, re.MULTILINE)
        if len(passed) == 1 and "\nTest Passed." in text:
            found[name] = int(passed[0])
        else:
            failed.append(f"{name}:\n{text[-3000:]}")
    assert not failed, f"{len(found)} models passed, {len(failed)} failed\n" + "\n".join(failed)
    return found
