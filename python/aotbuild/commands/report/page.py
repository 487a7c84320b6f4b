"""A report as one HTML page that refers to nothing outside itself, with the roofline drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2

from aotbuild.commands.report import roofline, text
from aotbuild.commands.report.amounts import amount, percent
from aotbuild.commands.report.data import Report, Row
from aotbuild.commands.report.peaks import Peak

ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("aotbuild.commands.report", "templates"),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def as_html(reports: Sequence[Report]) -> str:
    sections = [
        {
            "report": report,
            "summary": text.summary(report),
            "rows": [_row(report, row) for row in report.rows],
            "chart": None if report.peak is None else _chart(report, report.peak),
        }
        for report in reports
    ]
    return ENVIRONMENT.get_template("report.html.j2").render(target=reports[0].target, sections=sections)


def _row(report: Report, row: Row) -> dict[str, object]:
    return {
        "kernel": row.kernel,
        "cells": text.cells(report, row),
        "detail": f"{text.config(row)}; {row.threads} threads{text.candidates(row)}",
        "lines": row.lines,
        "bar": f"{100 * (report.share(row) or 0.0):.2f}",
    }


def _chart(report: Report, peak: Peak) -> roofline.Chart | None:
    shown = [(row, row.intensity, row.rate) for row in report.rows]
    points = [
        roofline.Point(
            x,
            y,
            report.share(row) or 0.0,
            "first" if row.tensor_cores else "second",
            f"{row.kernel}: {percent(report.share(row))} of the time, {amount(y)}FLOP/s, {x:.3g} FLOP/byte, "
            f"{percent(row.of_roofline(peak))} of the roofline",
        )
        for row, x, y in shown
        if x is not None and y is not None
    ]
    roofs = [
        roofline.Roof(peak.bandwidth, rate, end=f"{amount(rate)}FLOP/s {name}")
        for name, rate in (("tensor cores", peak.tensor_cores), ("float32", peak.float32))
    ]
    return roofline.chart(points, roofs)
