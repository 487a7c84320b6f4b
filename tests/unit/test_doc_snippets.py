"""Code in README.md and docs/: each fenced block is run, or stands in the list of those that are not, with a reason."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from aotbuild import emit
from aotbuild.spec.place import Place
from aotbuild.spec.plan import plan
from aotbuild.spec.program import (
    CompiledModel,
    Dim,
    EmitOptions,
    GpuVariant,
    Method,
    Numbering,
    Signature,
    TensorData,
    TensorSpec,
    Variant,
    Weight,
)

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# Blocks by page, language and number in the page.
Block = tuple[str, str, int]

RUN_ELSEWHERE: dict[Block, str] = {
    ("python.md", "python", 0): "tests/models/test_compile.py: test_the_page_about_python_runs_as_it_is_written",
    ("python.md", "python", 1): "tests/models/test_compile.py: test_the_page_about_python_runs_as_it_is_written",
    ("python.md", "python", 2): "tests/models/test_compile.py: test_the_page_about_python_runs_as_it_is_written",
    ("migrating.md", "python", 0): "tests/models/test_compile.py: test_the_page_about_migrating_runs_as_it_is_written",
    ("migrating.md", "python", 1): "tests/models/test_compile.py: test_the_page_about_migrating_runs_as_it_is_written",
    ("migrating.md", "python", 2): "tests/models/test_compile.py: test_the_page_about_migrating_runs_as_it_is_written",
    ("migrating.md", "python", 3): "tests/models/test_compile.py: test_the_page_about_migrating_runs_as_it_is_written",
    ("errors.md", "cpp", 0): "tests/unit/test_headers.py: test_the_pages_program_without_exceptions_compiles",
}
# Of a file of an example, which the examples' own builds use.
PARTS_OF_FILES: dict[Block, str] = {
    ("README.md", "cmake", 0): "examples/quickstart/CMakeLists.txt",
    ("README.md", "cpp", 0): "examples/quickstart/main.cpp",
    ("getting-started.md", "cmake", 0): "examples/quickstart/CMakeLists.txt",
    ("getting-started.md", "cpp", 0): "examples/quickstart/main.cpp",
}
NOT_RUN: dict[Block, str] = {
    ("c-abi.md", "rust", 0): "the tests have no Rust compiler",
    ("c-abi.md", "go", 0): "the tests have no Go compiler",
    ("cuda.md", "python", 0): "loads a model on a GPU",
    ("cuda.md", "sh", 0): "takes hours, and a machine with a GPU in between",
    ("quantized.md", "python", 0): "needs torchao, which is none of the tests' packages",
    ("serving.md", "cmake", 0): "tests/serving builds models so, and asks the real server for them",
    ("torch-runtime.md", "cpp", 0): "minutes of libtorch's headers; tests/models/torch_operators.cpp is such a library",
    ("torch-runtime.md", "python", 0): "loads that library; tests/models/torch_models.py does the same",
    ("torch-runtime.md", "cmake", 0): "builds that library; tests/models/model_builds.py does the same",
    ("triton-kernels.md", "cpp", 0): "tests/cmake/test_kernel_example.py builds and runs the example with that call",
}


def blocks() -> dict[Block, str]:
    found: dict[Block, str] = {}
    for page in PAGES:
        for language, text in FENCED.findall(page.read_text()):
            number = sum((page.name, language) == key[:2] for key in found)
            found[page.name, language, number] = text
    return found


BLOCKS = blocks()


# What runs a block.


def imported(folder: Path, name: str, text: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call_build(folder: Path, text: str) -> None:
    built: Any = imported(folder, "snippet", text).build()
    if isinstance(built, tuple):
        module, inputs = built
        module(*inputs)
    else:
        assert built.methods or built.example_inputs


def call_build_of_a_given_module(folder: Path, text: str) -> None:
    call_build(folder, f"import torch\nmodule = torch.nn.Linear(4, 3)\n{text}")


def register_kernel(folder: Path, text: str) -> None:
    (folder / "kernels").mkdir()
    (folder / "kernels/snake.cpp").write_text(BLOCKS["custom-kernels.md", "cpp", 0])
    import torch

    module = imported(folder, "snippet", text)
    x = torch.tensor([0.5, 2.0])
    torch.testing.assert_close(module.snake(x, 2.0), x + torch.sin(2 * x) ** 2 / 2)


TRITON = """\
import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.library import triton_op, wrap_triton
"""


def import_triton_kernel(folder: Path, text: str) -> None:
    imported(folder, "snippet", TRITON + text)


def import_triton_operator(folder: Path, text: str) -> None:
    import torch

    module = imported(folder, "snippet", TRITON + text)
    assert module.add_op(torch.ones(2), torch.ones(2)).tolist() == [2.0, 2.0]


def check_syntax(folder: Path, text: str, *flags: str, language: str = "c++") -> None:
    command = ["g++" if language == "c++" else "gcc", "-x", language, "-fsyntax-only", "-Wall", "-Werror", *flags]
    command += [f"-I{folder}", f"-I{ROOT / 'cpp/include'}", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check_statements(folder: Path, text: str, parameters: str = "", before: str = "") -> None:
    """Statements of a function with ``parameters``; their includes come first."""
    includes = "".join(line + "\n" for line in text.splitlines() if line.startswith("#include"))
    body = "".join(line + "\n" for line in text.splitlines() if not line.startswith("#include"))
    function = f"void use({parameters});\nvoid use({parameters}) {{\n{body}}}\n"
    check_syntax(
        folder, f"{includes}#include <vector>\n{before}{function}", "-std=c++17", "-Wno-unused-but-set-variable"
    )


def tensor(name: str, dtype: str, *dims: int | Dim, device: str = "cpu") -> TensorSpec:
    sizes = tuple(Dim(dim, dim) if isinstance(dim, int) else dim for dim in dims)
    return TensorSpec((name,), dtype, sizes, device=device)


def method(name: str, inputs: TensorSpec, outputs: TensorSpec, *, on_gpu: bool = False) -> Method:
    run = f"namespace {name} {{\nvoid run();\n}}\n"
    variant = GpuVariant("sm_90", name, run, "", (), b"image") if on_gpu else Variant("x86-64-v3", name, run, "", ())
    return Method(name, Signature((inputs,), (outputs,)), (variant,))


BATCH, LENGTH = Dim(1, 64, "batch"), Dim(1, 512, "length")
KEYS = Weight("keys", TensorData("float32", (2,), np.zeros(8, np.uint8)), mutated=True)
MODELS = {
    "classifier": CompiledModel(
        (method("run", tensor("input", "float32", BATCH, 4), tensor("output", "float32", BATCH, 3)),), ()
    ),
    "decoder": CompiledModel(
        tuple(
            replace(
                method(name, tensor("tokens", "int64", 1, length), tensor("output", "float32", 1, 10)),
                numbering=Numbering((0,), (), (), ()),
            )
            for name, length in (("prefill", LENGTH), ("decode", 1))
        ),
        (KEYS,),
    ),
    "scorer": CompiledModel(
        (method("run", tensor("features", "float32", BATCH, 8), tensor("output", "float32", BATCH)),), ()
    ),
    "encoder": CompiledModel(
        (
            method(
                "run",
                tensor("ids", "int64", BATCH, LENGTH, device="cuda"),
                tensor("hidden", "float32", BATCH, LENGTH, 768, device="cuda"),
                on_gpu=True,
            ),
        ),
        (),
    ),
}


def write_headers(folder: Path, target: str) -> None:
    for name, content in emit.render(MODELS[target], EmitOptions(target, test=False)).items():
        if name.startswith("include/"):
            (folder / Path(name).name).write_bytes(content)


def call_classifier(folder: Path, text: str) -> None:
    write_headers(folder, "classifier")
    check_statements(folder, text, "const float* weight, const float* bias", '#include "classifier.hpp"\n')


def call_scorer(folder: Path, text: str) -> None:
    write_headers(folder, "scorer")
    check_statements(folder, text + "static_cast<void>(first);\n", before='#include "scorer.hpp"\n')


def call_decoder(folder: Path, text: str) -> None:
    write_headers(folder, "decoder")
    check_statements(folder, text, "std::vector<std::int64_t> prompt, std::int64_t length, std::int64_t token")


CUDA_RUNTIME = """\
using cudaStream_t = struct CUstream_st*;
int cudaStreamCreate(cudaStream_t* stream);
"""


def call_on_a_gpu(folder: Path, text: str) -> None:
    write_headers(folder, "encoder")
    parameters = (
        "const std::vector<std::int64_t>& ids, const std::int64_t* pointer, "
        "aotbuild::DeviceView<float, 3> result_pointer_view"
    )
    check_statements(folder, text, parameters, f'#include "encoder.hpp"\n{CUDA_RUNTIME}')


def call_build_of_ranks(folder: Path, text: str) -> None:
    from aotbuild.capture import process_group

    with process_group(1, 2):
        call_build(folder, text)


def create_ranks(folder: Path, text: str) -> None:
    model = replace(MODELS["encoder"], ranks=((), ()))
    for name, content in emit.render(model, EmitOptions("decoder", weights="file", test=False)).items():
        if name.startswith("include/"):
            (folder / Path(name).name).write_bytes(content)
    check_statements(folder, text, before='#include <thread>\n#include "decoder.hpp"\n')


def call_from_c(folder: Path, text: str) -> None:
    write_headers(folder, "encoder")
    check_syntax(folder, text, "-std=c99", "-pedantic", language="c")


def plan_call(folder: Path, text: str) -> None:
    """The first call of the block is one that aotbuild plans without a problem."""
    found = re.search(r"(add_aot_\w+)\((.*?)\)\n", text.replace("cdiv(rows, row_tile)", "rows"), re.DOTALL)
    assert found is not None
    for file in re.findall(r"(\w+\.py):", text):
        (folder / file).touch()
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', found[2])]
    made = plan(found[1], words, Place(str(folder), str(folder / "build"), str(folder), "x86_64"))
    assert made["message"] == ""


RUN: dict[Block, Callable[[Path, str], None]] = {
    ("README.md", "python", 0): call_build,
    ("c-abi.md", "c", 0): call_from_c,
    ("cuda.md", "cmake", 0): plan_call,
    ("cuda.md", "cpp", 0): call_on_a_gpu,
    ("cuda.md", "python", 1): import_triton_kernel,
    ("cuda.md", "python", 2): import_triton_operator,
    ("custom-kernels.md", "python", 0): register_kernel,
    ("custom-kernels.md", "cpp", 0): lambda folder, text: check_syntax(folder, text, "-std=c++17"),
    ("getting-started.md", "python", 0): call_build,
    ("getting-started.md", "python", 1): call_build_of_a_given_module,
    ("methods.md", "python", 0): call_build,
    ("methods.md", "cmake", 0): plan_call,
    ("methods.md", "cpp", 0): call_decoder,
    ("migrating.md", "cpp", 0): call_scorer,
    ("ranks.md", "cmake", 0): plan_call,
    ("ranks.md", "python", 0): call_build_of_ranks,
    ("ranks.md", "cpp", 0): create_ranks,
    ("recurrent.md", "python", 0): call_build,
    ("recurrent.md", "python", 1): call_build,
    ("triton-kernels.md", "cmake", 0): plan_call,
    ("weights.md", "cpp", 0): call_classifier,
}


def name_of(block: Block) -> str:
    page, language, number = block
    return f"{page}-{language}-{number}"


def test_each_block_is_run_or_its_reason_is_given() -> None:
    known = [*RUN, *RUN_ELSEWHERE, *PARTS_OF_FILES, *NOT_RUN]
    assert sorted(BLOCKS) == sorted(known), "add the block to one of the lists above"


@pytest.mark.parametrize("block", RUN, ids=name_of)
def test_block_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RUN[block](tmp_path, BLOCKS[block])


@pytest.mark.parametrize("block", RUN_ELSEWHERE, ids=name_of)
def test_block_is_run_by_another_test(block: Block) -> None:
    file, test = RUN_ELSEWHERE[block].split(": ")
    assert f"def {test}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("block", PARTS_OF_FILES, ids=name_of)
def test_block_is_the_examples_own(block: Block) -> None:
    assert BLOCKS[block] in (ROOT / PARTS_OF_FILES[block]).read_text()


def test_program_of_the_quickstart_compiles(tmp_path: Path) -> None:
    write_headers(tmp_path, "classifier")
    check_syntax(tmp_path, (ROOT / "examples/quickstart/main.cpp").read_text(), "-std=c++17")
