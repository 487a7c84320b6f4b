"""Ways to run a PyTorch model without eager PyTorch, by MiniLM at 1x128 tokens on one thread: the table of README.md.

    pip install openvino==2026.4.1; pip install executorch==1.5.1
    python benchmarks/deploy.py                 measure, save benchmarks/results/deploy.json, print the table
    python benchmarks/deploy.py --show          print the table that was saved
    python benchmarks/deploy.py --show --markdown

Each measurement is a process of its own, and contenders take turns. Of times the least counts, which other work on the
machine disturbs least. ``start``: from opening the model to its first result, libraries already loaded. ``memory``:
what loading the library, opening the model and one call add to a process. ``size``: the stripped libraries that are
mapped then, without the system's own (OpenMP's count), without what only Python needs or is for other devices and
formats, and without the weights. Contenders whose packages are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import peers
from harness import RESULTS, machine, save, table

HERE = Path(__file__).parent
MODEL = "minilm_1x128"
# Of each: title, and what the project's own documentation says that a program needs, and what it runs on.
CONTENDERS = {
    "aotbuild": ("aotbuild", "the model's library", "Linux on x86-64, Arm and RISC-V; Windows; NVIDIA GPUs"),
    "aotinductor": ("AOTInductor", "libtorch", "what libtorch runs on"),
    "onnxruntime": ("ONNX Runtime", "its library, an .onnx file", "most systems; many accelerators"),
    "openvino": ("OpenVINO", "its libraries and plugins, an .onnx or .xml file", "Intel CPUs, GPUs and NPUs; Arm CPUs"),
    "executorch": ("ExecuTorch, XNNPACK", "its libraries, a .pte file", "phones, microcontrollers, desktops"),
}


def worker(contender: str, calls: int) -> dict[str, Any]:
    folder = peers.FOLDER / MODEL
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(HERE / "deploy_worker.py"), contender, MODEL, str(folder), str(calls)]
    done = subprocess.run(command, env=os.environ | one, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise SystemExit(f"{contender} failed:\n{done.stderr[-2000:]}")
    measured: dict[str, Any] = json.loads(lines[-1])
    return measured


def build_package() -> None:
    """AOTInductor's, with its constants folded in advance (``freezing``), as the other compilers do."""
    package = peers.FOLDER / MODEL / "model.pt2"
    if not package.exists():
        command = [sys.executable, str(HERE / "minilm_aotinductor.py"), "build", str(package), "freezing=true"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0:
            raise SystemExit("AOTInductor built no package of MiniLM")


def weights_bytes() -> int:
    manifest = json.loads(next((peers.FOLDER / "build").rglob(f"{MODEL}_float32.manifest.json")).read_text())
    return int(manifest["weights"]["bytes"])


def measure(turns: int, calls: int) -> dict[str, Any]:
    peers.prepare(MODEL)
    peers.build([MODEL], ["float32"], "build")
    build_package()
    names = [name for name in CONTENDERS if name in ("aotbuild", "aotinductor") or find_spec(name)]
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            print(f"turn {turn + 1} of {turns}: {name}", file=sys.stderr)
            taken[name].append(worker(name, calls))
    weights = weights_bytes()
    return {name: _summary(found, weights) for name, found in taken.items()}


def _summary(found: Sequence[Mapping[str, Any]], weights: int) -> dict[str, Any]:
    """The least of all turns; libraries that hold the weights are counted without them."""
    holds = ("the model", f"lib{MODEL}_float32.so")
    files = {name: size - weights if name in holds else size for name, size in found[0]["files"].items()}
    numbers = ("start_ms", "memory_mib", "milliseconds", "error")
    least = {key: min(each[key] for each in found) for key in numbers}
    megabytes = {name: size / 1e6 for name, size in files.items()}
    return {"version": found[0]["version"], **least, "megabytes": sum(megabytes.values()), "files": megabytes}


def rows(results: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            f"{CONTENDERS[name][0]} {about['version'].partition('+')[0].partition('-')[0]}",
            CONTENDERS[name][1],
            f"{about['megabytes']:.1f} MB",
            f"{about['start_ms']:.0f} ms",
            f"{about['memory_mib']:.0f} MiB",
            f"{about['milliseconds']:.1f} ms",
            f"{about['error']:.1e}",
            CONTENDERS[name][2],
        ]
        for name, about in results.items()
    ]


HEADER = ("", "a program needs", "size", "start", "memory", "a call", "error", "targets")


def markdown(results: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [HEADER, ["---", "---", *["---:"] * 5, "---"], *rows(results)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print what was saved")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--busy", action="store_true", help="save that the machine had other work")
    given = parser.parse_args()
    if given.show:
        results = json.loads((RESULTS / "deploy.json").read_text())["contenders"]
    else:
        results = measure(given.turns, given.calls)
        about = {"machine": machine(), "busy": given.busy, "model": MODEL, "threads": 1, "turns": given.turns}
        save("deploy", {**about, "contenders": results})
    print(markdown(results) if given.markdown else table(HEADER, rows(results)))


if __name__ == "__main__":
    main()
