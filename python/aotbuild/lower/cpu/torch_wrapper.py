"""The C++ wrapper of models with RUNTIME torch: the standalone one, with every operator that libtorch has."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import sympy
import torch
from torch._inductor import ir

from aotbuild.lower.cpu.wrapper import DTYPE_CONSTANTS, StandaloneCppWrapper
from aotbuild.lower.cpu.wrapper_code import WrapperCode
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.upstream import patched

# Methods of OperatorCall (detail/torch_runtime.hpp) by what the schema says, for one value and for a list.
_SCALARS = {"int": "integer", "SymInt": "integer", "float": "number", "bool": "boolean", "SymBool": "boolean"}
_LISTS = {"int": "integers", "SymInt": "integers", "float": "numbers", "bool": "booleans", "str": "texts"}


class TorchCppWrapper(StandaloneCppWrapper):
    """As ``StandaloneCppWrapper``, over libtorch's C shim.

    Operators with no function of the shim are called through libtorch's dispatcher. Upstream does so in the host of a
    model, which reads their arguments from a JSON file; here they are statements of the run function.
    """

    real_only = ()

    def codegen_dtype(self, dtype: torch.dtype) -> str:
        return DTYPE_CONSTANTS.get(dtype) or f"aoti_torch_dtype_{str(dtype).removeprefix('torch.')}()"

    def codegen_layout(self, layout: torch.layout) -> str:
        return f"aoti_torch_layout_{str(layout).removeprefix('torch.')}()"

    def codegen_memory_format(self, memory_format: torch.memory_format) -> str:
        return f"aoti_torch_memory_format_{str(memory_format).removeprefix('torch.')}()"

    def generate_fallback_kernel_with_runtime_lookup(
        self,
        buf_name: str,
        python_kernel_name: str,
        get_args: Any,
        op_overload: Any,
        raw_args: Any,
        outputs: Any,
    ) -> None:
        if not isinstance(op_overload, torch._ops.OpOverload):
            raise AotbuildError(
                f"the model calls {op_overload}, a method of a TorchScript object, which a compiled model cannot hold; "
                "write it as an operator of tensors (torch.library)"
            )
        schema = op_overload._schema
        arguments = [
            self._argument(op_overload, value, argument.real_type)
            for value, argument in zip(raw_args, schema.arguments)
        ]
        name = (schema.name, schema.overload_name)
        if name not in self.code.operators:
            self.code.operators.append(name)
        results = list(_results(schema, outputs))
        for output, _ in results:
            if _is_result(output):
                self.writeline(f"RAIIAtenTensorHandle {output.get_name()};")
        self.writeline("{")
        self.writeline(f"OperatorCall call(operators(), {self.code.operators.index(name)});")
        for argument in arguments:
            self.writeline(f"call.{argument};")
        self.writeline("call.run();")
        for output, position in results:
            if _is_result(output):
                self.writeline(f"{output.get_name()} = call.tensor_result({position});")
            elif isinstance(output, int):
                self.writeline(f"call.check_integer_result({position}, {output});")
        self.writeline("}")

    def _argument(self, operator: Any, value: Any, kind: Any) -> str:
        """One argument as a call of a method of OperatorCall."""
        if isinstance(kind, torch.OptionalType):
            return self._argument(operator, value, kind.getElementType())
        if value is None:
            return "none()"
        if isinstance(value, list | tuple) and isinstance(kind, torch.ListType):
            return self._list(operator, value, kind.getElementType())
        if isinstance(value, ir.IRNode) and isinstance(kind, torch.TensorType):
            return f"tensor({value.codegen_reference()})"
        if isinstance(value, torch.device):
            return f"device({self.codegen_device(value)})"
        if isinstance(value, torch.dtype):
            return f"integer({self.codegen_dtype(value)})"
        if isinstance(value, torch.layout):
            return f"integer({self.codegen_layout(value)})"
        if isinstance(value, torch.memory_format):
            return f"integer({self.codegen_memory_format(value)})"
        if isinstance(value, str):
            return f"text({json.dumps(value)})"
        if isinstance(value, complex):
            return f"complex({_number(value.real)}, {_number(value.imag)})"
        method = _SCALARS.get(str(kind)) or _scalar_method(value)
        if method is None:
            raise _no_argument(operator, value, kind)
        return f"{method}({self._value(value)})"

    def _list(self, operator: Any, values: Sequence[Any], kind: Any) -> str:
        if isinstance(kind, torch.TensorType):
            return f"tensors({{{', '.join(value.codegen_reference() for value in values)}}})"
        if isinstance(kind, torch.OptionalType) and isinstance(kind.getElementType(), torch.TensorType):
            handles = ["nullptr" if value is None else value.codegen_reference() for value in values]
            return f"optional_tensors({{{', '.join(handles)}}})"
        if str(kind) not in _LISTS:
            raise _no_argument(operator, values, f"List[{kind}]")
        return f"{_LISTS[str(kind)]}({{{', '.join(map(self._value, values))}}})"

    def _value(self, value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float):
            return _number(value)
        if isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            value = value.node.expr
        return str(self.codegen_sizevar(value))


def _scalar_method(value: Any) -> str | None:
    """The method for a value of the schema's type Scalar."""
    if isinstance(value, torch.SymInt | torch.SymFloat):
        value = value.node.expr
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) else "number"
    if isinstance(value, sympy.Expr):
        return "integer" if value.is_integer else "number"
    return None


def _is_result(output: Any) -> bool:
    return isinstance(output, ir.Buffer) and not isinstance(output, ir.MutationOutput)


def _results(schema: Any, outputs: Any) -> Iterator[tuple[Any, str]]:
    """Each output with the arguments of ``tensor_result``: its position in the schema, and in a list."""
    if len(schema.returns) == 1 and isinstance(schema.returns[0].type, torch.ListType):
        outputs = [outputs]
    for position, output in enumerate(outputs):
        if isinstance(output, list | tuple):
            yield from ((element, f"{position}, {index}") for index, element in enumerate(output))
        else:
            yield output, str(position)


def _number(value: float) -> str:
    if math.isnan(value):
        return "std::numeric_limits<double>::quiet_NaN()"
    if math.isinf(value):
        return f"{'-' if value < 0 else ''}std::numeric_limits<double>::infinity()"
    return repr(value)


def _no_argument(operator: Any, value: Any, kind: Any) -> AotbuildError:
    return AotbuildError(
        f"the model calls {operator} with {value!r} for a parameter of the type {kind}, which no compiled call can "
        "pass; write it with another operator"
    )


@contextlib.contextmanager
def unserialized_arguments() -> Iterator[None]:
    """Arguments of operators without a C shim as they are: upstream serialises them, and not every type of them.

    Nor is there a warning that a host has to call them.
    """

    def arguments(kernel: ir.FallbackKernel) -> list[Any]:
        args, kwargs = kernel.unflatten_args(kernel.inputs, kernel.constant_args)
        args = kernel.fill_non_provided_args(args, kwargs)
        return [*args, *(kernel.get_kwargs_value(key, **kwargs) for key in kernel.ordered_kwargs_for_cpp_kernel)]

    def is_other_message(record: logging.LogRecord) -> bool:
        return "missing a c-shim" not in record.msg

    ir.log.addFilter(is_other_message)
    try:
        with patched(ir.FallbackKernel, "export_extern_kernel_node", arguments):
            yield
    finally:
        ir.log.removeFilter(is_other_message)


def run_source(code: WrapperCode, declarations: Sequence[str], namespace: str, header: str) -> str:
    """The source of the run function: ``run`` and ``prepare`` of VariantSpec around the model's own statements.

    ``declarations``: of the functions of registered kernels.
    """
    names = ", ".join(f"{{{json.dumps(name)}, {json.dumps(overload)}}}" for name, overload in code.operators)
    operators = (
        "const TorchOperators& operators() {\n"
        f"  static const TorchOperators instance{{{names}}};\n"
        "  return instance;\n"
        "}\n\n"
    )
    functions = "".join(f"{declaration};\n" for declaration in declarations)
    major, minor = torch.__version__.split(".")[:2]
    return (
        '#include "aotbuild/detail/torch_wrapper.hpp"\n'
        f'#include "{header}"\n\n'
        + (f'extern "C" {{\n{functions}}}\n\n' if declarations else "")
        + f"namespace {namespace} {{\n\n"
        "using namespace aotbuild::detail;\n\n"
        "namespace {\n\n"
        + (operators if code.operators else "")
        + "void run_model([[maybe_unused]] TorchCall& context, [[maybe_unused]] AtenTensorHandle* inputs,\n"
        "               [[maybe_unused]] AtenTensorHandle* outputs) {\n"
        f"{code.body}\n"
        "}\n\n"
        "}  // namespace\n\n"
        "void prepare() {\n"
        f"  check_torch_version({major}, {minor});\n" + ("  operators();\n" if code.operators else "") + "}\n\n"
        "void run(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {\n"
        f"  run_with_torch(context, inputs, {code.input_count}, outputs, {code.output_count}, run_model);\n"
        "}\n\n"
        f"}}  // namespace {namespace}\n"
    )
