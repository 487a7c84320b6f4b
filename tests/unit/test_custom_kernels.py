"""Registered kernels: what a registration may say, and what the generated code calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import aotbuild
from aotbuild.capture import Source, capture, custom_kernels
from aotbuild.lower.common.lowered import Lowered
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model
from aotbuild.spec.program import Variant
from aotbuild.spec.target import cpu_isa


@torch.library.custom_op("unit_kernels::halve", mutates_args=())
def halve(x: Tensor, factor: float, mode: str | None = None) -> Tensor:
    return x / 2


@halve.register_fake
def _(x: Tensor, factor: float, mode: str | None = None) -> Tensor:
    return torch.empty_like(x)


DECLARATION = "AOTITorchError halve(AtenTensorHandle x, double factor, const char** mode, AtenTensorHandle* result)"


@pytest.fixture(autouse=True)
def _no_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom_kernels, "_registered", {})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "halve.cpp"
    path.write_text("")
    return path


class Halving(nn.Module):
    def forward(self, x: Tensor) -> Any:
        first = halve(x, 0.5)
        second = halve(x + 1, 0.5)
        return first, second


def lowered(module: nn.Module, *inputs: Tensor) -> Lowered[Variant]:
    captured = capture(Source(Model(module, inputs), None, ()), (), "net")
    return lower(captured, [cpu_isa("x86-64-v3")], target="net", shard_count=1)


@pytest.mark.quick
def test_an_operator_without_a_kernel_is_refused_with_its_lines_and_every_choice() -> None:
    with pytest.raises(AotbuildError) as error:
        lowered(Halving(), torch.ones(3))
    lines = str(error.value).splitlines()
    assert lines[0] == "net: the standalone runtime has no kernel for 1 operator(s) that this model calls:"
    assert lines[1] == "  unit_kernels.halve.default (2 calls)"
    assert [line.rpartition(": ")[2] for line in lines[2:4]] == ["first = halve(x, 0.5)", "second = halve(x + 1, 0.5)"]
    assert all(line.startswith(f"    at {__file__}:") for line in lines[2:4])
    choices = ("Rewrite these lines", "or build with RUNTIME torch", "or write a kernel: aotbuild.register_kernel(")
    assert [line.strip().startswith(choice) for line, choice in zip(lines[4:], choices)] == [True] * 3


@pytest.mark.quick
@pytest.mark.parametrize("operator", [halve, "unit_kernels::halve", torch.ops.unit_kernels.halve.default])
def test_the_generated_code_calls_the_registered_function(operator: Any, source: Path) -> None:
    aotbuild.register_kernel(operator, DECLARATION, [source])
    result = lowered(Halving(), torch.ones(3))
    assert result.custom_functions == ("aotbuild_net_kernel_halve",)
    (variant,) = result.variants
    assert f'extern "C" {DECLARATION.replace("halve(", "aotbuild_net_kernel_halve(")};' in variant.run_source
    assert variant.run_source.count("AOTI_TORCH_ERROR_CODE_CHECK(aotbuild_net_kernel_halve(") == 2
    files = custom_kernels.source_files(result.custom_functions, source.parent, 2, False, "net")
    assert files[0] == '#define halve aotbuild_net_kernel_halve\n#include "halve.cpp"\n'
    assert all("#include" not in text for text in files[1:])


@pytest.mark.quick
def test_a_kernel_replaces_what_pytorch_would_generate(source: Path) -> None:
    aotbuild.register_kernel(
        "aten::sinc", "AOTITorchError my_sinc(AtenTensorHandle self, AtenTensorHandle* result)", [source]
    )
    (variant,) = lowered(_Sinc(), torch.ones(3)).variants
    assert "aotbuild_net_kernel_my_sinc(" in variant.run_source


class _Sinc(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sinc(x) + 1


@pytest.mark.quick
def test_without_sources_the_function_keeps_its_name() -> None:
    aotbuild.register_kernel(halve, DECLARATION, [])
    result = lowered(Halving(), torch.ones(3))
    assert result.custom_functions == ("halve",)
    files = custom_kernels.source_files(result.custom_functions, Path.cwd(), 1, True, "net")
    assert all("#include" not in text for text in files)


@pytest.mark.quick
def test_a_declaration_that_does_not_fit_prints_the_one_that_does(source: Path) -> None:
    wrong = "AOTITorchError halve(AtenTensorHandle x, float factor, AtenTensorHandle* result)"
    aotbuild.register_kernel(halve, wrong, [source])
    with pytest.raises(AotbuildError) as error:
        lowered(Halving(), torch.ones(3))
    assert DECLARATION in str(error.value)
    assert "does not fit the operator's schema" in str(error.value)
    assert f"  at {__file__}:" in str(error.value)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("operator", "declaration", "sources", "message"),
    [
        (halve, "int halve(void)", [], "does not declare a function that returns AOTITorchError"),
        ("halve", DECLARATION, [], "name an operator, as in"),
        (halve, DECLARATION, ["kernel.txt"], r"kernel.txt is no source of C\+\+ or C"),
        (halve, DECLARATION, ["missing.cpp"], "there is no file missing.cpp"),
    ],
)
def test_a_wrong_registration_is_refused(operator: Any, declaration: str, sources: list[str], message: str) -> None:
    with pytest.raises(AotbuildError, match=message):
        aotbuild.register_kernel(operator, declaration, sources)


@pytest.mark.quick
def test_an_operator_has_one_kernel(source: Path) -> None:
    aotbuild.register_kernel(halve, DECLARATION, [source])
    aotbuild.register_kernel(halve, DECLARATION, [source])  # as when a file is imported twice
    with pytest.raises(AotbuildError, match="has another kernel already"):
        aotbuild.register_kernel(halve, DECLARATION, [])


@pytest.mark.quick
@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ("unit_kernels::unknown", "torch has no such operator"),
        ("aten::bitwise_or", "name one of its overloads: aten::bitwise_or"),
        ("aten::split.Tensor", "that a C function cannot take"),
    ],
)
def test_an_operator_that_no_kernel_can_serve_is_refused(operator: str, message: str) -> None:
    aotbuild.register_kernel(operator, "AOTITorchError kernel(AtenTensorHandle x)", [])
    with pytest.raises(AotbuildError, match=message):
        lowered(_Sinc(), torch.ones(3))


@pytest.mark.quick
def test_a_c_source_needs_a_project_with_c(tmp_path: Path) -> None:
    path = tmp_path / "halve.c"
    path.write_text("")
    aotbuild.register_kernel(halve, DECLARATION, [path])
    with pytest.raises(AotbuildError, match=r"add C to the languages of project\(\)"):
        custom_kernels.source_files(["aotbuild_net_kernel_halve"], tmp_path, 1, False, "net")
    assert (
        '#include "halve.c"' in custom_kernels.source_files(["aotbuild_net_kernel_halve"], tmp_path, 1, True, "net")[-1]
    )


@pytest.mark.quick
def test_a_source_of_an_installed_package_is_refused() -> None:
    installed = Path(torch.__file__).with_name("kernel.cpp")
    custom_kernels._registered["unit_kernels::halve"] = custom_kernels.CustomKernel(
        "unit_kernels::halve", "halve", DECLARATION, (installed,), ""
    )
    with pytest.raises(AotbuildError, match="is part of an installed package"):
        custom_kernels.source_files(["aotbuild_net_kernel_halve"], Path.cwd(), 1, False, "net")
