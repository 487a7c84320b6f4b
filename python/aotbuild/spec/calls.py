"""How a call looks in Python: arguments and results as trees of plain data, which the manifest has for the runner.

A tree is what ``torch.utils._pytree`` makes of a value, with field names in the place of classes. Nothing here
imports torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# What a constant may be, among the arguments and among the results.
Constant = None | bool | int | float | str


# Kinds of nodes. Leaves: tensor, number (a result that C++ has as a tensor of no dimensions), constant. Containers:
#   tuple, list, deque, size   items; a size is a torch.Size, for whoever lacks it a tuple
#   dict, ordered_dict         items by keys
#   default_dict               for whoever lacks its factory a dict
#   namedtuple                 items by field names, and in their order
#   object                     items by the names of attributes, as of a dataclass
#   mapping                    items by keys that are attributes too, as of transformers' ModelOutput
#   opaque                     items in the order in which the class's own function gives them
@dataclass(frozen=True)
class Node:
    """A part of the arguments or of what is returned.

    ``index``: of a tensor or number, in the signature. ``value``: of a constant; of a number its type's name.
    ``name``: of the class of a namedtuple, object, mapping or opaque container. ``keys``: one for each item, or none.
    """

    kind: str
    index: int = 0
    value: Constant = None
    name: str = ""
    keys: tuple[Any, ...] = ()
    items: tuple[Node, ...] = ()

    def as_json(self) -> Any:
        """A tensor is its index; anything else is an object with the kind as a key.

        A float that JSON lacks is text with a type, and a tuple among the keys of a dict is an array.
        """
        if self.kind == "tensor":
            return self.index
        if self.kind == "number":
            return {"number": self.index, "type": self.value}
        if self.kind == "constant":
            if isinstance(self.value, float) and not math.isfinite(self.value):
                return {"constant": repr(self.value), "type": "float"}
            return {"constant": self.value}
        return {
            self.kind: [item.as_json() for item in self.items],
            **({"keys": list(self.keys)} if self.keys else {}),
            **({"name": self.name} if self.name else {}),
        }


@dataclass(frozen=True)
class Parameter:
    """One parameter of the function that was compiled.

    ``kind``: as ``inspect.Parameter`` has it: positional_only, positional_or_keyword, var_positional, keyword_only,
    var_keyword. ``value``: what it was compiled with, its default where the example left it out; None if that is
    nothing that a tree can hold. ``default``: None if it has none, or one that a tree cannot hold.
    """

    name: str
    kind: str
    value: Node | None = None
    default: Node | None = None

    def as_json(self) -> dict[str, Any]:
        nodes = {"value": self.value, "default": self.default}
        return {
            "name": self.name,
            "kind": self.kind,
            **{name: node.as_json() for name, node in nodes.items() if node is not None},
        }


@dataclass(frozen=True)
class Call:
    """The parameters in their order, and what a call returns."""

    parameters: tuple[Parameter, ...] = ()
    result: Node = Node("tuple")

    def as_json(self) -> dict[str, Any]:
        return {"parameters": [one.as_json() for one in self.parameters], "result": self.result.as_json()}
