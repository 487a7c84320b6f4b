"""From an exported program to its call: parameters with their defaults, containers with their classes."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from aotbuild.capture import Captured, Source, capture
from aotbuild.spec.model import Model

pytestmark = pytest.mark.quick


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Batch:
    x: Any
    names: Any = None
    count: Any = 3


class Own:
    """Registered without names."""

    def __init__(self, parts: list[Any], label: str) -> None:
        self.parts, self.label = parts, label


torch.export.register_dataclass(Batch, serialized_type_name="tests.unit.test_describe_call.Batch")
pytree.register_pytree_node(
    Own,
    lambda own: (own.parts, own.label),
    lambda parts, label: Own(list(parts), label),
    serialized_type_name="tests.unit.test_describe_call.Own",
    flatten_with_keys_fn=lambda own: ([(pytree.SequenceKey(i), part) for i, part in enumerate(own.parts)], own.label),
)


def captured(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Captured:
    return capture(Source(Model(model, args, kwargs or {}), None, ()))


def parameters(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = captured(model, args, kwargs).signature.call.as_json()["parameters"]
    return found


X = torch.ones(3)


def test_parameters_are_those_of_the_function_in_their_order() -> None:
    def f(
        x: Tensor, /, y: Any, power: float = 2.0, *rest: Tensor, flag: bool = True, kind: Any = float, **more: Any
    ) -> Any:
        return x + y + rest[0] ** power + more["z"]

    given = parameters(f, (X, torch.zeros(3), 3.0, torch.ones(3)), {"z": torch.ones(1)})
    constant, default = {"constant": 3.0}, {"constant": True}
    assert given == [
        {"name": "x", "kind": "positional_only", "value": 0},
        {"name": "y", "kind": "positional_or_keyword", "value": 1},
        {"name": "power", "kind": "positional_or_keyword", "value": constant, "default": {"constant": 2.0}},
        {"name": "rest", "kind": "var_positional", "value": {"tuple": [2]}},
        {"name": "flag", "kind": "keyword_only", "value": default, "default": default},
        {"name": "kind", "kind": "keyword_only"},
        {"name": "more", "kind": "var_keyword", "value": {"dict": [3], "keys": ["z"]}},
    ]


def test_keywords_keep_the_order_of_the_function_whatever_the_example_has() -> None:
    def f(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return x + a - b

    given = captured(f, (X,), {"b": torch.zeros(3), "a": torch.ones(3)}).signature
    assert [spec.name for spec in given.inputs] == ["x", "b", "a"]
    assert [(one.name, one.value.index) for one in given.call.parameters if one.value] == [("x", 0), ("a", 2), ("b", 1)]


def test_an_exported_program_has_the_names_that_it_keeps() -> None:
    def f(x: Tensor, *, scale: Tensor, k: int = 2) -> Tensor:
        return x * scale * k

    module = captured(f, (X,), {"scale": torch.ones(3), "k": 4}).program
    call = capture(Source(None, module, ())).signature.call
    assert [(one.name, one.value and one.value.as_json()) for one in call.parameters] == [
        ("x", 0),
        ("scale", 1),
        ("k", {"constant": 4}),
    ]


def test_a_module_of_modules_has_the_parameters_of_its_forward() -> None:
    assert [one["name"] for one in parameters(nn.Sequential(nn.ReLU()), (X,))] == ["input"]


class Adder:
    def __call__(self, x: Tensor, other: Tensor) -> Tensor:
        return x + other

    def add(self, x: Tensor, other: Tensor) -> Tensor:
        return x + other


@pytest.mark.parametrize("function", [Adder(), Adder().add, functools.partial(torch.where, X > 0)])
def test_whatever_can_be_called_is_a_model(function: Any) -> None:
    model = captured(function, (X, torch.zeros(3)))
    names = [one.name for one in model.signature.call.parameters]
    assert names == (["args", "kwargs"] if isinstance(function, functools.partial) else ["x", "other"])


@pytest.mark.parametrize("function", [torch.add, torch.ops.aten.add.Tensor, Tensor.add])
def test_a_function_of_c_is_called_by_position(function: Any) -> None:
    model = captured(function, (X, torch.zeros(3)))
    assert model.signature.call.as_json()["parameters"][0] == {
        "name": "args",
        "kind": "var_positional",
        "value": {"tuple": [0, 1]},
    }


@pytest.mark.parametrize(
    ("value", "node"),
    [
        ((X,), {"tuple": [0]}),
        ([X, (1, None)], {"list": [0, {"tuple": [{"constant": 1}, {"constant": None}]}]}),
        ({7: X, "a.b": float("inf")}, {"dict": [0, {"constant": "inf", "type": "float"}], "keys": [7, "a.b"]}),
        ({(0, "k"): X}, {"dict": [0], "keys": [(0, "k")]}),
        (collections.OrderedDict(k=X), {"ordered_dict": [0], "keys": ["k"]}),
        (collections.defaultdict(Tensor, k=X), {"default_dict": [0], "keys": ["k"]}),
        (collections.deque([X]), {"deque": [0]}),
        (Pair(X, 2), {"namedtuple": [0, {"constant": 2}], "keys": ["left", "right"], "name": "Pair"}),
        (
            Batch(X),
            {"object": [0, {"constant": 3}, {"constant": None}], "keys": ["x", "count", "names"], "name": "Batch"},
        ),
        (
            Batch(None, X, None),
            {"object": [0, {"constant": None}, {"constant": None}], "keys": ["names", "x", "count"], "name": "Batch"},
        ),
        (Own([X], "k"), {"opaque": [0], "name": "Own"}),
        (torch.max(torch.eye(2), 0), {"namedtuple": [0, 1], "keys": ["values", "indices"], "name": "max"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_container_is_described_and_made_again(value: Any, node: Any) -> None:
    def f(given: Any) -> Any:
        return pytree.tree_map_only(Tensor, lambda tensor: tensor + 1, given)

    model = captured(f, (value,))
    call = model.signature.call
    assert call.parameters[0].value is not None
    assert call.parameters[0].value.as_json() == node
    is_builtin = type(value) in (tuple, list, dict)
    kinds = [found.type for found in model.classes]
    assert kinds == ([] if is_builtin else [type(value)] * 2)
    if not is_builtin:
        items = [item.value if item.kind == "constant" else X for item in call.result.items]
        made = model.classes[-1].make(items)
        assert type(made) is type(value)
        flatten = model.classes[0].flatten
        assert (flatten is not None) == (type(value) is Own)
        if flatten is not None:
            assert flatten(made) == ([X], model.classes[0].context)


@dataclass
class Inner:
    y: Any


@dataclass
class Outer:
    inner: Any
    x: Any = None


def test_dataclasses_that_torch_does_not_know_are_registered() -> None:
    @dataclass
    class Result:
        outer: Any

    def f(given: Outer) -> Any:
        return [Result(Outer(Inner(given.inner.y + 1)))]

    call = captured(f, (Outer(Inner(X), torch.ones(2)),)).signature.call
    inner = {"object": [0], "keys": ["y"], "name": "Inner"}
    outer = {"object": [inner, {"constant": None}], "keys": ["inner", "x"], "name": "Outer"}
    assert call.result.as_json() == {"list": [{"object": [outer], "keys": ["outer"], "name": "Result"}]}


def test_numbers_of_results_have_their_types() -> None:
    def f(x: Tensor) -> Any:
        return x.shape[0], 2.5, x.sum().item() > 2, x.size()

    function: Callable[..., Any] = f
    assert captured(function, (X,)).signature.call.as_json()["result"] == {
        "tuple": [
            {"number": 0, "type": "int"},
            {"number": 1, "type": "float"},
            {"number": 2, "type": "bool"},
            {"size": [{"number": 3, "type": "int"}]},
        ]
    }
