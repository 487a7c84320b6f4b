"""Builds by the real generator: the same bytes everywhere, what new weights rebuild, and building from Python."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from model_builds import ROOT, ZOO, assert_same, configure, run
from safetensors.torch import load_file, save_file

import aotbuild
from aotbuild.api.compile import compile
from aotbuild.spec.errors import AotbuildError

MODEL = """\
from pathlib import Path
import torch
from safetensors.torch import load_file
from aotbuild import Model

def build():
    layers = torch.nn.Linear(6, 32), torch.nn.GELU(), torch.nn.LayerNorm(32), torch.nn.Linear(32, 2)
    module = torch.nn.Sequential(*layers)
    module.load_state_dict(load_file(Path(__file__).parent / "weights.safetensors"))
    return Model(module, (torch.ones(3, 6),), data_files=["weights.safetensors"])
"""
LISTS = """\
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
find_package(aotbuild REQUIRED)
add_aot_model(shared SHARED MODEL model.py:build NO_TEST)
add_aot_model(static STATIC MODEL model.py:build NO_TEST)
"""


def write_project(folder: Path) -> Path:
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "CMakeLists.txt").write_text(LISTS)
    (source / "model.py").write_text(MODEL)
    torch.manual_seed(0)
    layers = (torch.nn.Linear(6, 32), torch.nn.GELU(), torch.nn.LayerNorm(32), torch.nn.Linear(32, 2))
    save_file(torch.nn.Sequential(*layers).state_dict(), source / "weights.safetensors")
    return source


def digests(build: Path, *names: str) -> dict[str, str]:
    return {name: hashlib.sha256((build / name).read_bytes()).hexdigest() for name in names}


@pytest.mark.slow
def test_two_builds_in_two_folders_are_the_same_bytes_and_new_weights_compile_no_kernel(tmp_path: Path) -> None:
    """Nothing is cached: every file of both builds is generated and compiled."""
    libraries = ("libshared.so", "libstatic.a", "libaotbuild_runtime_shared.so")
    found = []
    for folder in (tmp_path / "a", tmp_path / "another folder"):
        source, build = write_project(folder), folder / "build"
        # A static library needs the runtime only when it is linked, so the static one is not built.
        configure(source, build, "-DCMAKE_OPTIMIZE_DEPENDENCIES=ON", "-DAOTBUILD_CACHE_DIR=")
        run("cmake", "--build", build, "--parallel", "2", CCACHE_DISABLE="1")
        found.append(digests(build, *libraries))
    assert found[0] == found[1]

    weights = {name: tensor + 1 for name, tensor in load_file(source / "weights.safetensors").items()}
    save_file(weights, source / "weights.safetensors")
    output = run("cmake", "--build", build, CCACHE_DISABLE="1")
    compiled = re.findall(r"Building CXX object \S*?(?:\\ \S*?)*([^/\s]+)\.o\b", output)
    assert sorted(compiled) == ["shared_weights.cpp", "static_weights.cpp"]
    assert digests(build, *libraries)["libshared.so"] != found[0]["libshared.so"]
    assert "ninja: no work to do" in run("cmake", "--build", build)

    # The same weights swapped into the old library: a build and a swap give the same outputs.
    old, new = (aotbuild.load(folder / "libshared.so") for folder in (tmp_path / "a" / "build", build))
    x = torch.arange(18.0).reshape(3, 6)
    assert not torch.equal(old(x), new(x))
    old.load_weights(source / "weights.safetensors")
    assert torch.equal(old(x), new(x))


def test_a_fresh_generator_writes_what_a_long_running_one_wrote(zoo_build: Path, tmp_path: Path) -> None:
    """Names and order in the sources come from the model, not from what the process compiled before."""
    name = "transformer"
    run(
        sys.executable, "-m", "aotbuild", "generate", "--target", name, "--model", f"{ZOO}:{name}", "--no-test",
        "--output-dir", tmp_path, PYTHONHASHSEED="77", AOTBUILD_CACHE_DIR="",
    )  # fmt: skip
    written = {
        path.relative_to(tmp_path): path for path in tmp_path.rglob("*") if path.suffix in (".cpp", ".hpp", ".bin")
    }
    assert len(written) > 8
    for path, file in written.items():
        assert file.read_bytes() == (zoo_build / f"{name}.aotbuild" / path).read_bytes(), path


@pytest.mark.slow
def test_compile_gives_the_library_the_program_and_a_runner(tmp_path: Path) -> None:
    def f(x: torch.Tensor, *, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"scaled": x * scale, "sums": x.sum(0)}

    shapes = {"x": {0: torch.export.Dim.DYNAMIC(min=1, max=9)}, "scale": None}
    compiled = compile(
        f,
        (torch.ones(2, 3),),
        {"scale": torch.tensor(2.0)},
        dynamic_shapes=shapes,
        options={"cpp.max_horizontal_fusion_size": 8},
        cpu_isa=("x86-64-v2",),
        output_dir=tmp_path / "scaler",
        name="scaler",
    )
    assert compiled.library == tmp_path / "scaler" / "build" / "libscaler.so"
    assert isinstance(compiled.program, torch.export.ExportedProgram)
    assert compiled.runner.signature.startswith("scaler(x: float32[s0=1..9, 3], scale: float32[]) -> (scaled: ")
    assert compiled.runner.manifest["metadata"]["options"] == {"cpp.max_horizontal_fusion_size": "8"}
    for rows in (1, 2, 9):
        x = torch.randn(rows, 3)
        assert_same(compiled(x, scale=torch.tensor(3.0)), f(x, scale=torch.tensor(3.0)))


def test_compile_reports_what_the_generator_says(tmp_path: Path) -> None:
    def f(x: torch.Tensor) -> Any:
        return torch.ops.aten._histogramdd_from_bin_cts(x, [2, 2, 2])

    with pytest.raises(AotbuildError) as error:
        compile(f, (torch.eye(3),), output_dir=tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("model: the standalone runtime has no kernel for ")
    assert lines[2].startswith(f"    at {__file__}:")
    assert lines[2].endswith(" in forward: return torch.ops.aten._histogramdd_from_bin_cts(x, [2, 2, 2])")
    assert lines[-1].startswith("  or write a kernel: aotbuild.register_kernel(")


def test_aotbuild_imports_no_torch_to_print_its_folder() -> None:
    code = "import sys; from aotbuild.commands import cli; cli.main(['--cmakedir']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == ROOT / "cmake"
