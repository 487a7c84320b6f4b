"""A CUDA model built on a machine without a GPU, and run over a stand-in for NVIDIA's driver."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cmake_project import REPOSITORY, CMakeProject
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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> CMakeProject:
    folder = tmp_path_factory.mktemp("cuda")
    files: dict[str, str | bytes] = {"net.py": NET, "main.cpp": MAIN, "kernels.cpp": KERNELS % ""}
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
        "-DAOTBUILD_ONEDNN=OFF",
        f"-DAOTBUILD_PYTHON={sys.executable}",
        f"-DAOTBUILD_CACHE_DIR={project.source.parent / 'cache'}",
        f"-DFAKE_CUDA={REPOSITORY / 'tests' / 'cpp' / 'fake_cuda'}",
        standin=False,
    )


@pytest.fixture(scope="module")
def launchable(project: CMakeProject) -> CMakeProject:
    """The project with images of the stand-in's own kind, where the tables say that kernels lie."""
    output = project.build_dir / "net.aotbuild"
    names = _replace_images(output / "src" / "net_run_sm_90.cpp", output / "net.images_sm_90.bin")
    project.write("kernels.cpp", KERNELS % ", ".join(f'"{name}"' for name in names))
    ran = project.ran(project.build())
    assert ran["compiled"] == ["kernels.cpp", "net_images_sm_90.cpp"]
    return project


def run_app(project: CMakeProject, driver: Path | str) -> str:
    return project.run(project.build_dir / "app", environment={"AOTBUILD_CUDA_DRIVER": str(driver)})


def test_model_builds_without_a_gpu(project: CMakeProject) -> None:
    manifest = json.loads((project.build_dir / "net.aotbuild/net.manifest.json").read_text())
    assert manifest["cuda_architectures"] == ["sm_90", "compute_80"]
    assert {spec["device"] for spec in manifest["inputs"] + manifest["outputs"]} == {"cuda"}
    needed = subprocess.run(["ldd", project.build_dir / "app"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"cuda|torch|cublas|dnnl", needed)
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
    other = CMakeProject(tmp_path, LISTS, {"net.py": NET, "kernels.cpp": ""}, "Unix Makefiles")
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
