"""Joining the methods of a model: one list of weights and of layers, and each method's numbers for them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from aotbuild.spec.identifiers import distinct
from aotbuild.spec.program import (
    BatchNorm,
    Convolution,
    GoldenCase,
    Linear,
    Method,
    Mlp,
    Numbering,
    QuantizedLinear,
    Recurrent,
    Signature,
    Variant,
    Weight,
    weight_names,
)

Layer = TypeVar("Layer")


@dataclass(frozen=True)
class LoweredMethod:
    """One method as lowering left it: weights and layers have the numbers of its own code.

    ``derived``: what its code derives from weights; what has the same text in two methods is the same.
    """

    name: str
    signature: Signature
    golden: tuple[GoldenCase, ...]
    variants: tuple[Variant, ...]
    weights: tuple[Weight, ...]
    linears: tuple[Linear, ...] = ()
    mlps: tuple[Mlp, ...] = ()
    convolutions: tuple[Convolution, ...] = ()
    derived: tuple[str, ...] = ()
    quantized: tuple[QuantizedLinear, ...] = ()
    recurrent: tuple[Recurrent, ...] = ()


@dataclass(frozen=True)
class Joined:
    """All methods over one list of each."""

    methods: tuple[Method, ...]
    weights: tuple[Weight, ...]
    linears: tuple[Linear, ...]
    mlps: tuple[Mlp, ...]
    convolutions: tuple[Convolution, ...]
    quantized: tuple[QuantizedLinear, ...]
    recurrent: tuple[Recurrent, ...]


def join(parts: Sequence[LoweredMethod]) -> Joined:
    """Each weight once, by its name in the ``state_dict``, constants by their values; each layer over them once."""
    weights: list[Weight] = []
    linears = _Layers[Linear]()
    mlps = _Layers[Mlp]()
    convolutions = _Layers[Convolution](lambda layer: replace(layer, input_hint=()))
    all_numbers = [tuple(_add_weight(weights, weight, part.name) for weight in part.weights) for part in parts]
    texts = dict.fromkeys(text for part in parts for text in part.derived)
    derived = {text: len(weights) + position for position, text in enumerate(texts)}
    quantized = _Layers[QuantizedLinear]()
    recurrent = _Layers[Recurrent]()
    methods = []
    for part, numbers in zip(parts, all_numbers, strict=True):
        numbering = Numbering(
            (*numbers, *(derived[text] for text in part.derived)),
            tuple(linears.add(_renumber_linear(linear, numbers)) for linear in part.linears),
            tuple(
                mlps.add(Mlp(_renumber_linear(mlp.first, numbers), _renumber_linear(mlp.second, numbers)))
                for mlp in part.mlps
            ),
            tuple(convolutions.add(_renumber_convolution(layer, numbers)) for layer in part.convolutions),
            tuple(quantized.add(_renumber_quantized(layer, numbers)) for layer in part.quantized),
            tuple(recurrent.add(_renumber_recurrent(layer, numbers)) for layer in part.recurrent),
        )
        methods.append(Method(part.name, part.signature, part.variants, part.golden, numbering))
    return Joined(
        tuple(methods),
        tuple(weights),
        tuple(linears.all),
        tuple(mlps.all),
        tuple(convolutions.all),
        tuple(quantized.all),
        tuple(recurrent.all),
    )


def _add_weight(weights: list[Weight], weight: Weight, method: str) -> int:
    """The index of ``weight`` in the list, to which it is added if it is not there."""
    names = {weight.name, *weight.aliases}
    for index, known in enumerate(weights):
        if weight.required or weight.mutated:
            same = names & {known.name, *known.aliases} and (known.required or known.mutated)
        else:
            same = not known.required and not known.mutated and _equal(known, weight)
        if same:
            assert known.mutated == weight.mutated, f"{weight.name} is state of one method and a constant of another"
            aliases = tuple(dict.fromkeys((*known.aliases, weight.name, *weight.aliases)))
            if known.required:
                # A method that does not read a weight of four bits has left it as it was.
                tensor = weight.tensor if weight.tensor.data.nbytes < known.tensor.data.nbytes else known.tensor
                rest = tuple(name for name in aliases if name != known.name)
                weights[index] = replace(known, tensor=tensor, aliases=rest)
            return index
    # Constants are named by each lowering, and give way.
    taken = weight_names(weights)
    if weight.name in taken and not weight.required:
        weight = replace(weight, name=distinct(f"{method}.{weight.name}", taken))
    for index, known in enumerate(weights):
        if known.name == weight.name:
            weights[index] = replace(known, name=distinct(f"{known.name}_", taken))
    weights.append(weight)
    return len(weights) - 1


def _equal(a: Weight, b: Weight) -> bool:
    same_kind = (a.tensor.dtype, a.tensor.shape) == (b.tensor.dtype, b.tensor.shape)
    return same_kind and np.array_equal(a.tensor.data, b.tensor.data)


class _Layers(Generic[Layer]):
    """Layers without repetition; two are the same when their ``key`` is, and the first one stays."""

    def __init__(self, key: Callable[[Layer], Hashable] = lambda layer: layer) -> None:
        self.all: list[Layer] = []
        self._key = key
        self._indices: dict[Hashable, int] = {}

    def add(self, layer: Layer) -> int:
        index = self._indices.setdefault(self._key(layer), len(self.all))
        if index == len(self.all):
            self.all.append(layer)
        return index


def _renumber_linear(linear: Linear, numbers: Sequence[int]) -> Linear:
    biases = tuple(None if bias is None else numbers[bias] for bias in linear.biases)
    return replace(linear, weights=tuple(numbers[weight] for weight in linear.weights), biases=biases)


def _renumber_quantized(layer: QuantizedLinear, numbers: Sequence[int]) -> QuantizedLinear:
    scale, zero_point = (None if index is None else numbers[index] for index in (layer.scale, layer.zero_point))
    return replace(layer, weight=numbers[layer.weight], scale=scale, zero_point=zero_point)


def _renumber_recurrent(layer: Recurrent, numbers: Sequence[int]) -> Recurrent:
    return replace(layer, weights=tuple(numbers[weight] for weight in layer.weights))


def _renumber_convolution(layer: Convolution, numbers: Sequence[int]) -> Convolution:
    def renumber(index: Any) -> Any:
        return None if index is None else numbers[index]

    norm = layer.norm
    if norm is not None:
        parts = (renumber(norm.mean), renumber(norm.variance), renumber(norm.weight), renumber(norm.bias))
        norm = BatchNorm(*parts, norm.epsilon)
    return replace(layer, weight=numbers[layer.weight], bias=renumber(layer.bias), norm=norm)
