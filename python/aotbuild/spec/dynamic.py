"""The entries of DYNAMIC_SHAPES: `input:dim=min..max`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from aotbuild.spec.errors import AotbuildError

# Numbers have no zeros in front, so that a dimension has one name.
_ENTRY = re.compile(r"([^:=]+):(0|[1-9][0-9]*)=(0|[1-9][0-9]*)[.][.](|0|[1-9][0-9]*)")
_MOST_DIGITS = 15  # of a size of a tensor


class DynamicDim(NamedTuple):
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
    texts = list(entries)
    problems = list(dynamic_shape_problems(texts))
    if problems:
        raise AotbuildError("\n".join(problems))
    parts = [match.groups() for match in map(_ENTRY.fullmatch, texts) if match]
    return [DynamicDim(name, int(dim), int(low), int(high) if high else None) for name, dim, low, high in parts]


def dynamic_shape_problems(entries: Iterable[str]) -> Iterator[str]:
    """What is wrong with entries, each a sentence."""
    seen: set[str] = set()
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is None:
            yield f'DYNAMIC_SHAPES entry "{entry}" is not input:dim=min..max, as in ids:1=1..512'
            continue
        name, dim, low, high = match.groups()
        problem = _range_problem(low, high)
        if problem:
            yield f'DYNAMIC_SHAPES entry "{entry}": {problem}'
        if f"{name}:{dim}" in seen:
            yield f'DYNAMIC_SHAPES sets "{name}:{dim}" more than once; keep one of them'
        seen.add(f"{name}:{dim}")


def _range_problem(low: str, high: str) -> str:
    for what, digits in (("minimum", low), ("maximum", high)):
        if len(digits) > _MOST_DIGITS:
            return f"the {what} is no size of a tensor; write a smaller one"
    if high and int(high) <= int(low):
        return f"the minimum {low} is not below the maximum {high}; leave it out where the size is fixed"
    return ""
