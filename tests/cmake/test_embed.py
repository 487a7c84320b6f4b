"""aotbuild_embed_binary: bytes in a program, and what a changed file runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cmake_project import CMakeProject

MakeProject = Callable[..., CMakeProject]

HEAD = "cmake_minimum_required(VERSION 3.24)\nproject(user LANGUAGES CXX)\nfind_package(aotbuild REQUIRED)\n"
LISTS = (
    HEAD
    + """
add_custom_command(OUTPUT made.bin COMMAND "${CMAKE_COMMAND}" -E copy "${CMAKE_CURRENT_SOURCE_DIR}/data.bin" made.bin
  DEPENDS data.bin)
add_library(shared SHARED shared.cpp)
aotbuild_embed_binary(shared FILE made.bin SYMBOL blob)
add_executable(app main.cpp)
aotbuild_embed_binary(app FILE data.bin SYMBOL blob ALIGNMENT 4096)
aotbuild_embed_binary(app FILE "an empty file" SYMBOL nothing)
target_link_libraries(app PRIVATE shared)
"""
)
FILES = {
    "data.bin": b"ab\x00c",
    "an empty file": b"",
    "shared.cpp": "#include <blob.h>\nint last();\nint last() { return blob[blob_size - 1]; }\n",
    "main.cpp": """\
#include <blob.h>
#include <nothing.h>
#include <cstdint>
#include <cstdio>
int last();
int main() {
  std::printf("%d %zu %zu %d", blob[0], blob_size, nothing_size, last());
  return static_cast<int>(reinterpret_cast<std::uintptr_t>(blob) % 4096);
}
""",
}


@pytest.mark.quick
def test_bytes_are_in_the_program_and_follow_the_file(make_project: MakeProject, generator: str) -> None:
    project = make_project(LISTS, FILES, generator)
    project.configure("-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror")
    project.build()
    assert project.program() == "97 4 0 99"
    symbols = project.run("nm", "--dynamic", project.build_dir / "libshared.so")
    assert "blob" not in symbols
    assert project.ran(project.build()) == {"compiled": [], "linked": []}
    project.write("data.bin", b"xyz")
    ran = project.ran(project.build())
    assert ran["compiled"] == ["blob.cpp", "blob.cpp"]
    assert project.program() == "120 3 0 122"


@pytest.mark.quick
def test_every_problem_is_reported(make_project: MakeProject) -> None:
    project = make_project(
        HEAD + "add_library(lib INTERFACE)\n" + "aotbuild_embed_binary(lib FILES data.bin SYMBOL 9lives ALIGNMENT 3)\n",
    )
    output = " ".join(project.configure(error=True).split())
    assert (
        'aotbuild_embed_binary(lib): - unknown keyword "FILES"; did you mean FILE? '
        '- "lib" compiles nothing (INTERFACE_LIBRARY); name a library or program '
        '- SYMBOL "9lives" is not a C identifier '
        '- ALIGNMENT "3" is not a power of 2 up to 4096 '
        f'- FILE "data.bin": {project.source}/data.bin does not exist, and no rule of this directory makes it '
        "Keywords: FILE SYMBOL ALIGNMENT"
    ) in output
    project.write("CMakeLists.txt", HEAD + "aotbuild_embed_binary(nothing FILE none.bin)\n")
    output = " ".join(project.configure(error=True).split())
    assert (
        '- there is no target "nothing"; make it before this call - SYMBOL is missing; write FILE file SYMBOL name '
        '- FILE "none.bin": '
    ) in output
    assert f"{project.source}/none.bin does not exist, and no rule of this directory makes it" in output
