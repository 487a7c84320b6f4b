"""The reference in docs/cmake.md is the one that stands beside the functions, and names every keyword."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from cmake_project import PACKAGE, REPOSITORY

from aotbuild.spec.functions import FUNCTIONS

pytestmark = pytest.mark.quick


def test_reference_page_is_up_to_date() -> None:
    made = runpy.run_path(str(REPOSITORY / "docs/make_cmake_reference.py"))["reference"]()
    page = (REPOSITORY / "docs/cmake.md").read_text()
    assert page == made, "run python docs/make_cmake_reference.py"


def test_every_keyword_is_in_the_reference() -> None:
    for path in PACKAGE.glob("A*.cmake"):
        reference, _, code = path.read_text().partition("\n#]=]\n")
        lists = re.findall(r"(?:set|list)\((?:APPEND )?_?\w*(?:options|one|multi)\b([^)]*)\)", code)
        for keyword in " ".join(lists).split():
            if re.fullmatch(r"[A-Z][A-Z_]+", keyword):
                documented = (PACKAGE / "AddAotModel.cmake").read_text() if keyword != "SOURCES_VAR" else reference
                assert keyword in reference or keyword in documented, f"{path.name}: {keyword}"
    for function, keywords in FUNCTIONS.items():
        name = re.sub("(^|_)([a-z])", lambda match: match[2].upper(), function)
        reference = (PACKAGE / f"{name}.cmake").read_text().partition("\n#]=]\n")[0]
        for keyword in keywords.all():
            assert re.search(rf"\b{keyword}\b", reference), f"{function}: {keyword}"


def test_every_keyword_has_its_default_its_meaning_and_what_is_refused() -> None:
    for path in PACKAGE.glob("A*.cmake"):
        reference, _, _ = path.read_text().partition("\n#]=]\n")
        rows = [line for line in reference.splitlines() if line.startswith(("| `", "| keyword"))]
        assert rows[0] == "| keyword | default | meaning | refused |", path.name
        for row in rows:
            cells = [cell.strip() for cell in row.strip("|").split(" |")]
            assert len(cells) == 4, f"{path.name}: {row}"
            assert cells[2], f"{path.name}: {row}"
            assert cells[3] or cells[0].startswith("`WEIGHTS "), f"{path.name}: {row}"


def test_text_of_every_error_is_in_a_test() -> None:
    """Of each message that a function of cmake/ can end with, the longest part without a variable."""
    strings = []
    for path in Path(__file__).parent.glob("test_*.py"):
        tree = ast.parse(path.read_text())
        strings += [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str]
    tested = " ".join(" ".join(strings).split())
    untested = [f"{name}: {text}" for name, text in [*messages_of_cmake(), *problems_of_plans()] if text not in tested]
    assert not untested, "\n".join(untested)


def messages_of_cmake() -> Iterator[tuple[str, str]]:
    literal = r'"(?:[^"\\]|\\.)*"'
    call = rf"(?:_aotbuild_problem\(|message\(FATAL_ERROR)\s*((?:{literal}\s*)+)\)"
    for path in sorted(PACKAGE.glob("**/*.cmake")):
        for match in re.finditer(call, path.read_text()):
            text = "".join(part[1:-1] for part in re.findall(literal, match[1]))
            text = text.replace('\\"', '"').replace("\\n", "\n")
            yield path.name, longest(re.split(r"\$\{(?:\$\{\w+\}|\w)+\}|\n", text))


def problems_of_plans() -> Iterator[tuple[str, str]]:
    """The arguments of each ``problem(...)``, and the sentences that are yielded or returned as one."""
    for name in ("words", "checks", "plan", "dynamic"):
        tree = ast.parse((REPOSITORY / f"python/aotbuild/spec/{name}.py").read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
        texts = [call.args[0] for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "problem"]
        texts += [node.value for node in ast.walk(tree) if isinstance(node, ast.Yield) and node.value]
        for text in texts:
            parts = [node.value for node in ast.walk(text) if isinstance(node, ast.Constant)]
            if any(" " in str(part) for part in parts):
                yield f"{name}.py", longest(map(str, parts))


def longest(parts: Iterable[str]) -> str:
    return max((" ".join(part.split()) for part in parts), key=len)
