"""Methods of a model: what the model file and METHODS have to agree on, and weights and layers without repetition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aotbuild import Method, Model
from aotbuild.capture import Source, capture, capture_methods, parse_dynamic_shape
from aotbuild.errors import AotbuildError
from aotbuild.methods import LoweredMethod, join
from aotbuild.pipeline import GenerateRequest, generate
from aotbuild.program import EmitOptions, Linear, Signature, TensorData, Weight


class Counter(torch.nn.Module):
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(2), persistent=False)

    def add(self, x: torch.Tensor) -> torch.Tensor:
        self.count.add_(x)
        return self.count * 2

    def get(self) -> torch.Tensor:
        return self.count + 1

    def run(self) -> torch.Tensor:
        return self.count


def source(**arguments: Any) -> Source:
    methods = {"add": Method((torch.ones(2),)), "get": Method(), "run": Method()}
    return Source(Model(Counter(), **{"methods": methods, **arguments}), None, ())


def test_methods_are_captured_with_the_state_that_any_of_them_writes() -> None:
    methods, session = capture_methods(source(), ["add", "get"], (), "counter")
    assert list(methods) == ["add", "get"]
    assert {method.state for method in methods.values()} == {frozenset({"count"})}
    assert [name for name, _ in session] == ["add", "get", "add", "get"]
    values = [case.outputs[0].data.view(np.float32)[0] for _, case in session]
    assert values == [2, 2, 4, 3]  # each call sees what those before it wrote
    assert methods["get"].golden[0].outputs[0].data.view(np.float32)[0] == 1  # and no call outside of the session


@pytest.mark.parametrize(
    ("given", "names", "message"),
    [
        (
            source(methods={}),
            ["add"],
            "METHODS: the model file gives an example for one call only; return aotbuild.Model(",
        ),
        (source(), ["addd"], "METHODS addd: the methods of the model file are add, get, run"),
        (source(), ["run"], "METHODS run: every model has that name for something else; rename the method"),
        (source(methods={"sub": Method()}), ["sub"], "METHODS sub: the module, a Counter, has no such method"),
        (source(example_inputs=(torch.ones(2),)), ["add"], "gives example inputs of the model and methods"),
        (Source(None, None, ()), ["add"], "METHODS: a .pt2 file holds one function"),
    ],
)
def test_disagreement_is_an_error(given: Source, names: list[str], message: str) -> None:
    with pytest.raises(AotbuildError) as error:
        capture_methods(given, names, (), "counter")
    assert message in str(error.value)


def test_methods_have_to_be_named() -> None:
    with pytest.raises(AotbuildError, match=r"counter: the model file has methods; .*: METHODS add get run"):
        capture(source(), (), "counter")


def test_dynamic_shapes_begin_with_the_method() -> None:
    with pytest.raises(AotbuildError, match=r"with METHODS write method.input:dim=min..max; the methods are add, get"):
        capture_methods(source(), ["add", "get"], [parse_dynamic_shape("x:0=1..4")], "counter")


def test_methods_of_a_model_for_cuda_are_refused(tmp_path: Path) -> None:
    request = GenerateRequest(
        "model.py:build", EmitOptions("counter"), tmp_path, tmp_path / "stamp", device="cuda", methods=("add",)
    )
    with pytest.raises(AotbuildError, match="counter: METHODS with DEVICE cuda is not supported yet; use DEVICE cpu"):
        generate(request)


def weight(name: str, value: float, aliases: tuple[str, ...] = (), **kind: bool) -> Weight:
    data = np.full(2, value, np.float32)
    return Weight(name, TensorData("float32", (2,), data.view(np.uint8)), aliases, **kind)


def test_weights_and_layers_are_joined() -> None:
    empty = Signature((), ())
    first = LoweredMethod(
        *("prefill", empty, (), ()),
        (weight("embedding", 1, ("head",)), weight("up", 2), weight("table", 3, required=False)),
        (Linear((1,), (None,), m_hint=32), Linear((0,), (None,), m_hint=1)),
    )
    second = LoweredMethod(
        *("decode", empty, (), ()),
        (weight("table", 4, required=False), weight("table2", 3, required=False), weight("head", 1), weight("up", 2)),
        (Linear((2,), (None,), m_hint=1), Linear((3,), (None,), m_hint=1), Linear((3,), (None,), "relu", m_hint=1)),
    )
    joined = join([first, second])
    assert [w.name for w in joined.weights] == ["embedding", "up", "table", "decode.table"]
    assert joined.weights[0].aliases == ("head",)
    assert joined.linears == (
        Linear((1,), (None,), m_hint=32),
        Linear((0,), (None,), m_hint=1),
        Linear((1,), (None,), "relu", m_hint=1),
    )
    prefill, decode = (method.numbering for method in joined.methods)
    assert prefill is not None and (prefill.weights, prefill.linears) == ((0, 1, 2), (0, 1))
    assert decode is not None and (decode.weights, decode.linears) == ((3, 2, 0, 1), (1, 0, 2))
