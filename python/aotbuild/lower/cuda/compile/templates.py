"""Kernels of TorchInductor's templates with other tile sizes: matrix products and convolutions are tuned by these."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import sympy

from aotbuild.spec.upstream import patched

# The parameters of a template that a configuration sets, beside num_warps and num_stages.
TILES = ("BLOCK_M", "BLOCK_N", "BLOCK_K", "GROUP_M")
_LAUNCH_OPTIONS = ("num_warps", "num_stages")

_SYMBOLS = {name: sympy.Symbol(name, integer=True, positive=True) for name in TILES}


@contextlib.contextmanager
def adaptable() -> Iterator[None]:
    """Makes TorchInductor write templates so that ``with_config`` can put other tile sizes into the text.

    Whether the tiles divide the reduced dimension is left open, and the grid is an expression of the tile sizes.
    """
    from torch._inductor import select_algorithm

    template, kernel = select_algorithm.TritonTemplate, select_algorithm.TritonTemplateKernel
    generate, grid_arguments = template.generate, kernel.additional_call_args_and_types

    def generate_masked(self: Any, **kwargs: Any) -> Any:
        if "EVEN_K" in kwargs:
            kwargs["EVEN_K"] = False
        return generate(self, **kwargs)

    def symbolic_grid(self: Any) -> Any:
        meta = self.meta
        self.meta = {**meta, **{name: symbol for name, symbol in _SYMBOLS.items() if name in meta}}
        try:
            return grid_arguments(self)
        finally:
            self.meta = meta

    with (
        patched(template, "generate", generate_masked),
        patched(kernel, "additional_call_args_and_types", symbolic_grid),
    ):
        yield


def is_template(source: str) -> bool:
    return "\n@triton_heuristics.template(" in source


def config_of(source: str) -> dict[str, int]:
    """The configuration that a template's source is written with."""
    config = {name: int(value) for name, value in re.findall(_TILE, source, re.MULTILINE)}
    return {**config, **{name: int(value) for name, value in re.findall(_OPTION, source, re.MULTILINE)}}


def with_config(source: str, config: Mapping[str, Any]) -> str:
    """The same kernel with the configuration's tile sizes, warps and stages; what it does not name stays."""
    settings = {**config_of(source), **config}
    reduced = re.search(r"^ +K1? = (\d+)$", source, re.MULTILINE)
    divides = reduced is not None and "BLOCK_K" in settings and int(reduced[1]) % settings["BLOCK_K"] == 0
    source = re.sub(_TILE, lambda found: f"    {found[1]} : tl.constexpr = {settings[found[1]]}", source, flags=re.M)
    source = re.sub(_OPTION, lambda found: f"{found[1]}={settings[found[1]]},", source, flags=re.M)
    if divides:
        source = source.replace("    EVEN_K : tl.constexpr = False\n", "    EVEN_K : tl.constexpr = True\n")
        # A mask of constants is none to Triton, so the loads are the same as without.
        source = re.sub(_MASK, r"\1 = tl.full([1, 1], True, tl.int1)", source, flags=re.M)
    return source


def grid_sizes(expression: sympy.Expr, config: Mapping[str, Any]) -> sympy.Expr:
    """A size of a template's grid for a configuration."""
    return sympy.sympify(expression.subs({_SYMBOLS[name]: config[name] for name in TILES if name in config}))


def is_open(expression: Any) -> bool:
    """Whether the size of a grid depends on the configuration."""
    return isinstance(expression, sympy.Expr) and bool(expression.free_symbols & set(_SYMBOLS.values()))


_TILE = rf"^    ({'|'.join(TILES)}) : tl\.constexpr = (\d+)$"
_OPTION = rf"^({'|'.join(_LAUNCH_OPTIONS)})=(\d+),$"
_MASK = r"^( +\w+_mask) = \w+\[.*\] < \(K - k_idx \* BLOCK_K\)$"
