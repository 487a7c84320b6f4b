"""The configurations of a kernel that are worth measuring: the heuristics' choice first."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from aotbuild.lower.cuda.compile import templates
from aotbuild.lower.cuda.compile.choices import Problem, Tiles, estimated_time
from aotbuild.lower.cuda.compile.hints import Case
from aotbuild.lower.cuda.compile.kernels import Config, TritonKernel, load_kernel
from aotbuild.lower.cuda.compile.tunable import TunableKernel
from aotbuild.spec.dtypes import DTYPES
from aotbuild.spec.target import CudaArchitecture

# Of templates: how many; the sides of tiles, which the estimate ranks well; and for each tile BLOCK_K and stages, of
# which it knows little but for small tiles. So of the best tiles several of the latter are tried, in this order.
TEMPLATE_CANDIDATES = 48
_SAME_TILE = 7
_SMALL_TILE = 32 * 32
_BLOCKS = (16, 32, 64, 128, 256)
_PIPELINES = ((64, 4), (64, 3), (32, 4), (64, 5), (128, 3), (32, 3), (32, 5), (128, 4), (16, 4), (16, 3), (128, 5))
# Of other kernels.
_CANDIDATES = 12
_MAX_WARPS = 16

# A size or a constant in the source of a template.
_SIZE = r"^    ([A-Z][A-Z0-9_]*)(?: : tl\.constexpr)? = ([\w+*/ ()-]+)$"

_DTYPES = {dtype.triton: getattr(torch, dtype.name) for dtype in DTYPES.values()}


def candidates(tunable: TunableKernel, gpu: CudaArchitecture, limit: int | None = None) -> list[Config]:
    """Configurations for ``compile_configs``; that which is used without tuning comes first.

    Args:
        limit: at most so many.
    """
    source = tunable.kernel.source
    found = _template_configs(tunable, gpu) if templates.is_template(source) else _heuristic_configs(tunable.kernel)
    unique = list({repr(sorted(config.items())): config for config in found}.values())
    return unique[:limit]


def _heuristic_configs(kernel: TritonKernel) -> list[Config]:
    """What TorchInductor would measure with ``max_autotune``, with half and twice the warps too."""
    from torch._inductor.runtime.triton_heuristics import config_to_dict

    given: list[Config] = [config_to_dict(config) for config in load_kernel(kernel).configs]
    if "@triton_heuristics.user_autotune" in kernel.source:
        return given
    wide = dataclasses.replace(kernel, source=kernel.source.replace("'max_autotune': False", "'max_autotune': True"))
    more: list[Config] = [config_to_dict(config) for config in load_kernel(wide).configs]
    warps: list[Config] = [
        {**config, "num_warps": count}
        for config in [*given, *more]
        for count in (config["num_warps"] // 2, config["num_warps"] * 2)
        if 1 <= count <= _MAX_WARPS
    ]
    return [*given, *more, *warps][: max(_CANDIDATES, len(given))]


def _template_configs(tunable: TunableKernel, gpu: CudaArchitecture) -> list[Config]:
    source = tunable.kernel.source
    first = templates.config_of(source)
    sizes = [_sizes(source, case) for case in tunable.cases]
    problems = [_problem(source, known) for known in sizes]
    rows, columns, depth = (max(getattr(problem, name) for problem in problems) for name in ("m", "n", "k"))
    ranked: list[tuple[float, list[Config]]] = []
    for m, n in itertools.product(_BLOCKS, _BLOCKS):
        if m > _covering(rows) or n > _covering(columns):
            continue
        found: list[tuple[float, Config]] = []
        for (k, stages), warps in itertools.product(_PIPELINES, _warps(m * n)):
            tiles = Tiles(m, n, k, stages, warps)
            time = math.prod(estimated_time(problem, tiles, gpu) for problem in problems)
            if k <= max(32, _covering(depth)) and math.isfinite(time) and _same_pieces(sizes[0], k):
                tile = {"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "num_stages": stages, "num_warps": warps}
                found.append((time, {**first, **tile}))
        if m * n <= _SMALL_TILE:
            found.sort(key=lambda entry: entry[0])
        if found:
            best = min(time for time, _ in found)
            ranked.append((best, [config for _, config in found[:_SAME_TILE]]))
    ranked.sort(key=lambda entry: entry[0])
    return [first, *(config for _, configs in ranked for config in configs)][:TEMPLATE_CANDIDATES]


def _warps(accumulators: int) -> tuple[int, ...]:
    """Warps for a tile: 4 work together on Hopper's tensor cores, and a thread holds at most 256 accumulators."""
    if accumulators <= _SMALL_TILE:
        return 4, 2
    return (4,) if accumulators < 128 * 128 else (8, 4) if accumulators <= 4 * 32 * 256 else (8,)


def _covering(size: int) -> int:
    return max(16, 1 << (size - 1).bit_length())


def _sizes(source: str, case: Case) -> dict[str, Any]:
    """What a template's source calls its sizes and constants, as far as they follow from numbers and parameters."""
    parameters = re.search(r"^def \w+\((.*)\):$", source, re.MULTILINE)
    assert parameters is not None
    sizes: dict[str, Any] = dict(zip(parameters[1].split(", "), case))
    for name, expression in re.findall(_SIZE, source, re.MULTILINE):
        if _is_known(expression, sizes):
            sizes[name] = int(eval(expression, {"__builtins__": {}}, dict(sizes)))
    return sizes


def _same_pieces(sizes: Mapping[str, Any], k: int) -> bool:
    """Whether blocks that divide a convolution's sum take the same parts of it as with other BLOCK_K.

    Their partial sums are the kernel's result, and could not be compared otherwise.
    """
    splits = sizes.get("SPLITS", 1)
    steps = sizes.get("KERNEL_H", 1) * sizes.get("KERNEL_W", 1) * sizes.get("CHANNELS", 1) // k
    return bool(splits == 1 or (sizes["CHANNELS"] % k == 0 and steps % splits == 0))


def _problem(source: str, sizes: Mapping[str, Any]) -> Problem:
    """The size of a template's product."""
    kind = re.search(r"'arg_[AX]': '\*(\w+)'", source)
    dtype = _DTYPES.get(kind[1] if kind else "", torch.float32)
    spatial = [name for name in ("D", "H", "W") if f"OUT_{name}" in sizes]
    if spatial:
        pixels = (
            sizes["PIXELS"] if "PIXELS" in sizes else sizes["BATCH"] * math.prod(sizes[f"OUT_{n}"] for n in spatial)
        )
        taps = math.prod(sizes[f"KERNEL_{name}"] for name in spatial)
        groups = sizes["GROUPS"]
        outputs = sizes["OUTPUTS"] if "OUTPUTS" in sizes else sizes["OUT_C"] // groups
        channels = sizes["CHANNELS"] if "CHANNELS" in sizes else sizes["IN_C"] // groups
        if sizes.get("ROWS"):  # a row of taps is summed over at once
            channels, taps = channels * sizes["KERNEL_W"], taps // sizes["KERNEL_W"]
        splits = sizes.get("SPLITS", 1)
        return Problem(groups * splits, pixels, outputs, max(1, channels), math.ceil(taps / splits), dtype)
    depth = sizes.get("K", sizes.get("K1", 1))
    return Problem(sizes.get("BATCH", 1), sizes["M"], sizes["N"], max(1, depth), 1, dtype)


def _is_known(expression: str, values: Mapping[str, Any]) -> bool:
    names = {node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name)}
    return all(isinstance(values.get(name), int) for name in names)


def all_candidates(
    kernels: Sequence[TunableKernel], gpu: CudaArchitecture, limit: int | None = None
) -> Iterator[tuple[TunableKernel, Config]]:
    """Every pair of a kernel and a configuration to compile."""
    from aotbuild.lower.cuda.compile.device import declared

    with declared(gpu):
        for tunable in kernels:
            for config in candidates(tunable, gpu, limit):
                yield tunable, config
