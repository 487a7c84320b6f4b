"""Calls of built models through their C ABI, and the comparison of what they give with eager PyTorch."""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from c_tensor import CTensor
from torch.utils import _pytree as pytree

from aotbuild.spec.program import TensorData

# Of torch.testing.assert_close for each type, but float32, whose sums are ordered differently than eager's.
TOLERANCES: dict[torch.dtype, tuple[float, float]] = {
    torch.float64: (1e-7, 1e-7),
    torch.complex128: (1e-7, 1e-7),
    torch.float32: (1e-4, 1e-5),
    torch.complex64: (1e-4, 1e-5),
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
}
# Where eager's own error against float64 is the larger one, results may be as far from float64 as this many times it.
_OF_EAGERS_ERROR = 2.0


_CODES: dict[torch.dtype, tuple[int, int]] = {
    torch.int8: (0, 8),
    torch.int16: (0, 16),
    torch.int32: (0, 32),
    torch.int64: (0, 64),
    torch.uint8: (1, 8),
    torch.float16: (2, 16),
    torch.float32: (2, 32),
    torch.float64: (2, 64),
    torch.bfloat16: (4, 16),
    torch.float8_e4m3fn: (10, 8),
    torch.float8_e5m2: (12, 8),
    torch.complex64: (5, 64),
    torch.complex128: (5, 128),
    torch.bool: (6, 8),
}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}


class BuiltModel:
    """One model of a library that may hold several, found by its prefix."""

    def __init__(self, library: ctypes.CDLL, prefix: str) -> None:
        self._library, self._prefix = library, prefix
        self._last_error = getattr(library, f"{prefix}_last_error")
        self._last_error.restype = ctypes.c_char_p
        self._model = ctypes.c_void_p()
        self._check(getattr(library, f"{prefix}_create")(None, ctypes.byref(self._model)))

    def _check(self, status: int) -> None:
        if status:
            raise RuntimeError(self._last_error().decode(errors="replace"))

    def __call__(self, inputs: Sequence[torch.Tensor], output_count: int) -> list[torch.Tensor]:
        """Raises RuntimeError with the library's message."""
        kept = [tensor.detach().resolve_conj().resolve_neg() for tensor in inputs]
        given = (CTensor * max(1, len(kept)))(*map(_described, kept))
        outputs = (CTensor * max(1, output_count))()
        result = ctypes.c_void_p()
        run = getattr(self._library, f"{self._prefix}_run")
        count = ctypes.c_size_t
        self._check(run(self._model, given, count(len(kept)), outputs, count(output_count), ctypes.byref(result)))
        try:
            return [_copied(outputs[index]) for index in range(output_count)]
        finally:
            getattr(self._library, f"{self._prefix}_destroy_result")(result)


def _described(tensor: torch.Tensor) -> CTensor:
    sizes = (ctypes.c_int64 * max(1, tensor.dim()))(*tensor.shape)
    strides = (ctypes.c_int64 * max(1, tensor.dim()))(*tensor.stride())
    code, bits = _CODES[tensor.dtype]
    return CTensor(tensor.data_ptr() or None, 1, 0, tensor.dim(), code, bits, 1, sizes, strides, 0)


def _copied(output: CTensor) -> torch.Tensor:
    dtype = _DTYPES[output.code, output.bits]
    sizes = tuple(output.shape[index] for index in range(output.ndim))
    if math.prod(sizes) == 0:
        return torch.empty(sizes, dtype=dtype)
    strides = [output.strides[index] for index in range(output.ndim)] if output.strides else None
    if strides is None:
        strides = list(torch.empty(sizes, device="meta").stride())
    span = 1 + sum((size - 1) * stride for size, stride in zip(sizes, strides))
    memory = (ctypes.c_uint8 * (span * dtype.itemsize)).from_address(output.data + output.byte_offset)
    flat = torch.frombuffer(bytearray(memory), dtype=dtype)
    return flat.as_strided(sizes, strides).clone()


def signature_inputs(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    """The tensors of a call in the order of the model's signature; other values are part of the model."""
    found = pytree.tree_leaves((args, dict(kwargs)))
    return [leaf for leaf in found if isinstance(leaf, torch.Tensor)]


def tensor_of(data: TensorData) -> torch.Tensor:
    """A tensor from its contiguous bytes."""
    dtype = getattr(torch, data.dtype)
    if not data.data.size:
        return torch.empty(data.shape, dtype=dtype)
    return torch.from_numpy(data.data.copy()).view(dtype).reshape(data.shape)


# --- comparison


def compare_leaves(
    actual: Sequence[torch.Tensor],
    expected: Sequence[torch.Tensor],
    random: bool,
    reference: Callable[[], Sequence[torch.Tensor]] | None = None,
) -> tuple[str, float]:
    """What is wrong, if anything, and the greatest error in parts of the greatest value.

    ``reference``: the results in float64, which decide where eager's and these differ by more than the type's
    tolerance; None where there are none. ``random``: sizes and types alone are compared.
    """
    if len(actual) != len(expected):
        return f"{len(actual)} outputs, expected {len(expected)}", 0
    greatest = 0.0
    exact_values: Sequence[torch.Tensor] | None = None
    for index, (got, want) in enumerate(zip(actual, expected)):
        if (got.shape, got.dtype) != (want.shape, want.dtype):
            return f"output {index} is {got.dtype}{list(got.shape)}, eager's {want.dtype}{list(want.shape)}", 0
        if random:
            continue
        if want.dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
            got, want = got.float(), want.float()  # without a tolerance: the same numbers are rounded
            rtol, atol = 0.0, 0.0
        else:
            rtol, atol = TOLERANCES.get(want.dtype, (0.0, 0.0))
        try:
            torch.testing.assert_close(got, want, rtol=rtol, atol=atol, equal_nan=True, check_stride=False)
        except AssertionError as error:
            if want.dtype in TOLERANCES and reference is not None and exact_values is None:
                with contextlib.suppress(RuntimeError):  # there is no kernel for float64
                    exact_values = reference()
            if exact_values is None or not _is_as_near(got, want, exact_values[index], (rtol, atol)):
                return f"output {index}: {error}", 0
        finite = want.isfinite() if want.dtype in TOLERANCES else want.new_zeros((), dtype=torch.bool)
        if bool(finite.any()):
            wide = torch.complex128 if want.is_complex() else torch.float64
            got, want = got[finite].to(wide), want[finite].to(wide)
            difference = (got - want).abs().max() / want.abs().max().clamp(min=1e-30)
            greatest = max(greatest, float(difference))
    return "", greatest


def _is_as_near(got: torch.Tensor, want: torch.Tensor, exact: torch.Tensor, tolerance: tuple[float, float]) -> bool:
    """Whether these are about as near to the values in float64 as eager's are."""
    if exact.shape != want.shape or exact.dtype not in (torch.float64, torch.complex128):
        return False
    got, want = got.to(exact.dtype), want.to(exact.dtype)
    overflown = want.isinf() & exact.isfinite() & got.isfinite()  # on eager's way to a number that the type holds
    if bool(((got - exact)[overflown].abs() > tolerance[1] + tolerance[0] * exact[overflown].abs()).any()):
        return False
    got, want, exact = got[~overflown], want[~overflown], exact[~overflown]
    special = ~(want.isfinite() & exact.isfinite())
    here, eagers_own, true = got[special], want[special], exact[special]
    # Eager's may be its library's alone: oneDNN's GELU of inf is inf with AVX2 and NaN with AVX-512.
    is_right = torch.isclose(here, eagers_own, 0, 0, equal_nan=True) | torch.isclose(here, true, 0, 0, equal_nan=True)
    if not bool(is_right.all()) or bool(got[~special].isnan().any()):
        return False
    got, want, exact = got[~special], want[~special], exact[~special]
    if not got.numel():
        return True
    eagers = (want - exact).abs().max()
    allowed = tolerance[1] + tolerance[0] * exact.abs() + _OF_EAGERS_ERROR * eagers
    return bool(((got - exact).abs() <= allowed).all())
