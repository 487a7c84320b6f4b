"""What changed from one build of a model to another: the interface, sizes, values and the time of a call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aotbuild.commands.inspect.read import Inspected, Model, inspect
from aotbuild.spec.errors import AotbuildError

# A name, and what it was and is.
Change = tuple[str, str, str]


@dataclass(frozen=True)
class Difference:
    """``changes`` by title; of what is the same, nothing. ``error`` and ``milliseconds`` are None where not called."""

    changes: Mapping[str, Sequence[Change]]
    error: float | None
    milliseconds: tuple[float, float] | None
    why_not_called: str


def compare(old: Path, new: Path, rounds: int = 30) -> Difference:
    """Compares two libraries, or what else ``inspect`` reads; shared libraries for the CPU are called too.

    They get the same inputs: normal numbers, ones of whole numbers and booleans, sizes that vary at their minimum.

    Raises:
        AotbuildError: a file that holds no model, or several.
    """
    files = inspect(old), inspect(new)
    models = _only_model(files[0], old), _only_model(files[1], new)
    changes = {
        "interface": _changes(*(dict(enumerate_names(model.signatures)) for model in models)),
        "settings": _changes(*(_settings(model) for model in models)),
        "bytes": _sizes(files[0].parts, files[1].parts),
        "bytes of functions": _sizes(files[0].kernels, files[1].kernels),
    }
    changes = {title: found for title, found in changes.items() if found}
    why = _why_not_called((old, new), models)
    if why:
        return Difference(changes, None, None, why)
    error, milliseconds = _call(old, new, models[0], rounds)
    return Difference(changes, error, milliseconds, "")


def enumerate_names(signatures: Sequence[str]) -> list[tuple[str, str]]:
    """Functions by their names."""
    return [(signature.partition("(")[0], signature) for signature in signatures]


def _only_model(about: Inspected, path: Path) -> Model:
    if len(about.models) != 1:
        names = ", ".join(model.target for model in about.models)
        raise AotbuildError(f"{path} holds {len(about.models)} models ({names}); name the library of one")
    return about.models[0]


def _settings(model: Model) -> dict[str, str]:
    versions = {f"made by {name}": version for name, version in model.made_by.items()}
    return {"weights": model.weights_text, "runs on": ", ".join(model.devices), **model.settings, **versions}


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    names = dict.fromkeys([*old, *new])
    return [(name, old.get(name, "-"), new.get(name, "-")) for name in names if old.get(name) != new.get(name)]


def _sizes(old: Mapping[str, int], new: Mapping[str, int]) -> list[Change]:
    def texts(sizes: Mapping[str, int]) -> dict[str, str]:
        return {name: f"{size:,}" for name, size in sizes.items()}

    return _changes(texts(old), texts(new))


def _why_not_called(paths: Sequence[Path], models: Sequence[Model]) -> str:
    if not all(path.name.endswith(".so") or ".so." in path.name for path in paths):
        return "both have to be shared libraries"
    if any(model.manifest["cuda_architectures"] for model in models):
        return "a model for CUDA"
    if any(model.weights["mode"] == "external" for model in models):
        return "the program gives the weights"
    if any(model.manifest.get("methods") for model in models):
        return "the model has METHODS"
    parameters = models[0].manifest["call"]["parameters"]
    if not all(isinstance(parameter.get("value"), int) for parameter in parameters):
        return "its arguments are more than tensors"
    if models[0].manifest["inputs"] != models[1].manifest["inputs"]:
        return "their inputs differ"
    return ""


def _inputs(model: Model) -> list[Any]:
    random = np.random.default_rng(0)
    values: list[Any] = []
    for tensor in model.manifest["inputs"]:
        sizes = [dim["min"] for dim in tensor["dims"]]
        if tensor["dtype"] in ("float32", "float64", "float16"):
            values.append(random.standard_normal(sizes).astype(tensor["dtype"]))
        elif tensor["dtype"] in ("bfloat16", "complex64", "complex128") or "float8" in tensor["dtype"]:
            raise AotbuildError(f"{model.target}: input {tensor['name']} is {tensor['dtype']}, which diff cannot make")
        else:
            values.append(np.ones(sizes, tensor["dtype"]))
    return values


def _call(old: Path, new: Path, model: Model, rounds: int) -> tuple[float, tuple[float, float]]:
    """The largest difference of outputs, over the largest value of the old ones; median milliseconds of both."""
    from aotbuild.api.runner import load

    inputs = _inputs(model)
    runners = [load(path, num_threads=1, outputs="numpy") for path in (old, new)]
    first, second = (_arrays(runner(*inputs)) for runner in runners)
    if [array.shape for array in first] != [array.shape for array in second]:
        raise AotbuildError(f"{model.target}: the outputs of {old} and {new} differ in number or sizes")
    error = max((_error(a, b) for a, b in zip(first, second)), default=0.0)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for runner, taken in zip(runners, seconds):
            start = time.thread_time()
            runner(*inputs)
            taken.append(time.thread_time() - start)
    return error, (1e3 * statistics.median(seconds[0]), 1e3 * statistics.median(seconds[1]))


def _arrays(outputs: Any) -> list[Any]:
    if isinstance(outputs, np.ndarray):
        return [outputs]
    if isinstance(outputs, Mapping):
        outputs = outputs.values()
    return [array for value in outputs for array in _arrays(value)] if hasattr(outputs, "__iter__") else []


def _error(old: Any, new: Any) -> float:
    wide = old.astype(np.float64), new.astype(np.float64)
    largest = float(np.abs(wide[0]).max(initial=0.0)) or 1.0
    return float(np.abs(wide[0] - wide[1]).max(initial=0.0)) / largest
