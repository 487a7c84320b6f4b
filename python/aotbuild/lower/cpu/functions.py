"""The C++ functions that generated kernels call where upstream's expressions have other values than eager PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch._inductor.codegen.cpp import CppOverrides, CppVecOverrides
from torch._inductor.codegen.cpp_utils import cexpr_index
from torch._inductor.virtualized import V
from torch._prims_common import is_integer_dtype

from aotbuild.lower.cpu.divisions import dividing
from aotbuild.spec.upstream import patched

_NAMESPACE = "aotbuild::detail::"  # detail/eager_math.hpp


@contextlib.contextmanager
def eager_functions() -> Iterator[None]:
    """Makes kernels of one lowering call them."""
    with contextlib.ExitStack() as stack:
        for overrides, functions in ((CppOverrides, _NUMBERS), (CppVecOverrides, _VECTORS)):
            for name, function in functions.items():
                function.__name__ = name  # by which a vector's function finds that of numbers
                stack.enter_context(patched(overrides, name, staticmethod(function)))
        yield


def _call(name: str) -> Callable[..., str]:
    return lambda *arguments: f"{_NAMESPACE}{name}({', '.join(map(str, arguments))})"


def _method(name: str) -> Callable[..., str]:
    return lambda x: f"{x}.{name}()"


def _divide(name: str) -> Callable[[Any, Any], str]:
    """Vectors of integers: lanes beyond the end of a loop hold no divisor, which has not to be zero."""

    def divide(a: Any, b: Any) -> str:
        of_lanes = f"decltype({b})"
        lanes = cexpr_index(V.kernel.num_elems)
        return f"{_NAMESPACE}{name}({a}, {of_lanes}::set({of_lanes}(1), {b}, {lanes}))"

    return divide


def _of_integers(integers: Callable[[Any, Any], Any], others: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: (integers if is_integer_dtype(a.dtype) else others)(a, b)


_NUMBERS: Mapping[str, Any] = {
    "truncdiv": dividing(_call("truncate_divide")),
    "floordiv": dividing(_call("floor_divide")),
    "mod": dividing(CppOverrides.mod),
}
_VECTORS: Mapping[str, Any] = {
    "mod": CppVecOverrides._scalarize(_NUMBERS["mod"]),
    "truncdiv": dividing(_divide("truncate_divide")),
    "floordiv": _of_integers(dividing(_divide("floor_divide")), CppVecOverrides.floordiv),
    "remainder": _of_integers(dividing(CppVecOverrides.remainder), CppVecOverrides.remainder),
    "fmod": _call("fmod"),
    "log1p": _call("log1p"),
    "acosh": _call("acosh"),
    "asinh": _call("asinh"),
    "atanh": _method("atanh"),
    "expm1": _method("expm1"),
    "erf": _call("erf"),
}
