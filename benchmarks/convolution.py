"""Convolutions on one thread: ours, PyTorch's oneDNN with weights that it has packed, and eager PyTorch.

    python benchmarks/convolution.py [--onednn] [--rounds N] [NAME ...]

Layers of ResNet-50, MobileNet, EfficientNet, ConvNeXt, ViT and UNet with bias and ReLU, one image, channels last. With
--onednn, ours runs over a runtime with oneDNN. All contenders run in one process and take turns; the figures are the
thread's own processor time, the best of all calls, and the largest error against float64.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from typing import Any
from unittest import mock

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np
import torch
from torch import nn

import aotbuild
from harness import best_times, machine, relative_error, save, table

BUILD = Path(__file__).parents[1] / "build" / "bench" / "convolution"

Run = Callable[[], Any]


@dataclass(frozen=True)
class Shape:
    channels: int
    size: int
    outputs: int
    kernel: int
    stride: int = 1
    groups: int = 1
    dilation: int = 1

    @property
    def name(self) -> str:
        kind = "depthwise" if self.groups > 1 else "conv2d"
        dilation = f"_d{self.dilation}" if self.dilation > 1 else ""
        return f"{kind}_{self.kernel}s{self.stride}{dilation}_{self.size}x{self.channels}_{self.outputs}"

    @property
    def padding(self) -> int:
        return 0 if self.kernel == self.stride else self.dilation * (self.kernel - 1) // 2

    def layer(self) -> nn.Conv2d:
        return nn.Conv2d(
            self.channels, self.outputs, self.kernel, self.stride, self.padding, self.dilation, self.groups
        )

    def input(self) -> torch.Tensor:
        """[1, channels, size, size], channels last in memory."""
        torch.manual_seed(self.size)
        return torch.randn(1, self.size, self.size, self.channels).permute(0, 3, 1, 2)


def _depthwise(channels: int, size: int, kernel: int, stride: int = 1) -> Shape:
    return Shape(channels, size, channels, kernel, stride, groups=channels)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(3, 224, 64, 7, 2),
        Shape(64, 56, 64, 3),
        Shape(128, 28, 128, 3),
        Shape(256, 14, 256, 3),
        Shape(512, 7, 512, 3),
        Shape(128, 56, 128, 3, 2),
        Shape(512, 14, 512, 3, 2),
        Shape(64, 56, 256, 1),
        Shape(256, 56, 64, 1),
        Shape(1024, 14, 256, 1),
        Shape(512, 7, 2048, 1),
        Shape(256, 56, 512, 1, 2),
        Shape(3, 224, 16, 3, 2),
        Shape(3, 224, 32, 3, 2),
        Shape(24, 56, 72, 1),
        Shape(40, 28, 120, 1),
        Shape(160, 7, 960, 1),
        Shape(64, 256, 64, 3),
        Shape(3, 384, 96, 4, 4),
        Shape(3, 224, 768, 16, 16),
        Shape(64, 28, 64, 3, dilation=2),
        _depthwise(32, 112, 3),
        _depthwise(72, 56, 3),
        _depthwise(96, 112, 3, 2),
        _depthwise(480, 14, 3),
        _depthwise(960, 7, 3),
        _depthwise(120, 28, 5),
        _depthwise(240, 28, 5, 2),
        _depthwise(480, 14, 5),
        _depthwise(960, 7, 5),
        _depthwise(96, 56, 7),
        _depthwise(768, 7, 7),
    )
}


class Layers(nn.Module):
    """All layers, each a method, so that one build has them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleDict({name: shape.layer() for name, shape in SHAPES.items()})


def _method(name: str) -> Callable[[Layers, torch.Tensor], torch.Tensor]:
    def method(self: Layers, x: torch.Tensor) -> torch.Tensor:
        """[1, height, width, channels] to the same of the output."""
        return torch.relu(self.layers[name](x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)

    return method


for _name in SHAPES:
    setattr(Layers, _name, _method(_name))


def compiled(module: Layers, names: Sequence[str], *, onednn: bool) -> Any:
    methods = {name: aotbuild.Method((_last(SHAPES[name].input()),)) for name in names}
    if not onednn:
        return aotbuild.compile(module, methods=methods, output_dir=BUILD, num_threads=1).runner
    BUILD.mkdir(parents=True, exist_ok=True)
    settings = BUILD / "onednn.cmake"
    settings.write_text("set(AOTBUILD_ONEDNN ON)\n")
    with mock.patch.dict(os.environ, {"CMAKE_TOOLCHAIN_FILE": str(settings)}):
        folder = BUILD / "onednn"
        return aotbuild.compile(module, methods=methods, output_dir=folder, name="onednn", num_threads=1).runner


def _last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def on_onednn(layer: Any, shape: Shape, x: torch.Tensor) -> Run:
    """PyTorch's own call of oneDNN over packed weights, which TorchInductor uses."""
    geometry: tuple[Any, ...] = (layer.padding, layer.stride, layer.dilation, shape.groups)
    packed = torch.ops.mkldnn._reorder_convolution_weight(layer.weight.detach(), *geometry, list(x.shape))
    return lambda: torch.ops.mkldnn._convolution_pointwise(x, packed, layer.bias, *geometry, "relu", [], "")


def measured(names: Sequence[str], rounds: int, *, onednn: bool) -> Iterator[dict[str, Any]]:
    module = Layers().eval()
    library = compiled(module, names, onednn=onednn)  # one or the other: a process has one runtime
    for name in names:
        layer: Any = module.layers[name]
        shape = SHAPES[name]
        x = shape.input()
        runs, exact = contenders(shape, layer, x, getattr(library, name))
        errors = {each: relative_error(np.asarray(run()), exact[each]) for each, run in runs.items()}
        seconds = best_times(runs, rounds=rounds)
        work = 2e-9 * exact["eager"].size * layer.weight[0].numel()
        yield {
            "layer": name,
            "microseconds": {each: 1e6 * value for each, value in seconds.items()},
            "gflops": {each: work / value for each, value in seconds.items()},
            "of_onednn": seconds["aotbuild"] / seconds["onednn"],
            "errors": errors,
        }


def contenders(
    shape: Shape, layer: Any, x: torch.Tensor, ours: Callable[[Any], Any]
) -> tuple[dict[str, Run], dict[str, Any]]:
    """Every contender's call over one input, and the result in float64 in its layout."""
    given = _last(x).numpy()
    runs: dict[str, Run] = {
        "aotbuild": lambda: ours(given),
        "onednn": on_onednn(layer, shape, x),
        "eager": lambda: torch.relu(layer(x)),
    }
    exact = torch.relu(layer.double()(x.double()))
    layer.float()
    return runs, {each: (_last(exact) if each == "aotbuild" else exact).numpy() for each in runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--onednn", action="store_true", help="over a runtime with oneDNN")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SHAPES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        results = list(measured(arguments.names or list(SHAPES), arguments.rounds, onednn=arguments.onednn))
    lines = [
        [
            result["layer"],
            *(f"{result['gflops'][each]:.1f}" for each in ("aotbuild", "onednn", "eager")),
            f"{result['of_onednn']:.2f}",
        ]
        for result in results
    ]
    print(table(["GFLOP/s", "aotbuild", "oneDNN", "eager", "time, of oneDNN's"], lines))
    mean = exp(sum(log(result["of_onednn"]) for result in results) / len(results))
    errors = {each: max(result["errors"][each] for result in results) for each in results[0]["errors"]}
    print(f"geometric mean {mean:.3f}; largest errors " + ", ".join(f"{each} {e:.1e}" for each, e in errors.items()))
    results_name = "convolution-onednn" if arguments.onednn else "convolution"
    save(results_name, {"machine": machine(), "geometric_mean_of_onednn": mean, "results": results})


if __name__ == "__main__":
    main()
