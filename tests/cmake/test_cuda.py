"""A CUDA model built on a machine without a GPU, and run over a stand-in for NVIDIA's driver."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cmake_project import REPOSITORY, CMakeProject, replace_images
from without_python import system_has, without_python

LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
find_package(aotbuild REQUIRED)
set(CMAKE_CUDA_ARCHITECTURES 90)
add_aot_model(net MODEL net.py:build DEVICE cuda CUDA_ARCHITECTURES 80-virtual 90 NO_TEST PYTHON_MODULE net_py)
aotbuild_install(TARGETS net PACKAGE nets)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE net)
add_aot_model(adder SHARED MODEL net.py:adder DEVICE cuda NO_TEST)
add_aot_model(counter SHARED MODEL net.py:counter METHODS scale plus_one DEVICE cuda NO_TEST)
add_executable(streams streams.cpp)
target_link_libraries(streams PRIVATE adder ${CMAKE_DL_LIBS})

add_library(fake_cuda SHARED "${FAKE_CUDA}/fake_cuda.cpp" kernels.cpp)
target_include_directories(fake_cuda PRIVATE "${FAKE_CUDA}")
target_compile_features(fake_cuda PRIVATE cxx_std_17)
"""

CONSUMER = """\
cmake_minimum_required(VERSION 3.24)
project(consumer LANGUAGES CXX)
find_package(nets REQUIRED)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE nets::net)
"""

NET = """\
import torch
from torch import nn

from aotbuild import Method, Model


def build():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32)).half()
    batch = torch.export.Dim("batch", min=1, max=64)
    return Model(module, (torch.randn(8, 64).half(),), dynamic_shapes={"input": {0: batch}})


def adder():
    batch = torch.export.Dim("batch", min=1, max=64)
    return Model(lambda x: x + 1, (torch.randn(8, 3),), dynamic_shapes={"x": {0: batch}})


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.ones(6), persistent=False)

    def scale(self, x):
        self.total.mul_(x)

    def plus_one(self):
        return self.total + 1


def counter():
    return Model(Counter(), methods={"scale": Method((torch.ones(6),)), "plus_one": Method()})
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

# The typed class with tensors on the device and a stream, in a program that uses CUDA itself.
STREAMS = """\
#include <stdexcept>
#include <dlfcn.h>
#include <cstdio>
#include <cstdlib>
#include <vector>
#include <adder.hpp>

template <typename... Parameters>
void call(const char* name, Parameters... arguments) {
  static void* const library = dlopen(std::getenv("AOTBUILD_CUDA_DRIVER"), RTLD_NOW);
  const auto function = reinterpret_cast<int (*)(Parameters...)>(dlsym(library, name));
  if (function == nullptr || function(arguments...) != 0) throw std::runtime_error(name);
}

using cudaStream_t = struct CUstream_st*;

aotbuild::DeviceView<float, 2> allocate(float value) {
  unsigned long long memory = 0;
  call("cuMemAlloc_v2", &memory, std::size_t{24});
  auto* const data = reinterpret_cast<float*>(memory);  // the stand-in's device memory is the host's
  for (int i = 0; i < 6; ++i) data[i] = value;
  return {data, {2, 3}};
}

int main() try {
  void* context = nullptr;
  cudaStream_t stream = nullptr;
  call("cuInit", 0U);
  call("cuDevicePrimaryCtxRetain", &context, 0);
  call("cuCtxPushCurrent_v2", context);
  call("cuStreamCreate", &stream, 1U);
  const Adder model;
  const std::vector<float> x(6, 1);
  std::printf("%g ", model.run({{x.data(), {2, 3}}}).output(1, 2));
  const auto in = allocate(2);
  const auto out = allocate(0);
  model.run({in}, {out}, stream);
  std::printf("%g ", out.data()[5]);
  call("cuStreamSynchronize", stream);
  std::printf("%g ", out.data()[5]);
  auto made = model.run_on_device({out}, stream).output;
  std::printf("%g ", model.run({made}, stream).output(0, 0));
  std::printf("%g ", model.run_on_device({made}).output.data()[0]);
  model.capture_graph({aotbuild::DeviceView<const float, 2>(nullptr, {7, 3})});
  const aotbuild_statistics statistics = model.statistics();
  std::printf("%d calls, %d graphs", static_cast<int>(statistics.calls), static_cast<int>(statistics.graph_captures));
  // Memory of a device that is not the model's, and of none.
  try {
    model.run({aotbuild::DeviceView<float, 2>(in.data(), {2, 3}, 1)});
  } catch (const aotbuild::Error& error) {
    std::printf("; %s", error.what());
  }
} catch (const std::exception& error) {
  std::printf("failed: %s", error.what());
}
"""

# aotbuild.load() with tensors on the device. Torch for the CPU has none, so two classes stand for them.
PYTHON = """\
import ctypes
import os
import sys
from types import SimpleNamespace

import aotbuild
import numpy as np
import torch

driver = ctypes.CDLL(os.environ["AOTBUILD_CUDA_DRIVER"])
pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
context, stream = ctypes.c_void_p(), ctypes.c_void_p()


def memory(values):
    address = ctypes.c_uint64()
    assert driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(values.nbytes)) == 0
    array = np.ctypeslib.as_array((ctypes.c_float * values.size).from_address(address.value)).reshape(values.shape)
    array[:] = values
    return array


def on_device(capsule):
    ctypes.c_int.from_address(pointer_of(capsule, b"dltensor") + 8).value = 2
    return capsule


class Array:
    def __init__(self, values):
        self.tensor, self.streams = torch.from_numpy(memory(values)), []

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        return on_device(self.tensor.__dlpack__())


class Tensor(torch.Tensor):
    device = "cuda:0"
    streams = []

    def detach(self):
        return self

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        return on_device(torch.Tensor.__dlpack__(self.as_subclass(torch.Tensor)))


def first_value(capsule):
    return ctypes.c_float.from_address(ctypes.c_void_p.from_address(pointer_of(capsule, b"dltensor")).value).value


assert driver.cuInit(0) == 0
assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert driver.cuCtxPushCurrent_v2(context) == 0
assert driver.cuStreamCreate(ctypes.byref(stream), 1) == 0
model = aotbuild.load(sys.argv[1])
ones = np.ones((2, 3), np.float32)

# Host memory, as with a model for the CPU.
np.testing.assert_array_equal(model(ones), ones + 1)
assert torch.equal(model(torch.ones(2, 3)), torch.full((2, 3), 2.0))

# What has DLPack runs on the legacy default stream, and is waited for where it is read on another one.
array = Array(ones)
made = model(array)
assert array.streams == [1]
assert repr(made) == "<float32 tensor of shape (2, 3) on CUDA device 0>", made
assert made.__dlpack_device__() == (2, 0)
assert first_value(made.__dlpack__(stream=-1)) != 2
assert first_value(made.__dlpack__(stream=stream.value)) == 2
assert first_value(model(made).__dlpack__(stream=stream.value, max_version=(1, 0))) == 3

# Torch tensors: on the current stream, without waiting.
torch.cuda.current_stream = lambda device: SimpleNamespace(cuda_stream=stream.value)
torch.utils.dlpack.from_dlpack = lambda capsule: capsule
tensor = torch.from_numpy(memory(ones * 4)).as_subclass(Tensor)
made = model(x=tensor)
assert Tensor.streams == [stream.value]
assert first_value(made) != 5
assert driver.cuStreamSynchronize(stream) == 0
assert first_value(made) == 5

assert model.statistics["calls"] == 5 and model.statistics["graph_obstacle"] is None, model.statistics

# Methods and sessions: each has its own state, whatever place tensors come from.
counter = aotbuild.load(sys.argv[2])
session = counter.new_session()
twos = np.full(6, 2, np.float32)
for turn in range(1, 5):
    counter.scale(Array(twos) if turn % 2 else twos)
    np.testing.assert_array_equal(counter.plus_one(), np.full(6, 2**turn + 1, np.float32))
    np.testing.assert_array_equal(session.plus_one(), twos)
session.scale(twos * 3)
np.testing.assert_array_equal(session.plus_one(), np.full(6, 7, np.float32))
assert counter.statistics["calls"] == 8 and session.statistics["calls"] == 6
assert counter.statistics["graph_replays"] == 6 and session.statistics["graph_replays"] == 4
for device, message in ((9, "asks for CUDA device 9, but this machine has 1"), (-1, "asks for CUDA device -1")):
    try:
        aotbuild.load(sys.argv[1], device=device)
        raise AssertionError(device)
    except aotbuild.Error as error:
        assert message in str(error) and error.status == "UNSUPPORTED_HARDWARE", error
print("passed", end="")
"""

# Kernels of `net` that do nothing, that of `adder` and of the counter's `plus_one`, and that of its `scale`.
KERNELS = """\
#include <cstdint>
#include <initializer_list>
#include "fake_cuda.hpp"
namespace {
int nothing(const fake_cuda::Launch&, void**) { return 0; }
int add_one(const fake_cuda::Launch&, void** arguments) {
  const float* in = *static_cast<float**>(arguments[0]);
  float* out = *static_cast<float**>(arguments[1]);
  const std::int32_t count = *static_cast<std::int32_t*>(arguments[2]);
  for (int i = 0; i < count; ++i) out[i] = in[i] + 1;
  return 0;
}
int scale(const fake_cuda::Launch&, void** arguments) {
  const float* total = *static_cast<float**>(arguments[0]);
  const float* x = *static_cast<float**>(arguments[1]);
  float* out = *static_cast<float**>(arguments[2]);
  for (int i = 0; i < 6; ++i) out[i] = total[i] * x[i];
  return 0;
}
[[maybe_unused]] const bool added = [] {
  for (const char* name : std::initializer_list<const char*>{%s}) fake_cuda::add_kernel(name, nothing, {});
  for (const char* name : std::initializer_list<const char*>{%s}) fake_cuda::add_kernel(name, add_one, {8, 8, 4, 8, 8});
  for (const char* name : std::initializer_list<const char*>{%s}) {
    fake_cuda::add_kernel(name, scale, {8, 8, 8, 4, 8, 8});
  }
  return true;
}();
}  // namespace
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> CMakeProject:
    folder = tmp_path_factory.mktemp("cuda")
    files: dict[str, str | bytes] = {"net.py": NET, "main.cpp": MAIN, "streams.cpp": STREAMS, "script.py": PYTHON}
    files["kernels.cpp"] = KERNELS % ("", "", "")
    project = CMakeProject(folder, LISTS, files, "Ninja")
    configure(project)
    output = project.build()
    assert "aotbuild: net: lowered it in" in output
    return project


def configure(project: CMakeProject) -> None:
    project.configure(
        "-DCMAKE_BUILD_TYPE=Debug",  # without optimisation it compiles in half the time
        "-DCMAKE_CXX_FLAGS_DEBUG=",
        "-DCMAKE_INSTALL_LIBDIR=lib",
        f"-DAOTBUILD_PYTHON={sys.executable}",
        f"-DAOTBUILD_CACHE_DIR={project.source.parent / 'cache'}",
        f"-DFAKE_CUDA={REPOSITORY / 'tests' / 'cpp' / 'fake_cuda'}",
        standin=False,
    )


@pytest.fixture(scope="module")
def launchable(project: CMakeProject) -> CMakeProject:
    """The project with images of the stand-in's own kind, where the tables say that kernels lie."""

    def replaced(stem: str) -> list[str]:
        output = project.build_dir / f"{stem.partition('.')[0]}.aotbuild"
        return replace_images(output / "src" / f"{stem}_run_sm_90.cpp", output / f"{stem}.images_sm_90.bin")

    names, adding, scaling = replaced("net"), replaced("adder"), replaced("counter.scale")
    assert replaced("counter.plus_one") == adding
    kernels = (", ".join(f'"{name}"' for name in each) for each in (names, adding, scaling))
    project.write("kernels.cpp", KERNELS % tuple(kernels))
    ran = project.ran(project.build())
    images = [f"{stem}_images_sm_90.cpp" for stem in ("adder", "counter.plus_one", "counter.scale")]
    assert ran["compiled"] == [*images, "kernels.cpp", "net_images_sm_90.cpp"]
    return project


def run_app(project: CMakeProject, driver: Path | str, program: str = "app") -> str:
    return project.run(project.build_dir / program, environment={"AOTBUILD_CUDA_DRIVER": str(driver)})


def test_model_builds_without_a_gpu(project: CMakeProject) -> None:
    manifest = json.loads((project.build_dir / "net.aotbuild/net.manifest.json").read_text())
    assert manifest["cuda_architectures"] == ["sm_90", "compute_80"]
    assert {spec["device"] for spec in manifest["inputs"] + manifest["outputs"]} == {"cuda"}
    needed = subprocess.run(["ldd", project.build_dir / "app"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"cuda|torch|cublas", needed)
    assert "ninja: no work to do" in project.build()
    missing = r"^3: net: built for CUDA, but this machine has no NVIDIA driver \(.*\); install"
    assert re.search(missing, run_app(project, "/nowhere.so"))


def test_python_module_imports_without_a_driver(project: CMakeProject) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(project.build_dir)!r})\nimport net_py\n"
        "try:\n    net_py.Net()\nexcept net_py.Error as error:\n    print(error)\n"
    )
    shown = project.run(sys.executable, "-c", code, environment={"AOTBUILD_CUDA_DRIVER": "/nowhere.so"})
    assert re.search(r"^net: built for CUDA, but this machine has no NVIDIA driver \(.*\); install", shown)


def test_clean_build_of_the_model_comes_from_the_cache(project: CMakeProject, tmp_path: Path) -> None:
    other = CMakeProject(tmp_path, LISTS, {"net.py": NET, "kernels.cpp": "", "streams.cpp": ""}, "Unix Makefiles")
    (tmp_path / "cache").symlink_to(project.source.parent / "cache")
    configure(other)
    output = other.build("net.generate")
    assert "aotbuild: net: took the sources from the cache in" in output
    assert "imported torch" not in output
    folders = [each.build_dir / "net.aotbuild" for each in (project, other)]
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.suffix in (".cpp", ".json")}
        for folder in folders
    )
    assert first == second
    images = "net.images_compute_80.bin"
    assert (folders[0] / images).read_bytes() == (folders[1] / images).read_bytes()


def test_launches_over_the_stand_in_driver(project: CMakeProject, request: pytest.FixtureRequest) -> None:
    driver = project.build_dir / "libfake_cuda.so"
    # It knows real machine code when it sees it, and refuses.
    assert re.search(r"^3: net: cuModuleLoadData failed for kernel 'triton_\w+'", run_app(project, driver))
    assert run_app(request.getfixturevalue("launchable"), driver) == "3 x 32"


def test_typed_class_with_device_memory_and_streams(launchable: CMakeProject) -> None:
    assert run_app(launchable, launchable.build_dir / "libfake_cuda.so", "streams") == (
        "2 0 3 5 5 5 calls, 2 graphs; adder: input 'x' is on CUDA device 1, but the model is on device 0; copy it "
        "there, or set aotbuild_options::device when creating the model"
    )


def test_python_with_device_memory_and_streams(launchable: CMakeProject) -> None:
    environment = {"AOTBUILD_CUDA_DRIVER": str(launchable.build_dir / "libfake_cuda.so")}
    libraries = [launchable.build_dir / name for name in ("libadder.so", "libcounter.so")]
    script = launchable.source / "script.py"
    assert launchable.run(sys.executable, script, *libraries, environment=environment) == "passed"


@pytest.mark.skipif(not (system_has("cmake") and system_has("make")), reason="cmake or make are in no system folder")
def test_installed_model_needs_neither_python_nor_cuda(launchable: CMakeProject, tmp_path: Path) -> None:
    if without_python("true").returncode != 0:
        pytest.skip("this machine allows no mount namespaces")
    prefix = tmp_path / "prefix"
    launchable.run("cmake", "--install", launchable.build_dir, "--prefix", prefix)
    source = tmp_path / "consumer"
    source.mkdir()
    (source / "CMakeLists.txt").write_text(CONSUMER)
    (source / "main.cpp").write_text(MAIN)

    def run(*command: str | Path) -> str:
        done = without_python(*map(str, command))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    build = tmp_path / "build"
    run("cmake", "-S", source, "-B", build, "-G", "Unix Makefiles", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    driver = launchable.build_dir / "libfake_cuda.so"
    assert run("env", f"AOTBUILD_CUDA_DRIVER={driver}", build / "app") == "3 x 32"
    if system_has("pkg-config"):
        flags = run("env", f"PKG_CONFIG_PATH={prefix}/lib/pkgconfig", "pkg-config", "--cflags", "--libs", "net")
        run("c++", "-std=c++17", source / "main.cpp", "-o", build / "by_pkg_config", *flags.split())
        assert run("env", f"AOTBUILD_CUDA_DRIVER={driver}", build / "by_pkg_config") == "3 x 32"
