"""Dataclasses among the arguments and results of a model, which ``torch.export`` has to know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree


def register_dataclasses(value: Any) -> bool:
    """Registers the classes of the dataclasses in ``value`` that are no pytrees yet. Returns whether there were any."""
    found = False
    for leaf in pytree.tree_leaves(value):
        if dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            torch.export.register_dataclass(type(leaf))
            found = True
    return found and (register_dataclasses(value) or True)  # what they hold


def register_results(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Registers what the model returns, which is known after a run.

    transformers registers the classes of its outputs when it first makes one, but not while a model is traced.
    """
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    copies = pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.detach().clone(), (tuple(args), dict(kwargs)))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        register_dataclasses(module(*copies[0], **copies[1]))
    for buffer, value in buffers:
        buffer.data.copy_(value)
