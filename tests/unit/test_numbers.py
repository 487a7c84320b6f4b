"""Tensors of no dimension: constants, buffers, inputs and outputs of every element type, on the CPU and for CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aotbuild.capture import Source, capture
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.model import Model
from aotbuild.spec.target import cpu_isa

pytestmark = pytest.mark.quick

DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16),
    *(torch.int8, torch.uint8, torch.bool),
)


class Numbers(nn.Module):
    """One number is written, repeated, viewed, indexed with and returned, as every element type."""

    def __init__(self, dtypes: tuple[torch.dtype, ...]) -> None:
        super().__init__()
        self.dtypes = dtypes
        self.attribute = torch.tensor(4.0)
        self.register_buffer("state", torch.tensor(2.5))
        self.register_buffer("constant", torch.tensor(1.5), persistent=False)

    def forward(self, x: Tensor, number: Tensor) -> Any:
        results = []
        for dtype in self.dtypes:
            y = x.to(dtype, copy=True)
            y[0, 0] = 1
            y[1:3, 0] = True
            y[:, 1] = torch.tensor(1.0)
            y[-1] = self.attribute
            y = y.index_put((torch.tensor(1),), torch.tensor(1, dtype=dtype))
            repeated = torch.tensor(1, dtype=dtype).repeat(3)
            viewed = torch.tensor(1, dtype=dtype).view(1).expand(3).clone()
            results += [y, repeated, viewed * y, torch.tensor(1, dtype=dtype)]
        z = x.clone()
        z[0], z[1, 1], z[2] = self.get_buffer("state"), self.get_buffer("constant"), number
        return (
            results,
            z,
            number + 1,
            torch.tensor(2.0).cumsum(0),
            torch.tensor(3).cumprod(0),
            torch.tensor(-0.0).sort(),
        )


def numbers(dtypes: tuple[torch.dtype, ...]) -> Any:
    return capture(Source(Model(Numbers(dtypes), (torch.rand(4, 3), torch.tensor(2.0))), None, ()))


def test_numbers_are_tensors_wherever_a_model_for_the_cpu_uses_them() -> None:
    (variant,) = lower(numbers(DTYPES), [cpu_isa("x86-64-v3")], target="numbers").variants
    assert "-0.0" in variant.kernel_shards[0]


def test_numbers_are_tensors_wherever_a_model_for_cuda_uses_them() -> None:
    pytest.importorskip("triton")
    from aotbuild.lower.cuda.compile.lowering import kernels_to_tune

    _, kernels, _ = kernels_to_tune(numbers((torch.float32, torch.int64)), "90", target="numbers")
    assert kernels


class Counter(nn.Module):
    def forward(self, x: Tensor) -> Any:
        def is_less(count: Tensor, value: Tensor) -> Tensor:
            return count < 5

        def double(count: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            return count + 1, value * 2

        return torch.while_loop(is_less, double, (torch.tensor(0), x))  # type: ignore[no-untyped-call]


def test_a_loop_counts_from_a_constant() -> None:
    captured = capture(Source(Model(Counter(), (torch.ones(3),)), None, ()))
    (variant,) = lower(captured, [cpu_isa("x86-64-v3")], target="counter").variants
    assert "while" in variant.run_source


@pytest.mark.parametrize("values", [(0.0, -0.0), (-0.0, 0.0)])
def test_zeros_of_both_signs_are_not_one_number(values: tuple[float, ...]) -> None:
    pytest.importorskip("triton")
    from aotbuild.lower.cuda.graph.graph import prepare

    function: Callable[[Tensor], Tensor] = lambda x: x * torch.tensor(values * 8)  # noqa: E731
    graph = prepare(capture(Source(Model(function, (torch.ones(16),)), None, ())).program)
    assert len(graph.main.weights) == 1
