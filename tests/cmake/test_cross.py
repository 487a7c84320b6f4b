"""Cross-compiling to 64-bit Arm: kernels for it without a look at this processor, the golden test under qemu."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import HEAD, CMakeProject

MakeProject = Callable[..., CMakeProject]

# One thread: OpenMP programs of two threads do not end under the qemu-user of some machines.
TOOLCHAIN = """\
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu;-E;OMP_NUM_THREADS=1)
"""

LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(cross LANGUAGES CXX)
enable_testing()
find_package(aotbuild REQUIRED)
add_aot_model(net PRESET debug MODEL net.py:build)
"""

NET = """\
import aotbuild
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.linear = torch.nn.Linear(8, 16)
        self.norm = torch.nn.LayerNorm(16)
        self.head = torch.nn.Linear(16, 5)

    def forward(self, image):
        features = torch.relu(self.conv(image)).mean((2, 3))
        hidden = self.norm(torch.nn.functional.gelu(self.linear(features)))
        return {"scores": torch.softmax(self.head(hidden), -1), "features": torch.tanh(features)}


def build():
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1, max=16)
    return aotbuild.Model(Net(), (torch.randn(2, 3, 9, 9),), dynamic_shapes={"image": {0: batch}})
"""

SYSTEM = Path("/usr/lib/aarch64-linux-gnu")
TOOLS = {
    "g++-aarch64-linux-gnu": shutil.which("aarch64-linux-gnu-g++"),
    "qemu-user": shutil.which("qemu-aarch64"),
    "libsleef-dev:arm64": (SYSTEM / "libsleef.so").exists(),
    "libgtest-dev:arm64": (SYSTEM / "libgtest.a").exists(),
}
MISSING = [package for package, found in TOOLS.items() if not found]
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"needs the Debian packages {' '.join(MISSING)}")


@needs_tools
def test_model_for_arm_passes_its_golden_test_under_qemu(make_project: MakeProject) -> None:
    project = make_project(LISTS, {"aarch64.cmake": TOOLCHAIN, "net.py": NET})
    project.configure(
        f"-DCMAKE_TOOLCHAIN_FILE={project.source / 'aarch64.cmake'}",
        "-DAOTBUILD_EIGEN=OFF",
        "-DCMAKE_BUILD_TYPE=Debug",  # without optimisation it compiles in half the time
        "-DCMAKE_CXX_FLAGS_DEBUG=",
        standin=False,
    )
    project.build()
    assert "AArch64" in project.run("aarch64-linux-gnu-readelf", "--file-header", project.build_dir / "net_test")
    shards = (project.build_dir / "net.aotbuild/src").glob("net_kernels_aarch64_*.cpp")
    assert any("Vectorized<float>::loadu" in shard.read_text() for shard in shards)
    output = project.run("ctest", "--test-dir", project.build_dir, "--verbose", "--timeout", "60")
    assert re.findall(r"\[       OK \] (\S+)", output) == [
        "Net.Example",
        "Net.BatchMin",
        "Net.BatchMax",
        "Net.RefusesAWrongElementType",
        "Net.RefusesAWrongRank",
    ]


@needs_tools
def test_missing_onednn_of_the_other_processor_is_explained(make_project: MakeProject) -> None:
    project = make_project(LISTS, {"aarch64.cmake": TOOLCHAIN, "net.py": NET})
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={project.source / 'aarch64.cmake'}"
    output = project.configure(toolchain, "-DAOTBUILD_ONEDNN=ON", standin=False, error=True)
    assert (
        "Install it (oneDNN 3 built for aarch64; or leave AOTBUILD_ONEDNN out for a runtime without), or set "
        "AOTBUILD_DNNL_LIBRARY and AOTBUILD_DNNL_INCLUDE_DIR." in " ".join(output.split())
    )


@pytest.mark.parametrize("onednn", [False, True])
def test_installed_runtime_brings_what_it_calls(make_project: MakeProject, tmp_path: Path, onednn: bool) -> None:
    lists = "add_aot_model(encoder MODEL model.py:build)\naotbuild_install(TARGETS encoder PACKAGE models)\n"
    project = make_project(HEAD + lists)
    options = ("-DAOTBUILD_ONEDNN=ON",) if onednn else ()
    project.configure("-DCMAKE_INSTALL_LIBDIR=lib", "-DAOTBUILD_EIGEN=OFF", *options)
    project.build()
    project.run("cmake", "--install", project.build_dir, "--prefix", tmp_path / "prefix")
    libraries = {path.name for path in (tmp_path / "prefix/lib").iterdir()}
    assert libraries == {"cmake", "libencoder.a", "models", "pkgconfig"}
    bundled = {path.name for path in (tmp_path / "prefix/lib/models").iterdir()}
    assert bundled == {"libaotbuild_runtime.a", "libsleef.so.3", *(("libdnnl.so.3",) if onednn else ())}
    assert (tmp_path / "prefix/share/models/licenses/oneDNN.txt").exists() == onednn
    installed = (tmp_path / "prefix/lib/cmake/models/modelsConfig.cmake").read_text()
    assert ("dnnl" in installed) == onednn
