"""How packed weights lie in the embedded blob: the numbers of cpp/src/kernels/packing.hpp.

The blob holds the matrices that the runtime would pack when it loads weights, in its order.
"""

from __future__ import annotations

from aotbuild.spec.program import TensorData

# ``PackedMatrix`` (detail/spec.h): what the rows of a panel are padded to, and its columns.
PANEL_ROWS = 16
PANEL_COLUMNS = 32

# So many values of four bits lie in half as many bytes: the first half of them in the low halves of the bytes.
FOUR_BITS_BLOCK = 32


def padded(rows: int, columns: int) -> tuple[int, int]:
    """The sizes of a matrix with the zeros that fill its panels."""
    return rows + -rows % PANEL_ROWS, columns + -columns % PANEL_COLUMNS


def with_four_bits(tensor: TensorData) -> TensorData:
    """Values [N, K] of int8, from -8 to 7, as bytes [N, K / 2] of two each."""
    rows, columns = tensor.shape
    block = FOUR_BITS_BLOCK
    halves = tensor.data.reshape(rows, columns // block, 2, block // 2) & 15
    packed = (halves[:, :, 0] | halves[:, :, 1] << 4).astype("uint8").reshape(-1)
    return TensorData("uint8", (rows, columns // 2), packed)
