"""The pixels of a PNG file (W3C, "Portable Network Graphics", third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        yield content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        position += 12 + length


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    distances = (abs(guess - left), abs(guess - above), abs(guess - corner))
    return (left, above, corner)[distances.index(min(distances))]


def pixels_of(content: bytes) -> Pixels:
    """[height, width, 3], of 8 bits a channel, without interlacing."""
    chunks = list(_chunks(content))
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, interlaced) == (8, 0)
    channels = {2: 3, 6: 4}[colour]
    data = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    stride = width * channels
    above = bytearray(stride)
    rows = []
    for y in range(height):
        kind = data[y * (stride + 1)]
        row = bytearray(data[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        _unfilter(kind, row, above, channels)
        rows.append(bytes(row))
        above = row
    pixels = np.frombuffer(b"".join(rows), np.uint8).reshape(height, width, channels)
    return pixels[:, :, :3]


def _unfilter(kind: int, row: bytearray, above: bytearray, channels: int) -> None:
    """Makes a row's bytes of the differences that it has; ``above``: the row before it."""
    if kind == 2:
        row[:] = (np.frombuffer(row, np.uint8) + np.frombuffer(above, np.uint8)).tobytes()
    elif kind != 0:
        for i in range(len(row)):
            left, corner = (row[i - channels], above[i - channels]) if i >= channels else (0, 0)
            guess = left if kind == 1 else (left + above[i]) // 2 if kind == 3 else _paeth(left, above[i], corner)
            row[i] = (row[i] + guess) & 255
