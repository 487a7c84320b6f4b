"""Reads what a built model says of itself: its manifest, by itself or inside a library, and what the library holds."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aotbuild.commands.inspect import elf
from aotbuild.spec.errors import AotbuildError

_KEY = b'"manifest_version": '
_END = b"\n}\n"
_NAMESPACE = "aotbuild_"


@dataclass(frozen=True)
class Model:
    """A model as its manifest has it."""

    manifest: Mapping[str, Any]

    @property
    def target(self) -> str:
        return str(self.manifest["target"])

    @property
    def weights(self) -> Mapping[str, Any]:
        return dict(self.manifest["weights"])

    @property
    def weights_text(self) -> str:
        about = self.weights
        where = {"embed": "inside the library", "file": f"in {about['file']}", "external": "given by the program"}
        return f"{where[about['mode']]}, {about['count']} tensors, {about['bytes']:,} bytes"

    @property
    def devices(self) -> Sequence[str]:
        """Instruction sets, or architectures of GPUs."""
        return [*self.manifest["cpu_isa"], *self.manifest["cuda_architectures"]]

    @property
    def signatures(self) -> list[str]:
        methods = self.manifest.get("methods") or [{**self.manifest, "name": "run"}]
        return [
            f"{method['name']}({', '.join(map(_tensor, method['inputs']))}) -> "
            f"({', '.join(map(_tensor, method['outputs']))})"
            for method in methods
        ]

    @property
    def made_by(self) -> Mapping[str, str]:
        return dict(self.manifest["metadata"].get("versions", {}))

    @property
    def settings(self) -> Mapping[str, str]:
        about = self.manifest["metadata"]
        named = {name: str(about[name]) for name in ("device", "runtime", "preset") if about.get(name)}
        return {**named, **{f"option {name}": str(value) for name, value in (about.get("options") or {}).items()}}


@dataclass(frozen=True)
class Inspected:
    """A file, and the models in it. ``parts`` and ``kernels`` are bytes; both are empty for what is no ELF file.

    The parts of a library sum up to its size. Kernels are those of all models, by name; a stripped library has none.
    """

    name: str
    size: int
    models: Sequence[Model]
    parts: Mapping[str, int] = field(default_factory=dict)
    kernels: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> str:
        models = [dict(model.manifest) for model in self.models]
        about = {"file": self.name, "bytes": self.size, "parts": dict(self.parts), "kernels": dict(self.kernels)}
        return json.dumps({**about, "models": models}, indent=2) + "\n"


def inspect(path: Path) -> Inspected:
    """Reads a manifest, a library, an object, an archive or a program with models; runs nothing of it.

    Raises:
        AotbuildError: there is no such file, or no model in it.
    """
    if path.is_dir():
        found = sorted(path.glob("*.manifest.json"))
        if len(found) != 1:
            raise AotbuildError(f"{path} holds no <target>.manifest.json; name a built library or a manifest")
        path = found[0]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AotbuildError(f"{path}: {error.strerror}") from None
    models = list(map(Model, _manifests(content)))
    for model in models:
        _check(model, path)
    if not models:
        raise AotbuildError(
            f"{path} holds no model of aotbuild; name a library or program with one, or <target>.manifest.json"
        )
    if not elf.is_elf(content):
        return Inspected(path.name, len(content), models)
    try:
        sections = elf.sections(content)
        kernels = _kernels(content, sections)
    except (struct.error, IndexError, OverflowError, ValueError):
        raise AotbuildError(f"{path} is cut off or damaged; build it again") from None
    return Inspected(path.name, len(content), models, _parts(content, sections, models), kernels)


def _manifests(content: bytes) -> Iterator[Mapping[str, Any]]:
    """The manifests in a file, each once: texts of JSON as the generator writes them, which hold the key."""
    seen: set[str] = set()
    at = content.find(_KEY)
    while at >= 0:
        text = content[content.rfind(b"\0", 0, at) + 1 : content.find(_END, at) + len(_END)]
        try:
            manifest = json.loads(text)
        except (ValueError, RecursionError):
            manifest = None
        if isinstance(manifest, dict) and "target" in manifest and str(manifest["target"]) not in seen:
            seen.add(str(manifest["target"]))
            yield manifest
        at = content.find(_KEY, at + 1)


def _check(model: Model, path: Path) -> None:
    """Raises ``AotbuildError`` where a manifest lacks what all of this version have."""
    try:
        "".join([model.weights_text, *model.devices, *model.signatures, *model.settings.values()])
        "".join(sorted(map(str, model.made_by.items())))
        "".join(model.manifest[name] or "" for name in ("namespace", "class_name", "header", "symbol_prefix"))
        json.dumps(model.manifest)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise AotbuildError(
            f"{path}: the manifest of {model.target} is damaged, or of another version of aotbuild; build it again"
        ) from None


def _parts(content: bytes, sections: Sequence[elf.Section], models: Sequence[Model]) -> dict[str, int]:
    parts: dict[str, int] = {}
    embedded = sum(model.weights["bytes"] for model in models if model.weights["mode"] == "embed")
    for section in sections:
        parts[section.part] = parts.get(section.part, 0) + section.size
    weights = min(embedded, parts.get("read-only data", 0))
    parts["read-only data"] = parts.get("read-only data", 0) - weights
    parts = {"weights": weights, **parts}
    parts["headers and gaps"] = len(content) - sum(parts.values())
    return {name: size for name, size in sorted(parts.items(), key=lambda item: -item[1]) if size}


def _kernels(content: bytes, sections: Sequence[elf.Section]) -> dict[str, int]:
    """Functions in the namespace of generated code, with what OpenMP and the optimiser cut off them."""
    sizes: dict[str, int] = {}
    for mangled, size in elf.functions(content, sections):
        names = elf.qualified_name(mangled)
        if len(names) == 2 and names[0].startswith(_NAMESPACE):
            sizes[names[1]] = sizes.get(names[1], 0) + size
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def _tensor(tensor: Mapping[str, Any]) -> str:
    sizes = [
        str(dim["size"]) if dim["min"] == dim["max"] else f"{dim['size']}={dim['min']}..{dim['max'] or ''}"
        for dim in tensor["dims"]
    ]
    return f"{tensor['name']}: {tensor['dtype']}[{', '.join(sizes)}]"
