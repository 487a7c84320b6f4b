"""The reference in docs/cmake.md is the one that stands beside the functions, and names every keyword."""

from __future__ import annotations

import re
import runpy

import pytest
from cmake_project import PACKAGE, REPOSITORY

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
