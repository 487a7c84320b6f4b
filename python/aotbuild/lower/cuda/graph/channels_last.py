"""Convolutions as matrix products on tensor cores: operands with channels innermost, normalisations in the weights."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import sympy
import torch
from torch._inductor import ir
from torch._inductor.kernel.conv import convert_1x1_conv_to_mm
from torch._inductor.lowering import lowerings, register_lowering
from torch._inductor.select_algorithm import SymbolicGridFn, TritonTemplate, autotune_select_algorithm
from torch._inductor.utils import get_num_sms
from torch._inductor.virtualized import V
from torch.fx import GraphModule, Node
from torch.utils._sympy.functions import FloorDiv

from aotbuild.lower.common.graph import BATCH_NORM
from aotbuild.lower.cuda.graph.convolution import spatial
from aotbuild.lower.cuda.graph.rewriting import Writer

aten = torch.ops.aten
prims = torch.ops.prims

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define(
    "channels_last_convolution(Tensor input, Tensor weight, SymInt[] stride, SymInt[] padding, SymInt[] dilation, "
    "SymInt groups) -> Tensor"
)

# With fewer input channels, a row of the kernel's window is one contiguous piece of the input that is summed over at
# once: 7 steps instead of 49 for a 7x7 convolution of an image. The channels are padded to a multiple of
# _CHANNEL_ALIGNMENT, so that 8 bytes are read at a time. (ResNet-18's first convolution on an H100 took 215 us by
# TorchInductor's template.)
_FEW_CHANNELS = 16
_CHANNEL_ALIGNMENT = 4

# A convolution with fewer tiles than half the multiprocessors (a late layer, or one image) has its sum over taps and
# channels divided among blocks, in pieces of at least _MIN_PIECE of them; the kernel that follows adds up the parts.
_TILE = 64
_MIN_PIECE = 512
_MAX_SPLITS = 8  # more partial sums are no longer part of the kernel that follows

# BLOCK_M, BLOCK_N, BLOCK_K, num_stages, num_warps: pixels, output channels and input channels of a block of threads.
_CONFIGS = (
    (64, 64, 32, 4, 4),
    (128, 64, 32, 3, 4),
    (64, 32, 64, 4, 4),
    (64, 64, 64, 3, 4),
    (64, 64, 64, 4, 4),
    (64, 128, 64, 3, 4),
    (128, 64, 64, 3, 4),
    (128, 64, 64, 4, 4),
    (128, 128, 32, 3, 8),
    (128, 128, 64, 3, 8),
    (64, 64, 128, 3, 4),
)

# Of products of 64 channels and more, by timings on an H200 of the 3x3 layers of ResNet-50 and of a diffusion model.
_OF_MANY_OUTPUTS = {"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 64, "num_stages": 3, "num_warps": 4}
_OF_MANY_PIXELS = {"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 64, "num_stages": 3, "num_warps": 4}


# --- the graph


def fold_batch_norms(gm: GraphModule, weights: set[Node]) -> None:
    """Makes batch normalisations over ``weights`` that follow a convolution part of its weight, and an addition.

    The arithmetic is in float32; the weight is rounded to its type at the end.
    """
    for norm in list(gm.graph.nodes):
        if norm.target is not BATCH_NORM:
            continue
        convolution, gamma, beta, mean, variance, _, epsilon = norm.args
        results = list(norm.users)
        if (
            convolution.target is not aten.convolution.default
            or len(convolution.users) != 1
            or not results
            or any(user.target is not operator.getitem or user.args[1] != 0 for user in results)
            or not _are_weights((*convolution.args[1:3], gamma, beta, mean, variance), weights)
        ):
            continue
        folded = _folded(Writer(gm, norm), convolution, gamma, beta, mean, variance, epsilon)
        for result in results:
            result.replace_all_uses_with(folded)
            gm.graph.erase_node(result)
        gm.graph.erase_node(norm)
        gm.graph.erase_node(convolution)
    gm.graph.lint()


def _are_weights(operands: Sequence[Any], weights: set[Node]) -> bool:
    return all(operand is None or operand in weights for operand in operands)


def _folded(
    write: Writer, convolution: Node, gamma: Any, beta: Any, mean: Node, variance: Node, epsilon: float
) -> Node:
    source, weight, bias, *geometry = convolution.args
    assert isinstance(weight, Node)
    dtype = weight.meta["val"].dtype
    rank = weight.meta["val"].dim() - 2
    spread = [-1] + [1] * rank
    scale = write.call(aten.rsqrt.default, write.call(aten.add.Tensor, write.cast(variance, torch.float32), epsilon))
    if gamma is not None:
        scale = write.call(aten.mul.Tensor, scale, write.cast(gamma, torch.float32))
    centre = write.cast(mean, torch.float32)
    if isinstance(bias, Node):
        centre = write.call(aten.sub.Tensor, centre, write.cast(bias, torch.float32))
    shift = write.call(aten.neg.default, write.call(aten.mul.Tensor, centre, scale))
    if beta is not None:
        shift = write.call(aten.add.Tensor, shift, write.cast(beta, torch.float32))
    scaled = write.call(
        aten.mul.Tensor, write.cast(weight, torch.float32), write.call(aten.reshape.default, scale, [*spread, 1])
    )
    product = write.call(aten.convolution.default, source, write.cast(scaled, dtype), None, *geometry)
    total = write.call(aten.add.Tensor, product, write.call(aten.reshape.default, shift, spread))
    return write.cast(total, dtype)


def use_channels_last(gm: GraphModule, *, is_branch: bool = False) -> None:
    """Replaces two-dimensional ``aten.convolution``, of which only those that tensor cores serve are left.

    ``is_branch``: results keep their strides, since those of all branches of a ``torch.cond`` have to be alike.
    """
    for node in list(gm.graph.nodes):
        if node.target is aten.convolution.default and node.meta["val"].dim() == 4:
            write = Writer(gm, node)
            result = _channels_last(write, *node.args)
            if is_branch:
                result = write.call(aten.clone.default, result, memory_format=torch.contiguous_format)
            node.replace_all_uses_with(result)
            gm.graph.erase_node(node)
    gm.graph.lint()
    gm.recompile()


def _channels_last(
    write: Writer,
    source: Node,
    weight: Node,
    bias: Node | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Node:
    channels, *taps = weight.meta["val"].shape[1:]
    missing = -channels % _CHANNEL_ALIGNMENT
    if channels < _FEW_CHANNELS and groups == 1 and missing:
        padded = [0, 0, 0, 0, 0, missing]
        source = write.call(aten.constant_pad_nd.default, source, padded)
        weight = write.call(aten.constant_pad_nd.default, weight, padded)
    if taps != [1, 1]:
        weight = write.call(aten.clone.default, weight, memory_format=torch.channels_last)
    geometry = [list(spatial(values, 2)) for values in (stride, padding, dilation)]
    result = write.call(torch.ops.aotbuild.channels_last_convolution.default, source, weight, *geometry, groups)
    if bias is None:
        return result
    return write.call(aten.add.Tensor, result, write.call(aten.reshape.default, bias, [-1, 1, 1]))


@torch.library.register_fake("aotbuild::channels_last_convolution", lib=_library)  # type: ignore[untyped-decorator]
def _fake(
    input: torch.Tensor,
    weight: torch.Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> torch.Tensor:
    sizes = [
        _room(input.shape[2 + dim], weight.shape[2 + dim], padding[dim], dilation[dim]) // stride[dim] + 1
        for dim in range(2)
    ]
    return input.new_empty((input.shape[0], *sizes, weight.shape[0])).permute(0, 3, 1, 2)


def _room(size: Any, taps: Any, padding: Any, dilation: Any) -> Any:
    """How far the window moves; the output has this divided by the stride, and one (formula of ``torch.nn.Conv2d``)."""
    return size + 2 * padding - dilation * (taps - 1) - 1


# --- the kernel


@SymbolicGridFn
def _grid(pixels: Any, outputs: Any, meta: Any, *, cdiv: Any) -> Any:
    if meta["SPLITS"] > 1:
        pixels = pixels // meta["SPLITS"]
    blocks = cdiv(pixels, meta["BLOCK_M"]), cdiv(outputs, meta["GROUPS"] * meta["BLOCK_N"])
    return *blocks, meta["GROUPS"] * meta["SPLITS"]


# A product [pixels, taps * channels] @ [taps * channels, outputs] whose first operand is never written out. With ROWS
# the taps of a row count as channels. The result is a matrix, in whose order a following pointwise operation runs; by
# itself it would not with the dimensions of the convolution. With SPLITS there are several such matrices, one below the
# other.
_template = TritonTemplate(
    name="channels_last_convolution",
    grid=_grid,
    source=r"""
{{def_kernel("X", "W")}}
    PIXELS = {{size(None, 0)}} // SPLITS
    IN_H = {{size("X", 2)}}
    IN_W = {{size("X", 3)}}
    OUT_H = (IN_H + 2 * PADDING_H - DILATION_H * (KERNEL_H - 1) - 1) // STRIDE_H + 1
    OUT_W = (IN_W + 2 * PADDING_W - DILATION_W * (KERNEL_W - 1) - 1) // STRIDE_W + 1

    pixel = tl.program_id(0).to(INDEX_DTYPE) * BLOCK_M + tl.arange(0, BLOCK_M)
    idx_w = pixel % OUT_W
    idx_h = (pixel // OUT_W) % OUT_H
    idx_n = pixel // (OUT_W * OUT_H)
{% if SPLITS > 1 %}
    group = 0
    piece = tl.program_id(2)
{% else %}
    group = tl.program_id(2).to(INDEX_DTYPE)
    piece = 0
{% endif %}
    output = tl.program_id(1).to(INDEX_DTYPE) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)

    top = idx_h * STRIDE_H - PADDING_H
    left = idx_w * STRIDE_W - PADDING_W
    corner = X + (
        idx_n * {{stride("X", 0)}}
        + group * CHANNELS * {{stride("X", 1)}}
        + top * {{stride("X", 2)}}
        + left * {{stride("X", 3)}}
    )
    columns = W + (group * OUTPUTS + output) * {{stride("W", 0)}}
    in_result = pixel < PIXELS
    in_outputs = (output < OUTPUTS)[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)

{% if ROWS %}
    CHUNKS = (KERNEL_W * CHANNELS + BLOCK_K - 1) // BLOCK_K
    STEPS = KERNEL_H * CHUNKS
    for step in range(piece * STEPS // SPLITS, (piece + 1) * STEPS // SPLITS):
        i = step // CHUNKS
        place = (step % CHUNKS) * BLOCK_K + k
        row = top + i * DILATION_H
        in_input = (left * CHANNELS)[:, None] + place[None, :]
        mask_x = (
            (in_result & (row >= 0) & (row < IN_H))[:, None]
            & (in_input >= 0)
            & (in_input < IN_W * CHANNELS)
            & (place < KERNEL_W * CHANNELS)[None, :]
        )
        mask_w = in_outputs & (place < KERNEL_W * CHANNELS)[:, None]
        x = tl.load(corner[:, None] + (i * (DILATION_H * {{stride("X", 2)}}) + place)[None, :], mask=mask_x, other=0.0)
        w = tl.load(columns[None, :] + (i * {{stride("W", 2)}} + place)[:, None], mask=mask_w, other=0.0)
        acc += tl.dot(x, w, allow_tf32=ALLOW_TF32)
{% else %}
    CHUNKS = (CHANNELS + BLOCK_K - 1) // BLOCK_K
    STEPS = KERNEL_H * KERNEL_W * CHUNKS
    for step in range(piece * STEPS // SPLITS, (piece + 1) * STEPS // SPLITS):
        tap = step // CHUNKS
        i = tap // KERNEL_W
        j = tap % KERNEL_W
        channel = (step % CHUNKS) * BLOCK_K + k
        row = top + i * DILATION_H
        column = left + j * DILATION_W
        mask_x = (in_result & (row >= 0) & (row < IN_H) & (column >= 0) & (column < IN_W))[:, None]
        mask_w = in_outputs
        if CHANNELS % BLOCK_K != 0:
            mask_x = mask_x & (channel < CHANNELS)[None, :]
            mask_w = mask_w & (channel < CHANNELS)[:, None]
        offset_x = i * (DILATION_H * {{stride("X", 2)}}) + j * (DILATION_W * {{stride("X", 3)}})
        x = tl.load(corner[:, None] + (offset_x + channel * {{stride("X", 1)}})[None, :], mask=mask_x, other=0.0)
        offset_w = i * {{stride("W", 2)}} + j * {{stride("W", 3)}}
        w = tl.load(columns[None, :] + (offset_w + channel * {{stride("W", 1)}})[:, None], mask=mask_w, other=0.0)
        acc += tl.dot(x, w, allow_tf32=ALLOW_TF32)
{% endif %}

    mask = in_result[:, None] & in_outputs
    idx_m = (piece * PIXELS + pixel)[:, None]
    idx_o = (group * OUTPUTS + output)[None, :]
    {{store_output(("idx_m", "idx_o"), "acc", "mask", val_shape=("BLOCK_M", "BLOCK_N"))}}
""",
)


@register_lowering(torch.ops.aotbuild.channels_last_convolution.default, type_promotion_kind=None)
def _lower(
    input: Any, weight: Any, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Any:
    outputs, channels, *taps = V.graph.sizevars.guard_int_seq(weight.get_size())
    if taps == [1, 1] and list(padding) == [0, 0] and groups == 1:
        for dim, step in enumerate(stride):
            if step != 1:  # the pixels that count are copied side by side: a fraction of what is multiplied
                input = lowerings[aten.slice](input, 2 + dim, 0, sys.maxsize, step)
        return convert_1x1_conv_to_mm(input, weight, None)
    input.realize()
    weight.realize()
    batch, in_channels, *sizes = input.get_size()
    reads_rows = groups == 1 and channels < _FEW_CHANNELS and dilation[1] == 1 and channels % _CHANNEL_ALIGNMENT == 0
    if reads_rows:
        strides = [sizes[0] * sizes[1] * in_channels, 1, sizes[1] * in_channels, in_channels]
        input = ir.ExternKernel.require_exact_strides(input, strides)
    else:
        input = ir.ExternKernel.require_channels_last(input)
    weight = ir.ExternKernel.require_channels_last(weight)
    out_sizes = [
        FloorDiv(_room(sizes[dim], taps[dim], padding[dim], dilation[dim]), stride[dim]) + 1 for dim in range(2)
    ]
    pixels = batch * out_sizes[0] * out_sizes[1]
    splits = 1 if groups > 1 else _splits(pixels, outputs, channels * taps[0] * taps[1])
    dtype = input.get_dtype()
    layout = ir.FixedLayout(
        input.get_device_or_error(), dtype if splits == 1 else torch.float32, [splits * pixels, outputs], [outputs, 1]
    )
    choices: list[Any] = []
    candidates = list(_configs(channels * (taps[1] if reads_rows else 1), outputs // groups))
    if splits == 1 and not reads_rows and _is_plenty(pixels, outputs // groups, channels, dtype):
        candidates = [_OF_MANY_OUTPUTS if outputs // groups >= 128 else _OF_MANY_PIXELS]
    for config in candidates:
        _template.maybe_append_choice(
            choices,
            input_nodes=(input, weight),
            layout=layout,
            KERNEL_H=taps[0],
            KERNEL_W=taps[1],
            STRIDE_H=stride[0],
            STRIDE_W=stride[1],
            PADDING_H=padding[0],
            PADDING_W=padding[1],
            DILATION_H=dilation[0],
            DILATION_W=dilation[1],
            GROUPS=groups,
            CHANNELS=channels,
            OUTPUTS=outputs // groups,
            ROWS=reads_rows,
            SPLITS=splits,
            ALLOW_TF32=torch.backends.cudnn.fp32_precision == "tf32",
            **config,
        )
    result, _ = autotune_select_algorithm("convolution", choices, [input, weight], layout)
    if splits > 1:
        parts = lowerings[aten.reshape](result, [splits, pixels, outputs])
        result = lowerings[prims.convert_element_type](lowerings[aten.sum](parts, [0]), dtype)
    result = lowerings[aten.reshape](result, [batch, *out_sizes, outputs])
    return lowerings[aten.permute](result, [0, 3, 1, 2])


def _is_plenty(pixels: Any, outputs: int, channels: int, dtype: torch.dtype) -> bool:
    """Whether there are tiles enough of those that are the fastest on Hopper, whatever the estimate says."""
    hopper = torch.cuda.get_device_capability() >= (9, 0)
    tiles = int(V.graph.sizevars.optimization_hint(pixels, fallback=128)) // 64 * (outputs // 64) // 2
    return hopper and dtype in (torch.float16, torch.bfloat16) and channels >= 64 and outputs >= 64 and tiles >= 64


def _splits(pixels: Any, outputs: int, summed: int) -> int:
    """Among how many blocks the sum of a tile is divided; sizes that are not known are not."""
    if not isinstance(pixels, (int, sympy.Integer)):
        return 1
    tiles = -(-int(pixels) // _TILE) * -(-outputs // _TILE)
    if 2 * tiles > get_num_sms():
        return 1
    return max(1, min(2 * get_num_sms() // tiles, summed // _MIN_PIECE, _MAX_SPLITS))


def _configs(summed: int, outputs: int) -> Iterator[dict[str, int]]:
    """The candidates, without tiles that are much larger than what they cover."""

    def cover(size: int) -> int:
        return max(16, 1 << (size - 1).bit_length())

    found: dict[tuple[int, ...], None] = {}
    for m, n, k, stages, warps in _CONFIGS:
        found[m, min(n, cover(outputs)), min(k, cover(summed)), stages, warps] = None
    for m, n, k, stages, warps in found:
        yield {"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "num_stages": stages, "num_warps": warps}
