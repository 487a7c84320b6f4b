"""Scaled dot product attention on GPUs: calls of the operator become launches of one Triton kernel."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sympy
import torch
from torch._inductor import ir
from torch._inductor.fx_passes import fuse_attention
from torch._inductor.lowering import empty_strided, register_lowering
from torch._inductor.utils import get_num_sms
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

# Queries that share a head of keys, up to so many, leave most multiprocessors idle unless the keys are divided, into
# parts of at least so many.
_FEW_ROWS = 16
_KEYS_OF_PART = 64
_MAX_SPLITS = 64
_WAVES = 4
# BLOCK_N, warps, stages.
_PART_CONFIGS = ((64, 4, 2), (64, 2, 2), (128, 4, 2), (32, 2, 3), (64, 8, 2), (128, 8, 2))


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
        "MASK_ROWS": mask is not None and mask.get_stride()[2] != 0,
        "HEAD_DIM": head_dim,
        "VALUE_DIM": value_dim,
        "BLOCK_D": _block(head_dim),
        "BLOCK_V": _block(value_dim),
    }
    splits = 1 if causal else _splits(batch * kv_heads, FloorDiv(heads, kv_heads) * queries, keys)
    if splits > 1:
        _launch_parts(arguments, batch, kv_heads, splits)
    else:
        _launch(arguments, batch * heads, queries, query.get_dtype(), max(head_dim, value_dim))
    return output


def _launch(arguments: dict[str, Any], heads: Any, queries: Any, dtype: torch.dtype, head_dim: int) -> None:
    from aotbuild.lower.cuda.graph.attention_kernel import attention

    candidates = _candidates(_hint(queries), dtype, head_dim)
    configs = [({"BLOCK_M": rows, "BLOCK_N": columns}, warps, stages) for rows, columns, warps, stages in candidates]
    grids = [(CeilDiv(queries, rows) * heads, 1, 1) for rows, _, _, _ in candidates]
    _call(attention, arguments, configs, grids)


def _call(
    kernel: Any,
    arguments: Mapping[str, Any],
    configs: Sequence[tuple[Mapping[str, int], int, int]],
    grids: Sequence[tuple[Any, Any, Any]],
) -> None:
    """Launches a kernel with one of the configurations: constants, warps and stages."""
    import triton
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

    listed = [
        triton.Config(dict(constants), num_warps=warps, num_stages=stages) for constants, warps, stages in configs
    ]
    adapters.user_triton_kernel(
        kernel_idx=kernel_side_table.add_kernel(triton.autotune(configs=listed, key=[])(kernel)),
        grid=list(grids),
        tma_descriptor_metadata={},
        kernel_args=dict(arguments),
    )


def _splits(heads: Any, rows: Any, keys: Any) -> int:
    """Among how many blocks the keys of a head are divided; 1: blocks of the usual kernel are enough.

    A mask may leave most parts empty, as of a cache that is not full yet, so there are more of them than fit at a time.

    Args:
        heads: of keys, in all.
        rows: of queries that share one.
    """
    if not isinstance(rows, (int, sympy.Integer)) or rows > _FEW_ROWS:
        return 1
    pieces = math.ceil(_hint(keys) / _KEYS_OF_PART)
    return max(1, min(_WAVES * get_num_sms() // max(1, _hint(heads)), pieces, _MAX_SPLITS))


def _hint(size: Any) -> int:
    return int(V.graph.sizevars.optimization_hint(size, fallback=128))


# Arguments of the kernel for one part that the kernel for whole rows has too, and of that which joins the parts.
_WHOLE_ONLY = ("output", "output_batch_stride", "output_head_stride", "output_row_stride", "CAUSAL", "MASK_ROWS")
_JOINED = ("output", "heads", "queries", *_WHOLE_ONLY[1:4], "VALUE_DIM", "BLOCK_V")


def _launch_parts(arguments: dict[str, Any], batch: Any, kv_heads: Any, splits: int) -> None:
    from aotbuild.lower.cuda.graph.split_attention_kernel import attend_part, join_parts

    output, heads, queries = (arguments[name] for name in ("output", "heads", "queries"))
    sizes = [batch, heads, queries, splits]
    device = output.get_device()
    parts = {
        "totals": _scratch([*sizes, arguments["VALUE_DIM"]], device),
        "peaks": _scratch(sizes, device),
        "sums": _scratch(sizes, device),
    }
    shared = {name: value for name, value in arguments.items() if name not in _WHOLE_ONLY}
    configs = [({"BLOCK_N": columns}, warps, stages) for columns, warps, stages in _PART_CONFIGS]
    _call(
        attend_part,
        {**shared, **parts, "SPLITS": splits, "BLOCK_M": _FEW_ROWS},
        configs,
        [(splits, batch * kv_heads, 1)] * len(configs),
    )
    joined = {name: arguments[name] for name in _JOINED}
    _call(
        join_parts,
        {**joined, **parts, "SPLITS": splits, "BLOCK_S": _block(splits, 1)},
        [({}, 2, 1), ({}, 1, 1), ({}, 4, 1)],
        [(batch * heads * queries, 1, 1)] * 3,
    )


def _scratch(sizes: Sequence[Any], device: torch.device) -> Any:
    """Memory in float32, rows of it contiguous."""
    strides: list[Any] = [1]
    for size in reversed(sizes[1:]):
        strides.insert(0, strides[0] * size)
    return empty_strided(list(sizes), strides, dtype=torch.float32, device=device)


def _candidates(queries: int, dtype: torch.dtype, head_dim: int) -> Sequence[tuple[int, int, int, int]]:
    """(rows, keys, warps, stages) of a block: the first whose shared memory fits is taken; the rest is for tuning."""
    if dtype == torch.float32:
        # Without tensor cores, registers are what runs out.
        sizes = [(32, 32, 4, 2), (16, 32, 4, 1)]
        more = [(32, 32, 8, 2), (64, 32, 8, 2), (16, 64, 4, 2), (32, 16, 4, 2)]
    elif head_dim > 128:
        sizes = [(64, 64, 8, 2), (64, 32, 4, 2), (32, 32, 4, 1)]
    elif head_dim <= 64 and queries > 2048:
        sizes = [(128, 64, 4, 3), (64, 64, 4, 2), (32, 32, 4, 2)]
    else:
        # By timings on an H200, for widths of 64, 80 and 128 and 197 to 2048 keys.
        sizes = [(64, 64, 4, 3), (64, 64, 4, 2), (32, 32, 4, 2)]
    if dtype != torch.float32:
        tiles = itertools.product((16, 32, 64, 128), (32, 64, 128), (4, 8), (2, 3))
        more = [(m, n, warps, stages) for m, n, warps, stages in tiles if warps == 4 or m == 128]
    rows = _block(queries)
    return list(dict.fromkeys((min(m, rows), n, warps, stages) for m, n, warps, stages in [*sizes, *more]))


def _block(size: int, least: int = 16) -> int:
    """The power of two that holds ``size``; Triton's matrix product wants 16 at least."""
    return max(least, 1 << (size - 1).bit_length())


def _realized(operand: Any) -> Any:
    result = ir.ExternKernel.realize_input(operand)
    ir.as_storage_and_layout(result, freeze=True)
    return ir.TensorBox(result) if not isinstance(result, ir.TensorBox) else result


def _strides(name: str, operand: Any, *dims: str) -> dict[str, Any]:
    strides = [0] * len(dims) if operand is None else operand.get_stride()
    return {f"{name}_{dim}_stride": stride for dim, stride in zip(dims, strides, strict=True)}
