"""Builds the benchmark's model with AOTInductor, in a process of its own: <package.pt2> [option=value ...]."""

from __future__ import annotations

import json
import sys

import torch
import torch._inductor

import minilm_model

if __name__ == "__main__":
    options = dict(option.split("=", 1) for option in sys.argv[2:])
    with torch.no_grad():
        module, inputs = minilm_model.build()
        torch._inductor.aoti_compile_and_package(
            torch.export.export(module, inputs),
            package_path=sys.argv[1],
            inductor_configs={
                key: json.loads(value) for key, value in (option.split("=", 1) for option in sys.argv[2:])
            },
        )
