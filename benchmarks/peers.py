"""Models at the sizes that people deploy: ours beside ONNX Runtime, OpenVINO, ExecuTorch and eager PyTorch.

    pip install openvino==2026.4.1; pip install --no-deps timm==1.0.31 torchvision==0.28.0 pillow
    python benchmarks/peers.py [--threads 1 2] [--precisions float32 bfloat16] [--seconds N] [MODEL ...]

Contenders run in processes of their own, of which one at a time works, and take turns; what is compared is the median
of each one's calls. OpenVINO runs with float32 as its hint and with its default, which is another precision on some
processors; the table says which one it took. Ours in bfloat16 is the float32 model with PRECISION bfloat16, compared
with OpenVINO's default; eager PyTorch's is one whose weights and values are bfloat16. With --onednn, ours also runs
over a runtime with oneDNN. ExecuTorch takes part where its package is installed, with XNNPACK. Errors are the norm of
the difference from the model in float64, relative to the norm of that. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import peer_models
from harness import machine, relative_error, save, table

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
FOLDER = ROOT / "build" / "bench" / "peers"
# Those that ours is compared with: the best of the two.
RIVALS = {
    "float32": ("onnxruntime-float32", "openvino-float32"),
    "bfloat16": ("onnxruntime-float32", "openvino-default"),
}
MIN_ROUNDS, MAX_ROUNDS = 5, 60


class Worker:
    """A contender's process. It starts when it is made, and answers when it is first asked."""

    def __init__(self, contender: str, name: str, threads: int) -> None:
        self.contender = contender
        count = str(threads)
        environment = os.environ | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, str(HERE / "peer_worker.py"), contender, name, str(FOLDER / name), count]
        self._log = FOLDER / name / f"{contender}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
            )
        self.about: dict[str, Any] = self._answer()

    def calls(self, count: int) -> list[float]:
        """Seconds of each of ``count`` calls."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        seconds: list[float] = self._answer()
        return seconds

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        # Libraries print as well.
        for line in self._process.stdout:
            if line.startswith(("{", "[")):
                return json.loads(line)
        last = self._log.read_text().strip().splitlines()[-1:]
        raise RuntimeError(f"{''.join(last) or 'ended'} ({self._log.relative_to(ROOT)})")


def isa() -> str:
    return "avx512" if "avx512_vnni" in Path("/proc/cpuinfo").read_text() else "x86-64-v3"


def prepare(name: str) -> None:
    """Inputs, the result in float64 and the peers' files; in a process of its own, whose memory ends with it."""
    folder = FOLDER / name
    sources = (HERE / "peer_models.py", HERE / "peer_export.py")
    done = folder / "done"
    if done.exists() and done.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{name}: export for the peers", flush=True)
    with (folder / "export.log").open("w") as log:
        command = [sys.executable, str(HERE / "peer_export.py"), name, str(folder)]
        if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode != 0:
            sys.exit(f"{name} was not exported: see {folder / 'export.log'}")
    done.touch()


def build(names: Sequence[str], precisions: Sequence[str], folder: str, **more: str) -> None:
    print(f"ours: {len(names) * len(precisions)} libraries in {folder}", flush=True)
    options = {
        "MODELS": ";".join(names),
        "PRECISIONS": ";".join(precisions),
        "ISA": isa(),
        "CMAKE_BUILD_TYPE": "Release",
    }
    options |= {"aotbuild_DIR": str(ROOT / "cmake"), "AOTBUILD_PYTHON": sys.executable}
    options |= more
    source, build = str(HERE / "projects" / "peers"), str(FOLDER / folder)
    definitions = [f"-D{name}={value}" for name, value in options.items()]
    for command in (["cmake", "-S", source, "-B", build, "-G", "Ninja", *definitions], ["cmake", "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit("\n".join((done.stdout + done.stderr).splitlines()[-40:]))


def measure(name: str, contenders: Iterable[str], threads: int, seconds: float) -> dict[str, Any]:
    """The contenders' medians, errors and precisions; what one of them says that has none."""
    workers, refused = [], {}
    for contender in contenders:
        try:
            workers.append(Worker(contender, name, threads))
        except RuntimeError as error:
            refused[contender] = str(error)
    expected = np.load(FOLDER / name / "expected.npy")
    times: dict[str, list[float]] = {}
    # So many calls a turn that one takes 20 ms and more; the first of a turn finds another contender's data in caches.
    counts = {worker.contender: 1 + max(1, math.ceil(0.02 / min(worker.calls(3)))) for worker in workers}
    total = sum(sum(worker.calls(counts[worker.contender])) for worker in workers)
    for turn in range(min(MAX_ROUNDS, max(MIN_ROUNDS, round(seconds / total)))):
        shift = turn % len(workers)
        for worker in workers[shift:] + workers[:shift]:
            times.setdefault(worker.contender, []).extend(worker.calls(counts[worker.contender])[1:])
    rows = {}
    for worker in workers:
        worker.stop()
        actual = np.load(FOLDER / name / f"{worker.contender}.npy")
        rows[worker.contender] = {
            "milliseconds": 1e3 * statistics.median(times[worker.contender]),
            "least": 1e3 * min(times[worker.contender]),
            "error": _norm(actual - expected) / _norm(expected),
            "largest_error": relative_error(actual, expected),
            **worker.about,
        }
    return {"model": name, "threads": threads, "contenders": rows, "refused": refused}


def _norm(values: npt.NDArray[Any]) -> float:
    return float(np.linalg.norm(values.astype(np.float64).ravel()))


def ratio(result: Mapping[str, Any], precision: str) -> float:
    """Ours over the better of ONNX Runtime and OpenVINO; NaN where neither ran."""
    found = result["contenders"]
    rivals = [found[rival]["milliseconds"] for rival in RIVALS[precision] if rival in found]
    ours = found.get(f"aotbuild-{precision}")
    return float(ours["milliseconds"] / min(rivals)) if ours and rivals else math.nan


def mean(ratios: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.mean(math.log(each) for each in ratios))


def show(results: Sequence[Mapping[str, Any]], contenders: Sequence[str], precisions: Sequence[str]) -> None:
    rows = []
    for result in results:
        found = result["contenders"]
        cells = [f"{found[each]['milliseconds']:.2f}" if each in found else "-" for each in contenders]
        cells += [f"{ratio(result, precision):.2f}" for precision in precisions]
        for precision in precisions:
            ours, eagers = (found.get(f"{each}-{precision}", {}).get("error") for each in ("aotbuild", "eager"))
            cells.append(f"{ours / eagers:.2f}" if ours and eagers else "-")
        rows.append([f"{result['model']}, {result['threads']} threads", *cells])
    titles = [*contenders, *(f"{each} ratio" for each in precisions), *(f"{each} error" for each in precisions)]
    print(table(["milliseconds", *titles], rows))
    for precision in precisions:
        for threads in sorted({result["threads"] for result in results}):
            ratios = [ratio(result, precision) for result in results if result["threads"] == threads]
            ratios = [each for each in ratios if not math.isnan(each)]
            if ratios:
                print(
                    f"{precision}, {threads} threads: ours / best of {' and '.join(RIVALS[precision])}: geometric mean "
                    f"{mean(ratios):.3f}, worst {max(ratios):.2f}, of {len(ratios)} models"
                )
    for result in results:
        took = {each: about["precision"] for each, about in result["contenders"].items() if each.endswith("-default")}
        for contender, precision in took.items():
            print(f"{result['model']}: {contender} computed in {precision}")
        for contender, why in result["refused"].items():
            print(f"{result['model']}: {contender} did not run: {why}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--precisions", nargs="+", choices=list(RIVALS), default=["float32"])
    parser.add_argument("--seconds", type=float, default=20, help="for each model's rounds")
    parser.add_argument("--onednn", action="store_true", help="also over a runtime with oneDNN")
    parser.add_argument("--save", default="peers", metavar="NAME", help="of the file in benchmarks/results")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(peer_models.MODELS))
    given = parser.parse_args()
    names = given.models or list(peer_models.MODELS)
    unknown = sorted(set(names) - set(peer_models.MODELS))
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(peer_models.MODELS)}")
    for name in names:
        prepare(name)
    build(names, given.precisions, "build")
    ours = ["aotbuild"]
    if given.onednn:
        build(names, given.precisions, "build-onednn", AOTBUILD_ONEDNN="ON")
        ours.append("onednn")
    contenders = [f"{each}-{precision}" for precision in given.precisions for each in (*ours, "eager")]
    contenders += ["onnxruntime-float32", "openvino-float32"]
    contenders += ["openvino-default"] if "bfloat16" in given.precisions else []
    contenders += ["executorch-float32"] if find_spec("executorch") else []
    results = []
    for name in names:
        for threads in given.threads:
            results.append(measure(name, contenders, threads, given.seconds))
            ratios = ", ".join(f"{each} {ratio(results[-1], each):.2f}" for each in given.precisions)
            print(f"{name}, {threads} threads: ours / best of the peers: {ratios}", flush=True)
    show(results, contenders, given.precisions)
    save(given.save, {"machine": machine(), "isa": isa(), "results": results})


if __name__ == "__main__":
    main()
