"""The entries of DYNAMIC_SHAPES; CMake checks them by the same pattern and rules while it configures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aotbuild.errors import AotbuildError

# cmake/private/Arguments.cmake has the same, which a test compares, in the notation that Python and CMake share.
# Numbers have no zeros in front, so that a dimension has one name.
PATTERN = r"^([^:=]+):(0|[1-9][0-9]*)=(0|[1-9][0-9]*)[.][.](|0|[1-9][0-9]*)$"
_LONGEST_SIZE = 15  # digits; CMake compares numbers as doubles


@dataclass(frozen=True)
class DynamicDim:
    """One entry of DYNAMIC_SHAPES: dimension ``dim`` of input ``input`` varies in ``[min, max]``."""

    input: str
    dim: int
    min: int
    max: int | None


def parse_dynamic_shapes(entries: Iterable[str]) -> list[DynamicDim]:
    """Entries ``input:dim=min..max``; without ``max`` a size has no upper bound.

    Raises:
        AotbuildError: an entry is of another form, its range is none, or a size comes twice; all such at once.
    """
    dims: list[DynamicDim] = []
    problems = []
    seen: set[str] = set()
    for entry in entries:
        match = re.fullmatch(PATTERN, entry)
        if match is None:
            problems.append(f"DYNAMIC_SHAPES {entry!r}: write input:dim=min..max, for example ids:1=1..512")
            continue
        name, dim, low, high = match.groups()
        problem = _range_problem(low, high)
        if problem:
            problems.append(f"DYNAMIC_SHAPES {entry!r}: {problem}")
        if f"{name}:{dim}" in seen:
            problems.append(f"DYNAMIC_SHAPES sets {name}:{dim} more than once; keep one of them")
        seen.add(f"{name}:{dim}")
        dims.append(DynamicDim(name, int(dim), int(low), int(high) if high else None))
    if problems:
        raise AotbuildError("\n".join(problems))
    return dims


def _range_problem(low: str, high: str) -> str:
    for what, digits in (("minimum", low), ("maximum", high)):
        if len(digits) > _LONGEST_SIZE:
            return f"the {what} is no size of a tensor; write a smaller one"
    if high and int(high) < int(low):
        return f"the maximum {high} is below the minimum {low}"
    if high and int(high) == int(low):
        return f"the minimum {low} is not below the maximum {high}; leave it out where the size is fixed"
    return ""
