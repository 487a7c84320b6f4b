"""Lowering for GPUs: the captured program to C++ that launches kernels, and those kernels, for each architecture."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch._inductor.codegen.wrapper import PythonWrapperCodegen
from torch._inductor.debug import DebugContext
from torch._inductor.graph import GraphLowering
from torch._inductor.virtualized import V

from aotbuild.capture import Captured, check_texts, node_numbers, refuse_types_of_torch
from aotbuild.lower.common import adapters, eager_values, half_types, pooling
from aotbuild.lower.common.checks import name_checks
from aotbuild.lower.common.graph import PreparedGraph
from aotbuild.lower.common.lowered import Lowered
from aotbuild.lower.cpu.environment import fake_mode_of, inductor_options
from aotbuild.lower.cpu.refusals import origins, supported_shim_functions
from aotbuild.lower.cpu.wrapper import WrapperFactory
from aotbuild.lower.cpu.wrapper_code import ModelNames
from aotbuild.lower.cuda.compile import epilogues, products, reductions
from aotbuild.lower.cuda.compile.choices import one_choice
from aotbuild.lower.cuda.compile.device import declared
from aotbuild.lower.cuda.compile.kernels import CompiledKernel, compile_kernels
from aotbuild.lower.cuda.compile.tunable import (
    Measured,
    TunableKernel,
    choose_measured,
    report,
    tunable_kernels,
)
from aotbuild.lower.cuda.compile.wrapper import CudaWrapperCode, StandaloneCudaWrapper
from aotbuild.lower.cuda.graph import collectives, decompositions, matrix_products, quantized_lowering
from aotbuild.lower.cuda.graph.attention import recognised_attention
from aotbuild.lower.cuda.graph.constants import constants_on_cpu
from aotbuild.lower.cuda.graph.derived import SplitGraph, describe_outputs
from aotbuild.lower.cuda.graph.graph import DEVICE, prepare
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.identifiers import symbol
from aotbuild.spec.program import GpuVariant
from aotbuild.spec.target import CudaTarget, cuda_target, is_architecture_specific
from aotbuild.tuning.outcome import EpilogueTuning, KernelTuning

# What differs from the CPU: matrix products and convolutions are Triton templates, nothing is timed.
_OPTIONS: dict[str, Any] = {
    "max_autotune_gemm": True,
    "max_autotune_gemm_backends": "TRITON",
    "max_autotune_conv_backends": "TRITON",
    "autotune_in_subproc": False,
    "shape_padding": False,
    # Rarely faster, and what it writes for operands that are constants does not compile (an LSTM's first state).
    "prologue_fusion": False,
    "triton.autotune_at_compile_time": False,
    "triton.store_cubin": False,
    "triton.unique_user_kernel_names": True,
    adapters.FUSION_BENCHMARK: False,
    # Pointwise kernels that do not need one another, such as rotations of queries and keys, become one launch.
    **adapters.COMBINED_POINTWISE,
}
# Keys of OPTIONS that are not TorchInductor's, or that mean something else to it.
_OWN_OPTIONS = (products.OPTION, epilogues.OPTION)


@dataclass(frozen=True, eq=False)
class CudaVariant(GpuVariant):
    """A variant for one GPU architecture, with its kernels."""

    kernels: tuple[CompiledKernel, ...]


@dataclass(frozen=True)
class Alternative:
    """The kernels of a model in which the templates of one ``epilogues.Epilogue`` leave it to other kernels."""

    key: str
    kernels: list[TunableKernel]


def lower_cuda(
    captured: Captured,
    architectures: Sequence[str],
    *,
    target: str,
    preset: str = "default",
    options: Mapping[str, Any] | None = None,
    measured: Measured | None = None,
    processes: int | None = None,
) -> Lowered[CudaVariant]:
    """Lowers a captured program for declared GPUs; this machine needs none.

    Args:
        architectures: values of CUDA_ARCHITECTURES ("90", "80-virtual").
        measured: answers what tuning found for a kernel or an epilogue; the heuristics choose where it does not know.
        processes: how many kernels compile at a time; None: as many as processors and memory allow; 0: this process
            compiles them.

    Raises:
        AotbuildError: for an unknown architecture or option, operators that would need a library (all of them at
            once), or kernels that do not compile.
    """
    targets = [cuda_target(text) for text in architectures]
    refuse_types_of_torch(captured.signature, target)
    with declared(targets[0].architecture):  # what a hand-written kernel writes to is read from its compiled form
        graphs = prepare(captured.program, captured.state)
    places = node_numbers(captured.program)
    variants = [
        _variant(graphs, gpu, target, preset, options or {}, measured, processes, places, check_texts(captured.program))
        for gpu in sorted(set(targets), key=lambda gpu: (gpu.ptx, -gpu.architecture.capability))
    ]
    counters = {"exports": 1, "decompositions": 1, "lowerings": len(variants)}
    if graphs.derived is not None:
        counters["lowerings_of_weights"] = len(variants)
    return Lowered(
        tuple(variant for variant, _, _ in variants),
        graphs.main.weights,
        counters,
        derived=() if graphs.derived is None else describe_outputs(graphs.derived),
        tuning=tuple(kernel for _, kernels, _ in variants for kernel in kernels),
        epilogues=tuple(epilogue for _, _, found in variants for epilogue in found),
    )


def kernels_to_tune(
    captured: Captured,
    architecture: str,
    *,
    target: str,
    preset: str = "default",
    options: Mapping[str, Any] | None = None,
    with_alternatives: bool = False,
) -> tuple[PreparedGraph, list[TunableKernel], list[Alternative]]:
    """The graph that ``lower_cuda`` lowers for one architecture, the kernels that it gets, and those to compare with.

    ``weight_index`` of the graph has the weights alone, and nothing that is derived from them.

    Args:
        with_alternatives: lower the graph again for each epilogue that is fused.
    """
    gpu = cuda_target(architecture)
    with declared(gpu.architecture):
        main = prepare(captured.program, captured.state).main
    code = _code(main, gpu, target, preset, options or {})
    alternatives = [
        Alternative(key, tunable_kernels(_code(main, gpu, target, preset, options or {}, key.__eq__)))
        for key in (code.epilogues if with_alternatives else ())
    ]
    index = {name: index for name, index in main.weight_index.items() if index < len(main.weights)}
    return dataclasses.replace(main, weight_index=index), tunable_kernels(code), alternatives


def _variant(
    graphs: SplitGraph,
    gpu: CudaTarget,
    target: str,
    preset: str,
    options: Mapping[str, Any],
    measured: Measured | None,
    processes: int | None,
    places: Mapping[str, int],
    checks: Mapping[str, str],
) -> tuple[CudaVariant, tuple[KernelTuning, ...], tuple[EpilogueTuning, ...]]:
    def setting(key: str) -> Mapping[str, Any] | None:
        return None if measured is None else measured(gpu.name, key)

    code = _code(graphs.main, gpu, target, preset, options, lambda key: epilogues.is_alone(setting(key)), checks)
    derive = CudaWrapperCode()
    if graphs.derived is not None:
        derive = _code(graphs.derived, gpu, target, preset, options).with_prefix("derive_")
    tunable = tunable_kernels(code)
    choose = choose_measured(tunable, measured)
    names = {kernel.name for kernel in code.triton_kernels}
    kernels = compile_kernels(
        [*code.triton_kernels, *derive.triton_kernels],
        gpu,
        choose=lambda kernel, gpu: choose(kernel, gpu) if kernel.name in names else None,
        processes=processes,
    )
    variant = _rendered(code, derive, graphs, kernels, gpu, target, products.wants_cublaslt(options, target))
    return (
        variant,
        report(tunable, kernels[: len(tunable)], choose, gpu, places),
        epilogues.tuning_of(code.epilogues, setting, gpu.name, places),
    )


def _code(
    prepared: PreparedGraph,
    gpu: CudaTarget,
    target: str,
    preset: str,
    options: Mapping[str, Any],
    is_alone: Callable[[str], bool] = lambda key: False,
    checks: Mapping[str, str] = MappingProxyType({}),
) -> CudaWrapperCode:
    """The model for one architecture: its only lowering and schedule, whatever its kernels' configurations will be.

    Args:
        is_alone: whether templates leave the epilogue with this key to other kernels.
        checks: the texts of the model's own checks, as ``capture.check_texts`` gives them.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(declared(gpu.architecture))
        stack.enter_context(_options(preset, options))
        stack.enter_context(_standalone_backend(ModelNames(prepared.weight_index, len(prepared.weights))))
        stack.enter_context(one_choice(gpu.architecture))
        stack.enter_context(reductions.rows_in_registers())
        stack.enter_context(decompositions.triton_scatters())
        stack.enter_context(pooling.eager_windows())
        stack.enter_context(eager_values.sizes_of_every_call())
        stack.enter_context(half_types.rounded_casts())
        stack.enter_context(matrix_products.own_templates(gpu.architecture, _constants(prepared)))
        stack.enter_context(quantized_lowering.quantized_templates(gpu.architecture))
        stack.enter_context(collectives.collective_calls())
        found = stack.enter_context(epilogues.scheduled(is_alone))
        code = _generate(prepared, target, checks)
        code.epilogues.update(found)
        return code


def _constants(prepared: PreparedGraph) -> set[str]:
    """Inputs of the graph that no kernel writes to: weights, and what is derived from them."""
    mutated = {index for index, weight in enumerate(prepared.weights) if weight.mutated}
    return {name for name, index in prepared.weight_index.items() if index not in mutated}


@contextlib.contextmanager
def _options(preset: str, options: Mapping[str, Any]) -> Iterator[None]:
    settings = {name: value for name, value in options.items() if name not in _OWN_OPTIONS}
    with inductor_options(preset, {**_OPTIONS, **settings}):
        yield


@contextlib.contextmanager
def _standalone_backend(names: ModelNames) -> Iterator[None]:
    """Makes the GPU's wrapper generator ours for the time of one lowering."""
    from torch._inductor.codegen import common

    common.init_backend_registration()
    before = common.device_codegens["cuda"]
    factory: Any = WrapperFactory(StandaloneCudaWrapper, names)
    common.register_backend_for_device("cuda", products.Scheduling, PythonWrapperCodegen, factory)
    try:
        yield
    finally:
        common.device_codegens["cuda"] = before


def _generate(prepared: PreparedGraph, target: str, checks: Mapping[str, str]) -> CudaWrapperCode:
    fake_mode = fake_mode_of(prepared)
    with contextlib.ExitStack() as stack:
        stack.enter_context(V.set_fake_mode(fake_mode))
        stack.enter_context(V.set_aot_compilation(True))
        stack.enter_context(DebugContext())
        stack.enter_context(torch.no_grad())
        graph = _lower_graph(prepared, fake_mode)
        name_checks(graph, checks)
        with V.set_graph_handler(graph), V.set_extern_kernel_nodes([]):
            graph.codegen()
        wrapper = graph.wrapper_code
        assert isinstance(wrapper, StandaloneCudaWrapper)
        code = wrapper.code
        assert not code.kernels
        assert not graph.constants, "constants are weights by now"
        _refuse_library_calls(code, graph, target)
        return code


def _lower_graph(prepared: PreparedGraph, fake_mode: Any) -> GraphLowering:
    from torch._inductor import compile_fx
    from torch._inductor.fx_passes.joint_graph import joint_graph_passes
    from torch._inductor.fx_passes.post_grad import view_to_reshape

    gm = copy.deepcopy(prepared.module)
    for original, node in zip(prepared.module.graph.nodes, gm.graph.nodes, strict=True):
        node.name = original.name
    eager_values.keep_products_with_zero(gm)
    with constants_on_cpu(), recognised_attention():
        joint_graph_passes(gm)
    view_to_reshape(gm)
    fake_inputs = [node.meta["val"] for node in gm.graph.nodes if node.op == "placeholder"]
    compile_fx.fake_tensor_prop(gm, fake_inputs, True)
    compile_fx._recursive_record_original_output_strides(gm)
    compile_fx._recursive_post_grad_passes(gm, is_inference=True)
    graph = GraphLowering(
        gm,
        example_inputs=fake_inputs,
        shape_env=fake_mode.shape_env,
        cpp_wrapper=True,
        aot_mode=True,
        is_inference=True,
    )
    graph.device_types.add(DEVICE.type)  # chooses the wrapper, also of a model that has no tensor
    graph.freeze_runtime_asserts()
    with V.set_graph_handler(graph), V.set_extern_kernel_nodes([]):
        graph.run(*fake_inputs)
    return graph


# Of the shim functions that are not the CPU's alone, those that compute; no CUDA library stands behind them.
_CPU_OPERATORS = {"aoti_torch_index_put_out", "aoti_torch_scatter_out", "aoti_torch_scatter_reduce_out"}


def _refuse_library_calls(code: CudaWrapperCode, graph: GraphLowering, target: str) -> None:
    """One error with every library kernel that the model would need, and where the model calls each."""
    supported = supported_shim_functions() - _CPU_OPERATORS
    missing = {name for name in code.shim_functions if name not in supported or name.startswith("aoti_torch_cpu_")}
    if not missing and not code.unreachable:
        return
    places = origins(graph)
    lines = [f"{target}: no Triton kernel serves {len(missing | code.unreachable)} operator(s) that this model calls:"]
    for function in [*sorted(missing), *sorted(code.unreachable)]:
        calls = places.get(function.replace("aoti_torch_cuda_", "aoti_torch_cpu_"), [])
        count = f" ({len(calls)} call{'s' if len(calls) != 1 else ''})" if calls else ""
        lines.append(f"  {function.removeprefix('aoti_torch_cuda_').removeprefix('aoti_torch_')}{count}")
        lines.extend(f"    at {place}" for place in dict.fromkeys(calls))
    lines += [
        "  Rewrite these lines with operators that compile (pointwise, reductions, matrix products, convolutions, "
        "attention, indexing, sorting);",
        "  or write a Triton kernel, which models for CUDA may call: docs/cuda.md;",
        "  or build with DEVICE cpu, where there are RUNTIME torch with every operator and aotbuild.register_kernel.",
    ]
    raise AotbuildError("\n".join(lines))


# --- C++


def _rendered(
    code: CudaWrapperCode,
    derive: CudaWrapperCode,
    graphs: SplitGraph,
    kernels: Sequence[CompiledKernel],
    gpu: CudaTarget,
    target: str,
    with_products: bool,
) -> CudaVariant:
    namespace = f"aotbuild_{symbol(target)}_{gpu.name}"
    header_name = f"{target}_kernels_{gpu.name}.hpp"
    images, table = kernel_table(kernels, gpu)
    derived = "" if graphs.derived is None else _derived(derive, graphs, kernels)
    spec = "nullptr" if graphs.derived is None else "&derived"
    shared = max((kernel.shared_bytes for kernel in kernels), default=0)
    count, rows = products.table(code.products, kernels, code.known_grids(kernels)) if with_products else (0, "")
    chosen = f", {count}, products" if count else ""
    offered = (
        "// kernel, type; batch, m, n, k; strides of a and of b; places of a, b, bias and out; grid\n"
        f"static const CudaProductSpec products[] = {{\n{rows}}};\n\n"
        if count
        else ""
    )
    run = (
        '#include "aotbuild/detail/cuda_wrapper.hpp"\n'
        f'#include "{header_name}"\n\n'
        f"namespace {namespace} {{\n\n"
        "using namespace aotbuild::detail;\n\n"
        f"{table}\n"
        f"{derived}"
        f"{offered}"
        f"const CudaVariantSpec cuda = {{{gpu.architecture.capability}, CudaImageKind::{image_kind(gpu)}, {shared}, "
        f"{len(kernels)}, kernels, {spec}{chosen}}};\n\n"
        "void run([[maybe_unused]] CallContext& context, [[maybe_unused]] AtenTensorHandle* inputs,\n"
        "         [[maybe_unused]] AtenTensorHandle* outputs) {\n"
        f"{code.run_body(kernels)}\n"
        "}\n\n"
        f"}}  // namespace {namespace}\n"
    )
    return CudaVariant(
        gpu.name,
        namespace,
        run,
        _header(kernels, namespace),
        (),
        images,
        tuple(kernels),
        read_weights=tuple(code.weights),
    )


def _header(kernels: Sequence[CompiledKernel], namespace: str) -> str:
    names = "".join(f"  {kernel.name},\n" for kernel in kernels)
    return (
        "#pragma once\n\n"
        '#include "aotbuild/detail/cuda_spec.hpp"\n\n'
        f"namespace {namespace} {{\n\n"
        f"// The kernels, in the order of their table.\nenum Kernel : int {{\n{names}}};\n\n"
        "extern const aotbuild::detail::CudaVariantSpec cuda;\n\n"
        f"}}  // namespace {namespace}\n"
    )


# The driver reads images in place; ELF headers want this much.
_IMAGE_ALIGNMENT = 64


def kernel_table(kernels: Sequence[CompiledKernel], gpu: CudaTarget) -> tuple[bytes, str]:
    """All images in one block, and the C++ table that says where each kernel's lies and how it is launched."""
    images = b""
    offsets: dict[bytes, int] = {}
    rows = []
    for kernel in kernels:
        if kernel.image not in offsets:
            images += bytes(-len(images) % _IMAGE_ALIGNMENT)
            offsets[kernel.image] = len(images)
            images += kernel.image
        rows.append(
            f'    {{"{kernel.symbol}", images + {offsets[kernel.image]}, {len(kernel.image)}, {kernel.threads}, '
            f"{kernel.shared_bytes}, {kernel.cluster_blocks}, {kernel.parameter_count}, "
            f"{str(kernel.cooperative).lower()}, {str(kernel.waits).lower()}"
            f"{f', {kernel.scratch_bytes}' if kernel.scratch_bytes else ''}}},\n"
        )
    table = (
        "extern const unsigned char images[];\n\n"
        "// name, image, its size, threads, shared bytes, blocks of a cluster, parameters, cooperative, waits, scratch"
        "\n"
        f"static const CudaKernelSpec kernels[] = {{\n{''.join(rows)}}};\n"
    )
    return images, table


def image_kind(gpu: CudaTarget) -> str:
    return "kPtx" if gpu.ptx else "kArchitectureSpecific" if is_architecture_specific(gpu.architecture) else "kCubin"


def _derived(derive: CudaWrapperCode, graphs: SplitGraph, kernels: Sequence[CompiledKernel]) -> str:
    """The function that computes what depends on weights alone, and its description."""
    assert graphs.derived is not None
    count = len(graphs.derived.module.graph.output_node().args[0])  # type: ignore[arg-type]
    unread = ", ".join(map(str, graphs.unread))
    indices = f"static const int unread[] = {{{unread}}};\n" if unread else ""
    return (
        "static void derive([[maybe_unused]] CallContext& context, [[maybe_unused]] AtenTensorHandle* inputs,\n"
        "                   [[maybe_unused]] AtenTensorHandle* outputs) {\n"
        f"{derive.run_body(kernels)}\n"
        "}\n\n"
        f"{indices}"
        f"static const CudaDerivedSpec derived = {{derive, {count}, {len(graphs.unread)}, "
        f"{'unread' if unread else 'nullptr'}}};\n\n"
    )
