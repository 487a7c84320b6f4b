"""config.pbtxt of a model from its manifest: every keyword, and what is refused and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aotbuild.serve.config import Serving, config, readme
from aotbuild.serve.repository import main
from aotbuild.spec.errors import AotbuildError

pytestmark = pytest.mark.quick

FREE = 1 << 62
DIMS = {
    "batch": {"size": "batch", "min": 1, "max": 32},
    "n": {"size": "n", "min": 0, "max": FREE},
    "two": {"size": "batch", "min": 2, "max": 32},
    "double": {"size": "2*batch", "min": 2, "max": 64},
}


def tensor(name: str, dtype: str, *dims: int | str) -> dict[str, Any]:
    sizes = [DIMS[dim] if isinstance(dim, str) else {"size": str(dim), "min": dim, "max": dim} for dim in dims]
    return {"name": name, "dtype": dtype, "dims": sizes}


def manifest(inputs: list[Any], outputs: list[Any], **more: Any) -> dict[str, Any]:
    return {"target": "net", "metadata": {"device": "cpu"}, "inputs": inputs, "outputs": outputs, **more}


def methods(*entries: tuple[str, list[Any], list[Any]], **more: Any) -> dict[str, Any]:
    listed = [{"name": name, "inputs": inputs, "outputs": outputs} for name, inputs, outputs in entries]
    return {"target": "net", "metadata": {"device": "cpu"}, "methods": listed, **more}


BATCHED = manifest([tensor("ids", "int64", "batch", "n")], [tensor("out", "float32", "batch", 384)])
DECODER = methods(
    ("prefill", [tensor("tokens", "int64", 1, "n")], [tensor("logits", "float32", 1, 512)]),
    ("decode", [tensor("token", "int64", 1, 1)], [tensor("logits", "float32", 1, 512)]),
    stateful=True,
)


def text(model: dict[str, Any], **keywords: Any) -> str:
    return config(model, Serving("net", **keywords))


def test_a_batch_is_what_all_inputs_and_outputs_share() -> None:
    assert text(BATCHED, library="libnet.so", batching=True, preferred=(4, 8), delay=100, instances=2, threads=1) == (
        'name: "net"\nbackend: "aotbuild"\ndefault_model_filename: "libnet.so"\nmax_batch_size: 32\n'
        'input [\n  { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] }\n]\n'
        'output [\n  { name: "out" data_type: TYPE_FP32 dims: [ 384 ] }\n]\n'
        "instance_group [ { count: 2 kind: KIND_CPU } ]\n"
        "dynamic_batching {\n  preferred_batch_size: [ 4, 8 ]\n  max_queue_delay_microseconds: 100\n"
        "  default_queue_policy { timeout_action: REJECT allow_timeout_override: true }\n}\n"
        'parameters { key: "threads" value { string_value: "1" } }\n'
    )
    assert "max_batch_size: 8\n" in text(BATCHED, max_batch=8)
    assert "max_batch_size: 0\n" in text(BATCHED, max_batch=0)
    assert "dims: [ -1, -1 ]" in text(BATCHED, max_batch=0)
    assert "dynamic_batching" not in text(BATCHED)
    free = manifest([tensor("x", "float32", "n", 2)], [tensor("y", "float32", "n")])
    assert "max_batch_size: 64\n" in text(free)
    assert '"y" data_type: TYPE_FP32 dims: [ 1 ]' in text(free)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([tensor("x", "float32", 3)], [tensor("y", "float32", 3)]),
        ([tensor("x", "float32", "batch")], [tensor("y", "float32", 3)]),
        ([tensor("x", "float32", "batch")], [tensor("y", "float32")]),
        ([tensor("x", "float32", "batch")], [tensor("y", "float32", "double")]),
        ([tensor("x", "float32", "batch"), tensor("z", "float32", "n")], [tensor("y", "float32", "batch")]),
        ([tensor("x", "float32", "two")], [tensor("y", "float32", "two")]),
        ([], [tensor("y", "float32", "batch")]),
    ],
)
def test_what_is_no_batch_is_none(inputs: list[Any], outputs: list[Any]) -> None:
    assert "max_batch_size: 0\n" in text(manifest(inputs, outputs))


def test_methods_and_state_become_sequences() -> None:
    written = text(DECODER, sequences=100, idle=5)
    assert '{ name: "tokens" data_type: TYPE_INT64 dims: [ 1, -1 ] optional: true },\n' in written
    assert '{ name: "token" data_type: TYPE_INT64 dims: [ 1, 1 ] optional: true }\n' in written
    assert written.count("logits") == 1
    assert (
        "sequence_batching {\n  max_sequence_idle_microseconds: 5\n  oldest { max_candidate_sequences: 100 }\n}"
        in written
    )
    stateful = {**BATCHED, "stateful": True}
    assert "max_batch_size: 0\n" in text(stateful)
    assert "oldest { max_candidate_sequences: 64 }" in text(stateful)
    stateless = methods(("a", [tensor("x", "float32", "batch")], []), ("b", [tensor("x", "float32", 3)], []))
    assert '"x" data_type: TYPE_FP32 dims: [ -1 ] }' in text(stateless)
    assert "sequence" not in text(stateless)


def test_generation_is_a_stream() -> None:
    written = text(DECODER, generate=("prefill", "decode"), sequences=8, instances=2)
    assert "model_transaction_policy { decoupled: true }\n" in written
    assert '"max_tokens" data_type: TYPE_INT64 dims: [ 1 ] optional: true' in written
    assert 'output [\n  { name: "token" data_type: TYPE_INT64 dims: [ 1 ] }\n]\n' in written
    assert 'parameters { key: "generate" value { string_value: "prefill,decode" } }\n' in written
    assert 'parameters { key: "sequences" value { string_value: "8" } }\n' in written
    assert "sequence_batching" not in written


def test_gpus_labels_and_names() -> None:
    on_gpu = {**BATCHED, "metadata": {"device": "cuda"}}
    assert "kind: KIND_GPU" in text(on_gpu)
    assert 'dims: [ 384 ] label_filename: "labels.txt" }' in text(BATCHED, labels=True)
    quoted = manifest([tensor('a"b\\', "bool", 0)], [tensor("y", "bfloat16", 2)])
    assert '{ name: "a\\"b\\\\" data_type: TYPE_BOOL dims: [ -1 ] }' in text(quoted)


@pytest.mark.parametrize(
    ("model", "keywords", "message"),
    [
        (
            manifest([tensor("x", "complex64", 3)], []),
            {},
            "input 'x' is complex64, which Triton Inference Server has no type for; convert it in the model",
        ),
        (BATCHED, {"max_batch": 33}, "MAX_BATCH 33: the model takes at most 32 rows; lower it"),
        (
            manifest([tensor("x", "float32", 3)], []),
            {"batching": True},
            "DYNAMIC_BATCHING: dimension 0 of input 'x' is no batch, a dynamic size from 1 on that all inputs and "
            "outputs have; leave DYNAMIC_BATCHING out, or give the model one",
        ),
        (
            manifest([tensor("x", "float32", "batch")], [tensor("y", "float32", "n")]),
            {"max_batch": 4},
            "MAX_BATCH: dimension 0 of output 'y' is n, and of input 'x' batch; a batch is one size of all inputs and "
            "outputs",
        ),
        (
            DECODER,
            {"batching": True},
            "DYNAMIC_BATCHING: the model has state, and a row of a batch would see that of others; leave "
            "DYNAMIC_BATCHING out",
        ),
        (
            methods(("a", [], []), ("b", [], [])),
            {"max_batch": 3},
            "MAX_BATCH: the model has several methods; leave MAX_BATCH out",
        ),
        (DECODER, {"generate": ("prefill", "next")}, 'GENERATE names "next", the model has prefill, decode'),
        (
            methods(("a", [tensor("x", "float32", 1)], []), ("b", [], [])),
            {"generate": ("a", "b")},
            "GENERATE: the method a has to take one int64 input, the tokens, and to give float32 logits first",
        ),
        (
            DECODER,
            {"generate": ("prefill", "decode"), "batching": True},
            "GENERATE: sequences take turns, and none is joined; leave MAX_BATCH and DYNAMIC_BATCHING out",
        ),
        (
            methods(("a", [tensor("x", "float32", 1)], []), ("b", [tensor("x", "int64", 1, 1)], [])),
            {},
            "input 'x' has the type TYPE_FP32 and 1 dimensions in one method, TYPE_INT64 and 2 in another; give it one "
            "of both, or other names",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(model: dict[str, Any], keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(AotbuildError) as raised:
        text(model, **keywords)
    assert str(raised.value) == f"aotbuild_add_triton_model(net): {message}"


def test_a_folder_is_whole_and_files_are_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / name for name in ("net.json", "libnet.so", "libmore.so", "names")}
    for name, path in files.items():
        path.write_text(name)
    files["net.json"].write_text(json.dumps(BATCHED))
    words = ["--manifest", str(files["net.json"]), "--folder", str(tmp_path / "m"), "--name", "net", "--version", "3"]
    words += ["--library", str(files["libnet.so"]), "--file", str(files["libmore.so"]), "--labels", str(files["names"])]
    assert main(words) == 0
    found = sorted(
        path.relative_to(tmp_path / "m").as_posix() for path in (tmp_path / "m").rglob("*") if path.is_file()
    )
    assert found == ["3/libmore.so", "3/libnet.so", "README.md", "config.pbtxt", "labels.txt"]
    # A server that has the old library mapped keeps it.
    with (tmp_path / "m/3/libnet.so").open() as mapped:
        files["libnet.so"].write_text("LIBNET.SO")
        before = (tmp_path / "m/3/libmore.so").stat().st_ino
        assert main(words) == 0
        assert mapped.read() == "libnet.so"
    assert (tmp_path / "m/3/libnet.so").read_text() == "LIBNET.SO"
    assert (tmp_path / "m/3/libmore.so").stat().st_ino == before
    assert main([*words, "--max-batch", "99"]) == 1
    assert capsys.readouterr().err == (
        "aotbuild_add_triton_model(net): MAX_BATCH 99: the model takes at most 32 rows; lower it\n"
    )


def test_the_readme_lists_inputs_and_outputs() -> None:
    assert "| input | `tokens` | int64 | [1, n: 0..] |" in readme(DECODER, Serving("net"))
