"""What a trial is, and how its outcome is kept: a file for each, so that a run that ends goes on where it was."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "reliability"
HERE = Path(__file__).parent
RESULTS = ROOT / "benchmarks" / "results" / "reliability.json"


class ReportError(Exception):
    """A promise that did not hold: what the trial saw."""


@dataclass
class Outcome:
    """``counts``: what was tried, by name. ``is_done``: as much as was asked for. ``report``: a fault; empty: none."""

    counts: dict[str, int] = field(default_factory=dict)
    is_done: bool = False
    report: str = ""
    commit: str = ""
    date: str = ""

    def add(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + int(count)


@dataclass(frozen=True)
class Trial:
    """``run`` does what is missing of ``outcome``, calling ``keep`` after each part. ``scale``: 1 for all of it.

    ``section``: of the page.
    """

    name: str
    section: str
    text: str
    run: Callable[[Outcome, float, Callable[[], None]], None]
    is_possible: Callable[[], bool] = lambda: True  # on this machine


def programs() -> Path | None:
    """A folder with programs that were built elsewhere, for a machine without compilers: reliability.py --programs."""
    folder = os.environ.get("AOTBUILD_RELIABILITY_PROGRAMS")
    return Path(folder) if folder else None


def commit() -> str:
    """Of the sources; of programs that were built elsewhere, what their folder says."""
    folder = programs()
    if folder is not None:
        return (folder / "commit").read_text().strip()
    return command("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip()


def outcomes() -> dict[str, Any]:
    """What all runs have come to, by trial."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def load(name: str) -> Outcome:
    return Outcome(**outcomes().get(name, {}))


def save(name: str, outcome: Outcome | None) -> None:
    """None: forgets what there is. Several runs may keep theirs at the same time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = {**outcomes(), name: outcome and vars(outcome)}
        temporary = RESULTS.with_suffix(".tmp")
        temporary.write_text(json.dumps({name: kept[name] for name in sorted(kept) if kept[name]}, indent=2) + "\n")
        temporary.replace(RESULTS)


def perform(trial: Trial, scale: float) -> Outcome:
    """Runs a trial, or what is missing of it, and keeps what came of it."""
    outcome = load(trial.name)
    if (outcome.is_done and not outcome.report) or not trial.is_possible():
        return outcome
    outcome.report = ""
    outcome.commit = commit()
    outcome.date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    try:
        trial.run(outcome, scale, lambda: save(trial.name, outcome))
        outcome.is_done = True
    except ReportError as error:
        print(error, flush=True)
        outcome.report = str(error).splitlines()[0].replace(str(ROOT), "").strip()
    save(trial.name, outcome)
    return outcome


def command(*words: str | Path, cwd: Path | None = None, timeout: float | None = None, **environment: str) -> str:
    """What a command prints, both streams, that of errors first.

    Raises:
        ReportError: it failed; the end of what it said.
    """
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=cwd,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-4000:]
        raise ReportError(f"{' '.join(map(str, words))}: exit status {done.returncode}\n{said}")
    return done.stderr + done.stdout


def counts_of(text: str) -> dict[str, Any]:
    """The counts that a program of this folder prints."""
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def require(holds: bool, promise: str) -> None:
    if not holds:
        raise ReportError(promise)


def python() -> Path:
    return Path(sys.executable)
