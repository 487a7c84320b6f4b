"""The sentence encoder for Triton's own python backend, as benchmarks/serve.py compares it: requests are joined too."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as utils


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
            self.run = lambda *tensors: session.run(None, dict(zip(names, tensors, strict=True)))[0]
            return
        import runpy

        import torch

        torch.set_num_threads(threads)
        module = runpy.run_path(values["model"])["build"]().module.eval()

        def run(*tensors: Any) -> Any:
            with torch.inference_mode():
                return module(*map(torch.from_numpy, tensors)).numpy()

        self.run = run

    def execute(self, requests: list[Any]) -> list[Any]:
        inputs = [
            [utils.get_input_tensor_by_name(request, name).as_numpy() for request in requests]
            for name in ("input_ids", "attention_mask")
        ]
        output = self.run(*map(np.concatenate, inputs))
        answers = []
        first = 0
        for one in inputs[0]:
            rows = output[first : first + len(one)]
            answers.append(utils.InferenceResponse([utils.Tensor("output", rows)]))
            first += len(one)
        return answers
