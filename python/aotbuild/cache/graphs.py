"""Lowered programs by the graph: an export with other weights, or from other sources, needs no second lowering.

The key is the exported program without the values of its weights, and all that lowering depends on beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import pickle
import pickletools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from aotbuild.cache.keys import digest
from aotbuild.cache.store import Store
from aotbuild.capture import division_place, tensor_data
from aotbuild.spec.program import TensorData, Weight


def find(store: Store, key: str, allowed: Iterable[type]) -> Any:
    """What ``keep`` was given for the key, or None. Only objects of ``allowed`` classes are read."""
    content = store.get("graphs", key)
    if content is None:
        return None
    try:
        _check_memory(content)
        return _Unpickler(io.BytesIO(content), allowed).load()
    except Exception as error:  # a pickle can be wrong in any way
        store.warn(f"the graph {key} can't be read ({error}) and is ignored")
        return None


def keep(store: Store, key: str, lowered: Any) -> None:
    """Keeps what ``split_weights`` returned."""
    store.put("graphs", key, pickle.dumps(lowered, protocol=4))
    store.trim()


def _check_memory(content: bytes) -> None:
    """Refuses a pickle whose reading takes memory out of proportion: its list of objects is as long as it says."""
    for opcode, argument, _ in pickletools.genops(content):
        if isinstance(argument, int) and "PUT" in opcode.name and argument > len(content):
            raise pickle.UnpicklingError(f"object {argument} of {len(content)} bytes")


class _Unpickler(pickle.Unpickler):
    """Reads plain data and a few named classes: a shared folder must not be able to run code while it is read."""

    def __init__(self, file: io.BytesIO, allowed: Iterable[type]) -> None:
        super().__init__(file)
        self._allowed = {(kind.__module__, kind.__qualname__): kind for kind in allowed}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return self._allowed[module, name]


def graph_key(captured: Any, settings: Mapping[str, Any], process: Mapping[str, Any] | None, tools: str) -> str:
    """The key of an exported program without the values of its weights; empty where the program does not say it all.

    It calls code of the user's then: what an operator of another library or a Triton kernel does is not in the graph,
    and neither is a function among TorchInductor's settings, for which ``process`` is None: the settings of this
    process. ``tools``: the key of everything that computes.
    """
    program = captured.program
    calls = itertools.chain.from_iterable(map(_calls, program.graph_module.modules()))
    if process is None or not all(map(_is_pytorchs, calls)):
        return ""
    lines = []
    for name, module in sorted(program.graph_module.named_modules()):
        if isinstance(module, torch.fx.GraphModule):
            lines += [name, *map(_node_text, module.graph.nodes)]
    tensors = []
    storages: dict[int, int] = {}
    for name, tensor in itertools.chain(sorted(program.state_dict.items()), sorted(program.constants.items())):
        if not isinstance(tensor, torch.Tensor):
            tensors.append([name, str(tensor)])
            continue
        same = storages.setdefault(tensor.untyped_storage().data_ptr(), len(storages))
        # What is in no state_dict stays a constant of the graph, and small ones are written into the code.
        value = hashlib.sha256(_tensor_bytes(tensor)).hexdigest() if name in program.constants else ""
        layout = [str(tensor.dtype), list(tensor.shape), list(tensor.stride()), tensor.storage_offset(), same]
        tensors.append([name, *layout, tensor.is_conj(), tensor.is_neg(), value])
    return digest(
        lines,
        str(program.graph_signature),
        str(program.range_constraints),
        repr(captured.signature),
        sorted(captured.state),
        tensors,
        dict(settings),
        dict(process),
        tools,
    )


def _calls(module: Any) -> Iterator[Any]:
    if isinstance(module, torch.fx.GraphModule):
        yield from (node.target for node in module.graph.nodes if node.op == "call_function")


def _is_pytorchs(operator: Any) -> bool:
    if isinstance(operator, torch._ops.OpOverload):
        return operator.namespace in ("aten", "prim", "prims", "_c10d_functional")
    return not str(operator).startswith("triton_kernel_wrapper")


def _node_text(node: Any) -> str:
    values = [
        (str(value.dtype), tuple(map(_size_text, value.shape)), tuple(map(_size_text, value.stride())))
        if isinstance(value, torch.Tensor)
        else str(value)
        for value in pytree.tree_leaves(node.meta.get("val"))
    ]
    # A division's line is in the code: its error at run time names it.
    return f"{node.name} {node.op} {node.target} {node.args} {node.kwargs} {values} {division_place(node)}"


def _size_text(size: Any) -> str:
    """A size that varies, with that of the example call: heuristics choose by it."""
    return f"{size}, as in {getattr(size.node, 'hint', None)}" if isinstance(size, torch.SymInt) else str(size)


def _tensor_bytes(tensor: Any) -> bytes:
    return tensor_data(tensor, copy=False).data.tobytes()


def split_weights(lowered: Any, program: Any) -> Any:
    """``lowered`` with names in place of the values of weights, or None where a value is not that of the program.

    A value that lowering computed from weights would be wrong for other weights.
    """
    tensors = {**program.state_dict, **program.constants}
    kept: list[tuple[Any, ...]] = []
    for weight in lowered.weights:
        value = tensors.get(weight.name)
        if isinstance(value, torch.Tensor) and np.array_equal(tensor_data(value, copy=False).data, weight.tensor.data):
            kept.append((weight.name, weight.tensor.shape, weight.aliases, weight.mutated, weight.required, None))
        elif weight.required:
            return None
        else:
            data = (weight.tensor.dtype, weight.tensor.data.tobytes())
            kept.append((weight.name, weight.tensor.shape, weight.aliases, weight.mutated, weight.required, data))
    return dataclasses.replace(lowered, weights=tuple(kept))


def join_weights(lowered: Any, program: Any) -> Any:
    """The inverse of ``split_weights`` with the values of another program of the same graph."""
    tensors = {**program.state_dict, **program.constants}
    weights = []
    for name, shape, aliases, mutated, required, data in lowered.weights:
        if data is None:
            tensor = tensor_data(tensors[name], copy=False)
            tensor = TensorData(tensor.dtype, shape, tensor.data)
        else:
            tensor = TensorData(data[0], shape, np.frombuffer(data[1], np.uint8))
        weights.append(Weight(name, tensor, aliases, mutated, required))
    return dataclasses.replace(lowered, weights=tuple(weights))
