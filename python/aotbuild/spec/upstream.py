"""Every name of PyTorch and Triton that is replaced for a time, and why: what a new release of them may break."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

# By module and name; of classes, by the class's name and the member's. tests/unit/test_upstream.py keeps a digest of
# what stands behind each name in the pinned release, and says when another has changed it.
REPLACED: dict[str, str] = {
    # Capture
    "torch._check_with": "keeps the texts of the model's own checks, which export drops",
    "torch.nn.modules.rnn._VF": "recurrent layers become one operator, of any length",
    "triton.runtime.jit.KernelInterface.__getitem__": "kernel[grid](...) becomes a node of the exported graph",
    "triton.runtime.jit.JITFunction.run": "kernels run in Triton's interpreter, on CPU tensors",
    "triton.runtime.jit.JITFunction.__call__": "functions that kernels call are interpreted too",
    "triton.runtime.autotuner.Autotuner.run": "the first configuration runs; nothing is timed",
    "triton.runtime.interpreter._patch_lang": "the interpreter's changes of triton.language are undone after a call",
    # Lowering
    "torch._inductor.lowering.lowerings": "operators with eager PyTorch's values, or left as calls of the runtime",
    "torch._inductor.lowering._fractional_pooling_offsets": "windows of fractional pools begin where eager's do",
    "torch._inductor.index_propagation.SymPyOps.to_dtype": "conversions of index expressions keep the value's meaning",
    "torch._inductor.codegen.cpp.CppOverrides": "functions of generated code have eager PyTorch's values",
    "torch._inductor.codegen.cpp.CppVecOverrides": "the same of vectors",
    "torch._inductor.codegen.cpp.LoopLevel.lines": "the buffer of a kernel is told which loop it gets",
    "torch._inductor.ir.Loops.create": "loops of divisions know the model's line",
    "torch._inductor.loop_body.LightTracer.create_node": "the same of each operation in them",
    "torchgen.aoti.fallback_ops.inductor_fallback_ops": "operators that the runtime has a C function for",
    "torch._inductor.cpu_vec_isa.pick_vec_isa": "instruction sets are declared, not probed on this machine",
    "torch._inductor.cpu_vec_isa.valid_vec_isa_list": "the same",
    "torch._inductor.cpu_vec_isa.VecISA.__bool__": "upstream compiles and runs a program to find out",
    "torch._inductor.ir.FallbackKernel.export_extern_kernel_node": "arguments of operators are not serialised",
    "torch._inductor.sizevars.SizeVarAllocator.evaluate_min": "the smaller size of every call, not the example's",
    "torch._inductor.sizevars.SizeVarAllocator.evaluate_max": "the same of the larger one",
    "torch.export.exported_program.ExportedProgram.module": "upstream would call the guards, which know the example",
    "torch.export.exported_program._split_decomp_table_to_cia_and_python_decomp": "composite operators are found once",
    # Lowering for GPUs
    "torch._inductor.fx_passes.joint_graph.UniformValueConstantFolder._deduce_value": "constants are folded on the CPU",
    "torch._inductor.fx_passes.joint_graph.UniformValueConstantFolder._add_peephole_patterns": "the same",
    "torch._inductor.lowering.use_scatter_fallback": "scatters stay Triton kernels",
    "torch._inductor.decomposition.use_scatter_fallback": "the same",
    "torch._inductor.lowering.needs_fallback_due_to_atomic_add_limitations": "the same, of accumulating stores",
    "torch._inductor.decomposition.needs_fallback_due_to_atomic_add_limitations": "the same",
    "torch._inductor.fx_passes.fuse_attention._scaled_dot_product_attention": "recognised attention gets our kernel",
    "torch._inductor.select_algorithm.TritonTemplate.generate": "templates are written for any tile sizes",
    "torch._inductor.select_algorithm.TritonTemplateKernel.additional_call_args_and_types": "the same, of their grids",
    "torch._subclasses.fake_tensor.run_fallback_kernel": "sizes that only a kernel can tell are found on the CPU",
    "torch.cuda.is_available": "no device is touched, whatever this machine has",
    "torch.cuda.device_count": "the declared GPU in the place of this machine's",
    "torch.cuda.current_device": "the same",
    "torch.cuda.get_device_properties": "the same",
    "torch.cuda.get_device_capability": "the same",
    "torch.cuda.get_device_name": "the same",
    "torch.cuda.is_bf16_supported": "the same",
    "torch.cuda.is_tf32_supported": "the same",
    "torch.cuda.synchronize": "the same",
    "torch._dynamo.device_interface.device_interfaces": "the same, for TorchInductor",
    "torch._inductor.utils.is_big_gpu": "templates are right on any GPU",
    "torch._inductor.runtime.triton_helpers.set_driver_to_gpu": "no driver is looked for",
    "prims::inductor_lookup_seed.prim_meta_impl": "upstream indexes a tensor of the device",
}


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Within: attribute ``name`` of a module or class is ``value``.

    Raises:
        KeyError: the name is not in ``REPLACED``.
    """
    _require(owner, name)
    was_own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if was_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


@contextlib.contextmanager
def patched_entries(owner: Any, name: str, entries: Mapping[Any, Any]) -> Iterator[None]:
    """Within: the dictionary ``name`` of a module has ``entries`` too, in the place of its own of these keys.

    Raises:
        KeyError: the name is not in ``REPLACED``.
    """
    _require(owner, name)
    table = getattr(owner, name)
    before = dict(table)
    table.update(entries)
    try:
        yield
    finally:
        table.clear()
        table.update(before)


def names_of(owner: Any) -> list[str]:
    """A module, class or operator as ``REPLACED`` names it; of a class or its object, the bases too."""
    if isinstance(owner, type):
        return [f"{base.__module__}.{base.__qualname__}" for base in owner.__mro__]
    if isinstance(owner, types.ModuleType):
        return [owner.__name__]
    return [str(owner.name())] if hasattr(owner, "overloadpacket") else names_of(type(owner))


def _require(owner: Any, name: str) -> None:
    names = names_of(owner)
    if REPLACED.keys().isdisjoint([*names, *(f"{one}.{name}" for one in names)]):
        raise KeyError(f"{names[0]}.{name} is not in the table of replaced names, python/aotbuild/spec/upstream.py")
