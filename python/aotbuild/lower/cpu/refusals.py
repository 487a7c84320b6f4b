"""Models that the runtime cannot run, refused by the names of their operators and the lines that call them."""

from __future__ import annotations

import torch
from torch._inductor import ir
from torch._inductor.graph import GraphLowering

from aotbuild import capture
from aotbuild.capture import Captured, triton_kernels
from aotbuild.lower.cpu.wrapper import StandaloneCppWrapper
from aotbuild.lower.cpu.wrapper_code import WrapperCode
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.shim import SHIM, SHIM_EIGEN


def supported_shim_functions() -> frozenset[str]:
    """The shim functions that the standalone runtime has."""
    return SHIM | SHIM_EIGEN


def refuse_triton_kernels(captured: Captured, target: str) -> None:
    found = {
        name: capture.user_frame(node.meta.get("stack_trace")) for node, name in triton_kernels.calls(captured.program)
    }
    if found:
        places = "".join(f"  {name}\n" + (f"    at {place}\n" if place else "") for name, place in found.items())
        raise AotbuildError(
            f"{target}: the model calls hand-written Triton kernels, which run on GPUs alone:\n{places}"
            "  Use DEVICE cuda, or call PyTorch's operators when the model is built for the CPU (a value of PARAMS can "
            "say which)."
        )


def refuse_missing_operators(code: WrapperCode, graph: GraphLowering, target: str, has_eigen: bool) -> None:
    """One error with every library kernel that standalone lacks, and where the model calls each."""
    called = code.shim_functions
    needs_eigen = set() if has_eigen else called & SHIM_EIGEN
    missing = sorted(called - supported_shim_functions() | needs_eigen) + sorted(code.unreachable)
    if not missing:
        return
    places = origins(graph)
    # One operator may be known by its function and by its name.
    calls = {_operator_name(function, graph): places.get(function, []) for function in missing}
    lines = [f"{target}: the standalone runtime has no kernel for {len(calls)} operator(s) that this model calls:"]
    for operator, lines_of in calls.items():
        count = f" ({len(lines_of)} call{'s' if len(lines_of) != 1 else ''})" if lines_of else ""
        lines.append(f"  {operator}{count}")
        lines.extend(f"    at {place}" for place in dict.fromkeys(lines_of))
    if needs_eigen:
        lines.append(
            "  Linear algebra and Fourier transforms need the headers of Eigen, which CMake did not find: install them "
            "(Debian's libeigen3-dev), or set AOTBUILD_EIGEN_INCLUDE_DIR, and configure again."
        )
    lines += [
        "  Rewrite these lines with operators that compile (pointwise, reductions, matrix products, convolutions, "
        "attention, indexing);",
        "  or build with RUNTIME torch, whose libraries need libtorch and have every operator;",
        "  or write a kernel: aotbuild.register_kernel(operator, declaration, sources), see docs/custom-kernels.md.",
    ]
    raise AotbuildError("\n".join(lines))


def refuse_short_complex(graph: GraphLowering, target: str) -> None:
    """Views of pairs of float16 as complex numbers are no memory of their own, which the wrapper would refuse."""
    if any(buffer.maybe_get_dtype() == torch.complex32 for buffer in graph.buffers):
        raise AotbuildError(
            f"{target}: the model computes tensors of complex32, which the standalone runtime does not have; use "
            "complex64, or RUNTIME torch"
        )


def _operator_name(function: str, graph: GraphLowering) -> str:
    """The operator that a shim function stands for, as in "aten.linalg_qr.default"; else what the function is named."""
    for operation in _library_calls(graph):
        if operation.op_overload is not None and function in _names(operation, graph):
            return str(operation.op_overload)
    return function.removeprefix("aoti_torch_").removeprefix("cpu_")


def origins(graph: GraphLowering) -> dict[str, list[str]]:
    """For each library call, by shim function and by operator name: the user's source lines that it comes from."""
    found: dict[str, list[str]] = {}
    for operation in _library_calls(graph):
        place = _source_line(operation)
        for name in _names(operation, graph):
            found.setdefault(name, []).append(place)
    return found


def _library_calls(graph: GraphLowering) -> list[ir.ExternKernel]:
    graphs = [graph, *(subgraph.graph for subgraph in graph.seen_subgraphs.values() if subgraph.graph is not None)]
    operations = [operation for g in graphs for operation in g.operations]
    return [operation for operation in operations if isinstance(operation, ir.ExternKernel)]


def _names(operation: ir.ExternKernel, graph: GraphLowering) -> set[str]:
    """A library call by its operator and by its shim function."""
    names = {str(operation.op_overload)}
    kernel = operation.cpp_kernel_name
    if kernel is not None and (kernel.startswith("aoti_torch_") or "::" in kernel):
        wrapper = graph.wrapper_code
        assert isinstance(wrapper, StandaloneCppWrapper)
        names.add(wrapper.get_c_shim_func_name(kernel, "cpu"))
    return names


def _source_line(operation: ir.ExternKernel) -> str:
    """The last frame of the model's own code in the stack trace that export recorded."""
    traces = [node.meta.get("stack_trace") for node in operation.origins]
    places = filter(None, map(capture.user_frame, traces))
    return next(places, "a line that export did not record")
