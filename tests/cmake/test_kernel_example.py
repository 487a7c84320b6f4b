"""examples/triton_kernel: built without a GPU, run over a stand-in for NVIDIA's driver, tuned through CMake."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cmake_project import REPOSITORY, CMakeProject, replace_images

# CUDA's runtime library over the stand-in for the driver, as far as the example calls it.
FIND_CUDA = """\
if(NOT TARGET CUDA::cudart)
  add_library(CUDA::cudart INTERFACE IMPORTED)
  set_target_properties(CUDA::cudart PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_LIST_DIR}" INTERFACE_LINK_LIBRARIES "${FAKE_DRIVER}")
endif()
set(CUDAToolkit_FOUND TRUE)
"""

CUDA_RUNTIME = """\
#pragma once
#include <cstddef>
using cudaStream_t = struct CUstream_st*;
enum cudaError_t { cudaSuccess };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
extern "C" {
int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void**, int);
int cuCtxPushCurrent_v2(void*);
int cuMemAlloc_v2(unsigned long long*, std::size_t);
int cuMemFree_v2(unsigned long long);
int cuStreamCreate(cudaStream_t*, unsigned);
int cuStreamDestroy_v2(cudaStream_t);
int cuStreamSynchronize(cudaStream_t);
int cuMemcpyHtoDAsync_v2(unsigned long long, const void*, std::size_t, cudaStream_t);
int cuMemcpyDtoHAsync_v2(void*, unsigned long long, std::size_t, cudaStream_t);
}
inline cudaError_t status(int result) { return static_cast<cudaError_t>(result); }
inline const char* cudaGetErrorString(cudaError_t) { return "a driver call failed"; }
inline unsigned long long address(const void* memory) { return reinterpret_cast<unsigned long long>(memory); }
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  void* context = nullptr;
  return status(cuInit(0) + cuDevicePrimaryCtxRetain(&context, 0) + cuCtxPushCurrent_v2(context) +
                cuStreamCreate(stream, 0));
}
inline cudaError_t cudaMalloc(void** memory, std::size_t size) {
  unsigned long long made = 0;
  const int result = cuMemAlloc_v2(&made, size);
  *memory = reinterpret_cast<void*>(made);
  return status(result);
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind kind, cudaStream_t s) {
  return status(kind == cudaMemcpyHostToDevice ? cuMemcpyHtoDAsync_v2(address(to), from, size, s)
                                               : cuMemcpyDtoHAsync_v2(to, address(from), size, s));
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return status(cuStreamSynchronize(stream)); }
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) { return status(cuStreamDestroy_v2(stream)); }
inline cudaError_t cudaFree(void* memory) { return status(cuMemFree_v2(address(memory))); }
"""

# Of the runtime a launcher needs these files and no more: they are compiled in a few seconds.
RUNTIME = """\
add_library(aotbuild_runtime STATIC)
foreach(name IN ITEMS
    cuda/launcher cuda/kernels cuda/products cuda/device cuda/driver cuda/workspace cuda/graphs cuda/memory tensor/dtype
    base/error base/system_posix)
  target_sources(aotbuild_runtime PRIVATE "${CPP}/src/${name}.cpp")
endforeach()
target_include_directories(aotbuild_runtime PUBLIC "$<BUILD_INTERFACE:${CPP}/include>" PRIVATE "${CPP}/src")
target_link_libraries(aotbuild_runtime PRIVATE ${CMAKE_DL_LIBS})
"""

# rms_norm in C++; two rows a block take the least time.
DEVICE = """\
#include <cmath>
#include <cstring>
#include "aotbuild/tensor.hpp"
#include "fake_cuda.hpp"
namespace {
template <typename T>
T value(void* argument) {
  T result;
  std::memcpy(&result, argument, sizeof result);
  return result;
}
int rms_norm(const fake_cuda::Launch& launch, void** arguments) {
  using aotbuild::float16;
  const auto* const x = value<const float16*>(arguments[0]);
  const auto* const weight = value<const float16*>(arguments[1]);
  auto* const out = value<float16*>(arguments[2]);
  const int rows = value<int>(arguments[3]), columns = value<int>(arguments[4]);
  const float epsilon = value<float>(arguments[5]);
  for (int row = 0; row < rows; row += 4095) {
    float squares = 0;
    for (int i = 0; i < columns; ++i) squares += std::pow(static_cast<float>(x[row * columns + i]), 2.0F);
    const float scale = 1 / std::sqrt(squares / static_cast<float>(columns) + epsilon);
    for (int i = 0; i < columns; ++i) {
      const float scaled = static_cast<float>(x[row * columns + i]) * scale;
      out[row * columns + i] = float16(scaled * static_cast<float>(weight[i]));
    }
  }
  fake_cuda::advance(launch.grid[0] == 2048 ? 5 : 10);
  return 0;
}
[[maybe_unused]] const bool added = [] {
  fake_cuda::add_kernel("rms_norm", rms_norm, {8, 8, 8, 4, 4, 4, 8, 8});
  return true;
}();
}  // namespace
"""

# A machine with a GPU, as far as a tuning run can tell: the stand-in loads images of its own kind only.
RUNNER = """\
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[2])
bundle = json.loads((folder / "bundle.json").read_text())
data = bytearray((folder / "images.bin").read_bytes())
for kernel in bundle["kernels"]:
    for candidate in kernel["candidates"]:
        offset, size = candidate["image"]
        assert data[offset:offset + 4] in (b"\\x7fELF", b"fake")
        fake = f"fake cubin 90 {candidate['symbol']}\\0".encode()
        data[offset:offset + len(fake)] = fake
(folder / "images.bin").write_bytes(data)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> CMakeProject:
    folder = tmp_path_factory.mktemp("kernel")
    fake = REPOSITORY / "tests" / "cpp" / "fake_cuda"
    files: dict[str, str | bytes] = {
        "find/FindCUDAToolkit.cmake": FIND_CUDA,
        "find/cuda_runtime_api.h": CUDA_RUNTIME,
        "device.cpp": DEVICE,
        "runner.py": RUNNER,
    }
    source = REPOSITORY / "examples" / "triton_kernel"
    lists = (source / "CMakeLists.txt").read_text() + "aotbuild_install(TARGETS rms_norm)\n"
    lists = lists.replace("find_package(CUDAToolkit", f"{RUNTIME}find_package(CUDAToolkit")
    project = CMakeProject(folder, lists, files, "Ninja")
    for name in ("main.cpp", "rms_norm.py"):
        shutil.copy(source / name, project.source / name)
    driver = folder / "libdriver.so"
    include = [f"-I{fake}", f"-I{REPOSITORY / 'cpp' / 'include'}"]
    sources = [fake / "fake_cuda.cpp", project.source / "device.cpp"]
    subprocess.run(["c++", "-std=c++17", "-shared", "-fPIC", *include, *sources, "-o", driver], check=True)
    project.environment["AOTBUILD_CUDA_DRIVER"] = str(driver)
    project.environment["AOTBUILD_CACHE_DIR"] = str(folder / "cache")
    flags = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
    project.configure(
        "-DCMAKE_BUILD_TYPE=Debug",
        f"-DCMAKE_CXX_FLAGS_DEBUG={flags}",
        f"-DCMAKE_MODULE_PATH={project.source / 'find'}",
        f"-DFAKE_DRIVER={driver}",
        f"-DCPP={REPOSITORY / 'cpp'}",
        f"-DAOTBUILD_PYTHON={sys.executable}",
        f"-DAOTBUILD_TUNE_RUNNER={sys.executable} {project.source / 'runner.py'}",
        standin=False,
    )
    output = project.build()
    assert "rms_norm: no tuning database rms_norm.tuning: 2 kernels as the heuristics choose" in output
    assert "no work to do" in project.build()
    return project


def put_images_of_the_stand_in(project: CMakeProject) -> None:
    output = project.build_dir / "rms_norm.aotbuild"
    images = output / "rms_norm.images_sm_90.bin"
    if b"fake cubin" not in images.read_bytes():
        replace_images(output / "src" / "rms_norm_sm_90.cpp", images)
        assert project.ran(project.build())["compiled"] == ["rms_norm_images_sm_90.cpp"]


def test_program_launches_the_kernel(example: CMakeProject) -> None:
    put_images_of_the_stand_in(example)
    assert re.fullmatch(r"largest difference in the last row: [0-9.e-]+\n", example.program("normalize"))
    error = example.run(example.build_dir / "normalize", error=True, environment={"AOTBUILD_CUDA_DRIVER": "/none.so"})
    assert "rms_norm: built for CUDA, but this machine has no NVIDIA driver" in error


def test_header_says_what_the_kernel_takes(example: CMakeProject) -> None:
    header = (example.build_dir / "rms_norm.aotbuild/include/rms_norm.hpp").read_text()
    assert "aotbuild::DevicePointer<const aotbuild::float16> x; " in header
    assert "aotbuild::DevicePointer<aotbuild::float16> out; " in header
    assert "std::int32_t columns;" in header
    manifest = json.loads((example.build_dir / "rms_norm.aotbuild/rms_norm.manifest.json").read_text())
    assert manifest["cuda_architectures"] == ["sm_90", "sm_80"]
    assert manifest["grid"] == ["cdiv(rows, row_tile)", "1", "1"]


def test_edit_of_the_kernel_file_runs_the_generator(example: CMakeProject) -> None:
    put_images_of_the_stand_in(example)
    example.touch("main.cpp")
    assert "Generating" not in example.build()
    example.write("rms_norm.py", (example.source / "rms_norm.py").read_text() + "\n# a comment\n")
    output = example.build()
    assert "Generating rms_norm from rms_norm.py:rms_norm" in output
    # The machine code comes out as it was, over what the stand-in loads.
    assert example.ran(output)["compiled"] == ["rms_norm_images_sm_90.cpp"]
    # Real machine code is nothing to the stand-in.
    error = example.run(example.build_dir / "normalize", error=True)
    assert re.search("rms_norm: cuModuleLoadData failed for kernel 'rms_norm'", error)


def test_installed_kernel_is_a_package(example: CMakeProject, tmp_path: Path) -> None:
    example.run("cmake", "--install", example.build_dir, "--prefix", tmp_path)
    installed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert installed >= {"include/rms_norm.hpp", "include/rms_norm.h", "include/normalize/aotbuild/kernel.hpp"}
    assert any(name.endswith("librms_norm.a") for name in installed)
    assert any(name.endswith("normalizeConfig.cmake") for name in installed)


def test_tuning_through_a_runner_and_replay(example: CMakeProject) -> None:
    """Bundle, run, merge and the next build in one go, through CMake."""
    output = example.build("rms_norm.tune")
    assert "1 kernels, 7 candidates for sm_90; 0 more do not compile" in output
    (line,) = [line for line in (example.source / "rms_norm.tuning").read_text().splitlines() if line[0] != "#"]
    assert re.match(
        r"sm_90 [0-9a-f]{16} \| Fake 0 \| column_tile=1024 num_stages=3 num_warps=4 row_tile=2 \| 5.00 us, ", line
    )
    output = example.build()
    assert "rms_norm: rms_norm.tuning covers 1 of 2 kernels" in output
    source = (example.build_dir / "rms_norm.aotbuild/src/rms_norm_sm_90.cpp").read_text()
    assert "const std::int64_t row_tile = 2;" in source
    put_images_of_the_stand_in(example)
    assert "largest difference" in example.program("normalize")
