"""A model of two ranks from CMake, run over stand-ins for NVIDIA's driver and NCCL: a device and a thread each."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from cmake_project import REPOSITORY, CMakeProject, replace_images

LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
enable_testing()
find_package(aotbuild REQUIRED)
add_aot_model(net SHARED MODEL net.py:build DEVICE cuda CUDA_ARCHITECTURES 90 WEIGHTS FILE WORLD_SIZE 2)
aotbuild_install(TARGETS net PACKAGE nets)

add_library(fake_cuda SHARED "${FAKE_CUDA}/fake_cuda.cpp" kernels.cpp)
target_include_directories(fake_cuda PUBLIC "${FAKE_CUDA}")
target_compile_features(fake_cuda PUBLIC cxx_std_17)
add_library(fake_nccl SHARED "${FAKE_CUDA}/fake_nccl.cpp")
target_link_libraries(fake_nccl PRIVATE fake_cuda)
"""

NET = """\
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as collectives

import aotbuild


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(6.0) + 10 * dist.get_rank())

    def forward(self, x):
        world = dist.group.WORLD
        product = x * self.weight
        return {
            "sum": collectives.all_reduce(product, "sum", world) + 1,
            "part": collectives.reduce_scatter_tensor(product, "max", 0, world),
            "all": collectives.all_gather_tensor(product, 0, world),
        }


def build():
    return aotbuild.Model(Net(), (torch.arange(6.0),), golden_inputs=[((torch.full((6,), -1.0),), {})])
"""

KERNELS = """\
#include "fake_cuda.hpp"
namespace {
int multiply(const fake_cuda::Launch&, void** arguments) {
  const float* x = *static_cast<float**>(arguments[0]);
  const float* weight = *static_cast<float**>(arguments[1]);
  for (int k = 2; k < 5; ++k) {  // an output for each collective
    float* out = *static_cast<float**>(arguments[k]);
    for (int i = 0; i < 6; ++i) out[i] = x[i] * weight[i];
  }
  return 0;
}
int add_one(const fake_cuda::Launch&, void** arguments) {
  float* values = *static_cast<float**>(arguments[0]);
  for (int i = 0; i < 6; ++i) values[i] += 1;
  return 0;
}
[[maybe_unused]] const bool added = [] {
  fake_cuda::set_devices({{}, {}});
  fake_cuda::add_kernel("%s", multiply, {8, 8, 8, 8, 8, 4, 8, 8});
  fake_cuda::add_kernel("%s", add_one, {8, 4, 8, 8});
  return true;
}();
}  // namespace
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> CMakeProject:
    """With images of the stand-in's own kind."""
    project = CMakeProject(tmp_path_factory.mktemp("ranks"), LISTS, {"net.py": NET, "kernels.cpp": ""}, "Ninja")
    project.configure(
        "-DCMAKE_BUILD_TYPE=Debug",
        "-DCMAKE_CXX_FLAGS_DEBUG=",
        "-DCMAKE_INSTALL_LIBDIR=lib",
        f"-DAOTBUILD_PYTHON={sys.executable}",
        f"-DFAKE_CUDA={REPOSITORY / 'tests' / 'cpp' / 'fake_cuda'}",
        standin=False,
    )
    project.build("net.generate")
    output = project.build_dir / "net.aotbuild"
    names = replace_images(output / "src" / "net_run_sm_90.cpp", output / "net.images_sm_90.bin")
    project.write("kernels.cpp", KERNELS % tuple(names))
    project.build()
    return project


def test_each_rank_gives_what_eager_pytorch_gives(project: CMakeProject) -> None:
    project.environment |= {
        "AOTBUILD_CUDA_DRIVER": str(project.build_dir / "libfake_cuda.so"),
        "AOTBUILD_NCCL": str(project.build_dir / "libfake_nccl.so"),
    }
    golden = project.build_dir / "net.aotbuild/test/net.golden.safetensors"
    output = project.run(project.build_dir / "net_test", golden)
    assert "[  PASSED  ] 4 tests." in output
    for name in ("example/output/sum", "example/rank1/output/part", "golden0/rank1/output/all"):
        assert f"{name}: largest absolute error 0," in output


def test_a_machine_without_nccl_skips_the_test_and_says_why(project: CMakeProject) -> None:
    project.environment |= {"AOTBUILD_NCCL": "/nowhere/libnccl.so.2"}
    output = project.run("ctest", "--test-dir", project.build_dir, "--verbose")
    assert re.search(r"skipped: net: the model is one rank of several and needs NCCL 2\.18 or later: .*nowhere", output)
    assert "net (Skipped)" in output


def test_a_server_makes_no_ranks(project: CMakeProject) -> None:
    project.write("CMakeLists.txt", LISTS + "aotbuild_add_triton_model(net)\n")
    output = project.run("cmake", project.build_dir, error=True)
    assert '"net" has WORLD_SIZE 2, and a server makes one rank; leave one of them out' in " ".join(output.split())
    project.write("CMakeLists.txt", LISTS)


def test_the_weights_of_every_rank_lie_beside_the_library(project: CMakeProject, tmp_path: Path) -> None:
    files = {"net.rank0.safetensors", "net.rank1.safetensors"}
    assert {path.name for path in project.build_dir.glob("*.safetensors")} == files
    contents = {(project.build_dir / name).read_bytes() for name in files}
    assert len(contents) == 2
    project.run("cmake", "--install", project.build_dir, "--prefix", tmp_path)
    assert {path.name for path in (tmp_path / "lib").glob("*.safetensors")} == files
    config = (tmp_path / "lib/cmake/nets/netsConfig.cmake").read_text()
    assert '"${PACKAGE_PREFIX_DIR}/lib/net.rank0.safetensors;${PACKAGE_PREFIX_DIR}/lib/net.rank1.safetensors"' in config
