"""The safetensors file format, https://huggingface.co/docs/safetensors: encoding tensors without holes, aligned.

The first byte of the data lies at a multiple of 64. Tensors whose size is a multiple of 64 bytes come first, the others
follow by the size of their elements, so that each can be used in a memory map where it lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import DTYPE_SIZES, TensorData

_ALIGNMENT = 64
_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


def _place(tensor: TensorData) -> tuple[bool, int]:
    return tensor.data.nbytes % _ALIGNMENT != 0, -DTYPE_SIZES[tensor.dtype]


def encode(tensors: Iterable[tuple[str, TensorData]]) -> bytes:
    """The bytes of a safetensors file with ``tensors``.

    Raises:
        AotbuildError: for a dtype that the format lacks (complex128, complex32), naming the tensor.
    """
    ordered = sorted(tensors, key=lambda item: _place(item[1]))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in ordered:
        if tensor.dtype not in _DTYPES:
            raise AotbuildError(
                f"tensor {name!r} is {tensor.dtype}, which a safetensors file cannot hold; use WEIGHTS EMBED"
            )
        end = offset + tensor.data.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *(tensor.data.tobytes() for _, tensor in ordered)])
