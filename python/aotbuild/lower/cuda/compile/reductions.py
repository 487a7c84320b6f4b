"""Reductions: which are made in registers, and which configuration one gets that nobody has measured."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch._inductor.choices import InductorChoices
from torch._inductor.runtime.hints import ReductionHint
from torch._inductor.virtualized import V

# Values that a block sums up at a time, at most: more do not stay in registers.
_MOST_VALUES = 4096
# Blocks for each multiprocessor, at least, while blocks are made larger.
_BLOCKS = 2
# A row of so many values is held by a block, and read once; TorchInductor reads those of more than 1024 twice where the
# values are needed again, as in normalisations.
_ROW = 8192


class _Choices(InductorChoices):
    @staticmethod
    def should_use_persistent_reduction(features: Any, cooperative_reduction: bool) -> bool:
        if features.get_reduction_hint() == ReductionHint.INNER and not cooperative_reduction:
            return bool(V.graph.sizevars.statically_known_leq(features.reduction_numel, _ROW))
        return bool(InductorChoices.should_use_persistent_reduction(features, cooperative_reduction))


@contextlib.contextmanager
def rows_in_registers() -> Iterator[None]:
    """Makes reductions of rows in one piece where registers hold them."""
    with V.set_choices_handler(_Choices()):
        yield


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
