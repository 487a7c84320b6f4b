"""Recurrent layers over constant weights: found in the graph, packed when weights are loaded, called by slot.

Those over weights that the model computes, or in branches, stay calls of ``aoti_torch_cpu_recurrent``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from aotbuild.lower.common.recurrent import OPERATOR
from aotbuild.spec.program import Recurrent

FUNCTION = "context_recurrent"

# `features` of the output, which FUNCTION does not take.
_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define("packed_recurrent(Tensor input, Tensor[] state, int slot, int features) -> (Tensor, Tensor, Tensor)")
PACKED = torch.ops.aotbuild.packed_recurrent.default


@torch.library.register_fake("aotbuild::packed_recurrent", lib=_library)  # type: ignore[untyped-decorator]
def _sizes(input: Tensor, state: Sequence[Tensor], slot: int, features: int) -> tuple[Tensor, Tensor, Tensor]:
    output = input.new_empty((*input.shape[:2], features))
    cell = state[1].new_empty(state[1].shape) if len(state) > 1 else input.new_empty(0)
    return output, state[0].new_empty(state[0].shape), cell


def call_arguments(arguments: Sequence[Any]) -> list[Any]:
    """What a call of FUNCTION has of the operator's arguments as the wrapper writes them."""
    return list(arguments[:-1])


def pack_recurrent(gm: GraphModule, weight_index: dict[str, int], mutated: set[int]) -> list[Recurrent]:
    """Replaces recurrent layers over constant weights by calls of the runtime."""
    layers: list[Recurrent] = []
    for node in list(gm.graph.nodes):
        if node.target is not OPERATOR:
            continue
        source, state, weights, cell, has_biases, num_layers, bidirectional, batch_first = node.args
        indices = [weight_index.get(weight.name) for weight in weights]
        if any(index is None or index in mutated for index in indices):
            continue
        parts = num_layers * (2 if bidirectional else 1)
        has_projection = len(weights) // parts % 2 != 0
        found = tuple(index for index in indices if index is not None)
        layer = Recurrent(found, cell, num_layers, bidirectional, batch_first, has_biases, has_projection)
        features = node.meta["val"][0].shape[2]
        with gm.graph.inserting_before(node):
            packed = gm.graph.call_function(PACKED, (source, state, len(layers), features))
        packed.meta = {key: value for key, value in node.meta.items() if key != "eager_input_vals"}
        layers.append(layer)
        node.replace_all_uses_with(packed)
        gm.graph.erase_node(node)
    gm.recompile()
    return layers
