"""A report as one HTML page that refers to nothing outside itself, with the roofline drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jinja2

from aotbuild.commands.report import text
from aotbuild.commands.report.data import Report, Row
from aotbuild.commands.report.peaks import Peak

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 48

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("aotbuild.commands.report", "templates"),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class _Point:
    """A kernel's place in the plot; the area of its circle is its share of the time."""

    x: float
    y: float
    radius: float
    tensor_cores: bool
    label: str


@dataclass(frozen=True)
class _Roof:
    """A line of the plot, and what is written at its end."""

    points: str
    x: float
    y: float
    label: str


@dataclass(frozen=True)
class _Tick:
    position: float
    label: str


@dataclass(frozen=True)
class _Plot:
    """The roofline with logarithmic axes: operations a byte, operations a second."""

    points: Sequence[_Point]
    roofs: Sequence[_Roof]
    x_ticks: Sequence[_Tick]
    y_ticks: Sequence[_Tick]
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = _HEIGHT - _BOTTOM


def as_html(reports: Sequence[Report]) -> str:
    sections = [
        {
            "report": report,
            "summary": text.summary(report),
            "rows": [_row(report, row) for row in report.rows],
            "plot": None if report.peak is None else _plot(report, report.peak),
        }
        for report in reports
    ]
    return _ENVIRONMENT.get_template("report.html.j2").render(target=reports[0].target, sections=sections)


def _row(report: Report, row: Row) -> dict[str, object]:
    return {
        "kernel": row.kernel,
        "cells": text.cells(report, row),
        "detail": f"{text.config(row)}; {row.threads} threads{text.candidates(row)}",
        "lines": row.lines,
        "bar": f"{100 * (report.share(row) or 0.0):.2f}",
    }


def _plot(report: Report, peak: Peak) -> _Plot | None:
    """None where no kernel has both operations and a time."""
    shown = [(row, row.intensity, row.rate) for row in report.rows]
    known = [(row, x, y) for row, x, y in shown if x is not None and y is not None]
    if not known:
        return None
    low_x = math.floor(math.log10(min(x for _, x, _ in known)))
    high_x = max(3, math.ceil(math.log10(max(x for _, x, _ in known))))
    low_y = math.floor(math.log10(min(y for _, _, y in known)))
    high_y = math.ceil(math.log10(peak.tensor_cores))

    def at(intensity: float, rate: float) -> tuple[float, float]:
        across = (math.log10(intensity) - low_x) / (high_x - low_x)
        up = (math.log10(rate) - low_y) / (high_y - low_y)
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    def roofs() -> Iterator[_Roof]:
        for name, rate, fast in (("tensor cores", peak.tensor_cores, True), ("float32", peak.float32, False)):
            start, end = max(10.0**low_x, 10.0**low_y / peak.bandwidth), 10.0**high_x
            ridge = [x for x in (rate / peak.bandwidth,) if start < x < end]
            corners = [at(x, peak.reachable(x, fast)) for x in (start, *ridge, end)]
            yield _Roof(" ".join(f"{x},{y}" for x, y in corners), *corners[-1], f"{text.amount(rate)}FLOP/s {name}")

    points = [
        _Point(
            *at(x, y),
            round(4 + 20 * math.sqrt(report.share(row) or 0.0), 1),
            row.tensor_cores,
            f"{row.kernel}: {text.percent(report.share(row))} of the time, {text.amount(y)}FLOP/s, "
            f"{x:.3g} FLOP/byte, {text.percent(row.of_roofline(peak))} of the roofline",
        )
        for row, x, y in known
    ]
    return _Plot(
        points,
        list(roofs()),
        [_Tick(at(10.0**power, 10.0**low_y)[0], f"{10.0**power:g}") for power in range(low_x, high_x + 1)],
        [_Tick(at(10.0**low_x, 10.0**power)[1], text.amount(10.0**power)) for power in range(low_y, high_y + 1)],
    )
