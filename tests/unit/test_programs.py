"""Programs that another release of torch exported."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from aotbuild.capture import capture, load_source
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import TensorData

pytestmark = pytest.mark.quick

FILES = sorted((Path(__file__).parent / "programs").glob("*.pt2"))


def array(tensor: TensorData) -> torch.Tensor:
    return torch.from_numpy(tensor.data.view(np.dtype(tensor.dtype)).reshape(tensor.shape))


def test_there_are_programs_of_other_releases() -> None:
    assert [file.stem for file in FILES] == ["torch_2.11.0", "torch_2.12.1", "torch_2.14.1"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_program_of_another_release_is_read(path: Path) -> None:
    model = capture(load_source(str(path), {}))
    (case,) = [case for case in model.golden if case.name == "example"]
    x, table = map(array, case.inputs)
    state = model.program.state_dict
    linear = torch.nn.functional.linear(x, state["linear.weight"].detach(), state["linear.bias"].detach())
    y = torch.nn.functional.layer_norm(linear**2, (2,)) + table
    for actual, expected in zip(case.outputs, (y, y.sum(0), torch.tensor(4), torch.tensor(1)), strict=True):
        torch.testing.assert_close(array(actual), expected)
    rows = model.signature.inputs[0].dims[0]
    assert (rows.min, rows.max) == (2, 64)
    assert model.signature.call.as_json()["result"] == {
        "dict": [0, {"list": [1, {"tuple": [{"number": 2, "type": "int"}]}]}, 3],
        "keys": ["y", "parts", "n"],
    }


def test_a_program_that_this_torch_cannot_read_names_the_release_that_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "later.pt2"
    with zipfile.ZipFile(FILES[-1]) as read, zipfile.ZipFile(path, "w") as written:
        for name in read.namelist():
            data = read.read(name)
            if name.endswith("models/model.json"):
                content = json.loads(data)
                content |= {"torch_version": "3.0.0", "schema_version": {"major": 99, "minor": 0}}
                data = json.dumps(content).encode()
            written.writestr(name, data)
    here = torch.__version__.partition("+")[0]
    with pytest.raises(AotbuildError) as error:
        load_source(str(path), {})
    text = str(error.value)
    assert (
        f"later.pt2: the program was written by torch 3.0.0, and torch {here} of this environment cannot read" in text
    )
    assert text.endswith(f"Export the model with torch {here}, or build with an environment that has torch 3.0.0.")


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.pt2"
    path.write_text("text")
    with pytest.raises(AotbuildError, match=r"text.pt2: cannot be read as a program written by torch.export.save"):
        load_source(str(path), {})
