"""The generator and the runtime mean the same packed weights: their numbers are held against one another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aotbuild.spec import packing

pytestmark = pytest.mark.quick

HEADER = Path(__file__).parents[2] / "cpp/src/kernels/packing.hpp"


def test_the_runtime_packs_by_the_generator_s_numbers() -> None:
    found = dict(re.findall(r"^constexpr std::int64_t k(\w+) = (\d+);$", HEADER.read_text(), re.MULTILINE))
    numbers = {name.title().replace("_", ""): str(value) for name, value in vars(packing).items() if name.isupper()}
    assert found == numbers
