"""The settings of this process that lowering depends on: a model file may change TorchInductor's, and torch's."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch._inductor.config as inductor_config


def process_settings() -> dict[str, Any] | None:
    """All that differs from the defaults, as JSON values; None where one of them, such as a function, is none."""
    changed: dict[str, Any] = {}
    for name, entry in inductor_config._config.items():  # type: ignore[attr-defined]
        if entry.alias is not None or entry.hide:
            continue
        value = getattr(inductor_config, name)
        if value != entry.default:
            changed[name] = value
    settings = {
        "inductor": changed,
        "default dtype": str(torch.get_default_dtype()),
        "deterministic": [
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            bool(torch.utils.deterministic.fill_uninitialized_memory),  # type: ignore[attr-defined]
        ],
        "float32 products": torch.get_float32_matmul_precision(),
        "cuda": [
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
            torch.backends.cudnn.allow_tf32,
        ],
    }
    try:
        json.dumps(settings)
    except TypeError:
        return None
    return settings
