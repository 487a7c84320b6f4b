"""Element types, special values, complex numbers, conversions."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from aotinductor_cases.case import case, ints, model, rand

INF, NAN = float("inf"), float("nan")
_special = torch.tensor([0.0, -0.0, 1.5, -1.5, INF, -INF, NAN, 1e30, -1e-30, 1e-45])
_z = torch.tensor([1 + 1j, -1 + 1j, -2 + 2j, 3 - 3j, 0, 1j, 1, -1])

case(
    "empty_cat_dtype_promotion",
    lambda x, y: torch.cat([x, y], dim=1).to(torch.bfloat16) * 2,
    rand(4, 10, dtype=torch.bfloat16),
    rand(4, 0),
)
case("add_complex", torch.add, _z, _z.flip(0))
case("add_complex4", lambda a, b: a + b * 2, _z.reshape(2, 4), _z.reshape(2, 4).flip(0))
case("complex_parts", lambda z: (z.real, z.imag, z.abs(), z.angle(), z.conj()), _z)
case("complex_from_parts", torch.complex, rand(5), rand(5))
case("complex_as_real", lambda z: torch.view_as_real(z * 2), _z)
case("complex_matmul", lambda a, b: a @ b, torch.complex(rand(3, 4), rand(3, 4)), torch.complex(rand(4, 2), rand(4, 2)))
case("imaginary_of_conjugate", lambda z: z.conj().imag, _z)
case("proxy_executor_permute", lambda x: x.permute(0, 2, 1), torch.complex(rand(1, 30, 20), rand(1, 30, 20)))
case("proxy_executor_abs", torch.abs, torch.complex(rand(1, 30, 20), rand(1, 30, 20)))
case("proxy_executor_squeeze", lambda x: x.squeeze(0), torch.complex(rand(1, 30, 20), rand(1, 30, 20)))
case("proxy_executor_hann", lambda: torch.hann_window(400))
case("fft_c2c", lambda x: (torch.fft.fftn(x), torch.fft.fftn(x).real), rand(8, 8, 8))
case(
    "stft",
    lambda x: torch.stft(x, 40, 16, window=torch.hann_window(40), return_complex=True)[..., :-1].abs() ** 2,
    rand(200),
)
case("assert_tensor_meta", lambda x: x + 1, torch.tensor(1, dtype=torch.int32))
case("normal_functional", lambda x: torch.ops.aten.normal_functional.default(x), torch.empty(4, 1, 4, 4), random=True)
case("amp_fallback_random", functional.linear, rand(10, 10, dtype=torch.bfloat16), rand(10, 10, dtype=torch.bfloat16))
case(
    "special_values_unary",
    lambda x: (x.relu(), x.exp(), x.log1p(), x.sqrt(), x.tanh(), x.sigmoid(), x.sign(), x.floor()),
    _special,
)
case("special_values_round", lambda x: (x.round(), x.trunc(), x.ceil(), x.frac()), _special)
case(
    "special_values_activations",
    lambda x: (
        functional.gelu(x),
        functional.silu(x),
        functional.softplus(x),
        functional.hardswish(x),
        functional.elu(x),
        functional.leaky_relu(x),
        functional.hardtanh(x),
    ),
    _special,
)
case(
    "special_values_minmax",
    lambda x: (x.amax(), x.amin(), torch.maximum(x, x.flip(0)), torch.fmin(x, x.flip(0)), x.clamp(-1, 1)),
    _special,
)
case(
    "special_values_compare",
    lambda x: (x > x.flip(0), x == x, x.isnan(), x.isinf(), x.isfinite(), torch.nan_to_num(x)),
    _special,
)
case("special_values_where", lambda x: torch.where(x.isnan(), 0.0, x).softmax(0), _special)
case("special_values_argmax", lambda x: (x.argmax(), x.argmin(), x.max(0).indices), _special)
case(
    "masked_softmax",
    lambda x, m: torch.where(torch.isnan(w := x.masked_fill(m, -INF).softmax(-1)), 0.0, w),
    rand(3, 4),
    torch.tensor([[True] * 4, [False] * 4, [True, False, True, False]]),
)
case(
    "floor_division",
    lambda x, y: (x // y, torch.div(x, y, rounding_mode="floor"), x % y),
    torch.tensor([1.0, -7.0, 5.5, 0.3]),
    torch.tensor([0.1, 2.0, -2.0, 0.1]),
)
case(
    "remainder_of_large_values",
    lambda x: (x % 3.0, torch.fmod(x, 3.0), torch.remainder(x, -7.0)),
    torch.tensor([1e10, -1e10, 123456.7, INF, -3.0]),
)
case(
    "remainder_of_integers",
    lambda x, y: (x % y, x // y, torch.fmod(x, y)),
    torch.tensor([7, -7, 7, -7, 0]),
    torch.tensor([3, 3, -3, -3, 5]),
)
case("half_round_trip", lambda x: (x.half().float(), x.bfloat16().float()), rand(40) * 1.3)
case("float_to_integers", lambda x: (x.to(torch.int32), x.to(torch.int8), x.to(torch.int64), x.bool()), rand(40) * 30)
case("integers_to_float", lambda x: (x.float(), x.double(), x.half(), x / 3), ints(40, low=-100, high=100))
case("integer_overflow", lambda x: (x * x, x + 100, -x), ints(40, low=-128, high=128, dtype=torch.int8))
case(
    "uint8_wraps",
    lambda x, y: (x - y, x + y, x * y, -x),
    ints(40, high=256, dtype=torch.uint8),
    ints(40, high=256, dtype=torch.uint8),
)
case("shifts", lambda x, n: (x << n, x >> n), ints(20, low=-50, high=50), ints(20, high=8))
case(
    "bitwise",
    lambda x, y: (x & y, x | y, x ^ y, ~x),
    ints(20, low=-50, high=50, dtype=torch.int32),
    ints(20, low=-50, high=50, dtype=torch.int32),
)
case("bitwise3", lambda x, y: (x & y, x | y, x ^ y, ~x), rand(20) > 0, rand(20) > 0)
case("integer_sums", lambda x: (x.sum(), x.sum(0), x.prod(1), x.cumsum(0)), ints(5, 4, dtype=torch.int32))
case(
    "uint8_sums",
    lambda x: (x.sum(), x.float().mean(), x.max(), x.sum(0, dtype=torch.uint8)),
    ints(50, 4, high=256, dtype=torch.uint8),
)
case("bool_sums", lambda x: (x.sum(), x.any(0), x.all(1), x.float().mean()), rand(5, 4) > 0)
case("integer_mean_type", lambda x: x.float().mean(0).to(torch.int16), ints(5, 4, dtype=torch.int16))
case(
    "bfloat16_chain",
    lambda x, y: (x * y + x) / (y.abs() + 1),
    rand(40, dtype=torch.bfloat16),
    rand(40, dtype=torch.bfloat16),
)
case(
    "float16_chain",
    lambda x, y: (x * y + x) / (y.abs() + 1),
    rand(40, dtype=torch.float16),
    rand(40, dtype=torch.float16),
)
case("bfloat16_softmax", lambda x: x.softmax(-1), rand(4, 300, dtype=torch.bfloat16))
case("float16_layer_norm", torch.nn.LayerNorm(40).half(), rand(4, 40, dtype=torch.float16))
case("bfloat16_matmul", lambda x, y: x @ y, rand(9, 17, dtype=torch.bfloat16), rand(17, 5, dtype=torch.bfloat16))
case("float64_matmul", lambda x, y: x @ y, rand(9, 17, dtype=torch.float64), rand(17, 5, dtype=torch.float64))
case("mixed_types", lambda x, y, z: x * y + z, ints(8, dtype=torch.int32), rand(8, dtype=torch.float16), rand(8))
case("scalar_types", lambda x: (x * 2, x * 2.5, x + True, x // 2, x**2), ints(8))
case("view_as_type", lambda x: x.view(torch.int32), rand(8))
case("view_dtype", lambda x: (x.view(torch.int16), x.view(torch.uint8)), rand(4, 8, dtype=torch.bfloat16))
case("float8_cast", lambda x: x.to(torch.float8_e4m3fn).float(), rand(40))
case("float8_e5m2_cast", lambda x: x.to(torch.float8_e5m2).float(), rand(40))
case(
    "runtime_checks_fp8",
    lambda a, b: a.float() + b.float(),
    rand(8, 8).to(torch.float8_e4m3fn),
    rand(8, 8).to(torch.float8_e5m2),
)
_floats8 = torch.arange(256, dtype=torch.uint8)


@model("float8_everywhere", rand(6, 33) * 100, _floats8.view(torch.float8_e4m3fn), _floats8.view(torch.float8_e5m2))
class Float8(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(rand(9, 33).to(torch.float8_e4m3fn), requires_grad=False)
        self.register_buffer("scale", torch.ones(9, 1).to(torch.float8_e5m2))

    def forward(self, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
        y = x @ (self.weight.float() * self.scale.float()).t()
        strided = a.view(16, 16).t()
        rounded = x.to(torch.float8_e4m3fn)
        return (
            *(
                y,
                rounded,
                x.to(torch.float8_e5m2),
                rounded.float(),
                a.bfloat16(),
                b.half(),
                strided,
                strided.contiguous(),
            ),
            *(a.clone(), torch.cat([a, rounded.view(-1)]), a.float().to(torch.float8_e5m2), b.view(torch.uint8)),
            *(
                a.double(),
                self.weight.t(),
                torch.where(a.float() > 1, a, rounded.view(-1)[:1]),
                b[3:40:5],
                a[b.float() > 9],
            ),
        )


_scaled = [_floats8[:96].view(torch.float8_e4m3fn).view(6, 16), _floats8[100:228].view(torch.float8_e4m3fn)]
_scaled[1] = _scaled[1].float().nan_to_num(1).to(torch.float8_e4m3fn).view(8, 16)
case(
    "scaled_mm",
    lambda a, b, s, t, bias: (
        torch._scaled_mm(a, b.t(), s, t, out_dtype=torch.bfloat16),
        torch._scaled_mm(a, b.t(), s, t, bias=bias, out_dtype=torch.float32),
    ),
    *_scaled,
    torch.tensor(0.5),
    torch.tensor(0.125),
    rand(8),
)
case(
    "logical",
    lambda x, y: (torch.logical_and(x, y), torch.logical_not(x), torch.logical_xor(x, y)),
    rand(8) > 0,
    ints(8, high=2),
)
_divided = [torch.ones(40), torch.tensor(2), torch.tensor(3)]
case(
    "division_by_numbers",
    lambda x, n, m: (x + 7 // n.item(), x * (-7 % n.item()), torch.full((9 // m.item(),), 1.0)),
    *_divided,
    more=[(torch.ones(40), torch.tensor(number), torch.tensor(2)) for number in (-3, -1, 1, 9)],
    refused=[
        ((torch.ones(40), torch.tensor(0), torch.tensor(2)), "ZeroDivisionError"),
        ((torch.ones(40), torch.tensor(2), torch.tensor(0)), "division by zero"),
    ],
)
case("pow_of_integers", lambda x: (x**0, x**1, x**3), ints(8, low=-5, high=5))
case("pow_of_floats", lambda x, y: (x**y, x**0.5, 2.0**x, x**-1), rand(8).abs() + 0.1, rand(8))
case("sign_of_zero", lambda x: (1 / x, -x, x.abs(), torch.copysign(torch.ones_like(x), x)), torch.tensor([0.0, -0.0]))
case("cumulative", lambda x: (x.cumsum(1), x.cumprod(1), x.logcumsumexp(1), x.cummax(1).values), rand(3, 7))
case(
    "reduction_with_nan",
    lambda x: (x.nansum(), x.nanmean(), torch.nanquantile(x, 0.5)),
    torch.tensor([1.0, NAN, 3.0, 4.0]),
)
case("var_mean", lambda x: (*torch.var_mean(x, dim=1), x.std(0, correction=0)), rand(5, 20))
case("empty_reduction", lambda x: (x.sum(0), x.prod(0), x.mean(0)), rand(0, 3))
case("large_sum", lambda x: x.sum(), rand(100_000))
case(
    "arange_types", lambda x: (torch.arange(5), torch.arange(0, 1, 0.1), torch.arange(5, dtype=torch.float16)), rand(1)
)


_complex = torch.complex(rand(60) * 3, rand(60) * 3)
_complex[:20] *= 1e-3
for _type in (torch.complex64, torch.complex128):
    case(
        f"functions_of_{str(_type).removeprefix('torch.')}",
        lambda z, w: (
            *(z.acos(), z.acosh(), z.asin(), z.asinh(), z.atan(), z.atanh(), z.cosh(), z.sinh(), z.tan(), z.tanh()),
            *(z.log1p(), z.log2(), z.log10(), z.expm1(), z.rsqrt(), z.sigmoid(), z.log(), z.sqrt(), (z * 30).tanh()),
            *(torch.addcdiv(z, z, w, value=2), torch.addcmul(z, z, w, value=0.5), z.diff(), z.neg().sqrt()),
            *(torch.diagonal_scatter(z.view(6, 10), w[:6]), z.view(6, 10).diagonal(), w.clone().copy_(z)),
            *(torch.select_scatter(z.view(6, 10), w[:6], 1, -2), torch.slice_scatter(z, w[:3], 0, 4, 10, 2)),
        ),
        _complex.to(_type),
        torch.complex(rand(60), rand(60)).to(_type),
    )
case(
    "diff_and_diagonals",
    lambda x, b, i: (
        *(x.diff(), b.diff(), i.diff(), torch.diagonal_scatter(x.view(4, 5), x[:4]), b.view(4, 5).diagonal()),
        *(torch.diagonal_scatter(b.view(4, 5), b[:4]), x.clone().copy_(i), torch.diff(x.view(4, 5), 2, 0)),
    ),
    rand(20, dtype=torch.bfloat16),
    rand(20) > 0,
    ints(20),
)
