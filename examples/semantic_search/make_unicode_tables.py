"""Writes unicode_tables.inc: what BERT's text normalisation needs of the Unicode Character Database.

Run it again only to move to the database of a newer Python: python make_unicode_tables.py
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

_WIDTH = 118
_LAST = 0xFFFF  # of the Basic Multilingual Plane
_HANGUL = range(0xAC00, 0xD7A4)  # decomposed by rule
_SURROGATES = range(0xD800, 0xE000)


def _fold(char: str) -> str:
    """Canonical decomposition without its marks, then lower case: "É" gives "e"."""
    decomposed = unicodedata.normalize("NFD", char)
    return "".join(part.lower() for part in decomposed if unicodedata.category(part) != "Mn")


def _ranges(belongs: Callable[[str], bool]) -> list[str]:
    result: list[list[int]] = []
    for code in range(0x80, _LAST + 1):
        if code in _SURROGATES or not belongs(chr(code)):
            continue
        if result and result[-1][1] == code - 1:
            result[-1][1] = code
        else:
            result.append([code, code])
    return [f"{{0x{first:04X}, 0x{last:04X}}}" for first, last in result]


def _folds() -> list[str]:
    result = []
    for code in range(0x80, _LAST + 1):
        char = chr(code)
        if code in _SURROGATES or code in _HANGUL or unicodedata.category(char) == "Mn":
            continue
        folded = _fold(char)
        if folded != char:
            text = "".join(f"\\x{ord(part):04X}" for part in folded)
            result.append(f'{{0x{code:04X}, U"{text}"}}')
    return result


def _table(declaration: str, comment: str, entries: list[str]) -> str:
    lines = ["    "]
    for entry in entries:
        if len(lines[-1]) + len(entry) > _WIDTH:
            lines[-1] = lines[-1].rstrip()
            lines.append("    ")
        lines[-1] += f"{entry}, "
    body = "\n".join(lines).rstrip()
    return f"// {comment}\nconstexpr {declaration}[] = {{\n{body}\n}};\n"


def main() -> None:
    tables = [
        f"// Made by make_unicode_tables.py from Unicode {unicodedata.unidata_version}. Sorted; above ASCII.",
        "// clang-format off",
        _table(
            "Fold kFolds", "What a character becomes without marks and in lower case, where that is another.", _folds()
        ),
        _table(
            "Range kMarks", "Nonspacing marks (Mn): left out.", _ranges(lambda char: unicodedata.category(char) == "Mn")
        ),
        _table(
            "Range kControls",
            "Control, format and private-use characters (Cc, Cf, Co): left out.",
            _ranges(lambda char: unicodedata.category(char) in ("Cc", "Cf", "Co")),
        ),
        _table(
            "Range kSpaces",
            "White space: between words.",
            _ranges(lambda char: char.isspace() and unicodedata.category(char) != "Cc"),
        ),
        _table(
            "Range kPunctuation",
            "Punctuation (P*): a word of its own.",
            _ranges(lambda char: unicodedata.category(char).startswith("P")),
        ),
        "// clang-format on\n",
    ]
    (Path(__file__).parent / "unicode_tables.inc").write_text("\n".join(tables), encoding="ascii")


if __name__ == "__main__":
    main()
