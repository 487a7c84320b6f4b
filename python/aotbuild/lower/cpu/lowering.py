"""Lowering: the captured program through one ``GraphLowering`` to C++ for each declared instruction set."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch._inductor.config as inductor_config
from torch._inductor import cpu_vec_isa, ir
from torch._inductor.codegen.common import get_device_op_overrides, register_backend_for_device
from torch._inductor.codegen.cpp import CppScheduling
from torch._inductor.codegen.wrapper import PythonWrapperCodegen
from torch._inductor.debug import DebugContext
from torch._inductor.graph import GraphLowering
from torch._inductor.virtualized import V
from torchgen.aoti import fallback_ops  # type: ignore[import-untyped]

from aotbuild import capture
from aotbuild.capture import Captured, tensor_data, triton_kernels
from aotbuild.capture.custom_kernels import CustomKernel
from aotbuild.lower.common import eager_values, half_types, pooling
from aotbuild.lower.common.attention import use_attention_kernel
from aotbuild.lower.common.branches import copy_shifted_results
from aotbuild.lower.common.checks import name_checks
from aotbuild.lower.common.fixed_sizes import refuse_fixed_sizes
from aotbuild.lower.common.graph import PreparedGraph, decompose_preserved, prepare
from aotbuild.lower.common.grouped import use_grouped_kernel
from aotbuild.lower.common.options import refuse_unknown
from aotbuild.lower.cpu import custom_kernels, functions, kernels, torch_wrapper
from aotbuild.lower.cpu.convolution import pack_convolutions
from aotbuild.lower.cpu.linear import join_mlps, pack_linears
from aotbuild.lower.cpu.quantized import pack_quantized
from aotbuild.lower.cpu.torch_wrapper import TorchCppWrapper
from aotbuild.lower.cpu.wrapper import StandaloneCppWrapper, WrapperCode
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.identifiers import distinct, symbol
from aotbuild.spec.paths import include_directory
from aotbuild.spec.program import Convolution, Linear, Mlp, QuantizedLinear, Variant, Weight, weight_names
from aotbuild.spec.target import CpuIsa
from aotbuild.spec.upstream import patched

_VECTOR_ISAS = {
    "avx2": cpu_vec_isa.VecAVX2,
    "avx512": cpu_vec_isa.VecAVX512,
    "asimd": cpu_vec_isa.VecNEON,
}

# Inductor's options, chosen once for every build so that nothing depends on the machine that builds.
_BASE_OPTIONS: dict[str, Any] = {
    "cpp_wrapper": True,
    "freezing": False,
    "cpp.dynamic_threads": True,  # the thread count is the caller's choice at run time
    "cpp.threads": 16,  # what parallel depth is decided for; no number is written into the code
    "cpp.weight_prepack": False,
    "size_asserts": False,
    "nan_asserts": False,
    "alignment_asserts": False,
    "scalar_asserts": True,
    "debug_index_asserts": False,
    "comment_origin": False,
    "cpp.descriptive_names": "original_aten",
    "compile_threads": 1,
    "fx_graph_cache": False,
    "autotune_local_cache": False,
    "max_autotune": False,
    "aot_inductor.use_runtime_constant_folding": False,
    "aot_inductor.precompile_headers": False,
    "layout_optimization": True,
    "triton.cudagraphs": False,
}

_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "debug": {"debug_index_asserts": True, "epilogue_fusion": False},
    "min-size": {"cpp.max_horizontal_fusion_size": 16},
}


@dataclass
class Lowered:
    """C++ for every instruction set, and the weights and packed layers that it refers to by index."""

    variants: tuple[Variant, ...]
    weights: tuple[Weight, ...]
    linears: tuple[Linear, ...]
    mlps: tuple[Mlp, ...]
    convolutions: tuple[Convolution, ...]
    quantized: tuple[QuantizedLinear, ...]
    custom_functions: tuple[str, ...]  # of registered kernels that the model calls
    counters: dict[str, int]


@dataclass
class Counters:
    """How often the expensive stages ran for one model: each must be 1."""

    decompositions: int = 0
    lowerings: int = 0


def lower(
    captured: Captured,
    isas: Sequence[CpuIsa],
    *,
    target: str,
    method: str = "",
    preset: str = "default",
    options: Mapping[str, Any] | None = None,
    shard_count: int = 4,
    runtime: str = "standalone",
    has_eigen: bool = True,
) -> Lowered:
    """Lowers a captured program for the CPU. ``method``: which of several methods of the target it is.

    Args:
        has_eigen: whether the build has Eigen, which linear algebra and Fourier transforms need.

    Raises:
        AotbuildError: for an unknown option, or operators that the standalone runtime lacks (all of them at once).
    """
    counters = Counters()
    unit = f"{target}.{method}" if method else target
    _refuse_triton_kernels(captured, unit)
    if runtime == "standalone":
        capture.refuse_types_of_torch(captured.signature, unit)
    registered = custom_kernels.registered_operators()
    whole = [*registered, *pooling.pools_with_places(captured.program)]
    with _named_errors(unit):
        prepared = prepare(captured.program, whole, captured.state)
    counters.decompositions += 1
    if runtime == "standalone":
        use_grouped_kernel(prepared.module)
    mutated = {index for index, weight in enumerate(prepared.weights) if weight.mutated}
    convolutions = pack_convolutions(prepared.module, prepared.weight_index, mutated)
    quantized = pack_quantized(prepared.module, prepared.weight_index, mutated)
    linears = pack_linears(prepared.module, prepared.weight_index, mutated)
    features = {index: (weight.tensor.shape or (1,))[0] for index, weight in enumerate(prepared.weights)}
    linears, mlps = join_mlps(prepared.module, linears, features)
    fake_mode = fake_mode_of(prepared)
    with _named_errors(unit), V.set_fake_mode(fake_mode):
        decompose_preserved(prepared.module)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_named_errors(unit))
        stack.enter_context(inductor_options(preset, options or {}))
        stack.enter_context(_backend(runtime, registered))
        stack.enter_context(_custom_shims(prepared, registered, runtime))
        stack.enter_context(custom_kernels.as_library_calls(registered))
        stack.enter_context(pooling.as_library_calls())
        stack.enter_context(pooling.eager_windows())
        if runtime == "torch":
            stack.enter_context(torch_wrapper.unserialized_arguments())
        stack.enter_context(functions.eager_functions())
        stack.enter_context(eager_values.bounds_after_zeros())
        stack.enter_context(eager_values.converted_indices())
        stack.enter_context(half_types.rounded_casts())
        stack.enter_context(eager_values.sizes_of_every_call())
        stack.enter_context(V.set_fake_mode(fake_mode))
        stack.enter_context(V.set_aot_compilation(True))
        stack.enter_context(DebugContext())
        stack.enter_context(torch.no_grad())
        stack.enter_context(_vector_isa(isas[0]))
        guards = len(fake_mode.shape_env.guards) if fake_mode.shape_env else 0
        graph = _lower_graph(prepared, fake_mode)
        if fake_mode.shape_env:
            refuse_fixed_sizes(prepared, fake_mode.shape_env, guards, unit)
        name_checks(graph, capture.check_texts(captured.program))
        counters.lowerings += 1
        if runtime == "standalone":
            _refuse_short_complex(graph, unit)
        StandaloneCppWrapper.weight_index = prepared.weight_index
        StandaloneCppWrapper.weight_count = len(prepared.weights)
        linked = {operator: kernel.linked_name(target) for operator, kernel in registered.items()}
        StandaloneCppWrapper.custom_kernels = linked
        variants = []
        called: set[str] = set()
        for isa in sorted(isas, key=lambda isa: -isa.rank):
            with _vector_isa(isa), _restored(graph):
                code = _generate(graph)
            if runtime == "standalone":
                _refuse_missing_operators(code, graph, unit, has_eigen)
            called |= code.custom_functions
            declarations = [registered[op].linked_declaration(target) for op in registered if linked[op] in called]
            variants.append(_variant(code, isa, unit, shard_count, declarations, runtime))
        weights = list(prepared.weights)
        for name in graph.constants:
            value = tensor_data(graph.get_original_value_of_constant(name))
            weights.append(Weight(distinct(name, weight_names(weights)), value, required=False))
    return Lowered(
        tuple(variants),
        tuple(weights),
        tuple(linears),
        tuple(mlps),
        tuple(convolutions),
        tuple(quantized),
        tuple(sorted(called)),
        {"exports": 1, "decompositions": counters.decompositions, "lowerings": counters.lowerings},
    )


def fake_mode_of(prepared: PreparedGraph) -> Any:
    for value in prepared.fake_inputs:
        if hasattr(value, "fake_mode"):
            return value.fake_mode
    for node in prepared.module.graph.nodes:
        value = node.meta.get("val")
        if hasattr(value, "fake_mode"):
            return value.fake_mode
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    return FakeTensorMode(shape_env=ShapeEnv())


# How upstream's messages name the operator that they are about.
_OPERATOR = re.compile(r"call_function\[target=torch\.ops\.([\w.]+)\]|^\s*target: ([\w.]+)", re.MULTILINE)


@contextlib.contextmanager
def _named_errors(unit: str) -> Iterator[None]:
    """TorchInductor's own errors by the operator that they are about, without the graph around it."""
    try:
        yield
    except (AotbuildError, KeyboardInterrupt):
        raise
    except Exception as error:
        found = _OPERATOR.search(str(error))
        what = f"a call of {found[1] or found[2]}" if found else "the model"
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise AotbuildError(
            f"{unit}: TorchInductor cannot lower {what}: {reason}\n"
            "  Rewrite that line of the model with other operators; --verbose prints the whole error."
        ) from error


@contextlib.contextmanager
def inductor_options(preset: str, options: Mapping[str, Any]) -> Iterator[None]:
    if preset not in _PRESETS:
        raise AotbuildError(f"PRESET {preset!r} is unknown; use one of: {', '.join(_PRESETS)}")
    refuse_unknown(options)
    with inductor_config.patch({**_BASE_OPTIONS, **_PRESETS[preset], **options}):
        yield


@contextlib.contextmanager
def _backend(runtime: str, registered: Iterable[Any]) -> Iterator[None]:
    """Makes the CPU's wrapper generator ours for the time of one lowering."""
    from torch._inductor.codegen import common

    common.init_backend_registration()
    get_device_op_overrides("cpu")
    before = common.device_codegens["cpu"]
    wrapper = StandaloneCppWrapper if runtime == "standalone" else TorchCppWrapper
    register_backend_for_device("cpu", CppScheduling, PythonWrapperCodegen, wrapper)
    registered_names: dict[str, Any] = {str(operator): {} for operator in registered}
    shims = {**fallback_ops.inductor_fallback_ops, **registered_names}
    if runtime == "standalone":
        shims = _ShimOperators(shims)
    try:
        with patched(fallback_ops, "inductor_fallback_ops", shims):
            yield
    finally:
        common.device_codegens["cpu"] = before


class _ShimOperators(dict[str, Any]):
    """Operators that have a C shim function: upstream's table, and what the runtime has beyond it, named alike."""

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        function = str(name).removeprefix("aten.").removesuffix(".default").replace(".", "_")
        return f"aoti_torch_cpu_{function}" in supported_shim_functions()


@contextlib.contextmanager
def _vector_isa(isa: CpuIsa) -> Iterator[None]:
    """Kernels for a declared instruction set: upstream compiles and runs test programs on the host to find its own."""
    chosen = _VECTOR_ISAS[isa.vector_isa]() if isa.vector_isa else cpu_vec_isa.invalid_vec_isa
    with (
        patched(cpu_vec_isa, "pick_vec_isa", lambda: chosen),
        patched(cpu_vec_isa, "valid_vec_isa_list", lambda: [chosen] if isa.vector_isa else []),
        patched(type(chosen), "__bool__", lambda self: isa.vector_isa is not None),
    ):
        yield


def _lower_graph(prepared: PreparedGraph, fake_mode: Any) -> GraphLowering:
    from torch._inductor import compile_fx
    from torch._inductor.fx_passes.joint_graph import joint_graph_passes
    from torch._inductor.fx_passes.post_grad import view_to_reshape

    gm = prepared.module
    eager_values.keep_products_with_zero(gm)
    use_attention_kernel(gm, unseen_is_zero=True)
    with inductor_config.patch(emulate_precision_casts=True):  # keeps float16 -> bfloat16 -> float16
        joint_graph_passes(gm)
    use_attention_kernel(gm, unseen_is_zero=False)
    view_to_reshape(gm)
    fake_inputs = [node.meta["val"] for node in gm.graph.nodes if node.op == "placeholder"]
    compile_fx.fake_tensor_prop(gm, fake_inputs, True)
    compile_fx._recursive_record_original_output_strides(gm)
    compile_fx._recursive_post_grad_passes(gm, is_inference=True)
    copy_shifted_results(gm)
    graph = GraphLowering(
        gm,
        example_inputs=fake_inputs,
        shape_env=fake_mode.shape_env,
        cpp_wrapper=True,
        aot_mode=True,
        is_inference=True,
    )
    graph.freeze_runtime_asserts()
    with V.set_graph_handler(graph), V.set_extern_kernel_nodes([]):
        graph.run(*fake_inputs)
    return graph


@contextlib.contextmanager
def _restored(graph: GraphLowering) -> Iterator[None]:
    """Code generation removes buffers and marks others as in place; the next variant starts from the same graph."""
    sets = ("removed_buffers", "removed_operations", "inplaced_to_remove", "removed_inplace_buffers")
    saved = {name: set(getattr(graph, name)) for name in sets}
    asserts = {key: list(value) for key, value in graph.ras_by_symbol.items()}
    precomputed = dict(graph.sizevars.precomputed_replacements)
    inverse = dict(graph.sizevars.inv_precomputed_replacements)
    try:
        yield
    finally:
        for name, value in saved.items():
            current = getattr(graph, name)
            current.clear()
            for item in sorted(value):
                current.add(item)
        graph.ras_by_symbol = asserts
        graph.sizevars.precomputed_replacements = precomputed
        graph.sizevars.inv_precomputed_replacements = inverse


def _generate(graph: GraphLowering) -> WrapperCode:
    with V.set_graph_handler(graph), V.set_extern_kernel_nodes([]):
        graph.codegen()
    return StandaloneCppWrapper.collected


def _custom_shims(
    prepared: PreparedGraph, registered: Mapping[Any, CustomKernel], runtime: str
) -> contextlib.AbstractContextManager[Any]:
    """Operators of other packages that Inductor calls by name: by the runtime's function, or a registered kernel's."""
    found = {operator: [kernel.function] for operator, kernel in registered.items()}
    for node in prepared.module.graph.nodes if runtime == "standalone" else ():
        operator = node.target
        if isinstance(operator, torch._ops.OpOverload) and operator.namespace not in ("aten", "prims"):
            function = f"aoti_torch_cpu_{operator._schema.name.partition('::')[2]}"
            if function in supported_shim_functions():
                found.setdefault(operator, [function])
    patch: contextlib.AbstractContextManager[Any] = inductor_config.patch({"aot_inductor.custom_ops_to_c_shims": found})
    return patch


def supported_shim_functions() -> frozenset[str]:
    """The shim functions that the standalone runtime has: those that its own headers declare."""
    return _declared("shim.h") | _declared("shim_eigen.h")


@functools.cache
def _declared(header: str) -> frozenset[str]:
    text = (include_directory() / "aotbuild" / "detail" / header).read_text()
    return frozenset(re.findall(r"^#define (aoti_torch_\w+) aotbuild_torch_\w+$", text, re.MULTILINE))


def _refuse_triton_kernels(captured: Captured, target: str) -> None:
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


def _refuse_missing_operators(code: WrapperCode, graph: GraphLowering, target: str, has_eigen: bool) -> None:
    """One error with every library kernel that standalone lacks, and where the model calls each."""
    # Upstream writes some calls, such as those of operators in place, past the generator's methods.
    called = code.shim_functions | set(re.findall(r"\baoti_torch_\w+(?=\()", code.body))
    needs_eigen = set() if has_eigen else called & _declared("shim_eigen.h")
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


def _refuse_short_complex(graph: GraphLowering, target: str) -> None:
    """Views of pairs of float16 as complex numbers are no memory of their own, which the wrapper would refuse."""
    if any(buffer.maybe_get_dtype() == torch.complex32 for buffer in graph.buffers):
        raise AotbuildError(
            f"{target}: the model computes tensors of complex32, which the standalone runtime does not have; use "
            "complex64, or RUNTIME torch"
        )


def _operator_name(function: str, graph: GraphLowering) -> str:
    """The operator that a shim function stands for, as in "aten.linalg_qr.default"; else what the function is named."""
    for operation in _library_calls(graph):
        if operation.op_overload is not None and function in _names(operation):
            return str(operation.op_overload)
    return function.removeprefix("aoti_torch_").removeprefix("cpu_")


def origins(graph: GraphLowering) -> dict[str, list[str]]:
    """For each library call, by shim function and by operator name: the user's source lines that it comes from."""
    found: dict[str, list[str]] = {}
    for operation in _library_calls(graph):
        place = _source_line(operation)
        for name in _names(operation):
            found.setdefault(name, []).append(place)
    return found


def _library_calls(graph: GraphLowering) -> list[ir.ExternKernel]:
    graphs = [graph, *(subgraph.graph for subgraph in graph.seen_subgraphs.values() if subgraph.graph is not None)]
    operations = [operation for g in graphs for operation in g.operations]
    return [operation for operation in operations if isinstance(operation, ir.ExternKernel)]


def _names(operation: ir.ExternKernel) -> set[str]:
    """A library call by its operator and by its shim function."""
    names = {str(operation.op_overload)}
    kernel = operation.cpp_kernel_name
    if kernel is not None and (kernel.startswith("aoti_torch_") or "::" in kernel):
        names.add(StandaloneCppWrapper.get_c_shim_func_name(kernel, "cpu"))
    return names


def _source_line(operation: ir.ExternKernel) -> str:
    """The last frame of the model's own code in the stack trace that export recorded."""
    traces = [node.meta.get("stack_trace") for node in operation.origins]
    places = filter(None, map(capture.user_frame, traces))
    return next(places, "a line that export did not record")


def _variant(
    code: WrapperCode, isa: CpuIsa, target: str, shard_count: int, declarations: Sequence[str], runtime: str
) -> Variant:
    namespace = f"aotbuild_{symbol(target)}_{isa.identifier}"
    header_name = f"{target}_kernels_{isa.identifier}.hpp"
    external = [f'extern "C" {declaration};\n' for declaration in declarations] + ["\n"] * bool(declarations)
    run = (
        '#include "aotbuild/detail/wrapper.hpp"\n'
        f'#include "{header_name}"\n\n'
        f"{''.join(external)}"
        f"namespace {namespace} {{\n\n"
        "using namespace aotbuild::detail;\n\n"
        "void run([[maybe_unused]] CallContext& context, [[maybe_unused]] AtenTensorHandle* inputs,\n"
        "         [[maybe_unused]] AtenTensorHandle* outputs) {\n"
        f"{code.body}\n"
        "}\n\n"
        f"}}  // namespace {namespace}\n"
    )
    if runtime == "torch":
        run = torch_wrapper.run_source(code, declarations, namespace, header_name)
    return Variant(
        isa.name,
        namespace,
        run,
        kernels.header(code.kernels, namespace),
        kernels.shards(code.kernels, isa, namespace, header_name, shard_count),
        prepares=runtime == "torch",
    )
