"""Complex tensors as real ones with a last dimension of two: TorchInductor generates no code for complex types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from aotbuild.lower.common import complex_functions, complex_operators
from aotbuild.lower.common.complex_arithmetic import (
    Rule,
    absolute,
    angle,
    called,
    elementary,
    equal,
    exp,
    is_nonzero,
    logaddexp,
    pair_of,
    pairs_of,
    parts_of,
    power,
    power_written_out,
    product,
    quotient,
    reciprocal,
    sgn,
    sqrt,
    sum_of,
    where,
    written_out,
)

aten = torch.ops.aten


def has_complex(gm: GraphModule) -> bool:
    """Whether a value of the graph, or of one of its subgraphs, is complex."""
    values = (
        value
        for module in gm.modules()
        if isinstance(module, GraphModule)
        for node in module.graph.nodes
        for value in _flat(node.meta.get("val"))
    )
    return any(isinstance(value, Tensor) and value.is_complex() for value in values)


def _flat(value: Any) -> list[Any]:
    return [leaf for part in value for leaf in _flat(part)] if isinstance(value, tuple | list) else [value]


def with_complex(table: dict[Any, Any], preserved: Sequence[Any] = ()) -> dict[Any, Any]:
    """The table of decompositions with rules for complex operands; all else goes as it did.

    ``preserved``: those of ``complex_operators`` that stay operators.
    """
    rules = {op: rule for op, rule in _RULES.items() if op not in preserved}
    return {**table, **{op: _rule(table.get(op), rule) for op, rule in rules.items()}}


def _rule(before: Rule | None, rule: Rule) -> Rule:
    def decompose(*args: Any, **kwargs: Any) -> Any:
        if any(_is_complex(leaf) for leaf in _flat([*args, *kwargs.values()])):
            return rule(*args, **kwargs)
        return NotImplemented if before is None else before(*args, **kwargs)

    return decompose


def _is_complex(value: Any) -> bool:
    if isinstance(value, torch.dtype):
        return value.is_complex
    return isinstance(value, complex) or (isinstance(value, Tensor) and value.is_complex())


def _wrapped(dim: int, ndim: int) -> int:
    return dim if dim >= 0 else dim + max(ndim, 1)


# --- structure: each pair moves as its element did


def _structural(change: Callable[..., Tensor]) -> Rule:
    """``change(pairs, ndim, ...)`` works on pairs, and has dimensions of the complex tensor counted from the front."""

    def rule(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return torch.view_as_complex(change(torch.view_as_real(self), self.dim(), *args, **kwargs).contiguous())

    return rule


def _select(pairs: Tensor, ndim: int, dim: int, index: int) -> Tensor:
    return pairs.select(_wrapped(dim, ndim), index)


def _slice(
    pairs: Tensor, ndim: int, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    return aten.slice.Tensor(pairs, _wrapped(dim, ndim), start, end, step)  # type: ignore[no-any-return]


def _unfold(pairs: Tensor, ndim: int, dimension: int, size: int, step: int) -> Tensor:
    return pairs.unfold(_wrapped(dimension, ndim), size, step).movedim(-1, -2)


def _squeeze(pairs: Tensor, ndim: int, dim: Sequence[int] | int) -> Tensor:
    dims = [dim] if isinstance(dim, int) else dim
    return pairs.squeeze([_wrapped(d, ndim) for d in dims])


def _pad(pairs: Tensor, ndim: int, pad: Sequence[int], value: Any = 0) -> Tensor:
    real, imag = parts_of(value)
    if imag == 0 and real == 0:
        return aten.constant_pad_nd(pairs, [0, 0, *pad], 0)  # type: ignore[no-any-return]
    return torch.stack([aten.constant_pad_nd(pairs[..., i], pad, part) for i, part in enumerate((real, imag))], -1)


def _sum(pairs: Tensor, ndim: int, dim: Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> Tensor:
    dims = [_wrapped(d, ndim) for d in dim] if dim else list(range(ndim))
    return pairs.sum(dims, keepdim) if ndim else pairs


def _mean(pairs: Tensor, ndim: int, dim: Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> Tensor:
    dims = [_wrapped(d, ndim) for d in dim] if dim else list(range(ndim))
    return pairs.mean(dims, keepdim) if ndim else pairs


def _index(pairs: Tensor, ndim: int, indices: Sequence[Tensor | None]) -> Tensor:
    return aten.index.Tensor(pairs, list(indices))  # type: ignore[no-any-return]


def _paired_index(index: Tensor) -> Tensor:
    return index.unsqueeze(-1).expand(*index.shape, 2)


def _gather(pairs: Tensor, ndim: int, dim: int, index: Tensor, **_: Any) -> Tensor:
    if ndim == 0:
        return pairs
    return pairs.gather(_wrapped(dim, ndim), _paired_index(index))


def _scatter_add(pairs: Tensor, ndim: int, dim: int, index: Tensor, src: Tensor) -> Tensor:
    if ndim == 0:
        return pairs + torch.view_as_real(src)
    return pairs.scatter_add(_wrapped(dim, ndim), _paired_index(index), torch.view_as_real(src))


def _index_add(pairs: Tensor, ndim: int, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    added = torch.view_as_real(source if alpha == 1 else source * alpha)
    if ndim == 0:
        return pairs + added
    return pairs.index_add(_wrapped(dim, ndim), index, added)


def _index_put(
    pairs: Tensor, ndim: int, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    return pairs.index_put(list(indices), torch.view_as_real(values), accumulate)


def _diagonal_scatter(pairs: Tensor, ndim: int, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    parts = torch.view_as_real(src).movedim(-1, -2)
    return torch.diagonal_scatter(pairs, parts, offset, _wrapped(dim1, ndim), _wrapped(dim2, ndim))


def _copy(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    if not self.is_complex():
        return parts_of(src)[0].to(self.dtype).expand(self.shape).clone()  # type: ignore[no-any-return]
    return torch.view_as_complex(pairs_of(src, self.dtype).expand(*self.shape, 2).contiguous())


def _structural_parts(change: Callable[..., Sequence[Tensor]]) -> Rule:
    """The same for operators with several results."""

    def rule(self: Tensor, *args: Any, **kwargs: Any) -> list[Tensor]:
        parts = change(torch.view_as_real(self), self.dim(), *args, **kwargs)
        return [torch.view_as_complex(part.contiguous()) for part in parts]

    return rule


def _full(size: Sequence[int], fill_value: Any, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    """A tensor of one complex number."""
    real_type = (dtype or torch.complex64).to_real()
    device = options.get("device")
    parts = [torch.full(size, float(part), dtype=real_type, device=device) for part in parts_of(fill_value)]
    return pair_of(*parts)


def _full_like(self: Tensor, fill_value: Any, *, dtype: torch.dtype | None = None, **options: Any) -> Any:
    dtype = dtype or self.dtype
    if not dtype.is_complex:
        return torch.full(self.shape, fill_value, dtype=dtype, device=self.device)
    return _full(self.shape, fill_value, dtype=dtype, device=self.device)


def _empty(size: Sequence[int], *, dtype: torch.dtype, **options: Any) -> Tensor:
    return torch.view_as_complex(torch.empty((*size, 2), dtype=dtype.to_real()))


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    dtype = tensors[0].dtype
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    kept = [tensor for tensor in tensors if tuple(tensor.shape) != (0,)] or tensors[:1]
    return torch.view_as_complex(
        torch.cat([pairs_of(tensor, dtype) for tensor in kept], _wrapped(dim, kept[0].dim())).contiguous()
    )


# --- matrix products


def _matrix_product(product: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    def rule(self: Tensor, mat2: Tensor) -> Tensor:
        (a, b), (c, d) = parts_of(self), parts_of(mat2)
        return pair_of(product(a, c) - product(b, d), product(a, d) + product(b, c))

    return rule


_mm = _matrix_product(torch.mm)
_bmm = _matrix_product(torch.bmm)


def _with_addend(product: Rule) -> Rule:
    def rule(self: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Any:
        result = product(a, b)
        result = result if alpha == 1 else result * alpha
        return result if beta == 0 else result + (self if beta == 1 else self * beta)

    return rule


_RULES: dict[Any, Rule] = {
    # structure
    aten.view.default: _structural(lambda pairs, _, size: pairs.reshape(*size, 2)),
    aten.reshape.default: _structural(lambda pairs, _, shape: pairs.reshape(*shape, 2)),
    aten._unsafe_view.default: _structural(lambda pairs, _, size: pairs.reshape(*size, 2)),
    aten.expand.default: _structural(lambda pairs, _, size, **__: pairs.expand(*size, 2)),
    aten.permute.default: _structural(lambda pairs, n, dims: pairs.permute(*[_wrapped(d, n) for d in dims], n)),
    aten.transpose.int: _structural(lambda pairs, n, a, b: pairs.transpose(_wrapped(a, n), _wrapped(b, n))),
    aten.t.default: _structural(lambda pairs, n: pairs.transpose(0, 1) if n == 2 else pairs),
    aten.unsqueeze.default: _structural(lambda pairs, n, dim: pairs.unsqueeze(_wrapped(dim, n + 1))),
    aten.squeeze.dim: _structural(_squeeze),
    aten.squeeze.dims: _structural(_squeeze),
    aten.squeeze.default: _structural(lambda pairs, n: pairs.squeeze(list(range(n)))),
    aten.select.int: _structural(_select),
    aten.slice.Tensor: _structural(_slice),
    aten.unfold.default: _structural(_unfold),
    aten.flip.default: _structural(lambda pairs, n, dims: pairs.flip([_wrapped(d, n) for d in dims])),
    aten.clone.default: _structural(lambda pairs, _, **__: pairs.clone()),
    aten.constant_pad_nd.default: _structural(_pad),
    aten.index.Tensor: _structural(_index),
    aten._unsafe_index.Tensor: _structural(_index),
    aten.index_select.default: _structural(
        lambda pairs, n, dim, index: pairs.index_select(_wrapped(dim, n), index) if n else pairs
    ),
    aten.gather.default: _structural(_gather),
    aten.scatter_add.default: _structural(_scatter_add),
    aten.index_add.default: _structural(_index_add),
    aten.index_put.default: _structural(_index_put),
    aten.diagonal.default: _structural(
        lambda pairs, n, offset=0, dim1=0, dim2=1: pairs.diagonal(offset, _wrapped(dim1, n), _wrapped(dim2, n)).movedim(
            n - 2, -1
        )
    ),
    aten.diagonal_scatter.default: _structural(_diagonal_scatter),
    aten.select_scatter.default: _structural(
        lambda pairs, n, src, dim, index: torch.select_scatter(pairs, torch.view_as_real(src), _wrapped(dim, n), index)
    ),
    aten.slice_scatter.default: _structural(
        lambda pairs, n, src, dim=0, *bounds: torch.slice_scatter(
            pairs, torch.view_as_real(src), _wrapped(dim, n), *bounds
        )
    ),
    aten.copy.default: _copy,
    aten.repeat.default: _structural(lambda pairs, _, repeats: pairs.repeat(*repeats, 1)),
    aten.split.Tensor: _structural_parts(lambda pairs, n, size, dim=0: pairs.split(size, _wrapped(dim, n))),
    aten.split_with_sizes.default: _structural_parts(
        lambda pairs, n, sizes, dim=0: pairs.split_with_sizes(sizes, _wrapped(dim, n))
    ),
    aten.unbind.int: _structural_parts(lambda pairs, n, dim=0: pairs.unbind(_wrapped(dim, n))),
    aten.lift_fresh_copy.default: _structural(lambda pairs, _: pairs.clone()),
    aten.full.default: _full,
    aten.full_like.default: _full_like,
    aten.scalar_tensor.default: lambda s, **options: _full([], s, **options),
    aten.empty.memory_format: _empty,
    aten.cat.default: _cat,
    aten.where.self: where,
    # sums
    aten.sum.default: _structural(_sum),
    aten.sum.dim_IntList: _structural(_sum),
    aten.mean.default: _structural(_mean),
    aten.mean.dim: _structural(_mean),
    aten.cumsum.default: _structural(lambda pairs, n, dim, **_: pairs.cumsum(_wrapped(dim, n)) if n else pairs),
    # arithmetic
    aten.add.Tensor: sum_of,
    aten.sub.Tensor: lambda self, other, *, alpha=1: sum_of(self, other, alpha=alpha, sign=-1),
    aten.add.Scalar: lambda self, other, alpha=1: sum_of(self, other, alpha=alpha),
    aten.sub.Scalar: lambda self, other, alpha=1: sum_of(self, other, alpha=alpha, sign=-1),
    aten.addcmul.default: lambda self, a, b, *, value=1: sum_of(self, product(product(a, value), b)),
    aten.addcdiv.default: lambda self, a, b, *, value=1: sum_of(self, quotient(product(a, value), b)),
    aten.rsub.Scalar: lambda self, other, alpha=1: sum_of(other, self, alpha=alpha, sign=-1),
    aten.mul.Tensor: product,
    aten.mul.Scalar: product,
    aten.div.Tensor: quotient,
    aten.div.Scalar: quotient,
    aten.reciprocal.default: reciprocal,
    aten.neg.default: _structural(lambda pairs, _: -pairs),
    aten.abs.default: absolute,
    aten.angle.default: angle,
    aten.sgn.default: sgn,
    aten.rsqrt.default: lambda self: reciprocal(sqrt(self)),
    **{getattr(aten, function.__name__).default: elementary(function) for function in complex_functions.FUNCTIONS},
    **{getattr(aten, name).default: called(name) for name in complex_operators.FUNCTIONS},
    complex_operators.FUNCTION: written_out,
    complex_operators.POWER: power_written_out,
    aten.sigmoid.default: lambda self: reciprocal(exp(-self) + 1),
    aten.silu.default: lambda self: quotient(self, exp(-self) + 1),
    aten.pow.Tensor_Scalar: power,
    aten.pow.Tensor_Tensor: power,
    aten.pow.Scalar: power,
    aten.logaddexp.default: logaddexp,
    # logic
    aten.eq.Tensor: equal,
    aten.eq.Scalar: equal,
    aten.ne.Tensor: lambda self, other: ~equal(self, other),
    aten.ne.Scalar: lambda self, other: ~equal(self, other),
    aten.logical_and.default: lambda self, other: is_nonzero(self) & is_nonzero(other),
    aten.logical_or.default: lambda self, other: is_nonzero(self) | is_nonzero(other),
    aten.logical_xor.default: lambda self, other: is_nonzero(self) ^ is_nonzero(other),
    aten.logical_not.default: lambda self: ~is_nonzero(self),
    aten.isnan.default: lambda self: parts_of(self)[0].isnan() | parts_of(self)[1].isnan(),
    aten.isinf.default: lambda self: parts_of(self)[0].isinf() | parts_of(self)[1].isinf(),
    # matrix products
    aten.mm.default: _mm,
    aten.bmm.default: _bmm,
    aten.addmm.default: _with_addend(_mm),
    aten.baddbmm.default: _with_addend(_bmm),
    aten.dot.default: lambda self, tensor: product(self, tensor).sum(),
    aten.mv.default: lambda self, vec: _mm(self, vec.unsqueeze(1)).squeeze(1),
}
