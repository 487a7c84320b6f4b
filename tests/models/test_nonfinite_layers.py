"""NaN, infinities and huge values through layers with an activation behind them: eager's values, however many rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import aotbuild

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hardswish": functional.hardswish,
    "leaky_relu": functional.leaky_relu,
    "leaky_relu_0": lambda x: functional.leaky_relu(x, 0.0),
    "leaky_relu_negative": lambda x: functional.leaky_relu(x, -0.5),
    "relu6": functional.relu6,
    "hardtanh": functional.hardtanh,
}
FEATURES = 300


class Layers(nn.Module):
    """Each kind of packed layer, with each activation behind a layer of its own; [rows, FEATURES] in."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self.shapes: dict[str, tuple[int, ...]] = {}
        for activation in ACTIVATIONS:
            self._add(activation, "narrow", (19,), nn.Linear(19, 37))
            self._add(activation, "blocked", (300,), nn.Linear(300, 40))  # summed in two halves
            self._add(activation, "pair", (64,), nn.Linear(64, 512))  # the first of two linear layers
            self._add(activation, "conv1d", (3, 20), nn.Conv1d(3, 20, 3))
            self._add(activation, "conv2d", (3, 6, 6), nn.Sequential(nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20)))
            self._add(activation, "pointwise", (32, 3, 3), nn.Conv2d(32, 64, 1))
            self._add(activation, "depthwise", (32, 3, 3), nn.Conv2d(32, 32, 3, groups=32, padding=1))
            self._add(activation, "conv3d", (3, 4, 4, 4), nn.Conv3d(3, 20, 3))
            self._add(activation, "transposed1d", (3, 9), nn.ConvTranspose1d(3, 20, 3))
            self._add(
                activation, "transposed2d", (16, 4, 4),
                nn.Sequential(nn.ConvTranspose2d(16, 20, 3, stride=2), nn.BatchNorm2d(20)),
            )  # fmt: skip
            self._add(activation, "transposed3d", (3, 4, 4, 4), nn.ConvTranspose3d(3, 20, 3))
        self.second = nn.ModuleDict({activation: nn.Linear(512, 32) for activation in ACTIVATIONS})

    def _add(self, activation: str, kind: str, shape: tuple[int, ...], layer: nn.Module) -> None:
        self.layers[f"{activation}_{kind}"] = layer
        self.shapes[f"{activation}_{kind}"] = shape

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        results = {}
        for name, layer in self.layers.items():
            activation, _, kind = name.rpartition("_")
            shape = self.shapes[name]
            y = ACTIVATIONS[activation](layer(x[:, : math.prod(shape)].reshape(-1, *shape)))
            results[name] = self.second[activation](y) if kind == "pair" else y
        return results


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    module = Layers().eval()
    built = aotbuild.compile(
        module,
        (torch.randn(8, FEATURES),),
        dynamic_shapes={"x": {0: torch.export.Dim("rows", min=1, max=64)}},
        output_dir=tmp_path_factory.mktemp("nonfinite_layers"),
    )
    return module, built.runner


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 33])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e38])
def test_activations_behind_layers_keep_what_is_no_number(
    layers: tuple[nn.Module, Any], value: float, rows: int
) -> None:
    module, library = layers
    torch.manual_seed(1)
    x = torch.randn(rows, FEATURES)
    x[::2, 5] = value
    x[-1, 17] = value
    with torch.no_grad():
        expected = module(x)
    actual = library(x)
    wrong = {}
    for name, want in expected.items():
        got = torch.as_tensor(actual[name])
        if name.startswith("gelu_") and not math.isnan(value):
            # gelu(inf) is NaN where eager calls oneDNN, which may depend on the number of elements, and else inf.
            got = got.nan_to_num(nan=math.inf, posinf=math.inf)
            want = want.nan_to_num(nan=math.inf, posinf=math.inf)
        scale = float(want[want.isfinite()].abs().max()) if bool(want.isfinite().any()) else 0.0
        try:
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * max(scale, 1.0), equal_nan=True)
        except AssertionError as error:
            wrong[name] = str(error).splitlines()[2:5]
    assert wrong == {}
