"""The page of examples/semantic_search, which tools/page.sh built, and where its tests find their modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests/web")]


@pytest.fixture(scope="session")
def page_folder() -> Path:
    folder = ROOT / "build/page/page"
    assert (folder / "encoder.web/encoder.core.wasm").is_file(), "make page builds the page"
    return folder
