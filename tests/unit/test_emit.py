"""Emission: generated files as text, as data, and as C++ that compiles; writing that is whole or not at all."""

from __future__ import annotations

import ast
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from aotbuild import emit
from aotbuild.emit import safetensors
from aotbuild.spec.calls import Call, Node, Parameter
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import (
    CompiledModel,
    Dim,
    EmitOptions,
    GoldenCase,
    Linear,
    Method,
    Numbering,
    QuantizedLinear,
    Signature,
    TensorData,
    TensorSpec,
    Variant,
    Weight,
)

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "emit_golden"
BATCH = Dim(1, 64, "batch")
SEQUENCE = Dim(1, 512, "seq")


def data(array: npt.NDArray[np.generic]) -> TensorData:
    flat = np.frombuffer(array.tobytes(), dtype=np.uint8)
    return TensorData(str(array.dtype), array.shape, flat)


def variant(isa: str = "x86-64-v3", namespace: str = "encoder_v3") -> Variant:
    run = (
        '#include "aotbuild/detail/spec.h"\n'
        f"namespace {namespace} {{\n"
        "void run(aotbuild::detail::CallContext&, AtenTensorHandle*, AtenTensorHandle*) {}\n"
        "}\n"
    )
    return Variant(isa, namespace, run, "", ("", "// second\n"))


def encoder() -> CompiledModel:
    """A model with two inputs of dynamic sizes, one output, and weights of awkward sizes."""
    ids = np.ones((2, 3), np.int64)
    signature = Signature(
        inputs=(
            TensorSpec(("input_ids",), "int64", (BATCH, SEQUENCE)),
            TensorSpec(("attention_mask",), "int64", (BATCH, SEQUENCE)),
        ),
        outputs=(TensorSpec(("output",), "float32", (BATCH, Dim(2, 2))),),
        call=Call(
            (
                Parameter("input_ids", "positional_or_keyword", Node("tensor")),
                Parameter("attention_mask", "positional_or_keyword", Node("tensor", index=1)),
            ),
            Node("tensor"),
        ),
    )
    typical = GoldenCase("typical", (data(ids), data(ids)), (data(np.ones((2, 2), np.float32)),))
    return CompiledModel(
        methods=(Method("run", signature, (variant(),), (typical,)),),
        weights=(
            Weight("bias", data(np.arange(3, dtype=np.float32)), aliases=("head.bias",)),
            Weight("weight", data(np.arange(32, dtype=np.float32).reshape(2, 16))),
            Weight("scale", data(np.asarray(2.5, dtype=np.float64)), mutated=True, required=False),
        ),
        linears=(Linear((1,), (0,), "gelu", 0.0),),
        metadata={"torch": "2.13.0"},
    )


def awkward() -> CompiledModel:
    """Nested and clashing names, C++ keywords, every kind of dimension, complex numbers, an input of rank 0."""
    specs = {
        "inputs": (
            TensorSpec(("class",), "float32", (Dim(2, 128, "n", 2, 0), Dim(3, 66, "n", 1, 2))),
            TensorSpec(("state", "Inputs"), "bfloat16", (Dim(1, 64, "n"),)),
            TensorSpec(("state", "state"), "bool", ()),
            TensorSpec(("Inputs",), "complex64", (Dim(4, 4),), strides=(-1,)),
        ),
        "outputs": (
            TensorSpec(("hidden", "last"), "float16", (Dim(1, 64, "n"),)),
            TensorSpec(("hidden", "int"), "int8", ()),
            TensorSpec(("OutputViews",), "complex128", (Dim(0, 9, "?"),)),
        ),
    }
    return CompiledModel(
        (Method("run", Signature(specs["inputs"], specs["outputs"]), (variant("aarch64", "awkward::arm"),)),), ()
    )


def render(model: CompiledModel | None = None, **options: object) -> dict[str, bytes]:
    return emit.render(model or encoder(), EmitOptions(**{"target": "encoder", "namespace": "search", **options}))  # type: ignore[arg-type]


def read_safetensors(blob: bytes) -> tuple[int, dict[str, dict[str, object]]]:
    size = int.from_bytes(blob[:8], "little")
    return 8 + size, json.loads(blob[8 : 8 + size])


@pytest.mark.quick
@pytest.mark.parametrize(("model", "name"), [(encoder(), "encoder.hpp"), (awkward(), "awkward.hpp")])
def test_the_header_is_the_recorded_one(model: CompiledModel, name: str) -> None:
    text = render(model, target=Path(name).stem)[f"include/{name}"].decode()
    if os.environ.get("AOTBUILD_RECORD"):  # AOTBUILD_RECORD=1 pytest tests/unit/test_emit.py, then read the difference
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


@pytest.mark.quick
def test_files_and_their_order_are_fixed() -> None:
    files = render(test=True, benchmark=True, python_module="encoder_py")
    assert list(files) == [
        "encoder.manifest.json",
        "encoder.weights.bin",
        "include/encoder.h",
        "include/encoder.hpp",
        "python/encoder_py.cpp",
        "python/encoder_py.pyi",
        "src/encoder.cpp",
        "src/encoder_api.cpp",
        "src/encoder_kernels_x86_64_v3.hpp",
        "src/encoder_kernels_x86_64_v3_0.cpp",
        "src/encoder_kernels_x86_64_v3_1.cpp",
        "src/encoder_run_x86_64_v3.cpp",
        "src/encoder_weights.cpp",
        "test/encoder.golden.safetensors",
        "test/encoder_benchmark.cpp",
        "test/encoder_test.cpp",
    ]
    assert json.loads(files["encoder.manifest.json"])["files"] == list(files)


@pytest.mark.quick
def test_the_same_model_gives_the_same_bytes() -> None:
    assert render() == render()


@pytest.mark.quick
@pytest.mark.parametrize("mode", ["embed", "file", "external"])
def test_new_weights_change_no_source(mode: str) -> None:
    model = encoder()
    weight = replace(model.weights[1], tensor=data(np.zeros((2, 16), np.float32)))
    changed = replace(model, weights=(model.weights[0], weight, model.weights[2]))
    before, after = render(model, weights=mode), render(changed, weights=mode)
    differing = {name for name in before if before[name] != after[name]}
    assert (
        differing
        == {
            "embed": {"encoder.weights.bin"},
            "file": {"encoder.safetensors"},
            "external": {"test/encoder.golden.safetensors"},
        }[mode]
    )


@pytest.mark.quick
def test_embedded_weights_lie_at_multiples_of_64() -> None:
    files = render()
    blob = files["encoder.weights.bin"]
    assert blob[:12] == np.arange(3, dtype=np.float32).tobytes()
    assert blob[64:192] == np.arange(32, dtype=np.float32).tobytes()
    assert blob[192:] == np.asarray(2.5).tobytes()
    source = files["src/encoder.cpp"].decode()
    assert "{0, 12, false, true, kAliases0}" in source
    assert "{64, 128, false, true, nullptr}" in source
    assert "{192, 8, true, false, nullptr}" in source


@pytest.mark.quick
def test_matrices_of_large_layers_lie_packed() -> None:
    """Columns in panels of 32, rows to a multiple of 16."""
    generator = np.random.default_rng(0)
    query, key = (generator.standard_normal((60, 300)).astype(np.float32) for _ in range(2))
    model = replace(
        encoder(),
        weights=(encoder().weights[0], Weight("query", data(query)), Weight("key", data(key))),
        linears=(Linear((1, 2), (None, None)),),
    )
    files = render(model)
    source = files["src/encoder.cpp"].decode()
    assert "kPacked[] = {\n    {64, 300, 120},\n}" in source
    assert source.count("nullptr, true}") == 2
    packed = np.frombuffer(files["encoder.weights.bin"], np.float32, offset=64)
    matrix = packed.reshape(4, 304, 32).transpose(1, 0, 2).reshape(304, 128)
    np.testing.assert_array_equal(matrix[:300, :120], np.concatenate([query, key]).T)
    assert not matrix[300:].any()
    assert not matrix[:, 120:].any()
    assert "kPacked" not in render(model, weights="file")["src/encoder.cpp"].decode()


@pytest.mark.quick
def test_matrices_that_are_transposed_already_lie_packed_alike() -> None:
    values = np.random.default_rng(0).standard_normal((60, 100)).astype(np.float32)

    def packed(tensor: np.ndarray[Any, Any], transposed: bool) -> bytes:
        weights = (encoder().weights[0], Weight("matrix", data(np.ascontiguousarray(tensor))))
        layer = Linear((1,), (None,), transposed=transposed)
        files = render(replace(encoder(), weights=weights, linears=(layer,)))
        source = files["src/encoder.cpp"].decode()
        assert "{64, 100, 60}" in source
        assert ("0.0, true}" in source) == transposed
        return files["encoder.weights.bin"]

    assert packed(values.T, True) == packed(values, False)


@pytest.mark.quick
def test_layers_that_would_grow_or_are_read_elsewhere_lie_as_they_are() -> None:
    matrix = Weight("matrix", data(np.ones((128, 64), np.float32)))
    model = replace(encoder(), weights=(encoder().weights[0], matrix), linears=(Linear((1,), (0,)),))
    assert "kPacked" in render(model)["src/encoder.cpp"].decode()
    small = replace(matrix, tensor=data(np.ones((10, 64), np.float32)))
    (method,) = model.methods
    reads = replace(method, variants=(replace(method.variants[0], read_weights=(1,)),))
    for other in (
        replace(model, weights=(model.weights[0], small)),
        replace(model, methods=(reads,)),
        replace(model, linears=model.linears * 2),
    ):
        assert "kPacked" not in render(other)["src/encoder.cpp"].decode()


@pytest.mark.quick
def test_weights_of_four_bits_that_layers_alone_read_have_two_values_to_a_byte() -> None:
    values = np.random.default_rng(0).integers(-8, 8, (3, 64)).astype(np.int8)
    weights = (Weight("quantized", data(values)), Weight("scale", data(np.ones((3, 2), np.float32))))
    layer = QuantizedLinear(0, 1, None, 32, bits=4)
    model = replace(encoder(), weights=weights, linears=(), quantized=(layer,))
    files = render(model, weights="file")
    source = files["src/encoder.cpp"].decode()
    assert "{0, 96, false, true, nullptr, false, false, true}" in source
    assert "kQuantized[] = {\n    {0, 1, -1, 32, false},\n}" in source
    start, header = read_safetensors(files["encoder.safetensors"])
    entry: dict[str, Any] = header["quantized"]
    assert (entry["dtype"], entry["shape"]) == ("U8", [3, 32])
    begin, end = entry["data_offsets"]
    packed = np.frombuffer(files["encoder.safetensors"][start + begin : start + end], np.int8).reshape(3, 2, 16)
    np.testing.assert_array_equal(packed << 4 >> 4, values.reshape(3, 2, 2, 16)[:, :, 0])
    np.testing.assert_array_equal(packed >> 4, values.reshape(3, 2, 2, 16)[:, :, 1])

    # Other code reads it, or its values are none of four bits: it stays as it is.
    reading = replace(variant(), read_weights=(0,))
    read = replace(model, methods=(replace(model.methods[0], variants=(reading,)),))
    large = replace(model, weights=(Weight("quantized", data(np.full((3, 64), 9, np.int8))), weights[1]))
    for other in (read, large, replace(model, quantized=(layer, replace(layer, bits=8)))):
        assert "{0, 192, false, true, nullptr}" in render(other, weights="file")["src/encoder.cpp"].decode()


@pytest.mark.quick
def test_the_weights_file_is_safetensors_without_holes_and_aligned(tmp_path: Path) -> None:
    reader = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(render(weights="file")["encoder.safetensors"])
    loaded = reader.load_file(path)
    assert set(loaded) == {"bias", "weight", "scale"}
    np.testing.assert_array_equal(loaded["weight"], np.arange(32, dtype=np.float32).reshape(2, 16))
    begin, header = read_safetensors(path.read_bytes())
    assert begin % 64 == 0
    assert header["__metadata__"] == {"format": "pt"}
    assert header["weight"]["data_offsets"] == [0, 128]  # a multiple of 64 bytes, so it comes first


@pytest.mark.quick
def test_tensors_of_every_element_size_are_aligned() -> None:
    tensors = [("flag", data(np.ones((), np.bool_))), ("half", data(np.ones(3, np.float16)))]
    tensors += [("double", data(np.ones(3))), ("float", data(np.ones(3, np.float32)))]
    begin, header = read_safetensors(safetensors.encode(tensors))
    assert begin % 64 == 0
    offsets = {name: header[name]["data_offsets"] for name in ("double", "float", "half", "flag")}
    assert offsets == {"double": [0, 24], "float": [24, 36], "half": [36, 42], "flag": [42, 43]}


@pytest.mark.quick
def test_external_weights_are_in_the_golden_file_and_constants_in_the_library() -> None:
    files = render(weights="external")
    assert files["encoder.weights.bin"] == np.asarray(2.5).tobytes()  # "scale", which no state_dict has
    assert not any(name.endswith("encoder.safetensors") for name in files)
    _, header = read_safetensors(files["test/encoder.golden.safetensors"])
    assert {"weights/bias", "weights/weight", "weights/scale"} < set(header)


@pytest.mark.quick
def test_a_model_that_changes_its_buffers_is_tested_with_an_object_a_call() -> None:
    assert "Model model() {" in render(test=True)["test/encoder_test.cpp"].decode()
    weights = tuple(replace(weight, mutated=False) for weight in encoder().weights)
    files = render(replace(encoder(), weights=weights), test=True)
    assert "const Model& model() {\n  static const Model instance;" in files["test/encoder_test.cpp"].decode()


@pytest.mark.quick
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"namespace": "a::class"}, "target 'encoder': NAMESPACE 'a::class' is not a C++ name: 'class'"),
        ({"class_name": "9lives"}, "target 'encoder': CLASS_NAME '9lives' is not a C++ name"),
        ({"class_name": "Inputs"}, "CLASS_NAME 'Inputs' is the name of a structure inside every model class"),
        ({"header": "encoder.h"}, "HEADER 'encoder.h' is the C header of the target"),
        ({"weights": "zip"}, "WEIGHTS 'zip' is not EMBED, FILE or EXTERNAL"),
    ],
)
def test_names_that_cannot_be_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(AotbuildError) as error:
        emit.render(encoder(), EmitOptions(**{"target": "encoder", **options}))  # type: ignore[arg-type]
    assert message in str(error.value)


@pytest.mark.quick
def test_complex128_weights_cannot_go_to_a_file() -> None:
    model = replace(encoder(), weights=(Weight("phase", data(np.ones(2, np.complex128))),))
    with pytest.raises(AotbuildError, match=r"tensor 'phase' is complex128.*use WEIGHTS EMBED"):
        render(model, weights="file")


def compile_cpp(source: Path, *flags: str) -> None:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler")
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    result = subprocess.run(
        [*command, f"-I{ROOT / 'cpp/include'}", *flags, "-c", str(source), "-o", os.devnull],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("mode", ["embed", "file", "external"])
@pytest.mark.parametrize("model", [encoder(), awkward()], ids=["encoder", "awkward"])
def test_generated_sources_compile_without_warnings(model: CompiledModel, mode: str, tmp_path: Path) -> None:
    for name, content in render(model, weights=mode, header="deep/encoder.hpp").items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    include = f"-I{tmp_path / 'include'}"
    compile_cpp(tmp_path / "src/encoder.cpp", include)
    compile_cpp(tmp_path / "src/encoder_api.cpp", include)
    compile_cpp(tmp_path / "src/encoder_weights.cpp", include, f"-Wa,-I{tmp_path}")
    compile_cpp(tmp_path / "test/encoder_test.cpp", include, "-fsyntax-only")
    user = tmp_path / "user.cpp"
    user.write_text('#include "deep/encoder.hpp"\nsearch::Encoder make() { return search::Encoder(); }\n')
    compile_cpp(user, include, "-fno-rtti", "-fsyntax-only")


def two_methods() -> CompiledModel:
    """The encoder twice; the second method writes to its first input and counts weights the other way round."""
    model = encoder()
    (method,) = model.methods
    first, second = method.signature.inputs
    signature = replace(method.signature, inputs=(replace(first, written=True), second))
    (case,) = method.golden
    methods = (
        replace(method, name="encode", numbering=Numbering((0, 1, 2), (0,), (), ())),
        replace(
            method,
            name="embed_all",
            signature=signature,
            variants=(variant(namespace="encoder_embed_all_v3"),),
            golden=(replace(case, written=(case.inputs[0],)),),
            numbering=Numbering((2, 1, 0), (), (), ()),
        ),
    )
    return replace(model, methods=methods, session=(("encode", replace(case, name="session0")),))


@pytest.mark.quick
def test_each_method_has_structures_functions_and_types_of_its_own() -> None:
    rendered = render(two_methods(), python_module="m")
    texts = {name: data for name, data in rendered.items() if Path(name).suffix not in (".bin", ".safetensors")}
    files = {name: data.decode() for name, data in texts.items()}
    header = files["include/encoder.hpp"]
    assert "EncodeOutputs encode(const EncodeInputs& inputs) const {" in header
    assert "void embed_all(const EmbedAllInputs& inputs, const EmbedAllOutputViews& outputs) const {" in header
    assert "aotbuild::TensorView<std::int64_t, 2> input_ids;" in header
    assert "Encoder new_session() const" in header
    assert "encoder_embed_all(aotbuild_model* model, const aotbuild_tensor* inputs" in files["include/encoder.h"]
    assert "encoder_run" not in files["include/encoder.h"]
    assert "constexpr int kEmbedAllWeightsNumbers[] = {2, 1, 0};" in files["src/encoder.cpp"]
    names = [node.name for node in ast.walk(ast.parse(files["python/m.pyi"])) if isinstance(node, ast.FunctionDef)]
    assert names.count("encode") == names.count("embed_all") == 2  # of NumPy and of torch
    assert "__call__" not in names
    manifest = json.loads(files["encoder.manifest.json"])
    assert [method["name"] for method in manifest["methods"]] == ["encode", "embed_all"]
    assert manifest["golden"] == ["encode/typical", "embed_all/typical", "session0"]


NESTED = Node(
    "tuple",
    items=(
        Node("dict", keys=("a", "b c"), items=(Node("tensor"), Node("number", value="int"))),
        Node("namedtuple", name="Pair", keys=("left", "right"), items=(Node("tensor"), Node("constant"))),
        Node("mapping", name="ModelOutput", keys=("logits", "keys"), items=(Node("tensor"), Node("tensor"))),
        Node("object", name="Batch", keys=("x",), items=(Node("list", items=(Node("tensor"),)),)),
        Node("dict", keys=("x", "y"), items=(Node("tensor"), Node("tuple"))),
        Node("deque", items=(Node("constant", value="s"),)),
    ),
)
CALL = Call(
    (
        Parameter("ids", "positional_only", Node("tensor")),
        Parameter("pair", "positional_or_keyword", Node("tuple", items=(Node("tensor"), Node("constant", value=3)))),
        Parameter("table", "positional_or_keyword", Node("dict", keys=(1, "n"), items=(Node("tensor"), Node("list")))),
        Parameter("scale", "keyword_only", Node("constant", value=2.0), Node("constant", value=2.0)),
        Parameter("mode", "keyword_only", Node("constant", value="sum")),
        Parameter("unused", "keyword_only"),
        Parameter("more", "var_keyword"),
    ),
    NESTED,
)


@pytest.mark.quick
def test_the_types_of_a_python_module_are_those_of_the_call(tmp_path: Path) -> None:
    model = encoder()
    (method,) = model.methods
    method = replace(method, signature=replace(method.signature, call=CALL))
    stub = tmp_path / "m.pyi"
    stub.write_bytes(render(replace(model, methods=(method,)), python_module="m")["python/m.pyi"])
    text = stub.read_text()
    assert (
        "    def __call__(\n"
        "        self,\n"
        "        ids: torch.Tensor,  # [batch, seq]\n"
        "        /,\n"
        "        pair: tuple[torch.Tensor, Literal[3]],\n"
        "        table: Mapping[int | str, torch.Tensor | Sequence[Any]],\n"
        "        *,\n"
        "        scale: float = ...,\n"
        "        mode: Literal['sum'],\n"
        "        **more: Any,\n"
        "    ) -> tuple[dict[str, torch.Tensor | int], _Torch1, _Torch2, _Torch3, _Torch4, deque[Literal['s']]]: ...\n"
    ) in text
    assert "class _NumPy1(NamedTuple):\n    left: NDArray[np.float32]\n    right: None\n" in text
    assert "class _NumPy2(dict[str, Any]):\n    logits: NDArray[np.float32]\n\n" in text
    assert "class _NumPy3:\n    x: list[NDArray[np.float32]]\n" in text
    assert "class _NumPy4(TypedDict):\n    x: NDArray[np.float32]\n    y: tuple[()]\n" in text
    checked = subprocess.run([sys.executable, "-m", "mypy", "--strict", stub], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_sources_of_methods_compile_without_warnings(tmp_path: Path) -> None:
    for name, content in render(two_methods()).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    compile_cpp(tmp_path / "src/encoder.cpp", f"-I{tmp_path / 'include'}")
    compile_cpp(tmp_path / "test/encoder_test.cpp", f"-I{tmp_path / 'include'}", "-fsyntax-only")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have no section for far data")
def test_large_weights_lie_behind_all_that_code_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen with 2.3 GiB: without the section the linker fails. Here any weights count as large."""
    monkeypatch.setattr(sys.modules["aotbuild.emit.render"], "_LARGE_WEIGHTS", 1)
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    assert compiler is not None
    for name in ("src/encoder_weights.cpp", "encoder.weights.bin"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render(encoder())[name])
    library = tmp_path / "libencoder.so"
    command = [compiler, "-shared", "-fPIC", f"-Wa,-I{tmp_path}", "-o", str(library)]
    subprocess.run([*command, str(tmp_path / "src/encoder_weights.cpp")], check=True)
    sections = subprocess.run(["readelf", "-SW", library], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\.lrodata +PROGBITS +\S+ +\S+ +([0-9a-f]+) +\S+ +Al ", sections)
    assert found, sections
    assert int(found[1], 16) >= len(render(encoder())["encoder.weights.bin"])


@pytest.mark.quick
def test_writing_changes_only_what_differs(tmp_path: Path) -> None:
    output, stamp, depfile = tmp_path / "out", tmp_path / "out/encoder.stamp", tmp_path / "out/encoder.d"
    assert emit.write(render(), output, stamp, depfile, []) == sorted(render())
    for path in output.rglob("*"):
        os.utime(path, ns=(0, 0))
    assert emit.write(render(), output, stamp, depfile, []) == []
    assert stamp.stat().st_mtime_ns > 0
    assert {path.name for path in output.rglob("*") if path.is_file() and path.stat().st_mtime_ns} == {"encoder.stamp"}
    changed = emit.write({**render(), "include/encoder.h": b"new"}, output, stamp, depfile, [])
    assert changed == ["include/encoder.h"]
    assert not [path for path in output.rglob("*") if "tmp" in path.name]


@pytest.mark.quick
def test_a_failed_write_leaves_the_last_good_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, stamp = tmp_path / "out", tmp_path / "out/encoder.stamp"
    emit.write(render(), output, stamp, None, [])
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    os.utime(stamp, ns=(0, 0))
    write_bytes = Path.write_bytes

    def full_disk(path: Path, content: bytes) -> int:
        if "weights.bin" in path.name:
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        emit.write(dict.fromkeys(render(), b"new"), output, stamp, None, [])
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert stamp.stat().st_mtime_ns == 0


@pytest.mark.quick
def test_no_manifest_beside_files_that_are_half_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, stamp = tmp_path / "out", tmp_path / "out/encoder.stamp"
    emit.write(render(), output, stamp, None, [])
    replace_path = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if target.name == "encoder_run_x86_64_v3.cpp":
            raise KeyboardInterrupt
        return replace_path(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        emit.write(dict.fromkeys(render(), b"new"), output, stamp, None, [])
    assert not (output / "encoder.manifest.json").exists()
    monkeypatch.undo()
    emit.write(render(), output, stamp, None, [])
    assert {name: (output / name).read_bytes() for name in render()} == render()


@pytest.mark.quick
def test_the_depfile_names_the_stamp_and_escapes_what_make_reads(tmp_path: Path) -> None:
    stamp, depfile = tmp_path / "a stamp", tmp_path / "d"
    emit.write({}, tmp_path, stamp, depfile, [Path("z.py"), Path("a $b#c.py"), Path("z.py")])
    escaped = str(stamp).replace(" ", "\\ ")
    assert depfile.read_text() == f"{escaped}: \\\n  a\\ $$b\\#c.py \\\n  z.py\n"
