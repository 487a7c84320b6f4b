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
    written = {names[base.name] for node in program.graph.nodes for base in _written(node) if base.name in names}
    return frozenset((*signature.buffers_to_mutate.values(), *parameters.values(), *written))


def written_inputs(program: ExportedProgram) -> set[str]:
    """The user's inputs that the program writes to."""
    inputs = {str(name) for name in program.graph_signature.user_inputs}
    written = {base.name for node in program.graph.nodes for base in _written(node)}
    return inputs & {*written, *program.graph_signature.user_inputs_to_mutate.values()}


def _written(node: torch.fx.Node) -> Iterator[torch.fx.Node]:
    """The tensors in whose memory a call writes."""
    if isinstance(node.target, torch._ops.OpOverload):
        for argument, value in zip(node.target._schema.arguments, node.args):
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
