"""What differs between the releases of torch that are supported: the one place that knows of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch._inductor import config, ir

# The setting that says whether templates are timed with and without what is fused into them. Named anew in 2.15.
FUSION_BENCHMARK = (
    "benchmark_template_fusion" if hasattr(config, "benchmark_template_fusion") else "benchmark_epilogue_fusion"
)

# Launches of pointwise kernels together; releases that cannot leave reductions alone do without.
COMBINED_POINTWISE = (
    {"combo_kernels": True, "combo_kernels_pointwise_only": True}
    if hasattr(config, "combo_kernels_pointwise_only")
    else {}
)


def user_triton_kernel(**arguments: Any) -> ir.UserDefinedTritonKernel:
    """A call of a hand-written Triton kernel in the graph. From 2.14 on it is told of keywords of the launch."""
    if "launch_kwargs" in inspect.signature(ir.UserDefinedTritonKernel.__init__).parameters:
        arguments["launch_kwargs"] = ()
    return ir.UserDefinedTritonKernel(**arguments)


def kernel_of(output: Any) -> Any:
    """The library kernel that a tensor is a result of. From 2.15 on a kernel with one result is that result itself."""
    return output.inputs[0] if isinstance(output, ir.MultiOutput) else output


class BoundMethods:
    """One object for each bound method, which stays: torch 2.12 tells by its address where an array was declared."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], Callable[..., None]] = {}

    def one_of(self, method: Callable[..., None]) -> Callable[..., None]:
        owner = getattr(method, "__self__", None)
        return method if owner is None else self._kept.setdefault((id(owner), method.__name__), method)
