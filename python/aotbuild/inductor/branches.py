"""Bodies of conditionals and loops, whose results have to begin where their memory does."""

from __future__ import annotations

import torch
from torch.fx import GraphModule

aten = torch.ops.aten


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
