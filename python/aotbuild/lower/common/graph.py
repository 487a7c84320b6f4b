"""From a captured program to the graph that is lowered: decomposed once, weights as inputs, mutations written back."""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch._guards import detect_fake_mode
from torch._higher_order_ops.effects import with_effects
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.fx import GraphModule, Node

from aotbuild import capture
from aotbuild.capture import NUMBER_DTYPES, tensor_data
from aotbuild.lower.common import (
    activation,
    attention,
    complex_numbers,
    composite,
    decompositions,
    half_types,
)
from aotbuild.lower.common.recurrent import recurrent_table
from aotbuild.spec import identifiers
from aotbuild.spec.ascii_names import ascii_identifier
from aotbuild.spec.dtypes import DTYPES
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import Weight
from aotbuild.spec.upstream import patched

aten = torch.ops.aten


@dataclass
class PreparedGraph:
    """A functional ATen graph for lowering.

    Placeholders are first the weights, then the user's tensor inputs. ``weight_index`` maps a placeholder's name to
    the index of its weight. Weights never enter Inductor: their placeholders hold fake tensors.
    """

    module: GraphModule
    fake_inputs: list[Any]
    weights: tuple[Weight, ...]
    weight_index: dict[str, int]
    input_names: list[str]


# What a batch normalisation in evaluation mode is after the first step of its decomposition.
BATCH_NORM = aten._native_batch_norm_legit_no_training.default


def _preserved() -> list[Any]:
    """Operators that stay whole through decomposition, because a stage behind it handles them.

    aten.linear becomes a packed layer when its weight is constant; attention and products with quantized weights
    have kernels of their own.
    """
    return [aten.linear.default, *activation.PRESERVED, *attention.OPERATORS, BATCH_NORM, *_quantized_products()]


def _quantized_products() -> list[Any]:
    operators = [aten._int_mm.default, torch.ops.aotbuild.dequantize.default]
    dequantize = dequantize_operator()
    return operators if dequantize is None else [*operators, dequantize]


def dequantize_operator() -> Any:
    """torchao's, where the model file has imported it."""
    packet = getattr(torch.ops.torchao, "dequantize_affine", None)
    return None if packet is None else packet.default


def decomposition_table(preserved: Sequence[Any]) -> dict[Any, Any]:
    """Inductor's table together with those composite operators that export leaves whole, less the preserved ones."""
    from torch._inductor.decomposition import select_decomp_table

    table: dict[Any, Any] = {**composite.decompositions(), **select_decomp_table()}
    table.update(decompositions.TABLE)
    table[aten._scaled_dot_product_flash_attention_for_cpu.default] = attention.written_out
    table.update(recurrent_table(preserved))
    for op in preserved:
        table.pop(op, None)
    return table


def prepare(
    program: ExportedProgram, whole: Sequence[Any] = (), state: AbstractSet[str] = frozenset()
) -> PreparedGraph:
    """Decomposes the program (the one run of AOTAutograd) and reshapes it for ``GraphLowering``.

    ``whole``: further operators that stay as they are. ``state``: names of buffers that other methods of the model
    write to.
    """
    refuse_wrong_bounds(program)
    with torch.no_grad():
        table = half_types.with_rounded_numbers(decomposition_table([*_preserved(), *whole]))
        if complex_numbers.has_complex(program.graph_module):
            table = complex_numbers.with_complex(table, whole)
        with without_guards(program):
            program = composite.decomposed(program, table)
    gm = GraphModule(program.graph_module, program.graph_module.graph)
    gm.graph.eliminate_dead_code()
    weights, weight_index = lift_weights(program, gm, state)
    write_out_numbers(gm)
    input_names = drop_unused_constant_inputs(program, gm)
    write_back_mutations(program, gm)
    for node in list(gm.graph.nodes):
        if node.target is aten._assert_tensor_metadata.default:
            gm.graph.erase_node(node)
    fake_inputs = [node.meta["val"] for node in gm.graph.nodes if node.op == "placeholder"]
    return with_own_names(PreparedGraph(gm, fake_inputs, weights, weight_index, input_names))


def without_guards(program: ExportedProgram) -> contextlib.AbstractContextManager[Any]:
    """Upstream would call the program's guards, which are Python and choose between sizes by the example's.

    Each call of the model checks them.
    """
    return patched(program, "module", functools.partial(program.module, check_guards=False))


# What export puts before the names of parameters, buffers and constants.
_EXPORT_PREFIXES = ("p_", "b_", "c_")


def with_own_names(prepared: PreparedGraph) -> PreparedGraph:
    """The graph with ``input0_x`` for the input x and ``weight3_bias`` for a weight.

    Generated code calls what a placeholder stands for by its name. Each has a number, so that no name of a model is
    that of a function, a buffer or a keyword, and ``input0_x_size`` is the size of no other input.
    """
    names: dict[str, str] = {}
    for number, name in enumerate(prepared.input_names):
        names[name] = f"input{number}_{ascii_identifier(name)}"
    for name, index in prepared.weight_index.items():
        plain = ascii_identifier(name)
        plain = plain[2:] if plain.startswith(_EXPORT_PREFIXES) else plain
        names[name] = identifiers.identifier(f"weight{index}_{plain}", names.values())
    gm = prepared.module
    for module in gm.modules():
        if isinstance(module, GraphModule):
            operands = [node for node in module.graph.nodes if node.op == "placeholder"]
            for number, node in enumerate(operands):
                plain = ascii_identifier(node.name)
                node.name = node.target = names[node.name] if module is gm else f"operand{number}_{plain}"
            module.recompile()
    return replace(
        prepared,
        weight_index={names[name]: index for name, index in prepared.weight_index.items()},
        input_names=[names[name] for name in prepared.input_names],
    )


def refuse_wrong_bounds(program: ExportedProgram) -> None:
    """Export takes ``x.numel()`` for the most that ``x.masked_select(mask)`` gives; a larger mask gives more."""
    for node in program.graph.nodes:
        if node.target is not aten.masked_select.default:
            continue
        x, mask = (argument.meta["val"] for argument in node.args)
        sizes = zip(reversed(x.shape), reversed(mask.shape))
        if mask.dim() > x.dim() or any(_is_one(a) and not _is_one(b) for a, b in sizes):
            place = capture.user_frame(node.meta.get("stack_trace"))
            raise AotbuildError(
                f"masked_select of a tensor of sizes {list(x.shape)} with a mask of sizes {list(mask.shape)}: "
                "torch.export limits the result to the tensor's own elements\n"
                + (f"  at {place}\n" if place else "")
                + "  Expand the tensor first: x.expand_as(mask).masked_select(mask)."
            )


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def lift_weights(
    program: ExportedProgram, gm: GraphModule, state: AbstractSet[str] = frozenset()
) -> tuple[tuple[Weight, ...], dict[str, int]]:
    """Parameters, persistent and mutated buffers become weights; other constants stay constants of the graph."""
    signature = program.graph_signature
    mutated = {*capture.written_buffers(program), *state}
    placeholders = {node.name: node for node in gm.graph.nodes if node.op == "placeholder"}
    weights: list[Weight] = []
    index: dict[str, int] = {}
    by_storage: dict[tuple[Any, ...], int] = {}
    for spec in signature.input_specs:
        if spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            continue
        name = spec.target
        assert name is not None
        in_state = spec.kind is InputKind.PARAMETER or (spec.kind is InputKind.BUFFER and bool(spec.persistent))
        value = program.state_dict[name] if name in program.state_dict else program.constants[name]
        _check_type(name, value)
        node = placeholders[spec.arg.name]
        if not in_state and name not in mutated:
            _make_constant(gm, node, name, value)
            continue
        storage = value.untyped_storage()
        key = (storage.data_ptr(), value.storage_offset(), tuple(value.shape), tuple(value.stride()), value.dtype)
        same = by_storage.get(key) if storage.nbytes() and name not in mutated else None
        if same is not None:
            first = weights[same]
            weights[same] = Weight(first.name, first.tensor, (*first.aliases, name), first.mutated, first.required)
            index[node.name] = same
            continue
        by_storage[key] = index[node.name] = len(weights)
        weights.append(Weight(name, tensor_data(value, copy=False), (), name in mutated, in_state))
    # Names of the state_dict that share a tensor with a weight, but that export saw only once.
    for name, value in program.state_dict.items():
        storage = value.untyped_storage()
        key = (storage.data_ptr(), value.storage_offset(), tuple(value.shape), tuple(value.stride()), value.dtype)
        same = by_storage.get(key)
        if same is not None and name != weights[same].name and name not in weights[same].aliases:
            first = weights[same]
            weights[same] = Weight(first.name, first.tensor, (*first.aliases, name), first.mutated, first.required)
    return tuple(weights), index


def eliminate_dead_code(gm: GraphModule) -> None:
    """Removes what nothing reads, but for effects, such as the check that a matrix was not singular.

    Nothing reads those either once the outputs have no tokens any more.
    """
    gm.graph.eliminate_dead_code(lambda node: node.is_impure() or node.target is with_effects)


def _check_type(name: str, value: torch.Tensor) -> None:
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise AotbuildError(
            f"weight {name!r} has the element type {dtype}; a compiled model has weights of {', '.join(DTYPES)}: "
            "convert it in the model file"
        )


def _make_constant(gm: GraphModule, node: Node, name: str, value: torch.Tensor) -> None:
    # Two names may differ in a dot alone, as those of the buffers a_b and a.b.
    attribute = identifiers.identifier(f"constant_{name}", dict(gm.named_buffers()))
    gm.register_buffer(attribute, value.detach().contiguous(), persistent=False)
    with gm.graph.inserting_after(node):
        constant = gm.graph.get_attr(attribute)
    constant.meta = dict(node.meta)
    node.replace_all_uses_with(constant)
    gm.graph.erase_node(node)


def write_out_numbers(gm: GraphModule) -> None:
    """Constants of no dimension as ``aten.full``: many of Inductor's lowerings take a tensor, and not a bare number."""
    for module in gm.modules():
        if not isinstance(module, GraphModule):
            continue
        for node in list(module.graph.nodes):
            value = getattr(module, str(node.target), None) if node.op == "get_attr" else None
            if not isinstance(value, torch.Tensor) or value.dim() or value.is_complex():
                continue
            with module.graph.inserting_before(node):
                options: dict[str, Any] = {"dtype": value.dtype, "device": value.device, "pin_memory": False}
                number = module.graph.call_function(aten.full.default, ([], value.item()), options)
            number.meta = dict(node.meta)
            node.replace_all_uses_with(number)
            module.graph.erase_node(node)


def drop_unused_constant_inputs(program: ExportedProgram, gm: GraphModule) -> list[str]:
    """Python numbers and None in the example inputs are part of the program; their placeholders go."""
    placeholders = {node.name: node for node in gm.graph.nodes if node.op == "placeholder"}
    names = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            if spec.kind is InputKind.TOKEN:
                _make_token(gm, placeholders[spec.arg.name])
            continue
        node = placeholders[spec.arg.name]
        if isinstance(spec.arg, ConstantArgument):
            gm.graph.erase_node(node)
        else:
            names.append(node.name)
    return names


def _make_token(gm: GraphModule, placeholder: Node) -> None:
    """Tokens order side effects (checks that raise); a compiled graph makes its own instead of taking one in."""
    last = [node for node in gm.graph.nodes if node.op == "placeholder"][-1]
    with gm.graph.inserting_after(last):
        token = gm.graph.call_function(torch.ops.prims._make_token.default)
    token.meta = dict(placeholder.meta)
    placeholder.replace_all_uses_with(token)
    gm.graph.erase_node(placeholder)


def write_back_mutations(program: ExportedProgram, gm: GraphModule) -> None:
    """Export returns the new value of each mutated input; here it is copied into the input instead."""
    placeholders = {node.name: node for node in gm.graph.nodes if node.op == "placeholder"}
    signature = program.graph_signature
    target_of = {
        spec.target: placeholders[spec.arg.name]
        for spec in signature.input_specs
        if spec.target is not None and spec.arg.name in placeholders
    }
    output = gm.graph.output_node()
    kept: list[Any] = []
    copies: list[tuple[Node, Node]] = []
    for spec, value in zip(signature.output_specs, output.args[0], strict=True):  # type: ignore[arg-type]
        if spec.kind is OutputKind.USER_OUTPUT:
            if isinstance(value, bool | float):
                value = _number(gm, value)
            if not isinstance(value, str | None):  # which Python alone has
                kept.append(value)
        elif spec.kind is OutputKind.USER_INPUT_MUTATION:
            copies.append((placeholders[str(spec.target)], value))
        elif spec.kind in (OutputKind.BUFFER_MUTATION, getattr(OutputKind, "PARAMETER_MUTATION", None)):
            copies.append((target_of[spec.target], value))
    with gm.graph.inserting_before(output):
        for destination, value in copies:
            copied = gm.graph.call_function(aten.copy_.default, (destination, value))
            copied.meta["val"] = destination.meta["val"]
    output.args = (tuple(kept),)


def _number(gm: GraphModule, value: bool | float) -> Node:
    """A number among the outputs as a tensor: ``GraphLowering`` has outputs of integers, but of no other numbers."""
    mode = detect_fake_mode([node.meta.get("val") for node in gm.graph.nodes]) or FakeTensorMode()
    with gm.graph.inserting_before(gm.graph.output_node()):
        options: dict[str, Any] = {"dtype": NUMBER_DTYPES[type(value)], "device": torch.device("cpu")}
        node = gm.graph.call_function(aten.full.default, ([], value), options)
    with mode:
        node.meta["val"] = aten.full.default([], value, **options)
    return node


def decompose_linear(gm: GraphModule, node: Node) -> None:
    """``aten.linear`` as a matrix product, for weights that are computed, mutated or not float32."""
    with gm.graph.inserting_before(node):
        result = _LinearWriter(gm.graph).write(node)
    node.replace_all_uses_with(result)
    gm.graph.erase_node(node)


def decompose_preserved(gm: GraphModule) -> None:
    """Writes out the calls that were kept whole and that no packed layer took up; in branches and loops all of them."""
    from torch._inductor.decomposition import select_decomp_table

    preserved = (*activation.PRESERVED, BATCH_NORM, *_quantized_products())
    _write_out(gm, preserved, {**select_decomp_table(), **decompositions.TABLE})
    _write_out(gm, attention.OPERATORS, decomposition_table(()), attention.is_supported)
    bodies = [module for module in gm.modules() if isinstance(module, GraphModule) and module is not gm]
    everything = (*preserved, aten.linear.default, *attention.OPERATORS)
    for body in bodies:
        _write_out(body, everything, decomposition_table(()))


def _write_out(
    gm: GraphModule,
    operators: Sequence[Any],
    table: dict[Any, Any],
    is_kept: Callable[[Node], bool] = lambda node: False,
) -> None:
    from torch._dispatch.python import enable_python_dispatcher
    from torch.fx.experimental.proxy_tensor import make_fx

    for node in list(gm.graph.nodes):
        if node.target not in operators or is_kept(node):
            continue
        operands = [argument for argument in node.args if isinstance(argument, Node)]
        with enable_python_dispatcher(), torch.no_grad():
            traced = make_fx(_call_of(node), table)(*(operand.meta["val"] for operand in operands))
        traced.graph.eliminate_dead_code()
        placeholders = [n for n in traced.graph.nodes if n.op == "placeholder"]
        values: dict[Node, Any] = dict(zip(placeholders, operands, strict=True))
        with gm.graph.inserting_before(node):
            result = gm.graph.graph_copy(traced.graph, values)
        for original, copied in values.items():
            if original not in placeholders:
                copied.meta = {**original.meta, "stack_trace": node.meta.get("stack_trace")}
        _replace_uses(node, result)
        gm.graph.erase_node(node)
    gm.recompile()


def _replace_uses(node: Node, result: Any) -> None:
    """``result`` in the place of ``node``: a node, or nodes in the place of the elements of a tuple."""
    if isinstance(result, Node):
        node.replace_all_uses_with(result)
        return
    for user in list(node.users):
        assert user.target is operator.getitem
        user.replace_all_uses_with(result[user.args[1]])
        user.graph.erase_node(user)


def _call_of(node: Node) -> Callable[..., Any]:
    """The node's call as a function of its tensor operands."""

    def call(*operands: Any) -> Any:
        remaining = iter(operands)
        args = [next(remaining) if isinstance(argument, Node) else argument for argument in node.args]
        return node.target(*args, **node.kwargs)  # type: ignore[operator]

    return call


class _LinearWriter:
    """Writes ``linear`` out in view, permute, mm and add, with sizes taken from the graph."""

    def __init__(self, graph: torch.fx.Graph) -> None:
        self._graph = graph

    def _call(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        node = self._graph.call_function(target, args, kwargs)
        values = torch.fx.node.map_arg(args, lambda n: n.meta["val"])
        node.meta["val"] = target(*values, **kwargs)
        return node

    def write(self, node: Node) -> Node:
        source, weight = node.args[0], node.args[1]
        bias = node.args[2] if len(node.args) > 2 else node.kwargs.get("bias")
        assert isinstance(source, Node) and isinstance(weight, Node)
        sizes = [
            size if isinstance(size, int) else self._call(aten.sym_size.int, source, dim)
            for dim, size in enumerate(source.meta["val"].shape)
        ]
        matrix = weight.meta["val"].dim() == 2
        out = [weight.meta["val"].shape[0]] if matrix else []
        if sizes[-1] == 0:  # sums of no products
            like = source.meta["val"]
            with like.fake_mode:
                zeros = self._call(aten.full.default, [*sizes[:-1], *out], 0, dtype=like.dtype, device=like.device)
            return zeros if bias is None else self._call(aten.add.Tensor, zeros, bias)
        transposed = self._call(aten.permute.default, weight, [1, 0] if matrix else [0])
        if not matrix:
            transposed = self._call(aten.unsqueeze.default, transposed, 1)
        rows = self._call(aten.reshape.default, source, [-1, sizes[-1]])
        product = self._call(aten.mm.default, rows, transposed)
        if bias is not None:
            product = self._call(aten.add.Tensor, product, bias)
        return self._call(aten.reshape.default, product, [*sizes[:-1], *out])
