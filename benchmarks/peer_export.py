"""Writes what the peers of benchmarks/peers.py load of a model, in a process of its own.

    python benchmarks/peer_export.py <model> <folder>

``inputs.npz``, ``expected.npy`` (the first output of the model in float64), ``model.onnx`` and, where ExecuTorch is
installed, ``model.pte``.
"""

from __future__ import annotations

import copy
import importlib
import sys
import traceback
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import peer_models


def export_onnx(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    """By torch's exporter; recurrent layers by the older one, which has LSTM and GRU as one node each."""
    export: Any = torch.onnx.export  # its types know files alone
    if any(isinstance(layer, nn.RNNBase) for layer in module.modules()):
        export(module, inputs, path, dynamo=False, opset_version=17)
    else:
        export(module, inputs, path, dynamo=True, external_data=False)


def export_executorch(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    partitioner: Any = importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    exir: Any = importlib.import_module("executorch.exir")
    program = torch.export.export(module, inputs)
    lowered = exir.to_edge_transform_and_lower(program, partitioner=[partitioner.XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    warnings.simplefilter("ignore")
    module, inputs = peer_models.build(name)
    np.savez(folder / "inputs.npz", *(tensor.numpy() for tensor in inputs))
    exact = copy.deepcopy(module).double()
    with torch.no_grad():
        wide = [tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs]
        np.save(folder / "expected.npy", exact(*wide).numpy())
        export_onnx(module, inputs, folder / "model.onnx")
        if find_spec("executorch"):
            try:
                export_executorch(module, inputs, folder / "model.pte")
            except Exception:
                traceback.print_exc()  # a model that it refuses; the worker then finds no file


if __name__ == "__main__":
    main()
