"""Generated tests fail where a result is wrong: their golden files are changed, and nothing is built for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from model_builds import GOLDEN_TESTED, chosen_targets

_FLOATS = {"F32": np.float32, "F64": np.float64, "F16": np.float16}


def changes(kind: str, values: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Wrong values that look alike: each has to be noticed."""
    if kind not in _FLOATS:
        return {"one bit": np.concatenate([values[:1] ^ 1, values[1:]])}
    greatest = np.arange(values.size) == np.argmax(np.abs(values))
    found = {"NaN": np.where(greatest, np.nan, values)}
    if np.abs(values).max() > 0:
        found |= {"zeros": values * 0, "sign": -values, "1%": np.where(greatest, values * 1.01, values)}
    return {what: changed.astype(values.dtype) for what, changed in found.items()}


@pytest.fixture
def tested(zoo_build: Path, pytestconfig: pytest.Config) -> list[str]:
    chosen = {target.name for target in chosen_targets(pytestconfig.getoption("zoo")) if target.test}
    return [name for name in (*GOLDEN_TESTED, "hostile_names", "generator") if name in chosen]


def test_generated_tests_notice_wrong_results(zoo_build: Path, tested: list[str], tmp_path: Path) -> None:
    unnoticed = []
    count = 0
    for target in tested:
        (program,) = (path for path in zoo_build.rglob(f"{target}_test") if os.access(path, os.X_OK) and path.is_file())
        (golden,) = zoo_build.rglob(f"{target}.golden.safetensors")
        content = golden.read_bytes()
        begin = 8 + int.from_bytes(content[:8], "little")
        header: dict[str, Any] = json.loads(content[8:begin])
        outputs = [name for name in header if "/output/" in name and not name.startswith("tolerance/")]
        for name in outputs[:4]:
            first, last = (begin + offset for offset in header[name]["data_offsets"])
            kind = header[name]["dtype"]
            values = np.frombuffer(content[first:last], _FLOATS.get(kind, np.uint8))
            if kind == "BF16" or values.size == 0:
                continue
            for what, changed in changes(kind, values).items():
                path = tmp_path / "changed.safetensors"
                path.write_bytes(content[:first] + changed.tobytes() + content[last:])
                result = subprocess.run([program, path], capture_output=True, check=False, timeout=60)
                count += 1
                if result.returncode == 0:
                    unnoticed.append(f"{target}: {name}: {what}")
    assert count > 0
    assert not unnoticed
