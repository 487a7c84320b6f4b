"""A model of Triton Inference Server's: its config.pbtxt and README.md, from the manifest and the keywords of CMake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aotbuild.spec.errors import AotbuildError

Json = Mapping[str, Any]

# The server's names of element types; it has none for the others.
_TYPES = {
    **{f"float{bits}": f"TYPE_FP{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"TYPE_INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"TYPE_UINT{bits}" for bits in (8, 16, 32, 64)},
    "bool": "TYPE_BOOL",
    "bfloat16": "TYPE_BF16",
}
# The server takes up to 2^31 - 1 rows; a batch without a maximum of the model's has this one.
_DEFAULT_BATCH = 64
_DEFAULT_SEQUENCES = 64
_UNBOUNDED = 1 << 31


@dataclass(frozen=True)
class Serving:
    """The keywords of `aotbuild_add_triton_model`; None and empty for what was left out.

    ``batching``: whether requests are joined, ``preferred`` sizes of batches and ``delay`` in microseconds of it.
    ``idle``: microseconds. ``generate``: the method that reads the prompt and the one that goes on.
    """

    name: str
    library: str = ""
    max_batch: int | None = None
    instances: int | None = None
    threads: int | None = None
    batching: bool = False
    preferred: tuple[int, ...] = ()
    delay: int | None = None
    sequences: int | None = None
    idle: int | None = None
    generate: tuple[str, ...] = ()
    labels: bool = False


@dataclass(frozen=True)
class _Tensor:
    name: str
    type: str
    dims: tuple[int, ...]
    optional: bool = False

    def text(self, extra: str = "") -> str:
        dims = ", ".join(map(str, self.dims))
        optional = " optional: true" if self.optional else ""
        return f'  {{ name: "{_escape(self.name)}" data_type: {self.type} dims: [ {dims} ]{optional}{extra} }}'


def config(manifest: Json, serving: Serving) -> str:
    """The text of config.pbtxt.

    Raises:
        AotbuildError: the model cannot be served so; the message names target, keyword, input or dimension.
    """
    if serving.generate:
        return _generation(manifest, serving)
    methods = _methods(manifest)
    is_stateful = bool(manifest.get("stateful")) or serving.sequences is not None
    batch = _batch(manifest, serving, is_stateful)
    inputs = _joined(manifest, "input", [method["inputs"] for method in methods], batch > 0, len(methods))
    outputs = _joined(manifest, "output", [method["outputs"] for method in methods], batch > 0, 1)
    lines = _head(manifest, serving, batch)
    lines += _list("input", [tensor.text() for tensor in inputs])
    labelled = ' label_filename: "labels.txt"' if serving.labels else ""
    lines += _list("output", [tensor.text(labelled if not i else "") for i, tensor in enumerate(outputs)])
    lines += _instances(manifest, serving)
    if is_stateful:
        lines += _sequences(serving)
    elif serving.batching:
        lines += _batching(serving)
    return "\n".join([*lines, *_parameters({"threads": serving.threads}), ""])


def readme(manifest: Json, serving: Serving) -> str:
    """What the model takes and gives, for whoever finds the folder."""
    lines = [f"# {serving.name}", "", f"Made by aotbuild from the target `{manifest['target']}`.", ""]
    for method in _methods(manifest):
        lines += [f"## `{method['name']}`", "", "| | name | type | sizes |", "|---|---|---|---|"]
        for kind in ("input", "output"):
            for tensor in method[f"{kind}s"]:
                sizes = ", ".join(_size(dim) for dim in tensor["dims"])
                lines.append(f"| {kind} | `{tensor['name']}` | {tensor['dtype']} | [{sizes}] |")
        lines.append("")
    lines += ["A version folder with a weights file alone takes the library of the version before it.", ""]
    return "\n".join(lines)


def _size(dim: Json) -> str:
    if dim["min"] == dim["max"]:
        return str(dim["size"])
    return f"{dim['size']}: {dim['min']}..{dim['max'] if dim['max'] < _UNBOUNDED else ''}"


def _methods(manifest: Json) -> list[Json]:
    return list(manifest.get("methods") or [{"name": "run", **manifest}])


def _problem(manifest: Json, text: str) -> AotbuildError:
    return AotbuildError(f"aotbuild_add_triton_model({manifest['target']}): {text}")


def _batch(manifest: Json, serving: Serving, is_stateful: bool) -> int:
    """``max_batch_size``: 0 for a model without a batch."""
    keyword = "MAX_BATCH" if serving.max_batch else "DYNAMIC_BATCHING" if serving.batching else ""
    methods = _methods(manifest)
    if is_stateful or len(methods) > 1:
        if keyword:
            why = "has state, and a row of a batch would see that of others" if is_stateful else "has several methods"
            raise _problem(manifest, f"{keyword}: the model {why}; leave {keyword} out")
        return 0
    leading: list[tuple[str, str, Json]] = []
    for kind in ("input", "output"):
        for tensor in methods[0][f"{kind}s"]:
            dim: Json = tensor["dims"][0] if tensor["dims"] else {"size": "", "min": 0, "max": 0}
            if not str(dim["size"]).isidentifier() or dim["min"] > 1:
                if keyword:
                    raise _problem(
                        manifest,
                        f"{keyword}: dimension 0 of {kind} '{tensor['name']}' is no batch, a dynamic size from 1 on "
                        f"that all inputs and outputs have; leave {keyword} out, or give the model one",
                    )
                return 0
            leading.append((kind, tensor["name"], dim))
    for kind, name, dim in leading:
        if dim["size"] != leading[0][2]["size"]:
            if keyword:
                raise _problem(
                    manifest,
                    f"{keyword}: dimension 0 of {kind} '{name}' is {dim['size']}, and of {leading[0][0]} "
                    f"'{leading[0][1]}' {leading[0][2]['size']}; a batch is one size of all inputs and outputs",
                )
            return 0
    if not methods[0]["inputs"] or serving.max_batch == 0:
        return 0
    most = int(leading[0][2]["max"])
    if serving.max_batch is not None and serving.max_batch > most:
        raise _problem(manifest, f"MAX_BATCH {serving.max_batch}: the model takes at most {most} rows; lower it")
    return serving.max_batch or min(most, _DEFAULT_BATCH)


def _joined(manifest: Json, kind: str, lists: Sequence[Sequence[Json]], batched: bool, count: int) -> list[_Tensor]:
    """The tensors of all methods by name. One that not every method has is optional."""
    found: dict[str, _Tensor] = {}
    for tensors in lists:
        for tensor in tensors:
            new = _tensor(manifest, kind, tensor, batched)
            old = found.setdefault(new.name, new)
            if old.type != new.type or len(old.dims) != len(new.dims):
                raise _problem(
                    manifest,
                    f"{kind} '{new.name}' has the type {old.type} and {len(old.dims)} dimensions in one method, "
                    f"{new.type} and {len(new.dims)} in another; give it one of both, or other names",
                )
            dims = tuple(one if one == other else -1 for one, other in zip(old.dims, new.dims, strict=True))
            having = sum(any(other["name"] == new.name for other in others) for others in lists)
            found[new.name] = _Tensor(new.name, new.type, dims, having < count)
    return list(found.values())


def _tensor(manifest: Json, kind: str, tensor: Json, batched: bool) -> _Tensor:
    if tensor["dtype"] not in _TYPES:
        raise _problem(
            manifest,
            f"{kind} '{tensor['name']}' is {tensor['dtype']}, which Triton Inference Server has no type for; "
            "convert it in the model",
        )
    dims = [
        int(dim["min"]) if dim["min"] == dim["max"] and dim["min"] > 0 else -1
        for dim in tensor["dims"][1 if batched else 0 :]
    ]
    return _Tensor(tensor["name"], _TYPES[tensor["dtype"]], tuple(dims) or (1,))


def _generation(manifest: Json, serving: Serving) -> str:
    methods = {method["name"]: method for method in _methods(manifest)}
    for name in serving.generate:
        if name not in methods:
            raise _problem(manifest, f'GENERATE names "{name}", the model has {", ".join(methods)}')
        method = methods[name]
        takes_tokens = [tensor["dtype"] for tensor in method["inputs"]] == ["int64"]
        if not takes_tokens or [tensor["dtype"] for tensor in method["outputs"][:1]] != ["float32"]:
            raise _problem(
                manifest,
                f"GENERATE: the method {name} has to take one int64 input, the tokens, and to give float32 logits "
                "first",
            )
    if serving.max_batch or serving.batching:
        raise _problem(manifest, "GENERATE: sequences take turns, and none is joined; leave MAX_BATCH and "
                                 "DYNAMIC_BATCHING out")  # fmt: skip
    prompt = _tensor(manifest, "input", methods[serving.generate[0]]["inputs"][0], False)
    numbers = [_Tensor(name, "TYPE_INT64", (1,), True) for name in ("max_tokens", "stop_token")]
    return "\n".join(
        [
            *_head(manifest, serving, 0),
            "model_transaction_policy { decoupled: true }",
            *_list("input", [tensor.text() for tensor in (prompt, *numbers)]),
            *_list("output", [_Tensor("token", "TYPE_INT64", (1,)).text()]),
            *_instances(manifest, serving),
            *_parameters(
                {
                    "generate": ",".join(serving.generate),
                    "sequences": serving.sequences,
                    "threads": serving.threads,
                }
            ),
            "",
        ]
    )


def _head(manifest: Json, serving: Serving, batch: int) -> list[str]:
    library = serving.library or f"lib{manifest['target']}.so"
    return [
        f'name: "{_escape(serving.name)}"',
        'backend: "aotbuild"',
        f'default_model_filename: "{_escape(library)}"',
        f"max_batch_size: {batch}",
    ]


def _list(name: str, entries: Sequence[str]) -> list[str]:
    return [f"{name} [", ",\n".join(entries), "]"] if entries else []


def _instances(manifest: Json, serving: Serving) -> list[str]:
    kind = "KIND_GPU" if manifest["metadata"]["device"] == "cuda" else "KIND_CPU"
    return [f"instance_group [ {{ count: {serving.instances or 1} kind: {kind} }} ]"]


def _batching(serving: Serving) -> list[str]:
    """Requests that wait longer than their own timeout are refused by the server."""
    policy = "default_queue_policy { timeout_action: REJECT allow_timeout_override: true }"
    preferred = f"  preferred_batch_size: [ {', '.join(map(str, serving.preferred))} ]" if serving.preferred else ""
    delay = "" if serving.delay is None else f"  max_queue_delay_microseconds: {serving.delay}"
    return ["dynamic_batching {", *filter(None, (preferred, delay)), f"  {policy}", "}"]


def _sequences(serving: Serving) -> list[str]:
    idle = "" if serving.idle is None else f"  max_sequence_idle_microseconds: {serving.idle}"
    most = serving.sequences or _DEFAULT_SEQUENCES
    return ["sequence_batching {", *filter(None, (idle,)), f"  oldest {{ max_candidate_sequences: {most} }}", "}"]


def _parameters(values: Mapping[str, object]) -> list[str]:
    return [
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
        for key, value in values.items()
        if value not in (None, "")
    ]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
