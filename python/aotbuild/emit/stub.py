"""The type stub of a model's Python module, from the manifest alone: the module is never imported to make it."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aotbuild.spec.dtypes import DTYPES
from aotbuild.spec.identifiers import identifier

_DTYPES = {"bool": "np.bool_", **{name: "Any" for name, dtype in DTYPES.items() if not dtype.numpy}}


@dataclass
class Structure:
    """A class of the stub: of a result with named parts. ``base``: NamedTuple, TypedDict, dict[str, Any] or none."""

    name: str
    base: str
    fields: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Argument:
    """One parameter as a signature has it: ``x: torch.Tensor``; ``text`` begins with * or ** where it collects."""

    text: str
    comment: str = ""


def context(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the template of the stub needs."""
    methods = manifest.get("methods", [{"name": "__call__", **manifest}])
    return {
        "target": manifest["target"],
        "class_name": manifest["class_name"],
        "methods": [_method(method, "methods" in manifest) for method in methods],
    }


def _method(method: Mapping[str, Any], has_methods: bool) -> dict[str, Any]:
    """One method with an overload for NumPy's arrays and one for torch's; one alone where they do not differ."""
    prefix = f"{method['name']}_" if has_methods else ""
    libraries = ("NumPy", "Torch") if method["inputs"] else ("NumPy",)
    return {"name": method["name"], "overloads": [_Overload(method, prefix, library) for library in libraries]}


class _Overload:
    """One method for tensors of one library."""

    def __init__(self, method: Mapping[str, Any], prefix: str, library: str) -> None:
        self._method = method
        self._prefix = f"_{library}{prefix}"
        self._is_torch = library == "Torch"
        self.structures: list[Structure] = []
        self.returns = self._result(method["call"]["result"], "")
        self.arguments = list(self._arguments(method["call"]["parameters"]))

    def _arguments(self, parameters: Sequence[Mapping[str, Any]]) -> Iterator[Argument]:
        shown = [one for one in parameters if "value" in one or one["kind"].startswith("var_")]
        kinds = [parameter["kind"] for parameter in shown]
        for index, parameter in enumerate(shown):
            kind, name = parameter["kind"], parameter["name"]
            if kind == "keyword_only" and "var_positional" not in kinds and kinds.index(kind) == index:
                yield Argument("*")
            if kind.startswith("var_"):
                yield Argument(f"{'*' if kind == 'var_positional' else '**'}{name}: Any")
            else:
                value = parameter["value"]
                default = " = ..." if _is_constant(value) and "default" in parameter else ""
                comment = self._sizes(self._method["inputs"][value]) if isinstance(value, int) else ""
                yield Argument(f"{name}: {self._given(value)}{default}", comment)
            if kind == "positional_only" and kinds[index + 1 : index + 2] != [kind]:
                yield Argument("/")

    def _tensor(self, spec: Mapping[str, Any]) -> str:
        if self._is_torch:
            return "torch.Tensor"
        return f"NDArray[{_DTYPES.get(spec['dtype'], 'np.' + spec['dtype'])}]"

    def _sizes(self, spec: Mapping[str, Any]) -> str:
        return f"[{', '.join(str(dim['size']) for dim in spec['dims'])}]"

    def _given(self, node: Any) -> str:
        """The annotation of an argument."""
        if isinstance(node, int):
            return self._tensor(self._method["inputs"][node])
        if "constant" in node:
            return _literal(node)
        kind, items = _container(node)
        parts = [self._given(item) for item in items]
        if kind in ("tuple", "size"):
            return f"tuple[{', '.join(parts) or '()'}]"
        if kind in ("list", "deque"):
            return f"Sequence[{_union(parts)}]"
        if kind in ("dict", "ordered_dict", "default_dict"):
            return f"Mapping[{_union(_key_type(key) for key in node.get('keys', ()))}, {_union(parts)}]"
        return "Any"

    def _result(self, node: Any, name: str) -> str:
        """The annotation of a result or of a part of it, whose classes are named after ``name``."""
        if isinstance(node, int):
            return self._tensor(self._method["outputs"][node])
        if "number" in node:
            return str(node["type"])
        if "constant" in node:
            return _literal(node)
        kind, items = _container(node)
        keys = node.get("keys", [])
        labels = keys or range(len(items))
        parts = [self._result(item, f"{name}_{label}" if name else f"{label}") for label, item in zip(labels, items)]
        if kind in ("tuple", "size"):
            return f"tuple[{', '.join(parts) or '()'}]"
        if kind in ("list", "deque", "opaque"):
            return f"{'deque' if kind == 'deque' else 'list'}[{_union(parts)}]"
        names = all(isinstance(key, str) and _is_name(key) for key in keys)
        bases = {"namedtuple": "NamedTuple", "object": "", "mapping": "dict[str, Any]", "dict": "TypedDict"}
        if kind not in bases or not names:
            kind = "OrderedDict" if kind == "ordered_dict" else "dict"
            return f"{kind}[{_union(_key_type(key) for key in keys)}, {_union(parts)}]"
        own = identifier(f"{self._prefix}{name or 'Outputs'}")
        while own in (structure.name for structure in self.structures):
            own += "_"
        fields = [(key, part) for key, part in zip(keys, parts) if kind != "mapping" or not hasattr(dict, key)]
        self.structures.append(Structure(own, bases[kind], fields))
        return own


def _container(node: Mapping[str, Any]) -> tuple[str, list[Any]]:
    (kind,) = node.keys() - {"keys", "name"}
    return kind, node[kind]


def _is_constant(node: Any) -> bool:
    return not isinstance(node, int) and "constant" in node


def _literal(node: Mapping[str, Any]) -> str:
    value = node["constant"]
    if value is None:
        return "None"
    return "float" if isinstance(value, float) or "type" in node else f"Literal[{value!r}]"


def _key_type(key: Any) -> str:
    return "None" if key is None else "tuple[Any, ...]" if isinstance(key, list) else type(key).__name__


def _union(parts: Iterator[str] | list[str]) -> str:
    return " | ".join(dict.fromkeys(parts)) or "Any"


def _is_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)
