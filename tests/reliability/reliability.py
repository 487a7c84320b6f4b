"""``make reliability``: every trial, or what is missing of it, and the page that says what came of it.

Usage: ``reliability.py [--only NAME ...] [--scale S] [--again] [--page] [--jobs N] [--programs FOLDER]``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

import builds
import fuzzing
import machines
import processes
from trial import ROOT, Outcome, Trial, load, perform, save

PAGE = ROOT / "docs" / "reliability.md"
_HEAD = """\
# Reliability

What was done to break aotbuild, how often, and what came of it. `make reliability` writes this page; it takes hours,
goes on where it was when it is started again, and installs what it needs. A part of it runs in `make test`: the fuzz
targets over their corpora, failures on purpose, hardening.

Every figure is a count of the run at the commit and on the date beside it. No trial has a report that is not mended:
what was found is in the [changelog](../CHANGELOG.md) and has a test
or a trial here.

"""


def trials() -> list[Trial]:
    return [*fuzzing.trials(), *processes.trials(), *builds.trials(), *machines.trials()]


def page(outcomes: Iterable[tuple[Trial, Outcome]]) -> str:
    sections: dict[str, list[str]] = {}
    for trial, outcome in outcomes:
        counts = ", ".join(f"{name} {count:,}" for name, count in outcome.counts.items())
        when = f"{outcome.date}, {outcome.commit}" if outcome.date else "not run"
        if outcome.date and not outcome.is_done:
            when += ", not to its end"
        lines = sections.setdefault(trial.section, ["| trial | what | counts | when |", "|---|---|---|---|"])
        lines.append(f"| `{trial.name}` | {trial.text} | {counts} | {when} |")
    return _HEAD + "\n".join(f"## {title}\n\n" + "\n".join(lines) + "\n" for title, lines in sections.items())


_ALL = trials()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="trials; a name without what is after : is all of it")
    parser.add_argument("--scale", type=float, default=1.0, help="part of each trial's counts (1)")
    parser.add_argument("--again", action="store_true", help="forget what earlier runs have done")
    parser.add_argument("--jobs", type=int, default=1, help="runs of a fuzz target at a time (1)")
    parser.add_argument("--programs", metavar="FOLDER", help="fuzz targets and programs that were built elsewhere")
    parser.add_argument("--page", action="store_true", help="write the page and run nothing")
    args = parser.parse_args()
    os.environ["AOTBUILD_RELIABILITY_JOBS"] = str(args.jobs)
    if args.programs:
        os.environ["AOTBUILD_RELIABILITY_PROGRAMS"] = args.programs
    failed = 0
    chosen = [trial for trial in _ALL if not args.only or {trial.name, trial.name.partition(":")[0]} & set(args.only)]
    for trial in chosen if not args.page else []:
        if args.again:
            save(trial.name, None)
        print(f"{trial.name} ...", flush=True)
        outcome = perform(trial, args.scale)
        counts = ", ".join(f"{name} {count:,}" for name, count in outcome.counts.items())
        print(f"{trial.name}: {outcome.report or counts}", flush=True)
        failed += bool(outcome.report)
    if args.page or not (args.only or args.scale != 1):
        PAGE.write_text(page((trial, load(trial.name)) for trial in _ALL))
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
