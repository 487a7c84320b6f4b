"""A roofline as a chart, in numbers that a template draws: operations a byte and a second, both logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aotbuild.commands.report.amounts import amount

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 48


@dataclass(frozen=True)
class Point:
    """A kernel: operations a byte, operations a second, its part of the time, its class of style, what it is."""

    intensity: float
    rate: float
    share: float
    style: str
    label: str


@dataclass(frozen=True)
class Roof:
    """What a machine can do: bytes a second up to so many operations a second, and what the line says at its ends."""

    bandwidth: float
    rate: float
    start: str = ""
    end: str = ""


@dataclass(frozen=True)
class _Circle:
    """A point's place in the chart; the area of its circle is its share of the time."""

    x: float
    y: float
    radius: float
    style: str
    label: str


@dataclass(frozen=True)
class _Label:
    x: float
    y: float
    anchor: str
    text: str


@dataclass(frozen=True)
class _Line:
    points: str
    labels: Sequence[_Label]


@dataclass(frozen=True)
class _Tick:
    position: float
    label: str


@dataclass(frozen=True)
class Chart:
    points: Sequence[_Circle]
    roofs: Sequence[_Line]
    x_ticks: Sequence[_Tick]
    y_ticks: Sequence[_Tick]
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = _HEIGHT - _BOTTOM


def chart(points: Sequence[Point], roofs: Sequence[Roof]) -> Chart | None:
    """None where no kernel has both operations and a time."""
    if not points:
        return None
    low_x = math.floor(math.log10(min(point.intensity for point in points)))
    high_x = max(3, math.ceil(math.log10(max(point.intensity for point in points))))
    low_y = math.floor(math.log10(min(point.rate for point in points)))
    high_y = math.ceil(math.log10(max(*(roof.rate for roof in roofs), *(point.rate for point in points))))

    def at(intensity: float, rate: float) -> tuple[float, float]:
        across = (math.log10(intensity) - low_x) / (high_x - low_x)
        up = (math.log10(rate) - low_y) / (high_y - low_y)
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    def lines() -> Iterator[_Line]:
        for roof in roofs:
            start, end = max(10.0**low_x, 10.0**low_y / roof.bandwidth), 10.0**high_x
            ridge = [x for x in (roof.rate / roof.bandwidth,) if start < x < end]
            corners = [at(x, min(x * roof.bandwidth, roof.rate)) for x in (start, *ridge, end)]
            (x, y), (last_x, last_y) = corners[0], corners[-1]
            beside = min(y + 4, _HEIGHT - _BOTTOM - 6)  # not on the axis
            labels = (_Label(x + 10, beside, "start", roof.start), _Label(last_x, last_y - 5, "end", roof.end))
            yield _Line(" ".join(f"{x},{y}" for x, y in corners), [label for label in labels if label.text])

    circles = [
        _Circle(*at(one.intensity, one.rate), round(4 + 20 * math.sqrt(one.share), 1), one.style, one.label)
        for one in points
    ]
    return Chart(
        circles,
        list(lines()),
        [_Tick(at(10.0**power, 10.0**low_y)[0], f"{10.0**power:g}") for power in range(low_x, high_x + 1)],
        [_Tick(at(10.0**low_x, 10.0**power)[1], amount(10.0**power)) for power in range(low_y, high_y + 1)],
    )
