"""The compiled model: all that emission needs, out of what was captured and what it was lowered to."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from aotbuild import __version__
from aotbuild.capture import custom_kernels
from aotbuild.generate.methods import LoweredMethod, join
from aotbuild.generate.ranks import weights_of_ranks
from aotbuild.generate.request import CapturedModel, GenerateRequest
from aotbuild.spec.files import CUSTOM_SOURCES
from aotbuild.spec.program import CompiledModel, Method, Signature, TensorSpec, Variant, Weight
from aotbuild.tuning.outcome import KernelTuning
from aotbuild.tuning.replay import Replay, Tuned, TunedEpilogue

if TYPE_CHECKING:
    from aotbuild.capture import Captured
    from aotbuild.lower.common.lowered import Lowered

# What lowering made of each method, by its name.
Lowerings: TypeAlias = "Mapping[str, Lowered[Variant]]"


# The layers that the CPU's runtime packs and runs itself.
LAYERS = ("linears", "mlps", "convolutions", "quantized", "recurrent")


def compiled_model(
    request: GenerateRequest, captured: CapturedModel, lowered: Lowerings, replay: Replay
) -> tuple[CompiledModel, list[str]]:
    """The model, and lines for the user about its tuning."""
    methods = captured.methods
    tuning = [kernel for part in lowered.values() for kernel in part.tuning]
    epilogues = [epilogue for part in lowered.values() for epilogue in part.epilogues]
    compiled = CompiledModel(
        **_joined(request, methods, lowered),
        ranks=_weights_of_ranks(request, captured, lowered),
        custom_sources=_custom_sources(list(lowered.values()), request, request.source_dir or Path.cwd()),
        session=captured.session,
        precision=request.precision,
        rtol=_given(request.rtol, [part.rtol for part in methods.values()]),
        atol=_given(request.atol, [part.atol for part in methods.values()]),
        metadata={
            "versions": {"aotbuild": __version__, "torch": metadata.version("torch").partition("+")[0]},
            "device": request.device,
            "runtime": request.runtime,
            "preset": request.preset,
            "options": dict(sorted(request.options.items())),
            **_precision(request),
            **({"quantize": list(request.quantize)} if request.quantize else {}),
            **({"world_size": request.world_size} if request.world_size else {}),
            "counters": dict(sum((Counter(part.counters) for part in lowered.values()), Counter[str]())),
            **({"tuning": tuning_summary(tuning, epilogues)} if tuning else {}),
        },
        kernels=_described("tuning", lowered, methods, bool(request.methods)),
        epilogues=_described("epilogues", lowered, methods, bool(request.methods)),
    )
    return compiled, list(replay.report(request.emit.target, tuning, epilogues))


def _precision(request: GenerateRequest) -> dict[str, Any]:
    if not request.precision:
        return {}
    return {"precision": {"type": request.precision, "except": list(request.precision_except)}}


def tuning_summary(kernels: Sequence[Tuned], epilogues: Sequence[TunedEpilogue] = ()) -> dict[str, Any]:
    """For the manifest: by their keys `aotbuild tune prune` knows which lines of a database are in use."""
    return {
        "kernels": len(kernels),
        "measured": sum(kernel.measured for kernel in kernels),
        "keys": sorted({f"{found.architecture} {found.key}" for part in (kernels, epilogues) for found in part}),
    }


def _described(
    what: str, lowered: Lowerings, methods: Mapping[str, Captured], has_methods: bool
) -> list[dict[str, Any]]:
    """For `aotbuild report`: what is known of each kernel, or epilogue, with the model's lines that it comes from.

    The names of a method's kernels begin with its own.
    """
    described: list[dict[str, Any]] = []
    for method, part in lowered.items():
        found = part.tuning if what == "tuning" else part.epilogues
        if not found:
            continue
        from aotbuild.capture import node_places

        places = [place and re.sub(r"^[^:]*/", "", place) for place in node_places(methods[method].program)]
        for one in found:
            fields = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
            del fields["reason"], fields["origins"]
            if isinstance(one, KernelTuning):
                fields["config"] = dict(one.config)
                fields["kernel"] = f"{method}.{one.kernel}" if has_methods else one.kernel
            described.append({**fields, "lines": list(dict.fromkeys(places[number] for number in one.origins))})
    return described


def _joined(request: GenerateRequest, methods: Mapping[str, Captured], lowered: Lowerings) -> dict[str, Any]:
    """The methods, weights and layers of the compiled model; without METHODS the code's numbers are the model's."""
    signatures = {name: on_device(captured.signature, request.device) for name, captured in methods.items()}
    parts = [
        LoweredMethod(
            name,
            signatures[name],
            methods[name].golden,
            **{field: getattr(part, field) for field in ("variants", "weights", "derived", *LAYERS)},
        )
        for name, part in lowered.items()
    ]
    if request.methods:
        return vars(join(parts))
    (part,) = parts
    method = Method(part.name, part.signature, part.variants, part.golden)
    layers = {name: getattr(part, name) for name in ("weights", *LAYERS)}
    return {"methods": (method,), **layers}


def _weights_of_ranks(
    request: GenerateRequest, captured: CapturedModel, lowered: Lowerings
) -> tuple[tuple[Weight, ...], ...]:
    """With WORLD_SIZE the model's weights as each rank has them, the first too."""
    if not request.world_size:
        return ()
    of_ranks = [{name: part.weights for name, part in lowered.items()}]
    of_ranks += weights_of_ranks(captured, lowered, request.emit.target)
    found = []
    for weights in of_ranks:
        own = {name: dataclasses.replace(part, weights=weights[name]) for name, part in lowered.items()}
        found.append(tuple(_joined(request, captured.methods, own)["weights"]))
    return tuple(found)


def _given(of_target: float | None, of_model: Sequence[float | None]) -> float | None:
    """A tolerance by the keyword, else by the model file, which has one for all its methods."""
    return of_model[0] if of_target is None else of_target


def _custom_sources(lowered: Sequence[Lowered[Variant]], request: GenerateRequest, base: Path) -> tuple[str, ...]:
    if request.device != "cpu":
        return ()
    functions = list(dict.fromkeys(function for part in lowered for function in part.custom_functions))
    target = request.emit.target
    return tuple(custom_kernels.source_files(functions, base, CUSTOM_SOURCES, request.c_enabled, target))


def on_device(signature: Signature, device: str) -> Signature:
    """The signature with all tensors on a device."""

    def move(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(dataclasses.replace(spec, device=device) for spec in specs)

    return dataclasses.replace(signature, inputs=move(signature.inputs), outputs=move(signature.outputs))
