"""A report as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from aotbuild.commands.report.amounts import amount, percent
from aotbuild.commands.report.data import Report, Row

_HEADINGS = (
    "us", "calls", "share", "bytes", "FLOP", "bytes/s", "FLOP/s", "roofline", "regs", "shared", "code", "won", "from"
)  # fmt: skip


def as_text(report: Report) -> str:
    """The table, a line a kernel, and below each line the configuration and the model's lines."""
    lines = [f"{report.target}, {report.architecture}: times {report.source}" + _on(report.device)]
    table = [_HEADINGS, *(_cells(report, row) for row in report.rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADINGS))]
    below = " " * 4
    for number, cells in enumerate(table):
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths)]
        if number == 0:
            lines.append("  ".join([*aligned, "kernel"]))
            continue
        row = report.rows[number - 1]
        lines.append("  ".join([*aligned, row.kernel]))
        lines.append(f"{below}{config(row)}; {row.threads} threads{candidates(row)}")
        lines += [f"{below}{line}" for line in row.lines]
    lines += summary(report)
    return "\n".join(lines) + "\n"


def summary(report: Report) -> list[str]:
    """Totals, and what the roofline is drawn from."""
    launches = sum(row.launches for row in report.rows)
    known = sum(row.launches for row in report.rows if row.time is not None)
    lines = [f"{report.total:.2f} us in {known} of {launches} launches a call"]
    if not known:
        lines.append(
            f"for times: --tuning-database FILE, which the target {report.target}.tune writes on a machine with a GPU, "
            "or --times FILE.jsonl, whose lines are what a profiler measured, as in "
            '{"kernel": "name", "microseconds": 1.5}'
        )
    if report.gain is not None:
        lines.append(f"tuned: {report.gain:.2f} times as fast as the heuristics' choices")
    alone = [epilogue for epilogue in report.epilogues if not epilogue.fused]
    if report.epilogues:
        lines.append(f"epilogues: {len(report.epilogues) - len(alone)} fused, {len(alone)} in kernels of their own")
    for epilogue in alone:
        times = ""
        if epilogue.time is not None and epilogue.heuristics is not None:
            times = f": {epilogue.time:.2f} us a call, fused into {epilogue.kernel} {epilogue.heuristics:.2f} us"
        lines.append(f"in kernels of its own{times}: {', '.join(epilogue.lines)}")
    if report.peak is not None:
        peak = report.peak
        lines.append(
            f"roofline: {peak.device}, {amount(peak.bandwidth)}B/s, {amount(peak.float32)}FLOP/s in float32, "
            f"{amount(peak.tensor_cores)}FLOP/s on tensor cores ({peak.source})"
        )
    return lines


def config(row: Row) -> str:
    return " ".join(f"{name}={value}" for name, value in row.config.items()) or "no settings"


def candidates(row: Row) -> str:
    """How many configurations were tried, where a bundle says so."""
    return "" if row.tried is None else f"; {row.tried} configurations measured, the slowest {row.slowest:.2f} us"


def _cells(report: Report, row: Row) -> Sequence[str]:
    return [text for _, text in cells(report, row)]


def cells(report: Report, row: Row) -> list[tuple[str, str]]:
    """The columns of a kernel: heading and text."""
    reached = None if report.peak is None else row.of_roofline(report.peak)
    texts = (
        "-" if row.time is None else f"{row.time:.2f}",
        str(row.launches),
        percent(report.share(row)),
        amount(row.nbytes),
        amount(row.flops),
        amount(row.bandwidth),
        amount(row.rate),
        percent(reached),
        "-" if row.registers is None else str(row.registers),
        str(row.shared_bytes),
        str(row.code_bytes),
        "-" if row.gain is None else f"{row.gain:.2f}x",
        "database" if row.from_database else "heuristics",
    )
    return list(zip(_HEADINGS, texts))


def _on(device: str) -> str:
    return f", on {device}" if device else ""
