"""QUANTIZE on a model that was loaded: its quantized twin, and what that costs on the golden inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from aotbuild.capture.load import Source
from aotbuild.capture.modules import as_module, buffers_kept
from aotbuild.capture.quantized_layers import quantize_layers
from aotbuild.capture.triton_kernels import interpreted
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Method, Model
from aotbuild.spec.quantize import BLOCK, GROUPS, Quantize


def quantized_source(source: Source, quantize: Quantize, target: str) -> tuple[Source, list[str]]:
    """The source with the quantized twin of its module, and lines on what is not quantized.

    Raises:
        AotbuildError: a ``.pt2`` file, or nothing to quantize.
    """
    if source.model is None:
        raise AotbuildError(
            f"{target}: {quantize.text}: a .pt2 program has no modules any more; quantize the module before export, or "
            "name a callable that returns it"
        )
    module, left = quantize_layers(as_module(source.model), quantize, target)
    notes = []
    if left:
        block = GROUPS[-1] if quantize.type == "int4" else BLOCK
        shown = f"{', '.join(left[:4])}{f' and {len(left) - 4} more' if len(left) > 4 else ''}"
        notes = [f"{quantize.text}: rows of {shown} are no multiple of {block} values, so their types stay"]
    return dataclasses.replace(source, model=dataclasses.replace(source.model, module=module)), notes


def cost(before: Source, after: Source, quantize: Quantize, *, runs: bool) -> str:
    """A line on what the quantized twin ``after`` costs on the golden inputs.

    The errors are eager PyTorch's against its own results with ``before``, relative to an output's greatest value.
    """
    if not runs:
        return f"{quantize.text}: nothing runs with NO_TEST, so what it costs is not known; build once without it"
    assert before.model is not None and after.model is not None
    found = []
    for first, second in zip(_results(before.model), _results(after.model), strict=True):
        for exact, value in zip(first, second, strict=True):
            if exact.is_floating_point() and exact.numel() and exact.shape == value.shape:
                found.append(_error(exact.double(), value.double()))
    if not found:
        return f"{quantize.text}: no output is a floating-point number, so what it costs is not known"
    most, mean = (f"{max(part):.1e}" for part in zip(*found))
    return (
        f"{quantize.text}: eager PyTorch with quantized layers errs by up to {most} of an output's greatest value on "
        f"the golden inputs, by {mean} in the root of the mean square"
    )


def _error(exact: torch.Tensor, value: torch.Tensor) -> tuple[float, float]:
    scale = float(exact.abs().max()) or 1.0
    difference = value - exact
    return float(difference.abs().max()) / scale, float(difference.square().mean().sqrt()) / scale


def _results(model: Model) -> Iterator[list[torch.Tensor]]:
    """The outputs of every golden call that the model file gives."""
    module = as_module(model)
    methods: Mapping[str, Model | Method] = model.methods or {"forward": model}
    for name, example in methods.items():
        calls = [(example.example_inputs, example.example_kwargs), *example.golden_inputs]
        for args, kwargs in calls:
            with torch.no_grad(), interpreted(), buffers_kept(module):
                torch.manual_seed(0)
                outputs = getattr(module, name)(*_copied(args), **_copied(kwargs))
                found = [leaf.clone() for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
            yield found  # with nothing replaced any more: another model runs in between


def _copied(values: Any) -> Any:
    return pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, values)
