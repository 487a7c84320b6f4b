"""MiniLM, 1x128 tokens: aotbuild against eager PyTorch, ONNX Runtime and AOTInductor.

Latency and errors on one thread, in one process; start of a C++ program to its first embedding, of 128 tokens and of
16, and its memory; time to build from nothing. Run alone on the machine: ``make bench``, or
``python benchmarks/minilm.py latency`` for one part.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import minilm_model
from harness import ColdStart, cold_start, interleave, machine, relative_error, save, table

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
BUILD = ROOT / "build" / "bench"
# Kept between runs, as it takes minutes to make.
PACKAGES = {
    "build": BUILD / f"minilm-max-autotune-torch-{torch.__version__}.pt2",
    "build_query": BUILD / f"minilm-query-max-autotune-torch-{torch.__version__}.pt2",
}
AOTINDUCTOR_OPTIONS = ["freezing=true", "max_autotune=true"]
OUR_DEFINITIONS = (f"-Daotbuild_DIR={ROOT / 'cmake'}", f"-DAOTBUILD_PYTHON={sys.executable}")
ERROR_SAMPLES = 8

# One thread for every contender. OpenMP and BLAS libraries read these when they are loaded.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
DEFAULT_ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
ONE_THREAD_ENVIRONMENT = {**DEFAULT_ENVIRONMENT, **ONE_THREAD}

Array = npt.NDArray[Any]
Embed = Callable[[torch.Tensor, torch.Tensor], Array]


def run(title: str, command: Sequence[object], environment: Mapping[str, str] = DEFAULT_ENVIRONMENT) -> float:
    """Runs a command, its output shown only when it fails; returns the seconds that it took."""
    print(f"{title} ... ", end="", flush=True)
    start = time.perf_counter()
    words = [str(word) for word in command]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        print("FAILED")
        print("\n".join(done.stdout.decode(errors="replace").splitlines()[-40:]))
        raise SystemExit(f"{title} failed; its last lines are above. The command: {' '.join(words)}")
    print(f"done ({seconds:.0f} s)", flush=True)
    return seconds


def configure(
    project: str, build: Path, *definitions: str, environment: Mapping[str, str] = DEFAULT_ENVIRONMENT
) -> None:
    source = BENCHMARKS / "projects" / project
    command = ["cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *definitions]
    run(f"configure {project}", command, environment)


def build_library() -> tuple[Path, dict[str, Path]]:
    """Our library, and the cold-start program for each of the two lengths."""
    folder = BUILD / "aotbuild"
    configure("aotbuild", folder, *OUR_DEFINITIONS)
    run("build our library", ["cmake", "--build", folder])
    return folder / "libminilm.so", {"build": folder / "minilm_cold", "build_query": folder / "minilm_query_cold"}


def build_package(model: str = "build") -> Path:
    """AOTInductor's package with its best CPU options."""
    package = PACKAGES[model]
    if not package.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        unfinished = package.with_name(f"unfinished-{package.name}")
        command = [sys.executable, BENCHMARKS / "minilm_aotinductor.py", model, unfinished, *AOTINDUCTOR_OPTIONS]
        # AOTInductor compiles the number of threads in: with one, it leaves the parallel regions out.
        run("build with AOTInductor (freezing, max_autotune)", command, ONE_THREAD_ENVIRONMENT)
        unfinished.rename(package)
    return package


def build_loader() -> Path:
    """The cold-start program on AOTInductor's C++ loader."""
    folder = BUILD / "aotinductor"
    configure("aotinductor", folder, f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}")
    run("build AOTInductor's loader program", ["cmake", "--build", folder])
    return folder / "minilm_cold_aotinductor"


def aotbuild_contender() -> Embed:
    import aotbuild

    library = aotbuild.load(build_library()[0], num_threads=1)
    return lambda ids, mask: np.asarray(library(ids, mask))


def onnxruntime_contender(module: torch.nn.Module, folder: Path) -> Embed:
    import onnxruntime

    path = folder / "minilm.onnx"
    torch.onnx.export(module, minilm_model.tokens(0), path, dynamo=True, optimize=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def embed(ids: torch.Tensor, mask: torch.Tensor) -> Array:
        values = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        result: Array = session.run(None, {name: values[name] for name in names})[0]
        return result

    return embed


def latency() -> dict[str, Any]:
    """Median milliseconds of a call on one thread, and the largest error over several inputs against float64 eager."""
    torch.set_num_threads(1)
    ours = aotbuild_contender()
    package = torch._inductor.aoti_load_package(str(build_package()))
    module, inputs = minilm_model.build()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        contenders: dict[str, Embed] = {
            "aotbuild": ours,
            "AOTInductor": lambda ids, mask: package(ids, mask).numpy(),
            "ONNX Runtime": onnxruntime_contender(module, Path(folder)),
            "eager": lambda ids, mask: module(ids, mask).numpy(),
        }
        errors = dict.fromkeys(contenders, 0.0)
        double = minilm_model.SentenceEncoder().eval().double()
        for seed in range(ERROR_SAMPLES):
            sample = minilm_model.tokens(seed)
            expected = double(*sample).numpy()
            for name, embed in contenders.items():
                errors[name] = max(errors[name], relative_error(embed(*sample), expected))
        calls = {name: functools.partial(embed, *inputs) for name, embed in contenders.items()}
        timings = interleave(calls, rounds=20, calls=10)
    own = timings["aotbuild"].median
    return {
        name: {
            "median_ms": timing.median * 1e3,
            "min_ms": min(timing.seconds) * 1e3,
            "aotbuild_ratio": own / timing.median,
            "relative_error": errors[name],
        }
        for name, timing in timings.items()
    }


def cold_starts(runs: int = 11) -> dict[str, Any]:
    """Seconds from process start to the first embedding, and peak memory: medians of runs in turn, the first unused."""
    programs = build_library()[1]
    paragraph = _cold_starts("build", minilm_model.LENGTH, programs["build"], runs)
    query = _cold_starts("build_query", minilm_model.QUERY_LENGTH, programs["build_query"], runs)
    return paragraph | {f"{name}, {minilm_model.QUERY_LENGTH} tokens": values for name, values in query.items()}


def _cold_starts(model: str, length: int, ours: Path, runs: int) -> dict[str, Any]:
    loader = build_loader()
    package = build_package(model)
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.bin"
        tokens.write_bytes(b"".join(part.numpy().tobytes() for part in minilm_model.tokens(0, length)))
        commands = {"aotbuild": [str(ours), str(tokens)], "AOTInductor": [str(loader), str(tokens), str(package)]}
        starts: dict[str, list[ColdStart]] = {name: [] for name in commands}
        for _ in range(runs + 1):
            for name, command in commands.items():
                starts[name].append(cold_start(command, ONE_THREAD_ENVIRONMENT))
    embeddings = {name: np.frombuffer(taken[0].output, np.float32) for name, taken in starts.items()}
    if relative_error(embeddings["aotbuild"], embeddings["AOTInductor"]) > 1e-4:
        raise SystemExit("the two cold-start programs gave different embeddings for the same tokens")
    seconds = {name: statistics.median(taken.seconds for taken in some[1:]) for name, some in starts.items()}
    peak = {name: statistics.median(taken.peak_bytes for taken in some[1:]) for name, some in starts.items()}
    return {
        name: {
            "seconds": seconds[name],
            "peak_mib": peak[name] / 2**20,
            "aotbuild_ratio": seconds["aotbuild"] / seconds[name],
            "aotbuild_peak_ratio": peak["aotbuild"] / peak[name],
        }
        for name in commands
    }


def build_times() -> dict[str, Any]:
    """Seconds to build the model from nothing, imports included: empty caches, default options on both sides."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        environment = {**DEFAULT_ENVIRONMENT, "CCACHE_DISABLE": "1", "AOTBUILD_CACHE_DIR": str(scratch / "aotbuild")}
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(scratch / "inductor-aotbuild")
        build = scratch / "build"
        configure("aotbuild", build, *OUR_DEFINITIONS, environment=environment)
        ours = run("build the model target", ["cmake", "--build", build, "--target", "minilm"], environment)
        shutil.rmtree(build)
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(scratch / "inductor-aotinductor")
        peer = run(
            "export and aoti_compile_and_package",
            [sys.executable, BENCHMARKS / "minilm_aotinductor.py", "build", scratch / "minilm.pt2"],
            environment,
        )
    return {
        "aotbuild": {"seconds": ours, "aotbuild_ratio": 1.0},
        "AOTInductor": {"seconds": peer, "aotbuild_ratio": ours / peer},
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "latency": latency,
    "cold-start": cold_starts,
    "build-time": build_times,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all when none is named")
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], ONE_THREAD_ENVIRONMENT)
    for part in parts:
        contenders = PARTS[part]()
        columns = list(contenders["AOTInductor"])
        rows = [
            [name, *(f"{values[column]:.3g}" if column in values else "" for column in columns)]
            for name, values in contenders.items()
        ]
        print("\n" + table([part, *columns], rows))
        path = save(f"minilm-{part}", {"machine": machine(), "contenders": contenders})
        print(f"\nwritten to {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
