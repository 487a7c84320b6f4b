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
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import aotbuild
from harness import best_times, machine, relative_error, save, table

BUILD = Path(__file__).parents[1] / "build" / "bench" / "recurrent"
LENGTH = 100
BATCHES = (1, 8)

Array = npt.NDArray[Any]
Run = Callable[[], Any]


LAYERS: Mapping[str, Callable[[], nn.RNNBase]] = {
    "gru_2x256": lambda: nn.GRU(256, 256, 2),
    "lstm_2x256": lambda: nn.LSTM(256, 256, 2),
    "lstm_1x512": lambda: nn.LSTM(512, 512),
    "lstm_bidirectional_128": lambda: nn.LSTM(128, 128, bidirectional=True),
}


class Output(nn.Module):
    """A layer's output alone."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layer(x)[0]
        return output


class Layers(nn.Module):
    """All layers, each a method, so that one build has them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleDict({name: Output(make()) for name, make in LAYERS.items()})

    def gru_2x256(self, x: torch.Tensor) -> Any:
        return self.layers["gru_2x256"](x)

    def lstm_2x256(self, x: torch.Tensor) -> Any:
        return self.layers["lstm_2x256"](x)

    def lstm_1x512(self, x: torch.Tensor) -> Any:
        return self.layers["lstm_1x512"](x)

    def lstm_bidirectional_128(self, x: torch.Tensor) -> Any:
        return self.layers["lstm_bidirectional_128"](x)


def sequence(name: str, batch: int) -> torch.Tensor:
    """[LENGTH, batch, features] of a layer."""
    return torch.randn(LENGTH, batch, LAYERS[name]().input_size)


def compiled(module: Layers) -> Any:
    sizes = {0: torch.export.Dim("length", min=1, max=10000), 1: torch.export.Dim("batch", min=1, max=64)}
    methods = {name: aotbuild.Method((sequence(name, 2),), dynamic_shapes=(sizes,)) for name in LAYERS}
    return aotbuild.compile(module, methods=methods, output_dir=BUILD, num_threads=1).runner


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


def contenders(name: str, batch: int, module: Output, ours: Callable[[Array], Any]) -> tuple[dict[str, Run], Array]:
    """Every contender's call over one input, and the result in float64."""
    torch.manual_seed(1)
    x = sequence(name, batch)
    model = onnx_bytes(module, x)
    given = x.numpy()
    runs: dict[str, Run] = {
        "aotbuild": lambda: ours(given),
        "eager": lambda: module(x).numpy(),
        "onnxruntime": on_onnxruntime(model, given),
    }
    openvino = on_openvino(model, given)
    if openvino is not None:
        runs["openvino"] = openvino
    exact = module.double()(x.double()).numpy()
    module.float()
    return runs, exact


def measured(names: Iterable[str], rounds: int) -> Iterator[dict[str, Any]]:
    module = Layers().eval()
    library = compiled(module)
    for name in names:
        layer: Any = module.layers[name]
        for batch in BATCHES:
            runs, exact = contenders(name, batch, layer, getattr(library, name))
            errors = {each: relative_error(np.asarray(run()), exact) for each, run in runs.items()}
            milliseconds = {each: 1e3 * seconds for each, seconds in best_times(runs, rounds=rounds).items()}
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
