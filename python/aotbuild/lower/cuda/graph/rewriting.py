"""Writes calls into a graph, each with the fake value that it results in."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node


class Writer:
    """Inserts before ``node``, as if the model had what is written at its place in the source."""

    def __init__(self, gm: GraphModule, node: Node) -> None:
        self._gm = gm
        self._node = node

    def call(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        with self._gm.graph.inserting_before(self._node):
            result = self._gm.graph.call_function(target, args, kwargs)
        values, named = torch.fx.node.map_arg((args, kwargs), lambda operand: operand.meta["val"])
        with torch.no_grad():
            result.meta["val"] = target(*values, **named)
        for key in ("stack_trace", "nn_module_stack"):
            if key in self._node.meta:
                result.meta[key] = self._node.meta[key]
        return result

    def cast(self, operand: Node, dtype: torch.dtype) -> Node:
        if operand.meta["val"].dtype == dtype:
            return operand
        return self.call(torch.ops.prims.convert_element_type.default, operand, dtype)
