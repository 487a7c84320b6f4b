"""Programmatic dependent launch: a kernel is started while the one before it ends, and waits before it touches memory.

Hopper and later GPUs start the blocks of such a launch as soon as all blocks of the one before have ended, without
waiting until what these wrote can be read (CUDA C++ Programming Guide, "Programmatic Dependent Launch and
Synchronization"). ``griddepcontrol.wait`` holds a block until it can. Every kernel that starts early waits first of
all; so when it goes on, all that was launched earlier has ended too. Kernels do not let the next one start before they
end (``griddepcontrol.launch_dependents``): its blocks would take the place of their own.
"""

from __future__ import annotations

import ast
import re

from aotbuild.spec.target import CudaArchitecture

_FIRST_CAPABILITY = 90

_WAIT = "tl.extra.cuda.gdc_wait()"

_WAIT_INSTRUCTION = re.compile(r"\bgriddepcontrol\.wait\b")
# What reads or writes memory, parameters apart, or may do so.
_MEMORY_INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?(?:(?:ld|st)\.(?!param)|(?:atom|red|cp|call|prefetch)\b)", re.M)


def waiting(source: str, name: str, gpu: CudaArchitecture) -> str:
    """The source of a Triton kernel, with the wait as its first statement where the GPU has it.

    A hand-written one whose statements stand beside ``def`` stays as it is.
    """
    if gpu.capability < _FIRST_CAPABILITY:
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
    lines.insert(first.lineno - 1, f"{' ' * first.col_offset}{_WAIT}\n")
    return "".join(lines)


def waits_first(ptx: str) -> bool:
    """Whether a kernel's machine code waits before it touches memory, so that it may be started early."""
    entry = ptx[ptx.index(".entry ") :]
    wait, memory = _WAIT_INSTRUCTION.search(entry), _MEMORY_INSTRUCTION.search(entry)
    return wait is not None and (memory is None or wait.start() < memory.start())
