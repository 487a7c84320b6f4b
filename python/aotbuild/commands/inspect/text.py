"""What was read of a model, and how two builds differ, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aotbuild.commands.inspect.compare import Difference
from aotbuild.commands.inspect.read import Inspected, Model

_MOST_KERNELS = 12


def as_text(about: Inspected) -> str:
    lines = [f"{about.name}: {about.size:,} bytes"]
    for model in about.models:
        lines += ["", *_model(model)]
    if about.parts:
        lines += ["", "bytes of the file", *_table(about.parts)]
    if about.kernels:
        shown = dict(list(about.kernels.items())[:_MOST_KERNELS])
        lines += ["", "bytes of its functions", *_table(shown)]
        if len(about.kernels) > len(shown):
            rest = sum(about.kernels.values()) - sum(shown.values())
            lines.append(f"  {rest:>12,}  {len(about.kernels) - len(shown)} others")
    return "\n".join(lines) + "\n"


def facts(model: Model) -> list[tuple[str, str]]:
    """What a manifest says, as names and values."""
    manifest = model.manifest
    versions = ", ".join(f"{name} {version}" for name, version in sorted(model.made_by.items()))
    space = f"{manifest['namespace']}::" if manifest["namespace"] else ""
    return [
        *(("function", signature) for signature in model.signatures),
        ("C++", f"{space}{manifest['class_name']} in {manifest['header']}; C: {manifest['symbol_prefix']}_..."),
        ("weights", model.weights_text),
        ("state", "of each session" if manifest.get("stateful") else "none"),
        ("runs on", ", ".join(model.devices)),
        ("settings", "; ".join(f"{name} {value}" for name, value in model.settings.items())),
        ("made by", versions),
    ]


def _model(model: Model) -> Iterator[str]:
    yield model.target
    for name, value in facts(model):
        yield f"  {name:<9} {value}"


def _table(sizes: Mapping[str, int]) -> list[str]:
    return [f"  {size:>12,}  {name}" for name, size in sizes.items()]


def difference_text(difference: Difference) -> str:
    lines: list[str] = []
    for title, changes in difference.changes.items():
        lines += [title, *(f"  {name}: {old} -> {new}" for name, old, new in changes)]
    if not lines:
        lines = ["the same in all that their manifests and parts say"]
    return "\n".join([*lines, "", *_measured(difference)]) + "\n"


def _measured(difference: Difference) -> Sequence[str]:
    if difference.error is None or difference.milliseconds is None:
        return [f"not called: {difference.why_not_called}"]
    old, new = difference.milliseconds
    return [
        f"largest difference of outputs, over the largest value: {difference.error:.1e}",
        f"processor time of a call on one thread, the median: {old:.3f} ms -> {new:.3f} ms ({new / old:.2f})",
    ]
