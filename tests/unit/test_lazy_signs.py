"""Tensors that are negated or conjugated lazily, and views: a model has their values, not their memory's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aotbuild.capture import Source, capture
from aotbuild.capture.export import export_program
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.model import Model
from aotbuild.spec.target import cpu_isa

pytestmark = pytest.mark.quick


class Product(nn.Module):
    state: Tensor

    def __init__(self, state: Tensor, attribute: Tensor) -> None:
        super().__init__()
        self.register_buffer("state", state)
        self.attribute = attribute

    def forward(self, x: Tensor) -> Any:
        return x * self.state + self.attribute


_COMPLEX = torch.complex(torch.arange(12.0), torch.arange(12.0) + 1)
_VIEWS = {
    "conjugated": _COMPLEX.conj(),
    "negated": _COMPLEX.conj().imag,
    "expanded": torch.tensor([2.0]).expand(12),
    "column": torch.arange(24.0).reshape(12, 2)[:, 1],
    "with an offset": torch.arange(20.0)[5:17],
    "overlapping": torch.arange(16.0).as_strided((3, 12), (2, 1)),
    "transposed": torch.arange(144.0).reshape(12, 12).t(),
    "of no dimension": torch.arange(3.0)[2],
}


def assert_stored(weights: Any, value: Tensor) -> None:
    """Every weight has the values of ``value`` row by row."""
    assert weights
    for weight in weights:
        stored = torch.frombuffer(bytearray(weight.tensor.data.tobytes()), dtype=value.dtype)
        assert torch.equal(stored.reshape(weight.tensor.shape), value)


@pytest.mark.parametrize("name", _VIEWS)
def test_weights_have_a_tensors_values_whatever_its_memory_holds(name: str) -> None:
    value = _VIEWS[name]
    x = torch.ones(12, dtype=value.dtype).conj()
    captured = capture(Source(Model(Product(value, copy.deepcopy(value)), (x,)), None, ()))
    lowered = lower(captured, [cpu_isa("x86-64-v3")], target="product")
    assert_stored(lowered.weights, value.clone())


def test_a_saved_program_keeps_signs(tmp_path: Path) -> None:
    """``aotbuild.compile`` builds from a saved program, and saving drops what is lazy."""
    value = _VIEWS["conjugated"]
    program = export_program(Model(Product(value, copy.deepcopy(value)), (_COMPLEX.clone().conj(),)), (), "product")
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2")
    assert torch.equal(loaded.module()(torch.ones(12, dtype=value.dtype)), value + value)
