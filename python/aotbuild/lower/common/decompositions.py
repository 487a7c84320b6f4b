"""Decompositions of operators that upstream leaves to libtorch, where TorchInductor can generate their code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp.decompositions import _index_add as upstreams_index_add
from torch._decomp.decompositions import _to_copy as upstream_to_copy
from torch._inductor.decomposition import addmm as upstreams_addmm
from torch._inductor.decomposition import bmm as upstreams_bmm
from torch._inductor.decomposition import cat as upstreams_cat
from torch._inductor.decomposition import mm as upstreams_mm
from torch.fx.experimental.symbolic_shapes import statically_known_true

from aotbuild.lower.common import eager_values, grouped, interpolation, quantization, resizing, sampling

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


_MOST_ROUNDED_PRODUCTS = 32


def _addbmm(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * self + alpha * sum(batch1 @ batch2)``; where ``beta`` is 0, NaNs of ``self`` do not count."""
    dtype, count = self.dtype, batch1.shape[0]
    if dtype in (torch.float16, torch.bfloat16):
        if isinstance(count, int) and 0 < count <= _MOST_ROUNDED_PRODUCTS:  # eager rounds after each product
            for index in range(count):
                self = torch.addmm(self, batch1[index], batch2[index], beta=beta if index == 0 else 1, alpha=alpha)
            return self
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


_PARTS = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}


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


def _copied(self: Tensor, src: Any, non_blocking: bool = False) -> Any:
    """Sources of another type or other sizes are made like the target first: torch.export takes out copies to buffers.

    It goes on with the source, whatever that is.
    """
    if not isinstance(src, Tensor) or (src.dtype == self.dtype and src.shape == self.shape):
        return NotImplemented
    return aten.copy(self, src.to(self.dtype).expand(self.shape).clone(), non_blocking)


def _normal(mean: Any, std: Any, *, generator: Any = None) -> Any:
    """Normally distributed numbers with a mean and a deviation for each."""
    if generator is not None:
        return NotImplemented
    like = mean * torch.ones_like(std) if isinstance(std, Tensor) else mean
    return torch.randn_like(like) * std + mean


def _normal_numbers(
    shape: Sequence[int], *, mean: Any, std: Any, dtype: torch.dtype, device: Any, **options: Any
) -> Any:
    """As many normally distributed numbers, of one mean and deviation."""
    if options.get("generator") is not None or dtype.is_complex:
        return NotImplemented
    return torch.randn(shape, dtype=dtype, device=device) * std + mean


def _bernoulli(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Any:
    """Ones with the probability ``p``, a number or a tensor with one for each element, and zeros."""
    if generator is not None:
        return NotImplemented
    return (torch.rand(self.shape, dtype=torch.float32, device=self.device) < p).to(self.dtype)


def _index_add(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Any:
    """Of every type; TorchInductor leaves bfloat16 to a library."""
    return upstreams_index_add(self, dim, index, source, inplace=False, alpha=alpha)


def _pseudo_inverse(
    self: Tensor, *, atol: Tensor | None = None, rtol: Tensor | None = None, hermitian: bool = False
) -> Any:
    """The pseudo-inverse by singular values or eigenvalues, without those below the greater of both tolerances."""
    *batch, rows, columns = self.shape
    if any(isinstance(size, int) and size == 0 for size in self.shape):
        return self.new_empty((*batch, columns, rows))
    if hermitian:
        values, right = torch.linalg.eigh(self)
        left, sizes = right, values.abs()
    else:
        left, values, adjoint = torch.linalg.svd(self, full_matrices=False)
        right, sizes = adjoint.mH, values
    if atol is None:
        atol = torch.zeros((), dtype=sizes.dtype)
    if rtol is None:
        rtol = torch.where(atol > 0, 0.0, torch.sym_max(rows, columns) * torch.finfo(self.dtype).eps)
    bound = torch.maximum(atol.unsqueeze(-1), rtol.unsqueeze(-1) * sizes.amax(-1, keepdim=True))
    inverse = torch.where(sizes > bound, values.reciprocal(), 0).to(self.dtype)
    return (right * inverse.unsqueeze(-2)) @ left.mH


def _cholesky(self: Tensor, upper: bool = False) -> Any:
    """Of no elements eager asks for no square matrices."""
    return self.clone() if any(isinstance(size, int) and size == 0 for size in self.shape) else NotImplemented


def _matrix_exponential(self: Tensor) -> Any:
    """The runtime's is of float32 or float64."""
    if self.dtype not in (torch.float16, torch.bfloat16):
        return NotImplemented
    return aten.linalg_matrix_exp(self.float()).to(self.dtype)


def _concatenated(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """TorchInductor writes no loop over bytes, but calls a library."""
    if tensors[0].device.type == "cpu" and all(tensor.dtype in (torch.int8, torch.uint8) for tensor in tensors):
        dtypes = {tensor.dtype for tensor in tensors}
        dtype = dtypes.pop() if len(dtypes) == 1 else torch.int16
        return torch.cat([tensor.to(torch.int32) for tensor in tensors], dim).to(dtype)
    return upstreams_cat(list(tensors), dim)


def _variance_and_mean(
    self: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False
) -> Any:
    """Of no elements both are NaN; TorchInductor's running mean begins at 0."""
    reduced = list(dim or range(self.dim()))
    sizes = [self.shape[d] for d in reduced]
    if all(statically_known_true(size > 0) for size in sizes) or self.is_complex():
        return NotImplemented
    mean = torch.mean(self, reduced, keepdim)
    if not any(isinstance(size, int) and size == 0 for size in sizes):  # calls may bring none
        return torch.var(self, reduced, correction=correction, keepdim=keepdim), mean
    return torch.full_like(mean, float("nan")), mean


def _index(self: Tensor, indices: Sequence[Tensor | None]) -> Any:
    """Masks among the indices as the places where they are true, as in ``x[x > 0]``."""
    if all(index is None or index.dtype not in (torch.bool, torch.uint8) for index in indices):
        return NotImplemented
    places: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype in (torch.bool, torch.uint8):
            places += index.nonzero().unbind(1)
        else:
            places.append(index)
    return aten.index.Tensor(self, places)


def _integer_product(self: Tensor, mat2: Tensor) -> Tensor:
    """The product of int8 matrices, summed in int32."""
    return torch.mm(self.to(torch.int32), mat2.to(torch.int32))


def _in_their_type(upstreams: Callable[..., Any]) -> Callable[..., Any]:
    """Products as upstream writes those of one row and one column: a sum, which of integers would be int64."""

    def product(self: Tensor, *operands: Any, **options: Any) -> Any:
        result = upstreams(self, *operands, **options)
        return result if result is NotImplemented or self.is_floating_point() else result.to(self.dtype)

    return product


_products_in_batches = _in_their_type(upstreams_bmm)


def _batched_product(self: Tensor, batch2: Tensor, **options: Any) -> Any:
    """Of integers with one row or one column: TorchInductor's lowering writes a sum of int64 for them as well."""
    is_line = statically_known_true(self.shape[1] == 1) or statically_known_true(batch2.shape[2] == 1)
    if is_line and not self.is_floating_point() and not self.is_complex() and not options:
        return (self.unsqueeze(-1) * batch2.unsqueeze(1)).sum(2, dtype=self.dtype)
    return _products_in_batches(self, batch2, **options)


TABLE: dict[Any, Callable[..., Any]] = {
    **eager_values.TABLE,
    **grouped.TABLE,
    **interpolation.TABLE,
    **quantization.TABLE,
    aten._trilinear.default: _trilinear,
    aten.addbmm.default: _addbmm,
    aten.addmm.default: _in_their_type(upstreams_addmm),
    aten.bmm.default: _batched_product,
    aten.mm.default: _in_their_type(upstreams_mm),
    aten.complex.default: _complex,
    aten.polar.default: _polar,
    aten._adaptive_avg_pool3d.default: _adaptive_average,
    aten._conj.default: _conjugate,
    aten._conj_physical.default: _conjugate,
    aten._to_copy.default: _converted,
    aten.copy.default: _copied,
    aten._upsample_bicubic2d_aa.default: resizing.bicubic,
    aten._upsample_bilinear2d_aa.default: resizing.bilinear,
    aten.grid_sampler_2d.default: sampling.grid_sample,
    aten.linalg_pinv.atol_rtol_tensor: _pseudo_inverse,
    aten.cholesky.default: _cholesky,
    aten.linalg_matrix_exp.default: _matrix_exponential,
    torch.ops.prims.normal.default: _normal_numbers,
    aten._int_mm.default: _integer_product,
    aten.bernoulli.p: _bernoulli,
    aten.bernoulli.Tensor: _bernoulli,
    aten.index_add.default: _index_add,
    aten.index.Tensor: _index,
    aten.cat.default: _concatenated,
    aten.var_mean.correction: _variance_and_mean,
    aten.normal.Tensor_float: _normal,
    aten.normal.float_Tensor: _normal,
    aten.normal.Tensor_Tensor: _normal,
}
