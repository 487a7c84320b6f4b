"""Where weights go: the embedded blob with its layout, or the safetensors file beside the library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aotbuild.emit import safetensors
from aotbuild.spec import packing
from aotbuild.spec.program import CompiledModel, EmitOptions, Linear, Method, TensorData, Weight

_ALIGNMENT = 64

# How much larger a packed matrix may get by the zeros that fill its panels.
_MAX_GROWTH = 1.25


@dataclass(frozen=True)
class _Matrix:
    """[K, N] of a packed layer: columns are the rows of its weights [N_i, K], one after another, or their columns."""

    rows: int
    columns: int
    weights: tuple[int, ...]
    transposed: bool

    @property
    def nbytes(self) -> int:
        rows, columns = packing.padded(self.rows, self.columns)
        return 4 * rows * columns


@dataclass(frozen=True)
class PackedMatrix:
    """``PackedMatrix`` of detail/spec.h."""

    offset: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Blob:
    """The embedded blob, each entry at a multiple of 64 bytes: weights by their indices, then matrices of layers.

    ``packed_weights``: those that the matrices hold, and that have no place of their own. ``zeros``: state that begins
    as zeros, which is stored nowhere.
    """

    offsets: dict[int, int]
    packed: tuple[PackedMatrix, ...]
    packed_weights: frozenset[int]
    zeros: frozenset[int]
    size: int


def layout(model: CompiledModel, options: EmitOptions) -> Blob:
    """The layout of the embedded blob: it depends on the sizes alone, so new values change no source file."""
    matrices = _matrices(model, options)
    packed_weights = frozenset(weight for matrix in matrices for weight in matrix.weights)
    zeros, four_bits = _zeros(model), four_bit_weights(model)
    offsets: dict[int, int] = {}
    end = 0
    for index, weight in enumerate(model.weights):
        if index in packed_weights or index in zeros or not _is_embedded(weight, options):
            continue
        offsets[index] = end + -end % _ALIGNMENT
        end = offsets[index] + stored(weight, index in four_bits).data.nbytes
    packed = []
    for matrix in matrices:
        packed.append(PackedMatrix(end + -end % _ALIGNMENT, matrix.rows, matrix.columns))
        end = packed[-1].offset + matrix.nbytes
    return Blob(offsets, tuple(packed), packed_weights, zeros, end)


def _zeros(model: CompiledModel) -> frozenset[int]:
    """State that begins as zeros, such as the cache of a decoder. What a checkpoint may have is not among it."""
    return frozenset(
        index
        for index, weight in enumerate(model.weights)
        if weight.mutated and not weight.required and not any(one.tensor.data.any() for one in _of_ranks(model, index))
    )


def _of_ranks(model: CompiledModel, index: int) -> list[Weight]:
    return [weights[index] for weights in model.ranks or (model.weights,)]


def blob(model: CompiledModel, options: EmitOptions) -> bytes:
    """The bytes of ``layout``, the gaps zero."""
    placed, four_bits = layout(model, options), four_bit_weights(model)
    parts: list[bytes | memoryview] = []
    end = 0

    def add(offset: int, part: bytes | memoryview) -> None:
        nonlocal end
        parts.extend((bytes(offset - end), part))
        end = offset + len(part)

    for index, offset in placed.offsets.items():
        add(offset, stored(model.weights[index], index in four_bits).data.data)
    for matrix, entry in zip(_matrices(model, options), placed.packed, strict=True):
        add(entry.offset, _pack(matrix, model.weights))
    assert end == placed.size
    return b"".join(parts)


def files(model: CompiledModel) -> list[bytes]:
    """The safetensors file of the weights, by their names in the ``state_dict``; with WORLD_SIZE that of each rank."""
    zeros, four_bits = _zeros(model), four_bit_weights(model)
    return [
        safetensors.encode(
            (w.name, stored(w, index in four_bits)) for index, w in enumerate(weights) if index not in zeros
        )
        for weights in model.ranks or (model.weights,)
    ]


# --- weights of four bits


def four_bit_weights(model: CompiledModel) -> frozenset[int]:
    """The weights that are stored two values to a byte: only layers over four bits read them."""
    layers = {bits: {layer.weight for layer in model.quantized if layer.bits == bits} for bits in (4, 8)}
    others = {weight for linear in model.linears for weight in linear.weights}
    read = read_weights(model)
    return frozenset(
        index
        for index in layers[4] - layers[8] - others - read
        if all(_has_four_bits(weight.tensor) for weight in _of_ranks(model, index))
    )


def _has_four_bits(tensor: TensorData) -> bool:
    values = tensor.data.view(np.int8)
    return bool(((values >= -8) & (values <= 7)).all())


def stored(weight: Weight, has_four_bits: bool) -> TensorData:
    """A weight as the library or its weights file has it (``WeightSpec::four_bits`` of detail/spec.h)."""
    return packing.with_four_bits(weight.tensor) if has_four_bits else weight.tensor


def _is_embedded(weight: Weight, options: EmitOptions) -> bool:
    """With EXTERNAL weights the library holds the constants that no ``state_dict`` has."""
    return options.weights == "embed" or (options.weights == "external" and not weight.required)


# --- packed layers


def _matrices(model: CompiledModel, options: EmitOptions) -> list[_Matrix]:
    """The matrices that the runtime would pack when it loads the embedded weights, in its order."""
    if options.weights != "embed":
        return []
    uses = Counter(weight for linear in model.linears for weight in linear.weights)
    uses.update(mlp.first.weights[0] for mlp in model.mlps)
    uses.update(mlp.second.weights[0] for mlp in model.mlps)
    # What other code reads has to lie as PyTorch has it.
    read = read_weights(model)
    for convolution in model.convolutions:
        read.add(convolution.weight)
    for recurrent in model.recurrent:
        read.update(recurrent.weights)

    def is_packable(index: int) -> bool:
        weight = model.weights[index]
        return (
            uses[index] == 1
            and index not in read
            and weight.tensor.dtype == "float32"
            and weight.required
            and not weight.mutated
        )

    layers = [(linear,) for linear in model.linears] + [(mlp.first, mlp.second) for mlp in model.mlps]
    result = []
    for layer in layers:
        if any(linear.precision for linear in layer):
            continue
        matrices = [_matrix(model, linear) for linear in layer]
        dense = 4 * sum(matrix.rows * matrix.columns for matrix in matrices)
        fits = sum(matrix.nbytes for matrix in matrices) <= _MAX_GROWTH * dense
        if dense and fits and all(is_packable(weight) for matrix in matrices for weight in matrix.weights):
            result += matrices
    return result


def read_weights(model: CompiledModel) -> set[int]:
    """The weights that the code of the methods reads itself, by the model's numbers."""
    return {index for method in model.methods for index in _read_weights(method)}


def _read_weights(method: Method) -> set[int]:
    found = {index for variant in method.variants for index in variant.read_weights}
    return found if method.numbering is None else {method.numbering.weights[index] for index in found}


def _matrix(model: CompiledModel, linear: Linear) -> _Matrix:
    shapes = [model.weights[weight].tensor.shape for weight in linear.weights]
    columns = 1 if linear.transposed else 0
    return _Matrix(shapes[0][1 - columns], sum(shape[columns] for shape in shapes), linear.weights, linear.transposed)


def _pack(matrix: _Matrix, weights: Sequence[Weight]) -> bytes:
    rows, columns = packing.padded(matrix.rows, matrix.columns)
    padded: npt.NDArray[np.float32] = np.zeros((rows, columns), np.float32)
    begin = 0
    for weight in matrix.weights:
        tensor = weights[weight].tensor
        values = tensor.data.view(np.float32).reshape(tensor.shape)
        part: npt.NDArray[np.float32] = values if matrix.transposed else values.T
        end = begin + part.size // matrix.rows
        padded[: matrix.rows, begin:end] = part
        begin = end
    panels = padded.reshape(rows, columns // packing.PANEL_COLUMNS, packing.PANEL_COLUMNS)
    data: bytes = panels.transpose(1, 0, 2).tobytes()
    return data
