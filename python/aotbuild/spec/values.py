"""Values that are written as text, in PARAMS, OPTIONS, CONFIG, and SIGNATURE, CONFIGS and EXAMPLES of kernels.

`true`, `on`, `false`, `off` and `none` in upper or lower case; whole numbers and numbers as Python writes them, `inf`
and `nan`; lists `[1, 2]`, tuples `(1, 2)` and dictionaries `{a: 1}` of such values; everything else is a string. A
string that reads as another value stands in quotation marks, as in `'true'`.
"""

from __future__ import annotations

import ast
import re
from typing import Any

_WORDS = {"true": True, "on": True, "false": False, "off": False, "none": None}
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9_]*|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+)")
_FLOAT = re.compile(r"[+-]?((\d+\.\d*|\.\d+)([eE][+-]?\d+)?|\d+[eE][+-]?\d+|inf|infinity|nan)", re.IGNORECASE)
_CLOSING = {"[": "]", "(": ")", "{": "}"}


def parse(text: str) -> Any:
    """The value that a text stands for; a text that stands for no other is itself."""
    stripped = text.strip()
    word = stripped.lower()
    if word in _WORDS:
        return _WORDS[word]
    if _INTEGER.fullmatch(stripped):
        return _integer(stripped, text)
    if _FLOAT.fullmatch(stripped):
        return float(stripped)
    if stripped[:1] in ("'", '"'):
        return _quoted(stripped, text)
    if stripped[:1] in _CLOSING and stripped[-1:] == _CLOSING[stripped[0]]:
        return _container(stripped, text)
    return text


def _integer(stripped: str, text: str) -> Any:
    try:
        return int(stripped, 0)
    except ValueError:  # an underscore at the end
        return text


def _quoted(stripped: str, text: str) -> Any:
    try:
        value = ast.literal_eval(stripped)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, str) else text


def _container(stripped: str, text: str) -> Any:
    parts = _split(stripped[1:-1], ",")
    if parts is None:
        return text
    if stripped[0] == "[":
        return [parse(part.strip()) for part in parts]
    if stripped[0] == "(":
        is_tuple = len(parts) != 1 or stripped[1:-1].rstrip().endswith(",")
        return tuple(parse(part.strip()) for part in parts) if is_tuple else text
    pairs = [_split(part, ":") for part in parts]
    if not all(pair is not None and len(pair) == 2 for pair in pairs):
        return text
    try:
        return {parse(pair[0].strip()): parse(pair[1].strip()) for pair in pairs if pair is not None}
    except TypeError:  # a list as a key
        return text


def _split(text: str, separator: str) -> list[str] | None:
    """The parts between separators that stand in no brackets or quotation marks; None where those do not close.

    A separator may follow the last part.
    """
    parts = [""]
    open_brackets: list[str] = []
    quote = ""
    escaped = False
    for character in text:
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and not escaped
        elif character in "'\"":
            quote = character
        elif character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif character in _CLOSING.values():
            if not open_brackets or open_brackets.pop() != character:
                return None
        elif character == separator and not open_brackets:
            parts.append("")
            continue
        parts[-1] += character
    if quote or open_brackets:
        return None
    if not parts[-1].strip():
        parts.pop()
    return parts if all(part.strip() for part in parts) else None
