"""Capture: names, ranges and golden cases of a model, and refusals that say what the user has to change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops import while_loop

from aotbuild.capture import (
    Captured,
    DynamicDim,
    Source,
    capture,
    load_source,
    model_frame,
    parse_dynamic_shapes,
    user_frame,
)
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model
from aotbuild.spec.program import GoldenCase, TensorData

pytestmark = pytest.mark.quick

DYNAMIC = torch.export.Dim.DYNAMIC


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


@dataclass
class Result:
    pair: Pair
    scores: Tensor


torch.export.register_dataclass(Result, serialized_type_name="tests.unit.test_capture.Result")


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.calls: Tensor

    def forward(self, x: Tensor, options: dict[str, Tensor], *, scale: float = 2.0) -> Result:
        self.calls.add_(1)
        y = self.linear(x) * options["gain"] * scale
        return Result(Pair(y, y.sum(0)), y.softmax(-1))


def captured(model: Any, args: tuple[Any, ...], dynamic: tuple[DynamicDim, ...] = (), **fields: Any) -> Captured:
    return capture(Source(Model(model, args, **fields), None, ()), dynamic)


def values(tensor: TensorData) -> Any:
    return tensor.data.view(np.dtype(tensor.dtype)).reshape(tensor.shape)


def refusal(model: Any, args: tuple[Any, ...], dynamic: tuple[DynamicDim, ...] = (), **fields: Any) -> str:
    with pytest.raises(AotbuildError) as error:
        captured(model, args, dynamic, **fields)
    return str(error.value)


# --- the signature


def test_inputs_and_outputs_have_the_names_that_the_model_gives_them() -> None:
    model = captured(Network(), (torch.ones(3, 4), {"gain": torch.ones(2)}))
    assert [spec.name for spec in model.signature.inputs] == ["x", "options.gain"]
    assert [spec.name for spec in model.signature.outputs] == ["pair.left", "pair.right", "scores"]


def test_elements_of_a_tuple_are_numbered_and_a_single_one_is_not() -> None:
    def outputs(f: Any) -> list[str]:
        return [spec.name for spec in captured(f, (torch.ones(2),)).signature.outputs]

    assert outputs(lambda x: x + 1) == ["output"]
    assert outputs(lambda x: (x + 1,)) == ["output"]
    assert outputs(lambda x: (x + 1, None, [x, x])) == ["output_0", "output_2_0", "output_2_1"]


def test_numbers_are_outputs_of_their_own_type() -> None:
    model = captured(lambda x: (x, 3, 2.5, True, x.shape[0]), (torch.ones(4),), dynamic_shapes=({0: DYNAMIC()},))
    assert [spec.dtype for spec in model.signature.outputs] == ["float32", "int64", "float64", "bool", "int64"]
    assert [values(tensor).tolist() for tensor in model.golden[0].outputs[1:]] == [3, 2.5, True, 4]


def test_text_and_nothing_are_results_in_python_alone() -> None:
    model = captured(lambda x: (x, "text", None), (torch.ones(2),))
    assert [spec.name for spec in model.signature.outputs] == ["output_0"]
    assert model.signature.call.as_json()["result"] == {"tuple": [0, {"constant": "text"}, {"constant": None}]}
    assert len(model.golden[0].outputs) == 1


@pytest.mark.parametrize("smallest", [0, 1, 2, 5])
def test_a_declared_minimum_holds_wherever_it_is_declared(smallest: int) -> None:
    def f(x: Tensor, batch: dict[str, list[Tensor]]) -> Tensor:
        return x.relu().sum() + batch["parts"][1].sum()

    args = torch.ones(6, 4), {"parts": [torch.ones(2), torch.ones(7)]}
    shapes = ({0: DYNAMIC(min=smallest, max=8)}, {"parts": [None, {0: DYNAMIC(min=smallest, max=9)}]})
    x, _, part = captured(f, args, dynamic_shapes=shapes).signature.inputs
    assert [(dim.min, dim.max) for dim in (*x.dims, *part.dims)] == [(smallest, 8), (4, 4), (smallest, 9)]

    model = captured(lambda x: x.relu(), (torch.ones(6, 4),), (DynamicDim("x", 0, smallest, 8),))
    assert [(dim.min, dim.max) for dim in model.signature.inputs[0].dims] == [(smallest, 8), (4, 4)]
    assert {case.name for case in model.golden} == {"example", "s0_min", "s0_max"}


def test_sizes_have_the_names_of_their_dims() -> None:
    batch = torch.export.Dim("batch", min=1, max=8)
    length = torch.export.Dim("length", min=2, max=99)

    def f(x: Tensor, mask: Tensor, extra: Tensor) -> Tensor:
        return x * mask + extra.sum()

    args = torch.ones(3, 7), torch.ones(3, 7), torch.ones(5)
    both = {0: batch, 1: length}
    model = captured(f, args, dynamic_shapes=(both, both, {0: DYNAMIC(min=1, max=9)}))
    assert [[dim.symbol for dim in spec.dims] for spec in model.signature.inputs] == [
        ["batch", "length"],
        ["batch", "length"],
        ["s0"],
    ]
    assert {"batch_min", "length_max", "s0_min"} < {case.name for case in model.golden}


# --- golden cases


def test_a_model_with_state_is_recorded_from_the_same_state_each_time() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))
            self.count: Tensor

        def forward(self, x: Tensor) -> Any:
            self.count.add_(1)
            return x + self.count, self.count

    module = Counter()
    model = captured(module, (torch.zeros(1),), golden_inputs=[((torch.ones(1),), {})])
    assert [[values(output).item() for output in case.outputs] for case in model.golden] == [[1, 1], [2, 1]]
    assert module.count == 0


def test_golden_inputs_are_copies() -> None:
    x = torch.ones(2)
    case: GoldenCase = captured(lambda x: x + 1, (x,)).golden[0]
    x.zero_()
    assert values(case.inputs[0]).tolist() == [1, 1]


def test_a_range_in_which_eager_fails_is_an_error_with_the_sizes() -> None:
    def f(x: Tensor, ids: Tensor) -> Tensor:
        return x[ids.clamp(0, 0) + 2]

    message = refusal(f, (torch.ones(5), torch.ones(3, dtype=torch.int64)), dynamic_shapes=({0: DYNAMIC(min=1)}, None))
    first, where, remedy = message.splitlines()
    assert first == (
        "model: input 'x' dimension 0 has the declared minimum 1, but the model raises IndexError: index 2 is out of "
        "bounds for dimension 0 with size 1 when it runs eagerly with 1"
    )
    assert where.strip().startswith(f"at {__file__}:")
    assert remedy == "  Declare the minimum 3."


# --- what is refused


def test_data_dependent_control_flow_names_the_users_line() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.sum() > 0:
                return x
            return -x

    message = refusal(Branch(), (torch.ones(2),))
    assert message.startswith("model: the model cannot be exported by torch.export: ")
    assert f"  at {__file__}:" in message
    assert "if x.sum() > 0:" in message


@pytest.mark.parametrize(
    ("dynamic", "message"),
    [
        ("y:0=1..8", "DYNAMIC_SHAPES: no tensor input 'y'; the model's inputs are: x"),
        ("x:2=1..8", "DYNAMIC_SHAPES x:2: input 'x' has dimensions 0 to 1"),
        ("x=1..8", 'DYNAMIC_SHAPES entry "x=1..8" is not input:dim=min..max, as in ids:1=1..512'),
        (
            "x:0=8..1",
            'DYNAMIC_SHAPES entry "x:0=8..1": the minimum 8 is not below the maximum 1; leave it out where the size is '
            "fixed",
        ),
    ],
)
def test_dynamic_shapes_that_do_not_fit_are_refused(dynamic: str, message: str) -> None:
    with pytest.raises(AotbuildError) as error:
        captured(lambda x: x + 1, (torch.ones(2, 3),), tuple(parse_dynamic_shapes([dynamic])))
    assert str(error.value) == message


def test_dynamic_shapes_are_given_in_one_place() -> None:
    message = refusal(
        lambda x: x + 1, (torch.ones(2, 3),), (DynamicDim("x", 0, 1, 8),), dynamic_shapes=({0: DYNAMIC()},)
    )
    assert message == "DYNAMIC_SHAPES: the model file gives dynamic_shapes too; keep one of them"


def test_a_size_that_the_model_fixes_is_refused() -> None:
    message = refusal(lambda x: x.reshape(3, 2), (torch.ones(6),), (DynamicDim("x", 0, 1, 8),))
    assert "cannot be exported" in message
    assert "make the size that it names dynamic or static" in message


def test_project_files_are_those_that_the_model_file_imports_and_names(tmp_path: Path) -> None:
    (tmp_path / "capture_helper.py").write_text("WIDTH = 3\n")
    (tmp_path / "vocabulary.txt").write_text("a\n")
    (tmp_path / "capture_model.py").write_text(
        "import torch\nfrom aotbuild import Model\nfrom capture_helper import WIDTH\n"
        "def build(width=WIDTH, name='x', flag=False):\n"
        "    assert (width, name, flag) == (5, 'y', True)\n"
        "    return Model(torch.nn.Linear(width, 2), (torch.ones(1, width),), data_files=['vocabulary.txt'])\n"
    )
    source = load_source("capture_model.py:build", {"width": "5", "name": "y", "flag": "ON"}, tmp_path)
    assert [file.name for file in source.files] == ["capture_helper.py", "capture_model.py", "vocabulary.txt"]


def test_project_files_include_packages_relative_imports_and_what_the_export_imports(tmp_path: Path) -> None:
    files = {
        "lazy_zoo/__init__.py": "",
        "lazy_zoo/layers/__init__.py": "from .linear import layer\n",
        "lazy_zoo/layers/linear.py": "import torch\nfrom ..sizes import N\ndef layer(): return torch.nn.Linear(N, 2)\n",
        "lazy_zoo/sizes.py": "N = 3\n",
        "lazy_spaces/plain.py": "def twice(x): return x * 2\n",
        "lazy_forward.py": "FACTOR = 2\n",
        "lazy_model.py": (
            "import torch\nfrom lazy_zoo.layers import layer\n"
            "class Net(torch.nn.Module):\n"
            "    def __init__(self):\n        super().__init__()\n        self.layer = layer()\n"
            "    def forward(self, x):\n        import lazy_forward as f\n        return self.layer(x) * f.FACTOR\n"
            "def build():\n    from lazy_spaces.plain import twice\n    return Net(), (twice(torch.ones(1, 3)),)\n"
        ),
        "unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    captured = capture(load_source("lazy_model.py:build", {}, tmp_path))
    assert {str(file.relative_to(tmp_path)) for file in captured.files} == set(files) - {"unused.py"}


@pytest.mark.parametrize(
    ("trace", "place"),
    [
        ('File "<string>", line 3, in forward', "<string>:3 in forward"),
        ('File "/a/net.py", line 3, in forward\n    return x', "/a/net.py:3 in forward: return x"),
        ('File "/a/net.py", line 3, in forward\n  File "/a/part.py", line 5, in forward', "/a/part.py:5 in forward"),
        (
            'File "/a/net.py", line 3, in forward\n    return self.linear(x)\n'
            '  File "/b/lib/python3.12/site-packages/torch/nn/modules/linear.py", line 134, in forward\n    return F',
            "/a/net.py:3 in forward: return self.linear(x)",
        ),
        ("", None),
        (None, None),
    ],
)
def test_the_line_of_a_node_is_found_in_programs_of_another_machine(trace: str | None, place: str | None) -> None:
    assert user_frame(trace) == model_frame(trace) == place


# --- strict export


def test_what_strict_export_alone_takes_is_exported_so_and_said() -> None:
    def count(x: Tensor) -> Tensor:
        number = (x > 0).sum().item()
        return torch.cond(x.sum() > 0, lambda x: x + number, lambda x: x - number, (x,))  # type: ignore[no-any-return]

    (note,) = captured(count, (torch.ones(3),)).notes
    assert note.startswith("exported with strict=True, which alone takes it: a branch or a loop reads a number")
    assert captured(lambda x: x + 1, (torch.ones(3),)).notes == ()


def test_where_strict_export_fails_as_well_the_first_error_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def export(*_: Any, strict: bool, **__: Any) -> Any:
        calls.append(strict)
        raise RuntimeError("of strict" if strict else message)

    monkeypatch.setattr(torch.export, "export", export)
    for message, tried in (("Attempted to wrap unbacked SymInt", [False, True]), ("another", [False])):
        calls.clear()
        with pytest.raises(AotbuildError, match=message):
            captured(lambda x: x + 1, (torch.ones(3),))
        assert calls == tried


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda x: torch.cond(x.sum() > 0, lambda x: x.double(), lambda x: x, (x,)), "torch.float64 and torch.float32"),
        (lambda x: torch.cond(x.sum() > 0, lambda _: 3.0, lambda _: 4.0, (x,)), "must consist of tensors"),
        (lambda x: while_loop(lambda x: x < 9, lambda x: (x + 1,), (x,)), "Expected cond_fn to return a scalar tensor"),  # type: ignore[no-untyped-call]
    ],
)
def test_refusals_of_branches_and_loops_are_a_few_lines(model: Any, said: str) -> None:
    with pytest.raises(AotbuildError) as error:
        captured(model, (torch.ones(3),))
    call, place, reason, remedy = str(error.value).splitlines()
    assert "torch.export cannot capture a call of torch." in call
    assert "test_capture.py" in place
    assert said in reason
    assert remedy.startswith("  Its functions take and return tensors alone")
