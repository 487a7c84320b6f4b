"""Programmatic dependent launch: a kernel is started while the one before it ends, and waits before it touches memory.

Hopper and later GPUs start the blocks of such a launch once all blocks of the one before have said that they may
(``griddepcontrol.launch_dependents``) or have ended (CUDA C++ Programming Guide, "Programmatic Dependent Launch and
Synchronization"). ``griddepcontrol.wait`` holds a block until all that the kernel before has written can be read. Every
kernel begins with both: the next one's blocks take what room there is left, and each waits for the kernel before it,
which has waited for its own; so when it goes on, all that was launched earlier has ended too. Before it waits, a kernel
may read what no kernel writes: products of one row do so with their first weights.
"""

from __future__ import annotations

import ast
import re

from aotbuild.lower.cuda.compile.templates import is_template
from aotbuild.spec.target import CudaArchitecture

_FIRST_CAPABILITY = 90

_WAIT = "tl.extra.cuda.gdc_wait()"
_START_NEXT = "tl.extra.cuda.gdc_launch_dependents()"

_WAIT_INSTRUCTION = re.compile(r"\bgriddepcontrol\.wait\b")
# What reads or writes memory, parameters apart, or may do so.
_MEMORY_INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?(?:(?:ld|st)\.(?!param)|(?:atom|red|cp|call|prefetch)\b)", re.M)


def waiting(source: str, name: str, gpu: CudaArchitecture) -> str:
    """The source of a Triton kernel, with the wait as its first statement where the GPU has it.

    A hand-written one whose statements stand beside ``def`` stays as it is.
    """
    if gpu.capability < _FIRST_CAPABILITY or waits_itself(source):
        return source
    (kernel,) = (
        statement
        for statement in ast.parse(source).body
        if isinstance(statement, ast.FunctionDef) and statement.name == name
    )
    body = kernel.body
    is_docstring = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    first = body[1 if is_docstring and len(body) > 1 else 0]
    lines = source.splitlines(keepends=True)
    if not lines[first.lineno - 1][: first.col_offset].isspace():
        return source
    indent = " " * first.col_offset
    lines.insert(first.lineno - 1, f"{indent}{_START_NEXT}\n{indent}{_WAIT}\n")
    return "".join(lines)


def waits_itself(source: str) -> bool:
    """Whether a template says where it waits: what it does before, it does to memory that no kernel writes."""
    return is_template(source) and _WAIT in source


def waits_first(ptx: str) -> bool:
    """Whether a kernel's machine code waits before it touches memory, so that it may be started early."""
    entry = ptx[ptx.index(".entry ") :]
    wait, memory = _WAIT_INSTRUCTION.search(entry), _MEMORY_INSTRUCTION.search(entry)
    return wait is not None and (memory is None or wait.start() < memory.start())
