"""The report of a CPU model, for a terminal and as one HTML page that refers to nothing outside itself."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2

from aotbuild.commands.report.cpu import CpuReport, CpuRow

_MOST_NAMES = 3

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("aotbuild.commands.report", "templates"),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def as_text(report: CpuReport) -> str:
    lines = [heading(report), "", f"{'us':>12}  {'share':>6}  {'calls':>5}  what"]
    for row in report.rows:
        lines.append(f"{row.microseconds:12.1f}  {share(report, row):>6}  {row.calls:5}  {row.function}{_of(row)}")
        lines += [f"{'':29}{line}" for line in row.lines]
    return "\n".join([*lines, "", *summary(report)]) + "\n"


def heading(report: CpuReport) -> str:
    threads = "1 thread" if report.threads == 1 else f"{report.threads} threads"
    return f"{report.model}, {report.isa}, {threads}; processor time of the calling thread, the least of its calls"


def share(report: CpuReport, row: CpuRow) -> str:
    return f"{100 * row.microseconds / report.clocked:.1f}%"


def summary(report: CpuReport) -> Sequence[str]:
    return [
        f"{report.total:.1f} us in {sum(row.calls for row in report.rows)} kernels and layers",
        f"{report.rest:.1f} us besides: checks, memory, the clocks",
        f"{report.call:.1f} us is a call without clocks; kernels and layers are {report.total / report.call:.3f} of it",
    ]


def _of(row: CpuRow) -> str:
    return f" of {', '.join(names(row))}" if row.weights else ""


def names(row: CpuRow) -> list[str]:
    """The names of weights, the first of them where there are many."""
    more = len(row.weights) - _MOST_NAMES
    return [*row.weights[:_MOST_NAMES], *([f"{more} others"] if more > 0 else [])]


def as_html(report: CpuReport) -> str:
    most = max((row.microseconds for row in report.rows), default=1.0)
    return _ENVIRONMENT.get_template("cpu_report.html.j2").render(
        heading=heading(report),
        summary=summary(report),
        rows=[
            {
                "function": row.function,
                "weights": names(row),
                "lines": row.lines,
                "calls": row.calls,
                "microseconds": f"{row.microseconds:,.1f}",
                "share": share(report, row),
                "percent": f"{100 * row.microseconds / most:.2f}",
            }
            for row in report.rows
        ],
    )
