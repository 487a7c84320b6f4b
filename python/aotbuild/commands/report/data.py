"""Gathers a report from a build's description of its kernels, the tuning database, measured times and a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotbuild.commands.report.peaks import Peak, peak_of
from aotbuild.spec.errors import AotbuildError
from aotbuild.tuning import database, merge
from aotbuild.tuning.bundle import read_description
from aotbuild.tuning.database import Database

_VERSION = 2


@dataclass(frozen=True)
class Row:
    """A kernel. Times in microseconds a launch; bytes and operations of all launches of a call.

    ``tuned``, ``heuristics``: what tuning measured for this configuration and for the choice without it.
    ``tried``: how many configurations were measured, ``slowest`` the worst time of them; from a bundle.
    """

    kernel: str
    lines: Sequence[str]
    config: Mapping[str, Any]
    from_database: bool
    launches: int
    time: float | None
    tuned: float | None
    heuristics: float | None
    nbytes: int
    flops: int
    tensor_cores: bool
    threads: int
    registers: int | None
    shared_bytes: int
    code_bytes: int
    tried: int | None
    slowest: float | None

    @property
    def total(self) -> float | None:
        """Microseconds of a call."""
        return None if self.time is None else self.time * self.launches

    @property
    def bandwidth(self) -> float | None:
        """Bytes a second."""
        return None if not self.total else self.nbytes / self.total * 1e6

    @property
    def rate(self) -> float | None:
        """Operations a second."""
        return None if not self.total else self.flops / self.total * 1e6

    @property
    def intensity(self) -> float | None:
        """Operations a byte."""
        return self.flops / self.nbytes if self.nbytes and self.flops else None

    @property
    def gain(self) -> float | None:
        """How many times as fast as the heuristics' choice it is."""
        return None if self.tuned is None or self.heuristics is None else self.heuristics / self.tuned

    def of_roofline(self, peak: Peak) -> float | None:
        """The part of what the device could reach at this intensity, or of its bandwidth."""
        if self.intensity is not None and self.rate is not None:
            return self.rate / peak.reachable(self.intensity, self.tensor_cores)
        return None if self.bandwidth is None else self.bandwidth / peak.bandwidth


@dataclass(frozen=True)
class Epilogue:
    """What follows templates that are alike, all launches of a call: in kernels of its own, or fused.

    ``time``, ``heuristics``: in kernels of its own, and fused, in microseconds; None where the database has no line.
    ``kernel``: that it would be fused into.
    """

    lines: Sequence[str]
    fused: bool
    kernel: str
    time: float | None
    heuristics: float | None


@dataclass(frozen=True)
class Report:
    """A model's kernels for one architecture, those that take the longest first.

    ``source``: what the times are from. ``device``: on which they were measured, "" where nothing says so.
    """

    target: str
    architecture: str
    source: str
    device: str
    rows: Sequence[Row]
    epilogues: Sequence[Epilogue]

    @property
    def peak(self) -> Peak | None:
        return peak_of(self.architecture)

    @property
    def total(self) -> float:
        """Microseconds of a call in the kernels whose time is known."""
        return sum(row.total or 0.0 for row in self.rows)

    def share(self, row: Row) -> float | None:
        return None if row.total is None else row.total / self.total

    @property
    def gain(self) -> float | None:
        """Of all kernels whose time with and without tuning is known, weighed by their time in a call."""
        known = [(row.total, row.gain) for row in self.rows if row.total is not None and row.gain is not None]
        return sum(total * gain for total, gain in known) / sum(total for total, _ in known) if known else None


def gather(
    folder: Path, tuning_database: Path | None = None, times: Path | None = None, bundle: Path | None = None
) -> list[Report]:
    """A report for each architecture of a model.

    Args:
        folder: the output folder of the generator, <target>.aotbuild.
        tuning_database: has the times of tuning.
        times: measured in the model, a JSON object with "kernel" and "microseconds" in each line; they count instead.
        bundle: with the results of `aotbuild tune run`, for how many configurations were tried.

    Raises:
        AotbuildError: a file is missing, or is not what it should be.
    """
    description = _description(folder)
    known = Database(()) if tuning_database is None else _database(tuning_database)
    measured = {} if times is None else _times(times)
    tried = {} if bundle is None else _tried(bundle)
    reports = []
    for architecture in dict.fromkeys(kernel["architecture"] for kernel in description["kernels"]):
        kernels = [kernel for kernel in description["kernels"] if kernel["architecture"] == architecture]
        rows = [_row(kernel, known, measured, tried) for kernel in kernels]
        rows.sort(key=lambda row: (-(row.total or 0.0), row.kernel))
        found = filter(None, (known.find(architecture, kernel["key"]) for kernel in kernels))
        devices = sorted({entry.device for entry in found})
        source = "measured in the model" if measured else "of the tuning database" if devices else "not known"
        epilogues = [
            _epilogue(epilogue, known)
            for epilogue in description["epilogues"]
            if epilogue["architecture"] == architecture
        ]
        reports.append(Report(description["target"], architecture, source, ", ".join(devices), rows, epilogues))
    return reports


def _description(folder: Path) -> dict[str, Any]:
    found = sorted(folder.glob("*.kernels.json"))
    if len(found) != 1:
        raise AotbuildError(
            f"{folder} holds no <target>.kernels.json; name the folder <target>.aotbuild of a CUDA build"
        )
    try:
        description = json.loads(found[0].read_text())
        version = description["kernels_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AotbuildError(f"{found[0]} cannot be read: {error}; build the model again") from None
    if version != _VERSION:
        raise AotbuildError(f"{found[0]} is of another version of aotbuild; build the model again")
    return dict(description)


def _database(path: Path) -> Database:
    try:
        return database.read(path)
    except OSError as error:
        raise AotbuildError(f"{path}: {error.strerror}") from None


def _times(path: Path) -> dict[str, float]:
    """Mean time of a launch by kernel."""
    launches: dict[str, list[float]] = {}
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise AotbuildError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            launches.setdefault(str(record["kernel"]), []).append(float(record["microseconds"]))
        except (ValueError, KeyError, TypeError):
            form = '{"kernel": "name", "microseconds": 1.5}'
            raise AotbuildError(f"{path}:{number} is not of the form {form}") from None
    return {kernel: sum(values) / len(values) for kernel, values in launches.items()}


def _tried(bundle: Path) -> dict[str, list[float]]:
    """Times of all configurations that were measured, at the example's sizes, by the kernel's key."""
    description = read_description(bundle)
    found: dict[str, dict[int, float]] = {}
    for path in sorted(bundle.glob("results*.jsonl")):
        for (key, number), values in merge.read_results(path, description["id"]).times.items():
            found.setdefault(key, {})[number] = values[0]
    return {key: list(values.values()) for key, values in found.items()}


def _row(
    kernel: Mapping[str, Any], known: Database, measured: Mapping[str, float], tried: Mapping[str, Sequence[float]]
) -> Row:
    entry = known.find(kernel["architecture"], kernel["key"])
    heuristics = None if entry is None else entry.heuristics
    tuned = None
    if entry is not None and all(kernel["config"].get(name) == value for name, value in entry.config.items()):
        tuned = entry.time
    # What is built without the database has the heuristics' choice.
    expected = tuned if tuned is not None or kernel["measured"] else heuristics
    values = tried.get(kernel["key"], ())
    return Row(
        kernel["kernel"],
        kernel["lines"],
        dict(sorted(kernel["config"].items())),
        kernel["measured"],
        kernel["launches"],
        measured.get(kernel["kernel"]) if measured else expected,
        tuned if kernel["measured"] else None,
        heuristics,
        kernel["nbytes"],
        kernel["flops"],
        kernel["tensor_cores"],
        kernel["threads"],
        kernel["registers"],
        kernel["shared_bytes"],
        kernel["code_bytes"],
        len(values) or None,
        max(values, default=None),
    )


def _epilogue(epilogue: Mapping[str, Any], known: Database) -> Epilogue:
    entry = known.find(epilogue["architecture"], epilogue["key"])
    kernel, time, heuristics = ("", None, None) if entry is None else (entry.kernel, entry.time, entry.heuristics)
    return Epilogue(epilogue["lines"], epilogue["fused"], kernel, time, heuristics)
