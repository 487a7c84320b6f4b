"""Models behind Triton Inference Server: aotbuild's backend against Triton's own python backend; overhead; memory.

The python backend runs the sentence encoder by eager PyTorch and by ONNX Runtime, with the same dynamic batching and
as many threads; the server's package has no onnxruntime backend. `make serve-test` installs what is needed. Run alone
on the machine: ``python benchmarks/serve.py``; the figures go to benchmarks/results/serve.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np

from harness import machine, save

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/serving"))

from triton_server import FOLDER, INSTALLED, Server  # noqa: E402

BUILD = ROOT / "build/bench/serve"
REPOSITORY = BUILD / "triton/models"
CLIENT = FOLDER / "client/bin/python"
LENGTH = 32
THREADS = 2


def build() -> None:
    source = ROOT / "benchmarks/projects/serve"
    configure = ["cmake", "-S", str(source), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
    configure += [f"-Daotbuild_DIR={ROOT / 'cmake'}", f"-DAOTBUILD_PYTHON={sys.executable}"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", BUILD], check=True, stdout=subprocess.DEVNULL)


def add_peer(name: str, kind: str) -> None:
    """A model of Triton's python backend beside that of aotbuild."""
    folder = REPOSITORY / name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "benchmarks/serve_model.py", folder / "1/model.py")
    lines = (REPOSITORY / "encoder/config.pbtxt").read_text().splitlines()
    left_out = ("backend:", "default_model_filename:", "parameters", "instance_group", "name:")
    kept = [line for line in lines if not line.startswith(left_out)]
    values = {
        "kind": kind,
        "threads": str(THREADS),
        "model": str(ROOT / "examples/semantic_search/encoder.py"),
        "onnx": str(BUILD / "encoder.onnx"),
    }
    parameters = [f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in values.items()]
    head = [f'name: "{name}"', 'backend: "python"', "instance_group [ { count: 1 kind: KIND_CPU } ]"]
    (folder / "config.pbtxt").write_text("\n".join([*head, *kept, *parameters, ""]))


def export_onnx() -> None:
    import runpy

    import torch

    model = runpy.run_path(str(ROOT / "examples/semantic_search/encoder.py"))["build"]()
    batch, sequence = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("sequence", min=1, max=512)
    shapes = {name: {0: batch, 1: sequence} for name in ("input_ids", "attention_mask")}
    torch.onnx.export(
        model.module,
        model.example_inputs,
        BUILD / "encoder.onnx",
        dynamo=True,
        optimize=True,
        verbose=False,
        dynamic_shapes=shapes,
    )


def python_backend() -> None:
    """The python backend's helper program is one for each release of Python, and lies beside its library."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = INSTALLED / "backends/python/triton_python_backend_stub"
    shutil.copy(INSTALLED / f"python_backend_stubs/{version}/triton_python_backend_stub", target)


def environment() -> dict[str, str]:
    """For the python backend: this environment's packages, and the interpreter's library."""
    libraries = [sysconfig.get_config_var("LIBDIR"), str(INSTALLED.parents[1] / "nvidia_pytriton.libs")]
    return {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "python"), sysconfig.get_path("purelib")]),
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
    }


def load(server: Server, *words: object) -> Any:
    done = subprocess.run(
        [CLIENT, ROOT / "benchmarks/serve_load.py", str(server.grpc), *map(str, words)],
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


def measure_throughput(clients: int, seconds: float, rounds: int) -> dict[str, Any]:
    contenders = {"aotbuild": "encoder", "python (PyTorch)": "encoder_torch", "python (ONNX Runtime)": "encoder_onnx"}
    models = [f"--load-model={model}" for model in contenders.values()]
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    with Server(
        REPOSITORY, BUILD / "triton/backends", "--model-control-mode=explicit", *models, environment=environment()
    ) as server:
        answers = {
            name: np.asarray(load(server, "answer", model, LENGTH)["values"]) for name, model in contenders.items()
        }
        for turn in range(rounds):
            order = list(contenders)
            for name in order[turn % 3 :] + order[: turn % 3]:
                result = load(server, "throughput", contenders[name], clients, seconds, LENGTH)
                measured[name].append(round(result["answers_per_second"], 1))
        calls, rows = server.metrics(("aotbuild_calls_total", "aotbuild_batch_size_sum"), "encoder")
    medians = {name: statistics.median(values) for name, values in measured.items()}
    best = {name: max(values) for name, values in measured.items()}
    return {
        "clients": clients,
        "length": LENGTH,
        "answers_per_second": measured,
        "rows_per_call": round(rows / calls, 2),
        "ratio": {name: round(medians["aotbuild"] / value, 2) for name, value in medians.items() if name != "aotbuild"},
        # Of each one's best round: what another process of the machine takes from one round counts for neither.
        "ratio_of_best": {
            name: round(best["aotbuild"] / value, 2) for name, value in best.items() if name != "aotbuild"
        },
        "difference": {name: float(np.abs(value - answers["aotbuild"]).max()) for name, value in answers.items()},
    }


def measure_overhead(requests: int) -> dict[str, Any]:
    """Microseconds of a request to a small model: what the client waits, what the server counts, and the call."""
    arguments = ("--model-control-mode=explicit", "--load-model=small")
    with Server(REPOSITORY, BUILD / "triton/backends", *arguments) as server:
        names = ("aotbuild_call_microseconds_total", "aotbuild_calls_total")
        result = load(server, "latency", "small", requests)
        total, calls = server.metrics(names, "small")
    call = total / calls
    in_server = result["success"]
    return {
        "client": round(result["client"], 1),
        "server": round(in_server, 1),
        "queue": round(result["queue"], 1),
        "call": round(call, 2),
        "backend": round(sum(result[f"compute_{part}"] for part in ("input", "infer", "output")) - call, 1),
        "server and backend": round(in_server - call, 1),
    }


def measure_sessions(count: int, length: int) -> dict[str, Any]:
    arguments = ("--model-control-mode=explicit", "--load-model=decoder")
    with Server(REPOSITORY, BUILD / "triton/backends", *arguments) as server:
        load(server, "sessions", 1, 1, length)
        one = server.memory()
        load(server, "sessions", 2, count, length)
        (active,) = server.metrics(("aotbuild_sessions",), "decoder")
        many = server.memory()
    weights = (REPOSITORY / "decoder/1/decoder.safetensors").stat().st_size
    return {
        "sessions": int(active),
        "prompt": length,
        "weights_mib": round(weights / 2**20, 1),
        "one_session_mib": round(one / 2**20, 1),
        "all_sessions_mib": round(many / 2**20, 1),
        "mib_per_session": round((many - one) / (count - 1) / 2**20, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if not CLIENT.exists():
        raise SystemExit("Triton Inference Server is not installed below build/serve; run `make serve-test` first")
    build()
    if not (BUILD / "encoder.onnx").exists():
        export_onnx()
    python_backend()
    add_peer("encoder_torch", "torch")
    add_peer("encoder_onnx", "onnxruntime")
    results = {
        "machine": machine(),
        "server": "Triton Inference Server 2.51 of nvidia-pytriton 0.7.0",
        "throughput": measure_throughput(args.clients, args.seconds, args.rounds),
        "overhead_microseconds": measure_overhead(3000),
        "memory": measure_sessions(100, 64),
    }
    print(json.dumps(results, indent=2))
    save("serve", results)


if __name__ == "__main__":
    main()
