"""Kernels of a model's own, in C++ and C, compiled into its library."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_builds import configure, run

MODEL = """\
import torch
from torch import Tensor

import aotbuild


@torch.library.custom_op("build_kernels::snake", mutates_args=())
def snake(x: Tensor, alpha: float) -> Tensor:
    return x + torch.sin(alpha * x) ** 2 / alpha


@snake.register_fake
def _(x: Tensor, alpha: float) -> Tensor:
    return torch.empty(x.shape)


@torch.library.custom_op("build_kernels::signs", mutates_args=())
def signs(x: Tensor, scales: list[int], bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return x.clamp(min=0) * scales[0], x.clamp(max=0) * scales[1]


@signs.register_fake
def _(x: Tensor, scales: list[int], bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return torch.empty(x.shape), torch.empty(x.shape)


aotbuild.register_kernel(
    snake,
    "AOTITorchError snake(AtenTensorHandle x, double alpha, AtenTensorHandle* result)",
    ["kernels/snake.cpp"],
)
aotbuild.register_kernel(
    signs,
    "AOTITorchError signs(AtenTensorHandle x, const int64_t* scales, int64_t scales_size, AtenTensorHandle* bias, "
    "AtenTensorHandle* positive, AtenTensorHandle* negative)",
    ["kernels/signs.c"],
)


class Net(torch.nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        positive, negative = signs(snake(x.T, 2.0) * 2, [3, 5])
        return positive, negative - 1


def build():
    return Net(), (torch.randn(4, 5),)
"""

SNAKE = """\
#include "aotbuild/kernel.h"

#include <cmath>
#include <stdexcept>

extern "C" AOTITorchError snake(AtenTensorHandle x, double alpha, AtenTensorHandle* result) {
  if (alpha == 0) throw std::invalid_argument("snake: alpha is 0");
  AtenTensorHandle rows = nullptr;
  aotbuild_kernel_tensor in, out;
  if (aotbuild_kernel_contiguous(x, &rows)) return AOTI_TORCH_FAILURE;
  if (aotbuild_kernel_describe(rows, &in) || aotbuild_kernel_allocate(in.dtype, in.ndim, in.sizes, result) ||
      aotbuild_kernel_describe(*result, &out)) {
    return AOTI_TORCH_FAILURE;
  }
  for (int64_t i = 0; i < in.numel; ++i) {
    const float value = static_cast<const float*>(in.data)[i];
    const float sine = std::sin(static_cast<float>(alpha) * value);
    static_cast<float*>(out.data)[i] = value + sine * sine / static_cast<float>(alpha);
  }
  aotbuild_kernel_release(rows);
  return AOTI_TORCH_SUCCESS;
}
"""

SIGNS = """\
#include "aotbuild/kernel.h"

AOTITorchError signs(AtenTensorHandle x, const int64_t* scales, int64_t scales_size, AtenTensorHandle* bias,
                     AtenTensorHandle* positive, AtenTensorHandle* negative) {
  aotbuild_kernel_tensor in, above, below;
  int64_t i;
  if (scales_size != 2 || bias != NULL) return aotbuild_kernel_fail("signs: two scales and no bias");
  if (aotbuild_kernel_describe(x, &in) || aotbuild_kernel_allocate(in.dtype, in.ndim, in.sizes, positive) ||
      aotbuild_kernel_allocate(in.dtype, in.ndim, in.sizes, negative) ||
      aotbuild_kernel_describe(*positive, &above) || aotbuild_kernel_describe(*negative, &below)) {
    return AOTI_TORCH_FAILURE;
  }
  for (i = 0; i < in.numel; ++i) {
    const float value = ((const float*)in.data)[i];
    ((float*)above.data)[i] = value > 0 ? value * (float)scales[0] : 0;
    ((float*)below.data)[i] = value < 0 ? value * (float)scales[1] : 0;
  }
  return AOTI_TORCH_SUCCESS;
}
"""

# Two models with the same kernels in one program: the test of each runs alone, and the program links both.
LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES C CXX)
enable_testing()
find_package(aotbuild REQUIRED)
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
add_aot_model(first MODEL model.py:build)
add_aot_model(second OBJECT MODEL model.py:build NO_TEST)
add_executable(both main.cpp)
target_link_libraries(both PRIVATE first second)
add_test(NAME both COMMAND both)
"""

MAIN = """\
#include <first.hpp>
#include <second.hpp>
#include <vector>

int main() {
  const std::vector<float> x(20, 1.0F);
  const auto one = First().run({{x.data(), {4, 5}}});
  const auto two = Second().run({{x.data(), {4, 5}}});
  return one.output_0(4, 3) == two.output_0(4, 3) ? 0 : 1;
}
"""


@pytest.mark.slow
def test_kernels_in_cpp_and_c_are_built_into_their_models_and_an_edit_compiles_one(tmp_path: Path) -> None:
    source, build = tmp_path / "source", tmp_path / "build"
    (source / "kernels").mkdir(parents=True)
    files = {"model.py": MODEL, "kernels/snake.cpp": SNAKE, "kernels/signs.c": SIGNS, "main.cpp": MAIN}
    for name, text in {**files, "CMakeLists.txt": LISTS}.items():
        (source / name).write_text(text)
    configure(source, build)
    run("cmake", "--build", build)
    run("ctest", "--test-dir", build, "--output-on-failure")

    (source / "kernels" / "snake.cpp").write_text(SNAKE + "// edited\n")
    printed = run("cmake", "--build", build, "--target", "first")
    assert "first_custom_0.cpp" in printed
    assert "signs" not in printed and "first_run" not in printed and "Generating" not in printed
    assert printed.count("Building") == 1

    (source / "kernels" / "snake.cpp").write_text(SNAKE.replace("alpha == 0", "alpha == 2"))
    run("cmake", "--build", build)
    failed = run("sh", "-c", f"! ctest --test-dir {build} -R '^first$' --output-on-failure")
    assert "first: snake: alpha is 0" in failed
