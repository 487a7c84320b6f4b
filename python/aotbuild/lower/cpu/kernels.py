"""Kernel sources: Inductor's C++ kernels, made safe inside OpenMP regions and split over a fixed number of files."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aotbuild.lower.cpu.wrapper import Kernel
from aotbuild.spec.target import CpuIsa

# Below this size a further source file costs more (at::vec's headers take 1.4 s to compile) than it saves.
_BYTES_PER_SHARD = 48 * 1024

_INCLUDE = "#include <torch/csrc/inductor/cpp_prefix.h>"


def shards(kernels: Sequence[Kernel], isa: CpuIsa, namespace: str, header: str, count: int) -> tuple[str, ...]:
    """The kernels in ``count`` source files; small models use the first ones and leave the rest empty."""
    definitions = [_definition(kernel) for kernel in kernels]
    total = sum(map(len, definitions))
    used = max(1, min(count, -(-total // _BYTES_PER_SHARD)))
    buckets: list[list[str]] = [[] for _ in range(used)]
    filled = 0
    for definition in definitions:
        buckets[min(used - 1, filled * used // max(total, 1))].append(definition)
        filled += len(definition)
    sources = [_shard(bucket, isa, namespace, header) if bucket else _EMPTY for bucket in buckets]
    return (*sources, *([_EMPTY] * (count - used)))


def header(kernels: Sequence[Kernel], namespace: str) -> str:
    """Declarations of all kernels."""
    declarations = "\n".join(kernel.declaration for kernel in kernels)
    include = '#include "aotbuild/detail/attention_shape.hpp"\n\n' if "AttentionShape" in declarations else ""
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


def _shard(definitions: Sequence[str], isa: CpuIsa, namespace: str, header_name: str) -> str:
    body = "\n\n".join(definitions)
    needs_attention = "aotbuild::detail::attention(" in body
    return (
        f"#define CPU_CAPABILITY {isa.macro}\n#define CPU_CAPABILITY_{isa.macro}\n"
        f"#define AOTBUILD_ISA {isa.identifier}\n"
        f'#include "aotbuild/detail/{"attention" if needs_attention else "kernel"}.hpp"\n'
        f'#include "{header_name}"\n\n'
        f"namespace {namespace} {{\n\n{body}\n\n}}  // namespace {namespace}\n"
    )


# Upstream's kernels put the address of a local flag into a global variable, where divisions by zero find it. Two calls
# at a time would write to that variable and set each other's flags. Without the lines the division throws.
_DIVISION_FLAG = re.compile(
    r"^[^\n]*\binductor_cpu_(?:throw_if_)?integer_div_error\b[^\n]*\n|"
    r"^\s*inductor_cpu_integer_div_error_flag = [^\n]*\n",
    re.MULTILINE,
)
_DIVIDES = re.compile(r"\b(?:floor_divide|remainder_integral|mod|floor_remainder|truncate_divide)\(")
_MAY_THROW = re.compile(
    r"\bAOTI_TORCH_CHECK\b|\b(?:floor_divide|remainder_integral|mod|floor_remainder|truncate_divide)\("
)


def _definition(kernel: Kernel) -> str:
    text = kernel.definition.replace(_INCLUDE, "").strip()
    text = re.sub(r'^extern "C"\s+', "", text)
    text = re.sub(r"^void\s+", "void ", text)
    text = _DIVISION_FLAG.sub("", text)
    text = _QUOTIENT_OF_NUMBERS.sub(lambda line: _checked_division(line[0]), text)
    if _MAY_THROW.search(text):
        text = _contain_errors(_readable_checks(text, kernel.name))
    return _name_division(text, kernel.name) if _DIVIDES.search(text) else text


# Values that the model computes of its sizes and numbers. Indices and bounds of loops are divided by sizes that the run
# function has divided by before.
_QUOTIENT_OF_NUMBERS = re.compile(r"^\s*auto \w+ = .*\bc10::div_(?:floor_integer|mod)\(.*$", re.MULTILINE)


def _checked_division(line: str) -> str:
    """Upstream's functions leave a divisor of zero to the processor, which ends the process."""
    line = line.replace("c10::div_floor_integer(", "aotbuild::detail::floor_divide(")
    return line.replace("c10::div_mod(", "aotbuild::detail::floor_remainder(")


def _name_division(text: str, kernel_name: str) -> str:
    """Lets an error of a division say which kernel it is in, and so which operators of the model."""
    opening, closing = text.index("\n{") + 2, text.rindex("}")
    named = f'aotbuild::detail::rethrow_named(error, "{kernel_name}")'
    caught = f"    }} catch (const std::exception& error) {{ {named}; }}\n"
    return f"{text[:opening]}\n    try {{{text[opening:closing]}{caught}{text[closing:]}"


def _readable_checks(text: str, kernel_name: str) -> str:
    """Messages of index checks without the names of temporaries."""
    return re.sub(
        r'"index out of bounds: (\S+) <= \w+ < ([^"]+?)L?"',
        lambda m: f'"an index is outside {m[1].rstrip("L")} <= index < {m[2]} (in {kernel_name})"',
        text,
    )


def _contain_errors(text: str) -> str:
    """Keeps a failed check inside a parallel loop from ending the process.

    An exception must not leave the iteration of a work-sharing loop that it is thrown in. Each iteration catches, the
    first error is kept, and the kernel throws it after the parallel region.
    """
    lines = text.splitlines()
    insert_after: dict[int, str] = {}
    insert_before: dict[int, str] = {}
    pending = 0
    for index, line in enumerate(lines):
        stripped = line.strip()
        if stripped.startswith("#pragma omp for"):
            collapse = re.search(r"collapse\((\d+)\)", stripped)
            pending = int(collapse[1]) if collapse else 1
        elif stripped.startswith("for(") and pending:
            pending -= 1
            if pending == 0:
                opening = index + 1
                closing = _matching_brace(lines, opening)
                if any(map(_MAY_THROW.search, lines[opening:closing])):
                    indent = lines[opening][: len(lines[opening]) - len(lines[opening].lstrip())]
                    insert_after[opening] = f"{indent}    try {{"
                    insert_before[closing] = f"{indent}    }} catch (...) {{ error.capture(); }}"
    if not insert_after:
        return text
    result: list[str] = []
    for index, line in enumerate(lines):
        result += [insert_before[index]] if index in insert_before else []
        result.append(line)
        result += [insert_after[index]] if index in insert_after else []
    body = "\n".join(result)
    opening = body.index("\n{") + 2
    closing = body.rindex("}")
    return (
        body[:opening]
        + "\n    aotbuild::detail::KernelError error;"
        + body[opening:closing]
        + "    error.rethrow();\n"
        + body[closing:]
    )


def _matching_brace(lines: Sequence[str], opening: int) -> int:
    """The line that closes the block that line ``opening`` opens."""
    depth = 0
    for index in range(opening, len(lines)):
        depth += lines[index].count("{") - lines[index].count("}")
        if depth == 0:
            return index
    raise AssertionError("unbalanced braces in a generated kernel")
