"""Golden data: recorded inputs and eager outputs as one safetensors file, read by the model's test and benchmark.

Tensors are named ``<case>/input/<name>`` and ``<case>/output/<name>``; with WEIGHTS EXTERNAL also
``weights/<state_dict name>``. Complex numbers are stored as pairs of reals, one trailing dimension more.
"""

from __future__ import annotations

from collections.abc import Iterator

from aotbuild.emit import safetensors
from aotbuild.program import CompiledModel, TensorData

_REAL = {"complex64": "float32", "complex128": "float64"}


def encode(model: CompiledModel, with_weights: bool) -> bytes:
    """The golden file of ``model``."""
    return safetensors.encode(_tensors(model, with_weights))


def _tensors(model: CompiledModel, with_weights: bool) -> Iterator[tuple[str, TensorData]]:
    for case in model.golden:
        for spec, tensor in zip(model.signature.inputs, case.inputs, strict=True):
            yield f"{case.name}/input/{spec.name}", _as_real(tensor)
        for spec, tensor in zip(model.signature.outputs, case.outputs, strict=True):
            yield f"{case.name}/output/{spec.name}", _as_real(tensor)
    if with_weights:
        for weight in model.weights:
            yield f"weights/{weight.name}", _as_real(weight.tensor)


def _as_real(tensor: TensorData) -> TensorData:
    if tensor.dtype not in _REAL:
        return tensor
    return TensorData(_REAL[tensor.dtype], (*tensor.shape, 2), tensor.data)
