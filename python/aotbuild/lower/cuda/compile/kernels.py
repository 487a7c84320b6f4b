"""Triton kernels to machine code: each kernel of a model compiled for one architecture, in processes of their own."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import linecache
import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch._inductor.runtime.hints import HeuristicType

from aotbuild.cache import enabled
from aotbuild.cache.keys import digest, tools_key
from aotbuild.lower.cuda.compile import cubin, dependent, reductions, templates
from aotbuild.lower.cuda.compile.indexing import INDEX_ERROR
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.target import CudaTarget
from aotbuild.spec.upstream import patched

# What one process may allocate, and how much of the machine's free memory is counted for each. A compilation takes 0.3
# to 0.6 GiB; a few kernels with large tiles take more.
_MEMORY_LIMIT = 6 << 30
_MEMORY_PER_PROCESS = 1 << 30

# Triton appends a pointer to global scratch memory and one to profiling data to the parameters of every kernel.
_SCRATCH_POINTERS = 2


@dataclass(frozen=True)
class Scalar:
    """A C++ type and its size in bytes."""

    name: str
    size: int


# Triton's scalar types. Of float16 and bfloat16, C++ has none to pass; TorchInductor writes no such parameter.
SCALARS = {
    "i1": Scalar("bool", 1),
    "i8": Scalar("std::int8_t", 1),
    "i16": Scalar("std::int16_t", 2),
    "i32": Scalar("std::int32_t", 4),
    "i64": Scalar("std::int64_t", 8),
    "u8": Scalar("std::uint8_t", 1),
    "u16": Scalar("std::uint16_t", 2),
    "u32": Scalar("std::uint32_t", 4),
    "u64": Scalar("std::uint64_t", 8),
    "fp32": Scalar("float", 4),
    "fp64": Scalar("double", 8),
}

# What every compilation imports, imported once.
_PRELOADED = ("aotbuild.lower.cuda.compile.device", "torch._inductor.runtime.triton_heuristics", "triton.compiler")

# A configuration of a kernel: its tile sizes, num_warps and num_stages by name.
Config = Mapping[str, Any]

# Answers which configuration a kernel gets on an architecture; None leaves it to the heuristics' first that fits.
Choose = Callable[["TritonKernel", CudaTarget], Config | None]

# Is told how many of how many kernels are compiled.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TritonKernel:
    """The Python source of one kernel as TorchInductor writes it: imports, heuristics, the ``triton.jit`` function."""

    name: str
    source: str


@dataclass(frozen=True)
class GridExpressions:
    """The number of blocks in x, y and z over the kernel's parameters, and temporaries that they refer to."""

    temporaries: tuple[tuple[str, str], ...]
    sizes: tuple[str, str, str]


@dataclass(frozen=True)
class CompiledKernel:
    """A kernel in machine code, and how it is launched.

    ``image``: a cubin, or PTX. ``signature``: Triton's types of the parameters by name ("*fp16", "i32").
    ``parameters``: names of those that a launch passes, in order; two pointers to scratch memory follow them: one to
    ``scratch_bytes`` a block, for tensor descriptors that are made on the device, and one that stays null.
    ``wrapper_parameters``: names of the values that the wrapper has for a launch, in its order.
    ``waits``: it may be started before the kernel before it has ended (``dependent.waits_first``).
    The grid is given in Python, for sizes that are known, and in C++.
    """

    name: str
    image: bytes
    symbol: str
    num_warps: int
    shared_bytes: int
    cluster_blocks: int
    cooperative: bool
    waits: bool
    scratch_bytes: int
    config: dict[str, Any]
    signature: dict[str, str]
    parameters: tuple[str, ...]
    wrapper_parameters: tuple[str, ...]
    python_grid: GridExpressions
    cpp_grid: GridExpressions

    @property
    def threads(self) -> int:
        return 32 * self.num_warps

    @property
    def parameter_count(self) -> int:
        """The number of values that a launch passes, the scratch pointers included."""
        return len(self.parameters) + _SCRATCH_POINTERS


@dataclass(frozen=True)
class _Job:
    """``only``: the configuration or nothing; else the heuristics' choice where it does not compile."""

    kernel: TritonKernel
    target: CudaTarget
    config: Config | None
    only: bool = False


def compile_kernels(
    kernels: Sequence[TritonKernel],
    target: CudaTarget,
    *,
    choose: Choose | None = None,
    processes: int | None = None,
) -> list[CompiledKernel]:
    """Compiles all kernels for one architecture.

    Args:
        choose: answers the configuration of a kernel.
        processes: how many work at a time; None: as many as processors and free memory allow; 0: this process.

    Raises:
        AotbuildError: a kernel does not compile, or needs more shared memory than the GPU has in every configuration;
            all such kernels at once.
    """
    jobs = [_Job(kernel, target, choose(kernel, target) if choose is not None else None) for kernel in kernels]
    results = _compile_jobs(jobs, processes)
    problems = [f"  {job.kernel.name}: {result}" for job, result in zip(jobs, results) if isinstance(result, str)]
    if problems:
        raise AotbuildError("\n".join([f"{len(problems)} kernel(s) do not compile for {target.name}:", *problems]))
    return [result for result in results if isinstance(result, CompiledKernel)]


def compile_configs(
    pairs: Sequence[tuple[TritonKernel, Config]],
    target: CudaTarget,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
) -> list[CompiledKernel | str]:
    """Compiles each kernel with the configuration beside it; the result is a text where that cannot be done."""
    return _compile_jobs([_Job(kernel, target, config, True) for kernel, config in pairs], processes, progress)


# --- processes


def _compile_jobs(
    jobs: Sequence[_Job], processes: int | None, progress: Progress | None = None
) -> list[CompiledKernel | str]:
    """The results of all jobs, from the compile cache where it has them."""
    store = enabled()
    keys = _keys(jobs) if store else []
    results: dict[int, CompiledKernel | str] = {}
    for index, key in enumerate(keys):
        data = store.get("kernels", key) if store else None
        if data is not None:
            results[index] = _decoded(data)
    missing = [index for index in range(len(jobs)) if index not in results]
    for index, compiled in zip(missing, _compile_all([jobs[index] for index in missing], processes)):
        results[index] = compiled
        if store and isinstance(compiled, CompiledKernel):
            store.put("kernels", keys[index], _encoded(compiled))
        if progress is not None:
            progress(len(results), len(jobs))
    if store and missing:
        store.trim()
    return [results[index] for index in range(len(jobs))]


def _compile_all(jobs: Sequence[_Job], processes: int | None) -> Iterator[CompiledKernel | str]:
    """Results in the order of the jobs; a text says why a kernel did not compile."""
    if not jobs:
        return
    pending: list[Callable[[], CompiledKernel]]
    with contextlib.ExitStack() as stack:
        if processes == 0:
            pending = [functools.partial(_compile, job) for job in jobs]
        else:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__, *_PRELOADED])
            count = min(len(jobs), processes or _process_count())
            pool = stack.enter_context(concurrent.futures.ProcessPoolExecutor(count, context, _limit_memory))
            pending = [pool.submit(_compile, job).result for job in jobs]
        for result in pending:
            try:
                yield result()
            except concurrent.futures.process.BrokenProcessPool:
                yield "the compiling process ended (out of memory?)"
            except MemoryError:
                yield f"needs more than {_MEMORY_LIMIT >> 30} GiB to compile"
            except _DoesNotCompileError as error:
                yield str(error)


def _process_count() -> int:
    processors = len(os.sched_getaffinity(0))
    with open("/proc/meminfo") as file:
        fields = dict(line.split(":", 1) for line in file)
    available = int(fields["MemAvailable"].split()[0]) << 10
    return max(1, min(processors, available // _MEMORY_PER_PROCESS))


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_LIMIT, _MEMORY_LIMIT))


class _DoesNotCompileError(Exception):
    """A kernel has no configuration that compiles and fits; the text says why."""


def _compile(job: _Job) -> CompiledKernel:
    """Compiles one kernel in this process, for a GPU that need not exist."""
    import triton
    from triton.backends.compiler import GPUTarget

    from aotbuild.lower.cuda.compile.device import declared

    triton.knobs.compilation.disable_line_info = True  # paths, and a third of the size
    gpu = job.target.architecture
    with tempfile.TemporaryDirectory(prefix="aotbuild-") as scratch, declared(gpu), triton.knobs.cache.scope():
        triton.knobs.cache.dir = scratch
        reasons = []
        for autotuner, config, settings in _attempts(job):
            try:
                binary = _compile_config(autotuner, config, GPUTarget("cuda", gpu.capability, 32))
            except MemoryError:
                raise
            except Exception as error:
                reasons.append(f"{type(error).__name__}: {error}")
                continue
            if binary.metadata.shared > gpu.shared_memory_per_block_optin:
                reasons.append(f"needs {binary.metadata.shared} bytes of shared memory a block")
                continue
            return _result(job, autotuner, config, settings, binary)
    raise _DoesNotCompileError(reasons[0])


def load_kernel(kernel: TritonKernel) -> Any:
    """Executes the source; the ``CachingAutotuner`` has the function, its signature and its candidates.

    The file has no folder: messages of device-side assertions name it, and they are part of the machine code.
    """
    filename = f"{kernel.name}.py"
    lines = kernel.source.splitlines(keepends=True)
    linecache.cache[filename] = (len(kernel.source), None, lines, filename)
    module = ModuleType(kernel.name)
    module.__file__ = filename
    sys.modules[kernel.name] = module
    # Upstream's heuristics take where no device is for another vendor's.
    with patched(torch.cuda, "is_available", lambda: True):
        exec(compile(kernel.source, filename, "exec"), module.__dict__)
    autotuner = getattr(module, kernel.name)
    if autotuner.heuristic_type in (HeuristicType.REDUCTION, HeuristicType.PERSISTENT_REDUCTION):
        count = autotuner.device_props.multi_processor_count
        autotuner.configs = reductions.ordered(autotuner.configs, autotuner.size_hints, count)
    return autotuner


def _attempts(job: _Job) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """What to compile, best first: a ``CachingAutotuner``, one of its configurations, and all settings of that."""
    from torch._inductor.runtime.triton_heuristics import config_from_dict, config_to_dict

    for config in [{}] if job.config is None else [job.config] if job.only else [job.config, {}]:
        if templates.is_template(job.kernel.source):
            source = templates.with_config(job.kernel.source, config)
            autotuner = _load_waiting(job, source)
            yield (
                autotuner,
                autotuner.configs[0],
                {**config_to_dict(autotuner.configs[0]), **templates.config_of(source)},
            )
            continue
        autotuner = _load_waiting(job, job.kernel.source)
        for candidate in [config_from_dict(dict(config))] if config else list(autotuner.configs):
            yield autotuner, candidate, config_to_dict(candidate)


def _load_waiting(job: _Job, source: str) -> Any:
    waiting = dependent.waiting(source, job.kernel.name, job.target.architecture)
    return load_kernel(dataclasses.replace(job.kernel, source=waiting))


def _compile_config(autotuner: Any, config: Any, target: Any) -> Any:
    import triton
    from triton.compiler import ASTSource

    meta = autotuner._create_compile_meta(config)
    source = ASTSource(autotuner.fn, meta["signature"], meta["constants"], meta["configs"][0])
    # Said for every kernel: else an environment variable decides, and the default is another one in later Tritons.
    options = {"enable_fp_fusion": True, **autotuner._create_compile_options(config, meta)}
    return triton.compile(source, target=target, options=options)


def _result(job: _Job, autotuner: Any, config: Any, settings: dict[str, Any], binary: Any) -> CompiledKernel:
    metadata = binary.metadata
    if metadata.profile_scratch_size:
        raise _DoesNotCompileError("uses memory for profiling, which is not supported")
    signature = {str(name): str(kind) for name, kind in autotuner._create_compile_meta(config)["signature"].items()}
    unknown = [f"{name}: {kind}" for name, kind in signature.items() if not _is_passable(kind)]
    if unknown:
        raise _DoesNotCompileError(f"parameters of these types are not supported: {', '.join(unknown)}")
    inductor_meta = autotuner.inductor_meta
    constants = {*settings, *inductor_meta.get("declared_constexpr_names", [])}
    names = [name for name in autotuner.fn.arg_names if name in signature]
    parameters = tuple(name for name in names if signature[name] != "constexpr")
    _check(binary.asm["cubin"], metadata.name, [signature[name] for name in parameters])
    return CompiledKernel(
        name=job.kernel.name,
        image=binary.asm["ptx"].encode() + b"\0" if job.target.ptx else binary.asm["cubin"],
        symbol=metadata.name,
        num_warps=metadata.num_warps,
        shared_bytes=metadata.shared,
        cluster_blocks=metadata.num_ctas,
        cooperative=bool(metadata.launch_cooperative_grid),
        waits=dependent.waits_itself(job.kernel.source) or dependent.waits_first(binary.asm["ptx"]),
        scratch_bytes=metadata.global_scratch_size,
        config=settings,
        signature=signature,
        parameters=parameters,
        wrapper_parameters=(
            *(name for name in names if name not in constants and name != INDEX_ERROR),
            *inductor_meta.get("extra_launcher_args", []),
        ),
        python_grid=_grid(inductor_meta, config, "python"),
        cpp_grid=_grid(inductor_meta, config, "cpp"),
    )


def _is_passable(kind: str) -> bool:
    return kind == "constexpr" or kind.startswith("*") or kind in SCALARS


def _check(image: bytes, symbol: str, types: Sequence[str]) -> None:
    """The machine code takes the parameters that a launch will pass: a mismatch would corrupt memory silently."""
    pointers = ["*"] * _SCRATCH_POINTERS
    expected = tuple(8 if kind.startswith("*") else SCALARS[kind].size for kind in (*types, *pointers))
    found = cubin.read(image).kernels.get(symbol)
    if found != expected:
        raise _DoesNotCompileError(
            f"Internal error: {symbol} takes parameters of {found} bytes, and a launch would pass {expected}"
        )


def _grid(inductor_meta: dict[str, Any], config: Any, mode: Any) -> GridExpressions:
    from torch._inductor.runtime.triton_heuristics import GridExpr

    grid = GridExpr.from_meta(inductor_meta, config, mode)
    temporaries = []
    for line in grid.prefix:
        left, _, right = line.rstrip(";").partition(" = ")
        temporaries.append((left.split()[-1], right))
    return GridExpressions(tuple(temporaries), (str(grid.x_grid), str(grid.y_grid), str(grid.z_grid)))


# --- cache

# The modules of this package that have a say in a kernel's machine code, beside what its source says itself.
PARTS = ("cubin", "dependent", "device", "indexing", "kernels", "reductions", "templates")


def _keys(jobs: Sequence[_Job]) -> list[str]:
    """A name for each result by all that it depends on."""
    folder = Path(__file__).parent
    files = [folder.parents[2] / "spec/target.py", *(folder / f"{name}.py" for name in PARTS)]
    common = tools_key(files, packages=("torch", "triton", "pytorch_triton"))
    return [
        digest(
            common,
            job.kernel.source,
            job.kernel.name,
            job.target.name,
            job.only,
            None if job.config is None else dict(job.config),
        )
        for job in jobs
    ]


def _encoded(compiled: CompiledKernel) -> bytes:
    fields = dataclasses.asdict(compiled)
    fields["image"] = base64.b64encode(compiled.image).decode()
    return json.dumps(fields).encode()


def _decoded(data: bytes) -> CompiledKernel:
    fields = json.loads(data)
    grids = {
        name: GridExpressions(tuple((n, e) for n, e in fields[name]["temporaries"]), tuple(fields[name]["sizes"]))
        for name in ("python_grid", "cpp_grid")
    }
    lists = {name: tuple(fields[name]) for name in ("parameters", "wrapper_parameters")}
    return CompiledKernel(**{**fields, **grids, **lists, "image": base64.b64decode(fields["image"])})
