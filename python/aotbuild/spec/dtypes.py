"""The element types that a model's inputs, outputs and weights may have: one table."""

from __future__ import annotations

from typing import NamedTuple


class Dtype(NamedTuple):
    """One element type, by PyTorch's ``name``.

    ``cpp``: its type in the C++ header. ``code``: of ``aotbuild_dtype_code``, without AOTBUILD_. ``safetensors``: its
    name in that file format, empty where the format lacks it. ``numpy``: whether NumPy has it by the same name.
    ``standalone``: whether models without libtorch have it.
    """

    name: str
    size: int  # bytes
    cpp: str
    code: str
    safetensors: str
    numpy: bool = True
    standalone: bool = True

    @property
    def initializer(self) -> str:
        """An ``aotbuild_dtype`` in C."""
        return f"{{AOTBUILD_{self.code}, {8 * self.size}, 1}}"


DTYPES = {
    dtype.name: dtype
    for dtype in (
        Dtype("float64", 8, "double", "FLOAT", "F64"),
        Dtype("float32", 4, "float", "FLOAT", "F32"),
        Dtype("float16", 2, "aotbuild::float16", "FLOAT", "F16"),
        Dtype("bfloat16", 2, "aotbuild::bfloat16", "BFLOAT", "BF16", numpy=False),
        Dtype("int64", 8, "std::int64_t", "INT", "I64"),
        Dtype("int32", 4, "std::int32_t", "INT", "I32"),
        Dtype("int16", 2, "std::int16_t", "INT", "I16"),
        Dtype("int8", 1, "std::int8_t", "INT", "I8"),
        Dtype("uint8", 1, "std::uint8_t", "UINT", "U8"),
        Dtype("bool", 1, "bool", "BOOL", "BOOL"),
        Dtype("complex64", 8, "std::complex<float>", "COMPLEX", "C64"),
        Dtype("complex128", 16, "std::complex<double>", "COMPLEX", ""),
        Dtype("uint16", 2, "std::uint16_t", "UINT", "U16", standalone=False),
        Dtype("uint32", 4, "std::uint32_t", "UINT", "U32", standalone=False),
        Dtype("uint64", 8, "std::uint64_t", "UINT", "U64", standalone=False),
        Dtype("complex32", 4, "aotbuild::complex32", "COMPLEX", "", numpy=False, standalone=False),
        Dtype("float8_e4m3fn", 1, "aotbuild::float8_e4m3fn", "FLOAT8_E4M3FN", "F8_E4M3", numpy=False),
        Dtype("float8_e5m2", 1, "aotbuild::float8_e5m2", "FLOAT8_E5M2", "F8_E5M2", numpy=False),
    )
}
