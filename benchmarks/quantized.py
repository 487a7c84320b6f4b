"""Models quantized with torchao: built for the CPU, compared with the quantized model in eager PyTorch.

Needs torchao (``pip install torchao --no-deps``), which is no dependency of aotbuild or of its tests. Prints for each
configuration the largest error against eager and the bytes of the weights file, and the latency on one thread for
several numbers of rows. The calls of the library, of the quantized model in eager PyTorch and of the float32 model take
turns, so that what else the machine does is in all of them.
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import torch
from torch import nn

from harness import machine, save, table

ROOT = Path(__file__).parents[1]
INT4: Any = vars(torch)["int4"]  # the stubs of torch lack it
BUILD = ROOT / "build" / "bench" / "quantized"
NAMES = ("float32", "int8_weights", "int8_dynamic", "int4_weights", "int4_dynamic")
ROWS = (1, 8, 64)
ROUNDS = 60
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


def int4_dynamic() -> Any:
    return quantized(
        lambda torchao: torchao.Int8DynamicActivationIntxWeightConfig(
            weight_dtype=INT4, weight_granularity=torchao.PerGroup(64)
        )
    )


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


def milliseconds(calls: Sequence[Callable[[torch.Tensor], Any]], x: torch.Tensor) -> list[float]:
    """The median time of each call."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, taken in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call(x)
            taken.append(time.perf_counter() - start)
    return [round(1e3 * statistics.median(taken[ROUNDS // 6 :]), 3) for taken in seconds]


def measure(name: str) -> dict[str, Any]:
    import aotbuild

    module, original = globals()[name]().module, float32().module
    library = aotbuild.load(BUILD / f"lib{name}.so", num_threads=1)
    errors = []
    latency = {}
    for rows in ROWS:
        x = torch.randn(rows, 512)
        expected = module(x)
        errors.append(float((library(x) - expected).abs().max() / expected.abs().max()))
        ours, eager, full = milliseconds((library, module, original), x)
        latency[str(rows)] = {"aotbuild_ms": ours, "eager_ms": eager, "eager_float32_ms": full}
    weights = BUILD / f"{name}.aotbuild" / f"{name}.safetensors"
    return {"largest_error": max(errors), "weights_bytes": weights.stat().st_size, "rows": latency}


def main() -> None:
    torch.set_num_threads(1)
    build()
    with torch.no_grad():
        results = {name: measure(name) for name in NAMES}
    sizes, latencies = [], []
    for name, figures in results.items():
        sizes.append([name, f"{figures['largest_error']:.1e}", f"{figures['weights_bytes'] / 1e6:.2f} MB"])
        for rows, times in figures["rows"].items():
            ours, eager, full = times.values()
            ratios = [f"{ours / eager:.2f}", f"{ours / full:.2f}"]
            latencies.append([name, rows, *(f"{value:.2f} ms" for value in (ours, eager, full)), *ratios])
    print(table(["", "error", "weights file"], sizes))
    kinds = ["aotbuild", "eager", "eager float32", "of eager", "of eager float32"]
    print(table(["one thread", "rows", *kinds], latencies))
    print(save("quantized", {"machine": machine(), "configurations": results}))


if __name__ == "__main__":
    main()
