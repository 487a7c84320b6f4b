"""What a model is compiled for: declared CPU instruction sets and GPUs, never read from the build machine."""

from __future__ import annotations

from aotbuild.spec.ascii_names import ascii_identifier
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.record import record


@record
class CpuIsa:
    """A CPU instruction set that kernels are generated for.

    ``name`` is the value of ``CPU_ISA``. ``vector_isa`` names Inductor's vector instruction set (None: scalar code),
    ``macro`` the CPU_CAPABILITY that ``at::vec`` is compiled with. ``rank`` orders variants, best last. ``family`` is
    the processor that has it, and ``flag`` what compilers call it, if it is not their default.
    """

    name: str
    vector_isa: str | None
    macro: str
    rank: int
    family: str = ""
    flag: str = ""

    @property
    def identifier(self) -> str:
        return ascii_identifier(self.name)


# Of each processor family the first is the default: every x86 server and desktop since 2013 to 2015 has x86-64-v3.
CPU_ISAS: dict[str, CpuIsa] = {
    isa.name: isa
    for isa in (
        CpuIsa("x86-64-v3", "avx2", "AVX2", 1, "x86-64", "-march=x86-64-v3"),
        CpuIsa("x86-64-v2", None, "DEFAULT", 0, "x86-64", "-march=x86-64-v2"),
        CpuIsa("avx2", "avx2", "AVX2", 1, "x86-64", "-march=x86-64-v3"),
        CpuIsa("x86-64-v4", "avx512", "AVX512", 2, "x86-64", "-march=x86-64-v4"),
        CpuIsa("avx512", "avx512", "AVX512", 2, "x86-64", "-march=x86-64-v4"),
        CpuIsa("aarch64", "asimd", "NEON", 1, "aarch64"),
        CpuIsa("riscv64", None, "DEFAULT", 0, "riscv64"),
        CpuIsa("armv7", None, "DEFAULT", 0, "armv7"),
        CpuIsa("wasm32", None, "DEFAULT", 0, "wasm32", "-msimd128"),
    )
}
_FAMILIES = {
    "x86_64": "x86-64",
    "amd64": "x86-64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "riscv64": "riscv64",
    "arm": "armv7",
    "armv7": "armv7",
    "armv7l": "armv7",
    "armhf": "armv7",
    "wasm32": "wasm32",
}
FAMILIES = tuple(dict.fromkeys(_FAMILIES.values()))


def processor_family(processor: str) -> str:
    """One of ``FAMILIES``, or nothing, for a value of CMAKE_SYSTEM_PROCESSOR."""
    return _FAMILIES.get(processor.lower(), "")


def cpu_isas(processor: str) -> list[str]:
    """The values of CPU_ISA that a processor has, the default first; none for a family that is not supported."""
    family = processor_family(processor)
    names = [isa.name for isa in CPU_ISAS.values() if isa.family == family]
    return [*names, "native"] if family in ("x86-64", "aarch64") else names


def isa_flags(name: str, processor: str) -> list[str]:
    """The compiler's flags for a value of CPU_ISA."""
    if name == "native":
        return ["-march=native" if processor_family(processor) == "x86-64" else "-mcpu=native"]
    flag = CPU_ISAS[name].flag
    return [flag] if flag else []


def cpu_isa(name: str) -> CpuIsa:
    """The instruction set of that name. ``native`` is the best that this machine's processor has.

    Raises:
        AotbuildError: for an unknown name, listing those that exist.
    """
    if name == "native":
        return CpuIsa("native", *_native_vector_isa(), 3)
    try:
        return CPU_ISAS[name]
    except KeyError:
        known = ", ".join([*CPU_ISAS, "native"])
        raise AotbuildError(f"CPU_ISA {name!r} is unknown; use one of: {known}") from None


def _native_vector_isa() -> tuple[str | None, str]:
    import platform

    if platform.machine() in ("aarch64", "arm64"):
        return "asimd", "NEON"
    import torch

    if torch.cpu._is_avx512_supported():
        return "avx512", "AVX512"
    if torch.cpu._is_avx2_supported():
        return "avx2", "AVX2"
    return None, "DEFAULT"


@record
class CudaArchitecture:
    """A GPU architecture that kernels are generated for, with the figures that code generation asks a device for.

    ``capability`` is 10 * major + minor of the compute capability. ``name`` is the GPU whose number of processors and
    second-level cache stand for the architecture: they steer choices between right programs and never correctness.
    Sizes are in bytes; ``shared_memory_per_block_optin`` is the most that one block may ask for.
    """

    capability: int
    name: str
    multi_processor_count: int
    l2_cache_size: int
    total_memory: int
    max_threads_per_multi_processor: int
    shared_memory_per_multiprocessor: int
    shared_memory_per_block_optin: int

    @property
    def major(self) -> int:
        return self.capability // 10

    @property
    def minor(self) -> int:
        return self.capability % 10


# Threads and shared memory: CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability"
# (1 KiB of each block's shared memory is the system's from capability 8.0 on). The same table gives every one of these
# architectures 65536 registers a multiprocessor, warps of 32, blocks of up to 1024 threads and 48 KiB of shared memory
# without opting in. Processors, cache and memory: NVIDIA's whitepaper or datasheet of the GPU that is named.
CUDA_ARCHITECTURES: dict[int, CudaArchitecture] = {
    gpu.capability: gpu
    for gpu in (
        # Turing whitepaper (TU104), T4 datasheet
        CudaArchitecture(75, "Tesla T4", 40, 4 << 20, 16 << 30, 1024, 64 << 10, 64 << 10),
        # A100 whitepaper (GA100)
        CudaArchitecture(80, "A100-SXM4-40GB", 108, 40 << 20, 40 << 30, 2048, 164 << 10, 163 << 10),
        # GA102 whitepaper, A10 datasheet
        CudaArchitecture(86, "A10", 72, 6 << 20, 24 << 30, 1536, 100 << 10, 99 << 10),
        # Ada whitepaper (AD102), L40S datasheet
        CudaArchitecture(89, "L40S", 142, 96 << 20, 48 << 30, 1536, 100 << 10, 99 << 10),
        # H100 whitepaper (GH100, SXM5)
        CudaArchitecture(90, "H100-SXM5-80GB", 132, 50 << 20, 80 << 30, 2048, 228 << 10, 227 << 10),
        # Blackwell tuning guide, B200 datasheet
        CudaArchitecture(100, "B200", 148, 126 << 20, 180 << 30, 2048, 228 << 10, 227 << 10),
        # as B200, with the memory that is published of HGX B300; not seen on a device
        CudaArchitecture(103, "B300", 148, 126 << 20, 288 << 30, 2048, 228 << 10, 227 << 10),
        # RTX Blackwell whitepaper (GB202), RTX 5090
        CudaArchitecture(120, "GeForce RTX 5090", 170, 96 << 20, 32 << 30, 1536, 100 << 10, 99 << 10),
    )
}


@record
class CudaTarget:
    """One value of CUDA_ARCHITECTURES: machine code, or PTX that the driver compiles for later architectures."""

    architecture: CudaArchitecture
    ptx: bool = False

    @property
    def name(self) -> str:
        """``sm_90`` or ``compute_80``, as NVIDIA's compilers name them."""
        return f"{'compute' if self.ptx else 'sm'}_{self.architecture.capability}"


# Triton compiles for sm_90a and the like from here on, and no later GPU accepts PTX for one of those.
FIRST_ARCHITECTURE_SPECIFIC = 90


def architecture_of(number: str) -> CudaArchitecture | None:
    """The architecture that a text names, as in ``90``; None for any other text."""
    return next((found for known, found in CUDA_ARCHITECTURES.items() if str(known) == number), None)


def cuda_target(text: str) -> CudaTarget:
    """The target of one value of CUDA_ARCHITECTURES, in CMake's notation: ``90``, ``90-real`` or ``80-virtual``.

    A plain number means machine code alone.

    Raises:
        AotbuildError: for an architecture that is unknown, or PTX where no later GPU could load it.
    """
    number, _, kind = text.partition("-")
    architecture = architecture_of(number)
    if architecture is None or kind not in ("", "real", "virtual"):
        known = ", ".join(map(str, CUDA_ARCHITECTURES))
        raise AotbuildError(
            f"CUDA_ARCHITECTURES {text!r} is unknown; use one of: {known}, or one below 90 with -virtual"
        )
    if kind == "virtual" and architecture.capability >= FIRST_ARCHITECTURE_SPECIFIC:
        raise AotbuildError(
            f"CUDA_ARCHITECTURES {text!r}: Triton's PTX for capability 9.0 and later (sm_{number}a) loads on no later "
            f"GPU; use {number} for machine code, and 80-virtual for PTX that every later GPU compiles"
        )
    return CudaTarget(architecture, kind == "virtual")


def cuda_suffix(text: str) -> str:
    """What names of files say of a value of CUDA_ARCHITECTURES: ``sm_90``, or ``compute_80`` for PTX."""
    number, _, kind = text.partition("-")
    return f"{'compute' if kind == 'virtual' else 'sm'}_{number}"


def is_architecture_specific(architecture: CudaArchitecture) -> bool:
    """Whether machine code for it loads on devices of exactly its capability only."""
    return architecture.capability >= FIRST_ARCHITECTURE_SPECIFIC
