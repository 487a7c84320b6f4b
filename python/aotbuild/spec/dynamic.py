"""The entries of DYNAMIC_SHAPES: `input:dim=min..max`."""

from __future__ import annotations

from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_DIGITS = 15  # of a size of a tensor


@record
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
    texts = list(entries)
    problems = list(dynamic_shape_problems(texts))
    if problems:
        raise AotbuildError("\n".join(problems))
    parts = [found for found in map(_parts, texts) if found]
    return [DynamicDim(name, int(dim), int(low), int(high) if high else None) for name, dim, low, high in parts]


def _parts(entry: str) -> tuple[str, str, str, str] | None:
    """Input, dimension, minimum and maximum, the last may be empty; None for an entry of another form."""
    name, _, rest = entry.partition(":")
    dim, _, sizes = rest.partition("=")
    low, dots, high = sizes.partition("..")
    fits = name and "=" not in name and dots and all(map(_is_number, (dim, low, high or "0")))
    return (name, dim, low, high) if fits else None


def _is_number(text: str) -> bool:
    """A number without zeros in front, so that a dimension has one name."""
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def dynamic_shape_problems(entries: Iterable[str]) -> Iterator[str]:
    """What is wrong with entries, each a sentence."""
    seen: set[str] = set()
    for entry in entries:
        parts = _parts(entry)
        if parts is None:
            yield f'DYNAMIC_SHAPES entry "{entry}" is not input:dim=min..max, as in ids:1=1..512'
            continue
        name, dim, low, high = parts
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
