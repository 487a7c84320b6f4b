"""A CUDA model built on a machine without a GPU, and run over a stand-in for NVIDIA's driver."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import REPOSITORY, CMakeProject

MakeProject = Callable[..., CMakeProject]

LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
find_package(aotbuild REQUIRED)
set(CMAKE_CUDA_ARCHITECTURES 90)
add_aot_model(net MODEL net.py:build DEVICE cuda CUDA_ARCHITECTURES 80-virtual 90 NO_TEST)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE net)

add_library(fake_cuda SHARED "${FAKE_CUDA}/fake_cuda.cpp" kernels.cpp)
target_include_directories(fake_cuda PRIVATE "${FAKE_CUDA}")
target_compile_features(fake_cuda PRIVATE cxx_std_17)
"""

NET = """\
import torch
from torch import nn

from aotbuild import Model


def build():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32)).half()
    batch = torch.export.Dim("batch", min=1, max=64)
    return Model(module, (torch.randn(8, 64).half(),), dynamic_shapes={"input": {0: batch}})
"""

MAIN = """\
#include <cstdio>
#include <vector>
#include <net.hpp>

int main() try {
  const Net net;
  std::vector<aotbuild::float16> x(3 * 64);
  const auto y = net.run({{x.data(), {3, 64}}}).output;
  std::printf("%d x %d", static_cast<int>(y.size(0)), static_cast<int>(y.size(1)));
} catch (const aotbuild::Error& error) {
  std::printf("%d: %s", error.status(), error.what());
}
"""

# Kernels that do nothing.
KERNELS = """\
#include <initializer_list>
#include "fake_cuda.hpp"
namespace {
int nothing(const fake_cuda::Launch&, void**) { return 0; }
[[maybe_unused]] const bool added = [] {
  for (const char* name : std::initializer_list<const char*>{%s}) fake_cuda::add_kernel(name, nothing, {});
  return true;
}();
}  // namespace
"""


@pytest.mark.slow
def test_model_without_a_gpu_builds_and_launches(make_project: MakeProject) -> None:
    project = make_project(LISTS, {"net.py": NET, "main.cpp": MAIN, "kernels.cpp": KERNELS % ""})
    project.configure(
        "-DCMAKE_BUILD_TYPE=Release",
        "-DAOTBUILD_ONEDNN=OFF",
        f"-DAOTBUILD_PYTHON={sys.executable}",
        f"-DFAKE_CUDA={REPOSITORY / 'tests' / 'cpp' / 'fake_cuda'}",
        standin=False,
    )
    project.build()
    output = project.build_dir / "net.aotbuild"
    manifest = json.loads((output / "net.manifest.json").read_text())
    assert manifest["cuda_architectures"] == ["sm_90", "compute_80"]
    assert {spec["device"] for spec in manifest["inputs"] + manifest["outputs"]} == {"cuda"}
    needed = subprocess.run(["ldd", project.build_dir / "app"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"cuda|torch|cublas|dnnl", needed)
    assert "ninja: no work to do" in project.build()

    driver = project.build_dir / "libfake_cuda.so"
    run = _runner(project)
    assert re.search(
        r"^3: net: built for CUDA, but this machine has no NVIDIA driver \(.*\); install", run("/nowhere.so")
    )
    # The stand-in knows real machine code when it sees it, and refuses.
    assert re.search(r"^3: net: cuModuleLoadData failed for kernel 'triton_\w+'", run(driver))

    # Images of the stand-in's own kind, where the tables say that kernels lie.
    names = _replace_images(output / "src" / "net_run_sm_90.cpp", output / "net.images_sm_90.bin")
    project.write("kernels.cpp", KERNELS % ", ".join(f'"{name}"' for name in names))
    ran = project.ran(project.build())
    assert ran["compiled"] == ["kernels.cpp", "net_images_sm_90.cpp"]
    assert run(driver) == "3 x 32"


def _runner(project: CMakeProject) -> Callable[[Path | str], str]:
    def run(driver: Path | str) -> str:
        return project.run(project.build_dir / "app", environment={"AOTBUILD_CUDA_DRIVER": str(driver)})

    return run


def _replace_images(source: Path, images: Path) -> list[str]:
    """Writes what the stand-in loads over each image of a table of kernels, and gives the kernels' names."""
    data = bytearray(images.read_bytes())
    rows = re.findall(r'\{"(\w+)", images \+ (\d+), (\d+), ', source.read_text())
    assert rows
    for name, offset, size in rows:
        assert data[int(offset) : int(offset) + 4] == b"\x7fELF"
        fake = f"fake cubin 90 {name}\0".encode()
        assert len(fake) <= int(size)
        data[int(offset) : int(offset) + len(fake)] = fake
    images.write_bytes(data)
    return [name for name, _, _ in rows]
