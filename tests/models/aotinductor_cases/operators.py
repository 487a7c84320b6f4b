"""Operators that TorchInductor hands to a library, by the names of upstream's tests of the C++ wrapper."""

from __future__ import annotations

import torch
from torch.nn import functional

from aotinductor_cases.case import case, ints, rand

case(
    "bmm1", lambda a, b: (torch.bmm(a, b), torch.bmm(a + 1, b + 2), torch.bmm(a, b) + 10), rand(2, 8, 8), rand(2, 8, 8)
)
case("bmm2", lambda a, b: torch.bmm(a.permute(0, 2, 1), b), rand(1, 8, 8), rand(1, 8, 8))
case("mm_plus_mm2", lambda a, b, c, d: a @ b + c @ d, rand(5, 6), rand(6, 5), rand(5, 7), rand(7, 5))
case("linear1", torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Sigmoid(), torch.nn.Linear(16, 2)), rand(2, 8))
case(
    "linear2",
    torch.nn.Sequential(*(layer for _ in range(4) for layer in (torch.nn.Linear(8, 8), torch.nn.ReLU()))),
    rand(2, 8),
)
case("linear_packed", torch.nn.Linear(10, 30, bias=False), rand(4, 6, 10))
case("conv2d_unary", torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.GELU()), rand(1, 2, 5, 5))
case(
    "conv2d_binary_inplace_fusion",
    lambda x, y, w: functional.conv2d(x, w).add_(y).relu_(),
    rand(1, 2, 5, 5),
    rand(1, 3, 5, 5),
    rand(3, 2, 1, 1),
)
case("as_strided_view", lambda x: torch.as_strided(x, (8, 8, 64), (8 * 64, 64, 1), 0)[0] * 2, rand(64, 64))
case("convolution1", torch.nn.Sequential(torch.nn.Conv2d(5, 6, (3, 3), groups=1), torch.nn.ReLU()), rand(2, 5, 8, 8))
case("custom_op_shapes", lambda x: x.view(-1).sum().expand(3), rand(4, 4))
case("dtype_sympy_expr", lambda x: x[..., :-1, :] * 2, rand(1, 2, 1, 8, 1).squeeze(-1))
case("cumsum_of_integers", lambda x: x.cumsum(0), ints(9, dtype=torch.int32))
case(
    "inductor_layout_optimization_input_mutations",
    lambda x: functional.avg_pool2d(x.mul(2), 2).add(1),
    rand(1, 4, 8, 8),
)
case("insignificant_strides", lambda x: (x + 1).transpose(0, 1).view(1, 1, 5), rand(1, 5, 1))
case("lstm_packed", torch.nn.LSTM(8, 4), rand(3, 2, 8))
case("lstm_no_bias", torch.nn.LSTM(8, 4, bias=False, batch_first=True), rand(2, 3, 8))
case("multi_threading", lambda x: x.softmax(-1) @ x.t(), rand(64, 64))
case("pow3", lambda x: (x + 3, 3.0**x), torch.tensor(0.123))
case("profiler_mark_wrapper_call", lambda x, y: x + y, rand(5), rand(5))
case("randn_with_dtype", lambda: torch.randn(3, 4, dtype=torch.float64), random=True)
case("reduction1", lambda a: (a.sum(), a.max(), a.min(), a.argmax(), a.argmin()), torch.tensor([[-1.0, 0, 1]]))
case("relu", lambda a, b: (a.relu(), (a + b).relu()), rand(8, 8), rand(8, 8))
case("repeat_interleave_2", lambda x: x.repeat_interleave(3, dim=1), rand(2, 4))
case("roi_align_like", lambda x, i: x[:, :, i][:, :, :, i].mean((-1, -2)), rand(1, 2, 8, 8), torch.tensor([1, 2, 5]))
case("scalar_input", lambda x, y: torch.div(x, y, rounding_mode="floor"), ints(1, 8, low=-9), 5)
case("scalar_output", lambda a, b: (a.sum().div(b.numel()), a.mean()), rand(3), rand(3))
case(
    "scaled_dot_product_attention",
    lambda q, k, v: functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale=0.5
    ),
    rand(2, 5, 2, 8),
    rand(2, 5, 2, 8),
    rand(2, 5, 2, 8),
)
case("scatter1", lambda x, i, b: torch.scatter(x, 0, i, b), rand(2, 3, 5), ints(2, 3, 5, high=2), rand(2, 3, 5))
case("scatter6", lambda x, d: torch.scatter_add(x, 0, d, torch.ones_like(x)), torch.zeros(5, 3), ints(5, 3, high=5))
case(
    "scatter_reduce1",
    lambda x, i, b: torch.scatter_reduce(x, 0, i, b, reduce="prod"),
    rand(5, 3),
    ints(6, 3, high=5),
    rand(6, 3),
)
case("silu", functional.silu, rand(8, 8))
case("sort", lambda a: (torch.sort(a), torch.argsort(a, dim=0, stable=True)), rand(9, 4))
case("sum_dtype", lambda x: x * x.sum(-1, dtype=torch.double) + x.sum(dtype=torch.double), torch.ones(8, 8))
case("sum_int", lambda x: 2 * x.sum(-1) + x.sum(), ints(9, 8, high=100, dtype=torch.int32))
case("tensor2", lambda x: (torch.tensor(list(range(2, 20, 4))), x + torch.tensor([1.0, 2.0])), rand(2))
case("transpose_copy", lambda x: x.t().contiguous(), rand(6, 5))
case("view_as_complex", lambda x: torch.view_as_complex(x) * 2, rand(4, 2))
case("view_as_real", lambda x: torch.view_as_real(x.exp()), torch.complex(rand(4), rand(4)))
case("index_put1", lambda a, b, c: torch.index_put(a, [b], c), rand(8, 4), torch.tensor([1, 5, 0]), rand(3, 4))
case(
    "index_put_accumulate",
    lambda a, b, c: torch.index_put(a, [b], c, accumulate=True),
    rand(8, 4),
    torch.tensor([1, 1, 0]),
    rand(3, 4),
)
case("adding_tensor_offsets", lambda x: x[16:32] + 1, rand(1024))
case("add_dtype", lambda x, y: (x + y.to(torch.float64)).to(torch.int64), rand(5), rand(5))
case("cat", lambda a: (torch.cat((a, a[:4].t().reshape(-1, a.size(1))), 0), torch.cat((a, a + 2))), rand(8, 8))
case("cat_uint8", lambda x: torch.cat((x, x + 1)), ints(3, high=256, dtype=torch.uint8))
case("dropout_inference", lambda x: functional.dropout(x, 0.5, training=False), rand(9))
case(
    "group_of_norms",
    torch.nn.Sequential(torch.nn.GroupNorm(2, 4), torch.nn.SiLU(), torch.nn.Conv1d(4, 4, 1)),
    rand(2, 4, 8),
)
case(
    "unique_consecutive", lambda x: torch.unique_consecutive(x, return_counts=True), torch.tensor([1, 1, 2, 2, 3, 1, 1])
)
case("unique_dim", lambda x: torch.unique(x, dim=0), torch.tensor([[1, 2], [1, 2], [0, 5]]))
_parts = ints(4, 30, 2, high=2).float()
_parts[0, 3, 1] = _parts[1, 5, 0] = float("nan")
case(
    "unique_parts",
    lambda x, y, z: (
        *torch.unique(x, dim=1, return_inverse=True, return_counts=True),
        *torch.unique(y, dim=-1, return_inverse=True),
        *torch.unique_consecutive(y, dim=0, return_inverse=True, return_counts=True),
        torch.unique(z, dim=0),
    ),
    ints(2, 40, 2, high=2).bfloat16(),
    ints(6, 5, high=2),
    torch.zeros(0, 3),
)
case("unique_parts_with_nan", lambda x: torch.unique(x, dim=1, return_counts=True)[1].sum(), _parts)
case("histc", lambda x: torch.histc(x, 5, -2, 2), rand(50))
case("bincount", lambda x: torch.bincount(x, minlength=6), ints(20, high=4))
case("cross", lambda x, y: torch.linalg.cross(x, y), rand(4, 3), rand(4, 3))
case("tensordot", lambda x, y: torch.tensordot(x, y, 2), rand(2, 3, 4), rand(3, 4, 5))
case("meshgrid", lambda x, y: torch.meshgrid(x, y, indexing="ij"), rand(3), rand(4))
case("block_diag", lambda x, y: torch.block_diag(x, y), rand(2, 3), rand(1, 2))
case("quantile", lambda x: torch.quantile(x, torch.tensor([0.25, 0.5])), rand(11))
case("renorm", lambda x: torch.renorm(x, 2, 0, 1.0), rand(4, 5) * 5)
case(
    "addcmul_addcdiv",
    lambda x, y, z: (torch.addcmul(x, y, z, value=0.5), torch.addcdiv(x, y, z.abs() + 1, value=2.0)),
    rand(5),
    rand(5),
    rand(5),
)
case("clamp_tensor", lambda x, lo, hi: x.clamp(lo, hi), rand(9), rand(9) - 1, rand(9) + 1)
case("native_layer_norm", lambda x, w, b: torch.native_layer_norm(x, (8,), w, b, 1e-5), rand(3, 8), rand(8), rand(8))
case("pixel_norm", lambda x: x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6), rand(2, 8, 3))
case(
    "rotary",
    lambda x, c, s: x * c + torch.cat((-x[..., 4:], x[..., :4]), -1) * s,
    rand(1, 2, 5, 8),
    rand(5, 8),
    rand(5, 8),
)
case(
    "causal_mask",
    lambda x: x.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), float("-inf")).softmax(-1),
    rand(2, 5, 5),
)
case("one_hot", lambda x: functional.one_hot(x, 5).float(), ints(6, high=5))
case("nll_loss", lambda x, y: functional.nll_loss(x.log_softmax(1), y), rand(5, 4), ints(5, high=4))
case("triplet", lambda a, b, c: functional.triplet_margin_loss(a, b, c), rand(4, 6), rand(4, 6), rand(4, 6))
