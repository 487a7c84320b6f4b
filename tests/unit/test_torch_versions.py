"""Releases of torch: the range is one, and others are refused before anything of them is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aotbuild.generate import model as pipeline
from aotbuild.generate.request import GenerateRequest
from aotbuild.spec import torch_versions
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import EmitOptions

pytestmark = pytest.mark.quick
ROOT = Path(__file__).parents[2]


def test_the_package_asks_for_the_same_range() -> None:
    (first, last) = (f"{major}.{minor}" for major, minor in (torch_versions.FIRST, torch_versions.LAST))
    after = f"{torch_versions.LAST[0]}.{torch_versions.LAST[1] + 1}"
    assert f'"torch>={first},<{after}"' in (ROOT / "pyproject.toml").read_text()
    assert f"torch {first} to {last}" in (ROOT / "docs" / "dependencies.md").read_text()
    for version in torch_versions.TESTED:
        torch_versions.refuse_unsupported(version)


LAST = ".".join(map(str, torch_versions.LAST))
AFTER = f"{torch_versions.LAST[0]}.{torch_versions.LAST[1] + 1}"


@pytest.mark.parametrize("version", ["2.10.1", f"{AFTER}.0", "3.0.0", "1.13.1", f"{AFTER}.0a0+git1234"])
def test_other_releases_are_refused(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    request = GenerateRequest("net.py:build", EmitOptions("net"), tmp_path, tmp_path / "stamp")
    with pytest.raises(AotbuildError) as error:
        pipeline.generate(request)
    assert str(error.value) == (
        f"torch {version} is not supported: this aotbuild works with torch 2.11 to {LAST}; "
        f"pip install 'torch>=2.11,<{AFTER}'"
    )
