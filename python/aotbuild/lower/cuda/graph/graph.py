"""From a program that was exported on the CPU to the graph that is lowered for a GPU: the same operators on "cuda"."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from torch._inductor.virtualized import V
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from aotbuild import capture
from aotbuild.capture import tensor_data
from aotbuild.lower.common import complex_numbers, composite
from aotbuild.lower.common import graph as cpu_graph
from aotbuild.lower.common.graph import BATCH_NORM, PreparedGraph
from aotbuild.lower.cuda.graph import channels_last, decompositions
from aotbuild.lower.cuda.graph.common_nodes import merge_equal_calls
from aotbuild.lower.cuda.graph.derived import SplitGraph, constant_weights, split
from aotbuild.lower.cuda.graph.grouped_heads import share_heads
from aotbuild.lower.cuda.graph.joining import join_products
from aotbuild.lower.cuda.graph.quantized_products import QUANTIZED, use_quantized_products
from aotbuild.lower.cuda.graph.row_products import fuse_norms, join_gates
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.identifiers import distinct
from aotbuild.spec.program import Weight, weight_names

aten = torch.ops.aten

DEVICE = torch.device("cuda", 0)


def prepare(program: ExportedProgram, state: AbstractSet[str] = frozenset()) -> SplitGraph:
    """Moves the program to the GPU, decomposes it (the one run of AOTAutograd) and reshapes it for ``GraphLowering``.

    Tensors are fake ones throughout: weights keep their values on the CPU, in the result's ``weights``.

    ``state``: names of buffers that other methods of the model write to.
    """
    cpu_graph.refuse_wrong_bounds(program)
    moved = _moved(program)
    table = cpu_graph.decomposition_table([BATCH_NORM, *QUANTIZED])
    decompositions.extend(table)
    if complex_numbers.has_complex(moved.graph_module):
        table = complex_numbers.with_complex(table)
    with torch.no_grad(), cpu_graph.without_guards(moved), composite.traced_as_they_are():
        try:
            decomposed = moved.run_decompositions(table, decompose_custom_triton_ops=True)
        except AotbuildError:
            raise
        except Exception as error:
            raise _not_on_gpu(error) from error
    # Weights are found by name, and shared ones by their storage, which fake tensors have not.
    decomposed._state_dict = dict(program.state_dict)
    decomposed._constants = {**decomposed.constants, **program.constants}
    gm = GraphModule(decomposed.graph_module, decomposed.graph_module.graph)
    merge_equal_calls(gm)
    gm.graph.eliminate_dead_code()
    weights, weight_index = cpu_graph.lift_weights(decomposed, gm, state)
    input_names = cpu_graph.drop_unused_constant_inputs(decomposed, gm)
    weights = _lift_constants(gm, weights, weight_index)
    _refuse_written_inputs(decomposed, gm)
    _keep_output_dtypes(program, decomposed, gm)
    cpu_graph.write_back_mutations(decomposed, gm)
    for node in list(gm.graph.nodes):
        if node.target is aten._assert_tensor_metadata.default:
            gm.graph.erase_node(node)
    prepared = cpu_graph.with_own_names(PreparedGraph(gm, [], weights, weight_index, input_names))
    constants = constant_weights(prepared)
    channels_last.fold_batch_norms(gm, constants)
    prepared = use_quantized_products(prepared, constants)
    with V.set_fake_mode(_fake_mode(moved)):
        for module in gm.modules():
            if isinstance(module, GraphModule):
                cpu_graph.decompose_preserved(module)
                channels_last.use_channels_last(module, is_branch=module is not gm)
    share_heads(gm)
    join_gates(gm, constants)
    join_products(gm, constants)
    fuse_norms(gm, constants)
    gm.recompile()
    prepared.fake_inputs = [node.meta["val"] for node in gm.graph.nodes if node.op == "placeholder"]
    return split(prepared)


def _not_on_gpu(error: Exception) -> AotbuildError:
    """For what PyTorch cannot trace on tensors of a GPU."""
    text = str(error).strip()
    operator = re.search(r"call_function\[target=torch\.ops\.([\w.]+)\]", text)
    place = capture.user_frame(text)
    return AotbuildError(
        f"the model cannot run on a GPU: {operator[1] if operator else 'PyTorch'} raises {type(error).__name__}: "
        f"{text.splitlines()[0] if text else ''}\n"
        + (f"  at {place}\n" if place else "")
        + "  Rewrite this line with other operators."
    )


def _refuse_written_inputs(program: ExportedProgram, gm: GraphModule) -> None:
    """Graphs run over copies of the caller's inputs, into which the caller does not look."""
    values: Any = gm.graph.output_node().args[0]
    for spec, value in zip(program.graph_signature.output_specs, values, strict=True):
        if spec.kind is OutputKind.USER_INPUT_MUTATION:
            place = capture.user_frame(value.meta.get("stack_trace"))
            raise AotbuildError(
                f"the model changes its input {spec.target!r} in place, and a CUDA model never writes to its inputs\n"
                + (f"  at {place}\n" if place else "")
                + "  Return the new value as an output, or keep it in a buffer of the module."
            )


def _keep_output_dtypes(program: ExportedProgram, decomposed: ExportedProgram, gm: GraphModule) -> None:
    """Outputs have the dtypes that the signature says.

    Some operators give others on a GPU: the means and deviations of normalisations of half types are float32 there.
    """
    output = gm.graph.output_node()
    values: list[Any] = list(output.args[0])  # type: ignore[arg-type]
    kinds = [spec.kind for spec in decomposed.graph_signature.output_specs]
    positions = [position for position, kind in enumerate(kinds) if kind is OutputKind.USER_OUTPUT]
    before: Any = program.graph.output_node().args[0]
    specs = zip(program.graph_signature.output_specs, before, strict=True)
    originals = [value for spec, value in specs if spec.kind is OutputKind.USER_OUTPUT]
    for position, original in zip(positions, originals, strict=True):
        value = values[position]
        wanted, found = (node.meta.get("val") if isinstance(node, Node) else None for node in (original, value))
        if isinstance(wanted, torch.Tensor) and isinstance(found, torch.Tensor) and wanted.dtype != found.dtype:
            with gm.graph.inserting_before(output):
                values[position] = gm.graph.call_function(
                    torch.ops.prims.convert_element_type.default, (value, wanted.dtype)
                )
            values[position].meta = {**value.meta, "val": found.to(wanted.dtype)}
    output.args = (tuple(values), *output.args[1:])


def _moved(program: ExportedProgram) -> ExportedProgram:
    """A copy of the program with every tensor on the GPU, and fake tensors for parameters, buffers and constants."""
    mode = _fake_mode(program)

    def move(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            with mode:
                fake = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=DEVICE)
            return torch.nn.Parameter(fake, requires_grad=False) if isinstance(value, torch.nn.Parameter) else fake
        return DEVICE if isinstance(value, torch.device) else value

    graph_module = copy.deepcopy(program.graph_module)
    for original, node in zip(program.graph.nodes, graph_module.graph.nodes, strict=True):
        node.name = original.name  # a copy renames what Python has a built-in function for, such as "input"
    for node in _all_nodes(graph_module):
        node.args = pytree.tree_map(move, node.args)
        node.kwargs = pytree.tree_map(move, node.kwargs)
        node.meta["val"] = pytree.tree_map(move, node.meta.get("val"))
    moved = program._update(
        graph_module,
        copy.deepcopy(program.graph_signature),
        state_dict={name: move(value) for name, value in program.state_dict.items()},
        constants={name: move(value) for name, value in program.constants.items()},
    )
    moved._example_inputs = pytree.tree_map(move, program.example_inputs)
    return moved


def _all_nodes(graph_module: GraphModule) -> Iterator[Node]:
    """The nodes of the graph and of the branches of its ``torch.cond`` calls."""
    for module in graph_module.modules():
        if isinstance(module, GraphModule):
            yield from module.graph.nodes


def _fake_mode(program: ExportedProgram) -> Any:
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    for node in program.graph.nodes:
        for value in pytree.tree_leaves(node.meta.get("val")):
            if isinstance(value, FakeTensor):
                return value.fake_mode
    return FakeTensorMode(shape_env=ShapeEnv())


def _lift_constants(gm: GraphModule, weights: tuple[Weight, ...], index: dict[str, int]) -> tuple[Weight, ...]:
    """Constants of the graph: one that holds a single value is written into the code, others become weights.

    Kernels read memory of the GPU, and the constants are real tensors of the CPU.
    """
    result = list(weights)
    for module in gm.modules():
        if not isinstance(module, GraphModule):
            continue
        for node in list(module.graph.nodes):
            if node.op != "get_attr":
                continue
            value = getattr(module, str(node.target))
            if not isinstance(value, torch.Tensor):
                continue
            with module.graph.inserting_before(node):
                replacement = _full(module, value)
            if replacement is None:
                assert module is gm, "export lifts a branch's constants to the program"
                replacement = _new_placeholder(gm, str(node.target))
                index[replacement.name] = len(result)
                name = distinct(str(node.target).removeprefix("constant_"), weight_names(result))
                result.append(Weight(name, tensor_data(value), required=False))
            replacement.meta = dict(node.meta)
            node.replace_all_uses_with(replacement)
            module.graph.erase_node(node)
    return tuple(result)


def _full(module: GraphModule, value: torch.Tensor) -> Node | None:
    """``aten.full`` for a constant whose elements are all alike."""
    if value.numel() == 0:
        return None
    elements = value.reshape(-1).view(torch.uint8).reshape(value.numel(), -1)  # zeros of both signs are equal numbers
    if not bool((elements == elements[0]).all()):
        return None
    options: dict[str, Any] = {"dtype": value.dtype, "device": DEVICE, "pin_memory": False}
    return module.graph.call_function(aten.full.default, (list(value.shape), value.reshape(-1)[0].item()), options)


def _new_placeholder(gm: GraphModule, name: str) -> Node:
    """A further placeholder, before the others: weights come first."""
    first = next(iter(gm.graph.nodes))
    with gm.graph.inserting_before(first):
        node = gm.graph.placeholder(name)
    node.target = node.name  # generated code calls a placeholder by its target
    return node
