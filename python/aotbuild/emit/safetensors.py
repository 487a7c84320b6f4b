"""The safetensors file format, https://huggingface.co/docs/safetensors: encoding tensors without holes, aligned.

The first byte of the data lies at a multiple of 64. Tensors whose size is a multiple of 64 bytes come first, the others
follow by the size of their elements, so that each can be used in a memory map where it lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from aotbuild.spec.dtypes import DTYPES
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import TensorData

_ALIGNMENT = 64


def _place(tensor: TensorData) -> tuple[bool, int]:
    return tensor.data.nbytes % _ALIGNMENT != 0, -DTYPES[tensor.dtype].size


def encode(tensors: Iterable[tuple[str, TensorData]]) -> bytes:
    """The bytes of a safetensors file with ``tensors``.

    Raises:
        AotbuildError: for a dtype that the format lacks (complex128, complex32), naming the tensor.
    """
    ordered = sorted(tensors, key=lambda item: _place(item[1]))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in ordered:
        if not DTYPES[tensor.dtype].safetensors:
            raise AotbuildError(
                f"tensor {name!r} is {tensor.dtype}, which a safetensors file cannot hold; use WEIGHTS EMBED"
            )
        end = offset + tensor.data.nbytes
        header[name] = {
            "dtype": DTYPES[tensor.dtype].safetensors,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *(tensor.data.data for _, tensor in ordered)])
