"""Lowering: the captured program through one ``GraphLowering`` to C++ for each declared instruction set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch._inductor.config as inductor_config
from torch._inductor.graph import GraphLowering
from torch._inductor.virtualized import V

from aotbuild import capture
from aotbuild.capture import Captured, tensor_data
from aotbuild.lower.common import complex_operators, eager_values, pooling
from aotbuild.lower.common.attention import use_attention_kernel
from aotbuild.lower.common.branches import copy_shifted_results
from aotbuild.lower.common.checks import name_checks
from aotbuild.lower.common.fixed_sizes import refuse_fixed_sizes
from aotbuild.lower.common.graph import PreparedGraph, decompose_preserved, prepare
from aotbuild.lower.common.grouped import use_grouped_kernel
from aotbuild.lower.common.lowered import Lowered
from aotbuild.lower.common.recurrent import OPERATOR as RECURRENT
from aotbuild.lower.cpu import custom_kernels, kernels, torch_wrapper
from aotbuild.lower.cpu.convolution import pack_convolutions
from aotbuild.lower.cpu.environment import environment, fake_mode_of, inductor_options, named_errors, vector_isa
from aotbuild.lower.cpu.linear import join_mlps, pack_linears
from aotbuild.lower.cpu.quantized import pack_quantized
from aotbuild.lower.cpu.recurrent import pack_recurrent
from aotbuild.lower.cpu.refusals import refuse_missing_operators, refuse_short_complex, refuse_triton_kernels
from aotbuild.lower.cpu.wrapper import StandaloneCppWrapper
from aotbuild.lower.cpu.wrapper_code import ModelNames, WrapperCode
from aotbuild.spec.identifiers import distinct, symbol
from aotbuild.spec.precision import Precision
from aotbuild.spec.program import Convolution, Linear, Mlp, QuantizedLinear, Recurrent, Variant, Weight, weight_names
from aotbuild.spec.target import CpuIsa


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
    precision: Precision | None = None,
    counts_work: bool = False,
) -> Lowered[Variant]:
    """Lowers a captured program for the CPU. ``method``: which of several methods of the target it is.

    Args:
        has_eigen: whether the build has Eigen, which linear algebra and Fourier transforms need.
        precision: of packed layers over float32.
        counts_work: whether ``Variant.calls`` say how much they do.

    Raises:
        AotbuildError: for an unknown option, or operators that the standalone runtime lacks (all of them at once).
    """
    unit = f"{target}.{method}" if method else target
    refuse_triton_kernels(captured, unit)
    if runtime == "standalone":
        capture.refuse_types_of_torch(captured.signature, unit)
    registered = custom_kernels.registered_operators()
    pools = pooling.pools_with_places(captured.program)
    whole = [*registered, *pools]
    whole += [RECURRENT, *complex_operators.OPERATORS] if runtime == "standalone" else []
    with named_errors(unit):
        prepared = prepare(captured.program, whole, captured.state)
    if runtime == "standalone":
        use_grouped_kernel(prepared.module)
    layers = _packed_layers(prepared, precision or Precision())
    linked = {operator: kernel.linked_name(target) for operator, kernel in registered.items()}
    names = ModelNames(prepared.weight_index, len(prepared.weights), linked, counts_work)
    fake_mode = fake_mode_of(prepared)
    with named_errors(unit), V.set_fake_mode(fake_mode):
        decompose_preserved(prepared.module)
    with (
        named_errors(unit),
        inductor_options(preset, options or {}),
        environment(prepared, fake_mode, registered, names, runtime, isas[0]),
        pooling.as_library_calls(pools),
    ):
        guards = len(fake_mode.shape_env.guards) if fake_mode.shape_env else 0
        graph = _lower_graph(prepared, fake_mode)
        if fake_mode.shape_env:
            refuse_fixed_sizes(prepared, fake_mode.shape_env, guards, unit)
        name_checks(graph, capture.check_texts(captured.program))
        if runtime == "standalone":
            refuse_short_complex(graph, unit)
        variants = []
        called: set[str] = set()
        for isa in sorted(isas, key=lambda isa: -isa.rank):
            with vector_isa(isa), _restored(graph):
                code = _generate(graph)
            if runtime == "standalone":
                refuse_missing_operators(code, graph, unit, has_eigen)
            called |= code.custom_functions
            declarations = [registered[op].linked_declaration(target) for op in registered if linked[op] in called]
            variants.append(_variant(code, isa, unit, shard_count, declarations, runtime))
        weights = _with_constants(prepared.weights, graph)
    counters = {"exports": 1, "decompositions": 1, "lowerings": 1}
    return Lowered(tuple(variants), weights, counters, *layers, custom_functions=tuple(sorted(called)))


def _packed_layers(
    prepared: PreparedGraph, precision: Precision
) -> tuple[
    tuple[Linear, ...],
    tuple[Mlp, ...],
    tuple[Convolution, ...],
    tuple[QuantizedLinear, ...],
    tuple[Recurrent, ...],
]:
    """Takes the layers that the runtime packs out of the graph."""
    types = [precision.of_weight((weight.name, *weight.aliases)) for weight in prepared.weights]
    mutated = {index for index, weight in enumerate(prepared.weights) if weight.mutated}
    convolutions = pack_convolutions(prepared.module, prepared.weight_index, mutated, types)
    quantized = pack_quantized(prepared.module, prepared.weight_index, mutated)
    recurrent = pack_recurrent(prepared.module, prepared.weight_index, mutated)
    linears = pack_linears(prepared.module, prepared.weight_index, mutated, types)
    linears, mlps = join_mlps(prepared.module, linears)
    return tuple(linears), tuple(mlps), tuple(convolutions), tuple(quantized), tuple(recurrent)


def _with_constants(prepared: Iterable[Weight], graph: GraphLowering) -> tuple[Weight, ...]:
    weights = list(prepared)
    for name in graph.constants:
        value = tensor_data(graph.get_original_value_of_constant(name))
        weights.append(Weight(distinct(name, weight_names(weights)), value, required=False))
    return tuple(weights)


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
    wrapper = graph.wrapper_code
    assert isinstance(wrapper, StandaloneCppWrapper)
    return wrapper.code


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
        read_weights=tuple(code.weights),
        calls=tuple(code.calls),
    )
