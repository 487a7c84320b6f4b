"""Decompositions of operators that upstream leaves to libtorch, where TorchInductor can generate their code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp.decompositions import _to_copy as upstream_to_copy

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
    dtype = self.dtype
    if dtype in (torch.float16, torch.bfloat16):  # rounded once, at the end
        self, batch1, batch2 = self.float(), batch1.float(), batch2.float()
    total = torch.bmm(batch1, batch2).sum(0)
    total = total if alpha == 1 else total * alpha
    if beta != 0:
        total = total + (self if beta == 1 else self * beta)
    return total.to(dtype)


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


def _conjugate(self: Tensor) -> Tensor:
    parts = torch.view_as_real(self)
    return _complex(parts[..., 0], -parts[..., 1])


_PARTS = {torch.complex64: torch.float32, torch.complex128: torch.float64}


def _converted(self: Tensor, *, dtype: torch.dtype | None = None, **options: Any) -> Any:
    """Conversions from and to complex types by their parts; upstream's decomposition for all others."""
    if dtype is None or dtype == self.dtype or not (dtype in _PARTS or self.dtype in _PARTS):
        return upstream_to_copy(self, dtype=dtype, **options)
    if self.dtype not in _PARTS:
        real = self.to(_PARTS[dtype])
        return _complex(real, torch.zeros_like(real))
    parts = torch.view_as_real(self)
    if dtype not in _PARTS:
        return parts[..., 0] != 0 if dtype == torch.bool else parts[..., 0].to(dtype)
    return torch.view_as_complex(parts.to(_PARTS[dtype]))


def _product(self: Tensor, other: Any) -> Any:
    """The product of two complex tensors, as in rotary embeddings."""
    if self.dtype not in _PARTS or not isinstance(other, Tensor) or other.dtype != self.dtype:
        return NotImplemented
    a, b = torch.view_as_real(self), torch.view_as_real(other)
    real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    return _complex(real, a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0])


def _normal(mean: Any, std: Any, *, generator: Any = None) -> Any:
    """Normally distributed numbers with a mean and a deviation for each."""
    if generator is not None:
        return NotImplemented
    like = mean * torch.ones_like(std) if isinstance(std, Tensor) else mean
    return torch.randn_like(like) * std + mean


TABLE: dict[Any, Callable[..., Any]] = {
    aten._trilinear.default: _trilinear,
    aten.addbmm.default: _addbmm,
    aten.complex.default: _complex,
    aten.polar.default: _polar,
    aten._adaptive_avg_pool3d.default: _adaptive_average,
    aten._conj.default: _conjugate,
    aten._conj_physical.default: _conjugate,
    aten._to_copy.default: _converted,
    aten.mul.Tensor: _product,
    aten.normal.Tensor_float: _normal,
    aten.normal.float_Tensor: _normal,
    aten.normal.Tensor_Tensor: _normal,
}
