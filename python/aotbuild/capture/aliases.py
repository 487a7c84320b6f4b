"""Tensors that are one in memory, which ``torch.export`` merges or tells apart where the model does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from aotbuild.capture.frames import model_frame
from aotbuild.capture.labels import labelled_leaves
from aotbuild.capture.writes import written_buffers, written_nodes
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import Signature


def refuse_merged_inputs(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], target: str) -> None:
    """Raises if two inputs are one tensor, or one is a weight: export would make them one in every later call too."""
    seen: dict[int, str] = {}
    for what, tensors in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        seen |= {id(tensor): f"the {what} {name!r} of the model" for name, tensor in tensors}
    for label, leaf in labelled_leaves(module.forward, args, kwargs):
        if not isinstance(leaf, torch.Tensor):
            continue
        if id(leaf) in seen:
            raise AotbuildError(
                f"{target}: the example input {label!r} is the same tensor as {seen[id(leaf)]}, and torch.export "
                "compiles a model that takes one of them for both in every later call; give a copy, as in "
                "tensor.clone()"
            )
        seen[id(leaf)] = f"the example input {label!r}"


def refuse_shared_writes(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any], target: str) -> None:
    """Raises if the model writes to an input that shares memory with another input of the example."""
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    inputs = list(zip(signature.inputs, tensors))
    for spec, tensor in inputs:
        others = (
            other.name for other, value in inputs if spec.written and value is not tensor and _overlap(value, tensor)
        )
        for other in others:
            raise AotbuildError(
                f"{target}: the model writes to the input {spec.name!r}, whose example shares memory with that of "
                f"{other!r}; a compiled model takes tensors that are apart: give a copy, as in tensor.clone()"
            )


def strays(program: ExportedProgram, module: torch.nn.Module) -> list[str]:
    """Constants of the program that are state or weights of the model.

    Tracing reaches a tensor in a list, in a plain object or in a closure without its name in the module, and takes it
    for a constant, also where the module has the same tensor as a buffer or parameter.
    """
    state = [*module.parameters(), *module.buffers()]
    written = dict(_written_constants(program))
    return [
        name
        for name, value in _constants(program).items()
        if name in written or (isinstance(value, torch.Tensor) and any(_overlap(value, tensor) for tensor in state))
    ]


def refuse_stray_state(program: ExportedProgram, module: torch.nn.Module, target: str) -> None:
    """Raises if the model writes to a tensor that is no input and no buffer, or reads a buffer as one."""
    remedy = "Make it a buffer (self.register_buffer('cache', tensor), then self.cache): each session has its own."
    for name, line in _written_constants(program):
        raise AotbuildError(
            f"{target}: the model writes to the tensor {name!r}, which is neither a buffer nor an input\n"
            f"  at {line or 'a line that export did not record'}\n  {remedy}"
        )
    written = written_buffers(program)
    for label, buffer in module.named_buffers():
        for name, value in _constants(program).items():
            if label in written and isinstance(value, torch.Tensor) and _overlap(value, buffer):
                raise AotbuildError(
                    f"{target}: the model writes to the buffer {label!r} and reads its memory as {name!r} too, which "
                    f"torch.export takes for a constant; read it as self.{label}"
                )


def _constants(program: ExportedProgram) -> dict[str, Any]:
    names = program.graph_signature.inputs_to_lifted_tensor_constants.values()
    return {str(name): program.constants.get(str(name)) for name in names}


def _written_constants(program: ExportedProgram) -> Iterator[tuple[str, str | None]]:
    """Constants to which the program writes, with the model's line."""
    constants = program.graph_signature.inputs_to_lifted_tensor_constants
    for base, node in written_nodes(program):
        if base.name in constants:
            yield str(constants[base.name]), model_frame(node.meta.get("stack_trace"))


def _overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    (a_begin, a_end), (b_begin, b_end) = _extent(a), _extent(b)
    return a_begin < b_end and b_begin < a_end


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """Where a tensor's memory begins and ends; the same for both where it has none."""
    if tensor.layout is not torch.strided or tensor.numel() == 0 or tensor.data_ptr() == 0:
        return 0, 0
    elements = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    return tensor.data_ptr(), tensor.data_ptr() + elements * tensor.element_size()
