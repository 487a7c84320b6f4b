"""Methods of a model: what the model file and METHODS have to agree on, and weights and layers without repetition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aotbuild import Method, Model
from aotbuild.capture import Source, capture, capture_methods, parse_dynamic_shapes
from aotbuild.commands.cli import main
from aotbuild.generate.methods import LoweredMethod, join
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import Linear, Signature, TensorData, Weight
from aotbuild.tuning.bundle import Bundle, Kernel, read_description


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
        capture_methods(source(), ["add", "get"], parse_dynamic_shapes(["x:0=1..4"]), "counter")


@pytest.mark.quick
def test_tuning_takes_the_kernels_of_all_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kernels_of(captured: Any, architecture: str, *, target: str, **_: Any) -> Bundle:
        keys = {"counter.add": ("shared", "add"), "counter.get": ("shared", "get")}[target]
        return Bundle(target, f"sm_{architecture}", "", [Kernel(key, key, (), (), ()) for key in keys])

    monkeypatch.setattr("aotbuild.lower.cuda.tune.bundling.bundle", kernels_of)
    monkeypatch.setattr("aotbuild.capture.load_source", lambda *_: source())
    arguments = ["--target", "counter", "--model", "counter.py:build", "--method", "add", "--method", "get"]
    assert main(["tune", "bundle", *arguments, "--cuda-architecture", "90", "--bundle", str(tmp_path)]) == 0
    description = read_description(tmp_path)
    assert description["target"] == "counter"
    assert [kernel["key"] for kernel in description["kernels"]] == ["shared", "add", "get"]


def weight(name: str, value: float, aliases: tuple[str, ...] = (), **kind: bool) -> Weight:
    data = np.full(2, value, np.float32)
    return Weight(name, TensorData("float32", (2,), data.view(np.uint8)), aliases, **kind)


def test_weights_and_layers_are_joined() -> None:
    empty = Signature((), ())
    first = LoweredMethod(
        *("prefill", empty, (), ()),
        (weight("embedding", 1, ("head",)), weight("up", 2), weight("table", 3, required=False)),
        (Linear((1,), (None,)), Linear((0,), (None,))),
    )
    second = LoweredMethod(
        *("decode", empty, (), ()),
        (weight("table", 4, required=False), weight("table2", 3, required=False), weight("head", 1), weight("up", 2)),
        (Linear((2,), (None,)), Linear((3,), (None,)), Linear((3,), (None,), "relu")),
    )
    joined = join([first, second])
    assert [w.name for w in joined.weights] == ["embedding", "up", "table", "decode.table"]
    assert joined.weights[0].aliases == ("head",)
    assert joined.linears == (
        Linear((1,), (None,)),
        Linear((0,), (None,)),
        Linear((1,), (None,), "relu"),
    )
    prefill, decode = (method.numbering for method in joined.methods)
    assert prefill is not None and (prefill.weights, prefill.linears) == ((0, 1, 2), (0, 1))
    assert decode is not None and (decode.weights, decode.linears) == ((3, 2, 0, 1), (1, 0, 2))


@pytest.mark.quick
def test_what_methods_derive_from_weights_is_numbered_behind_them_and_once() -> None:
    empty = Signature((), ())
    first = LoweredMethod(
        *("prefill", empty, (), ()), (weight("up", 1), weight("down", 2)), derived=("up transposed", "both")
    )
    second = LoweredMethod(
        *("decode", empty, (), ()), (weight("down", 2), weight("norm", 3)), derived=("both", "norm + 1")
    )
    prefill, decode = (method.numbering for method in join([first, second]).methods)
    assert prefill is not None and prefill.weights == (0, 1, 3, 4)
    assert decode is not None and decode.weights == (1, 2, 4, 5)


class Attention(torch.nn.Module):
    """Two methods whose query and key become one product over weights that are joined ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = torch.nn.Linear(32, 32), torch.nn.Linear(32, 32)
        self.register_buffer("last", torch.zeros(32), persistent=False)
        self.last: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key = self.query(x), self.key(x)
        self.last.copy_(key[0])
        product: torch.Tensor = query @ key.T
        return product

    def again(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = (self.query(x) + self.last) * self.key(x)
        return product


def test_methods_for_a_gpu_say_what_they_derive_in_the_same_words() -> None:
    from aotbuild.lower.cuda.graph.derived import describe_outputs
    from aotbuild.lower.cuda.graph.graph import prepare

    methods = {"forward": Method((torch.randn(4, 32),)), "again": Method((torch.randn(7, 32),))}
    captured, _ = capture_methods(Source(Model(Attention(), methods=methods), None, ()), list(methods), (), "attention")
    graphs = [prepare(method.program, method.state) for method in captured.values()]
    texts = [describe_outputs(graph.derived) for graph in graphs if graph.derived is not None]
    assert len(texts) == 2 and texts[0] and texts[0] == texts[1]
    for graph in graphs:
        assert [weight.name for weight in graph.main.weights if weight.mutated] == ["last"]
