"""TorchInductor's C++ kernels, made safe for calls at once: failed checks leave loops, divisions by zero are errors.

What may throw is noted by the operation that writes it, and each kernel's text is built around what was noted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch._inductor.codegen.common import CSE, BracesBuffer
from torch._inductor.codegen.cpp import CppKernelProxy, CppScheduling, KernelGroup, LoopLevel, WorkSharing
from torch._inductor.utils import Placeholder

from aotbuild.lower.cpu.divisions import divided
from aotbuild.spec.upstream import patched

# What a kernel's definition begins with, for upstream to find it; the run function calls it as C++.
LINKAGE = 'extern "C" '

# Upstream's functions leave a divisor of zero to the processor, which ends the process.
_CHECKED_DIVISIONS = {
    "c10::div_floor_integer(": "aotbuild::detail::floor_divide(",
    "c10::div_mod(": "aotbuild::detail::floor_remainder(",
}


class _LoopHead(list[str]):
    """The lines that begin a loop."""

    def __init__(self, lines: list[str], loop: LoopLevel) -> None:
        super().__init__(lines)
        self.loop = loop


@contextlib.contextmanager
def loops_known() -> Iterator[None]:
    """Within, the buffer of a kernel is told which loop it gets."""
    upstream = LoopLevel.lines

    def lines(loop: LoopLevel) -> list[str] | None:
        written = upstream(loop)
        return None if written is None else _LoopHead(written, loop)

    with patched(LoopLevel, "lines", lines):
        yield


class _Loops(BracesBuffer):
    """The loops of a kernel.

    An exception must not leave the iteration of a work-sharing loop that it is thrown in. Each iteration catches, the
    first error is kept, and the kernel throws it after the parallel region.
    """

    def __init__(self) -> None:
        super().__init__()
        self.may_throw = self.keeps_errors = False
        self._shared = 0  # loops that are still to come of those that threads share
        self._begins_iteration = False

    def writelines(self, lines: Any) -> None:
        super().writelines(lines)
        if isinstance(lines, _LoopHead):
            self._shared = lines.loop.parallel or self._shared
            self._shared -= self._shared > 0
            self._begins_iteration = self._shared == 0 and bool(lines.loop.parallel or lines.loop.collapsed)

    def indent(self, offset: int = 1) -> contextlib.AbstractContextManager[None]:
        begins, self._begins_iteration = self._begins_iteration, False
        return self._iteration() if begins else super().indent(offset)

    @contextlib.contextmanager
    def _iteration(self) -> Iterator[None]:
        with super().indent():
            begin, before = len(self._lines), self.may_throw
            self.may_throw = False
            yield
            if self.may_throw:
                self._lines.insert(begin, f"{self.prefix()}try {{")
                self.writeline("} catch (...) { error.capture(); }")
                self.keeps_errors = True
            self.may_throw = before


class _CheckedCse(CSE[Any, Any]):
    """Values that the model computes of its sizes and numbers divide by what may be zero.

    Bounds of loops are divided by sizes that the run function has divided by before.
    """

    def generate(self, buffer: Any, expr: Any, *, assignment: bool = True, **options: Any) -> Any:
        if isinstance(expr, str) and assignment:
            found = [unchecked for unchecked in _CHECKED_DIVISIONS if unchecked in expr]
            for unchecked in found:
                expr = expr.replace(unchecked, _CHECKED_DIVISIONS[unchecked])
            expr = divided(expr) if found else expr
        return super().generate(buffer, expr, assignment=assignment, **options)


def _with_checks(kernel: Any) -> Any:
    """A kernel of upstream's that notes what it writes that may throw. Its class stays, for upstream looks at it."""
    write_assert, write_device_assert = kernel.indirect_assert, kernel.device_assert_async
    kernel.divides = kernel.checks = False
    kernel.cse = _CheckedCse(kernel.newvar_prefix, kernel.suffix)

    def indirect_assert(var: Any, lower: str | None, upper: str | None, mask: Any = None) -> str:
        """A message without the names of temporaries."""
        kernel.checks = True
        text = str(write_assert(var, lower, upper, mask))
        if not lower or not upper or not str(var).isidentifier():
            return text
        bounds = f"{lower.rstrip('L')} <= index < {upper.removesuffix('L')}"
        readable = f'"an index is outside {bounds} (in {Placeholder.KERNEL_NAME})"'
        return text.replace(f'"index out of bounds: {lower} <= {var} < {upper}"', readable)

    def device_assert_async(cond: Any, msg: str) -> None:
        kernel.checks = True
        write_device_assert(cond, msg)

    kernel.indirect_assert, kernel.device_assert_async = indirect_assert, device_assert_async
    return kernel


class _Kernels(CppKernelProxy):
    """The kernels of a loop nest: for whole vectors, and for what remains."""

    def gen_body(self, code: BracesBuffer | None = None) -> None:
        super().gen_body(code)
        if isinstance(code, _Loops):
            kernels: Sequence[Any] = self.kernels
            code.may_throw |= any(kernel.divides or kernel.checks for kernel in kernels)


class _Group(KernelGroup):
    """What becomes one kernel of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.stack.close()
        self.loops_code = _Loops()
        self.ws = WorkSharing(self.loops_code)
        self.stack.enter_context(self.ws)

    def new_kernel(self, cls: Any, *args: Any) -> Any:
        return _with_checks(super().new_kernel(cls, *args))

    def codegen_group(self, name: str | None = None) -> str:
        """The kernel's definition. Upstream's puts the address of a local flag into a global variable, where divisions
        by zero find it: two calls at a time would write to that variable and set each other's flags. Here they throw.
        """
        self.stack.close()
        if not self.scheduled_nodes:
            return ""
        loops = self.loops_code
        assert isinstance(loops, _Loops)
        name = name or str(Placeholder.KERNEL_NAME)
        parameters, _, _ = self.args.cpp_argdefs()
        code = BracesBuffer()
        code.writeline(f"{LINKAGE}void {name}({_SEPARATOR.join(parameters)})")
        with code.indent():
            code.writelines(["aotbuild::detail::KernelError error;"] if loops.keeps_errors else [])
            for old, new in self.args.aliases():
                code.writeline(f"auto {old} = {new};")
            code.splice(loops)
            code.writelines(["error.rethrow();"] if loops.keeps_errors else [])
        return str(code.getvalue())


_SEPARATOR = ",\n" + 23 * " "


class CheckedScheduling(CppScheduling):
    """Upstream's, with these kernels."""

    kernel_proxy_cls = _Kernels

    def reset_kernel_group(self) -> None:
        self.kernel_group = _Group()
