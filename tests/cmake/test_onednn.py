"""A real model over a runtime without oneDNN, as it is by default, and with: eager PyTorch's results from both. Without
it no memory can be written and executed, and the libraries are small."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import CMakeProject

MakeProject = Callable[..., CMakeProject]

LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(hardened LANGUAGES CXX)
enable_testing()
find_package(aotbuild REQUIRED)
add_aot_model(net SHARED PRESET debug MODEL net.py:build)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE net)
"""

# Every kind of layer that oneDNN would have: dense, grouped and transposed convolutions, also over computed weights,
# products of computed matrices, linear layers in bfloat16.
NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Conv2d(3, 24, 3, padding=1)
        self.grouped = nn.Conv2d(24, 24, 3, stride=2, padding=1, groups=4)
        self.up = nn.ConvTranspose2d(24, 8, 4, stride=2, padding=1)
        self.narrow = nn.Linear(8, 20, dtype=torch.bfloat16)

    def forward(self, x):
        x = torch.relu(self.dense(x))
        x = nn.functional.silu(self.grouped(x))
        x = nn.functional.conv2d(x, self.grouped.weight.cos(), groups=4, padding=1)
        rows = self.up(x).flatten(2)
        rows = rows @ rows.transpose(1, 2)
        return rows, self.narrow(rows.bfloat16()).float()


def build():
    torch.manual_seed(0)
    return Net().eval(), (torch.randn(2, 3, 16, 16),)
"""

MAIN = """\
#include <fstream>
#include <iostream>
#include <net.hpp>
#include <string>
#include <vector>

int main() {
  const std::vector<float> input(2 * 3 * 16 * 16, 0.5F);
  Net().run({{input.data(), {2, 3, 16, 16}}});
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) std::cout << line << '\\n';
}
"""


def build(folder: Path, *options: str, flags: str = "-O3 -DNDEBUG") -> CMakeProject:
    files: dict[str, str | bytes] = {"net.py": NET, "main.cpp": MAIN}
    made = CMakeProject(folder, LISTS, files, "Ninja")
    settings = ("-DAOTBUILD_EIGEN=OFF", f"-DAOTBUILD_PYTHON={sys.executable}", *options)
    made.configure("-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_CXX_FLAGS_RELEASE={flags}", *settings, standin=False)
    made.build()
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> CMakeProject:
    return build(tmp_path_factory.mktemp("hardened"))


def check_results(project: CMakeProject) -> None:
    project.run("ctest", "--test-dir", project.build_dir, "--output-on-failure", "--no-tests=error")


def test_results_are_eager_pytorchs(project: CMakeProject) -> None:
    check_results(project)


def test_results_with_onednn_are_eager_pytorchs(tmp_path: Path) -> None:
    project = build(tmp_path, "-DAOTBUILD_ONEDNN=ON", flags="-O0 -DNDEBUG")  # the runtime is compiled for it
    assert "libdnnl" in project.program("app")
    check_results(project)


def test_no_memory_can_be_written_and_executed(project: CMakeProject) -> None:
    maps = [line.split() for line in project.program("app").splitlines()]
    assert any("x" in fields[1] for fields in maps)
    assert [fields for fields in maps if "w" in fields[1] and "x" in fields[1]] == []


def test_libraries_are_small(project: CMakeProject, tmp_path: Path) -> None:
    """The runtime and the model, without symbols: at most 3 MB. Beside them lies Sleef, with another 2."""
    maps = [line.split() for line in project.program("app").splitlines()]
    files = {Path(fields[5]) for fields in maps if len(fields) > 5 and fields[5].startswith("/")}
    system = ("ld-linux", "libc.", "libm.", "libstdc++.", "libgcc_s.", "libgomp.", "libsleef.")
    libraries = sorted(path for path in files if ".so" in path.name and not path.name.startswith(system))
    assert [path.name.partition(".so")[0] for path in libraries] == ["libaotbuild_runtime_shared", "libnet"]
    total = 0
    for path in libraries:
        subprocess.run(["strip", "--strip-unneeded", "-o", tmp_path / path.name, path], check=True)
        total += (tmp_path / path.name).stat().st_size
    assert total < 3e6, [(path.name, (tmp_path / path.name).stat().st_size) for path in libraries]
