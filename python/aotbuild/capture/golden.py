"""Golden cases: the model run eagerly on its example, on further calls, and at the extremes of dynamic sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from aotbuild import triton_kernels
from aotbuild.capture.frames import user_line
from aotbuild.capture.signature import NUMBER_DTYPES, UNBOUNDED
from aotbuild.errors import AotbuildError
from aotbuild.model import Method
from aotbuild.program import GoldenCase, Signature, TensorData

# Largest number of elements of one input in a golden case, so that recording the extremes stays affordable.
_MAX_GOLDEN_ELEMENTS = 1 << 21


def tensor_data(tensor: torch.Tensor) -> TensorData:
    """The values of a tensor as contiguous bytes."""
    detached = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    # A tensor of one element is contiguous with any stride, and only a stride of 1 can be viewed as bytes.
    flat = detached.as_strided((detached.numel(),), (1,))
    raw = np.empty(0, np.uint8) if flat.numel() == 0 else flat.view(torch.uint8).numpy().copy()
    return TensorData(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), raw)


def record(
    module: Any,
    program: ExportedProgram,
    signature: Signature,
    calls: Sequence[tuple[str, tuple[Any, ...], dict[str, Any]]],
    target: str,
) -> tuple[GoldenCase, ...]:
    """Runs the model eagerly on the example, on the further calls, and with each dynamic size at its extremes."""
    cases = []
    _, args, kwargs = calls[0]
    for call in [*calls, *_extremes(program, signature, args, kwargs)]:
        with _buffers_kept(module):
            cases.append(_run(module, signature, call, target))
    return tuple(cases)


def record_session(
    modules: Mapping[str, torch.nn.Module],
    methods: Mapping[str, Method],
    signatures: Mapping[str, Signature],
    target: str,
) -> tuple[tuple[str, GoldenCase], ...]:
    """Every method's example one after the other, and all once more, over the state that the calls leave behind."""
    cases = []
    with _buffers_kept(next(iter(modules.values()))):
        for number, name in enumerate([*modules, *modules]):
            method = methods[name]
            call = (f"session{number}", tuple(method.example_inputs), dict(method.example_kwargs))
            cases.append((name, _run(modules[name], signatures[name], call, f"{target}.{name}")))
    return tuple(cases)


@contextlib.contextmanager
def _buffers_kept(module: torch.nn.Module) -> Iterator[None]:
    state = {key: value.clone() for key, value in _buffers(module).items()}
    yield
    for key, value in _buffers(module).items():
        value.data.copy_(state[key])


def _run(
    module: Any, signature: Signature, call: tuple[str, tuple[Any, ...], dict[str, Any]], target: str
) -> GoldenCase:
    name, args, kwargs = call
    with torch.no_grad(), triton_kernels.interpreted():
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        inputs = [tensor.clone() for tensor in given]
        torch.manual_seed(0)
        try:
            outputs = module(*args, **kwargs)
        except Exception as error:
            raise _eager_error(error, name, signature, inputs, target) from error
    leaves = [
        leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf, dtype=NUMBER_DTYPES[type(leaf)])
        for leaf in pytree.tree_leaves(outputs)
        if not isinstance(leaf, str | None)
    ]
    # Copies, before buffers and inputs get their values back: an output may be one of them.
    outputs_data = tuple(map(tensor_data, leaves))
    written = [(tensor, before) for spec, tensor, before in zip(signature.inputs, given, inputs) if spec.written]
    written_data = tuple(tensor_data(tensor) for tensor, _ in written)
    with torch.no_grad():
        for tensor, before in written:
            tensor.copy_(before)
    return GoldenCase(name, tuple(map(tensor_data, inputs)), outputs_data, written_data)


def _eager_error(
    error: Exception, case: str, signature: Signature, inputs: Sequence[torch.Tensor], target: str
) -> AotbuildError:
    sizes = ", ".join(f"{spec.name} {list(tensor.shape)}" for spec, tensor in zip(signature.inputs, inputs))
    where = user_line(error.__traceback__)
    symbol, _, extreme = case.rpartition("_")
    if extreme in ("min", "max"):
        what = f"with the dynamic size {symbol} at its {extreme}imum"
        remedy = (
            "Narrow the range, or let sizes that vary together share one torch.export.Dim in the dynamic_shapes of the "
            "model file."
        )
    else:
        what = f"on the inputs of the case {case!r}"
        remedy = "Give inputs in the model file that the model accepts."
    return AotbuildError(
        f"{target}: the model raises {type(error).__name__} when it runs eagerly {what}: {error}\n"
        + (f"  at {where}\n" if where else "")
        + f"  The inputs were: {sizes}.\n  {remedy}"
    )


def _buffers(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.named_buffers())


def _extremes(
    program: ExportedProgram, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Calls with each dynamic size at its least and its greatest, the other sizes as in the example."""
    leaves, spec = pytree.tree_flatten((args, kwargs))
    tensors = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    specs = dict(zip(tensors, signature.inputs))
    example: dict[str, int] = {}
    ranges: dict[str, tuple[int, int]] = {}
    for index, tensor_spec in specs.items():
        for size, dim in zip(leaves[index].shape, tensor_spec.dims):
            if dim.symbol not in (None, "?"):
                assert dim.symbol is not None
                example[dim.symbol] = (size - dim.offset) // dim.multiplier
                low = -(-(dim.min - dim.offset) // dim.multiplier)
                high = (dim.max - dim.offset) // dim.multiplier
                before = ranges.get(dim.symbol, (low, high))
                ranges[dim.symbol] = (max(low, before[0]), min(high, before[1]))
    for symbol, (low, high) in ranges.items():
        for label, value in (("min", low), ("max", high)):
            if value == example[symbol] or (high >= UNBOUNDED and label == "max"):
                continue
            sizes = {**example, symbol: value}
            shapes = {
                index: tuple(
                    dim.min if dim.symbol in (None, "?") else dim.multiplier * sizes[dim.symbol or ""] + dim.offset
                    for dim in tensor_spec.dims
                )
                for index, tensor_spec in specs.items()
            }
            if any(int(np.prod(shape, dtype=np.int64)) > _MAX_GOLDEN_ELEMENTS for shape in shapes.values()):
                continue
            resized = list(leaves)
            for index, shape in shapes.items():
                resized[index] = _resize(leaves[index], shape)
            call_args, call_kwargs = pytree.tree_unflatten(resized, spec)
            yield f"{symbol}_{label}", call_args, call_kwargs


def _resize(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The example's values cut or repeated to another shape, so that indices stay in their range."""
    result = tensor
    for dim, size in enumerate(shape):
        have = result.shape[dim]
        if have == 0:
            return torch.zeros(shape, dtype=tensor.dtype)
        if size > have:
            result = result.repeat([-(-size // have) if d == dim else 1 for d in range(result.dim())])
        result = result.narrow(dim, 0, size)
    return result.contiguous()


def default_tolerance(signature: Signature) -> tuple[float, float]:
    """``torch.testing.assert_close``'s defaults, loosened for float32 because sums are ordered differently."""
    table = {"float16": (1e-2, 1e-3), "bfloat16": (2e-2, 2e-2), "float32": (1e-4, 1e-5), "complex64": (1e-4, 1e-5)}
    kinds = [table[spec.dtype] for spec in signature.outputs + signature.inputs if spec.dtype in table]
    return max((kind[0] for kind in kinds), default=1e-7), max((kind[1] for kind in kinds), default=1e-7)
