"""RUNTIME torch: what the run function is, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from aotbuild.capture import Source, capture
from aotbuild.generate import model as pipeline
from aotbuild.generate.request import GenerateRequest
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model
from aotbuild.spec.program import EmitOptions
from aotbuild.spec.target import cpu_isa

pytestmark = pytest.mark.quick


def run_source(function: Any, *inputs: Tensor) -> str:
    captured = capture(Source(Model(function, inputs), None, ()), (), "net")
    isas = [cpu_isa(name) for name in ("x86-64-v2", "x86-64-v3")]
    sources = [variant.run_source for variant in lower(captured, isas, target="net", runtime="torch").variants]
    assert sources[0].replace("x86_64_v3", "x86_64_v2") == sources[1]
    return sources[0]


def test_operators_without_a_c_shim_are_calls_of_the_dispatcher() -> None:
    def f(x: Tensor) -> Any:
        first = torch.linalg.qr(x)
        second = torch.linalg.qr(x + 1, mode="complete")
        return first, second.Q, torch.linalg.matrix_exp(x)

    source = run_source(f, torch.eye(3))
    names = 'TorchOperators instance{{"aten::linalg_qr", ""}, {"aten::linalg_matrix_exp", ""}};'
    assert names in source
    assert source.count("OperatorCall call(operators(), 0);") == 2
    assert 'call.text("complete");' in source
    assert "check_torch_version(" in source and "operators();\n}" in source


def test_standalones_own_functions_are_not_called() -> None:
    """libtorch has no C shim function for what the standalone runtime has one for beyond upstream's table."""
    source = run_source(lambda x: torch.unique(x), torch.ones(3))
    assert '"aten::_unique2"' in source and "aoti_torch_cpu__unique2" not in source


def test_methods_of_torchscript_objects_are_refused() -> None:
    from aotbuild.lower.cpu.torch_wrapper import TorchCppWrapper

    with pytest.raises(AotbuildError, match="a method of a TorchScript object, which a compiled model cannot hold"):
        TorchCppWrapper.generate_fallback_kernel_with_runtime_lookup(
            object.__new__(TorchCppWrapper), "buf", "", None, torch.ops.higher_order.call_torchbind, (), ()
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"device": "cuda", "cuda_architectures": ("90",)},
            "net: RUNTIME torch with DEVICE cuda is not supported yet; use RUNTIME standalone, or DEVICE cpu",
        ),
        ({"runtime": "eager"}, "net: RUNTIME 'eager' is neither standalone nor torch"),
    ],
)
def test_refused_requests(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = {"runtime": "torch", **fields}
    request = GenerateRequest("net.py:build", EmitOptions("net"), tmp_path, tmp_path / "stamp", **values)
    with pytest.raises(AotbuildError) as error:
        pipeline.generate(request)
    assert str(error.value) == message
