"""Measures contenders against one another in one process: interleaved rounds, medians, ratios to one of them."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Timing:
    """Seconds that one contender took, one number a measured call, in the order of measurement."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def interleave(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int, calls: int, warmup: int = 3
) -> dict[str, Timing]:
    """Times every contender ``calls`` times a round, in turn, so that a slow spell of the machine hits all of them.

    The order turns by one each round. The first call of a contender's turn is not measured: it finds the caches full of
    another contender's weights.
    """
    names = list(contenders)
    for call in contenders.values():
        for _ in range(warmup):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            call = contenders[name]
            call()
            for _ in range(calls):
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(name, tuple(values)) for name, values in seconds.items()}


def best_times(contenders: Mapping[str, Callable[[], object]], *, rounds: int, calls: int = 3) -> dict[str, float]:
    """Seconds of this thread's processor time for a call, the least of all rounds; the contenders take turns.

    As in ``interleave``, the first call of a turn is not measured.
    """
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, call in contenders.items():
            call()
            start = time.thread_time()
            for _ in range(calls):
                call()
            best[name] = min(best[name], (time.thread_time() - start) / calls)
    return best


def relative_error(actual: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """The largest absolute difference, as a fraction of the largest absolute expected value.

    Both in float64. Entries near zero would dominate a quotient taken entry by entry and say nothing about a model.
    """
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    return float(difference.max() / np.abs(expected).max())


@dataclass(frozen=True)
class ColdStart:
    """One run of a program: seconds from its start to its first byte of output, and its own peak resident memory."""

    seconds: float
    peak_bytes: int
    output: bytes


def cold_start(command: Sequence[str], environment: Mapping[str, str]) -> ColdStart:
    """Runs a program that writes an answer to its standard output and then, as a line on its standard error, `VmHWM`.

    The program reports its peak itself: what the kernel says of a finished child counts the memory of the process that
    it was forked from, and this one has PyTorch loaded.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - start
        output = first + process.stdout.read()
        messages = process.stderr.read().decode(errors="replace")
    if process.returncode != 0 or not output:
        raise SystemExit(f"{Path(command[0]).name} failed with status {process.returncode}:\n{messages}")
    peak_kib = next(int(line.split()[1]) for line in messages.splitlines() if line.startswith("VmHWM:"))
    return ColdStart(seconds, peak_kib * 1024, output)


def machine() -> dict[str, str | int]:
    """What a reader needs to judge the numbers: processor, cores, and the versions of what took part."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    versions = {
        name: metadata.version(name) for name in ("torch", "onnxruntime", "onednn-cpu-gomp", "transformers", "numpy")
    }
    return {"processor": model, "cores": os.cpu_count() or 1, "python": platform.python_version(), **versions}


def save(name: str, results: Mapping[str, Any]) -> Path:
    """Writes ``results/<name>.json`` and returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    return path


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])
