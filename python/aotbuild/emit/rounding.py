"""Weights in the type of PRECISION: those that layers of it alone read are stored in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from aotbuild.emit.weights import read_weights
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import CompiledModel, Linear, TensorData, Weight


def rounded(model: CompiledModel) -> CompiledModel:
    """The model with such weights converted.

    Raises:
        AotbuildError: a value of a weight is beyond the range of float16.
    """
    types = _types(model)
    if not types:
        return model
    weights = [
        _rounded(weight, types[index]) if index in types else weight for index, weight in enumerate(model.weights)
    ]
    return replace(model, weights=tuple(weights))


def _types(model: CompiledModel) -> dict[int, str]:
    """The weights that are stored in another type than their own; biases are not."""
    wanted: dict[int, set[str]] = {}
    others: set[int | None] = set(read_weights(model))
    for linear in _linears(model):
        others.update(linear.biases)
        for weight in linear.weights:
            wanted.setdefault(weight, set()).add(linear.precision)
    for convolution in model.convolutions:
        wanted.setdefault(convolution.weight, set()).add(convolution.precision)
        others.add(convolution.bias)
        if convolution.norm is not None:
            norm = convolution.norm
            others.update((norm.mean, norm.variance, norm.weight, norm.bias))
    for layer in model.quantized:
        others.update((layer.weight, layer.scale, layer.zero_point))
    for recurrent in model.recurrent:
        others.update(recurrent.weights)
    return {
        index: next(iter(types))
        for index, types in wanted.items()
        if len(types) == 1 and types != {""} and index not in others and not model.weights[index].mutated
    }


def _linears(model: CompiledModel) -> Iterator[Linear]:
    yield from model.linears
    for mlp in model.mlps:
        yield from (mlp.first, mlp.second)


def _rounded(weight: Weight, dtype: str) -> Weight:
    tensor = weight.tensor
    if tensor.dtype != "float32":
        return weight
    values = tensor.data.view(np.float32)
    halves = _bfloat16(values) if dtype == "bfloat16" else _float16(values, weight.name)
    return replace(weight, tensor=TensorData(dtype, tensor.shape, halves.view(np.uint8)), rounded=True)


def _bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The nearest of each, ties to even."""
    words = values.view(np.uint32)
    nearest = (words + 0x7FFF + (words >> 16 & 1)) >> 16
    return np.where(np.isnan(values), np.uint32(0x7FC0), nearest).astype(np.uint16)


def _float16(values: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    beyond = values[np.isinf(halves) & np.isfinite(values)]
    if beyond.size:
        module = name.rpartition(".")[0]
        raise AotbuildError(
            f"PRECISION float16: weight {name!r} has the value {beyond[0]:g}, and float16 ends at 65504; use PRECISION "
            f"bfloat16, or leave the layer out: EXCEPT {module or name}"
        )
    return halves
