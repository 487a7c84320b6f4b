"""The table of element types and the runtime's enumeration of them say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aotbuild.spec.dtypes import DTYPES

pytestmark = pytest.mark.quick

HEADERS = Path(__file__).parents[2] / "cpp"


def test_the_runtime_numbers_types_as_the_table_does() -> None:
    text = (HEADERS / "src/tensor/dtype.hpp").read_text()
    numbers = {name: int(number) for name, number in re.findall(r"^  (k\w+) = (\d+),", text, re.MULTILINE)}
    table = {dtype.constant: dtype.number for dtype in DTYPES.values()}
    assert table.items() <= numbers.items()
    assert {name for name in numbers.keys() - table.keys() if not name.endswith("FNUZ")} == set()


def test_generated_code_has_the_numbers_of_standalone_types() -> None:
    text = (HEADERS / "include/aotbuild/detail/handles.hpp").read_text()
    found = dict(re.findall(r"\b(k\w+) = (\d+)[,;]", text))
    table = {dtype.constant: str(dtype.number) for dtype in DTYPES.values() if dtype.standalone}
    assert table.items() <= found.items()
