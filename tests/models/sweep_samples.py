"""The samples of the sweep: PyTorch's databases of operators, modules and programs for torch.export; architectures.

Beside a sample as the database has it, there are three of its variants: `noncontiguous` has a gap behind each element
of its tensors, `empty` none of their rows, and `dynamic` is exported with every first dimension dynamic.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from aotbuild.spec.model import Model

KINDS = ("op", "module", "example", "architecture")
VARIANTS = ("", "noncontiguous", "empty", "dynamic")


@dataclass(frozen=True)
class Sample:
    """One call of one entry of a database. ``make`` gives the model."""

    kind: str
    name: str
    dtype: str
    index: int
    make: Callable[[], Model]
    variant: str = ""

    @property
    def id(self) -> str:
        """Unique, and usable as a CMake target."""
        name = "".join(c if c.isalnum() else "_" for c in self.name.removeprefix("nn."))
        return f"{self.kind}_{name}_{self.dtype}_{self.index}" + (f"_{self.variant}" if self.variant else "")

    @property
    def call(self) -> Call | None:
        """Of operators and modules: what several of in one model are a group."""
        return getattr(self.make, "call", None)


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


# Operators of indices or pivots that have to lie within the rows, or offsets that have to rise, however many there are.
_TRUSTED = ("_unsafe_masked_index", "_segment_reduce_offsets", "lu_unpack", "nn_functional_embedding_bag")


class Call(torch.nn.Module):
    """A call of an operator or a module, as a module of the tensors of a sample; all else in it is part of the module.

    ``copies``: the operator writes to its inputs, and gets copies of them, as models may not.
    """

    def __init__(
        self, function: Callable[..., Any], arguments: Any, defined: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__()
        self.function = function
        self.copies = False
        self._defined = defined
        self._leaves, self._spec = pytree.tree_flatten(arguments)

    def inputs(self) -> tuple[torch.Tensor, ...]:
        return tuple(leaf.detach() for leaf in self._leaves if isinstance(leaf, torch.Tensor))

    def with_inputs(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Call:
        """The same call of other tensors."""
        leaves = [change(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        return Call(self.function, pytree.tree_unflatten(leaves, self._spec), self._defined)

    def forward(self, *tensors: torch.Tensor) -> Any:
        given = iter([tensor.clone() for tensor in tensors] if self.copies else tensors)
        leaves = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self._spec)
        result = self.function(*args, **kwargs)
        if self._defined is not None:
            result = self._defined(result)
        return tuple(result) if isinstance(result, tuple | list) else result

    def writes(self) -> bool:
        """Whether the call writes to a tensor of its own."""
        tensors = [tensor.clone() for tensor in self.inputs()]
        before = [(tensor._version, tensor.clone()) for tensor in tensors if tensor.layout is torch.strided]
        self(*tensors)
        tensors = [tensor for tensor in tensors if tensor.layout is torch.strided]
        return any(
            version != tensor._version or not torch.equal(tensor.nan_to_num(), old.nan_to_num())
            for tensor, (version, old) in zip(tensors, before)
        )

    def key(self, dtype: torch.dtype) -> str:
        """What the call consists of, but for the values of tensors of the sample's type: equal ones count once."""
        code = getattr(self._defined, "__code__", None)
        digest = hashlib.sha256(repr((self._spec, code and (code.co_code, code.co_names, code.co_consts))).encode())
        for leaf in self._leaves:
            if isinstance(leaf, torch.Tensor):
                is_strided = leaf.layout is torch.strided
                lies = (leaf.stride(), leaf.is_conj(), leaf.is_neg()) if is_strided else leaf.layout
                digest.update(repr((leaf.dtype, leaf.shape, lies)).encode())
                if leaf.dtype != dtype and is_strided:
                    digest.update(repr(leaf.tolist()).encode())
            else:
                digest.update(re.sub(r" at 0x[0-9a-f]+", "", repr(leaf)).encode())
        return digest.hexdigest()


class _Made:
    """A call as a model."""

    def __init__(self, call: Call, dynamic: bool) -> None:
        self.call = call
        self._dynamic = dynamic

    def __call__(self) -> Model:
        inputs = self.call.inputs()
        shapes = (tuple(map(first_dynamic, inputs)),) if self._dynamic else None
        self.call.copies = self.call.writes()
        return Model(self.call, inputs, dynamic_shapes=shapes)


def first_dynamic(tensor: torch.Tensor) -> dict[int, Any]:
    """``dynamic_shapes`` of a tensor whose first dimension may have any size, where torch.export lets it."""
    return {0: torch.export.Dim.AUTO} if tensor.dim() and tensor.shape[0] > 1 else {}


def _with_gaps(tensor: torch.Tensor) -> torch.Tensor:
    """The same values with a gap behind each element."""
    if not tensor.dim() or tensor.layout is not torch.strided:
        return tensor
    wide = torch.zeros(*tensor.shape, 2, dtype=tensor.dtype)
    wide[..., 0] = tensor
    return wide[..., 0]


def _without_rows(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[:0] if tensor.dim() and tensor.layout is torch.strided else tensor


_CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "noncontiguous": _with_gaps,
    "empty": _without_rows,
}


def _operator_calls(op: Any, dtype: torch.dtype) -> Iterator[Call]:
    if dtype not in op.supported_dtypes("cpu"):
        return
    for sample in op.sample_inputs("cpu", dtype, requires_grad=False):
        args, kwargs = (sample.input, *sample.args), dict(sample.kwargs)
        if op.name in ("sort", "argsort"):  # otherwise the order of equal elements is not defined
            args, kwargs = args[:1], {**dict(zip(("dim", "descending"), sample.args)), **kwargs, "stable": True}
        defined = sample.output_process_fn_grad if op.name in _NOT_UNIQUE else _WITHOUT_ORDER.get(op.name)
        yield Call(op.op, (args, kwargs), defined)


def _module_calls(info: Any, dtype: torch.dtype) -> Iterator[Call]:
    if dtype not in info.dtypes:
        return
    for sample in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=False, training=False):
        made = sample.constructor_input
        module = info.module_cls(*made.args, **{**made.kwargs, **_placement(info, dtype)}).eval().to(dtype)
        call = sample.forward_input
        with contextlib.suppress(RuntimeError):  # some have no kernel in eager PyTorch, which is found later
            module(*call.args, **call.kwargs)  # a lazy module takes its sizes from its first call
        yield Call(module, (tuple(call.args), dict(call.kwargs)))


def _placement(info: Any, dtype: torch.dtype) -> dict[str, Any]:
    names = inspect.signature(info.module_cls.__init__).parameters
    takes = "dtype" in names or info.module_cls.__name__ in ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
    return {"dtype": dtype, "device": "cpu"} if takes else {}


def _samples_of(
    kind: str, name: str, calls: Iterator[Call], dtype: str, variants: Sequence[str], first: int, count: int
) -> Iterator[Sample]:
    """The samples of one entry and type whose index is ``first`` or more, ``count`` at most; those alike count once."""
    found: set[str] = set()
    torch.manual_seed(0)
    for index, call in enumerate(_until_error(calls, f"{name}, {dtype}")):
        if index >= first + count:
            return
        for variant in variants:
            try:
                changed = call.with_inputs(_CHANGES[variant]) if variant in _CHANGES else call
            except RuntimeError:
                continue
            key = changed.key(getattr(torch, dtype)) + ("dynamic" if variant == "dynamic" else "")
            if variant == "dynamic" and name in _TRUSTED:
                continue
            if key not in found and index >= first and _is_sample(changed, variant):
                yield Sample(kind, name, dtype, index, _Made(changed, variant == "dynamic"), variant)
            found.add(key)


def _until_error(calls: Iterator[Call], what: str) -> Iterator[Call]:
    """Some of the database's functions raise for a type, or after some samples."""
    try:
        yield from calls
    except Exception as error:
        print(f"{what}: the database raises {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)


def _is_sample(call: Call, variant: str) -> bool:
    """Whether the variant is a call that eager PyTorch takes, and another one than the sample itself."""
    if variant == "dynamic":
        return any(first_dynamic(tensor) for tensor in call.inputs())
    if variant in ("empty", "noncontiguous"):
        try:
            call(*[tensor.clone() if variant == "empty" else tensor for tensor in call.inputs()])
        except Exception:
            return False
    return True


def all_samples(
    kinds: Sequence[str], dtypes: Sequence[str], count: int, *, first: int = 0,
    variants: Sequence[str] = ("",), names: Sequence[str] = (),
) -> Iterator[Sample]:  # fmt: skip
    """Samples ``first`` to ``first + count`` - 1 of each entry, element type and variant; entries may have fewer.

    ``names``: of the entries, where not all are wanted.
    """
    from torch.testing._internal import common_methods_invocations
    from torch.testing._internal.common_modules import module_db

    warnings.simplefilter("ignore")
    # Random operators of the database set a seed themselves, which would hide that they are random.
    vars(common_methods_invocations)["wrapper_set_seed"] = lambda op, *args, **kwargs: op(*args, **kwargs)
    databases: list[tuple[str, str, Callable[[Any, torch.dtype], Iterator[Call]], list[Any]]] = [
        ("op", "formatted_name", _operator_calls, common_methods_invocations.op_db),
        ("module", "name", _module_calls, module_db),
    ]
    for kind, attribute, calls, entries in databases:
        for entry in entries if kind in kinds else []:
            name = getattr(entry, attribute)
            for dtype in dtypes if not names or name in names else []:
                with torch.no_grad():
                    found = calls(entry, getattr(torch, dtype))
                    yield from _samples_of(kind, name, found, dtype, variants, first, count)
    if "example" in kinds and first == 0 and "" in variants:
        from torch._export.db import examples

        cases: dict[str, Any] = examples.all_examples()  # type: ignore[no-untyped-call]
        for name, case in cases.items():
            if not names or name in names:
                yield Sample("example", name, "any", 0, functools.partial(_example, case))
    if "architecture" in kinds and first == 0 and "" in variants:
        from architectures import ARCHITECTURES

        for name, (_, make_model) in ARCHITECTURES.items():
            if not names or name in names:
                yield Sample("architecture", name, "float32", 0, make_model)


def _example(case: Any) -> Model:
    return Model(case.model, tuple(case.example_args), dict(case.example_kwargs), case.dynamic_shapes or None)
