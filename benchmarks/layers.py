"""Convolutions, products and linear layers of bfloat16 and int8 by the runtime with oneDNN and without, on one thread.

    python benchmarks/layers.py [--rounds N] [--only NAMES] [--output FILE]
    python benchmarks/layers.py --programs WITH WITHOUT [--only NAMES] [--output FILE]

Builds one program over both runtimes, below build/bench/layers, and runs them in turns; a figure is the fastest of all
calls. Nothing of PyTorch is called, so that the programs run on other machines too, with libdnnl and libsleef beside
them: the second form only runs those that it is given. What both make by kernels of the runtime (3 x 3 with stride 1,
small groups, products of float32, linear layers) differs by the machine's noise alone; for linear layers of int8
results/layers-int8.json has oneDNN's times from a runtime that still called it. Linear layers of float32 have a
benchmark of their own, linear.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from math import exp, log
from pathlib import Path

from harness import RESULTS, table

ROOT = Path(__file__).parents[1]
SOURCE = Path(__file__).parent / "projects" / "layers"
BUILD = ROOT / "build" / "bench" / "layers"


def build(onednn: str) -> Path:
    """The program over a runtime with ("ON") or without oneDNN."""
    folder = BUILD / f"onednn-{onednn.lower()}"
    options = [f"-DAOTBUILD_ONEDNN={onednn}", "-DAOTBUILD_EIGEN=OFF", "-DCMAKE_BUILD_TYPE=Release"]
    options.append(f"-DAOTBUILD_PYTHON={sys.executable}")
    configure = ["cmake", "-S", str(SOURCE), "-B", str(folder), "-G", "Ninja", *options]
    for command in (configure, ["cmake", "--build", str(folder), "--target", "layers"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit("\n".join((done.stdout + done.stderr).splitlines()[-40:]))
    return folder / "layers"


def run(program: Path, only: str) -> dict[str, float]:
    """Microseconds of the fastest call of each layer whose name begins with ``only``."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([program, only], stdout=subprocess.PIPE, env=environment, text=True, check=True)
    return {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def measured(programs: Sequence[Path], rounds: int, only: str) -> list[dict[str, float]]:
    best: list[dict[str, float]] = [{}, {}]
    for _ in range(rounds):
        for found, program in zip(best, programs, strict=True):
            for name, value in run(program, only).items():
                found[name] = min(value, found.get(name, value))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--programs", type=Path, nargs=2, metavar=("WITH", "WITHOUT"))
    parser.add_argument("--only", default="", metavar="NAMES", help="what the names of layers begin with")
    parser.add_argument("--output", type=Path, default=RESULTS / "layers.json")
    given = parser.parse_args()
    programs = given.programs or [build("ON"), build("OFF")]
    onednn, own = measured(programs, given.rounds, given.only)
    ratios = {name: own[name] / onednn[name] for name in own}
    rows = [[name, f"{onednn[name]:.1f}", f"{own[name]:.1f}", f"{ratio:.2f}"] for name, ratio in ratios.items()]
    print(table(["microseconds", "oneDNN", "own", "ratio"], rows))
    mean = exp(sum(map(log, ratios.values())) / len(ratios))
    print(f"geometric mean {mean:.3f}, worst {max(ratios.values()):.2f}")
    result = {"processor": processor(), "geometric_mean": mean, "onednn_us": onednn, "own_us": own}
    given.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
