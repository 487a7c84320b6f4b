"""The generator with a cache: what it skips, and that another project's model never comes out of it."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MODEL = """\
from pathlib import Path

import torch
from safetensors.torch import load_file


def build():
    module = torch.nn.Sequential(torch.nn.Linear(4, 80), torch.nn.ReLU(), torch.nn.Linear(80, 3))
    module.load_state_dict(load_file(Path(__file__).parent / "weights.safetensors"))
    return module, (torch.ones(2, 4),)
"""
WEIGHTS = """\
import sys
import torch
from safetensors.torch import save_file
torch.manual_seed(int(sys.argv[1]))
module = torch.nn.Sequential(torch.nn.Linear(4, 80), torch.nn.ReLU(), torch.nn.Linear(80, 3))
save_file(module.state_dict(), sys.argv[2])
"""


def python(*arguments: str | Path, folder: Path) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], cwd=folder, check=True, capture_output=True)


# In a process that a server forks: forked from this one it would hang where a test before has started threads of
# OpenMP. The server imports torch once.
GENERATE = """\
import contextlib, os, sys
os.chdir(folder)
os.environ["AOTBUILD_CACHE_DIR"] = cache
from aotbuild.commands.cli import main
with open(printed, "w") as log, contextlib.redirect_stdout(log):
    status = main(command)
sys.exit(status)
"""


@pytest.fixture(scope="module", autouse=True)
def _one_import_of_torch() -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(["aotbuild.lower.cpu.lowering"])


def generate(model: str, output: Path, *, folder: Path, cache: str) -> tuple[list[str], dict[str, bytes]]:
    """The stages that the generator of a model went through, and the files that it wrote."""
    printed = output.with_suffix(".log")
    names = {
        "command": ["generate", "--target", "net", "--model", model, "--output-dir", str(output)],
        "printed": str(printed),
        "folder": str(folder),
        "cache": cache,
    }
    process = multiprocessing.get_context("forkserver").Process(target=exec, args=(GENERATE, names))
    process.start()
    process.join()
    assert process.exitcode == 0
    stages = [line.removeprefix("aotbuild: net: ").rpartition(" in ")[0] for line in printed.read_text().splitlines()]
    return stages, {str(p.relative_to(output)): p.read_bytes() for p in output.rglob("*") if p.is_file()}


def test_generator_skips_what_it_can_and_writes_the_same_bytes(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "model.py").write_text(MODEL)

    def generated(name: str, cache: str = str(tmp_path / "cache")) -> tuple[list[str], dict[str, bytes]]:
        return generate(f"{project}/model.py:build", tmp_path / name, folder=project, cache=cache)

    python("-c", WEIGHTS, "1", project / "weights.safetensors", folder=project)
    stages, first = generated("first")
    assert stages == [
        "looked in the cache",
        "imported torch",
        "loaded the model",
        "exported and ran it eagerly",
        "lowered it",
        "wrote the sources",
        "kept it in the cache",
    ]
    stages, second = generated("second")
    assert stages == ["looked in the cache", "took the sources from the cache"]
    assert second == first

    python("-c", WEIGHTS, "2", project / "weights.safetensors", folder=project)
    stages, third = generated("third")
    assert "exported and ran it eagerly" in stages
    assert "lowered it" not in stages
    stages, uncached = generated("uncached", "OFF")
    assert "looked in the cache" not in stages
    assert third == uncached
    assert {name for name in third if third[name] != first[name]} == {
        "net.weights.bin",
        "test/net.golden.safetensors",
    }


SCALED = """\
from pathlib import Path

import torch

from aotbuild import Model


class Scaled(torch.nn.Module):
    def forward(self, x):
        return x * FACTOR


def build():
    return Model(Scaled(), (torch.ones(3),), data_files=DATA_FILES)
"""
SCALES: dict[str, tuple[str, Callable[[float], dict[str, str]]]] = {
    "model file": ("model.py:build", lambda factor: {"model.py": f"FACTOR = {factor}\nDATA_FILES = ()\n{SCALED}"}),
    "module": ("model:build", lambda factor: {"model.py": f"FACTOR = {factor}\nDATA_FILES = ()\n{SCALED}"}),
    "imported module": (
        "model.py:build",
        lambda factor: {"model.py": f"from factor import *\n{SCALED}", "factor.py": f"FACTOR={factor}\nDATA_FILES=()"},
    ),
    "data file": (
        "model.py:build",
        lambda factor: {
            "model.py": f"import ctypes\nDATA_FILES = ('f.txt',)\nFACTOR = NATIVE\n{SCALED}".replace("NATIVE", READ),
            "f.txt": str(factor),
        },
    ),
    "exported program": ("model.pt2", lambda factor: {"make.py": EXPORT.format(factor=factor)}),
}
# Read by native code, which only `data_files` tells about.
READ = "float(__import__('torch')._C.PyTorchFileReader and __import__('subprocess').check_output(['cat', 'f.txt']))"
EXPORT = """\
import torch


class Scaled(torch.nn.Module):
    def forward(self, x):
        return x * {factor}


torch.export.save(torch.export.export(Scaled(), (torch.ones(3),)), "model.pt2")
"""


@pytest.mark.parametrize("kind", SCALES)
def test_two_checkouts_that_share_a_cache_get_their_own_models(tmp_path: Path, kind: str) -> None:
    """Of the same target and MODEL; the golden values come from the cache with the model, so no test would notice."""
    model, files = SCALES[kind]
    outputs = {}
    for name, factor in (("one", 1.5), ("two", 7.25), ("again", 1.5)):
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files(factor).items():
            (folder / file).write_text(text)
        if model.endswith(".pt2"):
            if name == "again":
                shutil.copy(tmp_path / "one/model.pt2", folder)
            else:
                python("make.py", folder=folder)
        stages, outputs[name] = generate(model, tmp_path / f"out-{name}", folder=folder, cache=str(tmp_path / "cache"))
        assert ("took the sources from the cache" in stages) == (name == "again")
    written = {
        name: b"".join(data for file, data in files.items() if "kernels" in file) for name, files in outputs.items()
    }
    assert b"1.5" in written["one"]
    assert b"7.25" in written["two"]
    golden = "test/net.golden.safetensors"
    assert outputs["one"][golden] != outputs["two"][golden]
    assert outputs["again"] == outputs["one"]
