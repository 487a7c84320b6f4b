"""``aotbuild bench``: any model file against eager PyTorch: errors, latency and memory, in one process."""

from __future__ import annotations

import copy
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotbuild.spec.errors import AotbuildError

if TYPE_CHECKING:
    import torch

    from aotbuild.spec.model import Model


@dataclass(frozen=True)
class Contender:
    """Figures of one side: median and least milliseconds a call, largest relative error, bytes of memory."""

    median_ms: float
    min_ms: float
    relative_error: float
    memory_bytes: int


@dataclass(frozen=True)
class Report:
    """The two sides of one comparison, and what the errors are relative to."""

    aotbuild: Contender
    eager: Contender
    reference: str

    def as_json(self) -> str:
        ratio = self.aotbuild.median_ms / self.eager.median_ms
        sides = {"aotbuild": vars(self.aotbuild), "eager": vars(self.eager)}
        return json.dumps({**sides, "latency_ratio": ratio, "reference": self.reference}, indent=2) + "\n"

    def as_text(self) -> str:
        lines = [f"{'':10}{'median ms':>12}{'least ms':>12}{'error':>12}{'memory MB':>12}"]
        for name, side in (("aotbuild", self.aotbuild), ("eager", self.eager)):
            lines.append(
                f"{name:10}{side.median_ms:12.3f}{side.min_ms:12.3f}{side.relative_error:12.2e}"
                f"{side.memory_bytes / 1e6:12.1f}"
            )
        lines.append(f"\naotbuild takes {self.aotbuild.median_ms / self.eager.median_ms:.2f} of eager's time.")
        lines.append(f"error: largest difference from {self.reference}, over the largest value.")
        lines.append(
            "memory: what loading and the first call add to the process; for eager, its parameters and buffers."
        )
        return "\n".join(lines)


def bench(
    model: str,
    *,
    params: Mapping[str, str] | None = None,
    dynamic_shapes: Sequence[str] = (),
    cpu_isa: Sequence[str] = (),
    threads: int = 1,
    rounds: int = 30,
    output_dir: Path | None = None,
) -> Report:
    """Builds the model, and calls it and eager PyTorch in turn on the example inputs.

    Raises:
        AotbuildError: the model cannot be loaded, exported or built.
    """
    import torch

    from aotbuild.api.compile import compile
    from aotbuild.api.runner import load
    from aotbuild.capture import as_module, load_source

    source = load_source(model, params or {})
    if source.model is None:
        raise AotbuildError(f"MODEL {model}: bench compares with the module, which a .pt2 program does not hold")
    described = source.model
    module = as_module(described)
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="aotbuild-bench-") as scratch:
        built = compile(
            described, dynamic_shapes=list(dynamic_shapes), cpu_isa=cpu_isa, output_dir=output_dir or scratch
        )
        before = _resident_bytes()
        runner = load(built.library, num_threads=threads)
        args, kwargs = tuple(described.example_inputs), dict(described.example_kwargs)
        with torch.no_grad():
            calls: dict[str, Callable[[], Any]] = {
                "aotbuild": lambda: runner(*args, **kwargs),
                "eager": lambda: module(*args, **kwargs),
            }
            first = calls["aotbuild"]()
            added = _resident_bytes() - before
            expected, reference = _reference(module, described)
            errors = {
                "aotbuild": _relative_error(first, expected),
                "eager": _relative_error(calls["eager"](), expected),
            }
            times = _interleave(calls, rounds)
    tensors = [*module.parameters(), *module.buffers()]
    memory = {"aotbuild": added, "eager": sum(tensor.numel() * tensor.element_size() for tensor in tensors)}
    sides = {
        name: Contender(statistics.median(taken) * 1e3, min(taken) * 1e3, errors[name], memory[name])
        for name, taken in times.items()
    }
    return Report(sides["aotbuild"], sides["eager"], reference)


def _interleave(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


def _reference(module: torch.nn.Module, model: Model) -> tuple[Any, str]:
    """Eager outputs in float64 where the module can be converted, else eager's own."""
    import torch
    from torch.utils import _pytree as pytree

    def widen(leaf: Any) -> Any:
        return leaf.double() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    args, kwargs = pytree.tree_map(widen, (tuple(model.example_inputs), dict(model.example_kwargs)))
    try:
        return copy.deepcopy(module).double()(*args, **kwargs), "eager in float64"
    except (RuntimeError, TypeError, NotImplementedError):
        return module(*model.example_inputs, **model.example_kwargs), "eager"


def _relative_error(actual: Any, expected: Any) -> float:
    import torch
    from torch.utils import _pytree as pytree

    pairs = zip(_tensors(actual), pytree.tree_leaves(expected))
    worst = 0.0
    for got, wanted in pairs:
        if not isinstance(wanted, torch.Tensor) or wanted.numel() == 0:
            continue
        scale = float(wanted.abs().max()) or 1.0
        worst = max(worst, float((got.to(wanted.dtype) - wanted).abs().max()) / scale)
    return worst


def _tensors(outputs: Any) -> list[torch.Tensor]:
    import torch
    from torch.utils import _pytree as pytree

    plain = dict(outputs) if isinstance(outputs, Mapping) else outputs
    return [torch.as_tensor(leaf) for leaf in pytree.tree_leaves(plain)]


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
