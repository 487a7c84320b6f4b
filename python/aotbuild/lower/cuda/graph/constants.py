"""Constant folding without the device: TorchInductor computes with real tensors of one element, here on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch._inductor.fx_passes import joint_graph
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from aotbuild.spec.upstream import patched


class _OnCpu(TorchDispatchMode):
    """Makes real tensors on the CPU whatever device a call names."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if any(isinstance(leaf, FakeTensor) for leaf in pytree.arg_tree_leaves(*args, **(kwargs or {}))):
            return func(*args, **(kwargs or {}))

        def move(value: Any) -> Any:
            return torch.device("cpu") if isinstance(value, torch.device) else value

        return func(*pytree.tree_map(move, args), **pytree.tree_map(move, kwargs or {}))


class _MadeOnCpu(TorchFunctionMode):
    """The same for functions such as ``torch.full``, which ask for the device before they are dispatched."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        return func(*args, **({**named, "device": torch.device("cpu")} if "device" in named else named))


@contextlib.contextmanager
def constants_on_cpu() -> Iterator[None]:
    """Folds constants on the CPU for the time of the passes over the joint graph."""
    folder = joint_graph.UniformValueConstantFolder
    deduce = folder._deduce_value

    def deduce_on_cpu(self: Any, node: torch.fx.Node) -> Any:
        with _OnCpu():
            return deduce(self, node)

    def add_peephole_patterns(self: Any, original: Any = folder._add_peephole_patterns) -> None:
        with _MadeOnCpu():
            original(self)

    with (
        patched(folder, "_deduce_value", deduce_on_cpu),
        patched(folder, "_add_peephole_patterns", add_peephole_patterns),
    ):
        yield
