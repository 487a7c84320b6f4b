"""From the results of `aotbuild-tune` to lines of a tuning database: the fastest right candidate of each kernel."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aotbuild.spec.errors import AotbuildError
from aotbuild.tuning import database
from aotbuild.tuning.bundle import FORMAT, read_description
from aotbuild.tuning.database import EPILOGUE_FUSION, Database, Entry

# A configuration has to be so much faster than the heuristics' choice to take its place: less is noise.
_GAIN = 1.02
# Of one that is better on the mean over several sizes: how much slower than the heuristics' choice it may be at the
# example's size. At 1.0 what is much faster at all other sizes would lose to noise at one.
_AT_EXAMPLE = 1.05


@dataclass
class Results:
    """What a run has written: times of each candidate that was measured to the end, and what went wrong."""

    device: str
    times: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    problems: dict[tuple[str, int], str] = field(default_factory=dict)


def read_results(path: Path, bundle_id: str) -> Results:
    """Reads a file of results; lines that a kill has cut off are none.

    Raises:
        AotbuildError: it cannot be read, is damaged, or belongs to another bundle.
    """
    results = Results("")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise AotbuildError(f"{path}: {error.strerror}; run aotbuild-tune over the bundle first") from None
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        if "bundle" in record and (record["bundle"], record.get("format")) != (bundle_id, FORMAT):
            raise AotbuildError(f"{path} holds results of another bundle; run aotbuild-tune over this one")
        try:
            _add(results, record)
        except (KeyError, TypeError):
            raise AotbuildError(f"{path}:{number} is no line of aotbuild-tune; remove it") from None
    if not results.device:
        raise AotbuildError(f"{path} names no device; run aotbuild-tune over the bundle again")
    return results


def _add(results: Results, record: Mapping[str, Any]) -> None:
    """Raises ``KeyError`` or ``TypeError`` for what is no record of aotbuild-tune."""
    if "bundle" in record:
        results.device = _typed(record["device"], str)
    elif "candidate" in record:
        place = (_typed(record["kernel"], str), _typed(record["candidate"], int))
        results.times.pop(place, None)
        if record["status"] == "measured":
            times = _typed(record["times"], list)
            if not all(math.isfinite(_typed(time, (int, float))) and time >= 0 for time in times):
                raise TypeError("times are no numbers")
            results.times[place] = times
        elif record["status"] in ("wrong", "failed"):
            results.problems[place] = f"{record['status']}: {record.get('message', '')}"


def _typed(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value} is no {kind}")
    return value


@dataclass(frozen=True)
class Compared:
    """An epilogue's launches of a call that are fused, and those that are not: microseconds at each size.

    A list is empty where a kernel has no time.
    """

    key: str
    name: str
    fused: Sequence[float]
    alone: Sequence[float]

    @property
    def is_alone(self) -> bool:
        """Whether kernels of its own are faster, by as much as a configuration has to be."""
        if not self.fused or not self.alone:
            return False
        at_example = self.alone[0] <= _AT_EXAMPLE * self.fused[0]
        return at_example and _ratio(self.alone, self.fused) <= 1 / _GAIN


def compared(description: dict[str, Any], results: Results) -> list[Compared]:
    """The bundle's comparisons, each kernel with its best candidate."""
    best = {}
    for kernel in description["kernels"]:
        measured = _measured(kernel, results)
        if measured:
            best[kernel["key"]] = measured[_best(measured)]

    def total(launches: dict[str, int]) -> list[float]:
        if any(key not in best for key in launches):
            return []
        sizes = max((len(best[key]) for key in launches), default=0)
        # A kernel whose arguments are the same at all sizes has one time.
        return [
            sum(n * best[key][min(size, len(best[key]) - 1)] for key, n in launches.items()) for size in range(sizes)
        ]

    return [
        Compared(epilogue["key"], epilogue["name"], total(epilogue["fused"]), total(epilogue["alone"]))
        for epilogue in description["epilogues"]
    ]


def _launches(description: dict[str, Any], alone: Iterable[str]) -> Counter[str]:
    """How often a call launches each kernel when the epilogues with these keys are not fused."""
    launches = Counter({kernel["key"]: kernel["launches"] for kernel in description["kernels"]})
    keys = set(alone)
    for epilogue in description["epilogues"]:
        if epilogue["key"] in keys:
            launches.subtract(epilogue["fused"])
            launches.update(epilogue["alone"])
    return launches


def entries(description: dict[str, Any], results: Results) -> list[Entry]:
    """A line for each kernel of the model that has a time for the heuristics' choice or for another that is right.

    An epilogue has one if kernels of its own are faster; the model's kernels are then these.
    """
    found = []
    alone = [epilogue for epilogue in compared(description, results) if epilogue.is_alone]
    launches = _launches(description, [epilogue.key for epilogue in alone])
    for epilogue in alone:
        found.append(
            Entry(
                description["architecture"],
                epilogue.key,
                results.device,
                {EPILOGUE_FUSION: False},
                epilogue.alone[0],
                epilogue.fused[0],
                description["versions"],
                epilogue.name,
            )
        )
    for kernel in description["kernels"]:
        measured = _measured(kernel, results)
        if not measured or launches[kernel["key"]] <= 0:
            continue
        best = _best(measured)
        found.append(
            Entry(
                description["architecture"],
                kernel["key"],
                results.device,
                kernel["candidates"][best]["config"],
                measured[best][0],
                measured[0][0] if 0 in measured else None,
                description["versions"],
                kernel["name"],
            )
        )
    return found


def _measured(kernel: dict[str, Any], results: Results) -> dict[int, list[float]]:
    """Times of a kernel's candidates by their numbers."""
    numbers = range(len(kernel["candidates"]))
    return {n: results.times[kernel["key"], n] for n in numbers if (kernel["key"], n) in results.times}


def _best(measured: dict[int, list[float]]) -> int:
    """The candidate that a build is to use."""
    reference = measured.get(0, min(measured.values()))
    # What is better at other sizes must not be much worse at the example's, which the model is made for.
    eligible = [number for number, times in measured.items() if times[0] <= _AT_EXAMPLE * reference[0]] or [0]
    best = min(eligible, key=lambda number: (_ratio(measured[number], reference), number))
    return 0 if 0 in measured and _ratio(measured[best], reference) > 1 / _GAIN else best


def at_each_size(description: dict[str, Any], results: Results) -> list[float]:
    """What a choice for each size would take relative to the one choice, over all kernels that have several sizes.

    Candidates that were given up, because they are far slower at one of the sizes, do not count.
    """
    chosen: dict[int, float] = {}
    fastest: dict[int, float] = {}
    for kernel in description["kernels"]:
        measured = _measured(kernel, results)
        if not measured or len(kernel["cases"]) == 1 or not kernel["launches"]:
            continue
        for size, time in enumerate(measured[_best(measured)]):
            chosen[size] = chosen.get(size, 0.0) + time
            fastest[size] = fastest.get(size, 0.0) + min(times[size] for times in measured.values())
    return [fastest[size] / chosen[size] for size in chosen]


def _ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """Time relative to another's, as the mean over the sizes that were looked at."""
    return sum(one / other for one, other in zip(times, reference)) / len(reference)


def merge(path: Path, bundle: Path, files: Sequence[Path]) -> list[str]:
    """Puts a bundle's results into the database at ``path``, which need not exist.

    Args:
        files: files of results; empty for those that lie in the bundle.

    Returns:
        Lines that say what was found.
    """
    description = read_description(bundle)
    files = files or sorted(bundle.glob("results*.jsonl"))
    if not files:
        raise AotbuildError(f"{bundle} holds no results; run aotbuild-tune over it first")
    measured: list[Entry] = []
    refuted: list[tuple[str, str, str]] = []
    lines = []
    names = {kernel["key"]: kernel for kernel in description["kernels"]}
    for results in _by_device(read_results(file, description["id"]) for file in files):
        measured += entries(description, results)
        epilogues = compared(description, results)
        refuted += [
            (description["architecture"], epilogue.key, results.device)
            for epilogue in epilogues
            if epilogue.fused and epilogue.alone and not epilogue.is_alone
        ]
        lines += _comparisons(epilogues)
        parts = at_each_size(description, results)
        if parts:
            shown = ", ".join(f"{part:.2f}" for part in parts)
            lines.append(
                f"a configuration for each of the {len(parts)} sizes would take {shown} of the time of one for all"
            )
        for (key, number), problem in results.problems.items():
            kernel = names[key]
            lines.append(f"{kernel['name']} with {json.dumps(kernel['candidates'][number]['config'])} {problem}")
    before = database.read(path) if path.is_file() else Database(())
    lines += [f"{path.name}:{problem.number}: {problem.reason}; the line is dropped" for problem in before.problems]
    text = database.text_of(database.merged(before, measured, refuted).entries)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:  # what depends on it is made again otherwise
        path.write_text(text, encoding="utf-8")
    in_use = _launches(description, [entry.key for entry in measured])
    return [*lines, *_summary(measured, sum(count > 0 for count in in_use.values()), path)]


def _by_device(files: Iterable[Results]) -> list[Results]:
    """The results of all shards that ran on devices of one kind together."""
    found: dict[str, Results] = {}
    for file in files:
        results = found.setdefault(file.device, Results(file.device))
        results.times.update(file.times)
        results.problems.update(file.problems)
    return list(found.values())


def _comparisons(epilogues: Sequence[Compared]) -> list[str]:
    """A line for each epilogue: what its launches take fused and in kernels of their own."""
    if not epilogues:
        return []
    known = [epilogue for epilogue in epilogues if epilogue.fused and epilogue.alone]
    lines = [f"{'fused':>10}  {'alone':>10}  epilogue"]
    for epilogue in sorted(known, key=lambda epilogue: -epilogue.fused[0]):
        chosen = ", in kernels of its own" if epilogue.is_alone else ""
        lines.append(f"{epilogue.fused[0]:10.2f}  {epilogue.alone[0]:10.2f}  {epilogue.name}{chosen}")
    lines += [f"{epilogue.name}: not compared" for epilogue in epilogues if epilogue not in known]
    faster = sum(epilogue.is_alone for epilogue in known)
    lines.append(f"{faster} of {len(known)} epilogues that were compared are faster in kernels of their own")
    return lines


def _summary(measured: Iterable[Entry], kernels: int, path: Path) -> list[str]:
    measured = [entry for entry in measured if EPILOGUE_FUSION not in entry.config]
    measured.sort(key=lambda entry: -(entry.heuristics or entry.time))
    lines = [f"{'tuned':>10}  {'heuristics':>10}  kernel"]
    for entry in measured:
        before = f"{entry.heuristics:10.2f}" if entry.heuristics is not None else f"{'fails':>10}"
        lines.append(f"{entry.time:10.2f}  {before}  {entry.kernel}")
    known = [entry for entry in measured if entry.heuristics is not None]
    total, before_total = sum(entry.time for entry in known), sum(entry.heuristics or 0 for entry in known)
    lines.append(f"{total:10.2f}  {before_total:10.2f}  us, each kernel once")
    lines.append(f"{path}: {len(measured)} of {kernels} kernels")
    return lines
