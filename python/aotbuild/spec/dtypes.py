"""The element types that a model's inputs, outputs and weights may have: one table."""

from __future__ import annotations

from typing import NamedTuple


class Dtype(NamedTuple):
    """One element type, by PyTorch's ``name``.

    ``cpp``: its type in the C++ header. ``code``: of ``aotbuild_dtype_code``, without AOTBUILD_. ``safetensors``: its
    name in that file format, empty where the format lacks it. ``numpy``: whether NumPy has it by the same name.
    ``standalone``: whether models without libtorch have it. ``number``: of c10::ScalarType, which is also the runtime's
    (cpp/src/tensor/dtype.hpp). ``triton``: Triton's name of it.
    """

    name: str
    size: int  # bytes
    cpp: str
    code: str
    safetensors: str
    number: int
    triton: str = ""
    numpy: bool = True
    standalone: bool = True

    @property
    def initializer(self) -> str:
        """An ``aotbuild_dtype`` in C."""
        return f"{{AOTBUILD_{self.code}, {8 * self.size}, 1}}"

    @property
    def constant(self) -> str:
        """Its number's name in C++."""
        stem, _, form = self.name.partition("_")
        return f"k{stem.title().replace('Uint', 'UInt').replace('Bfloat', 'BFloat')}{form.upper()}"


DTYPES = {
    dtype.name: dtype
    for dtype in (
        Dtype("float64", 8, "double", "FLOAT", "F64", 7, "fp64"),
        Dtype("float32", 4, "float", "FLOAT", "F32", 6, "fp32"),
        Dtype("float16", 2, "aotbuild::float16", "FLOAT", "F16", 5, "fp16"),
        Dtype("bfloat16", 2, "aotbuild::bfloat16", "BFLOAT", "BF16", 15, "bf16", numpy=False),
        Dtype("int64", 8, "std::int64_t", "INT", "I64", 4, "i64"),
        Dtype("int32", 4, "std::int32_t", "INT", "I32", 3, "i32"),
        Dtype("int16", 2, "std::int16_t", "INT", "I16", 2, "i16"),
        Dtype("int8", 1, "std::int8_t", "INT", "I8", 1, "i8"),
        Dtype("uint8", 1, "std::uint8_t", "UINT", "U8", 0, "u8"),
        Dtype("bool", 1, "bool", "BOOL", "BOOL", 11, "i1"),
        Dtype("complex64", 8, "std::complex<float>", "COMPLEX", "C64", 9),
        Dtype("complex128", 16, "std::complex<double>", "COMPLEX", "", 10),
        Dtype("uint16", 2, "std::uint16_t", "UINT", "U16", 27, "u16", standalone=False),
        Dtype("uint32", 4, "std::uint32_t", "UINT", "U32", 28, "u32", standalone=False),
        Dtype("uint64", 8, "std::uint64_t", "UINT", "U64", 29, "u64", standalone=False),
        Dtype("complex32", 4, "aotbuild::complex32", "COMPLEX", "", 8, numpy=False, standalone=False),
        Dtype("float8_e4m3fn", 1, "aotbuild::float8_e4m3fn", "FLOAT8_E4M3FN", "F8_E4M3", 24, numpy=False),
        Dtype("float8_e5m2", 1, "aotbuild::float8_e5m2", "FLOAT8_E5M2", "F8_E5M2", 23, numpy=False),
    )
}
