"""What becomes of names that C++ does not allow; generated code compiles whatever a model's names are."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aotbuild import Model, emit
from aotbuild.capture import Captured, Source, capture
from aotbuild.emit.names import TargetNames, method_names
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.identifiers import cpp_identifier, identifier, include_guard, is_reserved, symbol, unique_names
from aotbuild.spec.paths import include_directory
from aotbuild.spec.program import (
    CompiledModel,
    EmitOptions,
    GoldenCase,
    Method,
    Numbering,
    Signature,
    TensorSpec,
    Variant,
)
from aotbuild.spec.target import cpu_isa

HOSTILE = Path(__file__).parents[1] / "models" / "hostile_names.py"

# Headers that programs include, by which the compiler defines macros.
HEADERS = (
    *(
        "cassert",
        "cctype",
        "cerrno",
        "cfenv",
        "cfloat",
        "cinttypes",
        "climits",
        "clocale",
        "cmath",
        "complex",
        "csetjmp",
    ),
    *(
        "csignal",
        "cstdio",
        "cstdlib",
        "cstring",
        "ctime",
        "cwchar",
        "atomic",
        "thread",
        "mutex",
        "future",
        "filesystem",
    ),
    *("fcntl.h", "unistd.h", "pthread.h", "sys/socket.h", "sys/stat.h", "sys/mman.h", "netinet/in.h", "poll.h"),
    *("aotbuild/c_api.h", "aotbuild/cuda.hpp", "aotbuild/kernel.hpp", "aotbuild/testing.hpp"),
)


def compiler() -> str:
    found = shutil.which(os.environ.get("CXX", "c++"))
    if found is None:
        pytest.skip("no C++ compiler")
    return found


def assert_compiles(folder: Path, files: dict[str, bytes], *sources: str) -> None:
    """Those of the files, as C++17 with the warnings of a strict project; run functions are C++20."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    include = [f"-I{include_directory()}", f"-I{folder / 'include'}", f"-I{folder / 'src'}"]
    for source in sources:
        flags = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-fsyntax-only"]
        standard = "-std=gnu++20" if "_run_" in source else "-std=gnu++17"
        command = [compiler(), standard, *flags, *include, str(folder / source)]
        compiled = subprocess.run(command, capture_output=True, text=True, check=False)
        assert compiled.returncode == 0, compiled.stderr


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("input_ids", "input_ids"),
        ("float", "float_"),
        ("NULL", "NULL_"),
        ("std", "std_"),
        ("x.y", "x_y"),
        ("_Bool", "Bool"),
        ("__x__", "_x_"),
        ("a__b", "a_b"),
        ("größe", "größe"),
        ("\ufb01", "fi"),
        ("3", "_3"),
        ("", "_"),
        ("_hidden", "_hidden"),
        ("AOTBUILD_X", "aotbuild_X"),
        ("Q", "Q"),
    ],
)
def test_names_that_cpp_allows_stay_and_others_follow_the_rule(text: str, expected: str) -> None:
    assert cpp_identifier(text) == expected


@pytest.mark.quick
def test_neighbours_differ_and_the_name_that_is_legal_stays() -> None:
    assert unique_names(["x.y", "x y", "x_y"]) == ["x_y_", "x_y_2", "x_y"]
    assert unique_names(["float", "float_", "float_2"]) == ["float_3", "float_", "float_2"]
    assert unique_names(["__", "_", "___"]) == ["_2", "_", "_3"]
    assert unique_names(["x.y", "float"], rule=identifier) == ["x_y", "float"]


@pytest.mark.quick
def test_targets_that_differ_in_a_character_have_symbols_and_guards_of_their_own() -> None:
    names = ("a_b", "a-b", "a.b", "a+b", "A_b")
    assert len({symbol(name) for name in names}) == len(names)
    assert len({include_guard(f"{name}.h") for name in (*names, "a/b", "A_B")}) == len(names) + 2
    assert include_guard("model.hpp") != "AOTBUILD_MODEL_HPP_"  # that of the package's own header
    assert include_guard("aotbuild_model.hpp") != "AOTBUILD_MODEL_HPP_"


@pytest.mark.quick
def test_every_macro_of_the_compiler_is_reserved(tmp_path: Path) -> None:
    source = tmp_path / "macros.cpp"
    source.write_text("".join(f"#include <{header}>\n" for header in HEADERS))
    command = [compiler(), "-std=gnu++17", f"-I{include_directory()}", "-dM", "-E", str(source)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    macros = {line.split()[1].partition("(")[0] for line in text.splitlines()}
    assert len(macros) > 1000
    assert not [name for name in macros if not is_reserved(name) and cpp_identifier(name) == name]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("target", "class_name", "prefix"),
    [
        ("encoder", "Encoder", "encoder"),
        ("inputs", "Inputs_", "inputs"),
        ("FILE", "FILE_", "FILE"),
        ("timer", "Timer", "model_timer"),
        ("aotbuild", "Aotbuild", "model_aotbuild"),
        ("aotbuild_model", "AotbuildModel", "model_aotbuild_model"),
        ("float", "Float", "float"),
    ],
)
def test_targets_with_names_of_libraries_have_others(target: str, class_name: str, prefix: str) -> None:
    names = TargetNames.of(EmitOptions(target))
    assert (names.class_name, names.prefix) == (class_name, prefix)


@pytest.mark.quick
@pytest.mark.parametrize("namespace", ["std", "app::aotbuild", "app::EOF"])
def test_namespaces_that_generated_code_refers_to_are_refused(namespace: str) -> None:
    with pytest.raises(AotbuildError, match=f"target 'net': NAMESPACE '{namespace}' is not a C"):
        TargetNames.of(EmitOptions("net", namespace=namespace))


# Each of them is a method's name in Python.
METHODS = (
    *("info", "untyped", "create", "destroy", "api", "weights", "name", "methods", "run", "model_", "weight_count"),
    *("new", "delete", "operator", "TEST", "assert_", "NULL", "std", "aotbuild", "Net", "net_api", "main", "model"),
    *("decode", "decode_device", "decode_on_device", "decode_on_stream", "DecodeInputs", "try_decode", "a_b", "aB"),
    *(
        "_step",
        "__call",
        "try_create",
        "größe",
        "_",
        "input_metadata",
        "decode_input_metadata",
        "inputs",
        "results",
        "golden",
    ),
)


def with_methods() -> CompiledModel:
    x, y = (TensorSpec((name,), "float32", ()) for name in ("x", "y"))
    one = capture_of(nn.Identity()).golden[0].inputs[0]
    methods = []
    for number, name in enumerate(METHODS):
        namespace = f"net_{number}_v3"
        run = (
            f'#include "aotbuild/detail/spec.h"\nnamespace {namespace} {{\n'
            "void run(aotbuild::detail::CallContext&, AtenTensorHandle*, AtenTensorHandle*) {}\n}\n"
        )
        variant = Variant("x86-64-v3", namespace, run, "", ())
        case = GoldenCase("example", (one,), (one,))
        methods.append(Method(name, Signature((x,), (y,)), (variant,), (case,), Numbering((), (), (), ())))
    return CompiledModel(tuple(methods), ())


def capture_of(module: nn.Module) -> Captured:
    return capture(Source(Model(module, (torch.ones(()),)), None, ()), (), "net")


def test_methods_compile_whatever_they_are_called(tmp_path: Path) -> None:
    files = emit.render(with_methods(), EmitOptions("net", benchmark=True))
    assert_compiles(tmp_path, files, "src/net.cpp", "test/net_test.cpp", "test/net_benchmark.cpp")
    names = dict(zip(METHODS, method_names(METHODS, TargetNames.of(EmitOptions("net")))))
    assert names["decode"].function == names["decode"].python == "decode"
    assert (names["delete"].function, names["delete"].python) == ("delete_", "delete")
    assert (names["name"].function, names["name"].python) == ("name", "name_")
    assert len({name.camel for name in names.values()}) == len(METHODS)


class Sizes(nn.Module):
    def forward(self, x: Tensor, x_size: Tensor, x_stride: Tensor, inputs: Tensor) -> Tensor:
        return torch.cat([x * 2, x_size, x_stride, inputs])


def test_sizes_of_one_input_are_not_the_name_of_another(tmp_path: Path) -> None:
    sizes = tuple({0: torch.export.Dim.DYNAMIC(max=9)} for _ in range(4))
    model = Model(Sizes(), tuple(torch.ones(size, 3) for size in (2, 3, 4, 5)), dynamic_shapes=sizes)
    captured = capture(Source(model, None, ()), (), "net")
    lowered = lower(captured, [cpu_isa("x86-64-v3")], target="net")
    compiled = CompiledModel((Method("run", captured.signature, lowered.variants),), lowered.weights)
    assert_compiles(tmp_path, emit.render(compiled, EmitOptions("net", test=False)), "src/net_run_x86_64_v3.cpp")


class Masks(nn.Module):
    """Its buffers differ in a dot alone, or are called as the constants of a graph are."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Module()
        self.a.register_buffer("b", torch.arange(16.0), persistent=False)
        self.register_buffer("a_b", torch.arange(16.0) * 2, persistent=False)
        self.register_buffer("constant_a_b", torch.arange(16.0) * 3)

    def forward(self, x: Tensor) -> list[Any]:
        return [x + mask for mask in map(self.get_buffer, ("a.b", "a_b", "constant_a_b"))]


def test_constants_whose_names_differ_in_a_dot_are_kept_apart() -> None:
    lowered = lower(capture_of(Masks()), [cpu_isa("x86-64-v3")], target="net")
    assert len({weight.name for weight in lowered.weights}) == 3
    assert sorted(weight.tensor.data.view("float32")[1] for weight in lowered.weights) == [1, 2, 3]


def test_a_cuda_model_with_hostile_names_compiles(tmp_path: Path) -> None:
    from aotbuild.generate.compiled import on_device
    from aotbuild.lower.cuda.compile.lowering import lower_cuda

    captured = capture(Source(runpy.run_path(str(HOSTILE))["build"](), None, ()), (), "hostile_names")
    lowered = lower_cuda(captured, ["90"], target="hostile_names", processes=0)
    signature = on_device(captured.signature, "cuda")
    method = Method("run", signature, tuple(replace(variant) for variant in lowered.variants), captured.golden)
    files = emit.render(CompiledModel((method,), lowered.weights), EmitOptions("hostile_names"))
    assert_compiles(
        tmp_path,
        files,
        *("src/hostile_names.cpp", "src/hostile_names_run_sm_90.cpp", "test/hostile_names_test.cpp"),
    )
