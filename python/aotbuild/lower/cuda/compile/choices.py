"""One configuration for the template of each matrix product and convolution, chosen without running any."""

from __future__ import annotations

import ast
import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch._inductor import select_algorithm
from torch._inductor.virtualized import V

from aotbuild.lower.cuda.compile.templates import adaptable
from aotbuild.spec.target import CudaArchitecture

# Times in microseconds, fitted to the timings of all configurations of 9 matrix products and 6 convolutions in float16
# on an H100: what the estimate chooses took 1.1 times as long as the best, by the geometric mean; a random one 2.1.
_LATENCY = 0.86  # from asking for a block of operands to having it; stages overlap
_STEP = 0.16  # of each step of the loop, whatever its size
_MULTIPLY = 1.5e-6  # for each multiplication
_FETCH = 5.8e-5  # for each element of the operands
_START = 0.69  # of a block of threads
_SPILL = 0.41  # by which a step is longer for each further 128 accumulators a thread


@contextlib.contextmanager
def one_choice(gpu: CudaArchitecture) -> Iterator[None]:
    """Leaves one of the candidates for each template, so that TorchInductor has nothing to measure."""

    def choose(candidates: list[Any]) -> list[Any]:
        templates = [candidate for candidate in candidates if "tile_shape" in getattr(candidate, "log_info", {})]
        if len(templates) < 2:
            return [*templates, *candidates][:1]
        return [min(templates, key=lambda candidate: estimated_time(_problem(candidate), _tiles(candidate), gpu))]

    cache = select_algorithm.get_algorithm_selector_cache()
    before = list(cache.preprocessing_fns)
    cache.preprocessing_fns.append(choose)
    try:
        with adaptable():
            yield
    finally:
        cache.preprocessing_fns[:] = before


@dataclass(frozen=True)
class Problem:
    """``batch`` products [m, k] @ [k, n], each summed over ``taps`` of them."""

    batch: int
    m: int
    n: int
    k: int
    taps: int
    dtype: torch.dtype


@dataclass(frozen=True)
class Tiles:
    """What one block of threads computes at a time."""

    m: int
    n: int
    k: int
    stages: int
    warps: int


def _problem(candidate: Any) -> Problem:
    sizes = [_hint(size) for size in candidate.layout.size]
    if "convolution" in candidate.name:
        weight = [_hint(size) for size in candidate.input_nodes[1].get_size()]
        pixels = sizes[0] * math.prod(sizes[2:])
        return Problem(1, pixels, sizes[1], weight[1], math.prod(weight[2:]), candidate.layout.dtype)
    k = _hint(candidate.input_nodes[-1].get_size()[-2])
    return Problem(math.prod(sizes[:-2]), sizes[-2], sizes[-1], k, 1, candidate.layout.dtype)


def _hint(size: Any) -> int:
    return max(1, int(V.graph.sizevars.optimization_hint(size, fallback=128)))


def _tiles(candidate: Any) -> Tiles:
    info = candidate.log_info
    m, k, n = ast.literal_eval(info["tile_shape"])
    return Tiles(m, n, k, info["num_stages"], info["num_warps"])


def estimated_time(problem: Problem, tiles: Tiles, gpu: CudaArchitecture) -> float:
    """An estimate in microseconds: blocks run in waves, a step takes as long as its slowest part."""
    size = problem.dtype.itemsize
    tensor_cores = problem.dtype in (torch.float16, torch.bfloat16)
    blocks = problem.batch * math.ceil(problem.m / tiles.m) * math.ceil(problem.n / tiles.n)
    steps = problem.taps * math.ceil(problem.k / tiles.k)
    shared = tiles.stages * (tiles.m + tiles.n) * tiles.k * size
    if shared > gpu.shared_memory_per_block_optin:
        return math.inf
    threads = 32 * tiles.warps
    # 32-bit registers: the accumulators and what goes with them, and 40 of each thread's for everything else.
    registers = int(1.5 * tiles.m * tiles.n) + 40 * threads
    resident = max(
        1,
        min(
            gpu.shared_memory_per_multiprocessor // shared,
            gpu.max_threads_per_multi_processor // threads,
            65536 // registers,
        ),
    )
    multiply = _MULTIPLY * tiles.m * tiles.n * tiles.k * (1 if tensor_cores else 16)
    fetch = _FETCH * (tiles.m + tiles.n) * tiles.k * size / 2
    spill = 1 + _SPILL * max(0.0, tiles.m * tiles.n / threads / 128 - 1)

    def wave(together: int) -> float:
        return _START + steps * max(_LATENCY / tiles.stages + _STEP, together * max(multiply, fetch))

    full, rest = divmod(blocks, gpu.multi_processor_count * resident)
    last = wave(math.ceil(rest / gpu.multi_processor_count)) if rest else 0.0
    return (full * wave(resident) + last) * spill
