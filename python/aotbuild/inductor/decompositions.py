"""Decompositions of operators that upstream leaves to libtorch, where TorchInductor can generate their code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def _trilinear(
    i1: Tensor,
    i2: Tensor,
    i3: Tensor,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Tensor:
    """The sum over some dimensions of the product of three tensors, each given dimensions of size 1 first."""

    def unsqueezed(tensor: Tensor, dims: Sequence[int]) -> Tensor:
        for dim in sorted(dims):
            tensor = tensor.unsqueeze(dim)
        return tensor

    product = unsqueezed(i1, expand1) * unsqueezed(i2, expand2) * unsqueezed(i3, expand3)
    return product.sum(list(sumdim)) if sumdim else product


def _addbmm(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * self + alpha * sum(batch1 @ batch2)``; where ``beta`` is 0, NaNs of ``self`` do not count."""
    total = torch.bmm(batch1, batch2).sum(0)
    total = total if alpha == 1 else total * alpha
    if beta == 0:
        return total
    return total + (self if beta == 1 else self * beta)


def _complex(real: Tensor, imag: Tensor) -> Tensor:
    return torch.view_as_complex(torch.stack(torch.broadcast_tensors(real, imag), -1))


def _polar(abs: Tensor, angle: Tensor) -> Tensor:
    return _complex(abs * angle.cos(), abs * angle.sin())


def _adaptive_average(self: Tensor, output_size: Sequence[int]) -> Any:
    """Adaptive average pooling in three dimensions as pooling with one window, where the sizes divide evenly."""
    sizes = self.shape[-3:]
    if any(isinstance(size, torch.SymInt) or out == 0 or size % out for size, out in zip(sizes, output_size)):
        return NotImplemented
    kernel = [size // out for size, out in zip(sizes, output_size)]
    return torch.nn.functional.avg_pool3d(self, kernel, kernel)


TABLE: dict[Any, Callable[..., Any]] = {
    aten._trilinear.default: _trilinear,
    aten.addbmm.default: _addbmm,
    aten.complex.default: _complex,
    aten.polar.default: _polar,
    aten._adaptive_avg_pool3d.default: _adaptive_average,
}
