"""A hand-written Triton kernel outside any model: checked, and put in the form that models' kernels have."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aotbuild.capture import load_named
from aotbuild.lower.cuda.compile.device import declared
from aotbuild.lower.cuda.compile.hints import BufferHint, Case
from aotbuild.lower.cuda.compile.kernels import CompiledKernel, Config, TritonKernel
from aotbuild.lower.cuda.compile.tunable import TunableKernel
from aotbuild.lower.cuda.compile.work import Work
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.grid import GridExpression, parse
from aotbuild.spec.launcher import Parameter, parse_settings, parse_signature
from aotbuild.spec.target import CudaArchitecture
from aotbuild.spec.values import parse as parse_value
from aotbuild.tuning.keys import kernel_key

# Of a configuration, what is no constant of the kernel, with Triton's default.
_LAUNCH_OPTIONS = {"num_warps": 4, "num_stages": 3}
# Other attributes of triton.Config, which the compilation here does not pass on.
_OTHER_OPTIONS = {"num_ctas": 1, "maxnreg": None, "pre_hook": None, "ir_override": None}


@dataclass(frozen=True)
class HandWritten:
    """A kernel with its configurations, the first of which is used without tuning.

    ``place``: "file.py:12", where it stands. ``files``: the project's files that it was made from.
    ``constants``: values that are the same in all configurations.
    """

    function: str
    place: str
    parameters: tuple[Parameter, ...]
    constants: Mapping[str, Any]
    configs: tuple[Config, ...]
    grid: tuple[GridExpression, GridExpression, GridExpression]
    examples: tuple[Mapping[str, str], ...]
    files: tuple[Path, ...]
    jit_function: Any

    def values(self, config: Config) -> dict[str, Any]:
        """What the grid may refer to beside arguments."""
        return {**self.constants, **config}

    def all(self, name: str) -> list[Any]:
        """The values of a constant in all configurations."""
        return [self.values(config)[name] for config in self.configs]

    def blocks(self, kernel: CompiledKernel, case: Case) -> tuple[int, int, int]:
        """The grid of a launch whose arguments are known."""
        integers = {p.name: value for p, value in zip(self.parameters, case) if isinstance(value, int)}
        x, y, z = (size.evaluate({**self.values(kernel.config), **integers}) for size in self.grid)
        return x, y, z


def load(
    kernel: str,
    *,
    signature: Sequence[str],
    grid: Sequence[str],
    configs: Sequence[str],
    examples: Sequence[str],
    base: Path,
    gpu: CudaArchitecture,
) -> HandWritten:
    """Loads what the keywords of ``add_aot_kernel`` describe.

    Raises:
        AotbuildError: the kernel is none, or the keywords do not fit it.
    """
    found, files, _ = load_named("KERNEL", kernel, base, "file.py:function or package.module:function")
    function, listed = _jit_function(found, kernel)
    parameters, constants = _parameters(function, kernel, signature)
    chosen = _configs(function, constants, configs, listed)
    sizes = tuple(parse("GRID", text) for text in (*grid, "1", "1")[:3])
    parameters = _with_writes(function, parameters, {**constants, **chosen[0]}, gpu)
    _, line = inspect.getsourcelines(function.fn)
    result = HandWritten(
        function.__name__,
        f"{Path(function.fn.__code__.co_filename).name}:{line}",
        parameters,
        constants,
        chosen,
        (sizes[0], sizes[1], sizes[2]),
        tuple(parse_settings("EXAMPLES", text) for text in examples),
        tuple(sorted(files)),
        function,
    )
    _check_grid(result)
    return result


def _jit_function(found: Any, kernel: str) -> tuple[Any, list[Any] | None]:
    """The ``triton.jit`` function, and the configurations of its ``triton.autotune`` if it has one."""
    from triton.runtime.autotuner import Autotuner
    from triton.runtime.jit import JITFunction

    listed = None
    while isinstance(found, Autotuner):
        listed = list(found.configs)
        found = found.fn
    if not isinstance(found, JITFunction):
        kind = type(found).__name__
        remedy = "; give what it computes in SIGNATURE or CONFIGS, and leave the decorator out"
        raise AotbuildError(
            f"KERNEL {kernel}: a {kind} is no function with @triton.jit, or with @triton.autotune above it"
            f"{remedy if kind == 'Heuristics' else ''}"
        )
    return found, listed


def _parameters(function: Any, kernel: str, signature: Sequence[str]) -> tuple[tuple[Parameter, ...], dict[str, Any]]:
    typed, constants = parse_signature(signature)
    names = [parameter.name for parameter in function.params]
    problems = [
        f"SIGNATURE has {name!r}, which {function.__name__} does not take; it takes {', '.join(names)}"
        for name in (*typed, *constants)
        if name not in names
    ]
    for parameter in function.params:
        if parameter.is_constexpr:
            if parameter.name in typed:
                problems.append(
                    f"SIGNATURE {parameter.name}={typed[parameter.name].kind}: it is a tl.constexpr; give its value "
                    "here or in CONFIGS"
                )
        elif parameter.name not in typed and parameter.name not in constants:
            problems.append(
                f"SIGNATURE lacks {parameter.name!r}; give its type, as in {parameter.name}=*fp32, or a value"
            )
    if problems:
        raise AotbuildError("\n".join(f"KERNEL {kernel}: {problem}" for problem in problems))
    return tuple(typed[name] for name in names if name in typed), constants


def _configs(
    function: Any, constants: dict[str, Any], configs: Sequence[str], listed: list[Any] | None
) -> tuple[Config, ...]:
    """The configurations of CONFIGS, else those of ``triton.autotune``, else one with Triton's defaults."""
    found: list[tuple[str, dict[str, Any]]] = []
    for text in configs:
        settings = {name: parse_value(value) for name, value in parse_settings("CONFIGS", text).items()}
        found.append((f"CONFIGS {text!r}", settings))
    for config in [] if configs else listed or []:
        where = f"{function.__name__}, triton.Config({config})"
        for name, default in _OTHER_OPTIONS.items():
            if getattr(config, name, default) != default:
                raise AotbuildError(f"{where}: {name} is not supported; name the configurations in CONFIGS")
        launch = {name: getattr(config, name) for name in _LAUNCH_OPTIONS}
        found.append((where, {**config.kwargs, **launch}))
    free = [p for p in function.params if p.is_constexpr and p.name not in constants]
    defaults = {**_LAUNCH_OPTIONS, **{p.name: p.default for p in free if p.has_default}}
    result = []
    for where, settings in found or [(f"{function.__name__} without CONFIGS", {})]:
        fixed = sorted(set(settings) & set(constants))
        if fixed:
            raise AotbuildError(f"{where} sets {fixed[0]}, as SIGNATURE does; keep one of the two")
        known = [*(p.name for p in free), *_LAUNCH_OPTIONS]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise AotbuildError(f"{where} sets {unknown[0]}; a configuration has: {', '.join(known)}")
        complete = {**defaults, **settings}
        missing = [p.name for p in free if p.name not in complete]
        if missing:
            raise AotbuildError(
                f"{where}: the tl.constexpr {missing[0]} has no value; give it in CONFIGS, or in SIGNATURE where it is "
                "always the same"
            )
        if complete not in result:
            result.append(complete)
    return tuple(result)


def _with_writes(
    function: Any, parameters: tuple[Parameter, ...], constants: Mapping[str, Any], gpu: CudaArchitecture
) -> tuple[Parameter, ...]:
    """The parameters with what Triton's intermediate code says about writes; where it is not understood, all may be."""
    from torch._higher_order_ops.triton_kernel_wrap import identify_accessed_tensors

    arguments: dict[str, Any] = {name: value for name, value in constants.items() if name in function.arg_names}
    for parameter in parameters:
        if parameter.is_pointer:
            dtype = getattr(torch, parameter.dtype)
            arguments[parameter.name] = torch.empty(2, dtype=dtype)
        else:
            arguments[parameter.name] = 2 if parameter.is_integer else 0.5
    quiet = logging.getLogger("torch._dynamo")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with declared(gpu):
            accesses = identify_accessed_tensors(function, arguments, {})
    finally:
        quiet.setLevel(level)
    written = {dependency.name for dependency in accesses.read_writes.writes}
    return tuple(dataclasses.replace(p, written=p.is_pointer and p.name in written) for p in parameters)


def _check_grid(kernel: HandWritten) -> None:
    integers = [p.name for p in kernel.parameters if p.is_integer]
    shared = set(kernel.configs[0]).intersection(*kernel.configs)
    constants = [name for name in (*kernel.constants, *sorted(shared)) if all(_is_integer(v) for v in kernel.all(name))]
    for size in kernel.grid:
        unknown = sorted(size.names - {*integers, *constants})
        if unknown:
            raise AotbuildError(
                f"GRID {size.text!r} has {unknown[0]!r}, which is no integer of {kernel.function}; these are: "
                f"{', '.join([*integers, *constants])}"
            )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int)


# --- as tuning and compilation see it


def triton_kernel(kernel: HandWritten, gpu: CudaArchitecture) -> TritonKernel:
    """The kernel as TorchInductor writes those of a model, with the functions and constants that it refers to."""
    from torch._inductor.codegen.triton import TritonKernel as InductorKernel
    from torch._inductor.codegen.wrapper import user_defined_triton_kernel_transitive_closure_source_code
    from torch._inductor.runtime.hints import DeviceProperties

    function = kernel.jit_function
    types = {parameter.name: parameter.kind for parameter in kernel.parameters}
    signature = {name: types.get(name, "constexpr") for name in function.arg_names}
    aligned = [p.name for p in kernel.parameters if p.alignment > 1]
    with declared(gpu):
        triton_meta = {
            "signature": signature,
            "device": DeviceProperties.create(torch.device("cuda", 0)),
            "constants": dict(kernel.constants),
            "configs": [{(function.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned}],
        }
        imports = textwrap.dedent(InductorKernel.gen_common_triton_imports())
    inductor_meta = {
        "grid_type": "FixedGrid",
        "fixed_grid": [size.text for size in kernel.grid],
        "extra_launcher_args": [],
        "declared_constexpr_names": [name for name, kind in signature.items() if kind == "constexpr"],
        "kernel_name": kernel.function,
        "assert_indirect_indexing": False,  # of its own assertions, none
    }
    configs = [dict(config) for config in kernel.configs]
    source = (
        f"{imports}\n\n@triton_heuristics.user_autotune(\n    configs={configs!r},\n"
        f"    inductor_meta={inductor_meta!r},\n    triton_meta={triton_meta!r},\n    filename=__file__,\n"
        "    custom_kernel=True,\n)\n@triton.jit\n"
        f"{user_defined_triton_kernel_transitive_closure_source_code(function)}\n"
    )
    return TritonKernel(kernel.function, source)


def tunable(kernel: HandWritten, gpu: CudaArchitecture) -> TunableKernel:
    """The kernel with a case for each of EXAMPLES.

    Raises:
        AotbuildError: an example lacks an argument, or its values do not fit.
    """
    written = triton_kernel(kernel, gpu)
    cases = tuple(_case(kernel, example) for example in kernel.examples)
    sizes = [tuple(value for value in case if not isinstance(value, BufferHint)) for case in cases]
    key = kernel_key(written.name, written.source, sizes, ())
    moved = sum(value.nbytes for value in cases[0] if isinstance(value, BufferHint)) if cases else 0
    return TunableKernel(written, key, cases, (Work((), moved, 0, False),))


def _case(kernel: HandWritten, example: Mapping[str, str]) -> Case:
    """The arguments of an example: numbers, and for pointers how many elements there are."""
    shown = " ".join(f"{name}={value}" for name, value in example.items())
    names = [parameter.name for parameter in kernel.parameters]
    for name in (*example, *names):
        if name not in names or name not in example:
            problem = "lacks" if name in names else "has"
            raise AotbuildError(
                f"EXAMPLES {shown!r} {problem} {name!r}; an example gives each of {', '.join(names)}: a number, and "
                "for pointers the number of elements"
            )
    values: dict[str, Any] = {}
    for parameter in kernel.parameters:
        if not parameter.is_pointer:
            value = parse_value(example[parameter.name])
            if not isinstance(value, int if parameter.is_integer else (int, float)):
                raise AotbuildError(f"EXAMPLES {shown!r}: {parameter.name} is of type {parameter.kind}; give a number")
            if parameter.alignment > 1 and value % parameter.alignment:
                raise AotbuildError(f"EXAMPLES {shown!r}: {parameter.name} is no multiple of {parameter.alignment}")
            values[parameter.name] = value
    integers = {name: value for name, value in values.items() if isinstance(value, int)}
    result: list[Any] = []
    for parameter in kernel.parameters:
        if not parameter.is_pointer:
            result.append(values[parameter.name])
            continue
        where = f"EXAMPLES {shown!r}: {parameter.name}"
        count = parse(where, example[parameter.name])
        unknown = sorted(count.names - set(integers))
        if unknown:
            raise AotbuildError(f"{where} refers to {unknown[0]!r}, which is no integer of the example")
        nbytes = max(0, count.evaluate(integers)) * getattr(torch, parameter.dtype).itemsize
        result.append(BufferHint(nbytes, parameter.dtype, parameter.name))
    return tuple(result)
