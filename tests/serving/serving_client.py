"""Requests to a model by HTTP and by gRPC, and the golden cases that it is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from ml_dtypes import bfloat16
from safetensors import safe_open
from triton_server import Server
from tritonclient.utils import np_to_triton_dtype

Arrays = dict[str, np.ndarray[Any, Any]]
PROTOCOLS = ("http", "grpc")


def client(server: Server, protocol: str, **options: Any) -> Any:
    if protocol == "http":
        return tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http}", **options)
    return tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}", **options)


def tensors(protocol: str, inputs: Mapping[str, np.ndarray[Any, Any]]) -> list[Any]:
    """The inputs of a request. A number goes as [1], as config.pbtxt has it."""
    library = tritonclient.http if protocol == "http" else tritonclient.grpc
    made = []
    for name, array in inputs.items():
        shaped = array.reshape(array.shape or (1,))
        kind = "BF16" if array.dtype == bfloat16 else np_to_triton_dtype(array.dtype)
        tensor = library.InferInput(name, list(shaped.shape), kind)
        tensor.set_data_from_numpy(shaped)
        made.append(tensor)
    return made


def infer(connection: Any, protocol: str, model: str, inputs: Arrays, **options: Any) -> Arrays:
    result = connection.infer(model, tensors(protocol, inputs), **options)
    answer = result.get_response()
    names = (
        [output["name"] for output in answer.get("outputs", [])]
        if protocol == "http"
        else [output.name for output in answer.outputs]
    )
    return {name: result.as_numpy(name) for name in names}


@dataclass(frozen=True)
class Case:
    """One recorded call: inputs, eager PyTorch's outputs, and rtol and atol of each."""

    name: str
    inputs: Arrays
    outputs: Arrays
    tolerances: dict[str, tuple[float, float]]

    def problem(self, answers: Arrays) -> str:
        """What is wrong with the answers; empty for nothing."""
        if answers.keys() != self.outputs.keys():
            return f"{self.name}: outputs {sorted(answers)}, expected {sorted(self.outputs)}"
        for name, expected in self.outputs.items():
            rtol, atol = self.tolerances[name]
            answer = answers[name].astype(expected.dtype).reshape(-1)
            flat = expected.reshape(-1)
            if answer.shape != flat.shape:
                return f"{self.name}: output {name} has sizes {answers[name].shape}, expected {expected.shape}"
            if not np.allclose(answer.astype(np.float64), flat.astype(np.float64), rtol, atol, equal_nan=True):
                worst = np.abs(answer.astype(np.float64) - flat.astype(np.float64)).max()
                return f"{self.name}: output {name} is {worst} from what eager PyTorch gives"
        return ""


def cases(build: Path, target: str) -> list[Case]:
    """The golden cases of a target, those of one call each; then ``session0`` and so on, which follow one another."""
    folder = build / f"{target}.aotbuild"
    names = json.loads((folder / f"{target}.manifest.json").read_text())["golden"]
    found = []
    with safe_open(folder / "test" / f"{target}.golden.safetensors", "np") as file:
        keys = set(file.keys())
        for case in names:
            # Those that write to an input also say what it holds then, which a server does not send back.
            inputs = dict(_tensors(file, keys, f"{case}/input/"))
            outputs = dict(_tensors(file, keys, f"{case}/output/"))
            tolerances: dict[str, tuple[float, float]] = {}
            for name in outputs:
                rtol, atol = file.get_tensor(f"tolerance/{case}/output/{name}")
                tolerances[name] = float(rtol), float(atol)
            found.append(Case(case, inputs, outputs, tolerances))
    return found


def _tensors(file: Any, keys: set[str], prefix: str) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for key in sorted(keys):
        if key.startswith(prefix):
            yield key.removeprefix(prefix), file.get_tensor(key)
