"""What ``make demo`` built: what it links, its size, its start, and its latency and error against eager PyTorch."""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import aotbuild
from aotbuild.capture import load_source
from harness import interleave, relative_error, table

FORBIDDEN = ("torch", "c10", "python", "mkl")


def linked_libraries(program: Path) -> dict[str, Path]:
    """The shared libraries that the dynamic linker loads for a program, by name, without the kernel's own."""
    output = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    pairs = (line.split(" (")[0].partition("=>") for line in output.splitlines() if "linux-vdso" not in line)
    return {Path(name.strip()).name: Path(path.strip() or name.strip()) for name, _, path in pairs}


def stripped_size(files: Sequence[Path]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        total = 0
        for file in files:
            stripped = Path(folder) / file.name
            subprocess.run(["strip", "-o", stripped, file], check=True)
            total += stripped.stat().st_size
        return total


def seconds_to_first_output(command: Sequence[str]) -> float:
    start = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        answered = process.stdout.read(1)
        seconds = time.perf_counter() - start
        process.stdout.read()
    if process.returncode != 0 or not answered:
        raise SystemExit(f"{command[0]} gave no answer and ended with status {process.returncode}")
    return seconds


def describe_program(program: Path, library: aotbuild.Runner, first_answer: Sequence[str]) -> list[tuple[str, str]]:
    linked = linked_libraries(program)
    unwanted = [name for name in linked if any(word in name.lower() for word in FORBIDDEN)]
    if unwanted:
        raise SystemExit(f"{program.name} links {', '.join(unwanted)}: a built model must not")
    own = [program, *(path for path in linked.values() if path.is_relative_to(program.parent.resolve()))]
    weights = int(library.manifest["weights"]["bytes"]) if library.manifest["weights"]["mode"] == "embed" else 0
    seconds = statistics.median(seconds_to_first_output([str(program), *first_answer]) for _ in range(5))
    return [
        ("links", ", ".join(sorted(linked))),
        ("size, stripped, without weights", f"{(stripped_size(own) - weights) / 1e6:.2f} MB"),
        ("process start to first answer, the corpus embedded on the way", f"{seconds * 1e3:.0f} ms"),
    ]


def compare(library: aotbuild.Runner, model: aotbuild.Model) -> list[list[str]]:
    """A row for each set of inputs: sizes, milliseconds, and errors against eager in float64, all on one thread."""
    torch.set_num_threads(1)
    eager: Any = model.module
    double = copy.deepcopy(eager).double()
    rows = []
    for args, _ in [(model.example_inputs, {}), *model.golden_inputs]:
        inputs = tuple(args)
        calls: dict[str, Callable[[], Any]] = {
            "aotbuild": functools.partial(library, *inputs),
            "eager": functools.partial(eager, *inputs),
        }
        expected = double(*inputs).numpy()
        errors = {name: relative_error(np.asarray(call()), expected) for name, call in calls.items()}
        timings = interleave(calls, rounds=5, calls=3, warmup=1)
        ours, theirs = timings["aotbuild"].median, timings["eager"].median
        rows.append(
            [
                "x".join(map(str, inputs[0].shape)),
                f"{ours * 1e3:.2f}",
                f"{theirs * 1e3:.2f}",
                f"{ours / theirs:.2f}",
                f"{errors['aotbuild']:.1e}",
                f"{errors['eager']:.1e}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("library", type=Path, help="the shared library of the model that the program links")
    parser.add_argument("model", help="what add_aot_model has as MODEL")
    parser.add_argument("arguments", nargs="*", help="arguments that make the program give an answer")
    options = parser.parse_args()
    library = aotbuild.load(options.library, num_threads=1)
    for name, value in describe_program(options.program, library, options.arguments):
        print(f"{name}: {value}")
    model = load_source(options.model, {}).model
    assert model is not None
    with torch.inference_mode():
        rows = compare(library, model)
    header = ["batch x tokens", "ms", "eager ms", "ratio", "relative error", "eager's error"]
    print(f"\none thread, errors against eager in float64\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
