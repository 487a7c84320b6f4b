"""Values as statements of CMake that set variables: CMake runs them faster than it reads JSON."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def statements(variable: str, value: Any) -> Iterator[str]:
    """Sets ``variable``. Of a dictionary, it is the list of its keys, and ``<variable>_<key>`` has what is below each;
    a list of dictionaries is the same by numbers."""
    if isinstance(value, list) and any(isinstance(part, dict) for part in value):
        value = {str(number): part for number, part in enumerate(value)}
    if isinstance(value, dict):
        for key, part in value.items():
            yield from statements(f"{variable}_{key}", part)
        value = list(value)
    yield f"set({variable} {_bracketed(_text(value))})\n"


def _text(value: str | bool | list[str]) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return value if isinstance(value, str) else ";".join(part.replace(";", "\\;") for part in value)


def _bracketed(text: str) -> str:
    """An argument in which CMake takes every character as it stands; a line's end at its beginning is dropped."""
    level = "="
    while f"]{level}" in text:
        level += "="
    return f"[{level}[\n{text}]{level}]"
