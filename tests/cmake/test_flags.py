"""Flags of the user's project that change what code means or how it is linked."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import HEAD, CMakeProject

MakeProject = Callable[..., CMakeProject]

EVERY_KIND = (
    HEAD
    + """
add_aot_model(encoder STATIC MODEL model.py:build NO_TEST)
add_aot_model(decoder SHARED MODEL model.py:build NO_TEST PARAMS add=1)
add_aot_model(scorer OBJECT MODEL model.py:build NO_TEST PARAMS add=2)
add_aot_model(reader STATIC MODEL model.py:build NO_TEST WEIGHTS FILE)
add_executable(app main.cpp)
aotbuild_embed_binary(app FILE data.bin SYMBOL blob)
target_link_libraries(app PRIVATE encoder decoder scorer reader)
"""
)
USES_EVERY_KIND = """\
#include <blob.h>
#include <cstdio>
#include <decoder.hpp>
#include <encoder.hpp>
#include <reader.hpp>
#include <scorer.hpp>
int main() { std::printf("%d %d %d %d %c", encoder()(), decoder()(), scorer()(), reader()(), blob[0]); }
"""


@pytest.mark.parametrize("flag", ["CMAKE_CXX_FLAGS=-flto", "CMAKE_INTERPROCEDURAL_OPTIMIZATION=ON"])
def test_embedded_bytes_link_with_link_time_optimisation(make_project: MakeProject, flag: str) -> None:
    """They are written in assembly, which the linker's plugin does not see."""
    project = make_project(EVERY_KIND, {"main.cpp": USES_EVERY_KIND, "data.bin": "x"})
    project.configure(f"-D{flag}", "-DCMAKE_BUILD_TYPE=Release")
    project.build()
    assert project.program() == "12 13 14 7 x"


STRICT = """\
import torch


class Strict(torch.nn.Module):
    \"\"\"What -ffast-math and its parts give other results for.\"\"\"

    def forward(self, x, mask, tiny, large):
        weights = torch.softmax(x.masked_fill(mask, -torch.inf), -1)
        return {
            "weights": weights,
            "attended": torch.where(torch.isnan(weights), 0, weights),
            "squares": large * large,
            "is_infinite": torch.isinf(large * large),
            "signs": torch.copysign(torch.ones_like(x), (x - x) * -1.0),
            "sums": (x + large) - large,
            "halves": tiny * 0.5,
            "quotients": (x / 49.0) * 49.0 == x,
            "order": torch.sort(torch.where(mask, torch.nan, x)).indices,
            "largest": torch.maximum(torch.where(mask, torch.nan, x), x),
        }


def build():
    x = torch.arange(1.0, 65.0).reshape(4, 16)
    mask = torch.zeros(4, 16, dtype=torch.bool)
    mask[1] = True
    mask[2, ::3] = True
    return Strict(), (x, mask, torch.full((64,), 2.0**-128), torch.full((4, 16), 1e30))
"""
HOSTILE = """\
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
enable_testing()
find_package(aotbuild REQUIRED)
add_library(flags INTERFACE)
target_compile_options(flags INTERFACE -ffinite-math-only -fno-signed-zeros)
link_libraries(flags)
add_aot_model(strict STATIC PRESET debug MODEL strict.py:build)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE strict)
"""
FLUSHING = """\
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <strict.hpp>
#include <vector>
#include <xmmintrin.h>

int main() {
  const unsigned flushes = 0x8040;  // set by code that is linked with -Ofast
  const bool before = (_mm_getcsr() & flushes) == flushes;
  const std::vector<float> x(64, 1.0F), numbers(64, 0x1p-128F);
  const bool mask[64] = {};
  const auto strict = Strict::try_create();
  if (!strict) return 1;
  const auto outputs = strict->try_run({{x.data(), {4, 16}}, {mask, {4, 16}}, numbers, {x.data(), {4, 16}}});
  const auto refused = strict->try_run({{x.data(), {4, 15}}, {mask, {4, 16}}, numbers, {x.data(), {4, 16}}});
  if (!outputs || refused) return 2;
  std::uint32_t bits = 0;
  std::memcpy(&bits, outputs->halves.data(), sizeof(bits));
  std::printf("%d %x %d %s", before, bits, (_mm_getcsr() & flushes) == flushes, refused.status().message().c_str());
}
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="some of the flags are for x86-64 alone")
def test_no_flag_of_the_project_changes_what_a_model_computes(tmp_path: Path) -> None:
    """The golden test passes, and compares NaN with NaN, with every flag that breaks IEEE 754 or C++."""
    project = CMakeProject(tmp_path, HOSTILE, {"strict.py": STRICT, "main.cpp": FLUSHING}, "Ninja")
    flags = (
        "-Ofast -ffast-math -fsingle-precision-constant -mfpmath=387 -flto "
        "-fno-exceptions -fno-rtti -fno-threadsafe-statics -Wall -Wextra -Wpadded -Wnull-dereference -Werror"
    )
    project.configure(f"-DCMAKE_CXX_FLAGS={flags}", standin=False)
    project.build()
    project.run("ctest", "--test-dir", project.build_dir, "--output-on-failure", "--no-tests=error")
    assert project.program().startswith("1 100000 1 strict: input 'x'")
