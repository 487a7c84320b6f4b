"""The sweep: what of PyTorch's operators and modules compiles, runs and agrees with eager; and the table of it.

    sweep.py [--kind op] [--only NAME ...] [--dtype int32] [--samples 0:8] [--variant empty]   # resumes
    sweep.py --dtype all --variant all --part 1/8        # an eighth of everything, as a shard
    sweep.py --again wrong --again crashed               # those once more
    sweep.py --runtime torch ...                         # the first samples with RUNTIME torch
    sweep.py --runtime aotinductor ...                   # the same by AOTInductor itself
    sweep.py --device cuda                               # builds for a GPU; sweep_cuda.py has the steps that follow
    sweep.py --report docs                               # the tables of what ran

Samples of one operator are one model, and many models one library (`sweep_groups.py`, `sweep_build.py`). Each group is
generated and called in a process of its own, so that a crash or an endless loop is an outcome.
"""

from __future__ import annotations

import argparse
import functools
import gc
import hashlib
import itertools
import json
import os
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sweep_build import Builder, call_groups, in_child
from sweep_groups import Group, generate
from sweep_outcomes import COMPILER, CRASHED, OUTCOMES, PASSES, WRONG, Log, Result
from sweep_samples import KINDS, VARIANTS, Sample, all_samples

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GPU_RESULTS = ROOT / "benchmarks" / "results" / "h100-sweep.json"
RUNTIMES = ("standalone", "torch", "aotinductor")
DTYPES = (
    *("float32", "bfloat16", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64"),
)
# A library is built of about as many bytes of kernels, or groups: what the compiler reads at a time.
_BATCH_BYTES, _BATCH_GROUPS = 1_000_000, 24


def read_results(path: Path) -> list[Result]:
    """Results of a GPU that were checked in."""
    return [Result(**result) for result in json.loads(path.read_text())] if path.exists() else []


def log_path(folder: Path, runtime: str) -> Path:
    return folder / ("results.jsonl" if runtime == "standalone" else f"results-{runtime}.jsonl")


def version() -> str:
    """A digest of all that decides the results but the samples: aotbuild's sources, and torch's version."""
    digest = hashlib.sha256(torch.__version__.encode())
    for folder, patterns in (("python/aotbuild", ("*.py", "*.j2")), ("cpp", ("*.h", "*.hpp", "*.cpp"))):
        for path in sorted(path for pattern in patterns for path in (ROOT / folder).rglob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Sweep:
    """The samples in groups; those that fail are tried alone."""

    def __init__(self, folder: Path, log: Log, seconds: float) -> None:
        self._folder, self._log, self._seconds = folder, log, seconds
        self._builder = Builder(folder, "-O0")  # of each kernel, compiling takes longer than its one call
        self._version = version()
        self._known = log.read()
        self._in_groups: dict[str, str] = {}  # what was wrong in a group, of samples that are tried alone
        self.queue: list[Group] = []
        self._batch: list[tuple[Group, str]] = []

    def is_done(self, sample: Sample) -> bool:
        known = self._known.get(sample.id)
        return known is not None and known.version == self._version

    def add(self, group: Group) -> None:
        self.queue.append(group)
        while self.queue:
            self._generate(self.queue.pop(0))

    def finish(self) -> None:
        while self._batch or self.queue:
            self._run_batch()
            while self.queue:
                self._generate(self.queue.pop(0))

    def _generate(self, group: Group) -> None:
        shutil.rmtree(group.folder, ignore_errors=True)
        limit = self._seconds + 5 * len(group.samples)

        def action() -> Iterator[Any]:
            gc.disable()  # the process ends before it needs the memory
            yield generate(group, functools.partial(self._is_known, group))

        values, problem = in_child(action, limit)
        outcome, detail, culprits = values[0] if values and not problem[0] else (*problem, [])
        if outcome:
            self._take_apart(group, outcome, detail, culprits)
            return
        content = self._content(detail)
        if self._is_known(group, detail):
            for sample in group.samples:
                self._log.add(replace(self._known[sample.id], version=self._version))
            return
        self._batch.append((group, content))
        size = sum(path.stat().st_size for group, _ in self._batch for path in (group.folder / "src").iterdir())
        if size > _BATCH_BYTES or len(self._batch) >= _BATCH_GROUPS:
            self._run_batch()

    def _content(self, digest: str) -> str:
        return hashlib.sha256(f"{digest} {self._builder.runtime}".encode()).hexdigest()[:16]

    def _is_known(self, group: Group, digest: str) -> bool:
        content = self._content(digest)
        return all((known := self._known.get(sample.id)) and known.content == content for sample in group.samples)

    def _take_apart(self, group: Group, outcome: str, detail: str, culprits: Sequence[str] = ()) -> None:
        """Tries the samples of a group in two parts: those that are the reason alone, else its halves."""
        if group.is_alone:
            self._record(group.samples[0], outcome, detail)
            return
        rest = [sample for sample in group.samples if sample.id not in culprits]
        if culprits and rest:
            alone = [group.part([sample], "") for sample in group.samples if sample.id in culprits]
            self.queue[:0] = [*alone, group.part(rest, "r")]
        else:
            self.queue[:0] = group.halves()

    def _record(self, sample: Sample, outcome: str, detail: str, content: str = "") -> None:
        before = self._in_groups.pop(sample.id, "")
        if outcome == PASSES and before:
            outcome, detail = WRONG, f"in a model with others: {before}; alone it passes"
        result = Result(sample.id, sample.kind, sample.name, sample.dtype, outcome, detail, self._version, content)
        self._known[sample.id] = result
        self._log.add(result)

    def _run_batch(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        groups = [group for group, _ in batch]
        contents = {group.target: content for group, content in batch}
        library, broken = self._builder.build(groups, "batch")
        for group in groups:
            if group.target in broken:
                self._take_apart(group, COMPILER, broken[group.target])
        waiting = [group for group in groups if group.target not in broken]
        while waiting:
            values, problem = in_child(
                functools.partial(call_groups, library, waiting), self._seconds + 2 * len(waiting)
            )
            for group in list(waiting):
                lines = [value for value in values if value[0] == group.target]
                if len(lines) == 2:
                    self._judged(group, lines[1][1], contents[group.target])
                    waiting.remove(group)
                elif lines:
                    self._take_apart(group, *(problem if problem[0] else (CRASHED, "it ended early")))
                    waiting.remove(group)
            if not values:
                for group in waiting:
                    self._take_apart(group, *(problem if problem[0] else (CRASHED, "it ended early")))
                waiting = []
        for group in groups:
            if not os.environ.get("SWEEP_KEEP"):
                shutil.rmtree(group.folder, ignore_errors=True)

    def _judged(self, group: Group, results: Sequence[Sequence[str]], content: str) -> None:
        outcomes = {id: (outcome, detail) for id, outcome, detail in results}
        if not group.is_alone and all(detail.startswith("the call fails") for _, detail in outcomes.values()):
            self._take_apart(group, *outcomes[group.samples[0].id])
            return
        for sample in group.samples:
            outcome, detail = outcomes[sample.id]
            if outcome == PASSES or group.is_alone:
                self._record(sample, outcome, detail, content)
            else:
                self._in_groups[sample.id] = detail
                self.queue.append(Group([sample], sample.id, group.parent))


def grouped(samples: Iterator[Sample], size: int, folder: Path) -> Iterator[Group]:
    """Samples of one kind, type and variant; what is neither an operator nor a module is alone."""

    def key(sample: Sample) -> Any:
        return sample.kind, sample.dtype, sample.variant, sample.id if sample.call is None else ""

    for _, part in itertools.groupby(sorted(samples, key=key), key):
        entries = list(part)
        step = max(1, size // 2) if entries[0].variant == "dynamic" else size
        for begin in range(0, len(entries), step):
            group = entries[begin : begin + step]
            yield Group(group, group[0].id + ("" if len(group) == 1 else "_g"), folder / "groups")


def sweep_cpu(samples: Iterator[Sample], folder: Path, log: Log, arguments: argparse.Namespace) -> None:
    run = Sweep(folder, log, arguments.seconds)
    is_wanted = _wanted(log, arguments)
    left = (sample for sample in samples if is_wanted(sample) and not run.is_done(sample))
    for group in grouped(itertools.islice(left, arguments.limit), arguments.group, folder):
        run.add(group)
    run.finish()


def _wanted(log: Log, arguments: argparse.Namespace) -> Callable[[Sample], bool]:
    part, parts = map(int, arguments.part.split("/"))
    known = log.read()

    def is_wanted(sample: Sample) -> bool:
        if arguments.again:
            return sample.id in known and known[sample.id].outcome in arguments.again
        if arguments.any_version and sample.id in known:
            return False
        return int(hashlib.sha256(f"{sample.kind} {sample.name}".encode()).hexdigest(), 16) % parts == part - 1

    return is_wanted


def sweep_single(samples: Iterator[Sample], folder: Path, log: Log, arguments: argparse.Namespace) -> None:
    """Builds the samples for a GPU, or runs them with libtorch or by AOTInductor."""
    import sweep_cmake

    done = log.read()
    is_wanted = _wanted(log, arguments)
    left = [sample for sample in samples if is_wanted(sample) and (arguments.again or sample.id not in done)]
    for begin in range(0, len(left[: arguments.limit]), arguments.batch):
        part = left[: arguments.limit][begin : begin + arguments.batch]
        for sample, (outcome, detail) in sweep_cmake.outcomes(part, folder, arguments):
            log.add(Result(sample.id, sample.kind, sample.name, sample.dtype, outcome, detail))


def warm_up(device: str) -> None:
    """Loads and sets up TorchInductor once, so that forks need not. No parallel loop may have run before a fork."""
    import sweep_cmake

    from aotbuild import capture, emit
    from aotbuild.spec.model import Model
    from aotbuild.spec.program import EmitOptions

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore")
    model = Model(torch.nn.ReLU(), (torch.ones(2),))
    captured = capture.capture(capture.Source(model, None, ()), (), "warm_up")
    emit.render(sweep_cmake.lower(captured, "warm_up", device), EmitOptions("warm_up", test=False))


def report(folder: Path, docs: Path) -> None:
    import sweep_report

    standalone, on_torch, upstream = (list(Log(log_path(folder, runtime)).read().values()) for runtime in RUNTIMES)
    page = docs / "coverage.md"
    sections = sweep_report.parts(page.read_text())
    if standalone:
        sections[0] = sweep_report.coverage(standalone, read_results(GPU_RESULTS))
        if any(result.kind == "architecture" for result in standalone):
            (docs / "models.md").write_text(sweep_report.models(standalone))
    if on_torch:
        sections[1] = sweep_report.on_torch(on_torch, upstream)
    page.write_text("".join(sections))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--dtype", action="append", help="element types of operators' and modules' samples, or all")
    parser.add_argument("--variant", action="append", choices=("none", "all", *VARIANTS[1:]))
    parser.add_argument("--only", nargs="+", default=(), help="entries of the databases by name")
    parser.add_argument("--samples", default="0:1", help="which of each entry, type and variant: FIRST:END")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--runtime", default="standalone", choices=RUNTIMES)
    parser.add_argument("--folder", type=Path, help="build/sweep, or build/sweep-cuda")
    parser.add_argument("--seconds", type=float, default=60, help="processor time for each stage of a sample")
    parser.add_argument("--group", type=int, default=24, help="samples in one model")
    parser.add_argument("--batch", type=int, default=32, help="models that CMake builds at a time")
    parser.add_argument("--limit", type=int, help="stops after so many samples; the next run goes on")
    parser.add_argument("--part", default="1/1", help="I/N: the I-th of N parts of the entries, for several processes")
    parser.add_argument("--jobs", type=int, default=1, help="compilations of CMake at a time")
    parser.add_argument("--any-version", action="store_true", help="keeps results of other versions of aotbuild")
    parser.add_argument("--again", action="append", choices=OUTCOMES, help="runs only samples with this outcome, again")
    parser.add_argument("--report", type=Path, help="writes coverage.md and models.md to a folder, and runs nothing")
    arguments = parser.parse_args()
    default = ROOT / "build" / ("sweep" if arguments.device == "cpu" else "sweep-cuda")
    folder: Path = (arguments.folder or default).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.report:
        report(folder, arguments.report)
        return
    start = time.monotonic()
    warm_up(arguments.device)
    dtypes = arguments.dtype or ["float32", *(("float16", "bfloat16") if arguments.device == "cuda" else ())]
    variants = [{"none": ""}.get(variant, variant) for variant in arguments.variant or ("none",)]
    first, end = (int(text) if text else 1 << 30 for text in arguments.samples.split(":"))
    samples = all_samples(
        arguments.kind or KINDS,
        DTYPES if "all" in dtypes else dtypes,
        end - first,
        first=first,
        variants=VARIANTS if "all" in variants else variants,
        names=arguments.only,
    )
    log = Log(log_path(folder, arguments.runtime))
    on_cpu = arguments.device == "cpu" and arguments.runtime == "standalone"
    (sweep_cpu if on_cpu else sweep_single)(samples, folder, log, arguments)
    log.write(log.read().values())
    used = os.times()
    seconds = used.user + used.system + used.children_user + used.children_system
    print(dict(Counter(result.outcome for result in log.read().values())))
    print(f"{time.monotonic() - start:.0f} s, {seconds:.0f} s of processor time")


if __name__ == "__main__":
    main()
