"""What aotbuild adds to the configuration of a project: seconds for each number of models, first and again.

    python benchmarks/configure.py [--models 20] [--rounds 5] [--json FILE]

Configures a project with one model and one with so many more, in a new build folder and then in the same one again, and
prints the medians of the wall-clock and processor time that the further models take.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "cmake"
HEAD = """\
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
find_package(aotbuild REQUIRED)
"""


def measured(command: list[str]) -> tuple[float, float]:
    """Wall-clock and processor seconds of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def configured(folder: Path, models: int) -> dict[str, tuple[float, float]]:
    """A new project with ``models`` models: seconds of its first configuration, and of one more."""
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "model.py").write_text("def build(): ...\n")
    calls = (f"add_aot_model(model{index} MODEL model.py:build NO_TEST)\n" for index in range(models))
    (source / "CMakeLists.txt").write_text(HEAD + "".join(calls))
    build = ["cmake", "-S", str(source), "-B", str(folder / "build"), "-G", "Ninja"]
    options = [f"-Daotbuild_DIR={PACKAGE}", f"-DAOTBUILD_PYTHON={sys.executable}"]
    return {"first": measured([*build, *options]), "again": measured(build)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {"first": [], "again": []}
    with tempfile.TemporaryDirectory() as folder:
        for round_number in range(args.rounds):
            one = configured(Path(folder) / f"{round_number}-one", 1)
            more = configured(Path(folder) / f"{round_number}-more", 1 + args.models)
            for when, times in found.items():
                times.append((more[when][0] - one[when][0], more[when][1] - one[when][1]))
    rows = {
        when: {
            "wall_seconds": statistics.median(wall for wall, _ in times),
            "processor_seconds": statistics.median(processor for _, processor in times),
        }
        for when, times in found.items()
    }
    print(f"{args.models} models more   wall s   processor s")
    for when, row in rows.items():
        print(f"{when:<15} {row['wall_seconds']:8.2f} {row['processor_seconds']:13.2f}")
    if args.json is not None:
        args.json.write_text(json.dumps({"models": args.models, "rounds": args.rounds, **rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
