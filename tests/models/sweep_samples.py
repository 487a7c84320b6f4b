"""The samples of the sweep: PyTorch's databases of operators, modules and programs for torch.export; architectures."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from aotbuild.model import Model

KINDS = ("op", "module", "example", "architecture")


@dataclass(frozen=True)
class Sample:
    """One call of one entry of a database. ``make`` gives the model; it is called in a process of its own."""

    kind: str
    name: str
    dtype: str
    index: int
    make: Callable[[], Model]

    @property
    def id(self) -> str:
        """Unique, and usable as a CMake target."""
        name = "".join(c if c.isalnum() else "_" for c in self.name.removeprefix("nn."))
        return f"{self.kind}_{name}_{self.dtype}_{self.index}"


# Operators whose results are free to some degree, as eigenvectors in their signs. The database says for each sample
# which function of the results is defined.
_NOT_UNIQUE = ("linalg.eigh", "linalg.svd", "pca_lowrank", "svd", "svd_lowrank")


def _eigenvalues(values: torch.Tensor) -> torch.Tensor:
    """Those of a matrix have no order."""
    return torch.view_as_real(values).sort(-2).values


def _decomposed(result: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The eigenvalues, and the lengths of the eigenvectors, of which each may be any multiple of itself."""
    values, vectors = result
    return _eigenvalues(values), torch.view_as_real(vectors).square().sum((-3, -1))


_WITHOUT_ORDER: dict[str, Callable[[Any], Any]] = {"linalg.eig": _decomposed, "linalg.eigvals": _eigenvalues}


class NotASampleError(Exception):
    """The entry has no sample of that element type and number, or nothing that a model could return."""


class _Operator(torch.nn.Module):
    """An operator as a module of the tensors of a sample; all else in the sample is part of the module."""

    def __init__(
        self, function: Callable[..., Any], arguments: Any, copies: bool, defined: Callable[[Any], Any] | None
    ) -> None:
        super().__init__()
        self._function = function
        self._defined = defined
        self._leaves, self._spec = pytree.tree_flatten(arguments)
        self._copies = copies

    def inputs(self) -> tuple[torch.Tensor, ...]:
        return tuple(leaf.detach() for leaf in self._leaves if isinstance(leaf, torch.Tensor))

    def forward(self, *tensors: torch.Tensor) -> Any:
        given = iter([tensor.clone() for tensor in tensors] if self._copies else tensors)
        leaves = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self._spec)
        result = self._function(*args, **kwargs)
        if self._defined is not None:
            result = self._defined(result)
        return tuple(result) if isinstance(result, tuple | list) else result


def _changes_inputs(function: Callable[..., Any], arguments: Any) -> bool:
    """Whether the operator writes to a tensor of its call; it gets copies then, as models may not write to inputs."""
    args, kwargs = pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, arguments)
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    before = [(tensor._version, tensor.clone()) for tensor in tensors]
    function(*args, **kwargs)
    return any(
        version != tensor._version or not torch.equal(tensor.nan_to_num(), old.nan_to_num())
        for tensor, (version, old) in zip(tensors, before)
    )


def _operator(op: Any, dtype: torch.dtype, index: int) -> Model:
    if dtype not in op.supported_dtypes("cpu"):
        raise NotASampleError(f"no sample of type {dtype}")
    torch.manual_seed(0)
    samples = op.sample_inputs("cpu", dtype, requires_grad=False)
    sample = next(itertools.islice(samples, index, None), None)
    if sample is None:
        raise NotASampleError(f"no sample {index}")
    args, kwargs = (sample.input, *sample.args), dict(sample.kwargs)
    if op.name in ("sort", "argsort"):  # otherwise the order of equal elements is not defined
        args, kwargs = args[:1], {**dict(zip(("dim", "descending"), sample.args)), **kwargs, "stable": True}
    arguments = (args, kwargs)
    with torch.no_grad():
        defined = sample.output_process_fn_grad if op.name in _NOT_UNIQUE else _WITHOUT_ORDER.get(op.name)
        module = _Operator(op.op, arguments, _changes_inputs(op.op, arguments), defined)
    return Model(module, module.inputs())


def _module(info: Any, dtype: torch.dtype, index: int) -> Model:
    torch.manual_seed(0)
    samples = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=False, training=False)
    sample = next(itertools.islice(samples, index, None), None)
    if sample is None:
        raise NotASampleError(f"no sample {index}")
    made = sample.constructor_input
    module = info.module_cls(*made.args, **{**made.kwargs, **_placement(info, dtype)}).eval()
    call = sample.forward_input
    with torch.no_grad():
        module(*call.args, **call.kwargs)  # a lazy module takes its sizes from its first call
    return Model(module, tuple(call.args), dict(call.kwargs))


def _placement(info: Any, dtype: torch.dtype) -> dict[str, Any]:
    names = inspect.signature(info.module_cls.__init__).parameters
    takes = "dtype" in names or info.module_cls.__name__ in ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
    return {"dtype": dtype, "device": "cpu"} if takes else {}


def _example(case: Any) -> Model:
    return Model(case.model, tuple(case.example_args), dict(case.example_kwargs), case.dynamic_shapes or None)


def all_samples(kinds: tuple[str, ...], dtypes: tuple[str, ...], count: int) -> Iterator[Sample]:
    """Samples 0 to ``count`` - 1 of each entry and element type; entries may have fewer."""
    from torch.testing._internal import common_methods_invocations
    from torch.testing._internal.common_modules import module_db

    # Random operators of the database set a seed themselves, which would hide that they are random.
    vars(common_methods_invocations)["wrapper_set_seed"] = lambda op, *args, **kwargs: op(*args, **kwargs)
    op_db = common_methods_invocations.op_db

    databases: list[tuple[str, str, Callable[[Any, torch.dtype, int], Model], list[Any]]] = [
        ("op", "formatted_name", _operator, op_db),
        ("module", "name", _module, module_db),
    ]
    for kind, attribute, make, entries in databases:
        for entry, dtype, index in itertools.product(entries if kind in kinds else [], dtypes, range(count)):
            yield Sample(
                kind,
                getattr(entry, attribute),
                dtype,
                index,
                functools.partial(make, entry, getattr(torch, dtype), index),
            )
    if "example" in kinds:
        from torch._export.db import examples

        cases: dict[str, Any] = examples.all_examples()  # type: ignore[no-untyped-call]
        for name, case in cases.items():
            yield Sample("example", name, "any", 0, functools.partial(_example, case))
    if "architecture" in kinds:
        from architectures import ARCHITECTURES

        for name, (_, make_model) in ARCHITECTURES.items():
            yield Sample("architecture", name, "float32", 0, make_model)
