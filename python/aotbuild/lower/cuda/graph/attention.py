"""Scaled dot product attention on GPUs: calls of the operator become launches of one Triton kernel."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch._inductor import ir
from torch._inductor.fx_passes import fuse_attention
from torch._inductor.lowering import empty_strided, register_lowering
from torch._inductor.virtualized import V
from torch.utils._sympy.functions import CeilDiv, FloorDiv

from aotbuild.lower.common import adapters
from aotbuild.spec.upstream import patched

aten = torch.ops.aten

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define(
    "cuda_attention(Tensor query, Tensor key, Tensor value, Tensor? mask, bool causal, float scale) -> Tensor"
)

_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_MAX_HEAD_DIM = 256
_LOG2_E = 1.4426950408889634


def decompose(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """``aten.scaled_dot_product_attention``: calls that the kernel serves; others are left to products and softmax."""
    operands = (query, key, value)
    same = all(x.dim() == 4 and x.dtype == query.dtype and x.shape[0] == query.shape[0] for x in operands)
    heads = same and key.shape[1] == value.shape[1] and (enable_gqa or query.shape[1] == key.shape[1])
    if not heads or query.dtype not in _DTYPES or dropout_p != 0.0:
        return NotImplemented
    if max(query.shape[3], value.shape[3]) > _MAX_HEAD_DIM:
        return NotImplemented
    if attn_mask is not None:
        attn_mask = attn_mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    factor = 1.0 / math.sqrt(query.shape[3]) if scale is None else scale
    return torch.ops.aotbuild.cuda_attention(query, key, value, attn_mask, is_causal, factor)


@contextlib.contextmanager
def recognised_attention() -> Iterator[None]:
    """Makes the kernel what TorchInductor's patterns put in the place of attention that a model writes out."""

    def attend(*args: Any, **kwargs: Any) -> Any:
        result = decompose(*args, **kwargs)
        return aten.scaled_dot_product_attention(*args, **kwargs) if result is NotImplemented else result

    with patched(fuse_attention, "_scaled_dot_product_attention", attend):
        yield


@torch.library.register_fake("aotbuild::cuda_attention", lib=_library)  # type: ignore[untyped-decorator]
def _fake(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, causal: bool, scale: float
) -> torch.Tensor:
    batch, heads, rows, _ = query.shape
    return query.new_empty((batch, rows, heads, value.shape[3])).permute(0, 2, 1, 3)


@register_lowering(torch.ops.aotbuild.cuda_attention.default, type_promotion_kind=None)
def _lower(query: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float) -> Any:
    batch, heads, queries, head_dim = query.get_size()
    kv_heads, keys = key.get_size()[1:3]
    value_dim = value.get_size()[3]
    head_dim, value_dim = (int(V.graph.sizevars.guard_int(size)) for size in (head_dim, value_dim))
    query, key, value = (_realized(operand) for operand in (query, key, value))
    mask = None if mask is None else _realized(mask)
    # Rows of all heads side by side: the linear layer behind reads them so.
    output_strides = [queries * heads * value_dim, value_dim, heads * value_dim, 1]
    output = empty_strided(
        [batch, heads, queries, value_dim], output_strides, dtype=query.get_dtype(), device=query.get_device()
    )
    arguments: dict[str, Any] = {
        "query": query,
        "key": key,
        "value": value,
        "mask": mask,
        "output": output,
        "heads": heads,
        "group": FloorDiv(heads, kv_heads),
        "queries": queries,
        "keys": keys,
        **_strides("query", query, "batch", "head", "row", "dim"),
        **_strides("key", key, "batch", "head", "row", "dim"),
        **_strides("value", value, "batch", "head", "row", "dim"),
        **_strides("mask", mask, "batch", "head", "row", "column"),
        **dict(zip(("output_batch_stride", "output_head_stride", "output_row_stride"), output_strides)),
        "SCALE": scale * _LOG2_E,
        "CAUSAL": causal,
        "MASK": "none" if mask is None else "bool" if mask.get_dtype() == torch.bool else "additive",
        "HEAD_DIM": head_dim,
        "VALUE_DIM": value_dim,
        "BLOCK_D": _block(head_dim),
        "BLOCK_V": _block(value_dim),
    }
    _launch(arguments, batch * heads, queries, query.get_dtype(), max(head_dim, value_dim))
    return output


def _launch(arguments: dict[str, Any], heads: Any, queries: Any, dtype: torch.dtype, head_dim: int) -> None:
    import triton
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

    from aotbuild.lower.cuda.graph.attention_kernel import attention

    candidates = _candidates(V.graph.sizevars.optimization_hint(queries, fallback=128), dtype, head_dim)
    configs = [
        triton.Config({"BLOCK_M": rows, "BLOCK_N": columns}, num_warps=warps, num_stages=stages)
        for rows, columns, warps, stages in candidates
    ]
    kernel = triton.autotune(configs=configs, key=[])(attention)
    adapters.user_triton_kernel(
        kernel_idx=kernel_side_table.add_kernel(kernel),
        grid=[(CeilDiv(queries, rows) * heads, 1, 1) for rows, _, _, _ in candidates],
        tma_descriptor_metadata={},
        kernel_args=arguments,
    )


def _candidates(queries: int, dtype: torch.dtype, head_dim: int) -> Sequence[tuple[int, int, int, int]]:
    """(rows, keys, warps, stages) of a block: the first whose shared memory fits is taken; the rest is for tuning."""
    if dtype == torch.float32:
        # Without tensor cores, registers are what runs out.
        sizes = [(32, 32, 4, 2), (16, 32, 4, 1)]
        more = [(32, 32, 8, 2), (64, 32, 8, 2), (16, 64, 4, 2), (32, 16, 4, 2)]
    elif head_dim > 128:
        sizes = [(64, 64, 8, 2), (64, 32, 4, 2), (32, 32, 4, 1)]
    elif head_dim > 64:
        sizes = [(128, 64, 8, 3), (64, 64, 4, 2), (32, 32, 4, 2)]
    else:
        sizes = [(128, 64, 4, 3), (64, 64, 4, 2), (64, 32, 4, 2)]
    if dtype != torch.float32:
        tiles = itertools.product((16, 32, 64, 128), (32, 64, 128), (4, 8), (2, 3))
        more = [(m, n, warps, stages) for m, n, warps, stages in tiles if warps == 4 or m == 128]
    rows = max(16, 1 << (queries - 1).bit_length()) if queries > 1 else 16
    return list(dict.fromkeys((min(m, rows), n, warps, stages) for m, n, warps, stages in [*sizes, *more]))


def _block(size: int) -> int:
    """The power of two that holds ``size``; Triton's matrix product wants 16 at least."""
    return max(16, 1 << (size - 1).bit_length())


def _realized(operand: Any) -> Any:
    result = ir.ExternKernel.realize_input(operand)
    ir.as_storage_and_layout(result, freeze=True)
    return ir.TensorBox(result) if not isinstance(result, ir.TensorBox) else result


def _strides(name: str, operand: Any, *dims: str) -> dict[str, Any]:
    strides = [0] * len(dims) if operand is None else operand.get_stride()
    return {f"{name}_{dim}_stride": stride for dim, stride in zip(dims, strides, strict=True)}
