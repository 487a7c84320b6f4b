"""NaN, infinities and equal elements in what orders, selects and searches: eager PyTorch's values and places."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import aotbuild

NAN = math.nan
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def _along(*functions: Callable[[Tensor, int], Any]) -> Callable[[Tensor], Any]:
    """Each function along each dimension."""
    return lambda x: [function(x, dim) for function in functions for dim in range(x.dim())]


def _number(x: Tensor, value: float) -> Tensor:
    return torch.full((1, 4, 2), value, dtype=x.dtype)


# Of [4, 6, 7]: even and odd counts.
FUNCTIONS: dict[str, Callable[[Tensor], Any]] = {
    "median": lambda x: [torch.median(x), torch.median(x[0, 0]), torch.median(x[0, 0, :1])],
    "nanmedian": lambda x: [torch.nanmedian(x), torch.nanmedian(x[0, 0]), torch.nanmedian(x[0, 0, :1])],
    "medians": _along(torch.median, lambda x, dim: torch.median(x, dim, True)),
    "nanmedians": _along(torch.nanmedian),
    "modes": _along(lambda x, dim: torch.mode(x.nan_to_num(9, 8, -8), dim)),  # of NaN, eager's order is undefined
    "kthvalues": _along(lambda x, dim: torch.kthvalue(x, 1, dim), lambda x, dim: torch.kthvalue(x, 4, dim)),
    "topk": _along(lambda x, dim: torch.topk(x, 1, dim), lambda x, dim: torch.topk(x, 4, dim, largest=False)),
    "sort": _along(
        lambda x, dim: torch.sort(x, dim=dim, stable=True),
        lambda x, dim: torch.sort(x, dim=dim, stable=True, descending=True),
        lambda x, dim: torch.argsort(x, dim=dim, stable=True),
        lambda x, dim: torch.sort(x, dim).values,
    ),
    "argmax": _along(torch.argmax, torch.min),
    "extremes": lambda x: [f(x) for f in (torch.max, torch.min, torch.argmax, torch.argmin, torch.amax, torch.aminmax)],
    "aminmax": lambda x: [torch.aminmax(x, dim=1), torch.max(x, 0), torch.argmin(x, 2)],
    "cumulative": _along(torch.cummax, torch.cummin),
    "pairs": lambda x: [f(x, x.flip(0)) for f in (torch.maximum, torch.minimum, torch.fmax, torch.fmin)],
    "clamp": lambda x: [x.clamp(NAN, 1), x.clamp(-1, NAN), x.clamp(min=NAN), x.clamp_max(NAN), x.clamp(1, -1)],
    "clamp_tensors": lambda x: [x.clamp(x.flip(0), x.flip(1)), x.clamp(min=x.flip(0)), x.clamp(max=x.flip(1))],
    "comparisons": lambda x: [x == x.flip(0), x < x.flip(0), x >= x.flip(1), torch.isin(x, x[0, 0, :2]), x.sign()],
    "logical": lambda x: [x.any(), x.all(1), x.bool(), x.count_nonzero(), x.nan_to_num()],
    "adaptive_1d": lambda x: [functional.adaptive_max_pool1d(x, size, True) for size in (1, 3, 7)],
    "adaptive_2d": lambda x: [functional.adaptive_max_pool2d(x, size, True) for size in ((4, 3), (2, 7), 1)],
    "adaptive_3d": lambda x: [functional.adaptive_max_pool3d(x[None], size, True) for size in ((2, 4, 3), 1)],
    "pools": lambda x: [functional.max_pool1d(x, 3, 2, 1, return_indices=True), functional.max_pool2d(x, 2, 1, 1)],
    "fractional_2d": lambda x: functional.fractional_max_pool2d(
        x[None], 2, (3, 4), _random_samples=_number(x, 0.3), return_indices=True
    ),
    "fractional_3d": lambda x: functional.fractional_max_pool3d(
        x[None, None], 2, (2, 3, 4), _random_samples=_number(x, 0.3)[:, :1, [0, 0, 0]], return_indices=True
    ),
    "searchsorted": lambda x: [
        *(torch.searchsorted(x.flatten().sort().values, x, right=right) for right in (False, True)),
        *(torch.searchsorted(x.sort(-1).values, x.flip(0), right=right) for right in (False, True)),
    ],
    "bucketize": lambda x: [
        torch.bucketize(x, torch.tensor(bounds, dtype=x.dtype), right=right)
        for bounds in ((-1.0, 0.0, 1.5), (-1.0, 0.0, 1.5, NAN))
        for right in (False, True)
    ],
    "unique": lambda x: [
        torch.unique(x, return_counts=True),
        torch.unique(x.nan_to_num(9, 8, -8), return_inverse=True),  # of NaN, eager's places depend on the type
        torch.unique_consecutive(x, return_inverse=True, return_counts=True),
    ],
    "histc": lambda x: [torch.histc(x, 7, -2, 2), torch.histc(x, 5, -3, 3)],
    "quantile": lambda x: [
        torch.quantile(x, torch.tensor([0.0, 0.3, 0.75], dtype=x.dtype), dim, interpolation=way)
        for dim, way in ((None, "linear"), (1, "nearest"))
    ],
    "nanquantile": lambda x: [torch.nanquantile(x, 0.3), torch.nanquantile(x, 0.6, 1)],
}
WIDE = ("quantile", "nanquantile")  # of float32 and float64 alone


def order(x: Tensor) -> dict[str, Any]:
    """``x``: [4, 6, 7]."""
    return {
        f"{name}_{str(dtype).removeprefix('torch.')}": function(x.to(dtype))
        for name, function in FUNCTIONS.items()
        for dtype in (FLOATS[:2] if name in WIDE else FLOATS)
    }


def leaves(value: Any) -> list[Tensor]:
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple | list) else [value]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return aotbuild.compile(order, (_inputs("few"),), output_dir=tmp_path_factory.mktemp("order")).runner


def _inputs(kind: str) -> Tensor:
    """Whole and half numbers, many of them equal, and what is no number in places that ``kind`` says."""
    x = torch.randint(-6, 7, (4, 6, 7), generator=torch.Generator().manual_seed(3)) / 2
    flat = x.view(-1)
    if kind == "few":
        flat[::11] = NAN
    elif kind == "many":
        flat[::5], flat[::7], flat[::3] = math.inf, -math.inf, NAN
    elif kind == "last":
        flat[-1] = x[:, -1, 2] = NAN
    elif kind == "all":
        x[:] = NAN
    elif kind == "least":
        x[:] = -math.inf
        flat[3] = NAN
    return x


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["none", "few", "many", "last", "all", "least"])
def test_values_and_places_are_eager_pytorchs(library: Any, kind: str) -> None:
    x = _inputs(kind)
    actual, expected = library(x), order(x)
    wrong = {}
    for name, wanted in expected.items():
        for number, (got, want) in enumerate(zip(leaves(actual[name]), leaves(wanted), strict=True)):
            try:
                torch.testing.assert_close(torch.as_tensor(got), want, equal_nan=True, check_stride=False)
            except AssertionError as error:
                wrong[name, number] = str(error)[:200]
    assert not wrong, wrong
