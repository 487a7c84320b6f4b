"""Recurrent layers are one operator of any length: what of a model becomes it, and what stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import rnn

from aotbuild.capture import Captured, Source, capture
from aotbuild.lower.common.graph import prepare
from aotbuild.lower.common.lowered import Lowered
from aotbuild.lower.common.recurrent import OPERATOR
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model
from aotbuild.spec.program import Variant
from aotbuild.spec.target import CPU_ISAS

pytestmark = pytest.mark.quick

Dim = torch.export.Dim
X = torch.randn(2, 6, 5)  # batch first
ANY_LENGTH = ({1: Dim("length", min=1, max=50)},)


def captured(module: Any, shapes: Any = None, *args: Any) -> Captured:
    module = module.eval() if isinstance(module, nn.Module) else module
    return capture(Source(Model(module, args or (X,), dynamic_shapes=shapes), None, ()))


def lowered(model: Captured, **options: Any) -> Lowered[Variant]:
    return lower(model, [CPU_ISAS["x86-64-v3"]], target="net", **options)


def operators(model: Captured) -> list[str]:
    return [str(node.target) for node in model.program.graph.nodes if node.op == "call_function"]


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: nn.LSTM(5, 8, num_layers=2, batch_first=True),
    "projected": lambda: nn.LSTM(5, 8, proj_size=3, bidirectional=True, batch_first=True),
    "gru": lambda: nn.GRU(5, 8, bias=False, batch_first=True, dropout=0.5, num_layers=2),
    "tanh": lambda: nn.RNN(5, 8, batch_first=True),
    "relu": lambda: nn.RNN(5, 8, batch_first=True, nonlinearity="relu"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_one_operator_of_any_length(name: str) -> None:
    module = LAYERS[name]()
    model = captured(module, ANY_LENGTH)
    assert operators(model).count("aotbuild.recurrent.default") == 1
    (length,) = [dim for dim in model.signature.inputs[0].dims if not dim.is_static]
    assert (length.symbol, length.min, length.max) == ("length", 1, 50)
    assert set(model.program.state_dict) == set(module.state_dict())
    assert {case.inputs[0].shape[1] for case in model.golden} == {1, 6, 50}


def test_packed_weights_are_called_by_slot_and_not_read() -> None:
    result = lowered(captured(nn.LSTM(5, 8, num_layers=2, batch_first=True), ANY_LENGTH))
    (layer,) = result.recurrent
    assert (layer.cell, layer.layers, len(layer.weights)) == ("lstm", 2, 8)
    source = result.variants[0].run_source
    assert source.count("context_recurrent(context, ") == 1
    assert "context_weight" not in source and "aoti_torch_cpu_recurrent" not in source


def test_weights_that_the_model_computes_are_operands() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(5, 8, batch_first=True)

        def forward(self, x: Tensor, scale: Tensor) -> Any:
            weights = [weight * scale for weight in self.layer.parameters()]
            return torch._VF.gru(x, torch.zeros(1, 2, 8), weights, True, 1, 0.0, False, False, True)

    result = lowered(captured(Scaled(), None, X, torch.tensor(0.5)))
    assert not result.recurrent
    assert "aoti_torch_cpu_recurrent(" in result.variants[0].run_source


def test_layers_in_a_branch_are_kept_whole() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(5, 8, batch_first=True)

        def forward(self, x: Tensor) -> Any:
            weights = dict(self.layer.named_parameters())

            def run(x: Tensor, *weights: Tensor) -> Tensor:
                initial = torch.zeros(1, x.shape[0], 8)
                return torch._VF.gru(x, initial, weights, True, 1, 0.0, False, False, True)[0]

            return torch.cond(x.sum() > 0, run, lambda *operands: run(*operands) + 1, (x, *weights.values()))

    source = lowered(captured(Branches())).variants[0].run_source
    assert source.count("aoti_torch_cpu_recurrent(") == 2


def test_programs_of_torch_export_get_the_kernel_too() -> None:
    program = torch.export.export(nn.GRU(5, 8, batch_first=True).eval(), (X,))
    assert len(lowered(capture(Source(None, program, ()))).recurrent) == 1


def test_other_devices_and_runtimes_write_the_steps_out() -> None:
    model = captured(nn.RNN(5, 8, batch_first=True))
    targets = {str(node.target) for node in prepare(model.program).module.graph.nodes}
    assert str(OPERATOR) not in targets and "aten.tanh.default" in targets
    with pytest.raises(AotbuildError, match=r"a recurrent layer \(tanh\) over a sequence of any length.*DEVICE cuda"):
        prepare(captured(nn.RNN(5, 8, batch_first=True), ANY_LENGTH).program)


def test_dropout_in_training_stays_pytorchs() -> None:
    class Training(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(5, 8, 2, dropout=0.5, batch_first=True)

        def forward(self, x: Tensor) -> Any:
            return self.layer.train()(x)[0]

    assert "aotbuild.recurrent.default" not in operators(captured(Training()))


def test_modules_are_as_they_were_when_export_fails() -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(5, 8, batch_first=True)

        def forward(self, x: Tensor) -> Any:
            return self.layer(x)[0] if x.sum() > 0 else x

    before, functions = nn.LSTM.forward, rnn._VF  # type: ignore[attr-defined]
    with pytest.raises(AotbuildError, match="cannot be exported"):
        captured(Failing())
    assert nn.LSTM.forward is before
    assert rnn._VF is functions  # type: ignore[attr-defined]


def test_hooks_and_subclasses_run() -> None:
    class Doubled(nn.LSTM):
        def forward(self, x: Tensor, hx: Any = None) -> Any:  # type: ignore[override]
            output, state = super().forward(x, hx)
            return output * 2, state

    layer = Doubled(5, 8, batch_first=True)
    layer.register_forward_hook(lambda module, args, result: result[0] + 1)
    found = operators(captured(layer, ANY_LENGTH))
    assert [name for name in found if name.startswith(("aotbuild", "aten.mul", "aten.add"))] == [
        "aotbuild.recurrent.default",
        "aten.mul.Tensor",
        "aten.add.Tensor",
    ]
