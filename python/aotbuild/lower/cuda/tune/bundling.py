"""From a captured program to a tuning bundle: all candidates compiled, each launch with its sizes and inputs."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch

from aotbuild.capture import Captured
from aotbuild.lower.cuda.compile import epilogues, templates
from aotbuild.lower.cuda.compile.hints import BufferHint, Case
from aotbuild.lower.cuda.compile.indexing import INDEX_ERROR
from aotbuild.lower.cuda.compile.kernels import CompiledKernel, Config, Progress, compile_configs
from aotbuild.lower.cuda.compile.lowering import Alternative, kernels_to_tune
from aotbuild.lower.cuda.compile.templates import grid_sizes
from aotbuild.lower.cuda.compile.tunable import TunableKernel
from aotbuild.lower.cuda.compile.wrapper import grid_numbers
from aotbuild.lower.cuda.tune.candidates import all_candidates
from aotbuild.spec.program import TensorData
from aotbuild.spec.target import CudaTarget, cuda_target
from aotbuild.tuning.bundle import Buffer, Bundle, Candidate, Comparison, Kernel

# Floating-point values are random but for what is small: variances have to be positive, say.
_REAL_BYTES = 1 << 16


def bundle(
    captured: Captured,
    architecture: str,
    *,
    target: str,
    versions: str,
    preset: str = "default",
    options: Mapping[str, Any] | None = None,
    limit: int | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Compiles every candidate of every kernel for one architecture, those for epilogues that are not fused included.

    Args:
        architecture: a value of CUDA_ARCHITECTURES.
        limit: at most so many candidates a kernel.
        progress: called with the number of candidates that are compiled and that of all.
    """
    gpu = cuda_target(architecture)
    prepared, tunable, alternatives = kernels_to_tune(
        captured,
        architecture,
        target=target,
        preset=preset,
        options=options,
        with_alternatives=bool((options or {}).get(epilogues.OPTION, True)),
    )
    comparisons = [_comparison(alternative, tunable) for alternative in alternatives]
    unique: dict[str, TunableKernel] = {}
    for kernel in itertools.chain(tunable, *(alternative.kernels for alternative in alternatives)):
        unique.setdefault(kernel.key, kernel)
    pairs = list(all_candidates(list(unique.values()), gpu.architecture, limit))
    compiled = compile_configs(
        [(kernel.kernel, config) for kernel, config in pairs], gpu, processes=processes, progress=progress
    )
    values = dict(zip(prepared.input_names, captured.golden[0].inputs)) if captured.golden else {}
    values.update({name: prepared.weights[index].tensor for name, index in prepared.weight_index.items()})
    inputs = _Inputs(values, {node.name for node in prepared.module.graph.nodes if node.op == "placeholder"})
    launches = _launches(tunable)
    kernels = []
    for kernel in unique.values():
        results = [(config, result) for (owner, config), result in zip(pairs, compiled) if owner is kernel]
        made = _kernel(kernel, results, inputs, _grid)
        kernels.append(dataclasses.replace(made, launches=launches[kernel.key]))
    return Bundle(target, gpu.name, versions, [kernel for kernel in kernels if kernel.candidates], comparisons)


def _comparison(alternative: Alternative, kernels: Sequence[TunableKernel]) -> Comparison:
    before, after = _launches(kernels), _launches(alternative.kernels)
    fused = before - after
    (name, *_) = [
        kernel.kernel.name
        for kernel in sorted(kernels, key=lambda kernel: not templates.is_template(kernel.kernel.source))
        if kernel.key in fused
    ]
    return Comparison(alternative.key, name, dict(fused), dict(after - before))


def _launches(kernels: Sequence[TunableKernel]) -> Counter[str]:
    """Of a call, by the kernel's key: kernels that differ by name alone have one."""
    launches: Counter[str] = Counter()
    for kernel in kernels:
        launches[kernel.key] += len(kernel.work)
    return launches


def kernel_bundle(
    tunable: TunableKernel,
    configs: Sequence[Config],
    gpu: CudaTarget,
    grid: Callable[[CompiledKernel, Case], tuple[int, int, int]],
    progress: Progress | None = None,
) -> Kernel:
    """Compiles the configurations of one kernel outside any model; no launch finds its arguments in the cache."""
    compiled = compile_configs([(tunable.kernel, config) for config in configs], gpu, progress=progress)
    names = {value.name for case in tunable.cases for value in case if isinstance(value, BufferHint)}
    return _kernel(tunable, list(zip(configs, compiled)), _Inputs({}, names), grid)


@dataclass(frozen=True)
class _Inputs:
    """The graph's inputs: values of those that are known, by name, and the names of all, weights included."""

    values: Mapping[str, TensorData]
    names: set[str]


def _kernel(
    tunable: TunableKernel,
    results: Sequence[tuple[Config, CompiledKernel | str]],
    inputs: _Inputs,
    grid: Callable[[CompiledKernel, Case], tuple[int, int, int]],
) -> Kernel:
    failures = [f"{dict(config)}: {result}" for config, result in results if isinstance(result, str)]
    binaries = [(config, result) for config, result in results if isinstance(result, CompiledKernel)]
    if not binaries:
        return Kernel(tunable.key, tunable.kernel.name, (), (), (), failures)
    first = binaries[0][1]
    index_error = {INDEX_ERROR: BufferHint(4, "int32", "")}
    named = [index_error | dict(zip(first.wrapper_parameters, case, strict=True)) for case in tunable.cases]
    cases = [[_argument(case[name], first.signature[name], inputs) for name in first.parameters] for case in named]
    parameters = [_kind(first.signature[name]) for name in first.parameters]
    nulls = ["null"] * (first.parameter_count - len(parameters))
    candidates = [
        Candidate(
            config,
            binary.image,
            binary.symbol,
            binary.threads,
            binary.shared_bytes,
            binary.cluster_blocks,
            binary.cooperative,
            [grid(binary, case) for case in tunable.cases],
            binary.scratch_bytes,
        )
        for config, binary in binaries
        if (binary.parameters, binary.signature) == (first.parameters, first.signature)
    ]
    return Kernel(tunable.key, tunable.kernel.name, [*parameters, *nulls], cases, candidates, failures)


def _kind(triton_type: str) -> str:
    return "pointer" if triton_type.startswith("*") else triton_type


def _grid(kernel: CompiledKernel, case: Case) -> tuple[int, int, int]:
    return grid_numbers(kernel, dict(_numbers(kernel, case)))


def _numbers(kernel: CompiledKernel, case: Case) -> Iterator[tuple[str, int]]:
    for name, value in zip(kernel.wrapper_parameters, case, strict=True):
        if isinstance(value, sympy.Expr):
            yield name, int(grid_sizes(value, kernel.config))
        elif isinstance(value, int):
            yield name, value


def _argument(value: object, triton_type: str, inputs: _Inputs) -> Buffer | int | float:
    if not isinstance(value, BufferHint):
        assert isinstance(value, (int, float)), f"a parameter of type {triton_type} has no value to tune with"
        return value
    rotates = value.name in inputs.names
    known = inputs.values.get(value.name)
    if known is None or known.dtype != value.dtype or known.data.size == 0:
        return Buffer(value.nbytes, value.dtype, rotates)
    if getattr(torch, value.dtype).is_floating_point and value.nbytes > _REAL_BYTES:
        return Buffer(value.nbytes, value.dtype, rotates)
    data = known.data.tobytes()
    # At larger sizes the example's values are repeated: indices stay in range.
    return Buffer(value.nbytes, value.dtype, rotates, (data * (value.nbytes // len(data) + 1))[: value.nbytes])
