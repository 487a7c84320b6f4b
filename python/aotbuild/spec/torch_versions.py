"""Which releases of torch the generator works with."""

from __future__ import annotations

import re

from aotbuild.spec.errors import AotbuildError

# The first and the last one, as in pyproject.toml: TorchInductor's interfaces are private and change with each release.
FIRST, LAST = (2, 11), (2, 15)
# What `make test-torch-versions` runs with.
TESTED = ("2.12.1", "2.13.0", "2.14.1", "2.15.0")


def refuse_unsupported(version: str) -> None:
    """Raises AotbuildError for a torch that this aotbuild was not made for."""
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is not None and FIRST <= (int(match[1]), int(match[2])) <= LAST:
        return
    first, last = (f"{major}.{minor}" for major, minor in (FIRST, LAST))
    raise AotbuildError(
        f"torch {version} is not supported: this aotbuild works with torch {first} to {last}; "
        f"pip install 'torch>={first},<{LAST[0]}.{LAST[1] + 1}'"
    )
