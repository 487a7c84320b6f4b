"""No passage of ten lines or more stands twice in the product: the same lines, or the same shape with other names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.quick

REPOSITORY = Path(__file__).parents[2]
PATTERNS = {"python/aotbuild": ("*.py",), "cpp": ("*.hpp", "*.h", "*.cpp"), "cmake": ("*.cmake", "*.py")}

LINES = 10
# What is looked for first. With less than this in common, two passages of ten lines differ.
TOKENS = 60
# A passage with fewer statements of different shapes is an argument list, a table, or a list of declarations.
STATEMENTS = 5

# Files in which passages stand twice, and why.
KNOWN = {
    "python/aotbuild/spec/files.py": "a table: a property for each name",
    "cpp/include/aotbuild/floats.hpp": "float16 and bfloat16 are read side by side in the public header",
    "cpp/src/kernels/quantized_kernels.cpp": "a function each instruction set: a target is no template parameter",
    "cpp/src/operators/selection/window.cpp": "AOTInductor's C shim gives these signatures",
}

KEYWORDS = re.findall(
    r"\w+",
    "and as assert break case catch class const constexpr continue def default del do elif else elseif endforeach "
    "endfunction endif endwhile except finally for foreach from function global if import in is lambda macro namespace "
    "new not or pass raise return static struct switch template throw try typename using virtual void while with yield",
)
# One character for each keyword; names and literals have one each, whatever they are, and a statement of Python begins
# with one.
CHARACTERS = {word: chr(0x100 + number) for number, word in enumerate(KEYWORDS)}
NAME, LITERAL, STATEMENT = "N", "L", "\n"
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[A-Za-z_]\w*|\d[\w.]*|[^\s\w]')
SKIPPED = re.compile(r"\s*(?:import |from .* import |#include|#define|#if|#endif|#pragma once|//|#)")


class File(NamedTuple):
    """The code of a file as one character a token, and the line of each."""

    name: str
    text: str
    lines: list[int]


class Passage(NamedTuple):
    """Where it stands twice, as file and line, and how many lines it has."""

    first: tuple[str, int]
    second: tuple[str, int]
    lines: int


def read(name: str, content: str) -> File:
    suffix = Path(name).suffix
    strings = set(string_lines(content)) if suffix == ".py" else set()
    opening, closing = ("([{", ")]}") if suffix != ".cpp" and suffix not in (".hpp", ".h") else ("(", ")")
    text: list[str] = []
    lines: list[int] = []
    depth = 0
    for number, line in enumerate(content.splitlines(), 1):
        if number in strings or SKIPPED.match(line):
            continue
        tokens = [character(token) for token in TOKEN.findall(line)]
        if tokens and depth == 0 and opening != "(":
            tokens.insert(0, STATEMENT)
        depth = max(0, depth + sum(token in opening for token in tokens) - sum(token in closing for token in tokens))
        text += tokens
        lines += [number] * len(tokens)
    return File(name, "".join(text), lines)


def character(token: str) -> str:
    if token[0].isalpha() or token[0] == "_":
        return CHARACTERS.get(token, NAME)
    return LITERAL if token[0] in "\"'0123456789" else token


def string_lines(content: str) -> Iterator[int]:
    """The lines of strings that are statements, such as docstrings, and of those that take several lines."""
    for node in ast.walk(ast.parse(content)):
        value = node.value if isinstance(node, ast.Expr) else node
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            first, last = value.lineno, value.end_lineno or value.lineno
            if last > first or isinstance(node, ast.Expr):
                yield from range(first, last + 1)


def repeated(files: Sequence[File]) -> Iterator[Passage]:
    """Passages that stand twice, each with the place where it stands first."""
    seen: dict[str, tuple[File, int]] = {}
    for file in files:
        position, end = 0, len(file.text) - TOKENS
        while position <= end:
            first, start = seen.setdefault(file.text[position : position + TOKENS], (file, position))
            length = 0 if (first, start) == (file, position) else shared(first, start, file, position)
            passage = file.text[position : position + length]
            count = min(len({*first.lines[start : start + length]}), len({*file.lines[position : position + length]}))
            if count >= LINES and len(set(re.split(f"[{STATEMENT};{{]", passage))) >= STATEMENTS:
                yield Passage((first.name, first.lines[start]), (file.name, file.lines[position]), count)
                position += max(0, length - TOKENS)
            position += 1


def shared(first: File, start: int, second: File, position: int) -> int:
    """How many tokens are the same from two places on; a passage does not overlap itself."""
    length = 0
    most = min(len(first.text) - start, len(second.text) - position)
    most = min(most, position - start) if first is second else most
    while length < most and first.text[start + length] == second.text[position + length]:
        length += 1
    return length


def product() -> list[File]:
    return [
        read(path.relative_to(REPOSITORY).as_posix(), path.read_text())
        for folder, patterns in PATTERNS.items()
        for pattern in patterns
        for path in sorted((REPOSITORY / folder).rglob(pattern))
    ]


def test_no_passage_stands_twice() -> None:
    found = list(repeated(product()))
    known = [one for one in found if one.first[0] == one.second[0] and one.first[0] in KNOWN]
    assert found == known, "\n".join(f"{one.first} {one.second}" for one in found if one not in known)
    assert {one.first[0] for one in known} == KNOWN.keys()


PASSAGE = """
    {0} = {1}.load({2})
    if not {0}.values:
        raise ValueError("{2}")
    total = 0
    for {3} in {0}.values:
        # A comment that only one of both has: {4}
        if {3} > {1}.limit:
            continue
        total += {3} * {1}.factor
    while total > {1}.limit:
        total -= {1}.factor
        {1}.note(total, {0})
    return {1}.result(total, "{4}")
"""


def test_the_same_shape_with_other_names_is_found() -> None:
    one = f"def first(store, path):{PASSAGE.format('content', 'store', 'path', 'value', 'x')}"
    other = f"def second(shop, name):{PASSAGE.format('goods', 'shop', 'name', 'price', 'y')}"
    (found,) = repeated([read("one.py", one), read("other.py", f"import os\n\n{other}")])
    assert (found.first, found.second) == (("one.py", 1), ("other.py", 3)) and found.lines >= LINES
    (inside,) = repeated([read("both.py", f"{one}\n\n{other}")])
    assert inside.first == ("both.py", 1)


def test_what_differs_and_lists_are_no_passages() -> None:
    one = f"def first(store, path):{PASSAGE.format('content', 'store', 'path', 'value', 'x')}"
    changed = one.replace("total += ", "total = total + ").replace("while", "if")
    assert not list(repeated([read("one.py", one), read("other.py", changed)]))
    table = (
        "TABLE = {\n"
        + "".join(f'    "{name}": ({name}, "{name}", {name}.value),\n' for name in "abcdefghijklmnop")
        + "}\n"
    )
    assert not list(repeated([read("one.py", table), read("other.py", table)]))
