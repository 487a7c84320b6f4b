"""Builds the benchmark's model with AOTInductor, in a process of its own.

Arguments: <build|build_query> <package.pt2> [option=value ...]
"""

from __future__ import annotations

import json
import sys

import torch
import torch._inductor

import minilm_model

if __name__ == "__main__":
    options = dict(option.split("=", 1) for option in sys.argv[3:])
    with torch.no_grad():
        module, inputs = getattr(minilm_model, sys.argv[1])()
        torch._inductor.aoti_compile_and_package(
            torch.export.export(module, inputs),
            package_path=sys.argv[2],
            inductor_configs={key: json.loads(value) for key, value in options.items()},
        )
