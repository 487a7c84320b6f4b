"""`aotbuild.compile`: the model is compiled in the process that has its classes, and called as eager PyTorch is."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from model_builds import assert_same
from torch import Tensor, nn

import aotbuild
from aotbuild.api.project import Project
from aotbuild.commands import cli
from aotbuild.commands.report.cpu import measure
from aotbuild.spec.errors import AotbuildError


class Pair(NamedTuple):
    left: Tensor
    right: Any


@dataclass
class Batch:
    x: Any
    names: Any = None


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.arange(3.0))

    def forward(self, batch: Batch, table: Mapping[Any, Any], power: float = 2.0, *, flag: bool = True) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        y = batch.x**power * self.scale + table["a.b"][0] * table[7]
        output = BaseModelOutput(last_hidden_state=y, hidden_states=(y, batch.x))
        return (
            Pair(y, [y.sum(), None]),
            Batch(None, (y,)),
            output,
            batch.x.shape[0] > 2,
            y.sum().item(),
            "text" if flag else 0,
        )


def test_what_comes_back_is_what_eager_gives_and_the_temporary_folder_goes() -> None:
    module = Network()
    call: Any = lambda f, x: f(Batch(x), {"a.b": [torch.ones(3)], 7: 3}, 3.0)  # noqa: E731
    random_state = torch.get_rng_state()
    compiled = aotbuild.compile(module, (Batch(torch.ones(5, 3)), {"a.b": [torch.ones(3)], 7: 3}, 3.0))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not os.environ.get("AOTBUILD_GENERATOR")
    x = torch.arange(15.0).reshape(5, 3)  # whose sums are exact in any order
    with torch.no_grad():
        expected, got = call(module, x), call(compiled, x)
    assert torch.utils._pytree.tree_structure(got) == torch.utils._pytree.tree_structure(expected)
    for actual, wanted in zip(torch.utils._pytree.tree_leaves(got), torch.utils._pytree.tree_leaves(expected)):
        assert type(actual) is type(wanted)
        assert_same(actual, wanted)
    for wrong, message in [
        ({"power": 2.0}, "input 'power' is 2.0, but the model was compiled with 3.0"),
        ({}, "input 'power' is left out, which is 2.0, but the model was compiled with 3.0"),
        ({"power": 3.0, "flag": False}, "input 'flag' is False, but the model was compiled with True"),
    ]:
        with pytest.raises(TypeError, match=message):
            compiled(Batch(x), {"a.b": [x[0]], 7: 3}, **wrong)

    # A process that has none of the classes.
    code = (
        "import sys, numpy, aotbuild, types\n"
        "pair, batch, output, *rest = aotbuild.load(sys.argv[1])(\n"
        "    types.SimpleNamespace(x=numpy.ones((5, 3), 'float32')), {'a.b': [numpy.ones(3, 'float32')], 7: 3}, 3.0)\n"
        "assert pair._fields == ('left', 'right') and pair.right[1] is None\n"
        "assert batch.x is None and (batch.names[0] == output.last_hidden_state).all() and len(output[1]) == 2\n"
        "assert rest == [True, float(pair.right[0]), 'text'] and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, compiled.library], check=True)

    folder, runner = compiled.library.parents[1], compiled.runner
    assert compiled.signature == runner.signature
    del compiled
    gc.collect()
    assert not folder.exists()
    assert_same(call(runner, x)[0].left, expected[0].left)


def test_one_folder_takes_another_model_and_a_static_cache(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.integrations.executorch import TorchExportableModuleWithStaticCache

    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, attn_implementation="sdpa",
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.LlamaForCausalLM(config).eval()
    cache = {"batch_size": 1, "max_cache_len": 16}
    network.generation_config = transformers.GenerationConfig(
        use_cache=True, cache_implementation="static", cache_config=cache
    )
    module = TorchExportableModuleWithStaticCache(network, **cache, device=torch.device("cpu"))

    def step(f: Any, token: int, position: int) -> Any:
        return f(input_ids=torch.tensor([[token]]), cache_position=torch.tensor([position]))

    program = torch.export.export(nn.Linear(3, 2).eval(), (torch.ones(4, 3),))
    linear = aotbuild.compile(program, output_dir=tmp_path)
    assert_same(linear(torch.ones(4, 3)), program.module()(torch.ones(4, 3)))
    kwargs = {"input_ids": torch.tensor([[5]]), "cache_position": torch.tensor([0])}
    compiled = aotbuild.compile(module, (), kwargs, output_dir=tmp_path)
    with torch.no_grad():
        for position, token in enumerate((5, 9, 2)):
            assert_same(step(compiled, token, position), step(module, token, position))
    assert_same(linear(torch.ones(4, 3)), program.module()(torch.ones(4, 3)))


def test_the_page_about_python_runs_as_it_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert code.count("aotbuild.compile(") == 1
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "model(x: float32[s0=1..64, 3]) -> (scaled: float32[s0, 2], rows: int64[])\n"


def test_the_page_about_migrating_runs_as_it_is_written(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text()
    model, *rest = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "scorer.py").write_text(model)
    code = "import torch\n" + "\n".join(rest)
    assert code.count("torch.testing.assert_close(ours(features), ") == 3
    command = [sys.executable, "-W", "ignore", "-c", code]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "scorer.pt2").exists()


class StoppedError(Exception):
    pass


@pytest.mark.quick
def test_keywords_are_those_of_add_aot_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(self: Project) -> list[str]:
        raise StoppedError((self.directory / "CMakeLists.txt").read_text())

    monkeypatch.setattr(Project, "configure", stop)
    with pytest.raises(StoppedError) as stopped:
        aotbuild.compile(
            nn.Linear(3, 2), methods={"forward_twice": aotbuild.Method((torch.ones(3),))}, device="cuda",
            cuda_architectures=[90, "80-virtual"], runtime="standalone", weights="file", preset="debug", test=True,
            config=tmp_path / "a;b.toml", options={"x.y": "a;$b\"c"}, tuning_database=tmp_path / "t",
            rtol=1e-3, atol=0.5, name="net", output_dir=tmp_path / "out",
        )  # fmt: skip
    text = str(stopped.value)
    words = " ".join(text.partition("add_aot_model(")[2].split())
    assert words == (
        '"net" SHARED MODEL aotbuild.compile:model DEVICE "cuda" RUNTIME "standalone" WEIGHTS "FILE" PRESET "debug" '
        'METHODS "forward_twice" CUDA_ARCHITECTURES "90" "80-virtual" OPTIONS "x.y=a\\;\\$b\\"c" '
        f'CONFIG "{tmp_path}/a\\;b.toml" TUNING_DATABASE "{tmp_path}/t" RTOL "0.001" ATOL "0.5")'
    )


@pytest.mark.quick
def test_what_cannot_be_given_together_is_refused() -> None:
    x = torch.ones(3)
    program = torch.export.export(nn.ReLU(), (x,))
    calls: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((aotbuild.Model(nn.ReLU(), (x,)), (x,)), {}, "model: args cannot be given here, the Model has them"),
        ((nn.ReLU(), (x,)), {"methods": {"f": aotbuild.Method()}}, "args cannot be given here, each method has them"),
        (
            (program,),
            {"dynamic_shapes": ({0: 3},)},
            "dynamic_shapes cannot be given here, an ExportedProgram says which",
        ),
    ]
    for args, kwargs, message in calls:
        with pytest.raises(AotbuildError, match=message):
            aotbuild.compile(*args, **kwargs)


@pytest.mark.quick
def test_a_failed_compilation_leaves_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(self: Project) -> list[str]:
        raise AotbuildError("refused")

    monkeypatch.setattr(Project, "configure", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(AotbuildError, match="refused"):
        aotbuild.compile(nn.ReLU(), (torch.ones(3),))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.quick
def test_the_project_says_that_it_cannot_generate_for_other_arguments(tmp_path: Path) -> None:
    stand_in = Path(aotbuild.__file__).parent / "api" / "stand_in.py"
    stamp = tmp_path / "net.stamp"
    words = ["generate", "--target", "net", "--stamp", str(stamp)]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, stand_in, *words, *more], capture_output=True, text=True)

    assert "the sources of net were written by aotbuild.compile, in a process that has the model" in run().stderr
    stamp.with_suffix(".request.json").write_text(json.dumps(words))
    assert run().returncode == 0
    assert stamp.exists()
    assert "call aotbuild.compile again" in run("--cpu-isa", "avx512").stderr


class Bytes(nn.Module):
    """Weights, inputs and results of 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.linspace(-2, 2, 15).view(5, 3).to(torch.float8_e4m3fn)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = x.float() @ self.weight.float().t() * scale.float()
        return y, y.to(torch.float8_e4m3fn), y.to(torch.float8_e5m2)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["embed", "file"])
def test_float8_goes_in_and_out_and_is_in_files(weights: str, tmp_path: Path) -> None:
    x = torch.tensor([[1, -2, 0.5], [0.0, -0.0, 448], [float("nan"), 3, 2**-9], [1e3, 1, 1]]).to(torch.float8_e4m3fn)
    scale = torch.tensor([1.0, 0.5, 2.0, 2.0**-14, float("inf")]).to(torch.float8_e5m2)
    compiled = aotbuild.compile(Bytes(), (x, scale), output_dir=tmp_path, weights=weights, test=True)
    for actual, expected in zip(compiled.runner(x, scale), Bytes()(x, scale), strict=True):
        assert actual.dtype == expected.dtype
        torch.testing.assert_close(actual.float(), expected.float(), rtol=1e-6, atol=0, equal_nan=True)


def test_diff_calls_both_libraries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = aotbuild.compile(nn.Linear(4, 3), (torch.ones(2, 4),), dynamic_shapes=["input:0=1..8"])
    other = tmp_path / "libother.so"
    shutil.copy(built.library, other)
    assert cli.main(["diff", str(built.library), str(other), "--rounds", "3"]) == 0
    printed = capsys.readouterr().out
    assert "the same in all that their manifests and parts say\n" in printed
    assert "largest difference of outputs, over the largest value: 0.0e+00\n" in printed
    assert re.search(
        r"processor time of a call on one thread, .*: \d+\.\d{3} ms -> \d+\.\d{3} ms \(\d+\.\d\d\)\n", printed
    )


NET = """\
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(256, 256)

    def forward(self, x):
        hidden = self.layer(x)
        return (hidden + x).softmax(1)

def build():
    return Net(), (torch.ones(32, 256),)
"""


def test_report_says_which_lines_take_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    report = measure("net.py:build", params={}, rounds=20)
    rows = {row.function: row for row in report.rows}
    layer, kernel = rows["linear layer"], rows["cpp_fused__softmax_add_0"]
    assert layer.fused == [("net.py:9 in forward: hidden = self.layer(x)", ["linear"])]
    assert kernel.fused == [("net.py:10 in forward: return (hidden + x).softmax(1)", ["add", "softmax"])]
    assert (layer.weights, kernel.calls) == (["layer.weight"], 1)
    assert (layer.flops, layer.nbytes) == (2 * 32 * 256 * 256, 4 * (2 * 32 * 256 + 256 * 256))
    assert kernel.nbytes == 4 * 3 * 32 * 256
    assert all(row.microseconds > 0 and row.of_roofline(report.machine)[0] > 0 for row in report.rows)
    assert report.total + report.rest == pytest.approx(report.clocked)
