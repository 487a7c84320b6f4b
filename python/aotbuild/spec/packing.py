"""How packed weights lie in the embedded blob, and how layers are cut: the numbers of cpp/src/kernels/packing.hpp.

The blob holds the matrices that the runtime would pack when it loads weights, in its order.
"""

from __future__ import annotations

# Blocks of ``PackedMatrix`` (detail/spec.h).
PANEL_ROWS = 16
PANEL_COLUMNS = 32

# Input features from which sums are made in two halves. The first half has whole vectors of HALF_MULTIPLE.
MIN_HALVED_FEATURES = 256
HALF_MULTIPLE = 16

# Hidden features of one block of two layers.
HIDDEN_BLOCK = 256

# So many values of four bits lie in half as many bytes: the first half of them in the low halves of the bytes.
FOUR_BITS_BLOCK = 32


def halves(features: int) -> list[slice]:
    """The input features that each of the sums of a layer takes."""
    if features < MIN_HALVED_FEATURES:
        return [slice(0, features)]
    middle = features // 2 // HALF_MULTIPLE * HALF_MULTIPLE
    return [slice(0, middle), slice(middle, features)]


def hidden_blocks(features: int) -> list[slice]:
    """The hidden features of each block of two layers."""
    return [slice(begin, min(begin + HIDDEN_BLOCK, features)) for begin in range(0, features, HIDDEN_BLOCK)]


def padded(rows: int, columns: int) -> tuple[int, int]:
    """The sizes of a matrix with the zeros that fill its blocks."""
    return rows + -rows % PANEL_ROWS, columns + -columns % PANEL_COLUMNS
