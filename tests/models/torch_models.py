"""Models with RUNTIME torch: operators that the standalone runtime lacks, and operators of C++ (torch_operators.cpp).

Not imported by tests: what is registered here in Python, the library registers in C++.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from model_zoo import DYNAMIC, Compute, calls, randn
from torch import Tensor

import aotbuild
from aotbuild import Model


def decompositions() -> Model:
    """Linear algebra, sizes known only after a run, outputs in other orders than row-major and of libtorch's types."""
    torch.manual_seed(0)

    def f(_: Any, x: Tensor, ids: Tensor) -> Any:
        square = x @ x.mT + 2 * torch.eye(x.shape[0])
        q, r = torch.linalg.qr(square)
        sign, logarithm = torch.linalg.slogdet(square)
        solved = torch.linalg.solve(square, torch.nn.functional.gelu(x))
        return {
            "product": q @ r,
            "solved": solved.mT,
            "values": torch.linalg.svdvals(x),
            "determinant": sign * logarithm.exp(),
            "unique": torch.unique(ids),
            "exponential": torch.linalg.matrix_exp(square / 10),
            "short": torch.complex(x, -x).chalf(),
            "unsigned": ids.to(torch.uint64),
        }

    return Model(
        Compute(f),
        (randn(4, 6), torch.tensor([3, 1, 3])),
        dynamic_shapes=(({0: DYNAMIC(min=2, max=6)}, None),),
        golden_inputs=calls((randn(5, 6), torch.tensor([2, 2, 2]))),
    )


def _mix(
    x: Tensor, bias: Any, parts: Any, masks: Any, rows: int, scale: float, alpha: Any, negate: bool, mode: str,
    dims: Any, factors: Any, flags: Any, dtype: torch.dtype, device: Any = None, *, n: Any = None,
) -> Any:  # fmt: skip
    total = x * scale + alpha + len(mode) + sum(dims) + sum(factors or ()) + sum(flags)
    total = total + (0 if bias is None else bias) + sum(mask for mask in masks if mask is not None)
    total = -total if negate else total
    return total[:rows].to(dtype), [part * (n or 1) for part in parts]


# This file is imported for each of its models.
_OPERATORS: dict[str, tuple[str, Callable[..., Any]]] = {
    "mix": (
        "(Tensor x, Tensor? bias, Tensor[] parts, Tensor?[] masks, int rows, float scale, Scalar alpha, bool negate, "
        "str mode, int[] dims, float[]? factors, bool[] flags, ScalarType dtype, Device? device=None, *, "
        "SymInt? n=None) -> (Tensor, Tensor[])",
        _mix,
    ),
    "absent": ("(Tensor x) -> Tensor", lambda x: x + 1),
    "shifted": ("(Tensor x, float by) -> Tensor", lambda x, by: x + by),
    "scaled": ("(Tensor x, float by) -> Tensor", lambda x, by: x * by),
}
for _name, (_schema, _function) in _OPERATORS.items():
    if not hasattr(torch.ops.aotbuild_test, _name):
        torch.library.define(f"aotbuild_test::{_name}", _schema)
        torch.library.impl(f"aotbuild_test::{_name}", "CompositeExplicitAutograd", _function)
        torch.library.register_fake(f"aotbuild_test::{_name}", _function)

# One kernel over kernel.h, one over libtorch's own C shim in a library that the target links.
aotbuild.register_kernel(
    "aotbuild_test::shifted",
    "AOTITorchError shifted(AtenTensorHandle x, double by, AtenTensorHandle* result)",
    ["kernels/shifted.cpp"],
)
aotbuild.register_kernel(
    "aotbuild_test::scaled",
    "AOTITorchError aotbuild_test_scaled(AtenTensorHandle x, double by, AtenTensorHandle* result)",
    [],
)


def custom_operators() -> Model:
    torch.manual_seed(0)

    def f(_: Any, x: Tensor, mask: Tensor) -> Any:
        operators = torch.ops.aotbuild_test
        first, parts = operators.mix(
            x.relu(), None, [x, x + 1], [mask, None], 2, 0.5, 3, True, 'a "mode"', [1, 2], [0.25], [True, False],
            torch.float64, torch.device("cpu"), n=x.shape[0],
        )  # fmt: skip
        second, _ = operators.mix(x, mask, [], [], 1, float("inf"), 1.5, False, "", [], None, [], torch.float32)
        return first, parts[0] * 2, parts[1], second, operators.shifted(x.mT, 2.0), operators.scaled(x, 3.0)

    return Model(
        Compute(f),
        (randn(3, 4), randn(3, 4)),
        dynamic_shapes=(({0: DYNAMIC(min=2, max=6)}, {0: DYNAMIC(min=2, max=6)}),),
        golden_inputs=calls((randn(6, 4), randn(6, 4))),
    )


def absent_operator() -> Model:
    return Model(Compute(lambda _, x: torch.ops.aotbuild_test.absent(x) * 2), (randn(3),))
