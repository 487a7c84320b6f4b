"""Operators of PyTorch's own quantization, in arithmetic that gives eager's values."""

# ruff: noqa: N803 - parameters have the names that the operators give them

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aotbuild.capture import quantized_layers

aten = torch.ops.aten
quantized = torch.ops._quantized


# --- values as a quantized type would hold them


def _fake_quantized(
    self: Tensor, scale: float, zero_point: int, quant_min: int, quant_max: int
) -> tuple[Tensor, Tensor]:
    """With one scale. Of NaN the least value is made, as in eager PyTorch."""
    return _with_scale(self, torch.full((), scale, device=self.device), zero_point, quant_min, quant_max)


def _with_scale(
    self: Tensor, scale: Tensor, zero_point: int | Tensor, quant_min: int, quant_max: int
) -> tuple[Tensor, Tensor]:
    """``scale``: float32, of no dimension. The second result: which values are not beyond the type's range."""
    value = self if self.dtype == torch.float64 else self.float()
    place = (value * scale.reciprocal()).round() + zero_point
    inside = (place >= quant_min) & (place <= quant_max)
    whole = torch.where(place.isnan(), quant_min, place.clamp(quant_min, quant_max))
    return ((whole - zero_point).float() * scale).to(self.dtype), inside


def _with_tensors(
    self: Tensor, scale: Tensor, zero_point: Tensor, fake_quant_enabled: Tensor, quant_min: int, quant_max: int
) -> tuple[Tensor, Tensor]:
    """With scale, zero point and whether there is anything to do in tensors of one element."""
    zero = zero_point.reshape(()).to(torch.int64).float()
    values, inside = _with_scale(self, scale.reshape(()).float(), zero, quant_min, quant_max)
    enabled = fake_quant_enabled.reshape(()) >= 1
    return torch.where(enabled, values, self), torch.where(enabled, inside, True)


# Beyond these, eager's conversion to int64 has no value; on x86-64 the least of all comes of it.
_LIMIT = 2.0**63


def _with_channels(
    self: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int
) -> tuple[Tensor, Tensor]:
    """With a scale and a zero point for each index of a dimension; zero points that are no integers are added first."""
    shape = [1] * self.dim()
    shape[axis] = -1
    scale, zero = scale.reshape(shape).float(), zero_point.reshape(shape)
    value = (self if self.dtype == torch.float64 else self.float()) * scale.reciprocal()
    if zero.dtype.is_floating_point:
        zero = zero if zero.dtype == torch.float64 else zero.float()
        place = (value + zero).round()
    else:
        zero = zero.float()
        place = value.round() + zero
    inside = (place >= quant_min) & (place <= quant_max)
    whole = torch.where(place.abs() < _LIMIT, place.clamp(quant_min, quant_max), quant_min)
    return ((whole.double() - zero) * scale.double()).to(self.dtype), inside


# --- linear layers. What packs a weight hands on the weight itself, for the layer that reads it.


def _packed_short(W: Tensor) -> Tensor:
    """The weight [N, K] with float16's precision and range."""
    limit = torch.finfo(torch.float16).max
    return W.clamp(-limit, limit).half().float()


def _short_linear(X: Tensor, W: Tensor, B: Tensor, out_channel: int) -> Any:
    if W.dim() != 2 or W.dtype != torch.float32:  # packed outside of the model, in a form of the library's own
        return NotImplemented
    return torch.nn.functional.linear(X, W, B)


def _whole(x: Tensor, scale: Tensor, zero_point: Tensor, least: int, most: int) -> Tensor:
    return ((x * scale.reciprocal()).round() + zero_point).clamp(least, most)


def _packed_bytes(W: Tensor, W_scale: Tensor, W_zero_point: Tensor, B: Tensor) -> Tensor:
    """[N, K + 2]: the weight in whole numbers without its zero point; its scale, and the bias."""
    scale, zero = W_scale.reshape(()).float(), W_zero_point.reshape(()).float()
    weight = _whole(W, scale, zero, -128, 127) - zero
    return torch.cat([weight, scale.expand(W.shape[0], 1), B.unsqueeze(1)], 1)


def _bytes_linear(
    X: Tensor,
    X_scale: Tensor,
    X_zero_point: Tensor,
    W_prepack: Tensor,
    output_scale: Tensor,
    output_zero_point: Tensor,
    out_channel: int,
) -> Any:
    """Sums of products of whole numbers are exact; the result is rounded to a byte and scaled back."""
    if W_prepack.dim() != 2 or W_prepack.dtype != torch.float32:
        return NotImplemented
    weight, weight_scale, bias = W_prepack[:, :-2], W_prepack[0, -2], W_prepack[:, -1]
    scale, zero = X_scale.reshape(()).float(), X_zero_point.reshape(()).float()
    out_scale, out_zero = output_scale.reshape(()).float(), output_zero_point.reshape(()).float()
    source = _whole(X, scale, zero, 0, 255) - zero
    total = torch.matmul(source.to(torch.int32), weight.to(torch.int32).t()).float()
    of_products = scale * weight_scale
    result = ((total + bias / of_products) * (of_products / out_scale)).round() + out_zero
    return (result.clamp(0, 255) - out_zero) * out_scale


def _int4_linear(self: Tensor, mat2: Tensor, qGroupSize: int, qScaleAndZeros: Tensor) -> Any:
    """[M, K] times a weight [N, K] of 4 bits, each group along K with a scale and what is added: [K / group, N, 2]."""
    rows, inner = mat2.shape[0], mat2.shape[1] * 2
    whole = _unpacked_int4(mat2).float().reshape(rows, inner // qGroupSize, qGroupSize) - 8
    scales, added = (part.float().t().unsqueeze(2) for part in qScaleAndZeros.unbind(2))
    weight = (whole * scales + added).reshape(rows, inner)
    return torch.mm(self.float(), weight.t()).to(self.dtype)


def _unpacked_int4(packed: Tensor) -> Tensor:
    """[N, K] of ``_convert_weight_to_int4pack_for_cpu``'s uint8 [N, K / 2].

    It takes as many rows together as the processor's vectors hold, so the packed weight is of the processor that packed
    it, which is the one that exports the model.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    rows, inner = packed.shape[0], packed.shape[1] * 2
    block = 64 if capability == "AVX512" else 32
    parts, flat = [], packed.reshape(-1)
    for begin in range(0, rows, block):
        count = min(block, rows - begin)
        pairs = flat[begin * inner // 2 : (begin + count) * inner // 2].reshape(inner, count // 2)
        low, high = pairs & 15, pairs >> 4
        if count == block and capability in ("AVX512", "AVX2"):
            parts.append(torch.cat([low, high], 1))
        else:
            parts.append(torch.stack([low, high], 2).reshape(inner, count))
    return torch.cat(parts, 1).t()


# --- floating-point numbers of 8 bits


def _scaled_product(
    self: Tensor,
    mat2: Tensor,
    scale_a: Tensor,
    scale_b: Tensor,
    bias: Tensor | None = None,
    scale_result: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    use_fast_accum: bool = False,
) -> Any:
    """[M, K] @ [K, N] of float8, each with one scale or one for each row or column, summed in float32."""
    if self.device.type != "cpu" or scale_result is not None:
        return NotImplemented
    result = torch.mm(self.float() * scale_a, mat2.float() * scale_b)
    return (result if bias is None else result + bias).to(out_dtype or self.dtype)


def _chosen(condition: Tensor, self: Tensor, other: Tensor) -> Any:
    """Of float8 the bytes: TorchInductor's own has no type for both of them."""
    if self.dtype != other.dtype or self.dtype not in (torch.float8_e4m3fn, torch.float8_e5m2):
        return NotImplemented
    return torch.where(condition, self.view(torch.uint8), other.view(torch.uint8)).view(self.dtype)


# --- layers that QUANTIZE made


def _product_of_quantized(rows: Tensor, row_scale: Tensor, weight: Tensor, scale: Tensor) -> Any:
    if rows.dtype != torch.int8:
        return NotImplemented
    wide = torch.promote_types(scale.dtype, torch.float32)
    sums = torch._int_mm(rows, weight.t()).to(wide)
    return (sums * row_scale.to(wide) * scale.to(wide).t()).to(scale.dtype)


TABLE: dict[Any, Callable[..., Any]] = {
    torch.ops.aotbuild.dequantize.default: quantized_layers.dequantized,
    torch.ops.aotbuild.scaled_product.default: _product_of_quantized,
    aten.fake_quantize_per_tensor_affine_cachemask.default: _fake_quantized,
    aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default: _with_tensors,
    aten.fake_quantize_per_channel_affine_cachemask.default: _with_channels,
    aten._weight_int4pack_mm_for_cpu.default: _int4_linear,
    aten._scaled_mm.default: _scaled_product,
    aten.where.self: _chosen,
    quantized.wrapped_fbgemm_pack_gemm_matrix_fp16.default: _packed_short,
    quantized.wrapped_fbgemm_linear_fp16_weight.default: _short_linear,
    quantized._wrapped_linear_prepack.default: _packed_bytes,
    quantized._wrapped_quantized_linear_prepacked.default: _bytes_linear,
}
