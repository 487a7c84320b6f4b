"""Linear layers on one thread: ours, PyTorch's oneDNN with weights that it has packed, and eager PyTorch.

    python benchmarks/linear.py [--rounds N] [NAME ...]

All contenders run in one process and take turns; the figures are the thread's own processor time, the best of all
calls, and the largest error against float64. Each call is one from Python, which costs each some microseconds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np
import torch
from torch import nn

import aotbuild
from harness import best_times, machine, relative_error, save, table

BUILD = Path(__file__).parents[1] / "build" / "bench" / "linear"
ROWS = (1, 4, 16, 64, 128, 384)

Run = Callable[[], Any]


@dataclass(frozen=True)
class Shape:
    inputs: int
    outputs: int
    activation: str = "none"

    @property
    def name(self) -> str:
        return f"linear_{self.inputs}_{self.outputs}"


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(384, 384),
        Shape(384, 1152),
        Shape(384, 1536, "gelu"),
        Shape(1536, 384),
        Shape(768, 768),
        Shape(768, 3072, "gelu"),
        Shape(3072, 768),
        Shape(2048, 2048, "relu"),
        Shape(512, 1000),
        Shape(64, 256, "relu"),
        Shape(256, 8),
    )
}
ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda x: x,
    "gelu": nn.functional.gelu,
    "relu": nn.functional.relu,
}


class Layers(nn.Module):
    """All layers, each a method, so that one build has them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleDict({name: nn.Linear(shape.inputs, shape.outputs) for name, shape in SHAPES.items()})


def _method(name: str) -> Callable[[Layers, torch.Tensor], torch.Tensor]:
    def method(self: Layers, x: torch.Tensor) -> torch.Tensor:
        return ACTIVATIONS[SHAPES[name].activation](self.layers[name](x))

    return method


for _name in SHAPES:
    setattr(Layers, _name, _method(_name))


def compiled(module: Layers) -> Any:
    rows = {0: torch.export.Dim("rows", min=1, max=10000)}
    methods = {
        name: aotbuild.Method((torch.randn(8, shape.inputs),), dynamic_shapes=(rows,)) for name, shape in SHAPES.items()
    }
    return aotbuild.compile(module, methods=methods, output_dir=BUILD, num_threads=1).runner


def on_onednn(layer: nn.Linear, activation: str, x: torch.Tensor) -> Run:
    """PyTorch's own call of oneDNN over weights packed for this number of rows, which TorchInductor uses."""
    packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), len(x))
    arguments: tuple[Any, ...] = (x, packed, layer.bias, activation, [], "none" if activation == "gelu" else "")
    return lambda: torch.ops.mkldnn._linear_pointwise(*arguments)


def measured(names: Sequence[str], rounds: int) -> Iterator[dict[str, Any]]:
    module = Layers().eval()
    library = compiled(module)
    for name in names:
        layer: Any = module.layers[name]
        for rows in ROWS:
            torch.manual_seed(rows)
            runs, exact = contenders(SHAPES[name], rows, layer, getattr(library, name))
            errors = {each: relative_error(np.asarray(run()), exact) for each, run in runs.items()}
            microseconds = {each: 1e6 * seconds for each, seconds in best_times(runs, rounds=rounds).items()}
            yield {"layer": name, "rows": rows, "microseconds": microseconds, "errors": errors}


def contenders(shape: Shape, rows: int, layer: nn.Linear, ours: Callable[[Any], Any]) -> tuple[dict[str, Run], Any]:
    """Every contender's call over one input, and the result in float64."""
    x, activation = torch.randn(rows, shape.inputs), ACTIVATIONS[shape.activation]
    given = x.numpy()
    runs: dict[str, Run] = {
        "aotbuild": lambda: ours(given),
        "onednn": on_onednn(layer, shape.activation, x),
        "eager": lambda: activation(layer(x)),
    }
    exact = activation(layer.double()(x.double())).numpy()
    layer.float()
    return runs, exact


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SHAPES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = arguments.names or list(SHAPES)
    with torch.no_grad():
        results = list(measured(names, arguments.rounds))
    for result in results:
        times = result["microseconds"]
        result["of_onednn"] = times["aotbuild"] / times["onednn"]
    lines = [
        [name, *(f"{r['microseconds']['aotbuild']:.1f} ({r['of_onednn']:.2f})" for r in results if r["layer"] == name)]
        for name in names
    ]
    print(table(["microseconds (of oneDNN's)", *(f"{rows} rows" for rows in ROWS)], lines))
    mean = exp(sum(log(result["of_onednn"]) for result in results) / len(results))
    errors = {each: max(result["errors"][each] for result in results) for each in results[0]["errors"]}
    print(f"geometric mean {mean:.3f}; largest errors " + ", ".join(f"{each} {e:.1e}" for each, e in errors.items()))
    save("linear", {"machine": machine(), "geometric_mean_of_onednn": mean, "results": results})


if __name__ == "__main__":
    main()
