"""Kernel sources: a model's C++ kernels, split over a fixed number of files."""

from __future__ import annotations

from collections.abc import Sequence

from aotbuild.lower.cpu.wrapper_code import Kernel
from aotbuild.spec.target import CpuIsa

# Below this size a further source file costs more (at::vec's headers take 1.4 s to compile) than it saves.
_BYTES_PER_SHARD = 48 * 1024


def shards(kernels: Sequence[Kernel], isa: CpuIsa, namespace: str, header: str, count: int) -> tuple[str, ...]:
    """The kernels in ``count`` source files; small models use the first ones and leave the rest empty."""
    total = sum(len(kernel.definition) for kernel in kernels)
    used = max(1, min(count, -(-total // _BYTES_PER_SHARD)))
    buckets: list[list[Kernel]] = [[] for _ in range(used)]
    filled = 0
    for kernel in kernels:
        buckets[min(used - 1, filled * used // max(total, 1))].append(kernel)
        filled += len(kernel.definition)
    sources = [_shard(bucket, isa, namespace, header) if bucket else _EMPTY for bucket in buckets]
    return (*sources, *([_EMPTY] * (count - used)))


def header(kernels: Sequence[Kernel], namespace: str) -> str:
    """Declarations of all kernels."""
    declarations = "\n".join(kernel.declaration for kernel in kernels)
    has_attention = any(kernel.is_attention for kernel in kernels)
    include = '#include "aotbuild/detail/attention_shape.hpp"\n\n' if has_attention else ""
    types = _HALF_TYPES if "at::" in declarations else ""
    return (
        f"#pragma once\n\n#include <cstdint>\n\n{include}{types}"
        f"namespace {namespace} {{\n\n{declarations}\n\n}}  // namespace {namespace}\n"
    )


# The run function passes pointers to these and needs no more of torch's headers, which take seconds to compile.
_HALF_TYPES = """\
namespace c10 {
struct BFloat16;
struct Half;
struct Float8_e4m3fn;
struct Float8_e5m2;
}  // namespace c10
namespace at {
using namespace c10;
}

"""

_EMPTY = "// This model's kernels fit into fewer files.\n"


def _shard(kernels: Sequence[Kernel], isa: CpuIsa, namespace: str, header_name: str) -> str:
    body = "\n\n".join(kernel.definition for kernel in kernels)
    header = "attention" if any(kernel.is_attention for kernel in kernels) else "kernel"
    return (
        f"#define CPU_CAPABILITY {isa.macro}\n#define CPU_CAPABILITY_{isa.macro}\n"
        f"#define AOTBUILD_ISA {isa.identifier}\n"
        f'#include "aotbuild/detail/{header}.hpp"\n'
        f'#include "{header_name}"\n\n'
        f"namespace {namespace} {{\n\n{body}\n\n}}  // namespace {namespace}\n"
    )
