"""The runtime's own tests under the sanitizers, by the presets of CMakePresets.json."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["asan", "ubsan", "tsan"])
def test_runtime_is_clean_under(preset: str) -> None:
    for command in (
        ["cmake", "--preset", preset],
        ["cmake", "--build", "--preset", preset],
        ["ctest", "--preset", preset],
    ):
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-8000:]}"
