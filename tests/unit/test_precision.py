"""PRECISION: which layers have it, how weights are stored, and what a name that is wrong gets for an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from aotbuild import Model, capture
from aotbuild.api.compile import _precision_words
from aotbuild.emit.render import render
from aotbuild.emit.rounding import rounded
from aotbuild.generate.arguments import parse_generate
from aotbuild.generate.model import generate
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.precision import Precision, modules_of, unknown_module
from aotbuild.spec.program import (
    CompiledModel,
    Convolution,
    EmitOptions,
    Linear,
    Method,
    Signature,
    TensorData,
    Variant,
    Weight,
)
from aotbuild.spec.target import cpu_isa

pytestmark = pytest.mark.quick

WEIGHTS = ("encoder.layers.0.weight", "encoder.layers.0.bias", "encoder.layers.1.weight", "head.weight")


def test_a_layer_is_left_out_with_its_module() -> None:
    assert modules_of("a.b.weight") == ["a", "a.b"]
    for excepted in ("encoder", "encoder.layers.1", "*.1", "enc*"):
        assert Precision("bfloat16", (excepted,)).of_weight([WEIGHTS[2]]) == ""
        assert Precision("bfloat16", (excepted,)).of_weight(["head.weight"]) == "bfloat16"
    # Any of the names of a tied weight.
    assert Precision("float16", ("head",)).of_weight(["embedding.weight", "head.weight"]) == ""
    assert Precision().of_weight(["head.weight"]) == ""


def test_unknown_modules_are_named_with_those_that_are_close() -> None:
    assert unknown_module(("encoder.*", "head"), WEIGHTS) == ""
    assert unknown_module(("encoder.layer.0",), WEIGHTS) == (
        "EXCEPT encoder.layer.0: no module with weights has that name; did you mean encoder.layers.0 or "
        "encoder.layers.1 or encoder.layers?"
    )
    assert unknown_module(("zzz",), WEIGHTS) == (
        "EXCEPT zzz: no module with weights has that name; its modules are encoder, encoder.layers, encoder.layers.0, "
        "encoder.layers.1, head"
    )
    assert "has no module with weights" in unknown_module(("head",), ["weight"])


class Network(nn.Module):
    """Two layers of one input, a convolution, and a layer over an embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 8)
        self.query = nn.Linear(8, 8)
        self.key = nn.Linear(8, 8)
        self.convolution = nn.Conv1d(8, 8, 3)
        self.head = nn.Linear(8, 6, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        x = self.query(x) + self.key(x)
        result: torch.Tensor = self.head(self.convolution(x.mT).mT)
        return result


def test_layers_of_one_input_are_joined_where_they_have_one_precision() -> None:
    torch.manual_seed(0)
    captured = capture.capture(capture.Source(Model(Network(), (torch.tensor([[1, 2, 3, 4]]),)), None, ()))
    found = {}
    for excepted in ((), ("key",), ("*",)):
        lowered = lower(captured, [cpu_isa("avx2")], target="net", precision=Precision("bfloat16", excepted))
        found[excepted] = [(len(linear.weights), linear.precision) for linear in lowered.linears]
        assert [convolution.precision for convolution in lowered.convolutions] == [
            "" if excepted == ("*",) else "bfloat16"
        ]
    assert sorted(found[()]) == [(1, "bfloat16"), (2, "bfloat16")]
    assert sorted(found[("key",)]) == [(1, ""), (1, "bfloat16"), (1, "bfloat16")]
    assert sorted(found[("*",)]) == [(1, ""), (2, "")]


def test_golden_cases_have_the_errors_of_eager_pytorch_in_the_type() -> None:
    torch.manual_seed(0)
    model = Model(Network(), (torch.tensor([[1, 2, 3, 4]]),))
    captured = capture.capture(capture.Source(model, None, ()), precision="bfloat16")
    (case,) = captured.golden
    (error,) = case.rounded_errors
    assert 1e-4 < error < case.tolerances[0].atol
    assert "PRECISION bfloat16: eager PyTorch, cast to it by torch.autocast, errs by up to" in captured.notes[-1]
    plain = capture.capture(capture.Source(model, None, ()))
    assert plain.golden[0].rounded_errors == ()
    assert plain.golden[0].tolerances[0].atol < 1e-2 * case.tolerances[0].atol


def data(array: npt.NDArray[np.float32]) -> TensorData:
    return TensorData("float32", array.shape, np.frombuffer(array.tobytes(), np.uint8))


def layered(first: str, second: str, value: float = 0.1) -> CompiledModel:
    """A model of two layers over one weight and a convolution, each of a precision of its own."""
    matrix = np.full((4, 4), 1.00390625, np.float32)  # halfway between two of bfloat16
    matrix[0, 0] = value
    weights = (
        Weight("first.weight", data(matrix), ("tied.weight",)),
        Weight("kernel", data(np.ones((4, 4, 1), np.float32))),
        Weight("bias", data(np.full(4, 0.1, np.float32))),
    )
    linears = (Linear((0,), (2,), precision=first), Linear((0,), (None,), precision=second))
    convolution = Convolution(1, 2, 1, False, True, 1, (1,), (0,), (1,), (0,), (1, 4, 4), precision="bfloat16")
    method = Method("run", Signature((), ()), (Variant("x86-64-v3", "layered_v3", "", "", ()),))
    return CompiledModel((method,), weights, linears, (), (convolution,), precision="bfloat16")


def test_weights_are_stored_in_the_type_where_nothing_else_reads_them() -> None:
    model = rounded(layered("bfloat16", "bfloat16"))
    assert [weight.tensor.dtype for weight in model.weights] == ["bfloat16", "bfloat16", "float32"]
    assert [weight.rounded for weight in model.weights] == [True, True, False]
    halves = model.weights[0].tensor.data.view(np.uint16).reshape(4, 4)
    assert (halves[0, 0], halves[1, 1]) == (0x3DCD, 0x3F80)  # ties to even
    for others in (("bfloat16", ""), ("bfloat16", "float16")):
        kept = rounded(layered(*others))
        assert kept.weights[0].tensor.dtype == "float32"
    own = layered("", "")
    assert rounded(own).weights[0] is own.weights[0]


def test_sources_say_the_precision_and_are_the_same_twice() -> None:
    model = layered("bfloat16", "bfloat16")
    options = EmitOptions("layered", test=False)
    files = render(model, options)
    assert files == render(layered("bfloat16", "bfloat16"), options)
    source = files["src/layered.cpp"].decode()
    assert source.count("aotbuild::detail::Precision::kBFloat16") == 3
    assert "nullptr, false, false, false, true}" in source or ", false, false, false, true}" in source
    assert "kPacked" not in source


def test_a_weight_beyond_float16_is_refused_by_name() -> None:
    with pytest.raises(AotbuildError) as error:
        rounded(layered("float16", "float16", value=7e4))
    assert str(error.value) == (
        "PRECISION float16: weight 'first.weight' has the value 70000, and float16 ends at 65504; use PRECISION "
        "bfloat16, or leave the layer out: EXCEPT first"
    )


def test_words_of_aotbuild_compile() -> None:
    assert _precision_words("float32", ()) == []
    assert _precision_words("bfloat16", ()) == ["bfloat16"]
    assert _precision_words("float16", ["head", "decoder.*"]) == ["float16", "EXCEPT", "head", "decoder.*"]


def test_an_unknown_module_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom aotbuild import Model\n"
        "def build():\n    return Model(torch.nn.Sequential(torch.nn.Linear(4, 4)), (torch.ones(1, 4),))\n"
    )
    arguments = ["generate", "--target", "net", "--model", f"{tmp_path}/net.py:build", "--output-dir", str(tmp_path)]
    request = parse_generate([*arguments, "--precision", "bfloat16", "--precision-except", "head", "--no-test"])
    with pytest.raises(AotbuildError, match=r"net: PRECISION bfloat16 EXCEPT head: .*; its modules are 0"):
        generate(request)
