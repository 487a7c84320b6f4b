"""The kernels of a lowered model as tuning sees them: a key by content, and the ways that the model launches each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aotbuild.lower.cuda.compile import cubin
from aotbuild.lower.cuda.compile.hints import BufferHint, Case
from aotbuild.lower.cuda.compile.kernels import Choose, CompiledKernel, Config, TritonKernel
from aotbuild.lower.cuda.compile.templates import TILES
from aotbuild.lower.cuda.compile.work import Work
from aotbuild.lower.cuda.compile.wrapper import CudaWrapperCode
from aotbuild.spec.target import CudaTarget
from aotbuild.tuning.keys import kernel_key
from aotbuild.tuning.outcome import KernelTuning

# Answers the configuration that was measured for an architecture ("sm_90") and a kernel's key, or None.
Measured = Callable[[str, str], Config | None]


@dataclass(frozen=True)
class TunableKernel:
    """A kernel, the distinct arguments that it is launched with, and what each launch does."""

    kernel: TritonKernel
    key: str
    cases: tuple[Case, ...]
    work: tuple[Work, ...]


def tunable_kernels(code: CudaWrapperCode) -> list[TunableKernel]:
    found = []
    for kernel in code.triton_kernels:
        cases = [case for launch in code.launches if launch.kernel == kernel.name for case in launch.cases]
        unique = tuple({_content(case): case for case in reversed(cases)}.values())[::-1]
        sizes = dict.fromkeys(tuple(value for value in case if isinstance(value, (int, float))) for case in unique)
        found.append(
            TunableKernel(
                kernel, kernel_key(kernel.name, kernel.source, sizes, TILES), unique, tuple(code.work[kernel.name])
            )
        )
    return found


def _content(case: Case) -> tuple[object, ...]:
    """What two launches have to share to take the same time: which buffers they get does not matter."""
    return tuple((value.nbytes, value.dtype) if isinstance(value, BufferHint) else value for value in case)


def choose_measured(kernels: Sequence[TunableKernel], measured: Measured | None) -> Choose:
    """The choice of a kernel's configuration by what was measured."""
    keys = {tunable.kernel.name: tunable.key for tunable in kernels}

    def choose(kernel: TritonKernel, target: CudaTarget) -> Config | None:
        return None if measured is None else measured(target.name, keys[kernel.name])

    return choose


def report(
    kernels: Sequence[TunableKernel],
    compiled: Sequence[CompiledKernel],
    choose: Choose,
    target: CudaTarget,
    places: Mapping[str, int],
) -> tuple[KernelTuning, ...]:
    """What became of the kernels, and which have the configuration that was measured for them.

    Args:
        places: nodes of the exported program by their places in the model's code.
    """
    result = []
    for tunable, binary in zip(kernels, compiled, strict=True):
        config = choose(tunable.kernel, target)
        differs = config is not None and any(binary.config.get(name) != value for name, value in config.items())
        reason = "that configuration does not compile here" if differs else ""
        measured = config is not None and not differs
        code = None if target.ptx else cubin.read(binary.image)
        origins = {places[place] for launch in tunable.work for place in launch.places if place in places}
        result.append(
            KernelTuning(
                target.name,
                tunable.key,
                tunable.kernel.name,
                measured,
                reason,
                config=binary.config,
                threads=binary.threads,
                shared_bytes=binary.shared_bytes,
                registers=None if code is None else code.registers[binary.symbol],
                code_bytes=len(binary.image),
                launches=len(tunable.work),
                nbytes=sum(launch.nbytes for launch in tunable.work),
                flops=sum(launch.flops for launch in tunable.work),
                tensor_cores=any(launch.tensor_cores for launch in tunable.work),
                origins=tuple(sorted(origins)),
            )
        )
    return tuple(result)
