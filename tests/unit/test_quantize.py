"""QUANTIZE: which layers it takes, how weights are stored, and what a model or a name that is wrong gets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aotbuild import Model
from aotbuild.capture import Source, capture, quantization_cost, quantized_source
from aotbuild.capture.quantized_layers import QuantizedLinear, dequantized, quantize_layers, quantized, quantized_rows
from aotbuild.generate.arguments import parse_generate
from aotbuild.generate.model import capture_model
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.quantize import Quantize, from_words, problem
from aotbuild.spec.target import cpu_isa, cuda_target

pytestmark = pytest.mark.quick


class Network(nn.Module):
    """Layers in a list, one that is used twice, one over an embedding's weight, and one of an odd size."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 64)
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(2))
        self.again = self.layers[0]
        self.odd = nn.Linear(64, 9)
        self.last = nn.Linear(9, 4)
        self.head = nn.Linear(64, 10, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embedding(ids)
        for layer in self.layers:
            x = x + layer(x).relu()
        return self.last(self.odd(self.again(x))), self.head(x)


def source_of(module: nn.Module, *inputs: Tensor) -> Source:
    return Source(Model(module.eval(), inputs), None, ())


IDS = torch.tensor([[1, 5, 2]])


def test_words() -> None:
    assert from_words(["int8", "dynamic", "EXCEPT", "head", "layers.*"]) == Quantize("int8", True, ("head", "layers.*"))
    assert from_words(["int4", "EXCEPT", "head"]) == Quantize("int4", False, ("head",))
    assert from_words([]) == Quantize()
    assert from_words(["float8", "dynamic"]).text == "QUANTIZE float8 dynamic"


def test_the_generator_takes_the_words_as_they_are() -> None:
    words = [word for part in ("int8", "EXCEPT", "head") for word in ("--quantize", part)]
    argv = ["generate", "--target", "net", "--model", "net.py:build", "--output-dir", "out", *words]
    assert parse_generate(argv).quantize == ("int8", "EXCEPT", "head")


def test_layers_are_replaced_in_a_copy_over_the_same_tensors() -> None:
    module: Any = Network()
    twin: Any
    twin, left = quantize_layers(module, Quantize("int8", excepted=("layers.1",)), "net")
    assert left == ["last"]
    kinds: dict[str, Any] = {name: type(part) for name, part in twin.named_modules(remove_duplicate=False)}
    assert [name for name, kind in kinds.items() if kind is QuantizedLinear] == ["layers.0", "again", "odd", "head"]
    assert twin.again is twin.layers[0] and type(module.again) is nn.Linear
    assert twin.embedding.weight is module.embedding.weight
    assert twin.odd.bias is module.odd.bias
    assert list(dict(twin.named_buffers())) == [
        *("layers.0.weight", "layers.0.weight_scale", "odd.weight", "odd.weight_scale"),
        *("head.weight", "head.weight_scale"),
    ]


@pytest.mark.parametrize("words", ["int8", "int4", "int8 dynamic"])
def test_values_are_near_those_of_the_layer(words: str) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(128, 32), torch.randn(5, 128)
    twin, _ = quantize_layers(layer, from_words(words.split()), "net")
    error = (twin(x) - layer(x)).square().mean().sqrt() / layer(x).square().mean().sqrt()
    assert error < (0.12 if words == "int4" else 0.012)


def test_scales_are_rounded_before_values_are_made_of_them() -> None:
    torch.manual_seed(0)
    weight = torch.randn(16, 64).bfloat16()
    values, scale = quantized(weight, "int8")
    assert scale.dtype == torch.bfloat16 and values.dtype == torch.int8
    error = (dequantized(values, scale.float(), 8) - weight.float()).abs()
    # Half a step, or what lies beyond the last one by the scale's own rounding.
    assert (error <= scale.float() * 0.5 + weight.float().abs() * 2**-8).all()


def test_rows_are_quantized_by_themselves() -> None:
    rows = torch.tensor([[1.0, -4.0, 0.5], [0.0, 0.0, 0.0], [100.0, 1.0, -50.0]])
    values, scale = quantized_rows(rows, torch.int8)
    assert values.tolist() == [[32, -127, 16], [0, 0, 0], [127, 1, -64]]
    torch.testing.assert_close(values * scale, rows, atol=0.5, rtol=0)
    halves, _ = quantized_rows(rows, torch.float8_e4m3fn)
    assert halves.float().abs().amax(1).tolist() == [448.0, 0.0, 448.0]


@pytest.mark.parametrize("words", ["int8", "int4", "int8 dynamic"])
def test_layers_on_the_cpu_are_the_runtimes_own(words: str) -> None:
    source, _ = quantized_source(source_of(Network(), IDS), from_words(words.split()), "net")
    lowered = lower(capture(source, (), "net", runs=False), [cpu_isa("x86-64-v3")], target="net")
    assert len(lowered.quantized) == 5
    assert {layer.bits for layer in lowered.quantized} == {4 if words == "int4" else 8}
    assert {layer.integers for layer in lowered.quantized} == {words == "int8 dynamic"}


def test_an_encoder_layer_runs_eagerly_with_its_quantized_layers() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, 2, 128, dropout=0.0, batch_first=True).eval()
    twin, _ = quantize_layers(nn.Sequential(layer), Quantize("int8"), "net")
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        torch.testing.assert_close(twin(x), layer(x), rtol=0.1, atol=0.05)
        assert not torch.equal(twin(x), layer(x))


def test_the_cost_is_that_of_the_golden_inputs() -> None:
    torch.manual_seed(0)
    whole = source_of(nn.Sequential(nn.Linear(64, 8)), torch.randn(3, 64))
    quantize = Quantize("int8")
    twin, notes = quantized_source(whole, quantize, "net")
    assert notes == []
    assert whole.model is not None and twin.model is not None
    inputs = whole.model.example_inputs
    exact, value = (model.module(*inputs) for model in (whole.model, twin.model))
    most = float((exact - value).abs().max() / exact.abs().max())
    assert f"errs by up to {most:.1e} of an output's greatest value" in quantization_cost(
        whole, twin, quantize, runs=True
    )
    assert quantization_cost(whole, twin, quantize, runs=False) == (
        "QUANTIZE int8: nothing runs with NO_TEST, so what it costs is not known; build once without it"
    )


def test_what_the_build_says_names_the_target_and_the_layers_that_stay(tmp_path: Path) -> None:
    words = [word for part in ("int4",) for word in ("--quantize", part)]
    argv = ["generate", "--target", "net", "--model", "n.py:build", "--output-dir", str(tmp_path), "--no-test", *words]
    captured = capture_model(source_of(Network(), IDS), parse_generate(argv))
    assert captured.notes[0] == "net: QUANTIZE int4: rows of last are no multiple of 32 values, so their types stay"
    assert captured.notes[1].startswith("net: QUANTIZE int4: nothing runs with NO_TEST")


def test_a_model_without_linear_layers_is_refused() -> None:
    with pytest.raises(AotbuildError, match=r"net: QUANTIZE int8 finds no torch\.nn\.Linear to quantize"):
        quantize_layers(nn.Conv2d(3, 4, 1), Quantize("int8"), "net")


def test_an_exception_that_names_no_module_is_refused() -> None:
    with pytest.raises(AotbuildError, match=r"net: QUANTIZE int8 EXCEPT heads: no module .*did you mean head\?"):
        quantize_layers(Network(), Quantize("int8", excepted=("heads",)), "net")


def test_a_pt2_program_is_refused() -> None:
    program = torch.export.export(Network().eval(), (IDS,))
    source = dataclasses.replace(source_of(Network(), IDS), model=None, program=program)
    with pytest.raises(AotbuildError, match=r"net: QUANTIZE int8: a \.pt2 program has no modules any more"):
        quantized_source(source, Quantize("int8"), "net")


def test_nothing_of_triton_stays_replaced() -> None:
    from triton.runtime.jit import JITFunction

    before = JITFunction.run
    whole = source_of(nn.Sequential(nn.Linear(64, 8)), torch.randn(3, 64))
    quantization_cost(whole, quantized_source(whole, Quantize("int8"), "net")[0], Quantize("int8"), runs=True)
    assert JITFunction.run is before


def test_an_architecture_of_other_digits_is_no_number() -> None:
    """Superscripts are digits to Python and make no number, and a number may have too many digits (fuzz:plan)."""
    for value in ("8³", "٨٠", "8" * 5000, "", "native"):
        assert problem(["float8"], [value], "standalone") == ""
        with pytest.raises(AotbuildError, match=r"CUDA_ARCHITECTURES .* is unknown; use one of: 75, 80"):
            cuda_target(value)
    assert "CUDA_ARCHITECTURES has 80-real, 86; use int8" in problem(["float8"], ["80-real", "86", "90"], "standalone")
