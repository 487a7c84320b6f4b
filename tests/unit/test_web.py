"""Modules of WebAssembly: the text that is made from a manifest, and what loading says when it goes wrong."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from aotbuild.spec.errors import AotbuildError
from aotbuild.web import module


def tensor(name: str, dtype: str, *sizes: str) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": [{"size": size} for size in sizes]}


MANIFEST: dict[str, Any] = {
    "target": "encoder",
    "class_name": "Encoder",
    "symbol_prefix": "encoder",
    "inputs": [tensor("ids", "int64", "batch", "16"), tensor("masks.0", "bool", "batch")],
    "outputs": [tensor("output", "float32", "batch", "384")],
}
# In the place of what Emscripten links: the ES module sees nothing of it before its files are there.
CORE = "export default async () => ({ _module_create: () => 7, _malloc: () => 8, HEAPU8: new Uint8Array(64) });\n"


def test_types_name_the_arrays_of_inputs_and_outputs() -> None:
    text = module.declarations(MANIFEST)
    assert '  /** int64 [batch, 16] */\n  "ids": Tensor<BigInt64Array>;\n' in text
    assert '  /** bool [batch] */\n  "masks.0": Tensor<Uint8Array>;\n' in text
    assert text.endswith(
        "export declare class Encoder {\n"
        "  static load(options?: LoadOptions): Promise<Encoder>;\n"
        "  run(inputs: EncoderInputs): EncoderOutputs;\n"
        "  free(): void;\n"
        "}\n"
    )


def test_methods_have_types_of_their_own() -> None:
    method = {"name": "read_all", "inputs": [], "outputs": MANIFEST["outputs"]}
    text = module.declarations({**MANIFEST, "methods": [method]})
    assert "  read_all(inputs: EncoderReadAllInputs): EncoderReadAllOutputs;\n" in text
    assert "run(" not in text


def test_type_without_an_array_is_refused() -> None:
    with pytest.raises(AotbuildError, match=r"'z' is of complex64, which JavaScript has no array for; use "):
        module.declarations({**MANIFEST, "inputs": [tensor("z", "complex64", "3")]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A module's folder, with weights of 1000 bytes."""
    if shutil.which("node") is None:
        pytest.skip("needs node: make cross-tools")
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).ljust(976)
    weights = tmp_path / "from" / "encoder.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(16))
    web = tmp_path / "web"
    web.mkdir()
    (web / "encoder.core.wasm").write_bytes(b"\0asm\1\0\0\0")
    (web / "encoder.core.mjs").write_text(CORE)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(MANIFEST))
    words = ["--manifest", manifest, "--name", "encoder", "--wasm", web / "encoder.core.wasm", "--weights", weights]
    assert module.main([str(word) for word in words]) == 0
    return web


def load(folder: Path, base: str = "", before: str = "") -> str:
    """What a program prints that loads the module: the progress, or the error."""
    options = f"base: new URL({json.dumps(base)})," if base else ""
    program = (
        f'{before}\nimport {{ Encoder }} from "{folder / "encoder.mjs"}";\n'
        "const seen = [];\n"
        f"const onProgress = (loaded, total) => seen.push([loaded, total]);\n"
        f"try {{ await Encoder.load({{ {options} onProgress }}); console.log(JSON.stringify(seen.at(-1))); }}\n"
        "catch (error) { console.log(error.message); }\n"
    )
    done = subprocess.run(
        ["node", "--input-type=module"], input=program, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_progress_reaches_the_size_of_the_weights(folder: Path) -> None:
    assert load(folder) == "[1000,1000]"


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:700])
    assert load(folder) == (
        f"encoder: the weights file://{weights} has 700 bytes in the place of 1000; load it again, or copy the file "
        "that was built"
    )


def test_server_without_the_file_is_named(folder: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words: Any) -> None:
            super().__init__(*words, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}/"
        assert load(folder, base) == "[1000,1000]"
        (folder / "encoder.safetensors").unlink()
        assert load(folder, base) == (
            f"encoder: the weights {base}encoder.safetensors: the server answered 404 File not found"
        )
        server.shutdown()


def test_browser_without_vectors_is_told_so(folder: Path) -> None:
    assert load(folder, before="WebAssembly.validate = () => false;") == (
        "encoder: this browser has no vectors of WebAssembly (SIMD); use Chrome 91, Firefox 89, Safari 16.4 or later"
    )
