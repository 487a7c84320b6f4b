"""Recurrent layers on one thread: ours, eager PyTorch, ONNX Runtime and, where it is installed, OpenVINO.

    python benchmarks/recurrent.py [--rounds N] [NAME ...]

OpenVINO (``pip install openvino==2026.4.1``) is no dependency of aotbuild or of its tests; it runs in float32, which
its hint says, since it would else choose bfloat16 on some processors. All contenders run in one process and take turns;
the figures are the thread's own processor time, the best of all calls, and the largest error against float64.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import aotbuild
from harness import machine, relative_error, save, table

BUILD = Path(__file__).parents[1] / "build" / "bench" / "recurrent"
LENGTH = 100
BATCHES = (1, 8)

Array = npt.NDArray[Any]
Run = Callable[[], Any]


@dataclass(frozen=True)
class Layer:
    """One model: ``make`` gives the module, whose input is [LENGTH, batch, features]."""

    make: Callable[[], nn.RNNBase]
    features: int


LAYERS: Mapping[str, Layer] = {
    "gru_2x256": Layer(lambda: nn.GRU(256, 256, 2), 256),
    "lstm_2x256": Layer(lambda: nn.LSTM(256, 256, 2), 256),
    "lstm_1x512": Layer(lambda: nn.LSTM(512, 512), 512),
    "lstm_bidirectional_128": Layer(lambda: nn.LSTM(128, 128, bidirectional=True), 128),
}


class Output(nn.Module):
    """The layer's output alone."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layer(x)[0]
        return output


def onnx_bytes(module: nn.Module, x: torch.Tensor) -> bytes:
    """By the exporter that has LSTM and GRU as one node each; the other writes the steps out."""
    buffer = io.BytesIO()
    export: Any = torch.onnx.export  # its types know files alone
    export(module, (x,), buffer, input_names=["x"], output_names=["y"], dynamo=False, opset_version=17)
    return buffer.getvalue()


def on_onnxruntime(model: bytes, x: Array) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def on_openvino(model: bytes, x: Array) -> Run | None:
    try:
        openvino: Any = importlib.import_module("openvino")
    except ImportError:
        return None
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    compiled = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", settings)
    request = compiled.create_infer_request()

    def run() -> Array:
        request.infer({0: x}, share_inputs=True)
        result: Array = request.get_output_tensor(0).data
        return result

    return run


def contenders(name: str, batch: int, module: Output, library: Any) -> tuple[dict[str, Run], Array]:
    """Every contender's call over one input, and the result in float64."""
    torch.manual_seed(1)
    x = torch.randn(LENGTH, batch, LAYERS[name].features)
    model = onnx_bytes(module, x)
    given = x.numpy()
    runs: dict[str, Run] = {
        "aotbuild": lambda: library(given),
        "eager": lambda: module(x).numpy(),
        "onnxruntime": on_onnxruntime(model, given),
    }
    openvino = on_openvino(model, given)
    if openvino is not None:
        runs["openvino"] = openvino
    exact = module.double()(x.double()).numpy()
    module.float()
    return runs, exact


def best_times(runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """Seconds of this thread's processor time, the least of all calls; the contenders take turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            run()  # finds the caches full of another's weights
            for _ in range(3):
                start = time.thread_time()
                run()
                best[name] = min(best[name], time.thread_time() - start)
    return best


def measured(names: list[str], rounds: int) -> Iterator[dict[str, Any]]:
    for name in names:
        torch.manual_seed(0)
        module = Output(LAYERS[name].make()).eval()
        any_size = {0: torch.export.Dim("length", min=1, max=10000), 1: torch.export.Dim("batch", min=1, max=64)}
        example = torch.randn(LENGTH, 2, LAYERS[name].features)
        built = aotbuild.compile(module, (example,), dynamic_shapes=(any_size,), output_dir=BUILD / name, num_threads=1)
        for batch in BATCHES:
            runs, exact = contenders(name, batch, module, built.runner)
            errors = {each: relative_error(np.asarray(run()), exact) for each, run in runs.items()}
            times = best_times(runs, rounds)
            milliseconds = {each: 1e3 * seconds for each, seconds in times.items()}
            yield {"layer": name, "batch": batch, "milliseconds": milliseconds, "errors": errors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(LAYERS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        results = list(measured(arguments.names or list(LAYERS), arguments.rounds))
    peers = [name for name in results[0]["milliseconds"] if name != "aotbuild"]
    rows = []
    for result in results:
        times, errors = result["milliseconds"], result["errors"]
        result["of_best_peer"] = times["aotbuild"] / min(times[peer] for peer in peers)
        cells = [f"{times[each]:.2f}" for each in ("aotbuild", *peers)]
        rows.append(
            [f"{result['layer']} batch {result['batch']}", *cells, f"{result['of_best_peer']:.2f}",
             f"{errors['aotbuild'] / errors['eager']:.2f}"]
        )  # fmt: skip
    print(table(["milliseconds", "aotbuild", *peers, "of best peer", "error of eager's"], rows))
    save("recurrent", {"machine": machine(), "length": LENGTH, "results": results})


if __name__ == "__main__":
    main()
