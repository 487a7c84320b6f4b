"""The report of a CPU model, for a terminal and as one HTML page that refers to nothing outside itself."""

from __future__ import annotations

from collections.abc import Sequence

from aotbuild.commands.report import roofline
from aotbuild.commands.report.amounts import amount, percent
from aotbuild.commands.report.cpu_data import CpuReport, CpuRow
from aotbuild.commands.report.page import ENVIRONMENT

_MOST_NAMES = 3
_HEADINGS = ("us", "share", "calls", "bytes", "FLOP", "bytes/s", "FLOP/s", "roofline", "limit")
_LIMITS = {"arithmetic": "first", "memory": "second", "cache": "third"}


def as_text(report: CpuReport) -> str:
    """The table, a line for each kernel, and below it the operators that are fused into it, by the model's lines."""
    table = [_HEADINGS, *(cells(report, row) for row in report.rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADINGS))]
    lines = [heading(report), ""]
    for number, texts in enumerate(table):
        aligned = [text.rjust(width) for text, width in zip(texts, widths)]
        row = report.rows[number - 1] if number else None
        lines.append("  ".join([*aligned, "what" if row is None else f"{row.function}{_of(row)}"]))
        lines += [f"    {_fused(line, operators)}" for line, operators in (row.fused if row else ())]
    return "\n".join([*lines, "", *summary(report)]) + "\n"


def heading(report: CpuReport) -> str:
    threads = "1 thread" if report.threads == 1 else f"{report.threads} threads"
    return f"{report.model}, {report.isa}, {threads}; processor time of the calling thread, the least of its calls"


def cells(report: CpuReport, row: CpuRow) -> Sequence[str]:
    part, limit = row.of_roofline(report.machine)
    return (
        f"{row.microseconds:.1f}",
        percent(row.microseconds / report.clocked),
        str(row.calls),
        amount(row.nbytes),
        amount(row.flops),
        amount(row.bandwidth),
        amount(row.rate),
        percent(part),
        limit,
    )


def summary(report: CpuReport) -> Sequence[str]:
    machine = report.machine
    return [
        f"{report.total:.1f} us in {sum(row.calls for row in report.rows)} kernels and layers",
        f"{report.rest:.1f} us besides: checks, memory, the clocks",
        f"{report.call:.1f} us is a call without clocks; kernels and layers are {report.total / report.call:.3f} of it",
        f"roofline, as {'stated' if report.stated else 'measured here'}: {amount(machine.memory)}B/s from memory, "
        f"{amount(machine.cache)}B/s from the cache, {amount(machine.flops)}FLOP/s in float32",
    ]


def _of(row: CpuRow) -> str:
    return f" of {', '.join(names(row))}" if row.weights else ""


def _fused(line: str, operators: Sequence[str]) -> str:
    return " at ".join(filter(None, (", ".join(operators), line)))


def names(row: CpuRow) -> list[str]:
    """The names of weights, the first of them where there are many."""
    more = len(row.weights) - _MOST_NAMES
    return [*row.weights[:_MOST_NAMES], *([f"{more} others"] if more > 0 else [])]


def as_html(report: CpuReport) -> str:
    most = max((row.microseconds for row in report.rows), default=1.0)
    return ENVIRONMENT.get_template("cpu_report.html.j2").render(
        heading=heading(report),
        summary=summary(report),
        chart=_chart(report),
        headings=_HEADINGS,
        rows=[
            {
                "function": row.function,
                "weights": names(row),
                "fused": row.fused,
                "calls": row.calls,
                "cells": dict(zip(_HEADINGS, cells(report, row))),
                "style": _LIMITS[row.of_roofline(report.machine)[1]],
                "percent": f"{100 * row.microseconds / most:.2f}",
            }
            for row in report.rows
        ],
    )


def _chart(report: CpuReport) -> roofline.Chart | None:
    machine = report.machine
    points = [
        roofline.Point(
            row.intensity,
            row.rate,
            row.microseconds / report.clocked,
            _LIMITS[row.of_roofline(machine)[1]],
            f"{row.function}{_of(row)}: {percent(row.microseconds / report.clocked)} of the time, "
            f"{amount(row.rate)}FLOP/s, {row.intensity:.3g} FLOP/byte, "
            "{} of the roofline, limit: {}".format(*_roofline(report, row)),
        )
        for row in report.rows
        if row.intensity is not None and row.microseconds
    ]
    roofs = [
        roofline.Roof(machine.cache, machine.flops, f"{amount(machine.cache)}B/s from the cache"),
        roofline.Roof(
            machine.memory,
            machine.flops,
            f"{amount(machine.memory)}B/s from memory",
            f"{amount(machine.flops)}FLOP/s in float32",
        ),
    ]
    return roofline.chart(points, roofs)


def _roofline(report: CpuReport, row: CpuRow) -> tuple[str, str]:
    part, limit = row.of_roofline(report.machine)
    return percent(part), limit
