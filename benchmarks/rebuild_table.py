"""What runs again when something is touched, under Ninja and Makefiles, with the real generator: one table.

``net`` is for the CPU. ``gpu`` is built for a GPU, with or without one, and has a tuning database.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aotbuild.spec.paths import cmake_directory
from harness import table

LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(rebuild LANGUAGES CXX)
find_package(aotbuild REQUIRED)
add_aot_model(net MODEL net.py:build NO_TEST DEPENDS declared.txt{options})
add_aot_model(gpu MODEL gpu.py:build NO_TEST DEVICE cuda CUDA_ARCHITECTURES 90)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE net gpu)
"""
GPU = """\
import torch


def build():
    return lambda x: torch.relu(x) * 2, (torch.ones(1024, 1024),)
"""
MODEL = """\
from pathlib import Path

import aotbuild
import torch
from safetensors.torch import load_file

from helper import {activation}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(8, {width})
        self.second = torch.nn.Linear({width}, 4)

    def forward(self, x):
        return torch.softmax(self.second({activation}(self.first(x))), -1)


def build():
    net = Net()
    weights = Path(__file__).parent / "weights.safetensors"
    net.load_state_dict({{k: v[tuple(map(slice, net.state_dict()[k].shape))] for k, v in load_file(weights).items()}})
    return aotbuild.Model(net, (torch.ones(2, 8),), data_files=[weights])
"""
HELPER = "import torch\n\n\ndef activation(x):\n    return torch.{function}(x) * 2\n"
MAIN = "#include <net.hpp>\nint main() {{ return {value} + int(sizeof(Net) == 0); }}\n"
WEIGHTS = """\
import sys, torch
from safetensors.torch import save_file
torch.manual_seed(int(sys.argv[1]))
shapes = {"first.weight": (32, 8), "first.bias": (32,), "second.weight": (4, 32), "second.bias": (4,)}
save_file({name: torch.randn(shape) for name, shape in shapes.items()}, sys.argv[2])
"""
STEPS = {
    "generator": re.compile(r"Generating \w+ from"),
    "kernels": re.compile(r"Building CXX object \S*src/(?:net_kernels|gpu_images)_\w+\.cpp"),
    "wrapper": re.compile(r"Building CXX object \S*src/(?:net|gpu)(?:_run_\w+)?\.cpp"),
    "weights": re.compile(r"Building CXX object \S*src/\w+_weights\.cpp"),
    "user C++": re.compile(r"Building CXX object \S*main\.cpp"),
    "link": re.compile(r"Linking CXX"),
}


class Project:
    """The project in a folder, built with one of CMake's generators."""

    def __init__(self, folder: Path, generator: str) -> None:
        self.folder = folder
        self.generator = generator
        self.write("CMakeLists.txt", LISTS.format(options=""))
        self.write("net.py", MODEL.format(activation="activation", width=16))
        self.write("helper.py", HELPER.format(function="relu"))
        self.write("gpu.py", GPU)
        self.write("main.cpp", MAIN.format(value=0))
        self.write("declared.txt", "1\n")
        self.new_weights(1)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def new_weights(self, seed: int) -> None:
        subprocess.run([sys.executable, "-c", WEIGHTS, str(seed), self.folder / "weights.safetensors"], check=True)

    def new_tuning(self, block: int) -> None:
        """A database with another configuration of the one kernel of ``gpu``."""
        manifest = json.loads((self.folder / "build/gpu.aotbuild/gpu.manifest.json").read_text())
        (key,) = manifest["metadata"]["tuning"]["keys"]
        config = f"XBLOCK={block} num_stages=1 num_warps=4"
        self.write("gpu.tuning", f"{key} | some GPU | {config} | 1.00 us, heuristics 2.00 us | torch | kernel\n")

    def run(self, *command: str | Path) -> str:
        environment = {**os.environ, "AOTBUILD_CACHE_DIR": "OFF", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}")
        return done.stdout

    def configure(self) -> None:
        known = (f"-Daotbuild_DIR={cmake_directory()}", f"-DAOTBUILD_PYTHON={sys.executable}")
        self.run("cmake", "-S", self.folder, "-B", self.folder / "build", "-G", self.generator, *known)

    def build(self) -> list[str]:
        """How often each kind of step ran, as cells of the table."""
        output = self.run("cmake", "--build", self.folder / "build", "--parallel")
        counts = [len(pattern.findall(output)) for pattern in STEPS.values()]
        return [str(count) if count else "-" for count in counts]


EDITS: dict[str, Callable[[Project], None]] = {
    "nothing": lambda project: None,
    "the program's C++": lambda project: project.write("main.cpp", MAIN.format(value=1)),
    "model file, touched": lambda project: (project.folder / "net.py").touch(),
    "model file, wider layer": lambda project: project.write("net.py", MODEL.format(activation="activation", width=32)),
    "imported helper": lambda project: project.write("helper.py", HELPER.format(function="tanh")),
    "weights only": lambda project: project.new_weights(2),
    "option": lambda project: project.write("CMakeLists.txt", LISTS.format(options=" OPTIONS epilogue_fusion=False")),
    "file of DEPENDS": lambda project: project.write("declared.txt", "2\n"),
    "tuning database appears": lambda project: project.new_tuning(128),
    "tuning database, a line": lambda project: project.new_tuning(512),
    "tuning database, touched": lambda project: (project.folder / "gpu.tuning").touch(),
}


def main() -> None:
    for generator in ("Ninja", "Unix Makefiles"):
        with tempfile.TemporaryDirectory() as folder:
            project = Project(Path(folder), generator)
            project.configure()
            rows = [["everything (first build)", *project.build()]]
            for name, edit in EDITS.items():
                time.sleep(1.1)  # make compares whole seconds on some file systems
                edit(project)
                rows.append([name, *project.build()])
                again = project.build()
                if set(again) != {"-"}:
                    raise SystemExit(
                        f"{generator}: after {name!r} the second build still ran {dict(zip(STEPS, again))}"
                    )
        print(f"{generator}: how often each step ran after a change (and nothing ran in a second build)\n")
        print(table(["touched", *STEPS], rows))
        print()


if __name__ == "__main__":
    main()
