"""From the pytrees of an exported program to how its call looks in Python."""

from __future__ import annotations

import collections
import dataclasses
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.utils import _pytree as pytree

from aotbuild.capture.labels import child_keys
from aotbuild.spec.calls import Call, Node, Parameter

_BUILTIN: dict[type, str] = {
    tuple: "tuple",
    torch.Size: "size",
    list: "list",
    collections.deque: "deque",
    dict: "dict",
    collections.defaultdict: "default_dict",
    collections.OrderedDict: "ordered_dict",
}


@dataclass(frozen=True)
class NodeClass:
    """The class of a container that is neither a tuple, list nor dict, for a process that has it.

    ``make``: from a list of the items. ``flatten``: to the items and a context, which has to equal ``context``; None
    where attributes, keys or positions give the items.
    """

    type: type
    make: Callable[[list[Any]], Any]
    flatten: Callable[[Any], tuple[Any, Any]] | None = None
    context: Any = None


def describe_call(
    program: ExportedProgram, forward: Callable[..., Any], results: Iterable[Node]
) -> tuple[Call, tuple[NodeClass, ...]]:
    """The call, and the classes of its containers in the order in which the tree has them.

    Args:
        forward: what was exported, for the names, kinds and defaults of its parameters.
        results: the leaves of what is returned.
    """
    in_spec, out_spec = program.call_spec.in_spec, program.call_spec.out_spec
    assert in_spec is not None and out_spec is not None
    leaves = _argument_leaves(program)
    args_spec, kwargs_spec = in_spec.children()
    args = [_Built.of(child, leaves) for child in args_spec.children()]
    kwargs = {str(name): _Built.of(child, leaves) for name, child in zip(kwargs_spec.context, kwargs_spec.children())}
    parameters = []
    classes: list[NodeClass] = []
    for parameter, built in _parameters(forward, args, kwargs):
        parameters.append(parameter)
        classes += built
    result = _Built.of(out_spec, iter(results))
    return Call(tuple(parameters), result.node), (*classes, *result.classes)


@dataclass(frozen=True)
class _Built:
    """A node with the classes in it."""

    node: Node
    classes: tuple[NodeClass, ...] = ()

    @staticmethod
    def of(spec: pytree.TreeSpec, leaves: Iterator[Node]) -> _Built:
        if spec.is_leaf():
            return _Built(next(leaves))
        items = [_Built.of(child, leaves) for child in spec.children()]
        node, own = _container(spec, tuple(item.node for item in items))
        return _Built(node, (*own, *(found for item in items for found in item.classes)))


def _container(spec: pytree.TreeSpec, items: tuple[Node, ...]) -> tuple[Node, tuple[NodeClass, ...]]:
    kind = spec.type if isinstance(spec.type, type) else spec.context  # of a named tuple the type is a function
    name, keys = kind.__name__, tuple(child_keys(spec))
    handler = pytree.SUPPORTED_NODES[spec.type]
    own = NodeClass(kind, lambda values: handler.unflatten_fn(values, spec.context))
    if kind in _BUILTIN and all(map(_is_plain_key, keys)):
        node = Node(_BUILTIN[kind], keys=keys if "dict" in _BUILTIN[kind] else (), items=items)
        return node, () if kind in (tuple, list, dict) else (own,)
    are_names = len(keys) > 0 and all(isinstance(key, str) and key.isidentifier() for key in keys)
    if are_names and issubclass(kind, tuple):
        return Node("namedtuple", name=name, keys=keys, items=items), (own,)
    if are_names and issubclass(kind, dict):
        return Node("mapping", name=name, keys=keys, items=items), (own,)
    if are_names and (left_out := _left_out(spec)) is not None:
        names = (*keys, *left_out)
        own = NodeClass(kind, lambda values: kind(**dict(zip(names, values))))
        return Node("object", name=name, keys=names, items=(*items, *map(_nothing, left_out))), (own,)
    own = dataclasses.replace(own, flatten=handler.flatten_fn, context=spec.context)
    if are_names:
        return Node("object", name=name, keys=keys, items=items), (own,)
    return Node("opaque", name=name, items=items), (own,)


def _nothing(_: str) -> Node:
    return Node("constant")


def _left_out(spec: pytree.TreeSpec) -> list[str] | None:
    """The fields of a dataclass that were None and so are no children; None if it is none that torch registered."""
    context = spec.context
    fields = {field.name for field in dataclasses.fields(spec.type)} if dataclasses.is_dataclass(spec.type) else set()
    if isinstance(context, list) and len(context) == 2 and all(isinstance(names, list) for names in context):
        return list(context[1]) if fields.issuperset((*context[0], *context[1])) else None
    return None


def _is_plain_key(key: Any) -> bool:
    if isinstance(key, tuple):
        return all(map(_is_plain_key, key))
    return key is None or type(key) in (str, int, bool, float)


def _argument_leaves(program: ExportedProgram) -> Iterator[Node]:
    index = itertools.count()
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            if isinstance(spec.arg, ConstantArgument):
                yield Node("constant", value=spec.arg.value)
            else:
                yield Node("tensor", index=next(index))


def _parameters(
    forward: Callable[..., Any], args: list[_Built], kwargs: dict[str, _Built]
) -> Iterator[tuple[Parameter, tuple[NodeClass, ...]]]:
    """Each parameter with the classes in its value."""
    signature = inspect.signature(forward)
    bound = signature.bind(*args, **kwargs).arguments
    for name, parameter in signature.parameters.items():
        kind = parameter.kind.name.lower()
        default = None if parameter.default is inspect.Parameter.empty else _constants(parameter.default)
        if name not in bound:
            yield Parameter(name, kind, default, default), ()
        elif kind == "var_positional":
            items: tuple[_Built, ...] = bound[name]
            node = Node("tuple", items=tuple(item.node for item in items))
            yield Parameter(name, kind, node), tuple(found for item in items for found in item.classes)
        elif kind == "var_keyword":
            parts: dict[str, _Built] = bound[name]
            node = Node("dict", keys=tuple(parts), items=tuple(item.node for item in parts.values()))
            yield Parameter(name, kind, node), tuple(found for item in parts.values() for found in item.classes)
        else:
            yield Parameter(name, kind, bound[name].node, default), bound[name].classes


def _constants(value: Any) -> Node | None:
    """A tree of constants; None where the value is none."""
    if value is None or type(value) in (bool, int, float, str):
        return Node("constant", value=value)
    if type(value) in (tuple, list):
        items = [_constants(part) for part in value]
        return None if None in items else Node(_BUILTIN[type(value)], items=tuple(filter(None, items)))
    if type(value) is dict and all(map(_is_plain_key, value)):
        items = [_constants(part) for part in value.values()]
        return None if None in items else Node("dict", keys=tuple(value), items=tuple(filter(None, items)))
    return None
