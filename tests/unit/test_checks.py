"""The texts of torch._check are those of the errors of the compiled model."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import Dim

from aotbuild.capture import Source, capture
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.model import Model
from aotbuild.spec.target import cpu_isa

pytestmark = pytest.mark.quick

check: Any = torch._check
check_value: Any = torch._check_value


def run_source(f: Any, args: tuple[Any, ...], shapes: Any = None) -> str:
    captured = capture(Source(Model(f, args, dynamic_shapes=shapes), None, ()))
    return lower(captured, [cpu_isa("x86-64-v3")], target="checked").variants[0].run_source


def errors(source: str) -> list[str]:
    return re.findall(r'runtime_error\("((?:[^"\\]|\\.)*) but received ', source)


def test_checks_of_numbers_have_their_texts_in_every_form() -> None:
    def f(x: Tensor, n: Tensor) -> Any:
        k: Any = n.item()
        check(k > 3, lambda: 'k "has" to be\nabove 3: \\ ü')
        check(k != 7, lambda: f"7 is no {'k'}")
        check_value(k < 1000, lambda: "too large")
        check(k * 2 < 60 + x.shape[0])
        return x[:1] * k + torch.zeros(k)[0]

    found = set(errors(run_source(f, (torch.ones(4, 3), torch.tensor(5)), ({0: Dim.DYNAMIC(min=2, max=64)}, None))))
    above = 'k \\"has\\" to be above 3: \\\\ \\303\\274'
    for text in (
        f"Expected u0 >= 4 ({above})",
        f"Expected 3 < u0 ({above})",
        "Expected Ne(u0, 7) (7 is no k)",
        "Expected u0 <= 999 (too large)",
    ):
        assert text in found, found
    assert all("(" in text for text in found if "u0" in text and "2*u0" not in text)


def test_checks_of_sizes_have_their_texts() -> None:
    def f(x: Tensor) -> Tensor:
        check(x.shape[0] % 2 == 0, lambda: "rows come in pairs")
        return x.reshape(x.shape[0] // 2, 2, 3) + 1

    captured = capture(
        Source(Model(f, (torch.ones(4, 3),), dynamic_shapes=({0: Dim.DYNAMIC(min=2, max=64)},)), None, ())
    )
    assert any("rows come in pairs" in condition.text for condition in captured.signature.conditions)


def test_checks_of_a_model_for_cuda_have_their_texts() -> None:
    pytest.importorskip("triton")
    from aotbuild.lower.cuda.compile.lowering import lower_cuda

    def f(x: Tensor, n: Tensor) -> Any:
        k: Any = n.item()
        check(k < 1000, lambda: "too large")
        return x * 2 + torch.zeros(k).sum()

    captured = capture(Source(Model(f, (torch.ones(4), torch.tensor(5))), None, ()))
    source = lower_cuda(captured, ["90"], target="checked", processes=0).variants[0].run_source
    assert any("(too large)" in text for text in errors(source)), source
