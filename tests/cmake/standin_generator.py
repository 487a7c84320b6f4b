"""A stand-in for the generator: takes its command line and writes a tiny model of the same file layout, without torch.

The model file is imported for real (so that its imports are tracked), its callable returns a dictionary:
``{"value": int, "weights": bytes}``. Options in the environment make it misbehave for tests.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from aotbuild.spec.files import CUSTOM_SOURCES, SHARDS, Files


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser("generate", allow_abbrev=False)
    for required in (
        "target",
        "model",
        "output-dir",
        "stamp",
        "depfile",
        "device",
        "runtime",
        "weights",
        "preset",
        "project-dir",
    ):
        generate.add_argument(f"--{required}", required=True)
    for optional in (
        "namespace",
        "class-name",
        "symbol-prefix",
        "weights-file",
        "config",
        "tuning-database",
        "precision",
        "rtol",
        "atol",
        "python-module",
    ):
        generate.add_argument(f"--{optional}", default="")
    generate.add_argument("--header", default="")
    for repeated in ("cpu-isa", "cuda-architecture", "dynamic-shapes", "param", "option", "precision-except"):
        generate.add_argument(f"--{repeated}", action="append", default=[])
    for flag in ("c-enabled", "no-eigen", "no-test", "benchmark", "verbose", "quiet"):
        generate.add_argument(f"--{flag}", action="store_true")
    return parser.parse_args()


def write(path: Path, content: bytes | str) -> None:
    """Writes a file only when it differs, by way of a temporary file."""
    if "STANDIN_SLOW" in os.environ:
        time.sleep(0.005)
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def load_model(model: str) -> tuple[dict[str, Any], list[Path]]:
    """The model's dictionary, and every file of the project that making it needed."""
    if model.endswith(".pt2"):
        return {"value": 2, "weights": Path(model).read_bytes()}, [Path(model)]
    source, _, name = model.rpartition(":")
    before = set(sys.modules)
    if source.endswith(".py"):
        sys.path.insert(0, str(Path(source).parent))
        spec = importlib.util.spec_from_file_location("model_under_test", source)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        files = [Path(source)]
    else:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(source)
        files = []
    for loaded in sorted(set(sys.modules) - before):
        file = getattr(sys.modules[loaded], "__file__", None)
        if file and not file.startswith((sys.prefix, sys.base_prefix)):
            files.append(Path(file))
    model_data = getattr(module, name)()
    files += [Path(file) for file in model_data.get("data_files", [])]
    return model_data, files


def isa_suffix(isa: str) -> str:
    return isa.replace("-", "_").replace(".", "_")


def cuda_suffix(architecture: str) -> str:
    number, _, kind = architecture.partition("-")
    return f"compute_{number}" if kind == "virtual" else f"sm_{number}"


def escape(path: Path) -> str:
    return str(path).replace(" ", "\\ ")


def main() -> None:
    start = time.time_ns()
    args = parse_arguments()
    if "STANDIN_KILL_AFTER" in os.environ:
        timer = threading.Timer(float(os.environ["STANDIN_KILL_AFTER"]), os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    output = Path(args.output_dir)
    target = args.target
    with open(os.environ.get("STANDIN_LOG", os.devnull), "a") as log:
        log.write(target + "\n")
    model, files = load_model(args.model)
    if "STANDIN_FAIL" in os.environ:
        sys.exit(f"stand-in generator: told to fail for {target}")
    value = model["value"]
    identifier = args.symbol_prefix or "".join(c if c.isalnum() else "_" for c in target)
    class_name = args.class_name or identifier
    params = {entry.split("=", 1)[0]: entry.split("=", 1)[1] for entry in args.param}
    value += int(params.get("add", 0))

    files_of = Files(target)
    manifest = output / files_of.manifest
    manifest.unlink(missing_ok=True)
    export = '__attribute__((visibility("default")))'
    header = f'#pragma once\n#include "{target}.h"\n'
    body = f"struct {class_name} {{\n  int operator()() const {{ return {identifier}_run(); }}\n}};\n"
    if args.namespace:
        body = f"namespace {args.namespace} {{\n{body}}}  // namespace {args.namespace}\n"
    write(output / files_of.header(args.header), header + body)
    write(
        output / files_of.c_header,
        f'#pragma once\n#ifdef __cplusplus\nextern "C"\n#endif\n{export} int {identifier}_run(void);\n',
    )
    namespace = f"{identifier}_detail"
    variant = [*map(isa_suffix, args.cpu_isa), *map(cuda_suffix, args.cuda_architecture)][-1]
    blob = weight = ""
    if args.weights == "embed":
        blob = f'extern "C" __attribute__((visibility("hidden"))) const unsigned char {identifier}_blob[];\n'
        weight = f" + {identifier}_blob[0]"
    write(
        output / files_of.library,
        f'#include "{target}.h"\n{blob}namespace {namespace} {{\nint run_{variant}();\n}}\n'
        f"int {identifier}_run(void) {{ return {namespace}::run_{variant}(){weight}; }}\n",
    )
    write(
        output / files_of.api,
        f'#include "{target}.h"\nextern "C" {export} int aotbuild_model_api(void);\n'
        f"int aotbuild_model_api(void) {{ return {identifier}_run(); }}\n",
    )
    for isa in args.cpu_isa:
        suffix = isa_suffix(isa)
        kernels = "".join(f"int kernel_{suffix}_{k}();\n" for k in range(SHARDS))
        write(output / files_of.kernels_header("", suffix), f"#pragma once\nnamespace {namespace} {{\n{kernels}}}\n")
        include = f'#include "{target}_kernels_{suffix}.hpp"\n'
        calls = " + ".join(f"kernel_{suffix}_{k}()" for k in range(SHARDS))
        write(
            output / files_of.run("", suffix),
            f"{include}namespace {namespace} {{\nint run_{suffix}() {{ return {calls}; }}\n}}\n",
        )
        for k in range(SHARDS):
            write(
                output / files_of.shard("", suffix, k),
                f"{include}namespace {namespace} {{\n"
                f"int kernel_{suffix}_{k}() {{ return {value if k == 0 else 0}; }}\n}}\n",
            )
    for k in range(CUSTOM_SOURCES + 1 if args.cpu_isa else 0):
        write(output / files_of.custom(k), "typedef int aotbuild_no_kernel;\n")
    database = Path(args.tuning_database) if args.tuning_database else None
    for architecture in args.cuda_architecture:
        suffix = cuda_suffix(architecture)
        write(output / files_of.kernels_header("", suffix), "#pragma once\n")
        write(
            output / files_of.run("", suffix),
            f"namespace {namespace} {{\nint run_{suffix}();\nint run_{suffix}() {{ return {value}; }}\n}}\n",
        )
        write(
            output / files_of.images_source("", suffix),
            f'__asm__(".section .rodata\\n.incbin \\"{files_of.images("", suffix)}\\"\\n.previous\\n");\n',
        )
        tuned = suffix.startswith("sm_") and database is not None and database.exists()
        write(output / files_of.images("", suffix), database.read_bytes() if database and tuned else b"")
        files += [database] if database and tuned else []
    if args.cuda_architecture:
        write(output / files_of.kernels, "[]\n")
    weights: bytes = model["weights"]
    if args.weights == "embed":
        write(output / files_of.weights_blob, weights)
        load = (
            f'__asm__(".section .rodata\\n.globl {identifier}_blob\\n.hidden {identifier}_blob\\n"\n'
            f'"{identifier}_blob:\\n"\n'
            f'".incbin \\"{files_of.weights_blob}\\"\\n.byte 0\\n.previous\\n");\n'
        )
    else:
        load = f"// {target} has no embedded weights.\n"
    if args.weights == "external":
        write(output / files_of.weights_blob, b"")
    if args.weights == "file":
        write(output / files_of.weights_file(args.weights_file), weights)
    write(output / files_of.weights_source, load)
    if not args.no_test:
        embedded = weights[0] if args.weights == "embed" and weights else 0
        write(output / files_of.golden, str(value + embedded))
        write(
            output / files_of.test,
            f'#include "{target}.h"\n#include <cstdlib>\n#include <fstream>\nint main(int argc, char** argv) {{\n'
            f"  int expected = -1;\n  if (argc == 2) std::ifstream(argv[1]) >> expected;\n"
            f"  return {identifier}_run() == expected ? EXIT_SUCCESS : EXIT_FAILURE;\n}}\n",
        )
    if args.benchmark:
        write(
            output / files_of.benchmark,
            f'#include "{target}.h"\nint main() {{ return {identifier}_run() < 0; }}\n',
        )
    if args.python_module:
        write(
            output / files_of.python_source(args.python_module),
            f'#include <pybind11/pybind11.h>\n#include "{target}.h"\n'
            f'PYBIND11_MODULE({args.python_module}, m) {{ m.def("run", &{identifier}_run); }}\n',
        )
        write(output / files_of.python_stub(args.python_module), "def run() -> int: ...\n")
    recorded = {
        key: entry
        for key, entry in vars(args).items()
        if key not in ("output_dir", "project_dir", "stamp", "depfile", "model")
    }
    write(manifest, json.dumps(recorded, indent=2) + "\n")
    write(Path(args.depfile), f"{escape(Path(args.stamp))}: {' '.join(escape(file.resolve()) for file in files)}\n")
    Path(args.stamp).touch()
    if "STANDIN_SPAN" in os.environ:
        with open(os.environ["STANDIN_SPAN"], "a") as log:
            log.write(f"{start} {time.time_ns()}\n")


if __name__ == "__main__":
    main()
