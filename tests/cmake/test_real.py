"""The real generator and runtime behind every kind of library; an installed model where there is no Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cmake_project import CMakeProject
from without_python import system_has, without_python

LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(real LANGUAGES CXX)
enable_testing()
find_package(aotbuild REQUIRED)
# The parts of add_aot_model, as in the reference of aotbuild_generate.
aotbuild_generate(as_static PRESET debug MODEL net.py:build SOURCES_VAR sources)
get_target_property(header_dir as_static.generate AOTBUILD_HEADER_DIR)
add_library(as_static STATIC ${sources})
target_include_directories(as_static PUBLIC $<BUILD_INTERFACE:${header_dir}>)
target_link_libraries(as_static PUBLIC aotbuild::runtime PRIVATE aotbuild::sleef aotbuild::openmp)
add_dependencies(as_static as_static.generate)
aotbuild_add_model_test(as_static)
add_aot_model(as_object OBJECT PRESET debug MODEL net.py:build WEIGHTS EXTERNAL BENCHMARK)
add_aot_model(as_shared SHARED PRESET debug MODEL net.py:build WEIGHTS FILE PYTHON_MODULE net_py)
aotbuild_install(TARGETS as_static as_object as_shared PACKAGE nets VERSION 1.0)
"""

NET = """\
import torch


def build():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.GELU(), torch.nn.Linear(16, 3), torch.nn.Softmax(-1))
    return net, (torch.ones(2, 4),)
"""

CONSUMER = """\
cmake_minimum_required(VERSION 3.24)
project(consumer LANGUAGES CXX)
find_package(nets 1.0 REQUIRED)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE nets::as_static nets::as_shared)
add_executable(objects objects.cpp)
target_link_libraries(objects PRIVATE nets::as_object)
"""

MAIN = """\
#include <as_shared.hpp>
#include <as_static.hpp>
#include <cmath>
#include <vector>

int main() {
  const std::vector<float> input(8, 1.0F);
  const auto one = AsStatic().run({{input.data(), {2, 4}}});
  const auto two = AsShared().run({{input.data(), {2, 4}}});
  float sum = 0;
  for (int i = 0; i < 3; ++i) {
    if (std::fabs(one.output(1, i) - two.output(1, i)) > 1e-6F) return 1;
    sum += one.output(1, i);
  }
  return std::fabs(sum - 1) > 1e-5F;
}
"""

OBJECTS = """\
#include <aotbuild/error.hpp>
#include <as_object.hpp>
#include <cstring>

int main() {
  try {
    AsObject model;  // its weights are external, and there are none
  } catch (const aotbuild::Error& error) {
    return std::strstr(error.what(), "weight") == nullptr;
  }
  return 1;
}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> CMakeProject:
    project = CMakeProject(tmp_path_factory.mktemp("real"), LISTS, {"net.py": NET}, "Ninja")
    project.configure(
        "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=", "-DCMAKE_INSTALL_LIBDIR=lib", standin=False
    )
    project.build()
    return project


def test_every_kind_passes_its_golden_test(project: CMakeProject) -> None:
    assert "100% tests passed, 0 tests failed out of 3" in project.run("ctest", "--test-dir", project.build_dir)


def test_benchmark_runs(project: CMakeProject) -> None:
    golden = project.build_dir / "as_object.aotbuild/test/as_object.golden.safetensors"
    output = project.run(project.build_dir / "as_object_benchmark", golden, "--benchmark_min_time=0.01")
    assert "example" in output.lower()


def test_python_module_runs_beside_its_stub(project: CMakeProject) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(project.build_dir)!r}); import numpy, net_py; "
        "print(net_py.AsShared()(numpy.ones((2, 4), numpy.float32)).sum())"
    )
    assert abs(float(project.run(sys.executable, "-c", code)) - 2) < 1e-5
    assert "def __call__" in (project.build_dir / "net_py.pyi").read_text()


@pytest.mark.skipif(not (system_has("cmake") and system_has("make")), reason="cmake or make are in no system folder")
def test_installed_models_need_neither_python_nor_torch(project: CMakeProject, tmp_path: Path) -> None:
    if without_python("true").returncode != 0:
        pytest.skip("this machine allows no mount namespaces")
    project.run("cmake", "--install", project.build_dir, "--prefix", tmp_path / "first")
    prefix = (tmp_path / "first").rename(tmp_path / "moved")
    folder = tmp_path / "consumer"
    folder.mkdir()
    for name, text in {"CMakeLists.txt": CONSUMER, "main.cpp": MAIN, "objects.cpp": OBJECTS}.items():
        (folder / name).write_text(text)
    build = tmp_path / "build"

    def run(*command: str | Path, expected: int = 0) -> str:
        done = without_python(*map(str, command))
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout

    for module in ("torch", "aotbuild"):
        run("sh", "-c", f"python3 -c 'import {module}' || python -c 'import {module}'", expected=127)
    run("cmake", "-S", folder, "-B", build, "-G", "Unix Makefiles", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    run(build / "app")
    run(build / "objects")
    if system_has("pkg-config"):
        for source, names in {"main.cpp": ("as_static", "as_shared"), "objects.cpp": ("as_object",)}.items():
            flags = run("env", f"PKG_CONFIG_PATH={prefix}/lib/pkgconfig", "pkg-config", "--cflags", "--libs", *names)
            run("c++", "-std=c++17", folder / source, "-o", build / "by_pkg_config", *flags.split())
            run(build / "by_pkg_config")
