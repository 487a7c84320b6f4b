"""Recurrent layers with every option, at any length: eager's values, also of NaN and infinities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import aotbuild

FEATURES = 5
KINDS: dict[str, Callable[..., nn.RNNBase]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
# Sizes of a vector and less, of several panels, and with panels left over.
OPTIONS: dict[str, tuple[int, dict[str, Any]]] = {
    "small": (3, {}),
    "vector": (16, {"batch_first": True}),
    "deep": (37, {"num_layers": 3, "bidirectional": True, "batch_first": True}),
    "wide": (200, {"bias": False}),
    "dropped": (20, {"num_layers": 2, "dropout": 0.3}),
}
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Layers(nn.Module):
    """Each kind of layer with each of the options, once without and once with an initial state."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        for kind, make in KINDS.items():
            for name, (hidden, options) in OPTIONS.items():
                self.layers[f"{kind}_{name}"] = make(FEATURES, hidden, **options)
            self.layers[f"{kind}_float64"] = make(FEATURES, 11, num_layers=2, bidirectional=True).double()
        for name, dtype in HALVES.items():
            self.layers[f"lstm_{name}"] = nn.LSTM(FEATURES, 20, 2).to(dtype)
            self.layers[f"gru_{name}"] = nn.GRU(FEATURES, 20, 2, batch_first=True).to(dtype)
        self.layers["lstm_projected"] = nn.LSTM(FEATURES, 30, 2, proj_size=7, bidirectional=True)

    def forward(self, x: Tensor, scale: Tensor) -> dict[str, Any]:
        """``x``: [length, batch, FEATURES]; states are ones times ``scale``."""
        results = {}
        for name, layer in self.layers.items():
            assert isinstance(layer, nn.RNNBase)
            given = x.transpose(0, 1) if layer.batch_first else x
            given = given.to(next(layer.parameters()).dtype)
            parts = layer.num_layers * (2 if layer.bidirectional else 1)
            sizes = [layer.proj_size or layer.hidden_size, layer.hidden_size]
            state = [scale.to(given.dtype).expand(parts, x.shape[1], size) for size in sizes]
            results[name] = layer(given)
            results[f"{name}_with_state"] = layer(
                given, (state[0], state[1]) if isinstance(layer, nn.LSTM) else state[0]
            )
        return results


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layers, Any]:
    torch.manual_seed(0)
    module = Layers().eval()
    dims = {0: torch.export.Dim("length", min=1, max=300), 1: torch.export.Dim("batch", min=1, max=64)}
    built = aotbuild.compile(
        module,
        (torch.randn(7, 2, FEATURES), torch.tensor(0.5)),
        dynamic_shapes={"x": dims, "scale": None},
        output_dir=tmp_path_factory.mktemp("recurrent"),
    )
    return module, built.runner


def tolerances(name: str) -> tuple[float, float]:
    if "bfloat16" in name or "float16" in name:
        return 2e-2, 2e-2
    return (1e-12, 1e-12) if "float64" in name else (1e-5, 2e-6)


def compare(module: Layers, library: Any, x: Tensor, scale: Tensor) -> None:
    with torch.no_grad():
        expected = module(x, scale)
    actual = library(x, scale)
    assert list(actual) == list(expected)
    for name, wanted in expected.items():
        for got, want in zip(flat(actual[name]), flat(wanted), strict=True):
            rtol, atol = tolerances(name)
            torch.testing.assert_close(got, want, rtol=rtol, atol=atol, equal_nan=True, msg=f"{name}: {got - want}")


def flat(value: Any) -> list[Tensor]:
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, tuple | list) else [value]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, 5, 9, 33])
@pytest.mark.parametrize("length", [1, 2, 75])
def test_values_are_eager_pytorchs(layers: tuple[Layers, Any], length: int, batch: int) -> None:
    torch.manual_seed(length + batch)
    compare(*layers, torch.randn(length, batch, FEATURES), torch.tensor(-0.3))


@pytest.mark.slow
def test_large_values_are_eager_pytorchs(layers: tuple[Layers, Any]) -> None:
    torch.manual_seed(1)
    compare(*layers, 30 * torch.randn(20, 3, FEATURES), torch.tensor(2.0))


@pytest.mark.slow
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_eager_pytorchs(layers: tuple[Layers, Any], value: float) -> None:
    torch.manual_seed(2)
    x = torch.randn(9, 4, FEATURES)
    x[3, 1, 2] = value
    compare(*layers, x, torch.tensor(0.0))
    compare(*layers, torch.randn(3, 2, FEATURES), torch.tensor(value))


@pytest.mark.slow
def test_errors_are_those_of_eager_pytorch(layers: tuple[Layers, Any]) -> None:
    module, library = layers
    torch.manual_seed(3)
    x, scale = torch.randn(100, 2, FEATURES), torch.tensor(0.1)
    exact = {}
    with torch.no_grad():
        eager = module(x, scale)
        for name, layer in module.layers.items():
            if name.endswith(("deep", "wide", "projected")):
                assert isinstance(layer, nn.RNNBase)
                layer.double()
                exact[name] = layer((x.transpose(0, 1) if layer.batch_first else x).double())[0]
                layer.float()
    actual = library(x, scale)
    for name, values in exact.items():
        error = [float((results[name][0].double() - values).abs().max()) for results in (actual, eager)]
        assert error[0] <= 1.5 * error[1], f"{name}: {error}"


def test_a_stream_in_chunks_is_the_whole_sequence(load: Callable[..., Any]) -> None:
    library = load("streaming", outputs="torch")
    x, h, c = torch.randn(50, 3, 4), torch.zeros(2, 3, 20), torch.zeros(2, 3, 20)
    whole, state = library(x, h, c)
    parts = []
    for chunk in torch.split(x, [1, 7, 2, 30, 10]):
        part, (h, c) = library(chunk, h, c)
        parts.append(part)
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(h, state[0]) and torch.equal(c, state[1])
