"""Linear layers with quantized weights, in the place of a module's own: what QUANTIZE asks for.

Weights are symmetric: a whole number, or a float8, times a scale. Of int8 and float8 a row has one scale; of int4 each
group of a row has one.
"""

from __future__ import annotations

# PyTorch declares no types of these.
# mypy: disable-error-code="no-untyped-call"
import copy
import functools
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn import functional

from aotbuild.spec import precision
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.quantize import BLOCK, GROUPS, Quantize

_FLOAT8 = torch.float8_e4m3fn
_MOST_INT8 = 127
_MOST_FLOAT8 = 448.0
_CACHED = 1 << 16
# Shares of a group's greatest value that are tried as what the most negative number of four bits stands for.
_SHARES = tuple(1 - step / 20 for step in range(7))

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define("dequantize(Tensor weight, Tensor scale, int bits) -> Tensor")
_library.define("scaled_product(Tensor rows, Tensor row_scale, Tensor weight, Tensor scale) -> Tensor")


def dequantized(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """``weight`` [N, K] of int8 or float8 times ``scale`` [N, groups of a row], in the scale's type.

    ``bits``: 4 where all values are from -8 to 7, else 8.
    """
    wide = torch.promote_types(scale.dtype, torch.float32)
    values: Tensor = weight.to(wide).unflatten(1, (scale.shape[1], -1)) * scale.to(wide).unsqueeze(2)
    return values.flatten(1).to(scale.dtype)


def _scaled_product(rows: Tensor, row_scale: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """``rows`` [M, K] @ ``weight`` [N, K].T, both int8 or both float8, times ``row_scale`` [M, 1] and ``scale`` [N, 1].

    Returns [M, N] in the scales' type. Sums of int8 are exact.
    """
    wide = torch.promote_types(scale.dtype, torch.float32)
    if weight.dtype == torch.int8 and rows.dtype == torch.int8:
        sums = (rows.double() @ weight.double().t()).to(wide)  # exact; products of integers have no fast kernel
    else:
        sums = rows.to(wide) @ weight.to(wide).t()
    return (sums * row_scale.to(wide) * scale.to(wide).t()).to(scale.dtype)


def _dequantize_meta(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    return weight.new_empty(weight.shape, dtype=scale.dtype)


def _scaled_product_meta(rows: Tensor, row_scale: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return rows.new_empty((rows.shape[0], weight.shape[0]), dtype=scale.dtype)


_library.impl("dequantize", dequantized, "CompositeExplicitAutograd")
_library.impl("scaled_product", _scaled_product, "CompositeExplicitAutograd")
torch.library.register_fake("aotbuild::dequantize", _dequantize_meta, lib=_library)
torch.library.register_fake("aotbuild::scaled_product", _scaled_product_meta, lib=_library)


class QuantizedLinear(nn.Module):
    """A linear layer whose ``weight`` [N, K] is int8 or float8, with ``weight_scale`` [N, groups] of the layer's type.

    Args:
        layer: whose values it takes; its bias stays as it is.
    """

    weight: Tensor
    weight_scale: Tensor

    def __init__(self, layer: nn.Linear, quantize: Quantize) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bits = 4 if quantize.type == "int4" else 8
        self.dynamic = quantize.dynamic
        self.stored_type = torch.int8 if quantize.type != "float8" else _FLOAT8
        weight, scale = quantized(layer.weight.detach(), quantize.type)
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.bias = layer.bias

    def forward(self, input: Tensor) -> Tensor:
        if not self.dynamic:
            weight = torch.ops.aotbuild.dequantize(self.weight, self.weight_scale, self.bits)
            return functional.linear(input, weight, self.bias)
        # Layers of one input quantize it alike, so that is done once.
        rows, row_scale = quantized_rows(input, self.stored_type)
        flat = rows.reshape(-1, self.in_features), row_scale.reshape(-1, 1)
        product: Tensor = torch.ops.aotbuild.scaled_product(*flat, self.weight, self.weight_scale)
        result = product.view(*input.shape[:-1], self.out_features)
        return result if self.bias is None else result + self.bias


def quantized(weight: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """``weight`` [N, K] in int8, float8 or numbers of four bits, and its scales [N, groups] in its own type.

    The scales are rounded to their type before values are made of them. Of int4 the scale is the one of some that errs
    least, by the sum of squares.
    """
    if name != "int4":
        most = _MOST_INT8 if name == "int8" else _MOST_FLOAT8
        wide = weight.float()
        scale = _positive(wide.abs().amax(1, keepdim=True) / most, weight.dtype)
        return _values(wide / scale.float(), torch.int8 if name == "int8" else _FLOAT8), scale
    group = next(size for size in GROUPS if weight.shape[1] % size == 0)
    # A thread has as many rows at a time as stay in its cache; PyTorch's own threads would meet after each operation.
    parts = weight.split(max(1, _CACHED // weight.shape[1]))
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        values, scales = zip(*pool.map(functools.partial(_four_bits, group), parts))
    return torch.cat(values), torch.cat(scales)


def _four_bits(group: int, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Values [N, K], and the scales [N, K / group] in the weight's type."""
    groups, dtype = weight.float().unflatten(1, (-1, group)), weight.dtype
    greatest = groups.abs().amax(2, keepdim=True)
    # The scale has the sign that makes -8 of the greatest value: there is no 8.
    signed = torch.where(groups.amax(2, keepdim=True) == greatest, -greatest, greatest)
    best = torch.full_like(greatest, torch.inf)
    scales = torch.zeros_like(greatest)
    for share in _SHARES:
        scale = _nonzero(signed * (share / 8), dtype).float()
        difference = (groups / scale).round_().clamp_(-8, 7).mul_(scale).sub_(groups)
        error = difference.square_().sum(2, keepdim=True)
        scales = torch.where(error < best, scale, scales)
        best = torch.minimum(error, best)
    values = (groups / scales).round_().clamp_(-8, 7)
    return values.flatten(1).to(torch.int8), scales.squeeze(2).to(dtype)


def quantized_rows(rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``rows`` [..., K] in int8 or float8, and the scale [..., 1] of each in the rows' type."""
    wide = rows if rows.dtype == torch.float64 else rows.float()
    most = _MOST_INT8 if dtype == torch.int8 else _MOST_FLOAT8
    scale = _positive(wide.abs().amax(-1, keepdim=True) / most, rows.dtype)
    return _values(wide / scale.to(wide.dtype), dtype), scale


def _values(quotient: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.int8:
        return quotient.round().clamp(-_MOST_INT8, _MOST_INT8).to(dtype)
    return quotient.clamp(-_MOST_FLOAT8, _MOST_FLOAT8).to(dtype)


def _positive(scale: Tensor, dtype: torch.dtype) -> Tensor:
    """In a type, which it is never zero in: a row of zeros has a scale too."""
    return scale.to(dtype).clamp_min(torch.finfo(dtype).smallest_normal)


def _nonzero(scale: Tensor, dtype: torch.dtype) -> Tensor:
    rounded, least = scale.to(dtype), torch.finfo(dtype).smallest_normal
    return torch.where(rounded.abs() < least, least, rounded)


def quantize_layers(module: nn.Module, quantize: Quantize, target: str) -> tuple[nn.Module, list[str]]:
    """A copy of the module, over the same tensors, with quantized linear layers in the place of its own.

    Returns:
        The copy, and the names of layers whose sizes do not suit, which keep their type.

    Raises:
        AotbuildError: the module has no linear layer, or ``EXCEPT`` names none of its modules.
    """
    names = [f"{name}.weight" for name, part in module.named_modules() if type(part) is nn.Linear]
    unknown = precision.unknown_module(quantize.excepted, [*dict(module.named_parameters()), *names])
    if unknown:
        raise AotbuildError(f"{target}: {quantize.text} {unknown}")
    held = [*module.parameters(), *module.buffers()]
    module = copy.deepcopy(module, {id(tensor): tensor for tensor in held})
    made: dict[nn.Module, QuantizedLinear] = {}
    left = []
    for name, part in list(module.named_modules(remove_duplicate=False)):
        if type(part) is not nn.Linear or not _is_meant(f"{name}.weight", part, quantize):
            continue
        if all(part.in_features % size for size in (GROUPS if quantize.type == "int4" else (BLOCK,))):
            left.append(name)
            continue
        if part not in made:
            made[part] = QuantizedLinear(part, quantize).train(part.training)
        if not name:
            return made[part], []
        holder, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(holder), attribute, made[part])
    if not made:
        raise AotbuildError(
            f"{target}: {quantize.text} finds no torch.nn.Linear to quantize, of a floating-point type with rows of a "
            f"multiple of {GROUPS[-1] if quantize.type == 'int4' else BLOCK} values; leave it out, or quantize the "
            "module in the model file"
        )
    for part in module.modules():
        if isinstance(part, nn.TransformerEncoderLayer) and isinstance(part.linear1, QuantizedLinear):
            part.activation_relu_or_gelu = 0  # else eager PyTorch hands its layers' weights to one operator
    return module, left


def _is_meant(weight: str, layer: nn.Linear, quantize: Quantize) -> bool:
    if any(precision.matches(entry, precision.modules_of(weight)) for entry in quantize.excepted):
        return False
    return layer.weight.dtype in (torch.float32, torch.float16, torch.bfloat16)
