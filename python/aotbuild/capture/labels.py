"""What errors call the parts of a call: ``x``, ``options.gain``, ``states[0]``, ``table['a.b']``."""

from __future__ import annotations

import collections
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils import _pytree as pytree


def key_label(key: Any) -> str:
    """What follows the name of a container for its part ``key``, a string being the name of an item or attribute."""
    if isinstance(key, str) and key.isidentifier():
        return f".{key}"
    return f"[{key!r}]"


def labelled_leaves(forward: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The leaves of a call, each with the name of the argument that it is a part of."""
    found: list[tuple[str, Any]] = []
    for name, value in bound_arguments(forward, args, kwargs).items():
        _add_leaves(name, value, found)
    return found


def bound_arguments(forward: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by the names of parameters; where the callable has no signature, by position."""
    try:
        return dict(inspect.signature(forward).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return {**{f"args[{index}]": value for index, value in enumerate(args)}, **kwargs}


def _add_leaves(label: str, value: Any, found: list[tuple[str, Any]]) -> None:
    children, spec = pytree.tree_flatten(value, is_leaf=lambda part: part is not value)
    if spec.is_leaf():
        found.append((label, value))
        return
    for key, child in zip(child_keys(spec), children, strict=True):
        _add_leaves(label + key_label(key), child, found)


def child_keys(spec: pytree.TreeSpec) -> list[Any]:
    """The keys, field names or indices of a container's children, whatever kind of container it is."""
    context = spec.context
    count = len(spec.children())
    if spec.type in (dict, collections.OrderedDict, collections.defaultdict):
        return list(context[1] if spec.type is collections.defaultdict else context)
    if hasattr(context, "_fields"):  # the class of a named tuple
        return list(context._fields)
    if hasattr(spec.type, "n_sequence_fields"):  # of torch.return_types
        return list(spec.type.__match_args__)
    if isinstance(context, (list, tuple)):
        nested = [part for part in context if isinstance(part, (list, tuple))]
        # A dataclass has the names of its fields and of those that were None, in this order.
        for names in (*nested[:1], context, *nested[1:]):
            if len(names) == count and not any(isinstance(name, (list, tuple)) for name in names):
                return list(names)
    return list(range(count))
