"""Attention, convolutions, pooling, recurrent and quantized layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from aotinductor_cases.case import case, ints, model, rand

_qkv = tuple(rand(1, 4, 16, 16, dtype=torch.bfloat16) for _ in range(4))
case("sdpa", lambda q, k, v: functional.scaled_dot_product_attention(q, k, v)[0], *_qkv[:3])
case("sdpa_2", lambda q, k, v, x: x + functional.scaled_dot_product_attention(q, k, v, is_causal=True)[0], *_qkv)
case(
    "sdpa_mask",
    lambda q, k, v, m: functional.scaled_dot_product_attention(q, k, v, m),
    rand(2, 2, 5, 8),
    rand(2, 2, 7, 8),
    rand(2, 2, 7, 8),
    rand(5, 7) > 0,
)
case(
    "sdpa_grouped",
    lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, enable_gqa=True),
    rand(2, 4, 5, 8),
    rand(2, 2, 7, 8),
    rand(2, 2, 7, 8),
)
case(
    "multihead_attention",
    nn.MultiheadAttention(16, 4, batch_first=True),
    rand(2, 5, 16),
    rand(2, 5, 16),
    rand(2, 5, 16),
)
case("transformer_layer", nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), rand(2, 5, 16))
case(
    "convolution",
    lambda x, w, b: torch.ops.aten.convolution(x, w, b, [4], [0], [1], True, [0], 1),
    rand(2, 8, 30),
    rand(8, 4, 8),
    rand(4),
)
case(
    "conv2d_of_inputs",
    lambda x, w, b: functional.conv2d(x, w, b, padding=1),
    rand(1, 4, 9, 9),
    rand(5, 4, 3, 3),
    rand(5),
)
case("conv3d", nn.Conv3d(3, 4, 3, padding=1), rand(1, 3, 5, 6, 7))
case("conv1d_dilated", nn.Conv1d(3, 4, 3, dilation=2, padding="same"), rand(2, 3, 11))
case("conv_depthwise", nn.Conv2d(4, 8, 3, groups=4, stride=2), rand(2, 4, 11, 9))
case("conv_relu_nan", nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), torch.full((1, 2, 5, 5), float("nan")))
case("linear_relu_nan", nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.full((2, 4), float("nan")))
case(
    "conv_backbone",
    nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 1),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
    ),
    rand(2, 3, 32, 32),
)
case("conv_transpose2d", nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=1), rand(1, 3, 5, 5))
case("conv_functional_bn_fuse", nn.Sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.Hardswish()), rand(1, 4, 8, 8))
case("conv_of_channels_last", nn.Conv2d(4, 3, 3), rand(1, 4, 8, 8).to(memory_format=torch.channels_last))
case("avg_pool2d", lambda x: functional.avg_pool2d(x, 3, 2, 1), rand(1, 2, 9, 9))
case("avg_pool2d_large_window", lambda x: functional.avg_pool2d(x, 11, 1), rand(1, 2, 16, 16))
case("avg_pool3d_large_window", lambda x: functional.avg_pool3d(x, (7, 1, 3), 1), rand(1, 2, 9, 5, 6))
case("avg_pool3d", lambda x: functional.avg_pool3d(x, 3, 1, 1), rand(1, 2, 5, 5, 5))
case("max_pool2d_with_indices", lambda x: functional.max_pool2d(x, 3, 2, 1, return_indices=True), rand(1, 2, 9, 9))
case(
    "max_pool2d_of_infinities",
    lambda x: functional.max_pool2d(x, 3, 2, 1, return_indices=True),
    torch.full((1, 2, 6, 6), float("-inf")),
)
case("max_pool3d", lambda x: functional.max_pool3d(x, 2, return_indices=True), rand(1, 2, 4, 6, 8))
case("adaptive_avg_pool2d", lambda x: functional.adaptive_avg_pool2d(x, (3, 5)), rand(1, 2, 7, 11))
case("adaptive_max_pool2d", lambda x: functional.adaptive_max_pool2d(x, (3, 2)), rand(1, 2, 7, 11))
case(
    "fractional_max_pool2d",
    lambda x, s: functional.fractional_max_pool2d(x, 2, output_size=(3, 3), _random_samples=s),
    rand(1, 2, 8, 8),
    rand(1, 2, 2).abs().clamp(max=0.9),
)
case(
    "max_unpool",
    lambda x: functional.max_unpool2d(*functional.max_pool2d(x, 2, return_indices=True), 2),
    rand(1, 2, 6, 6),
)
case("upsample_bilinear", lambda x: functional.interpolate(x, (7, 9), mode="bilinear"), rand(1, 2, 4, 5))
case(
    "upsample_bicubic",
    lambda x: functional.interpolate(x, (7, 9), mode="bicubic", align_corners=True),
    rand(1, 2, 4, 5),
)
case(
    "upsample_antialias",
    lambda x: functional.interpolate(x, (3, 4), mode="bilinear", antialias=True),
    rand(1, 2, 9, 10),
)
case(
    "upsample_bicubic_antialias",
    lambda x: functional.interpolate(x, (3, 4), mode="bicubic", antialias=True),
    rand(1, 2, 9, 10),
)
case(
    "upsample_uint8",
    lambda x: functional.interpolate(x, (7, 9), mode="bilinear"),
    ints(1, 3, 4, 5, high=256, dtype=torch.uint8),
)
case("grid_sample", lambda x, g: functional.grid_sample(x, g, align_corners=False), rand(1, 2, 5, 5), rand(1, 3, 4, 2))
case(
    "grid_sample_of_nan",
    lambda x, g: functional.grid_sample(x, g, align_corners=False),
    rand(1, 2, 5, 5),
    torch.tensor([[[[float("nan"), 0.0], [0.5, float("inf")]]]]),
)
case("lstm", nn.LSTM(6, 5, num_layers=2, batch_first=True, bidirectional=True), rand(2, 4, 6))
case("gru", nn.GRU(6, 5), rand(4, 2, 6))
case("rnn_cell", nn.LSTMCell(6, 5), rand(2, 6))
case("group_norm", nn.GroupNorm(2, 6), rand(2, 6, 5))
case("instance_norm", nn.InstanceNorm2d(3, affine=True), rand(2, 3, 5, 5))
case("rms_norm", nn.RMSNorm(10), rand(3, 10))
case("batch_norm", nn.BatchNorm2d(3), rand(2, 3, 5, 5))
case("local_response_norm", nn.LocalResponseNorm(3), rand(2, 5, 4, 4))
case("embedding", nn.Embedding(10, 4, padding_idx=0), ints(3, 5))
case(
    "embedding_bag",
    # Of its four results eager leaves all but the first empty, against the sizes that the exported program has.
    lambda w, i, o: torch.ops.aten._embedding_bag(w, i, o, False, 0, False, None)[0],
    rand(10, 4),
    ints(8),
    torch.tensor([0, 2, 6]),
)
case("embedding_bag_max", nn.EmbeddingBag(10, 4, mode="max"), ints(3, 5))
case("dropout", nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), rand(3, 4))
case(
    "cross_entropy",
    lambda x, y: functional.cross_entropy(x, y, ignore_index=-100, label_smoothing=0.1),
    rand(5, 7),
    torch.tensor([0, 3, -100, 6, 1]),
)
case("bilinear", nn.Bilinear(4, 5, 3), rand(2, 4), rand(2, 5))
case("pixel_shuffle", lambda x: (functional.pixel_shuffle(x, 2), functional.pixel_unshuffle(x, 3)), rand(1, 8, 6, 6))
case("glu", lambda x: functional.glu(x, 1), rand(3, 8))
case(
    "cosine_similarity",
    lambda x, y: (functional.cosine_similarity(x, y), functional.pairwise_distance(x, y), torch.cdist(x, y)),
    rand(3, 8),
    rand(3, 8),
)
case("int_mm", torch._int_mm, ints(64, 32, low=-10, dtype=torch.int8), ints(32, 64, low=-10, dtype=torch.int8))
case("zero_point_linear", nn.Linear(0, 3), rand(2, 0))
case(
    "linear_of_no_features",
    lambda x, w: (
        functional.linear(x, w),
        functional.linear(x.half(), w.half(), torch.ones(3).half()),
        torch.mm(x[:, 0], w.t()),
        torch.bmm(x, x.mT),
    ),
    rand(2, 4, 0),
    rand(3, 0),
    dynamic={"x": {0: torch.export.Dim("rows", min=1, max=9)}, "w": {}},
    more=[(rand(5, 4, 0), rand(3, 0))],
)
case("weight_norm", nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), rand(2, 4))
case("spectral_norm", nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)), rand(2, 4))


class Quantized(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.weight, self.bias = rand(10, 10), rand(10)

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x, self.weight, self.bias)


case("quantized_linear", Quantized(torch.ops.quantized.linear_dynamic_fp16_unpacked_weight), rand(10, 10))


@model("quanatized_int8_linear", rand(10, 10))
class WrappedQuantized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = rand(10, 10), rand(10)
        self.scale, self.zero = torch.tensor(0.1), torch.tensor(0)

    def forward(self, x: torch.Tensor) -> Any:
        scale, zero = self.scale, self.zero
        return torch.ops._quantized.wrapped_quantized_linear(
            x, scale, zero, self.weight, scale, zero, self.bias, scale, zero, 10
        )


case(
    "wide_int8_linear",  # sums that float32 does not hold; of 7 bits: without VNNI pairs of 8 overflow in eager PyTorch
    lambda x, w, b: torch.ops._quantized.wrapped_quantized_linear(
        x.clamp(max=1.2), torch.tensor(0.01), torch.tensor(7), w, torch.tensor(0.002), torch.tensor(0), b,
        torch.tensor(0.5), torch.tensor(120), 9
    ),
    rand(5, 3000),
    rand(9, 3000),
    rand(9),
)  # fmt: skip


@model("weight_int8pack_mm", rand(4, 64, dtype=torch.bfloat16))
class Int8Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.scale = ints(32, 64, low=-128, high=128, dtype=torch.int8), rand(32, dtype=torch.bfloat16)

    def forward(self, x: torch.Tensor) -> Any:
        return torch._weight_int8pack_mm(x, self.weight, self.scale)


_packed = torch._convert_weight_to_int4pack_for_cpu(ints(80, 64, high=16, dtype=torch.int32), 2)


@model("weight_int4pack_mm", rand(32, 64))
class Int4Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch._convert_weight_to_int4pack_for_cpu(ints(64, 64, high=16, dtype=torch.int32), 2)
        self.scales = rand(2, 64, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return torch._weight_int4pack_mm_for_cpu(x, self.weight, 32, self.scales)


case(
    "weight_int4pack_mm_rest_bfloat16",  # 80 rows: a whole block of every processor's, and less
    lambda x, s: torch._weight_int4pack_mm_for_cpu(x, _packed, 32, s),
    rand(3, 64, dtype=torch.bfloat16),
    rand(2, 80, 2, dtype=torch.bfloat16),
)
case(
    "grouped_mm",
    lambda x, w, o: torch._grouped_mm(x, w, offs=o),
    rand(16, 16, dtype=torch.bfloat16),
    rand(3, 16, 32, dtype=torch.bfloat16),
    torch.tensor([4, 9, 16], dtype=torch.int32),
)
case("fake_quantize", lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 3, -128, 127), rand(20))
_specials = torch.cat([rand(300) * 20, torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 0.35])])
for _dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
    case(
        f"fake_quantize_{str(_dtype).removeprefix('torch.')}",
        lambda x, scale, zero, place, on: (
            torch.fake_quantize_per_tensor_affine(x, 0.1, 3, -128, 127),
            torch.fake_quantize_per_tensor_affine(x, scale[0], zero[0], -8, 7),
            torch.fake_quantize_per_channel_affine(x.view(102, 3), scale, zero, 1, -8, 20),
            torch.fake_quantize_per_channel_affine(x.view(102, 3), scale, place, 1, -8, 20),
            torch._fake_quantize_per_tensor_affine_cachemask_tensor_qparams(x, scale[:1], zero[:1], on, -8, 7),
        ),
        _specials.to(_dtype),
        torch.tensor([0.13, 0.02, 0.5]),
        torch.tensor([1, 0, -3], dtype=torch.int32),
        torch.tensor([1.25, 0.0, -3.5]),
        torch.tensor([1]),
        more=[(_specials.to(_dtype), torch.ones(3), ints(3).int(), torch.ones(3), torch.tensor([0]))],
    )
case("quantize_decomposed", lambda x: (x / 0.05).round().clamp(-128, 127).to(torch.int8), rand(20))
case(
    "scatter_fallback",
    lambda x, i, s: torch.scatter(x, 1, i, s),
    torch.ones(3, 5, dtype=torch.int64),
    torch.tensor([[0, 1, 2, 0]]),
    torch.zeros(2, 5, dtype=torch.int64),
)
case(
    "scatter_reduce_fallback",
    lambda x, i, s: torch.scatter_reduce(x, 0, i, s, reduce="sum"),
    torch.tensor([1, 10, 100, 1000]),
    torch.tensor([0, 1, 0, 1, 2, 1]),
    torch.tensor([1, 2, 3, 4, 5, 6]),
)
case(
    "index_put_fallback",
    lambda x, i, v: torch.index_put(x, i, v, accumulate=True),
    torch.ones(4, dtype=torch.int64),
    (torch.tensor([True, True, True, True]),),
    torch.ones(4, dtype=torch.int64),
)
case(
    "index_put_with_none_index",
    lambda x, i, j, y: torch.ops.aten.index_put(x, (None, None, i, j.t()), y, accumulate=True),
    rand(2, 3, 8, 8),
    torch.zeros(3, 5, 1, 1, dtype=torch.int64),
    torch.ones(5, 3, dtype=torch.int64),
    rand(2, 3, 3, 5, 3, 5),
)
case(
    "aliased_buffer_reuse",
    lambda x, y: ((c := torch.cat([2 * x, 2 * y], -1) + 1) @ c)[:, :2] + 2 * x,
    rand(4, 2),
    rand(4, 2),
)
case(
    "buffer_reuse", lambda x, y: torch.sigmoid(torch.relu(torch.sin(x) @ torch.cos(y))) + x @ y, rand(4, 4), rand(4, 4)
)


def _symmetric(x: torch.Tensor) -> Any:
    factors, pivots, info = torch.linalg.ldl_factor_ex(x + x.mT)
    return factors, pivots, info, torch.linalg.ldl_solve(factors, pivots, x)


_zero_first = rand(3, 9, 9, dtype=torch.float64)
_zero_first[1, 0] = _zero_first[1, :, 0] = 0
case("ldl", _symmetric, rand(2, 6, 6), more=[(torch.eye(6).flip(0).repeat(2, 1, 1),)])
case("ldl_of_singular_matrices", lambda x: torch.linalg.ldl_factor_ex(x + x.mT), _zero_first)
case("ldl_of_no_rows", _symmetric, rand(2, 0, 0))
case(
    "cholesky_family",
    lambda x, b, e: (
        torch.cholesky(x @ x.mT + torch.eye(5)),
        torch.cholesky_solve(b, torch.linalg.cholesky(x @ x.mT + torch.eye(5))),
        torch.cholesky_inverse(torch.linalg.cholesky(x @ x.mT + torch.eye(5))),
        torch.linalg.cholesky(e),
        torch.cholesky(e),
        torch.cholesky_inverse(e),
        torch.cholesky_solve(e, e),
        *torch.geqrf(x.double()),
    ),
    rand(2, 5, 5),
    rand(2, 5, 3),
    rand(2, 0, 0),
)
