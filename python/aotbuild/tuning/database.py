"""The tuning database: a text file with a line for each kernel that was tuned, kept beside the model's file."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The setting of a line that is for an epilogue.
EPILOGUE_FUSION = "epilogue_fusion"

_HEADER = "# aotbuild tuning database, a sorted line a kernel: see docs/tuning.md of aotbuild. Any line may go."
_KEY = re.compile(r"(sm_\d+|compute_\d+) ([0-9a-f]{16})", re.ASCII)
_TIME = r"(\d{1,15}(?:\.\d+)?) us"
_TIMES = re.compile(rf"{_TIME}, heuristics (?:{_TIME}|fails)", re.ASCII)
_SETTING = re.compile(r"([A-Za-z_]\w*)=(\S+)")


@dataclass(frozen=True)
class Entry:
    """One line: the fastest configuration that was measured for a kernel, or an epilogue, on a device.

    ``key``: of ``keys.kernel_key``. Times in microseconds; ``heuristics``: of the choice without tuning,
    None if that does not run.
    ``kernel``: the name that it had, for those who read the file.
    """

    architecture: str
    key: str
    device: str
    config: Mapping[str, Any]
    time: float
    heuristics: float | None
    versions: str
    kernel: str

    def line(self) -> str:
        config = " ".join(f"{name}={_written(value)}" for name, value in sorted(self.config.items()))
        heuristics = "fails" if self.heuristics is None else f"{self.heuristics:.2f} us"
        times = f"{self.time:.2f} us, heuristics {heuristics}"
        return " | ".join([f"{self.architecture} {self.key}", self.device, config, times, self.versions, self.kernel])


@dataclass(frozen=True)
class Problem:
    """A line that says nothing: its number, from 1, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Database:
    """What a file says; lines that cannot be read are skipped and reported."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()

    def find(self, architecture: str, key: str) -> Entry | None:
        """The entry for a kernel. Of several devices of the architecture, that with the most lines counts."""
        found = [entry for entry in self.entries if (entry.architecture, entry.key) == (architecture, key)]
        if not found:
            return None
        lines = collections.Counter(entry.device for entry in self.entries if entry.architecture == architecture)
        return min(found, key=lambda entry: (-lines[entry.device], entry.device))


def read(path: Path) -> Database:
    return parse(path.read_text(encoding="utf-8", errors="replace"))


def parse(text: str) -> Database:
    entries: dict[tuple[str, str, str], Entry] = {}
    problems = []
    numbers: dict[tuple[str, str, str], int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = _parse_line(line)
        if isinstance(entry, str):
            problems.append(Problem(number, entry))
            continue
        place = (entry.architecture, entry.key, entry.device)
        if place in entries:
            problems.append(Problem(number, f"the same kernel and device as line {numbers[place]}, the faster counts"))
            if entry.time >= entries[place].time:
                continue
        entries[place] = entry
        numbers[place] = number
    return Database(tuple(entries.values()), tuple(problems))


def text_of(entries: Iterable[Entry]) -> str:
    """The file: sorted, so that files of two branches merge line by line."""
    return "\n".join([_HEADER, *sorted(entry.line() for entry in entries)]) + "\n"


def merged(database: Database, measured: Iterable[Entry], refuted: Iterable[tuple[str, str, str]] = ()) -> Database:
    """The database with new measurements in the place of old ones of the same kernel and device.

    Args:
        refuted: architecture, key and device of lines to drop.
    """
    entries = {(entry.architecture, entry.key, entry.device): entry for entry in database.entries}
    for place in refuted:
        entries.pop(place, None)
    entries.update({(entry.architecture, entry.key, entry.device): entry for entry in measured})
    return Database(tuple(entries.values()))


def _parse_line(line: str) -> Entry | str:
    """The entry, or what is wrong with the line."""
    fields = [field.strip() for field in line.split(" | ")]
    if len(fields) != 6 or any("|" in field for field in fields):
        return "has to be six fields with | between them" if "<<<" not in line and ">>>" not in line else "a conflict"
    place, device, settings, times, versions, kernel = fields
    key = _KEY.fullmatch(place)
    if key is None:
        return f"'{place}' is not an architecture and 16 hexadecimal digits"
    config = {}
    for setting in settings.split():
        found = _SETTING.fullmatch(setting)
        if found is None:
            return f"'{setting}' is not a setting NAME=VALUE"
        config[found[1]] = _value(found[2])
    numbers = _TIMES.fullmatch(times)
    if numbers is None:
        return f"'{times}' is not of the form '1.23 us, heuristics 4.56 us'"
    heuristics = None if numbers[2] is None else float(numbers[2])
    return Entry(key[1], key[2], device, config, float(numbers[1]), heuristics, versions, kernel)


def _written(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).replace(" ", "\\u0020")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
