"""Functions of complex numbers that the standalone runtime has, as operators; elsewhere they are written out.

The runtime's are the C library's, as eager PyTorch's are: right for zero, infinite, NaN and huge parts too.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Those whose formulas (complex_functions.py) are wrong for some parts. Of the others kernels are made.
FUNCTIONS = (
    *("exp", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
    *("asin", "acos", "atan", "asinh", "acosh", "atanh"),
)

_library = torch.library.Library("aotbuild", "FRAGMENT")
_library.define("complex_function(Tensor self, str name) -> Tensor")
_library.define("complex_power(Tensor self, Tensor exponent) -> Tensor")
FUNCTION = torch.ops.aotbuild.complex_function.default
POWER = torch.ops.aotbuild.complex_power.default
OPERATORS = (FUNCTION, POWER)


@torch.library.register_fake("aotbuild::complex_function", lib=_library)  # type: ignore[untyped-decorator]
def _like_self(self: Tensor, name: str) -> Tensor:
    return torch.empty_like(self, memory_format=torch.contiguous_format)


@torch.library.register_fake("aotbuild::complex_power", lib=_library)  # type: ignore[untyped-decorator]
def _like_both(self: Tensor, exponent: Tensor) -> Tensor:
    return self.new_empty(torch.broadcast_shapes(self.shape, exponent.shape))
