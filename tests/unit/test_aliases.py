"""Tensors that are one in memory: refused where torch.export would compile something else, else followed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aotbuild.capture import Captured, Source, capture
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model

pytestmark = pytest.mark.quick


def captured(model: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Captured:
    return capture(Source(Model(model, args, kwargs or {}), None, ()))


class Counter(nn.Module):
    """Its buffer is in a list too."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(3))
        self.kept = [self.steps]
        self.tail = self.steps[1:]
        self.plain = torch.zeros(3)


class CountsInTheList(Counter):
    def forward(self, x: Tensor) -> Tensor:
        self.kept[0].add_(1)
        return x + self.kept[0]


class ReadsTheList(Counter):
    def forward(self, x: Tensor) -> Tensor:
        self.steps.add_(1)
        return x + self.kept[0]


class ReadsAView(Counter):
    def forward(self, x: Tensor) -> Tensor:
        self.steps.add_(1)
        return x[1:] + self.tail


class CountsInAnAttribute(Counter):
    def forward(self, x: Tensor) -> Tensor:
        self.plain.add_(1)
        return x + self.plain


class CountsByOut(Counter):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.plain, x, out=self.plain) + 1


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (lambda x: (x, x), {}, "input 'y' is the same tensor as the example input 'x'"),
        (lambda x: (x,), {"y": 0}, "input 'y' is the same tensor as the example input 'x'"),
        (
            lambda x: ([x, {"a.b": x}], None),
            {},
            r"input \"x\[1\]\['a.b'\]\" is the same tensor as the example input 'x\[0\]'",
        ),
    ],
)
def test_one_tensor_as_two_inputs_is_refused(args: Any, kwargs: dict[str, Any], message: str) -> None:
    def f(x: Any, y: Any) -> Any:
        return x[0] + (y if y is not None else x[1]["a.b"])

    x = torch.ones(3)
    with pytest.raises(AotbuildError, match=message):
        captured(f, args(x), dict.fromkeys(kwargs, x))


@pytest.mark.parametrize("name", ["weight", "running_mean"])
def test_a_weight_of_the_model_as_input_is_refused(name: str) -> None:
    module = nn.BatchNorm1d(3)
    what = "parameter" if name == "weight" else "buffer"
    with pytest.raises(AotbuildError, match=f"input 'input' is the same tensor as the {what} '{name}' of the model"):
        captured(module, (getattr(module, name),))


def test_views_of_one_tensor_are_inputs_of_their_own_unless_one_is_written() -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        return x - y

    def g(x: Tensor, y: Tensor) -> Tensor:
        return x.add_(1) - y

    whole = torch.arange(4.0)
    program = captured(f, (whole, whole[:])).program
    assert torch.equal(program.module()(whole + 1, whole), torch.ones(4))
    captured(g, (whole[:2], whole[2:]))
    with pytest.raises(AotbuildError, match="writes to the input 'x', whose example shares memory with that of 'y'"):
        captured(g, (whole, whole[:]))


@pytest.mark.parametrize("kind", [CountsInTheList, ReadsTheList])
def test_a_buffer_that_is_reached_by_another_way_stays_a_buffer(kind: type[Counter]) -> None:
    result = captured(kind(), (torch.zeros(3),))
    assert not result.program.graph_signature.lifted_tensor_constants
    module: Any = result.program.module()
    assert [module(torch.zeros(3))[0].item() for _ in range(2)] == [1, 2]
    assert result.golden[0].outputs[0].data.view(np.float32).tolist() == [1, 1, 1]


def test_a_weight_that_is_reached_by_another_way_stays_a_weight() -> None:
    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.weights = [self.weight]

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weights[0]

    signature = captured(Layers(), (torch.ones(3),)).program.graph_signature
    assert (signature.parameters, signature.lifted_tensor_constants) == (("weight",), ())


@pytest.mark.parametrize("kind", [CountsInAnAttribute, CountsByOut])
def test_writing_to_a_tensor_that_is_no_buffer_names_it_and_the_line(kind: type[Counter]) -> None:
    with pytest.raises(AotbuildError) as error:
        captured(kind(), (torch.ones(3),))
    lines = str(error.value).splitlines()
    assert lines[0] == "model: the model writes to the tensor 'plain', which is neither a buffer nor an input"
    assert lines[1].startswith(f"  at {__file__}:")
    assert "self.plain" in lines[1]
    assert "self.register_buffer('cache', tensor)" in lines[2]


def test_state_of_a_closure_is_refused() -> None:
    total = torch.zeros(3)

    def f(x: Tensor) -> Tensor:
        return total.add_(x) + 1

    with pytest.raises(AotbuildError, match=r"writes to the tensor 'lifted_tensor_0'(.|\n)*total.add_\(x\)"):
        captured(f, (torch.ones(3),))


def test_a_view_of_a_buffer_that_changes_is_refused() -> None:
    with pytest.raises(
        AotbuildError, match=r"buffer 'steps' and reads its memory as 'tail' too, .* read it as self\.steps"
    ):
        captured(ReadsAView(), (torch.ones(3),))


def test_the_module_of_an_exported_program_is_a_model() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout()).eval()
    program = torch.export.export(module, (torch.ones(4, 3),))
    result = captured(program.module(), (torch.ones(4, 3),))
    assert [spec.name for spec in result.signature.inputs] == ["input"]
    assert set(result.program.state_dict) == {"0.weight", "0.bias"}
