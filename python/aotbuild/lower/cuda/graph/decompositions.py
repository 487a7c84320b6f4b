"""Operators that TorchInductor would leave to a CUDA library, in others that become Triton kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch._inductor.decomposition
import torch._inductor.lowering

from aotbuild.lower.cuda.graph import attention, convolution, operators, scatter_reductions, selection, sort
from aotbuild.spec.upstream import patched

aten = torch.ops.aten

# What Triton's matrix product takes. The others are sums of products, without tensor cores.
_TENSOR_CORE_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def extend(table: dict[Any, Callable[..., Any]]) -> None:
    """Puts the decompositions before those that the table has for the same operators."""
    for operator, decomposition in _decompositions().items():
        following = table.get(operator)
        table[operator] = decomposition if following is None else _first(decomposition, following)


def _first(decomposition: Callable[..., Any], following: Callable[..., Any]) -> Callable[..., Any]:
    def decompose(*args: Any, **kwargs: Any) -> Any:
        result = decomposition(*args, **kwargs)
        return following(*args, **kwargs) if result is NotImplemented else result

    return decompose


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """By operator; one that returns NotImplemented leaves the call to the next."""
    return {
        **operators.TABLE,
        **scatter_reductions.TABLE,
        **selection.TABLE,
        aten.convolution.default: convolution.decompose,
        aten.scaled_dot_product_attention.default: attention.decompose,
        aten.sort.default: sort.sort,
        aten.sort.stable: sort.sort_stable,
        aten.topk.default: sort.topk,
        aten.mm.default: _mm,
        aten.bmm.default: _bmm,
        aten.addmm.default: _addmm,
        aten.baddbmm.default: _addmm,
    }


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """[..., M, K] @ [..., K, N], summed in the elements' own type."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2, dtype=a.dtype)


def _has_template(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether Triton's matrix product takes the operands; products over or of nothing it does not."""
    return a.dtype in _TENSOR_CORE_DTYPES and not any(isinstance(n, int) and n == 0 for n in (*a.shape, *b.shape))


def _mm(a: torch.Tensor, b: torch.Tensor) -> Any:
    return NotImplemented if _has_template(a, b) else _product(a, b)


def _bmm(a: torch.Tensor, b: torch.Tensor) -> Any:
    return NotImplemented if _has_template(a, b) else _product(a, b)


def _addmm(bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    return NotImplemented if _has_template(a, b) else beta * bias + alpha * _product(a, b)


@contextlib.contextmanager
def triton_scatters() -> Iterator[None]:
    """Scatters and accumulating stores stay Triton kernels.

    Upstream sends some to a library: of int64 because its atomics are slow, of bfloat16 where a GPU lacks the atomic
    instruction, which is an error of Triton's here.
    """

    def needs_library(operator: Any, reduction: str | None, *args: Any) -> bool:
        return reduction not in (None, "add", "sum")

    with contextlib.ExitStack() as stack:
        for module in (torch._inductor.lowering, torch._inductor.decomposition):
            stack.enter_context(patched(module, "use_scatter_fallback", needs_library))
            stack.enter_context(patched(module, "needs_fallback_due_to_atomic_add_limitations", _lacks_atomic_add))
        yield


def _lacks_atomic_add(dtype: torch.dtype) -> bool:
    return dtype == torch.bool
