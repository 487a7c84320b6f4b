"""The generator's command line: wrong input is named in the user's words, with exit status 1 and no traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aotbuild.commands import cli

pytestmark = pytest.mark.quick

Generate = Callable[..., tuple[int, str]]

GOOD = """\
import torch

class Network(torch.nn.Module):
    def forward(self, x):
        return x.relu()

def build():
    return Network(), (torch.ones(2, 3),)

def not_a_model():
    return 5

def raising(depth=3):
    return build_layers(depth)

def build_layers(depth):
    raise ValueError(f"no checkpoint for {depth} layers")

class Branching(torch.nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

def branching():
    return Branching(), (torch.ones(2),)

class Counting(torch.nn.Module):
    def forward(self, x):
        edges = torch.ops.aten._histogramdd_bin_edges(x, [2, 2])
        return torch.ops.aten._histogramdd_from_bin_tensors(x, edges)

def counting():
    return Counting(), (torch.eye(2),)

VALUE = 3
"""


@pytest.fixture
def generate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Generate]:
    """Runs the generator in a folder with ``model.py``: its exit status and what it wrote to the error stream."""
    (tmp_path / "model.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)

    def run(model: str, *arguments: str) -> tuple[int, str]:
        status = cli.main(["generate", "--target", "net", "--output-dir", "out", "--model", model, *arguments])
        return status, capsys.readouterr().err

    yield run
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("arguments", "phrases"),
    [
        (["missing.py:build"], ["MODEL missing.py:build: no such file (looked for ", "missing.py)"]),
        (["missing.pt2"], ["MODEL missing.pt2: no such file (looked for "]),
        (["model.py"], ["MODEL model.py: write file.py:callable, package.module:callable or file.pt2"]),
        (["no_such_package.part:build"], ["no module 'no_such_package.part' on PYTHONPATH or beside the project's"]),
        (["model.py:biuld"], ["MODEL model.py:biuld: model.py defines no 'biuld'; it has: ", "build", "raising"]),
        (["model.py:VALUE"], ["'VALUE' is a int, not a callable"]),
        (["model.py:not_a_model"], ["the callable returned a int; return an aotbuild.Model, or (module, args)"]),
        (
            ["model.py:raising", "--param", "depth=7"],
            ["raising() raised ValueError: no checkpoint for 7 layers\n  ", "model.py:17 in build_layers: raise Value"],
        ),
        (["model.py:build", "--param", "size=7"], ["build() raised TypeError: build() got an unexpected keyword"]),
        (["model.py:build", "--param", "size"], ["PARAMS 'size': write key=value"]),
        (
            ["model.py:branching"],
            ["net: the model cannot be exported by torch.export", "model.py:21 in forward: return x if x.sum() > 0"],
        ),
        (
            ["model.py:counting"],
            [
                "no kernel for 2 operator(s)",
                "  aten._histogramdd_bin_edges.default (1 call)",
                "  aten._histogramdd_from_bin_tensors.default (1 call)",
                "model.py:28",
            ],
        ),
        (["model.py:build", "--option", "cpp.simdlenn=8"], ["OPTIONS cpp.simdlenn: ", "did you mean 'cpp.simdlen'?"]),
        (["model.py:build", "--dynamic-shapes", "y:0=1..8"], ["no tensor input 'y'; the model's inputs are: x"]),
        (["model.py:build", "--dynamic-shapes", "x:0"], ["is not input:dim=min..max, as in ids:1=1..512"]),
        (["model.py:build", "--cpu-isa", "avx9"], ["CPU_ISA 'avx9' is unknown; use one of: x86-64-v3, x86-64-v2"]),
        (["model.py:build", "--preset", "fast"], ["PRESET 'fast' is unknown; use one of: default"]),
        (["model.py:build", "--namespace", "a::class"], ["NAMESPACE 'a::class' is not a C++ name: 'class'"]),
    ],
)
def test_bad_input_is_an_error_in_the_users_words(
    generate: Generate, tmp_path: Path, arguments: list[str], phrases: list[str]
) -> None:
    status, errors = generate(*arguments)
    assert status == 1
    assert errors.startswith("aotbuild: error: ")
    assert "Traceback" not in errors
    for phrase in phrases:
        assert phrase in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "frames"),
    [
        (["model.py:raising", "--param", "depth=7"], ["in build_layers", "ValueError: no checkpoint for 7 layers"]),
        (["model.py:branching"], ["torch/export", "The above exception was the direct cause"]),
        (["model.py:build", "--cpu-isa", "avx9"], ["target.py", "KeyError: 'avx9'"]),  # which the error hides
        (["missing.py:build"], ["in generate"]),
    ],
)
def test_verbose_shows_tracebacks_before_the_error(generate: Generate, arguments: list[str], frames: list[str]) -> None:
    _, short = generate(*arguments)
    status, long = generate(*arguments, "--verbose")
    assert status == 1
    assert "Traceback" not in short
    traceback, _, error = long.rpartition("aotbuild: error: ")
    assert short.endswith(error)
    assert "Traceback (most recent call last):" in traceback
    for frame in frames:
        assert frame in traceback


def test_model_files_that_cannot_be_read_are_errors(generate: Generate, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def build(:\n")
    status, errors = generate("broken.py:build")
    assert status == 1
    assert "MODEL broken.py:build: importing it raised SyntaxError" in errors
    (tmp_path / "importing.py").write_text("import does_not_exist_anywhere\n")
    status, errors = generate("importing.py:build")
    assert status == 1
    assert "ModuleNotFoundError: No module named 'does_not_exist_anywhere'\n  " in errors
    assert "importing.py:1" in errors
    (tmp_path / "text.pt2").write_text("text")
    status, errors = generate("text.pt2")
    assert status == 1
    assert "MODEL text.pt2: cannot be read as a program written by torch.export.save" in errors


def test_earlier_outputs_stay_whole_after_an_error(generate: Generate, tmp_path: Path) -> None:
    assert generate("model.py:build")[0] == 0
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").rglob("*.*")}
    assert len(files) > 10
    (tmp_path / "model.py").write_text(
        GOOD.replace("x.relu()", "torch.ops.aten._histogramdd_from_bin_cts(x, [2, 2, 2])")
    )
    status, errors = generate("model.py:build")
    assert status == 1
    assert "_histogramdd_from_bin_cts" in errors
    (tmp_path / "model.py").write_text(GOOD.replace("x.relu()", "x +"))
    assert generate("model.py:build")[0] == 1
    assert files == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").rglob("*.*")}

    (tmp_path / "model.py").write_text(GOOD.replace("x.relu()", "x.relu() + 1"))
    assert generate("model.py:build")[0] == 0
    changed = {path.name for path, (data, _) in files.items() if path.read_bytes() != data}
    assert "net_kernels_x86_64_v3_0.cpp" in changed
    assert "net.hpp" not in changed


def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    with pytest.raises(SystemExit) as stop:
        cli.main(["generate", "--model", "x.py:f"])
    assert stop.value.code == 2
    assert "--target" in capsys.readouterr().err
