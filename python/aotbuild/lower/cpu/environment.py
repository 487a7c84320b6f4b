"""What surrounds one lowering: TorchInductor's options, its backend and vector instruction set, errors by name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import torch._inductor.config as inductor_config
from torch._inductor import cpu_vec_isa
from torch._inductor.codegen.common import get_device_op_overrides, register_backend_for_device
from torch._inductor.codegen.wrapper import PythonWrapperCodegen
from torch._inductor.debug import DebugContext
from torch._inductor.virtualized import V
from torchgen.aoti import fallback_ops  # type: ignore[import-untyped]

from aotbuild.capture.custom_kernels import CustomKernel
from aotbuild.lower.common import eager_values, half_types, pooling
from aotbuild.lower.common.graph import PreparedGraph
from aotbuild.lower.common.options import refuse_unknown
from aotbuild.lower.cpu import custom_kernels, functions, recurrent, torch_wrapper
from aotbuild.lower.cpu.checked_kernels import CheckedScheduling, loops_known
from aotbuild.lower.cpu.divisions import divisions_placed
from aotbuild.lower.cpu.refusals import supported_shim_functions
from aotbuild.lower.cpu.torch_wrapper import TorchCppWrapper
from aotbuild.lower.cpu.wrapper import StandaloneCppWrapper, WrapperFactory
from aotbuild.lower.cpu.wrapper_code import ModelNames
from aotbuild.spec.errors import AotbuildError
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


@contextlib.contextmanager
def environment(
    prepared: PreparedGraph,
    fake_mode: Any,
    registered: Mapping[Any, CustomKernel],
    names: ModelNames,
    runtime: str,
    isa: CpuIsa,
) -> Iterator[None]:
    """Within: TorchInductor lowers for ``runtime`` and ``isa``, with eager PyTorch's values."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_backend(runtime, registered, names))
        stack.enter_context(_custom_shims(prepared, registered, runtime))
        stack.enter_context(custom_kernels.as_library_calls(registered))
        stack.enter_context(pooling.eager_windows())
        if runtime == "torch":
            stack.enter_context(torch_wrapper.unserialized_arguments())
        stack.enter_context(functions.eager_functions())
        stack.enter_context(loops_known())
        stack.enter_context(divisions_placed())
        stack.enter_context(eager_values.bounds_after_zeros())
        stack.enter_context(eager_values.converted_indices())
        stack.enter_context(half_types.rounded_casts())
        stack.enter_context(eager_values.sizes_of_every_call())
        stack.enter_context(V.set_fake_mode(fake_mode))
        stack.enter_context(V.set_aot_compilation(True))
        stack.enter_context(DebugContext())
        stack.enter_context(torch.no_grad())
        stack.enter_context(vector_isa(isa))
        yield


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
def named_errors(unit: str) -> Iterator[None]:
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
def _backend(runtime: str, registered: Iterable[Any], names: ModelNames) -> Iterator[None]:
    """Makes the CPU's wrapper generator ours for the time of one lowering."""
    from torch._inductor.codegen import common

    common.init_backend_registration()
    get_device_op_overrides("cpu")
    before = common.device_codegens["cpu"]
    wrapper = StandaloneCppWrapper if runtime == "standalone" else TorchCppWrapper
    factory: Any = WrapperFactory(wrapper, names)
    register_backend_for_device("cpu", CheckedScheduling, PythonWrapperCodegen, factory)
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
def vector_isa(isa: CpuIsa) -> Iterator[None]:
    """Kernels for a declared instruction set: upstream compiles and runs test programs on the host to find its own."""
    chosen = _VECTOR_ISAS[isa.vector_isa]() if isa.vector_isa else cpu_vec_isa.invalid_vec_isa
    with (
        patched(cpu_vec_isa, "pick_vec_isa", lambda: chosen),
        patched(cpu_vec_isa, "valid_vec_isa_list", lambda: [chosen] if isa.vector_isa else []),
        patched(type(chosen), "__bool__", lambda self: isa.vector_isa is not None),
    ):
        yield


def _custom_shims(
    prepared: PreparedGraph, registered: Mapping[Any, CustomKernel], runtime: str
) -> contextlib.AbstractContextManager[Any]:
    """Operators of other packages that Inductor calls by name: by the runtime's function, or a registered kernel's."""
    found = {operator: [kernel.function] for operator, kernel in registered.items()}
    graphs = [module.graph for module in prepared.module.modules() if isinstance(module, torch.fx.GraphModule)]
    for node in (node for graph in graphs for node in graph.nodes) if runtime == "standalone" else ():
        operator = node.target
        if isinstance(operator, torch._ops.OpOverload) and operator.namespace not in ("aten", "prims"):
            function = f"aoti_torch_cpu_{operator._schema.name.partition('::')[2]}"
            if function in supported_shim_functions():
                found.setdefault(operator, [function])
    found[recurrent.PACKED] = [recurrent.FUNCTION]
    patch: contextlib.AbstractContextManager[Any] = inductor_config.patch({"aot_inductor.custom_ops_to_c_shims": found})
    return patch
