"""The runtime's layers in a report: what they are called, their weights, and how much they do."""

from __future__ import annotations

import math
from collections.abc import Iterator

from aotbuild.spec.program import CompiledModel, Convolution, KernelCall, Linear, Mlp, QuantizedLinear, Recurrent

_LAYERS = {
    "context_linear": "linears",
    "context_mlp": "mlps",
    "context_convolution": "convolutions",
    "context_quantized_linear": "quantized",
    "context_recurrent": "recurrent",
}
Layer = Linear | Mlp | Convolution | QuantizedLinear | Recurrent


def layer_of(call: KernelCall, model: CompiledModel) -> Layer | None:
    """The packed layer that a call is of."""
    name = _LAYERS.get(call.function)
    return None if name is None or call.slot is None else getattr(model, name)[call.slot]


def title(call: KernelCall, layer: Layer | None) -> str:
    """What is called: a layer with what is fused into it, or the kernel's or the function's name."""
    if isinstance(layer, Linear):
        count = len(layer.weights)
        what = "linear layer" if count == 1 else f"{count} linear layers in one product"
        return f"{what}{_with(layer.activation)}"
    if isinstance(layer, Mlp):
        between = _with(layer.first.activation)
        return f"pair of linear layers{between} between" if between else "pair of linear layers"
    if isinstance(layer, Convolution):
        norm = " with batch norm" if layer.norm is not None else ""
        return f"convolution{norm}{_with(layer.activation, ' and ' if norm else ' with ')}"
    if isinstance(layer, QuantizedLinear):
        return f"linear layer of {layer.bits}-bit weights"
    if isinstance(layer, Recurrent):
        return f"{layer.cell} layer" if layer.layers == 1 else f"{layer.layers} {layer.cell} layers"
    return call.function.removeprefix("aoti_torch_cpu_").removeprefix("aoti_torch_")


def _with(activation: str, word: str = " with ") -> str:
    return "" if activation == "none" else f"{word}{activation}"


def weights(layer: Layer | None) -> list[int]:
    """The indices of the matrices and kernels that a call multiplies with."""
    if isinstance(layer, Linear | Recurrent):
        return list(layer.weights)
    if isinstance(layer, Mlp):
        return [*layer.first.weights, *layer.second.weights]
    return [] if layer is None else [layer.weight]


def work(call: KernelCall, layer: Layer | None, model: CompiledModel) -> tuple[int, int]:
    """Bytes and operations of a call, with those of a layer's weights, which are read once."""
    rows = call.rows[0] if isinstance(layer, Convolution) and layer.transposed else call.rows[1]
    sizes = [(math.prod(model.weights[index].tensor.shape), _bits(layer, index, model)) for index in weights(layer)]
    matrices = [(count, bits) for count, bits in sizes if count]
    nbytes = sum(count * bits // 8 for count, bits in matrices)
    multiplied = sum(count for count, _ in matrices)
    if isinstance(layer, Recurrent):  # biases are among its weights, and added
        multiplied = sum(_matrix_elements(layer, model))
    return call.nbytes + nbytes, call.flops + 2 * rows * multiplied


def _bits(layer: Layer | None, index: int, model: CompiledModel) -> int:
    """Of a value of a weight as the runtime has it packed."""
    if isinstance(layer, QuantizedLinear):
        return layer.bits
    precision = layer.first.precision if isinstance(layer, Mlp) else getattr(layer, "precision", "")
    tensor = model.weights[index].tensor
    return 16 if precision else 8 * tensor.data.nbytes // max(1, math.prod(tensor.shape))


def _matrix_elements(layer: Recurrent, model: CompiledModel) -> Iterator[int]:
    for index in layer.weights:
        shape = model.weights[index].tensor.shape
        if len(shape) == 2:
            yield math.prod(shape)
