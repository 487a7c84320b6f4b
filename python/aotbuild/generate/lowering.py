"""Lowering of a model's methods for the request's device, or what an earlier lowering of the same graph gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from aotbuild import cache
from aotbuild.cache import graphs
from aotbuild.capture import custom_kernels
from aotbuild.generate.progress import LOWER, Progress, lower_method
from aotbuild.generate.request import GenerateRequest
from aotbuild.lower.common.lowered import Lowered
from aotbuild.lower.common.options import option_values
from aotbuild.lower.common.process import process_settings
from aotbuild.spec import program
from aotbuild.spec.config import read_config
from aotbuild.spec.files import SHARDS
from aotbuild.spec.precision import Precision
from aotbuild.spec.target import cpu_isa
from aotbuild.tuning import outcome
from aotbuild.tuning.replay import Replay

if TYPE_CHECKING:
    from aotbuild.capture import Captured

Lower: TypeAlias = "Callable[[Captured, str], Lowered[program.Variant]]"


class Lowering:
    """Lowers methods; results are kept in the cache, if there is one, by the graphs."""

    def __init__(
        self,
        request: GenerateRequest,
        replay: Replay,
        store: cache.Store | None,
        asked: cache.Request | None,
        *,
        counts_work: bool = False,
    ) -> None:
        """``counts_work``: whether a CPU's ``Variant.calls`` say how much they do; not with a store."""
        self._lower, plain = _of_device(request, replay, counts_work)
        self._methods = len(request.methods)
        self._store = store if asked else None
        self._tools = asked.tools if asked else ""
        base = request.source_dir or Path.cwd()
        self._settings = {**_settings(request, base), "tuning": replay.settings}
        self._classes = [*plain, *_plain_classes()]

    def __call__(self, captured: Captured, method: str, progress: Progress) -> Lowered[program.Variant]:
        """What the device's lowering makes of a method; ``method`` is empty where the model has no METHODS."""
        if self._store is None:
            return self._timed(captured, method, progress)
        settings = {**self._settings, "method": method}
        key = graphs.graph_key(captured, settings, process_settings(), self._tools)
        kept = graphs.find(self._store, key, self._classes) if key else None
        if kept is not None:
            known: Lowered[program.Variant] = graphs.join_weights(kept, captured.program)
            return known
        lowered = self._timed(captured, method, progress)
        without_weights = graphs.split_weights(lowered, captured.program) if key else None
        if without_weights is not None:
            graphs.keep(self._store, key, without_weights)
        return lowered

    def _timed(self, captured: Captured, method: str, progress: Progress) -> Lowered[program.Variant]:
        with progress.stage(lower_method(method, self._methods) if method else LOWER):
            return self._lower(captured, method)


def _of_device(request: GenerateRequest, replay: Replay, counts_work: bool) -> tuple[Lower, list[type]]:
    """How the request's device lowers a program, and the classes that the result consists of beside the plain ones."""
    config = read_config(request.config) if request.config is not None else {}
    target, preset, options = request.emit.target, request.preset, option_values(request.options, config)
    if request.device == "cuda":
        from aotbuild.lower.cuda.compile import kernels
        from aotbuild.lower.cuda.compile import lowering as cuda

        def lower_cuda(captured: Captured, method: str) -> Lowered[program.Variant]:
            architectures = request.cuda_architectures
            unit = f"{target}.{method}" if method else target
            return cuda.lower_cuda(
                captured, architectures, target=unit, preset=preset, options=options, measured=replay.measured
            )

        return lower_cuda, [cuda.CudaVariant, kernels.CompiledKernel, kernels.GridExpressions]
    from aotbuild.lower.cpu import lowering as cpu

    isas = [cpu_isa(name) for name in request.cpu_isa]

    def lower(captured: Captured, method: str) -> Lowered[program.Variant]:
        return cpu.lower(
            captured,
            isas,
            target=target,
            method=method,
            preset=preset,
            options=options,
            shard_count=SHARDS,
            runtime=request.runtime,
            has_eigen=request.has_eigen,
            precision=Precision(request.precision, request.precision_except),
            counts_work=counts_work,
        )

    return lower, []


def _settings(request: GenerateRequest, base: Path) -> dict[str, Any]:
    """The part of the settings that lowering depends on."""
    kernels = custom_kernels.settings(base)
    parts = (
        "device",
        "cpu_isa",
        "cuda_architectures",
        "runtime",
        "preset",
        "options",
        "has_eigen",
        "precision",
        "precision_except",
        "world_size",
    )
    return {"target": request.emit.target, "kernels": kernels, **{name: getattr(request, name) for name in parts}}


def _plain_classes() -> list[type]:
    kinds = [kind for module in (program, outcome) for kind in vars(module).values()]
    return [Lowered, *(kind for kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind))]
