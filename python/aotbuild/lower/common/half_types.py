"""Where eager PyTorch rounds to float16 and bfloat16, and TorchInductor's kernels, which compute in float32, do not.

Results of operators stay in float32 within a kernel, which is more exact. But what the model itself converts is
rounded, and so are the numbers that eager PyTorch converts before it computes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._inductor import lowering
from torch._inductor.codegen.cpp import CppOverrides, CppVecOverrides
from torch._inductor.virtualized import V, ops

from aotbuild.lower.common.eager_values import HALF_TYPES, rounded_number
from aotbuild.spec.upstream import patched, patched_entries

aten = torch.ops.aten
prims = torch.ops.prims

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_EXACT_INHALF_TYPES = (torch.bool, torch.uint8, torch.int8)

_BOTH = ("self", "other")
# Arguments that eager PyTorch's CPU kernels convert to the type of the tensors, as measured. It keeps in float32 the
# second operand of products and quotients, and all numbers of operators that are not here (elu, lerp, addcmul, ...).
_ROUNDED: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("add", "sub", "rsub"), (*_BOTH, "alpha")),
    **dict.fromkeys(("mul", "div", "floor_divide"), ("self",)),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "fmod", "remainder", "xlogy", "special_xlog1py"), _BOTH),
    **dict.fromkeys(("atan2", "hypot", "nextafter", "logaddexp", "logaddexp2"), _BOTH),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin", "where"), _BOTH),
    **dict.fromkeys(("masked_fill", "fill", "index_fill", "scatter", "constant_pad_nd", "threshold"), ("value",)),
    **dict.fromkeys(("full", "full_like", "new_full"), ("fill_value",)),
    "pow": ("self", "exponent"),
    "addr": ("beta", "alpha"),
    "clamp": ("min", "max"),
    "clamp_min": ("min",),
    "clamp_max": ("max",),
    "hardtanh": ("min_val", "max_val"),
    "hardshrink": ("lambd",),
    "logit": ("eps",),
    "isin": ("element", "test_element"),
    "nan_to_num": ("nan", "posinf", "neginf"),
    "scalar_tensor": ("s",),
}


class _Depth:
    """In how many decompositions of single kernels of eager's the trace is."""

    kernels = 0


def with_rounded_numbers(table: Mapping[Any, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
    """A table of decompositions in which operators over half types round their numbers first, as eager does.

    Within decompositions they do not: what these are made of are no operators of eager PyTorch's.
    """
    result = {operator: _counted(operator, decompose) for operator, decompose in table.items()}
    for name, arguments in _ROUNDED.items():
        packet = getattr(aten, name)
        for overload in packet.overloads():
            operator = getattr(packet, overload)
            places = {argument.name: place for place, argument in enumerate(operator._schema.arguments)}
            rounded = {name: place for name, place in places.items() if name in arguments}
            if rounded and "out" not in places:
                result[operator] = _rounding(operator, rounded, result.get(operator))
    return result


def _counted(operator: Any, decompose: Callable[..., Any]) -> Callable[..., Any]:
    """A composite operator's parts are operators of eager PyTorch's too."""
    if not isinstance(operator, torch._ops.OpOverload) or operator.has_kernel_for_dispatch_key(_COMPOSITE):
        return decompose

    @functools.wraps(decompose)
    def counted(*args: Any, **kwargs: Any) -> Any:
        _Depth.kernels += 1
        try:
            return decompose(*args, **kwargs)
        finally:
            _Depth.kernels -= 1

    return counted


def _rounding(operator: Any, places: Mapping[str, int], then: Callable[..., Any] | None) -> Callable[..., Any]:
    """``places``: of the arguments to round, by name."""

    def decompose(*args: Any, **kwargs: Any) -> Any:
        dtype = None if _Depth.kernels else _type_of_operands(operator, args, kwargs)
        if dtype in HALF_TYPES:
            of_place = {place: argument for place, argument in enumerate(args) if place in places.values()}
            of_name = {name: argument for name, argument in kwargs.items() if name in places}
            given = [*of_place.values(), *of_name.values()]
            rounded = [_rounded_number(argument, dtype) for argument in given]
            if any(new is not old for new, old in zip(rounded, given)):
                of_place = dict(zip(of_place, rounded))
                of_name = dict(zip(of_name, rounded[len(of_place) :]))
                args = tuple(of_place.get(place, argument) for place, argument in enumerate(args))
                return operator(*args, **{**kwargs, **of_name})
        return NotImplemented if then is None else then(*args, **kwargs)

    return decompose


def _type_of_operands(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.dtype | None:
    """The type of the tensors; of those without dimensions only if there are no others, as they give no type."""
    dtype: torch.dtype | None = kwargs.get("dtype")
    if dtype is not None:
        return dtype
    if operator in (aten.full.default, aten.scalar_tensor.default):
        return torch.get_default_dtype()
    tensors = [argument for argument in (*args, *kwargs.values()) if isinstance(argument, Tensor)]
    tensors = [tensor for tensor in tensors if tensor.dtype.is_floating_point]
    tensors = [tensor for tensor in tensors if tensor.dim()] or tensors
    return functools.reduce(torch.promote_types, [tensor.dtype for tensor in tensors]) if tensors else None


def _rounded_number(argument: Any, dtype: torch.dtype) -> Any:
    """The argument itself where there is nothing to round."""
    if isinstance(argument, Tensor):
        is_number = not argument.dim() and argument.dtype not in (dtype, *_EXACT_INHALF_TYPES)
        return argument.to(dtype) if is_number and not argument.dtype.is_complex else argument
    if type(argument) not in (int, float):
        return argument
    rounded = rounded_number(argument, dtype)
    return argument if rounded == argument or argument != argument else rounded


# Of the operators that a model calls, those whose conversions stand for themselves, or for steps that eager rounds.
_CONVERSIONS = {
    *("_to_copy", "copy", "arange", "linspace", "div", "floor_divide"),
    *("linear_dynamic_fp16_unpacked_weight", "wrapped_fbgemm_pack_gemm_matrix_fp16"),
}


@contextlib.contextmanager
def rounded_casts() -> Iterator[None]:
    """Makes conversions to half types that the model calls round, also where their result goes on in float32."""
    packet = prims.convert_element_type
    upstreams = lowering.lowerings[packet.default]

    def convert(x: Any, dtype: torch.dtype) -> Any:
        node = V.graph.current_node
        origin = str(node.meta.get("original_aten")) if node.target is packet.default else ""  # aten._to_copy.default
        if _rounds(x, dtype) and (not _CONVERSIONS.isdisjoint(origin.split(".")) or not x.get_size()):
            return _rounded(x, dtype)
        return upstreams(x, dtype)

    with contextlib.ExitStack() as stack:
        stack.enter_context(patched_entries(lowering, "lowerings", {packet: convert, packet.default: convert}))
        for overrides in (CppOverrides, CppVecOverrides):
            conversion = staticmethod(_own_conversion(overrides.to_dtype))
            stack.enter_context(patched(overrides, "to_dtype", conversion))
        yield


def _own_conversion(upstreams: Callable[..., Any]) -> Callable[..., Any]:
    """Kernels take what they convert to store it for the value before: conversions that round share no variable."""

    def to_dtype(
        x: Any, dtype: torch.dtype, src_dtype: torch.dtype | None = None, use_compute_types: bool = True
    ) -> Any:
        if use_compute_types or dtype not in HALF_TYPES:
            return upstreams(x, dtype, src_dtype, use_compute_types)
        expression = f"({V.kernel.get_to_dtype_expr(x, dtype, x.dtype)})"
        variable = V.kernel.cse.generate(V.kernel.compute, expression)
        variable.update_on_args("to_dtype", (x, dtype), {"src_dtype": x.dtype})
        return variable

    return to_dtype


def _rounds(x: Any, dtype: torch.dtype) -> bool:
    source = x.get_dtype()
    return dtype in HALF_TYPES and source not in (dtype, *_EXACT_INHALF_TYPES) and not source.is_complex


def _rounded(x: Any, dtype: torch.dtype) -> Any:
    source, is_on_gpu = x.get_dtype(), x.get_device().type == "cuda"

    def there_and_back(value: Any) -> Any:
        # Of two, the first stays as it is, and the second becomes one to float32 where that is what goes on. That it is
        # one that rounds is told by `use_compute_types`; Triton's second one is an ordinary one.
        value = ops.to_dtype(value, dtype, src_dtype=source, use_compute_types=False)
        return ops.to_dtype(value, dtype, src_dtype=dtype, use_compute_types=is_on_gpu)

    return lowering.make_pointwise(there_and_back, override_return_dtype=dtype)(x)
