"""Golden data: recorded inputs and eager outputs as one safetensors file, read by the model's test and benchmark.

Tensors are named ``<case>/input/<name>`` and ``<case>/output/<name>``, where a case of a method is ``<method>/<name>``;
``<case>/written/<name>`` is what an input holds after the call; ``tolerance/<name>`` of each of the last two is rtol
and atol; with PRECISION ``rounded_error/<name>`` is the error of eager PyTorch in that type; with WEIGHTS EXTERNAL also
``weights/<state_dict name>``. With WORLD_SIZE ``<case>/rank1`` has the results of the second
rank, and so on. Complex numbers are stored as pairs of reals, one trailing dimension more.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from aotbuild.emit import safetensors
from aotbuild.spec.program import CompiledModel, GoldenCase, Signature, TensorData, Tolerance

_REAL = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}


def encode(model: CompiledModel, with_weights: bool) -> bytes:
    """The golden file of ``model``."""
    return safetensors.encode(_tensors(model, with_weights))


def cases(model: CompiledModel) -> Iterator[tuple[str, tuple[Signature, GoldenCase]]]:
    """All cases by their names in the file."""
    for method in model.methods:
        prefix = "" if method.numbering is None else f"{method.name}/"
        for case in method.golden:
            yield prefix + case.name, (method.signature, case)
    signatures = {method.name: method.signature for method in model.methods}
    for method_name, case in model.session:
        yield case.name, (signatures[method_name], case)


def _tensors(model: CompiledModel, with_weights: bool) -> Iterator[tuple[str, TensorData]]:
    for name, (signature, case) in cases(model):
        yield from _tolerances(model, name, signature, case)
        for spec, tensor in zip(signature.inputs, case.inputs, strict=True):
            yield f"{name}/input/{spec.name}", _as_real(tensor)
        yield from _results(name, signature, case)
        for rank, other in enumerate(case.ranks, 1):
            yield from _tolerances(model, f"{name}/rank{rank}", signature, other)
            yield from _results(f"{name}/rank{rank}", signature, other)
    if with_weights:
        for weight in model.weights:
            yield f"weights/{weight.name}", _as_real(weight.tensor)


def _results(name: str, signature: Signature, case: GoldenCase) -> Iterator[tuple[str, TensorData]]:
    for spec, tensor in zip(signature.outputs, case.outputs, strict=True):
        yield f"{name}/output/{spec.name}", _as_real(tensor)
    for spec, tensor in zip((spec for spec in signature.inputs if spec.written), case.written, strict=True):
        yield f"{name}/written/{spec.name}", _as_real(tensor)


def _tolerances(
    model: CompiledModel, name: str, signature: Signature, case: GoldenCase
) -> Iterator[tuple[str, TensorData]]:
    written = [spec for spec in signature.inputs if spec.written]
    names = [*(f"output/{spec.name}" for spec in signature.outputs), *(f"written/{spec.name}" for spec in written)]
    for part, recorded in itertools.zip_longest(names, case.tolerances, fillvalue=Tolerance(0.0, 0.0)):
        rtol = recorded.rtol if model.rtol is None else model.rtol
        atol = recorded.atol if model.atol is None else model.atol
        pair = np.asarray([rtol, atol], np.float64)
        yield f"tolerance/{name}/{part}", TensorData("float64", (2,), pair.view(np.uint8))
    for part, error in zip(names, case.rounded_errors):
        single = np.asarray([error], np.float64)
        yield f"rounded_error/{name}/{part}", TensorData("float64", (1,), single.view(np.uint8))


def _as_real(tensor: TensorData) -> TensorData:
    if tensor.dtype not in _REAL:
        return tensor
    return TensorData(_REAL[tensor.dtype], (*tensor.shape, 2), tensor.data)
