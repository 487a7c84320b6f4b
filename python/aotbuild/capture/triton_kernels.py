"""Hand-written Triton kernels while a model is captured: recorded by export, interpreted for reference outputs.

Triton alone would compile a kernel for a GPU at once and launch it.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aotbuild.spec.upstream import patched

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node


@contextlib.contextmanager
def recorded() -> Iterator[None]:
    """Within: ``kernel[grid](...)`` becomes a node of the graph, as with ``torch.library.wrap_triton``."""
    if "triton" not in sys.modules:
        yield
        return
    from torch._library.triton import is_wrap_triton_enabled
    from torch.library import wrap_triton
    from triton.runtime.jit import KernelInterface

    launcher = KernelInterface.__getitem__

    def record(kernel: Any, grid: Any) -> Any:
        return wrap_triton(kernel)[grid] if is_wrap_triton_enabled() else launcher(kernel, grid)

    with patched(KernelInterface, "__getitem__", record):
        yield


@contextlib.contextmanager
def interpreted() -> Iterator[None]:
    """Within: kernels run on the CPU, on its tensors, in Triton's interpreter; the first configuration of several."""
    if "triton" not in sys.modules:
        yield
        return
    from triton.runtime import interpreter
    from triton.runtime.autotuner import Autotuner
    from triton.runtime.interpreter import InterpretedFunction
    from triton.runtime.jit import JITFunction

    def run(kernel: Any, *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> None:
        given = {name: value for name, value in kwargs.items() if name in kernel.arg_names}
        if callable(grid):
            grid = grid(inspect.getcallargs(kernel.fn, *args, **given))
        sizes = (grid,) if isinstance(grid, int) else tuple(grid)
        if 0 not in sizes:
            with _as_float32([*args, *given.values()]) as values:
                named = dict(zip(given, values[len(args) :], strict=True))
                InterpretedFunction(kernel.fn).run(*values[: len(args)], grid=sizes, warmup=warmup, **named)

    def run_first(tuned: Any, *args: Any, **kwargs: Any) -> None:
        tuned.fn.run(*args, **{**kwargs, **tuned.configs[0].all_kwargs()})

    replace_language = interpreter._patch_lang

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        # The interpreter replaces functions of triton.language for a call and leaves them so: kernels that this process
        # compiles later would be interpreted.
        scopes = []

        def replace(fn: Any) -> Any:
            scopes.append(replace_language(fn))
            return scopes[-1]

        with patched(interpreter, "_patch_lang", replace):
            try:
                return InterpretedFunction(function.fn)(*args, **kwargs)
            finally:
                for scope in reversed(scopes):
                    scope.restore()

    with (
        patched(JITFunction, "run", run),
        patched(JITFunction, "__call__", call),
        patched(Autotuner, "run", run_first),
    ):
        yield


@contextlib.contextmanager
def _as_float32(arguments: Sequence[Any]) -> Iterator[list[Any]]:
    """The arguments with tensors of bfloat16, whose bits the interpreter calculates with, in float32.

    What was written to them is rounded to bfloat16 in the end. Tensors that share memory still do.
    """
    import torch

    wide: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def widen(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dtype != torch.bfloat16:
            return value
        storage = value.untyped_storage()
        if storage.data_ptr() not in wide:
            whole = torch.empty(0, dtype=value.dtype).set_(storage, 0, (storage.nbytes() // value.itemsize,), (1,))
            wide[storage.data_ptr()] = whole, whole.float()
        return wide[storage.data_ptr()][1].as_strided(value.size(), value.stride(), value.storage_offset())

    yield [widen(argument) for argument in arguments]
    for whole, widened in wide.values():
        whole.copy_(widened)


def calls(program: ExportedProgram) -> Iterator[tuple[Node, str]]:
    """The calls of hand-written kernels in a program, with the name of the kernel or of its ``triton_op``."""
    import torch
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table
    from torch._library.triton import triton_ops_to_kernels

    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            if "kernel_idx" in node.kwargs:
                kernel: Any = kernel_side_table.get_kernel(node.kwargs["kernel_idx"])
                yield node, str(getattr(kernel, "fn", kernel).__name__)
            elif isinstance(node.target, torch._ops.OpOverload) and node.target._schema.name in triton_ops_to_kernels:
                yield node, str(node.target._schema.name)
