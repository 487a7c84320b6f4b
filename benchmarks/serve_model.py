"""The sentence encoder for Triton's own python backend, as benchmarks/serve.py compares it: requests are joined too."""

from __future__ import annotations

import json
from typing import Any

import torch
import triton_python_backend_utils as utils
from torch.utils import dlpack


class TritonPythonModel:
    """``kind``, a parameter of config.pbtxt: eager PyTorch or ONNX Runtime, on ``threads`` threads."""

    def initialize(self, args: dict[str, str]) -> None:
        values = {key: value["string_value"] for key, value in json.loads(args["model_config"])["parameters"].items()}
        threads = int(values["threads"])
        if values["kind"] == "onnxruntime":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(values["onnx"], options, providers=["CPUExecutionProvider"])
            names = [value.name for value in session.get_inputs()]

            def run_session(*tensors: torch.Tensor) -> torch.Tensor:
                arrays = [tensor.numpy() for tensor in tensors]
                return torch.from_numpy(session.run(None, dict(zip(names, arrays, strict=True)))[0])

            self.run = run_session
            return
        import runpy

        torch.set_num_threads(threads)
        module = runpy.run_path(values["model"])["build"]().module.eval()

        def run(*tensors: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                result: torch.Tensor = module(*tensors)
                return result

        self.run = run

    def execute(self, requests: list[Any]) -> list[Any]:
        # By DLPack: with NumPy 2 the backend takes arrays for empty ones.
        inputs = [
            [dlpack.from_dlpack(utils.get_input_tensor_by_name(request, name).to_dlpack()) for request in requests]
            for name in ("input_ids", "attention_mask")
        ]
        output = self.run(*map(torch.cat, inputs))
        answers = []
        first = 0
        for one in inputs[0]:
            rows = output[first : first + len(one)].contiguous()
            answers.append(utils.InferenceResponse([utils.Tensor.from_dlpack("output", rows.__dlpack__())]))
            first += len(one)
        return answers
