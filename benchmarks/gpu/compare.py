"""Models of tests/gpu beside PyTorch on one GPU, in one run: a table, and JSON.

    python benchmarks/gpu/compare.py <folder of `make package-gpu-tests`> [--models bert resnet18] [--output <file>]

Needs the GPU, PyTorch with CUDA, CMake and a C++ compiler: AOTInductor's packages and a program on its C++ loader are
made first. Nothing of aotbuild needs to be installed; its programs are those of the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent

# A row of the table: the field, its title, a number's format.
_COLUMNS = (
    ("median_us", "median", ".0f"),
    ("p10_us", "10%", ".0f"),
    ("p90_us", "90%", ".0f"),
    ("back_to_back_us", "queued", ".0f"),
    ("first_ms", "first, ms", ".0f"),
    ("driver_allocations", "allocations", "d"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--models", nargs="+", default=["bert", "resnet18"])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        upstream = Upstream(Path(scratch), arguments.models)
        rows = [row for model in arguments.models for row in _measure(model, arguments.programs, upstream)]
    sizes = _sizes(arguments.programs, arguments.models)
    result = {"machine": _machine(), "rows": rows, "sizes": sizes}
    print(_table(rows))
    for name, size in sizes.items():
        print(f"{name}: {size / 1e6:.1f} MB without weights")
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


class Upstream:
    """PyTorch's side, prepared all at the same time: packages, the program that loads them, compiled models."""

    def __init__(self, scratch: Path, models: Sequence[str]) -> None:
        import torch

        self._scratch = scratch
        script = _HERE / "upstream_model.py"
        packages = [subprocess.Popen([sys.executable, script, "package", model, scratch]) for model in models]
        self._compiled = {
            model: subprocess.Popen(
                [sys.executable, script, "compiled", model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for model in models
        }
        build = scratch / "build"
        prefix = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
        configure: list[str | Path] = ["cmake", "-S", _HERE / "upstream", "-B", build, "-DCMAKE_BUILD_TYPE=Release"]
        subprocess.run([*configure, prefix], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", build], check=True, stdout=subprocess.DEVNULL)
        _say("built the program on AOTInductor's loader")
        for package in packages:
            if package.wait() != 0:
                raise SystemExit("AOTInductor made no package; see above")
        _say("made AOTInductor's packages")
        for model, process in self._compiled.items():
            assert process.stdout is not None
            while process.stdout.readline().strip() not in ("ready", ""):
                pass
            _say(f"compiled {model}")

    def package_command(self, model: str) -> list[str | Path]:
        return [
            self._scratch / "build" / "loader",
            self._scratch / f"{model}.pt2",
            self._scratch / f"{model}.inputs.pt",
        ]

    def compiled_rows(self, model: str) -> str:
        """The lines of JSON of a model that was compiled while packages were made."""
        lines, _ = self._compiled[model].communicate("start\n")
        return lines


def _measure(model: str, programs: Path, upstream: Upstream) -> list[dict[str, Any]]:
    outputs = [
        _run([programs / f"{model}_bench", "--json", "--started"]),
        _run(upstream.package_command(model)),
        upstream.compiled_rows(model),
    ]
    rows = [{**json.loads(line), "model": model} for text in outputs for line in text.splitlines() if line[:1] == "{"]
    for row in rows:
        if row["kind"] in ("graph", "launches"):
            row["kind"] = f"aotbuild, {row['kind']}"
        _say(json.dumps(row))
    return rows


def _run(command: Sequence[str | Path]) -> str:
    """The output of a program that takes the time of its start as its last argument."""
    started = str(time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    return subprocess.run([*command, started], check=True, stdout=subprocess.PIPE, text=True).stdout


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _machine() -> dict[str, str]:
    import torch

    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    gpu, driver = subprocess.run(query, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().split(", ")
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {"gpu": gpu, "driver": driver, "processors": str(os.cpu_count()), **versions}


def _sizes(programs: Path, models: Sequence[str]) -> dict[str, int]:
    """Bytes of each program with the libraries that it is linked to, the C library's apart."""
    sizes = {}
    for model in models:
        program = programs / f"{model}_bench"
        linked = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
        libraries = [Path(path) for path in re.findall(r"=> (/\S+)", linked)]
        own = [path for path in libraries if not re.match(r"(libc|libm|libdl|libpthread|librt)\.so", path.name)]
        sizes[model] = program.stat().st_size + sum(path.stat().st_size for path in own)
    return sizes


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Microseconds a call, and the median's ratio to that of AOTInductor's loader for the same model."""
    base = {row["model"]: row["median_us"] for row in rows if row["kind"] == "aotinductor"}
    lines = [f"{'model':<10}{'':<24}{'ratio':>7}" + "".join(f"{title:>13}" for _, title, _ in _COLUMNS)]
    for row in rows:
        cells = [format(row[field], form) if field in row else "" for field, _, form in _COLUMNS]
        ratio = row["median_us"] / base[row["model"]]
        lines.append(f"{row['model']:<10}{row['kind']:<24}{ratio:>7.2f}" + "".join(f"{cell:>13}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
