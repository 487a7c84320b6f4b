"""PyTorch's own ways to run one of the models of tests/gpu: a package for its C++ loader, and torch.compile timed."""

from __future__ import annotations

import copy
import functools
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "tests" / "gpu"), str(_ROOT / "python")]

_WARM_UP_SECONDS = 0.5
_CALLS = 1000


def load(name: str) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    model = getattr(importlib.import_module("gpu_models"), name)()
    return model.module.eval().cuda(), tuple(example.cuda() for example in model.example_inputs)


def package(name: str, folder: Path) -> None:
    """Writes ``<name>.pt2`` with the defaults of AOTInductor, and ``<name>.inputs.pt``."""
    module, inputs = load(name)
    torch.save([example.cpu() for example in inputs], folder / f"{name}.inputs.pt")
    with torch.no_grad():
        program = torch.export.export(module, inputs)
        torch._inductor.aoti_compile_and_package(program, package_path=str(folder / f"{name}.pt2"))


def measure(call: Callable[[], object], kind: str) -> dict[str, Any]:
    """As tests/gpu/benchmark.cpp measures."""
    call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    while time.perf_counter() - start < _WARM_UP_SECONDS:
        call()
        torch.cuda.synchronize()
    seconds = []
    for _ in range(_CALLS):
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    for _ in range(_CALLS):
        call()
    torch.cuda.synchronize()
    queued = (time.perf_counter() - begin) / _CALLS
    tenths = statistics.quantiles(seconds, n=10)
    return {
        "kind": kind,
        "median_us": statistics.median(seconds) * 1e6,
        "p10_us": tenths[0] * 1e6,
        "p90_us": tenths[-1] * 1e6,
        "back_to_back_us": queued * 1e6,
    }


def measure_compiled(name: str) -> None:
    """Compiles and waits for a line on the standard input; then a JSON line for each of PyTorch's own ways."""
    module, inputs = load(name)
    calls: dict[str, Callable[..., Any]] = {
        "eager": module,
        "torch.compile": torch.compile(module),
        "torch.compile, graphs": torch.compile(copy.deepcopy(module), mode="reduce-overhead"),
    }
    with torch.inference_mode():
        for call in calls.values():
            call(*inputs)
        torch.cuda.synchronize()
        print("ready", flush=True)
        sys.stdin.readline()
        for kind, call in calls.items():
            print(json.dumps(measure(functools.partial(call, *inputs), kind)), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "package":
        package(sys.argv[2], Path(sys.argv[3]))
    else:
        measure_compiled(sys.argv[2])
