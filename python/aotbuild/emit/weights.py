"""Where weights go: the embedded blob with its offsets, or the safetensors file beside the library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aotbuild.emit import safetensors
from aotbuild.program import Weight

_ALIGNMENT = 64


@dataclass(frozen=True)
class Blob:
    """Weights one after another, each at a multiple of 64 bytes."""

    offsets: tuple[int, ...]
    size: int


def layout(weights: Sequence[Weight]) -> Blob:
    """The layout of the embedded blob: it depends on the sizes alone, so new values change no source file."""
    offsets = []
    end = 0
    for weight in weights:
        begin = end + -end % _ALIGNMENT
        offsets.append(begin)
        end = begin + weight.tensor.data.nbytes
    return Blob(tuple(offsets), end)


def blob(weights: Sequence[Weight]) -> bytes:
    """The bytes of ``layout``, the gaps zero."""
    placed = layout(weights)
    data = bytearray(placed.size)
    for offset, weight in zip(placed.offsets, weights, strict=True):
        data[offset : offset + weight.tensor.data.nbytes] = weight.tensor.data.tobytes()
    return bytes(data)


def file(weights: Sequence[Weight]) -> bytes:
    """The safetensors file of ``weights``, by their names in the ``state_dict``."""
    return safetensors.encode((weight.name, weight.tensor) for weight in weights)
