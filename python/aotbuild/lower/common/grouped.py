"""Products of groups (mixtures of experts) and with int8 weights, in operators that have kernels everywhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

aten = torch.ops.aten

# The runtime's function aoti_torch_cpu_grouped_mm_fallback, which takes each row once.
_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define("grouped_mm_fallback(Tensor input, Tensor weight, Tensor offs) -> Tensor")


@torch.library.register_fake("aotbuild::grouped_mm_fallback", lib=_library)  # type: ignore[untyped-decorator]
def _grouped_meta(input: Tensor, weight: Tensor, offs: Tensor) -> Tensor:
    return input.new_empty(input.shape[0], weight.shape[2])


def use_grouped_kernel(gm: GraphModule) -> None:
    """Rows in groups with a matrix each become calls of the runtime's function, in branches too."""
    for module in gm.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                if node.target is aten._grouped_mm.default:
                    node.target = torch.ops.aotbuild.grouped_mm_fallback.default
                    node.args, node.kwargs = _operands(*node.args, **node.kwargs), {}
            module.recompile()


def _operands(a: Any, b: Any, offs: Any = None, bias: Any = None, out_dtype: Any = None) -> tuple[Any, Any, Any]:
    return a, b, offs


def _grouped_mm(
    a: Tensor,
    b: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Any:
    """Up to ``offs[0]``, from there to ``offs[1]``, ...: each group of rows, columns or summands by itself.

    Rows with one matrix each are left to the runtime on the CPU. Elsewhere each group is a product of all rows, of
    which its own are taken, so that a GPU never waits for the host to read ``offs``.
    """
    if offs is None:
        return torch.bmm(a, b)
    if a.dim() == 2 and b.dim() == 3:
        return NotImplemented if a.device.type == "cpu" else masked_rows(a, b, offs)
    if a.dim() == 3 and b.dim() == 2:
        result = torch.zeros((a.shape[1], b.shape[1]), dtype=a.dtype, device=a.device)
        for group, inside in enumerate(_members(offs, b.shape[1])):
            result = torch.where(inside, torch.mm(a[group], b), result)
        return result
    zero = torch.zeros((), dtype=a.dtype, device=a.device)
    groups = _members(offs, a.shape[1])
    return torch.stack(
        [torch.mm(torch.where(inside, a, zero), torch.where(inside.unsqueeze(1), b, zero)) for inside in groups]
    )


def masked_rows(a: Tensor, b: Tensor, offs: Tensor) -> Tensor:
    """[M, K] times a matrix [K, N] of ``b`` for each group of rows; rows behind the last group are zero."""
    result = torch.zeros((a.shape[0], b.shape[2]), dtype=a.dtype, device=a.device)
    for group, inside in enumerate(_members(offs, a.shape[0])):
        result = torch.where(inside.unsqueeze(1), torch.mm(a, b[group]), result)
    return result


def _members(offs: Tensor, size: Any) -> list[Tensor]:
    """For each group, which of ``size`` places are in it."""
    places = torch.arange(size, device=offs.device)
    before = [places < end for end in offs.unbind()]
    return [before[0], *(inside & ~earlier for earlier, inside in itertools.pairwise(before))]


def _int8_product(x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """[M, K] times int8 [N, K] with a scale for each row of the weight; summed in float32, as in eager PyTorch."""
    total = torch.mm(x.float(), weight.float().t())
    return (total * scales.float()).to(x.dtype)


TABLE: dict[Any, Callable[..., Any]] = {
    aten._grouped_mm.default: _grouped_mm,
    aten._weight_int8pack_mm.default: _int8_product,
}
