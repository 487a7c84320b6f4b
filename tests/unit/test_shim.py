"""The table of the runtime's C functions (spec/shim.py) and the headers that declare them say the same."""

from __future__ import annotations

import re

import pytest

from aotbuild.spec.paths import include_directory
from aotbuild.spec.shim import SHIM, SHIM_EIGEN

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(("header", "functions"), [("shim.h", SHIM), ("shim_eigen.h", SHIM_EIGEN)])
def test_the_table_has_what_the_header_declares(header: str, functions: frozenset[str]) -> None:
    text = (include_directory() / "aotbuild/detail" / header).read_text()
    named = dict(re.findall(r"^#define (aoti_torch_\w+) (aotbuild_torch_\w+)$", text, re.MULTILINE))
    assert named.keys() == functions
    declared = set(re.findall(r"\b(aotbuild_torch_\w+)\(", text))
    assert set(named.values()) == declared
