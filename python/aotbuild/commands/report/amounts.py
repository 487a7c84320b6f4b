"""Numbers of reports as text."""

from __future__ import annotations

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def amount(value: float | None) -> str:
    """Three digits with a decimal prefix."""
    if not value:
        return "-"
    for unit, name in _UNITS:
        if value >= unit:
            return f"{value / unit:.3g}{name}" if value < 999.5 * unit else f"{value / unit:.0f}{name}"
    return f"{value:.3g}"
