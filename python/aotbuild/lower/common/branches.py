"""Bodies of conditionals and loops, whose results have to begin where their memory does."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule

aten = torch.ops.aten


def copy_results(gm: GraphModule) -> None:
    """Results of conditionals and loops become tensors of their own: operands and views of them may be none."""
    for module in gm.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            if node.target in (torch.ops.higher_order.cond, torch.ops.higher_order.while_loop):
                bodies = [argument for argument in node.args if getattr(argument, "op", "") == "get_attr"]
                for body in bodies[-2:] if node.target is torch.ops.higher_order.cond else bodies[1:2]:
                    _copy_all(getattr(module, str(body.target)))


def _copy_all(body: GraphModule) -> None:
    output = body.graph.find_nodes(op="output")[0]

    def copied(value: Any) -> Any:
        if not isinstance(value.meta.get("val"), torch.Tensor):
            return value
        with body.graph.inserting_before(output):
            copy = body.graph.call_function(aten.clone.default, (value,))
        copy.meta["val"] = value.meta["val"].clone()
        return copy

    output.args = torch.fx.node.map_arg(output.args, copied)
    body.recompile()


def copy_shifted_results(gm: GraphModule) -> None:
    """Results of conditionals that are views into the middle of a tensor become tensors of their own.

    TorchInductor adds the offset of such a view to a pointer that has it already. To be called when no pass follows
    that takes copies out.
    """
    for node in list(gm.graph.nodes):
        if node.target is torch.ops.higher_order.cond:
            _copy_results([getattr(gm, str(branch.target)) for branch in node.args[1:3]])
    for module in gm.children():
        if isinstance(module, GraphModule):
            copy_shifted_results(module)


def _copy_results(branches: list[GraphModule]) -> None:
    outputs = [branch.graph.find_nodes(op="output")[0] for branch in branches]
    results = [list(output.args[0]) for output in outputs]
    shifted = {
        index
        for values in results
        for index, value in enumerate(values)
        if isinstance(tensor := getattr(value, "meta", {}).get("val"), torch.Tensor) and tensor.storage_offset() != 0
    }
    for branch, output, values in zip(branches, outputs, results):
        for index in shifted:
            with branch.graph.inserting_before(output):
                copy = branch.graph.call_function(
                    aten.clone.default, (values[index],), {"memory_format": torch.contiguous_format}
                )
            copy.meta["val"] = values[index].meta["val"].clone(memory_format=torch.contiguous_format)
            values[index] = copy
        output.args = (tuple(values),)
        branch.recompile()
