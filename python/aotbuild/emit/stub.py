"""The type stub of a model's Python module, from the manifest alone: the module is never imported to make it."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_DTYPES = {"bool": "np.bool_", "bfloat16": "Any", "complex32": "Any"}  # NumPy has neither of the last two


@dataclass
class Node:
    """A tensor (``spec``) or a structure of ``children``."""

    name: str
    type_name: str = ""
    spec: Mapping[str, Any] | None = None
    children: list[Node] = field(default_factory=list)

    def annotation(self, library: str) -> str:
        """The annotation; ``library`` is NumPy or Torch, as in the names of the classes of structures."""
        if self.spec is None:
            return f"_{library}{self.type_name}"
        if library == "Torch":
            return "torch.Tensor"
        return f"NDArray[{_DTYPES.get(self.spec['dtype'], 'np.' + self.spec['dtype'])}]"

    def comment(self) -> str:
        """The sizes of a tensor."""
        return "" if self.spec is None else f"[{', '.join(str(dim['size']) for dim in self.spec['dims'])}]"


def context(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the template of the stub needs."""
    methods = manifest.get("methods", [{"name": "__call__", **manifest}])
    return {
        "target": manifest["target"],
        "class_name": manifest["class_name"],
        "methods": [_method(method, manifest) for method in methods],
        "has_methods": "methods" in manifest,
        "is_attribute": lambda name: _is_name(name) and not hasattr(dict, name),
    }


def _method(method: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    inputs = _tree("", method["inputs"])
    outputs = _tree(f"{method['name']}_Outputs" if "methods" in manifest else "Outputs", method["outputs"])
    names = [child.name for child in outputs.children]
    tensors = all(child.spec is not None for child in outputs.children)
    if tensors and names == ["output"]:
        returns = "tensor"
    elif tensors and names == [f"output_{index}" for index in range(len(names))]:
        returns = "tuple"
    else:
        returns = "names"
    return {
        "name": method["name"],
        "inputs": inputs.children,
        "named": all(_is_name(child.name) for child in inputs.children),
        "outputs": outputs,
        "returns": returns,
        "structures": list(_structures(outputs)) if returns == "names" else [],
    }


def _is_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _tree(type_name: str, specs: Iterable[Mapping[str, Any]]) -> Node:
    root = Node("", type_name)
    for spec in specs:
        node = root
        for part in spec["path"]:
            found = next((child for child in node.children if child.name == part), None)
            if found is None:
                found = Node(part, f"{node.type_name}_{part}")
                node.children.append(found)
            node = found
        node.spec = spec
    return root


def _structures(node: Node) -> Iterable[Node]:
    """Innermost first."""
    for child in node.children:
        if child.spec is None:
            yield from _structures(child)
    yield node
