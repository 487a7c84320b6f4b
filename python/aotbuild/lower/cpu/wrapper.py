"""The C++ wrapper: Inductor's wrapper generator, made to write a plain function over aotbuild's runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import sympy
import torch
from torch._inductor import ir
from torch._inductor.codegen.cpp_utils import cexpr
from torch._inductor.codegen.cpp_wrapper_cpu import CppWrapperCpu
from torch._inductor.utils import IndentedBuffer
from torch._inductor.virtualized import V

from aotbuild.lower.common import adapters
from aotbuild.lower.common.attention import KERNEL as ATTENTION_KERNEL
from aotbuild.lower.common.attention import KERNEL_NAME as ATTENTION_NAME
from aotbuild.lower.common.attention import Attention
from aotbuild.lower.cpu import recurrent
from aotbuild.lower.cpu.call_notes import CallNotes
from aotbuild.lower.cpu.checked_kernels import LINKAGE
from aotbuild.lower.cpu.convolution import PackedConvolution
from aotbuild.lower.cpu.linear import PackedLinear
from aotbuild.lower.cpu.wrapper_code import Kernel, ModelNames, WrapperCode, statements
from aotbuild.spec.dtypes import DTYPES
from aotbuild.spec.errors import AotbuildError

# The numbers of types that generated code names.
DTYPE_CONSTANTS = {getattr(torch, dtype.name): dtype.constant for dtype in DTYPES.values() if dtype.standalone}

# The types that `.item()` reads the others as.
_PYTHON_NUMBERS = {
    **dict.fromkeys((torch.uint8, torch.int8, torch.int16, torch.int32), torch.int64),
    **dict.fromkeys((torch.float16, torch.bfloat16, torch.float32), torch.float64),
}

# Linear algebra, by the start of its operators' names.
_LINEAR_ALGEBRA = ("linalg_", "_linalg_", "cholesky", "geqrf", "lu_unpack", "ormqr", "triangular_solve")


@dataclass(frozen=True)
class WrapperFactory:
    """Makes the wrapper generators of one lowering: upstream asks the backend's wrapper class for each."""

    kind: type[StandaloneCppWrapper]
    names: ModelNames

    def create(self, *_: Any, **__: Any) -> StandaloneCppWrapper:
        return self.kind(self.names)


class _Input(NamedTuple):
    """Where the run function finds a tensor that it is given: as C++, and of a weight its index."""

    text: str
    weight: int | None = None

    @classmethod
    def of_weight(cls, index: int) -> _Input:
        return cls(f"context_weight(context, {index})", index)


def _used_buffers() -> set[str]:
    """The buffers that what is scheduled reads or writes, and the graph's results."""
    used = set(V.graph.get_output_names())
    for node in V.graph.scheduler.nodes:
        used |= {dependency.name for dependency in node.read_writes.reads_and_writes()}
        used |= {name for output in node.get_outputs() for name in output.get_mutations()}
    return used


class StandaloneCppWrapper(CppWrapperCpu):
    """Writes the body of ``void run(CallContext&, AtenTensorHandle* inputs, AtenTensorHandle* outputs)``.

    Upstream writes a class derived from ``AOTInductorModelBase``, whose headers take 5 of the 7 seconds that its
    compilation takes; here the model is a function, and names, weights and checks are data that the runtime reads.
    """

    # What PyTorch has for complex tensors, and the runtime for real ones only.
    real_only: ClassVar[Sequence[Any]] = (torch.ops.aten.uniform.default, torch.ops.aten.normal_functional.default)

    def __init__(self, names: ModelNames) -> None:
        super().__init__()
        self.names = names
        self.code = self.empty_code()
        self._inputs: dict[str, _Input] = {}
        self._measured: set[str] = set()
        self._notes = CallNotes(counts_work=names.counts_work)
        self._writelines = adapters.BoundMethods()

    def empty_code(self) -> WrapperCode:
        return WrapperCode()

    # --- parts of upstream's file that have no counterpart here

    def write_header(self) -> None:
        pass

    def add_device_include(self, device: str) -> None:
        pass

    def write_prefix(self) -> None:
        pass

    def codegen_input_size_and_nan_asserts(self) -> None:
        pass

    def write_constant(self, name: str, hashed: str) -> None:
        pass

    # --- the function

    def write_wrapper_decl(self) -> None:
        with self.prefix.indent():
            self._write_unpacking()
            self.codegen_inputs()

    def _write_unpacking(self) -> None:
        position = 0
        for name, value in V.graph.graph_inputs.items():
            if name in self.names.weight_index:
                self._inputs[name] = _Input.of_weight(self.names.weight_index[name])
            elif isinstance(value, ir.TensorBox):
                self._inputs[name] = _Input(f"inputs[{position}]")
                position += 1
            else:
                raise NotImplementedError(f"input {name} is a {type(value).__name__}")
        self.code.input_count = position
        for index, name in enumerate(V.graph.constants):
            self._inputs[name] = _Input.of_weight(self.names.weight_count + index)

    def finalize_prefix(self) -> None:
        """Unpacks what the run function reads: some weights only packed layers do."""
        sizes, self.prefix = self.prefix, IndentedBuffer()
        used = _used_buffers() | self._measured
        for name, source in self._inputs.items():
            if name in used:
                self.prefix.writeline(f"BorrowedTensor {name}({source.text});")
                self.code.weights += [] if source.weight is None else [source.weight]
        self.prefix.splice(sizes)

    def codegen_input_size_var_decl(self, code: IndentedBuffer, name: str) -> None:
        self._measured.add(name)
        code.writeline(f"const int64_t* {name}_size = {name}.sizes();")

    def codegen_input_stride_var_decl(self, code: IndentedBuffer, name: str) -> None:
        self._measured.add(name)
        code.writeline(f"const int64_t* {name}_stride = {name}.strides();")

    def generate(self, is_inference: bool) -> Any:
        result = super().generate(is_inference)
        self.code.statements = list(statements(self.prefix.getvalue() + self.wrapper_call.getvalue()))
        return result

    def make_buffer_free(self, buffer: Any) -> str:
        return "" if self._is_borrowed(buffer.get_name()) else str(super().make_buffer_free(buffer))

    def make_free_by_names(self, names_to_del: list[str]) -> str:
        return str(super().make_free_by_names([name for name in names_to_del if not self._is_borrowed(name)]))

    @staticmethod
    def _is_borrowed(name: str) -> bool:
        return name in V.graph.graph_inputs or name in V.graph.constants

    def generate_before_suffix(self, result: IndentedBuffer) -> None:
        pass

    def generate_end(self, result: IndentedBuffer) -> None:
        pass

    def generate_return(self, output_refs: list[str]) -> None:
        constants = V.graph.constants.keys() | V.graph.graph_inputs.keys()
        refs = [self.create_tmp_raii_handle_var_if_needed(ref, self.wrapper_call) for ref in output_refs]
        first: dict[str, int] = {}
        self.code.output_count = len(refs)
        for index, ref in enumerate(refs):
            output = V.graph.graph_outputs[index]
            if isinstance(output, ir.ShapeAsConstantBuffer):
                ref = f"static_cast<bool>({ref})" if isinstance(output.expr, sympy.And) else ref  # & makes an int
                line = f"outputs[{index}] = scalar_to_tensor_handle({ref}).release();"
            elif ref in first:
                line = f"outputs[{index}] = new_handle(outputs[{first[ref]}]).release();"
            elif ref in constants:
                line = f"outputs[{index}] = new_handle({ref}).release();"
            else:
                line = f"outputs[{index}] = {ref}.release();"
            first.setdefault(ref, index)
            self.wrapper_call.writeline(line)

    # --- statements

    def codegen_dtype(self, dtype: torch.dtype) -> str:
        if dtype not in DTYPE_CONSTANTS:
            known = ", ".join(str(known).removeprefix("torch.") for known in DTYPE_CONSTANTS)
            raise AotbuildError(
                f"the model computes tensors of {str(dtype).removeprefix('torch.')}, which the standalone runtime does "
                f"not have; it has {known}; RUNTIME torch has all"
            )
        return DTYPE_CONSTANTS[dtype]

    def codegen_device(self, device: torch.device) -> str:
        return "kCpu, 0"

    def codegen_device_idx(self, device: torch.device, device_id: str) -> str:
        return "0"

    def codegen_layout(self, layout: torch.layout) -> str:
        return "kStrided"

    def codegen_shape_tuple(self, shape: Sequence[Any]) -> str:
        return str(super().codegen_shape_tuple(shape)).replace(", }", "}")

    def make_allocation(
        self,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        shape: Any,
        stride: Any,
        allocation_shape: Any = None,
        is_pinned: bool = False,
    ) -> str:
        """One line a buffer; an output's buffer is placed in the caller's memory where it fits."""
        outputs = V.graph.get_output_names()
        index = outputs.index(name) if name in outputs and V.graph is self._outer_graph() else -1
        size = self._int_array(shape)
        strides = self._int_array(stride)
        return (
            f"RAIIAtenTensorHandle {name}(context_allocate(context, {len(shape)}, {size}, {strides}, "
            f"{self.codegen_dtype(dtype)}, {index}));"
        )

    def codegen_int_array_var(self, int_array: str, writeline: Any, *args: Any, **kwargs: Any) -> str:
        return str(super().codegen_int_array_var(int_array, self._writelines.one_of(writeline), *args, **kwargs))

    def _outer_graph(self) -> Any:
        return self._outer if hasattr(self, "_outer") else V.graph

    def _int_array(self, values: Sequence[Any]) -> str:
        return self.codegen_int_array_var(
            self.codegen_shape_tuple(values),
            self.wrapper_call.writeline,
            known_statically=self.is_statically_known_list_of_ints(values),
            graph=self.get_codegened_graph(),
        )

    def generate_kernel_call(self, kernel_name: str, call_args: Any, **kwargs: Any) -> None:
        """Upstream writes the line later, when nobody knows the kernel's operations any more."""
        backend: Any = V.graph.scheduler.get_backend(torch.device("cpu"))
        nodes = backend.kernel_group.scheduled_nodes
        self.code.calls.append(self._notes.of(kernel_name, [node.node for node in nodes], nodes))
        super().generate_kernel_call(kernel_name, call_args, **kwargs)

    def _generate_kernel_call_helper(self, kernel_name: str, call_args: Any, **kwargs: Any) -> None:
        arguments = []
        for arg, arg_type in zip(call_args, kwargs["arg_types"], strict=True):
            if isinstance(arg_type, str) and "*" in arg_type:
                arguments.append(f"{arg}.data<{arg_type.replace('*', '').strip()}>()")
            else:
                arguments.append(str(arg))
        self.writeline(self.wrap_kernel_call(kernel_name, arguments))

    def _define_kernel_helper(
        self,
        kernel_name: str,
        kernel_body: str,
        metadata: str | None = None,
        gpu: bool = False,
        cpp_definition: str | None = None,
    ) -> None:
        assert cpp_definition is not None and not gpu
        declaration, definition = (text.strip().removeprefix(LINKAGE) for text in (cpp_definition, kernel_body))
        self.code.kernels.append(Kernel(kernel_name, " ".join(declaration.split()), definition))

    def generate_c_shim_extern_kernel_call(self, kernel: str, args: list[str], device: str, **kwargs: Any) -> None:
        current = V.graph.scheduler.current_node
        operations = [] if current is None else [node.node for node in current.get_nodes()]
        if kernel == recurrent.FUNCTION:
            self._note_call(kernel, operations)
            self.writeline(f"{kernel}(context, {', '.join(args)});")
            return
        function = self.get_c_shim_func_name(kernel, device)
        self._note_call(function, operations)
        is_custom = function in self.names.custom_kernels.values()
        (self.code.custom_functions if is_custom else self.code.shim_functions).add(function)
        self.writeline(f"AOTI_TORCH_ERROR_CODE_CHECK({function}({', '.join(args)}));")

    def codegen_tensor_item(self, dtype: torch.dtype, tensor: str, scalar: str, *args: Any, **kwargs: Any) -> None:
        """Python's numbers have 64 bits whatever the tensor's type: products of small integers do not overflow."""
        read = _PYTHON_NUMBERS.get(dtype, dtype)
        self.code.shim_functions.add(f"aoti_torch_item_{str(read).removeprefix('torch.')}")
        super().codegen_tensor_item(read, tensor, scalar, *args, **kwargs)

    def codegen_sizevar(self, x: Any) -> str:
        """Also of what ``and`` and ``or`` make, which upstream cannot simplify."""
        if isinstance(x, sympy.And | sympy.Or | sympy.Not):
            return str(cexpr(x.xreplace(V.graph.sizevars.replacements)))
        return str(super().codegen_sizevar(x))

    def codegen_dynamic_select_index(self, node: ir.DynamicSelectStorageOffset, clamp: bool) -> None:
        """Upstream takes ``x[n.item()]`` on trust: an index out of bounds would read what is no tensor's."""
        super().codegen_dynamic_select_index(node, clamp)
        if clamp:
            return
        index, size = f"{node.unbacked_offset_symbol}_index", self.codegen_sizevar(sympy.sympify(node.size))
        self.writeline(f"check_index({index}, {size});")

    def codegen_dynamic_slice_size(self, node: ir.DynamicSliceSize) -> None:
        """Upstream writes the bound that ``x[:n]`` leaves out as None."""
        node.start = 0 if node.start is None else node.start
        node.end = node.size if node.end is None else node.end
        super().codegen_dynamic_slice_size(node)

    def _codegen_unbacked_symbol_defs_for_outputs(self, output_name: str, outputs: Any, unbacked_bindings: Any) -> None:
        """Also what follows every library kernel: the runtime's results are contiguous, and others may be expected."""
        super()._codegen_unbacked_symbol_defs_for_outputs(output_name, outputs, unbacked_bindings)
        for output in outputs if isinstance(outputs, list | tuple) else [outputs]:
            kernel = adapters.kernel_of(output)
            if not isinstance(kernel, ir.FallbackKernel) or kernel.get_inputs_that_alias_output():
                continue
            layout = output.get_layout()
            if not _is_contiguous(layout.size, layout.stride):
                strides = ", ".join(map(self.codegen_sizevar, layout.stride))
                self.writeline(f"match_strides({output.get_name()}, {{{strides}}});")

    def _generate_scatter_fallback(
        self,
        output: str,
        inputs: Sequence[Any],
        cpp_kernel_name: str,
        python_kernel_name: str,
        src_is_tensor: bool,
        reduce: str | None,
        kwargs: Sequence[str],
        device: str,
    ) -> None:
        """Upstream looks at nothing that scatters return."""
        function = self.get_c_shim_func_name(cpp_kernel_name, device).replace("__", "_") + "_out"
        arguments = [output, ",".join(map(str, inputs))]
        if python_kernel_name.startswith("aten.scatter_reduce"):
            arguments.append(",".join(kwargs))
        elif src_is_tensor and reduce:
            arguments.append(str(self.val_to_arg_str(self._get_scatter_reduce_enum(reduce))))
        self.generate_c_shim_extern_kernel_call(function, arguments, device)

    def _generate_index_put_fallback(
        self, kernel: str, x: str, indices: Sequence[str], values: str, accumulate: str
    ) -> None:
        """The same of index_put."""
        pointer = str(self._generate_temporary_array_pointer("AtenTensorHandle", indices))
        self.generate_c_shim_extern_kernel_call(kernel, [x, x, pointer, str(len(indices)), values, accumulate], "cpu")

    def get_c_shim_func_name(self, kernel: str, device: str) -> str:  # type: ignore[override]  # upstream's is static
        is_custom = kernel in self.names.custom_kernels.values()
        return kernel if is_custom else str(CppWrapperCpu.get_c_shim_func_name(kernel, device))

    def generate_fallback_kernel(self, node: ir.FallbackKernel) -> None:
        if node.op_overload in self.names.custom_kernels:
            node.cpp_kernel_name = self.names.custom_kernels[node.op_overload]
        if node.op_overload is recurrent.PACKED:
            node.cpp_kernel_name = recurrent.FUNCTION
            self.generate_c_shim_fallback_kernel(node, recurrent.call_arguments(node.codegen_args()))
            return
        if self.real_only and self._is_of_other_types(node):
            self.code.unreachable.add(str(node.op_overload))
        if isinstance(node.op_overload, torch._ops.OpOverload) and not node.op_overload._schema.returns:
            # Upstream passes a null pointer for a result, which such a function does not have.
            arguments = [*node.codegen_args(), *node.codegen_kwargs()]
            self.generate_c_shim_extern_kernel_call(node.cpp_kernel_name or "", arguments, "cpu")
            return
        super().generate_fallback_kernel(node)

    def _is_of_other_types(self, node: ir.FallbackKernel) -> bool:
        """Whether a kernel of the runtime's gets or gives types that it is not for: complex or 16 bits."""
        if node.op_overload in self.real_only:
            return any(output.get_dtype().is_complex for output in node.outputs)
        name = str(node.op_overload).removeprefix("aten.")
        if node.op_overload in self.names.custom_kernels or not name.startswith(_LINEAR_ALGEBRA):
            return False
        dtypes = {value.get_dtype() for value in node.inputs if isinstance(value, ir.IRNode)}
        return any(dtype.is_complex or dtype in (torch.float16, torch.bfloat16) for dtype in dtypes)

    def generate_fallback_kernel_with_runtime_lookup(
        self,
        buf_name: str,
        python_kernel_name: str,
        get_args: Any,
        op_overload: Any,
        raw_args: Any,
        outputs: Any,
    ) -> None:
        """Upstream calls these through libtorch's dispatcher; lowering refuses them by name."""
        self.code.unreachable.add(str(op_overload))

    def generate_packed(self, node: PackedLinear | PackedConvolution, function: str) -> None:
        (source,) = (value.codegen_reference() for value in node.inputs)  # type: ignore[union-attr]
        self._note_call(function, [node])
        self.writeline(f"{function}(context, {node.slot}, {source}, {node.get_name()});")

    def generate_attention(self, node: Attention) -> None:
        operands = [value.codegen_reference() for value in node.inputs]  # type: ignore[union-attr]
        query, key, value = operands[:3]
        mask = operands[3] if len(operands) > 3 else "nullptr"
        flags = ["true" if flag else "false" for flag in (node.causal, node.unseen_is_zero)]
        if all(kernel.name != ATTENTION_NAME for kernel in self.code.kernels):
            self.code.kernels.append(Kernel(ATTENTION_NAME, *ATTENTION_KERNEL, is_attention=True))
        arguments = [ATTENTION_NAME, query, key, value, mask, *flags, repr(node.scale), node.get_name()]
        self._note_call("attention", [node])
        self.writeline(f"attention({', '.join(arguments)});")

    def _note_call(self, function: str, operations: Sequence[Any]) -> None:
        self.code.calls.append(self._notes.of(function, operations))


def _is_contiguous(sizes: Sequence[Any], strides: Sequence[Any]) -> bool:
    """Whether the strides are those of a row-major tensor, whatever values symbols take."""
    known_equal = V.graph.sizevars.statically_known_equals
    expected: Any = 1
    for size, stride in zip(reversed(sizes), reversed(strides)):
        if not known_equal(size, 1) and not known_equal(stride, expected):
            return False
        expected = expected * size
    return True
