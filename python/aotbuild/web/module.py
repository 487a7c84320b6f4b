"""The files around a model's WebAssembly: an ES module with its types, and the source of what it calls."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aotbuild.spec.errors import AotbuildError

_SAME = Path(__file__).with_name("module.mjs")

# What JavaScript has for the elements of a tensor; 16-bit numbers are their bits.
ARRAYS = {
    "float32": "Float32Array",
    "float64": "Float64Array",
    "int64": "BigInt64Array",
    "int32": "Int32Array",
    "int16": "Int16Array",
    "int8": "Int8Array",
    "uint8": "Uint8Array",
    "bool": "Uint8Array",
    "float16": "Uint16Array",
    "bfloat16": "Uint16Array",
}


def main(words: Sequence[str]) -> int:
    """Writes the source, or the files beside the module. Returns the exit status: 1 with a message."""
    parser = argparse.ArgumentParser("module", allow_abbrev=False)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--source", type=Path, help="writes this file, and nothing else")
    parser.add_argument("--name", default="")
    parser.add_argument("--wasm", type=Path, help="the linked module; the other files go beside it")
    parser.add_argument("--weights", type=Path, help="the model's weights file")
    args = parser.parse_args(words)
    manifest = json.loads(args.manifest.read_text())
    try:
        if args.source:
            args.source.write_text(source(manifest))
            return 0
        files = {"wasm": args.wasm, "weights": args.weights}
        script = module(manifest, args.name, {key: file for key, file in files.items() if file is not None})
        types = declarations(manifest)
    except AotbuildError as error:
        print(error, file=sys.stderr)
        return 1
    folder = args.wasm.parent
    (folder / f"{args.name}.mjs").write_text(script)
    (folder / f"{args.name}.d.mts").write_text(types)
    if args.weights:
        shutil.copyfile(args.weights, folder / args.weights.name)
    return 0


def source(manifest: Mapping[str, Any]) -> str:
    """The C++ source that is linked with the model."""
    prefix, target = manifest["symbol_prefix"], manifest["target"]
    return (
        f"// The functions of the WebAssembly module of {target}.\n"
        f'#include "{target}.h"\n\n#define AOTBUILD_MODULE_API {prefix}_api\n'
        '#include "aotbuild/detail/wasm_module.hpp"\n'
    )


def module(manifest: Mapping[str, Any], name: str, files: Mapping[str, Path]) -> str:
    """The ES module. ``files``: ``wasm`` and, with WEIGHTS FILE, ``weights``."""
    sizes = {key: {"file": file.name, "bytes": file.stat().st_size} for key, file in files.items()}
    described = [
        {"name": method["name"], "inputs": _tensors(method["inputs"]), "outputs": _tensors(method["outputs"])}
        for method in _methods(manifest)
    ]
    model = {
        "name": manifest["target"],
        "wasm": sizes["wasm"],
        "weights": sizes.get("weights"),
        "methods": described,
    }
    calls = "".join(
        f"\n  {method['name']}(inputs) {{\n    return this.call({index}, MODEL.methods[{index}], inputs);\n  }}\n"
        for index, method in enumerate(described)
    )
    return (
        f"// The model of the CMake target {manifest['target']}; {name}.d.mts has its types.\n"
        f'import createCore from "./{name}.core.mjs";\n\nconst MODEL = {json.dumps(model, indent=2)};\n\n'
        f"{_SAME.read_text()}\nexport class {manifest['class_name']} extends Model {{{calls}}}\n"
    )


def declarations(manifest: Mapping[str, Any]) -> str:
    """The types of the ES module."""
    name = manifest["class_name"]
    parts = [
        f"/** The model of the CMake target {manifest['target']}. */",
        "export interface Tensor<Elements> {\n  data: Elements;\n  shape: readonly number[];\n}",
    ]
    calls = []
    for method in _methods(manifest):
        suffix = "" if method["name"] == "run" else method["name"].title().replace("_", "")
        for kind in ("inputs", "outputs"):
            fields = "".join(
                f"  /** {tensor['dtype']} [{', '.join(tensor['sizes'])}] */\n"
                f"  {json.dumps(tensor['name'])}: Tensor<{ARRAYS[tensor['dtype']]}>;\n"
                for tensor in _tensors(method[kind])
            )
            parts.append(f"export interface {name}{suffix}{kind.title()} {{\n{fields}}}")
        calls.append(f"  {method['name']}(inputs: {name}{suffix}Inputs): {name}{suffix}Outputs;\n")
    parts.append(
        "export interface LoadOptions {\n"
        "  /** The folder of the module's files; default: that of the ES module. */\n  base?: URL;\n"
        "  /** Called while weights load, with how many bytes there are and will be. */\n"
        "  onProgress?: (loaded: number, total: number) => void;\n}"
    )
    parts.append(
        f"export declare class {name} {{\n"
        f"  static load(options?: LoadOptions): Promise<{name}>;\n{''.join(calls)}  free(): void;\n}}"
    )
    return "\n\n".join(parts) + "\n"


def _methods(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    methods = manifest.get("methods")
    if methods:
        return list(methods)
    return [{"name": "run", "inputs": manifest["inputs"], "outputs": manifest["outputs"]}]


def _tensors(tensors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    for tensor in tensors:
        if tensor["dtype"] not in ARRAYS:
            raise AotbuildError(
                f"aotbuild_add_wasm_module: {tensor['name']!r} is of {tensor['dtype']}, which JavaScript has no array "
                f"for; use one of {', '.join(ARRAYS)}"
            )
    return [
        {"name": tensor["name"], "dtype": tensor["dtype"], "sizes": [dim["size"] for dim in tensor["dims"]]}
        for tensor in tensors
    ]
