"""Which configuration a reduction gets that nobody has measured, of those that TorchInductor would measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Values that a block sums up at a time, at most: more do not stay in registers.
_MOST_VALUES = 4096
# Blocks for each multiprocessor, at least, while blocks are made larger.
_BLOCKS = 2


def ordered(configs: Sequence[Any], size_hints: Mapping[str, int], multiprocessors: int) -> list[Any]:
    """The configurations, that first which is to be used.

    TorchInductor leaves several only where it cannot tell, and begins with the smallest block: results whose summands
    lie apart (the sum over a leading dimension, the mean of 7x7 pixels) would be computed one by one.

    Args:
        size_hints: numbers of results ("x", "y") and of summands ("r0_", "r1_").
    """
    if len(configs) < 2 or "x" not in size_hints:
        return list(configs)
    results = size_hints["x"] * size_hints.get("y", 1)
    summands = 1
    for name, size in size_hints.items():
        summands *= size if name.startswith("r") else 1

    def results_of_block(config: Any) -> int:
        return int(config.kwargs.get("XBLOCK", 1)) * int(config.kwargs.get("YBLOCK", 1))

    def rank(config: Any) -> tuple[bool, int]:
        block = results_of_block(config)
        values = block * int(config.kwargs.get("R0_BLOCK", summands)) * int(config.kwargs.get("R1_BLOCK", 1))
        fits = values <= _MOST_VALUES and -(-results // block) >= _BLOCKS * multiprocessors
        return not fits, -block if fits else block

    return sorted(configs, key=rank)
