"""Activations that packed layers apply themselves: which calls they are, with which parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

aten = torch.ops.aten

# Kept whole through decomposition so that they can be found; those that nothing takes up are decomposed afterwards.
PRESERVED = (aten.gelu.default, aten.silu.default, aten.hardswish.default, aten.leaky_relu.default)


@dataclass(frozen=True)
class Activation:
    """A name of ``Activation`` in detail/spec.h and its parameter."""

    name: str
    alpha: float = 0.0


def recognise(node: Node) -> Activation | None:
    """The activation that a call computes, or None."""
    if node.target is aten.gelu.default:
        approximate = node.args[1] if len(node.args) > 1 else node.kwargs.get("approximate", "none")
        return Activation("gelu" if approximate == "none" else "gelu_tanh")
    if node.target is aten.leaky_relu.default:
        slope = node.args[1] if len(node.args) > 1 else node.kwargs.get("negative_slope", 0.01)
        return Activation("leaky_relu", float(slope))  # type: ignore[arg-type]
    names: dict[Any, str] = {
        aten.relu.default: "relu",
        aten.silu.default: "silu",
        aten.tanh.default: "tanh",
        aten.hardswish.default: "hardswish",
    }
    name = names.get(node.target)
    return None if name is None else Activation(name)


def following(node: Node) -> tuple[Node, Activation] | None:
    """The activation that is the only reader of ``node``, if there is one."""
    if len(node.users) != 1:
        return None
    (user,) = node.users
    activation = recognise(user)
    return None if activation is None or user.args[0] is not node else (user, activation)
