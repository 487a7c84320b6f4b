"""What a model is compiled for: devices and declared CPU instruction sets, never read from the build machine."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from aotbuild.errors import AotbuildError


@dataclass(frozen=True)
class CpuIsa:
    """A CPU instruction set that kernels are generated for.

    ``name`` is the value of ``CPU_ISA``. ``vector_isa`` names Inductor's vector instruction set (None: scalar code),
    ``macro`` the CPU_CAPABILITY that ``at::vec`` is compiled with. ``rank`` orders variants, best last.
    """

    name: str
    vector_isa: str | None
    macro: str
    rank: int

    @property
    def identifier(self) -> str:
        return self.name.replace("-", "_").replace(".", "_")


CPU_ISAS: dict[str, CpuIsa] = {
    isa.name: isa
    for isa in (
        CpuIsa("x86-64-v2", None, "DEFAULT", 0),
        CpuIsa("x86-64-v3", "avx2", "AVX2", 1),
        CpuIsa("avx2", "avx2", "AVX2", 1),
        CpuIsa("avx512", "avx512", "AVX512", 2),
        CpuIsa("aarch64", "asimd", "DEFAULT", 1),
    )
}


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
    if platform.machine() in ("aarch64", "arm64"):
        return "asimd", "DEFAULT"
    import torch

    if torch.cpu._is_avx512_supported():
        return "avx512", "AVX512"
    if torch.cpu._is_avx2_supported():
        return "avx2", "AVX2"
    return None, "DEFAULT"
