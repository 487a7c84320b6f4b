"""The C++ wrapper for GPUs: the wrapper of the CPU, with a launch on one line for each kernel."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
from torch._inductor import config, ir
from torch._inductor.codegen.cpp_utils import cexpr
from torch._inductor.codegen.wrapper import SymbolicCallArg
from torch._inductor.utils import IndentedBuffer
from torch._inductor.virtualized import V

from aotbuild.lower.cpu.wrapper import StandaloneCppWrapper
from aotbuild.lower.cpu.wrapper_code import WrapperCode
from aotbuild.lower.cuda.compile.epilogues import Epilogue
from aotbuild.lower.cuda.compile.hints import Case, cases
from aotbuild.lower.cuda.compile.indexing import INDEX_ERROR, report_index_errors
from aotbuild.lower.cuda.compile.kernels import SCALARS, CompiledKernel, TritonKernel
from aotbuild.lower.cuda.compile.products import Product
from aotbuild.lower.cuda.compile.templates import grid_sizes, is_open
from aotbuild.lower.cuda.compile.work import Work, work
from aotbuild.lower.cuda.graph.collectives import Collective


@dataclass(frozen=True)
class Launch:
    """A call of a kernel: C++ expressions for its parameters, those of the grid of a hand-written kernel included.

    Sizes of a template's grid are expressions of its tile sizes. ``cases``: values of the arguments to tune with.
    """

    kernel: str
    arguments: tuple[str | sympy.Expr, ...]
    cases: tuple[Case, ...]


@dataclass
class CudaWrapperCode(WrapperCode):
    """What the wrapper collected.

    ``places``: the text of the statement that stands for each of ``launches`` until its kernel is compiled, with its
    number. ``work``: of each launch of a kernel, by its name. ``counted``: the graph's nodes that it accounts for.
    ``epilogues``: of templates, by key. ``products``: what templates multiply, by their kernels' names.
    """

    triton_kernels: list[TritonKernel] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    work: dict[str, list[Work]] = field(default_factory=dict)
    counted: set[torch.fx.Node] = field(default_factory=set)
    epilogues: dict[str, Epilogue] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)

    def with_prefix(self, prefix: str) -> CudaWrapperCode:
        """The same with other names of kernels, to stand beside the code of another graph."""
        kernels = [
            TritonKernel(prefix + kernel.name, kernel.source.replace(kernel.name, prefix + kernel.name))
            for kernel in self.triton_kernels
        ]
        launches = [dataclasses.replace(launch, kernel=prefix + launch.kernel) for launch in self.launches]
        return dataclasses.replace(self, triton_kernels=kernels, launches=launches)

    def known_grids(self, kernels: Sequence[CompiledKernel]) -> dict[str, tuple[int, int, int]]:
        """Grids of the kernels that are launched with sizes that are known, the same each time."""
        by_name = {kernel.name: kernel for kernel in kernels}
        found: dict[str, set[tuple[int, int, int] | None]] = {}
        for launch in self.launches:
            kernel = by_name[launch.kernel]
            found.setdefault(launch.kernel, set()).add(_known_grid(kernel, argument_values(launch, kernel)))
        unique = {name: grids.pop() for name, grids in found.items() if len(grids) == 1}
        return {name: grid for name, grid in unique.items() if grid is not None}

    def run_body(self, kernels: Sequence[CompiledKernel]) -> str:
        """The body of the run function, now that grids and parameters are known."""
        by_name = {kernel.name: kernel for kernel in kernels}

        lines = []
        for statement in self.statements:
            launch = self.launches[self.places[statement.text]] if statement.text in self.places else None
            text = _launch_line(launch, by_name[launch.kernel]) if launch is not None else statement.text
            lines.append(str(statement._replace(text=text)))
        return "\n".join(lines)


class StandaloneCudaWrapper(StandaloneCppWrapper):
    """Writes the run function of a model on one GPU; it is the CPU's, on tensors of the GPU."""

    code: CudaWrapperCode

    def empty_code(self) -> CudaWrapperCode:
        return CudaWrapperCode()

    def codegen_device(self, device: torch.device) -> str:
        return "kCuda, -1" if device.type == "cuda" else super().codegen_device(device)

    def codegen_inputs(self) -> None:
        """Kernels are compiled for inputs whose address is a multiple of 16; a model writes to none of them."""
        for name, value in V.graph.graph_inputs.items():
            if name not in self.names.weight_index and isinstance(value, ir.TensorBox):
                self.prefix.writeline(f"{name} = context_aligned(context, {name});")
        super().codegen_inputs()

    def generate_extern_kernel_out(self, node: ir.ExternKernelOut) -> None:
        if isinstance(node, ir.RandomSeeds):
            self.writeline(f"context_random_seeds(context, {node.get_name()});")
        else:
            super().generate_extern_kernel_out(node)

    def generate_collective(self, node: Collective) -> None:
        (source,) = (value.codegen_reference() for value in node.inputs)  # type: ignore[union-attr]
        operation = f"Collective::{node.operation}"
        self.writeline(f"context_collective(context, {operation}, {source}, {node.get_name()}, {node.argument});")

    def make_zero_buffer(self, name: str) -> str:
        return f"AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_zero_({name}));"

    def finalize_prefix(self) -> None:
        """Drops the names of sizes that nothing refers to: inputs that share a dynamic dimension each get one."""
        super().finalize_prefix()
        lines = self.prefix.getvalue().splitlines()
        words = re.findall(r"\w+", f"{self.prefix.getvalue()}\n{self.wrapper_call.getvalue()}")
        self.prefix = IndentedBuffer()
        for line in lines:
            declared = re.match(r"\s*int64_t (\w+) =", line)
            if declared is None or words.count(declared[1]) > 1:
                self.prefix.writeline(line.strip())

    def make_comment(self, text: str) -> None:
        """Kernels are named after their operators; upstream lists all nodes of the graph as well."""

    def codegen_device_guard_enter(self, device_idx: int, *args: Any, **kwargs: Any) -> None:
        """The runtime has made the call's device current."""

    def codegen_device_guard_exit(self) -> None:
        pass

    def write_get_raw_stream(self, device_idx: int, graph_name: str) -> str:
        raise AssertionError("launches take the stream of the call")

    def _define_kernel_helper(
        self,
        kernel_name: str,
        kernel_body: str,
        metadata: str | None = None,
        gpu: bool = True,
        cpp_definition: str | None = None,
    ) -> None:
        if not gpu:
            super()._define_kernel_helper(kernel_name, kernel_body, metadata, gpu, cpp_definition)
            return
        call = ast.parse(kernel_body.strip(), mode="eval").body
        assert isinstance(call, ast.Call) and len(call.args) == 2, kernel_body
        _, source = (ast.literal_eval(argument) for argument in call.args)
        self.code.triton_kernels.append(TritonKernel(kernel_name, report_index_errors(kernel_name, source)))

    def define_user_defined_triton_kernel(self, *args: Any, **kwargs: Any) -> Any:
        """A Python number is a float32 parameter of a hand-written kernel, as where Triton itself launches it."""
        with config.patch(_use_fp64_for_unbacked_floats=False):
            return super().define_user_defined_triton_kernel(*args, **kwargs)

    def generate_kernel_call(self, kernel_name: str, call_args: Any, **kwargs: Any) -> None:
        if kwargs.get("triton", True):
            done = work(call_args, kwargs.get("raw_args") or (), self.code.counted)
            self.code.work.setdefault(kernel_name, []).append(done)
        super().generate_kernel_call(kernel_name, call_args, **kwargs)

    def _generate_kernel_call_helper(self, kernel_name: str, call_args: Any, **kwargs: Any) -> None:
        if kwargs["device"].type == "cpu":
            super()._generate_kernel_call_helper(kernel_name, call_args, **kwargs)
            return
        arguments = tuple(self._argument(argument) for argument in call_args)
        # The names in it are those that the launch will have, for ``finalize_prefix``.
        place = f"launch {len(self.code.launches)}: {' '.join(map(str, arguments))}".strip()
        self.code.places[place] = len(self.code.launches)
        self.writeline(place)
        self.code.launches.append(Launch(kernel_name, arguments, cases(call_args, kwargs.get("raw_args") or ())))

    def _argument(self, argument: Any) -> str | sympy.Expr:
        if isinstance(argument, (str, SymbolicCallArg)):
            return str(argument)
        if isinstance(argument, bool):
            return str(argument).lower()
        if isinstance(argument, float):
            return str(self.generate_float_value(argument))
        expression = V.graph.sizevars.simplify(sympy.sympify(argument))
        return expression if is_open(expression) else str(cexpr(expression))


def _launch_line(launch: Launch, kernel: CompiledKernel) -> str:
    values = argument_values(launch, kernel)
    arguments = [_typed(values[name], kernel.signature[name]) for name in kernel.parameters]
    return f"launch({', '.join(['context', kernel.name, _grid(kernel, values), *arguments])});"


def argument_values(launch: Launch, kernel: CompiledKernel) -> dict[str, str]:
    """The launch's arguments by the names that the kernel's grid refers to."""
    texts = (
        str(cexpr(grid_sizes(argument, kernel.config))) if isinstance(argument, sympy.Expr) else argument
        for argument in launch.arguments
    )
    return {INDEX_ERROR: "context_index_error(context)", **dict(zip(kernel.wrapper_parameters, texts, strict=True))}


def _grid(kernel: CompiledKernel, values: Mapping[str, str]) -> str:
    """The grid as a braced initializer: numbers where the sizes are known, else expressions."""
    known = _known_grid(kernel, values)
    if known is not None:
        sizes = [str(size) for size in known]
    else:
        texts = dict(values)
        for name, expression in kernel.cpp_grid.temporaries:
            texts[name] = _substituted(expression, texts)
        sizes = [_substituted(expression, texts) for expression in kernel.cpp_grid.sizes]
    return f"{{{', '.join(sizes)}}}"


def _known_grid(kernel: CompiledKernel, values: Mapping[str, str]) -> tuple[int, int, int] | None:
    try:
        return grid_numbers(
            kernel, {name: int(value.rstrip("L")) for name, value in values.items() if _is_integer(value)}
        )
    except NameError:
        return None


def grid_numbers(kernel: CompiledKernel, values: Mapping[str, int]) -> tuple[int, int, int]:
    """The grid for parameters whose values are known.

    Raises:
        NameError: it depends on one that is not.
    """
    numbers: dict[str, Any] = {**values, "max": max}
    for name, expression in kernel.python_grid.temporaries:
        numbers[name] = eval(expression, {"__builtins__": {}}, numbers)
    x, y, z = (int(eval(expression, {"__builtins__": {}}, numbers)) for expression in kernel.python_grid.sizes)
    return x, y, z


def _substituted(expression: str, values: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[0], match[0])
        return value if re.fullmatch(r"\w+", value) else f"({value})"

    ceil_divided = re.sub(r"\(\((\w+) \+ \((\w+) - 1\)\) / \((\w+)\)\)", r"ceil_div(\1, \2)", expression)
    return re.sub(r"[A-Za-z_]\w*", value_of, ceil_divided)


def _is_integer(value: str) -> bool:
    return re.fullmatch(r"-?\d+L?", value) is not None


def _typed(value: str, triton_type: str) -> str:
    if triton_type.startswith("*"):
        return value
    cpp_type = SCALARS[triton_type].name
    if _is_integer(value):
        value = value.rstrip("L")
        if cpp_type == "std::int32_t":
            return value
    return f"{cpp_type}({value})"
