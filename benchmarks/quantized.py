"""Models quantized with torchao: built for the CPU, compared with the quantized model in eager PyTorch.

Needs torchao (``pip install torchao --no-deps``), which is no dependency of aotbuild or of its tests. Prints for each
configuration the largest error against eager, the bytes of the weights file, and the latency on one thread.
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import torch
from torch import nn

from harness import machine, save, table

ROOT = Path(__file__).parents[1]
INT4: Any = vars(torch)["int4"]  # the stubs of torch lack it
BUILD = ROOT / "build" / "bench" / "quantized"
NAMES = ("float32", "int8_weights", "int8_dynamic", "int4_weights")
MODEL = """\
import sys
sys.path.insert(0, {benchmarks!r})
from quantized import {name} as build
"""


class Network(nn.Module):
    """Two blocks as in a transformer's feed-forward part."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


def quantized(config: Callable[[Any], Any]) -> Any:
    """The network with its linear layers quantized, and an example."""
    from aotbuild import Model

    quantization: Any = importlib.import_module("torchao.quantization")

    torch.manual_seed(0)
    module = Network().eval()
    chosen = config(quantization)
    if chosen is not None:
        quantization.quantize_(module, chosen)
    rows = torch.export.Dim("rows", min=1, max=64)
    return Model(module, (torch.randn(8, 512),), dynamic_shapes=({0: rows},))


def float32() -> Any:
    return quantized(lambda _: None)


def int8_weights() -> Any:
    return quantized(lambda torchao: torchao.Int8WeightOnlyConfig())


def int8_dynamic() -> Any:
    return quantized(lambda torchao: torchao.Int8DynamicActivationInt8WeightConfig())


def int4_weights() -> Any:
    return quantized(lambda torchao: torchao.IntxWeightOnlyConfig(weight_dtype=INT4, granularity=torchao.PerGroup(64)))


def build() -> None:
    """One shared library for each configuration."""
    source = BUILD / "source"
    source.mkdir(parents=True, exist_ok=True)
    lists = "cmake_minimum_required(VERSION 3.24)\nproject(quantized LANGUAGES CXX)\nfind_package(aotbuild REQUIRED)\n"
    for name in NAMES:
        (source / f"{name}.py").write_text(MODEL.format(benchmarks=str(ROOT / "benchmarks"), name=name))
        lists += f"add_aot_model({name} SHARED MODEL {name}.py:build WEIGHTS FILE CPU_ISA native NO_TEST)\n"
    (source / "CMakeLists.txt").write_text(lists)
    configure = ["cmake", "-S", str(source), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
    configure += [f"-Daotbuild_DIR={ROOT / 'cmake'}", f"-DAOTBUILD_PYTHON={sys.executable}"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(BUILD)], check=True, stdout=subprocess.DEVNULL)


def milliseconds(call: Callable[[torch.Tensor], Any], x: torch.Tensor) -> float:
    seconds = []
    for _ in range(60):
        start = time.perf_counter()
        call(x)
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds[10:])


def main() -> None:
    import aotbuild

    torch.set_num_threads(1)
    build()
    results = {}
    for name in NAMES:
        module = globals()[name]().module
        library = aotbuild.load(BUILD / f"lib{name}.so", num_threads=1)
        with torch.no_grad():
            errors = []
            for rows in (1, 8, 64):
                x = torch.randn(rows, 512)
                expected = module(x)
                errors.append(float((library(x) - expected).abs().max() / expected.abs().max()))
            x = torch.randn(8, 512)
            results[name] = {
                "largest_error": max(errors),
                "weights_bytes": (BUILD / f"{name}.aotbuild" / f"{name}.safetensors").stat().st_size,
                "aotbuild_ms": round(milliseconds(library, x), 3),
                "eager_ms": round(milliseconds(module, x), 3),
            }
    header = ["one thread, 8 rows", "error", "weights file", "aotbuild", "eager, quantized"]
    lines = []
    for name, figures in results.items():
        size, ours, eager = (figures[key] for key in ("weights_bytes", "aotbuild_ms", "eager_ms"))
        error = f"{figures['largest_error']:.1e}"
        lines.append([name, error, f"{size / 1e6:.2f} MB", f"{ours:.2f} ms", f"{eager:.2f} ms"])
    print(table(header, lines))
    print(save("quantized", {"machine": machine(), "configurations": results}))


if __name__ == "__main__":
    main()
