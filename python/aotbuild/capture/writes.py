"""Which buffers and inputs an exported program writes to."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree


def written_buffers(program: ExportedProgram) -> frozenset[str]:
    """The names of buffers and parameters that the program writes to, also before it is made functional."""
    signature = program.graph_signature
    parameters: Mapping[str, str] = getattr(signature, "parameters_to_mutate", {})
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    written = {names[base.name] for base, _ in written_nodes(program) if base.name in names}
    return frozenset((*signature.buffers_to_mutate.values(), *parameters.values(), *written))


def written_inputs(program: ExportedProgram) -> set[str]:
    """The user's inputs that the program writes to."""
    inputs = {str(name) for name in program.graph_signature.user_inputs}
    written = {base.name for base, _ in written_nodes(program)}
    return inputs & {*written, *program.graph_signature.user_inputs_to_mutate.values()}


def written_nodes(program: ExportedProgram) -> Iterator[tuple[torch.fx.Node, torch.fx.Node]]:
    """The tensors in whose memory the program writes, each with the call that does."""
    for node in program.graph.nodes:
        yield from ((base, node) for base in written_by(node))


def written_by(node: torch.fx.Node) -> Iterator[torch.fx.Node]:
    """The tensors in whose memory a call writes."""
    if isinstance(node.target, torch._ops.OpOverload):
        for index, argument in enumerate(node.target._schema.arguments):
            value = node.args[index] if index < len(node.args) else node.kwargs.get(argument.name)
            if argument.alias_info is not None and argument.alias_info.is_write:
                yield from (_base(part) for part in pytree.tree_leaves(value) if isinstance(part, torch.fx.Node))


def _base(node: torch.fx.Node) -> torch.fx.Node:
    """The tensor that a view is of, or the node itself."""
    source = None
    if node.target is operator.getitem:
        source = node.args[0]
    elif isinstance(node.target, torch._ops.OpOverload):
        aliased = (argument.alias_info is not None for argument in node.target._schema.arguments)
        source = next((value for is_alias, value in zip(aliased, node.args) if is_alias), None)
    return _base(source) if isinstance(source, torch.fx.Node) else node
