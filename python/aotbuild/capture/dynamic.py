"""One entry of DYNAMIC_SHAPES."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aotbuild.errors import AotbuildError


@dataclass(frozen=True)
class DynamicDim:
    """One entry of DYNAMIC_SHAPES: dimension ``dim`` of input ``input`` varies in ``[min, max]``."""

    input: str
    dim: int
    min: int
    max: int | None


def parse_dynamic_shape(text: str) -> DynamicDim:
    """``input:dim=min..max`` as DYNAMIC_SHAPES has it; ``max`` may be left out."""
    match = re.fullmatch(r"([A-Za-z_][\w.]*):(\d+)=(\d+)\.\.(\d*)", text)
    if match is None:
        raise AotbuildError(f"DYNAMIC_SHAPES {text!r}: write input:dim=min..max, for example ids:1=1..512")
    name, dim, low, high = match.groups()
    if high and int(high) < int(low):
        raise AotbuildError(f"DYNAMIC_SHAPES {text!r}: the maximum {high} is below the minimum {low}")
    return DynamicDim(name, int(dim), int(low), int(high) if high else None)
