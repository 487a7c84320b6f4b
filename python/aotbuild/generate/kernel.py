"""The pipeline of a hand-written kernel from end to end: a Triton function in, a C++ library's sources out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotbuild import cache, emit
from aotbuild.emit import launcher as emit_launcher
from aotbuild.generate.compiled import tuning_summary
from aotbuild.generate.progress import COMPILE_KERNEL, LOAD_KERNEL, Progress
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.identifiers import symbol
from aotbuild.spec.launcher import CompiledLauncher, LauncherVariant
from aotbuild.spec.program import EmitOptions
from aotbuild.spec.target import CudaTarget, cuda_target
from aotbuild.tuning.bundle import Bundle
from aotbuild.tuning.replay import Replay

if TYPE_CHECKING:
    from aotbuild.lower.cuda.compile.hand_written import HandWritten
    from aotbuild.lower.cuda.compile.kernels import Progress as CompileProgress
    from aotbuild.tuning.outcome import KernelTuning


@dataclass(frozen=True)
class KernelSource:
    """What ``add_aot_kernel`` says about a kernel: ``KERNEL``, ``SIGNATURE``, ``GRID``, ``CONFIGS``, ``EXAMPLES``."""

    kernel: str
    signature: Sequence[str]
    grid: Sequence[str]
    configs: Sequence[str] = ()
    examples: Sequence[str] = ()


@dataclass(frozen=True)
class KernelRequest:
    """One run of the generator: the keywords of ``add_aot_kernel`` as plain values."""

    source: KernelSource
    emit: EmitOptions
    output_dir: Path
    stamp: Path
    cuda_architectures: Sequence[str]
    depfile: Path | None = None
    tuning_database: Path | None = None
    source_dir: Path = field(default_factory=Path.cwd)
    quiet: bool = False


def generate(request: KernelRequest, progress: Progress | None = None) -> list[str]:
    """Compiles the kernel for every architecture and writes what differs.

    Returns:
        The relative paths of the files that were new or changed.

    Raises:
        AotbuildError: anything that the user can mend; nothing was written then.
    """
    target = request.emit.target
    progress = progress or Progress(target, quiet=request.quiet)
    gpus = sorted(
        {cuda_target(text) for text in request.cuda_architectures},
        key=lambda gpu: (gpu.ptx, -gpu.architecture.capability),
    )
    if not gpus:
        raise AotbuildError(f"{target}: name the GPUs in CUDA_ARCHITECTURES, as in 80 90")
    replay = Replay(request.tuning_database)
    with progress.stage(LOAD_KERNEL):
        from aotbuild.lower.cuda.compile import hand_written

        loaded = hand_written.load(
            **dataclasses.asdict(request.source), base=request.source_dir, gpu=gpus[0].architecture
        )
    with progress.stage(COMPILE_KERNEL):
        variants, tuning = _variants(loaded, gpus, target, replay)
    for line in replay.report(target, tuning):
        progress.note(line)
    compiled = CompiledLauncher(
        loaded.function,
        loaded.parameters,
        loaded.grid,
        variants,
        metadata={"versions": _versions(), **({"tuning": tuning_summary(tuning)} if tuning else {})},
        kernels=[_described(kernel, loaded) for kernel in tuning],
    )
    files = emit_launcher.render(compiled, request.emit)
    dependencies = [*loaded.files, *cache.toolchain_files(), *filter(None, (replay.path,))]
    return emit.write(files, request.output_dir, request.stamp, request.depfile, dependencies)


def bundle(
    source: KernelSource,
    architecture: str,
    *,
    target: str,
    versions: str,
    limit: int | None = None,
    progress: CompileProgress | None = None,
    base: Path | None = None,
) -> Bundle:
    """Compiles every configuration for one architecture, to be timed with the arguments of EXAMPLES."""
    from aotbuild.lower.cuda.compile import hand_written
    from aotbuild.lower.cuda.tune import bundling

    gpu = cuda_target(architecture)
    if not source.examples:
        raise AotbuildError(f"{target}: a kernel is tuned with the arguments of EXAMPLES; add them to add_aot_kernel")
    loaded = hand_written.load(**dataclasses.asdict(source), base=base or Path.cwd(), gpu=gpu.architecture)
    tunable = hand_written.tunable(loaded, gpu.architecture)
    configs = loaded.configs[:limit]
    kernel = bundling.kernel_bundle(tunable, configs, gpu, loaded.blocks, progress)
    return Bundle(target, gpu.name, versions, [kernel] if kernel.candidates else [])


def _variants(
    loaded: HandWritten, gpus: Sequence[CudaTarget], target: str, replay: Replay
) -> tuple[list[LauncherVariant], list[KernelTuning]]:
    from aotbuild.lower.cuda.compile import hand_written, tunable
    from aotbuild.lower.cuda.compile.kernels import compile_kernels
    from aotbuild.lower.cuda.compile.lowering import image_kind, kernel_table

    variants: list[LauncherVariant] = []
    tuning: list[KernelTuning] = []
    for gpu in gpus:
        kernel = hand_written.tunable(loaded, gpu.architecture)
        choose = tunable.choose_measured([kernel], replay.measured)
        compiled = compile_kernels([kernel.kernel], gpu, choose=choose)
        if compiled[0].scratch_bytes:
            raise AotbuildError(
                f"{target}: KERNEL {loaded.function} makes tensor descriptors on the device, for which a launch by "
                "itself has no memory; pass pointers and strides instead, or call the kernel in a model"
            )
        images, table = kernel_table(compiled, gpu)
        variants.append(
            LauncherVariant(
                gpu.name,
                f"aotbuild_{symbol(target)}_{gpu.name}",
                gpu.architecture.capability,
                image_kind(gpu),
                images,
                table,
                compiled[0].shared_bytes,
                loaded.values(compiled[0].config),
            )
        )
        tuning += tunable.report([kernel], compiled, choose, gpu, {})
    return variants, tuning


def _described(kernel: KernelTuning, loaded: HandWritten) -> dict[str, Any]:
    """For `aotbuild report`."""
    fields = {field.name: getattr(kernel, field.name) for field in dataclasses.fields(kernel)}
    del fields["reason"], fields["origins"]
    return {**fields, "config": dict(kernel.config), "lines": [loaded.place]}


def _versions() -> dict[str, str]:
    import torch

    from aotbuild import __version__

    torch_version = torch.__version__.partition("+")[0]
    return {"aotbuild": __version__, "torch": torch_version, "triton": metadata.version("triton")}
