"""Checks of operands that eager PyTorch reads out of bounds instead of refusing them."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_ATTENTION = (
    torch.nn.functional.scaled_dot_product_attention,
    torch.ops.aten.scaled_dot_product_attention,
    torch.ops.aten.scaled_dot_product_attention.default,
)


class CheckedOperands(TorchFunctionMode):
    """While it is active, attention over keys and values of different lengths raises a ``ValueError``.

    ``scaled_dot_product_attention`` of torch 2.11 to 2.15 reads behind the shorter of them on the CPU.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _ATTENTION:
            key, value = (args[i] if i < len(args) else kwargs[name] for i, name in ((1, "key"), (2, "value")))
            if key.shape[-2] != value.shape[-2]:
                raise ValueError(
                    f"scaled_dot_product_attention: the length of value is {value.shape[-2]}, expected {key.shape[-2]}"
                )
        return func(*args, **kwargs)
