"""Builds many models as one CMake project whose sources one Python process generates."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from model_zoo import MODELS, lstm

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ZOO = HERE / "model_zoo.py"
FOLDER = ROOT / "build" / "models"
EXPORTED = FOLDER / "exported.pt2"


@dataclass(frozen=True)
class Target:
    """One ``add_aot_model`` call. ``model`` is a function of the zoo, a .pt2 file, or a value of MODEL.

    With ``runtime`` torch, a function of ``torch_models.py`` where it is one of those.
    """

    name: str
    model: str
    kind: str = "SHARED"
    cpu_isa: tuple[str, ...] = ("x86-64-v3",)
    weights: str = "EMBED"
    namespace: str = ""
    test: bool = False
    methods: tuple[str, ...] = ()
    runtime: str = "standalone"
    preset: str = "default"
    precision: tuple[str, ...] = ()  # the type, and the modules that are left out
    quantize: tuple[str, ...] = ()  # the words of QUANTIZE
    weights_sha256: bool = False

    @property
    def path(self) -> str:
        if self.model.endswith(".pt2"):
            return str(EXPORTED)
        if ":" in self.model:
            return self.model
        in_zoo = self.runtime != "torch" or self.model in MODELS
        return f"{ZOO if in_zoo else HERE / 'torch_models.py'}:{self.model}"

    def cmake(self) -> str:
        words = [self.name, self.kind, "MODEL", f'"{self.path}"', "WEIGHTS", self.weights, "CPU_ISA", *self.cpu_isa]
        words += ["NAMESPACE", self.namespace] if self.namespace else []
        words += ["METHODS", *self.methods] if self.methods else []
        words += ["RUNTIME", self.runtime] if self.runtime != "standalone" else []
        words += ["PRESET", self.preset] if self.preset != "default" else []
        words += ["PRECISION", self.precision[0]] if self.precision else []
        words += ["EXCEPT", *self.precision[1:]] if self.precision[1:] else []
        words += ["QUANTIZE", *self.quantize] if self.quantize else []
        words += ["WEIGHTS_SHA256"] if self.weights_sha256 else []
        words += [] if self.test else ["NO_TEST"]
        return f"add_aot_model({' '.join(words)})\n"

    def request(self, build: Path) -> dict[str, Any]:
        emit = {
            "target": self.name,
            "weights": self.weights.lower(),
            "weights_sha256": self.weights_sha256,
            "namespace": self.namespace,
            "test": self.test,
        }
        return {
            "model": self.path,
            "output_dir": str(build / f"{self.name}.aotbuild"),
            "source_dir": str(build.parent / "source"),
            "cpu_isa": self.cpu_isa,
            "methods": self.methods,
            "runtime": self.runtime,
            "precision": self.precision[0] if self.precision else "",
            "precision_except": self.precision[1:],
            "quantize": self.quantize,
            "emit": emit,
        }


# Models whose generated tests are built and run too.
GOLDEN_TESTED = (
    "related_sizes",
    "small_sizes",
    "written_inputs",
    "structured",
    "constant_outputs",
    "kv_cache",
    "bfloat16",
    "empty",
    "no_inputs",
    "recurrent",
    "streaming",
)
TARGETS = [
    # Most kernels have the project's -O1: -O3 takes twice as long to compile and computes the same.
    *(Target(name, name, preset="debug") for name in MODELS if name not in GOLDEN_TESTED),
    *(Target(name, name, test=True) for name in GOLDEN_TESTED),
    Target("several_isas", "causal_attention", cpu_isa=("x86-64-v2", "x86-64-v3", "avx512")),
    # Tolerances hold for the least instruction set and for the best that the machine has.
    Target("least_isa", "transformer", cpu_isa=("x86-64-v2",), test=True),
    Target("best_isa", "transformer", cpu_isa=("x86-64-v3", "avx512"), test=True),
    Target("weights_in_file", "transformer", weights="FILE", test=True),
    Target("weights_external", "tied_weights", weights="EXTERNAL", test=True),
    Target("external_constants", "constants", weights="EXTERNAL"),
    Target("from_pt2", "exported.pt2"),
    Target("hostile_names", "hostile_names", test=True),
    Target("in_bfloat16", "layers_to_round", precision=("bfloat16",), test=True),
    Target(
        *("but_for_blocks", "layers_to_round"),
        precision=("bfloat16", "blocks.*", "stem"),
        weights="FILE",
        weights_sha256=True,
        test=True,
    ),
    Target("in_float16", "layers_to_round", precision=("float16",), weights="EXTERNAL", test=True),
    Target("in_int8", "layers_to_round", quantize=("int8",), test=True),
    Target("in_int4", "layers_to_round", quantize=("int4", "EXCEPT", "head"), weights="FILE", test=True),
    Target("in_dynamic_int8", "layers_to_round", quantize=("int8", "dynamic"), test=True),
    Target("methods_in_bfloat16", "recorder", precision=("bfloat16",), methods=("begin", "append", "read"), test=True),
    Target("generator", "generator", methods=("prefill", "decode"), test=True),
    Target("recorder", "recorder", methods=("begin", "append", "read"), test=True),
    Target("recorder_in_file", "recorder", weights="FILE", methods=("append", "read"), kind="STATIC", test=True),
    Target("first", "tied_weights", kind="STATIC", namespace="app"),
    Target("second", "grouped_linears", kind="STATIC", namespace="app"),
    Target("decompositions", "decompositions", kind="STATIC", runtime="torch", test=True),
    Target("first_on_torch", "tied_weights", kind="STATIC", namespace="app", runtime="torch"),
    Target("kv_cache_on_torch", "kv_cache", weights="FILE", runtime="torch", test=True),
    Target("quantized_on_torch", "quantized", runtime="torch", test=True),
    Target("custom_operators", "custom_operators", runtime="torch", test=True),
    Target("absent_operator", "absent_operator", runtime="torch"),
]
# Two static models, which share the runtime, and two shared ones in one program.
PROGRAM = f"""
add_executable(program {HERE / "program.cpp"})
target_link_libraries(program PRIVATE first second tied_weights grouped_linears)
add_executable(torch_program {HERE / "torch_program.cpp"})
target_link_libraries(torch_program PRIVATE decompositions first first_on_torch kv_cache kv_cache_on_torch)
add_library(torch_operators SHARED {HERE / "torch_operators.cpp"})
target_link_libraries(torch_operators PRIVATE aotbuild::torch)
target_compile_options(torch_operators PRIVATE -std=c++20 -O0)
target_link_libraries(custom_operators PRIVATE torch_operators)
"""


def run(*command: str | Path, **environment: str) -> str:
    """The command's output, both streams; a failure shows its end."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    shown = done.stdout if len(done.stdout) < 12000 else f"...\n{done.stdout[-12000:]}"
    assert done.returncode == 0, f"{' '.join(map(str, command))}: exit status {done.returncode}\n{shown}"
    return done.stdout


def configure(source: Path, build: Path, *arguments: str) -> None:
    run(
        "cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
        f"-Daotbuild_DIR={ROOT / 'cmake'}", f"-DAOTBUILD_PYTHON={sys.executable}", *arguments,
    )  # fmt: skip


def build_targets(folder: Path, targets: Sequence[Target], lists: str = "", *arguments: str) -> Path:
    """The build tree of a project of ``targets``; ``lists`` is what else its CMakeLists.txt has.

    What was built before is built again only where it differs.
    """
    generate_targets(folder, targets)
    return compile_targets(folder, targets, lists, *arguments)


def generate_targets(folder: Path, targets: Sequence[Target]) -> None:
    """Writes the sources of ``targets`` into the build tree."""
    folder.mkdir(parents=True, exist_ok=True)
    requests = folder / "requests.json"
    requests.write_text(json.dumps([target.request(folder / "build") for target in targets]))
    run(sys.executable, HERE / "generate_targets.py", requests, PYTHONHASHSEED="0")


def compile_targets(folder: Path, targets: Sequence[Target], lists: str, *arguments: str, before: str = "") -> Path:
    """The build tree, in which the sources of ``targets`` are. ``before``: what CMakeLists.txt has before them."""
    source, build = folder / "source", folder / "build"
    source.mkdir(parents=True, exist_ok=True)
    head = "cmake_minimum_required(VERSION 3.24)\nproject(models LANGUAGES CXX)\nenable_testing()\n"
    text = head + before + "find_package(aotbuild REQUIRED)\n" + "".join(target.cmake() for target in targets) + lists
    (source / "CMakeLists.txt").write_text(text)
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    configure(source, build, f"-DAOTBUILD_GENERATOR={HERE / 'touch_stamp.py'}", *launcher, *arguments)
    run("cmake", "--build", build, "--parallel", os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "2"))
    return build


def chosen_targets(names: str) -> list[Target]:
    """The targets that pytest's option --zoo names: ``names`` with commas between, none for every target."""
    by_name = {target.name: target for target in TARGETS}
    unknown = sorted(set(names.split(",")) - {"", *by_name})
    if unknown:
        raise ValueError(f"--zoo {','.join(unknown)}: no such model; use names of {', '.join(sorted(by_name))}")
    return [by_name[name] for name in names.split(",")] if names else TARGETS


def build_zoo(folder: Path, targets: list[Target]) -> None:
    """The one build that most tests of this folder share."""
    model = lstm()
    assert isinstance(model.module, torch.nn.Module)
    torch.export.save(torch.export.export(model.module.eval(), tuple(model.example_inputs)), EXPORTED)
    build_targets(folder, targets, PROGRAM if targets is TARGETS else "", "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG")


def leaves(value: Any) -> list[torch.Tensor]:
    """The tensors of an output or input in the signature's order; numbers are tensors, None and text are left out."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in leaves(part)]
    if hasattr(value, "__dict__") and not isinstance(value, torch.Tensor):  # a dataclass, or what stands for one
        return [leaf for part in vars(value).values() for leaf in leaves(part)]
    if value is None or isinstance(value, str):
        return []
    return [torch.as_tensor(value, dtype=torch.float64 if isinstance(value, float) else None)]


def assert_same(actual: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """The same number of tensors with the same types, sizes and, to a tolerance, values."""
    got, want = leaves(actual), leaves(expected)
    assert len(got) == len(want)
    for g, w in zip(got, want):
        is_float = w.dtype == torch.float32
        tolerances = (rtol, atol) if is_float else (None, None)
        torch.testing.assert_close(g, w.detach(), rtol=tolerances[0], atol=tolerances[1], equal_nan=True)
