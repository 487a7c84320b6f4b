"""The pipeline from end to end: a model file in, generated C++ files out; one line of progress a stage."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from aotbuild import cache, custom_kernels, emit, program, torch_versions
from aotbuild.config import read_config
from aotbuild.errors import AotbuildError
from aotbuild.identifiers import ascii_identifier
from aotbuild.methods import LoweredMethod, join
from aotbuild.program import CompiledModel, EmitOptions, GoldenCase, Method, Signature, TensorSpec
from aotbuild.spec.files import CUSTOM_SOURCES, SHARDS, Generated, ModelKeywords, model_files
from aotbuild.target import cpu_isa, cuda_suffix
from aotbuild.tuning.replay import Replay, Tuned, TunedEpilogue

if TYPE_CHECKING:
    from aotbuild.capture import Captured, Source

Session = tuple[tuple[str, GoldenCase], ...]


@dataclass(frozen=True)
class GenerateRequest:
    """One run of the generator: the keywords of ``add_aot_model`` as plain values."""

    model: str
    emit: EmitOptions
    output_dir: Path
    stamp: Path
    depfile: Path | None = None
    source_dir: Path | None = None
    project_dir: Path | None = None  # the whole project's, which holds source_dir
    dynamic_shapes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    cpu_isa: tuple[str, ...] = ("x86-64-v3",)
    cuda_architectures: tuple[str, ...] = ()
    runtime: str = "standalone"
    preset: str = "default"
    config: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    tuning_database: Path | None = None
    rtol: float | None = None
    atol: float | None = None
    c_enabled: bool = False  # the project compiles C
    has_eigen: bool = True  # the build has Eigen
    verbose: bool = False


class Progress:
    """Prints one line a stage with its seconds, and nothing else, so that a build log stays readable."""

    def __init__(self, target: str, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._target = target
        self._stream = stream if stream is not None else sys.stdout
        self._quiet = quiet

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if not self._quiet:
            seconds = time.perf_counter() - start
            print(f"aotbuild: {self._target}: {name} {seconds:.1f} s", file=self._stream, flush=True)

    def note(self, line: str) -> None:
        if not self._quiet:
            print(f"aotbuild: {line}", file=self._stream, flush=True)


@dataclass(frozen=True)
class CapturedModel:
    """The methods by their names (of a model without methods, ``run``), and the calls of its test in one session."""

    methods: Mapping[str, Captured]
    session: Session = ()


def capture_model(source: Source, request: GenerateRequest) -> CapturedModel:
    """Exports what the request asks for of a model, and runs it eagerly."""
    from aotbuild import capture

    dynamic = capture.parse_dynamic_shapes(request.dynamic_shapes)
    target, extremes = request.emit.target, request.emit.test
    if request.methods:
        return CapturedModel(*capture.capture_methods(source, request.methods, dynamic, target, extremes=extremes))
    return CapturedModel({"run": capture.capture(source, dynamic, target, extremes=extremes)})


def generate(
    request: GenerateRequest, progress: Progress | None = None, captured: CapturedModel | None = None
) -> list[str]:
    """Runs the whole pipeline and writes what differs.

    Args:
        captured: the model, where this process has it; MODEL is not loaded then, and nothing is cached.

    Returns:
        The relative paths of the files that were new or changed.

    Raises:
        AotbuildError: anything that the user can mend; nothing was written then.
    """
    progress = progress or Progress(request.emit.target)
    _refuse_unbuilt(request)
    if request.config is not None:
        request = dataclasses.replace(request, options={**read_config(request.config), **request.options})
    store = cache.enabled() if captured is None else None
    toolchain = cache.toolchain_files()
    base = request.source_dir or Path.cwd()
    replay = Replay(request.tuning_database)
    toolchain_and_tuning = [*toolchain, *filter(None, (replay.path, request.config))]
    settings = {**_settings(request), "tuning": replay.settings}
    asked = cache.request(settings, request.model, base, request.project_dir, toolchain) if store else None
    if store and asked:
        with progress.stage("looked in the cache in"):
            hit = cache.find(store, asked)
        if hit:
            with progress.stage("took the sources from the cache in"):
                dependencies = [*hit.dependencies, *toolchain_and_tuning]
                return emit.write(hit.files, request.output_dir, request.stamp, request.depfile, dependencies)
    with progress.stage("imported torch in"):
        import torch

        torch_versions.refuse_unsupported(torch.__version__)
        lower, plain = _lowering(request, replay)
    from aotbuild import capture

    torch.set_num_threads(max(1, torch.get_num_threads()))
    with cache.recorded(asked.places, asked.environment) if asked else nullcontext(cache.Recording()) as recording:
        if captured is None:
            with progress.stage("loaded the model in"):
                source = capture.load_source(request.model, request.params, request.source_dir)
            with progress.stage("exported and ran it eagerly in"):
                captured = capture_model(source, request)
    methods = captured.methods
    for name, part in methods.items():
        unit = f"{request.emit.target}.{name}" if request.methods else request.emit.target
        for line in part.notes:
            progress.note(f"{unit}: {line}")
    lowering_settings = {**_lowering_settings(request, base), "tuning": replay.settings}
    kept = _Lowerings(store if asked else None, asked.tools if asked else "", lowering_settings, plain)
    lowered: dict[str, Any] = {}
    for name, part in methods.items():
        method = name if request.methods else ""
        lowered[name] = kept.find(part, method)
        if lowered[name] is None:
            with progress.stage(f"lowered {method or 'it'} in"):
                lowered[name] = lower(part, method)
            kept.keep(part, method, lowered[name])
    tuning = [kernel for part in lowered.values() for kernel in getattr(part, "tuning", ())]
    epilogues = [epilogue for part in lowered.values() for epilogue in getattr(part, "epilogues", ())]
    for line in replay.report(request.emit.target, tuning, epilogues):
        progress.note(line)
    compiled = CompiledModel(
        **_joined(request, methods, lowered),
        custom_sources=_custom_sources(list(lowered.values()), request, base),
        session=captured.session,
        rtol=_given(request.rtol, [captured.rtol for captured in methods.values()]),
        atol=_given(request.atol, [captured.atol for captured in methods.values()]),
        metadata={
            "versions": {"aotbuild": _version("aotbuild"), "torch": torch.__version__.partition("+")[0]},
            "device": request.device,
            "runtime": request.runtime,
            "preset": request.preset,
            "options": dict(sorted(request.options.items())),
            "counters": dict(sum((Counter(part.counters) for part in lowered.values()), Counter[str]())),
            **({"tuning": tuning_summary(tuning, epilogues)} if tuning else {}),
        },
        kernels=_described("tuning", lowered, methods, bool(request.methods)),
        epilogues=_described("epilogues", lowered, methods, bool(request.methods)),
    )
    with progress.stage("wrote the sources in"):
        files = emit.render(compiled, request.emit)
        assert set(files) == set(_planned(request).all()), set(files) ^ set(_planned(request).all())
        model_files = sorted({path for captured in methods.values() for path in captured.files})
        dependencies = [*model_files, *toolchain_and_tuning]
        changed = emit.write(files, request.output_dir, request.stamp, request.depfile, dependencies)
    if store and asked:
        with progress.stage("kept it in the cache in"):
            cache.keep(store, asked, files, model_files, recording)
    return changed


class _Lowerings:
    """What was lowered before, by the graphs; nothing without a cache."""

    def __init__(
        self, store: cache.Store | None, tools: str, settings: Mapping[str, Any], plain: Sequence[type]
    ) -> None:
        self._store = store
        self._tools = tools
        self._settings = settings
        self._classes = [*plain, *_plain_classes()]
        self._keys: dict[str, str] = {}

    def find(self, captured: Captured, method: str) -> Any:
        if self._store is None:
            return None
        from aotbuild.cache import graphs
        from aotbuild.inductor.process import process_settings

        key = graphs.graph_key(captured, {**self._settings, "method": method}, process_settings(), self._tools)
        self._keys[method] = key
        kept = graphs.find(self._store, key, self._classes) if key else None
        return None if kept is None else graphs.join_weights(kept, captured.program)

    def keep(self, captured: Captured, method: str, lowered: Any) -> None:
        if self._store is None or not self._keys[method]:
            return
        from aotbuild.cache import graphs

        without_weights = graphs.split_weights(lowered, captured.program)
        if without_weights is not None:
            graphs.keep(self._store, self._keys[method], without_weights)


def tuning_summary(kernels: Sequence[Tuned], epilogues: Sequence[TunedEpilogue] = ()) -> dict[str, Any]:
    """For the manifest: by their keys `aotbuild tune prune` knows which lines of a database are in use."""
    return {
        "kernels": len(kernels),
        "measured": sum(kernel.measured for kernel in kernels),
        "keys": sorted({f"{found.architecture} {found.key}" for part in (kernels, epilogues) for found in part}),
    }


def _described(
    what: str, lowered: Mapping[str, Any], methods: Mapping[str, Captured], has_methods: bool
) -> list[dict[str, Any]]:
    """For `aotbuild report`: what is known of each kernel, or epilogue, with the model's lines that it comes from.

    The names of a method's kernels begin with its own.
    """
    described: list[dict[str, Any]] = []
    for method, part in lowered.items():
        found = getattr(part, what, ())
        if not found:
            continue
        from aotbuild.capture import node_places

        places = [place and re.sub(r"^[^:]*/", "", place) for place in node_places(methods[method].program)]
        for one in found:
            fields = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
            del fields["reason"], fields["origins"]
            if what == "tuning":
                fields["config"] = dict(one.config)
                fields["kernel"] = f"{method}.{one.kernel}" if has_methods else one.kernel
            described.append({**fields, "lines": list(dict.fromkeys(places[number] for number in one.origins))})
    return described


def _joined(request: GenerateRequest, methods: Mapping[str, Captured], lowered: Mapping[str, Any]) -> dict[str, Any]:
    """The methods, weights and layers of the compiled model; without METHODS the code's numbers are the model's."""
    signatures = {name: on_device(captured.signature, request.device) for name, captured in methods.items()}
    parts = [
        LoweredMethod(name, signatures[name], methods[name].golden, part.variants, part.weights, **_layers(part))
        for name, part in lowered.items()
    ]
    if request.methods:
        return vars(join(parts))
    (part,) = parts
    method = Method(part.name, part.signature, part.variants, part.golden)
    layers = {name: getattr(part, name) for name in ("weights", "linears", "mlps", "convolutions", "quantized")}
    return {"methods": (method,), **layers}


def _given(of_target: float | None, of_model: Sequence[float | None]) -> float | None:
    """A tolerance by the keyword, else by the model file, which has one for all its methods."""
    return of_model[0] if of_target is None else of_target


def _lowering(request: GenerateRequest, replay: Replay) -> tuple[Callable[[Captured, str], Any], list[type]]:
    """How the request's device lowers a program, and the classes that the result consists of beside program.py's."""
    from aotbuild.inductor.options import option_values

    config = read_config(request.config) if request.config is not None else {}
    target, preset, options = request.emit.target, request.preset, option_values(request.options, config)
    if request.device == "cuda":
        from aotbuild.inductor.cuda import epilogues, kernels, tunable
        from aotbuild.inductor.cuda import lowering as cuda

        def lower_cuda(captured: Captured, method: str) -> cuda.LoweredCuda:
            architectures = request.cuda_architectures
            unit = f"{target}.{method}" if method else target
            return cuda.lower_cuda(
                captured, architectures, target=unit, preset=preset, options=options, measured=replay.measured
            )

        plain = [cuda.LoweredCuda, cuda.CudaVariant, tunable.KernelTuning, epilogues.EpilogueTuning]
        return lower_cuda, [*plain, kernels.CompiledKernel, kernels.GridExpressions]
    from aotbuild.inductor import lowering as cpu

    isas = [cpu_isa(name) for name in request.cpu_isa]

    def lower(captured: Captured, method: str) -> cpu.Lowered:
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
        )

    return lower, [cpu.Lowered]


def _layers(lowered: Any) -> dict[str, Any]:
    """The layers that the CPU's runtime runs itself; what a GPU derives from weights."""
    names = ("linears", "mlps", "convolutions", "quantized", "derived")
    return {name: getattr(lowered, name) for name in names if hasattr(lowered, name)}


def _custom_sources(lowered: Sequence[Any], request: GenerateRequest, base: Path) -> tuple[str, ...]:
    if request.device != "cpu":
        return ()
    functions = list(dict.fromkeys(function for part in lowered for function in part.custom_functions))
    target = request.emit.target
    return tuple(custom_kernels.source_files(functions, base, CUSTOM_SOURCES, request.c_enabled, target))


def _planned(request: GenerateRequest) -> Generated:
    """The files that the build expects, as it was configured."""
    options, on_gpu = request.emit, request.device == "cuda"
    return model_files(
        ModelKeywords(
            options.target,
            options.header,
            request.methods,
            () if on_gpu else tuple((isa, ascii_identifier(isa)) for isa in request.cpu_isa),
            tuple(map(cuda_suffix, request.cuda_architectures)) if on_gpu else (),
            options.weights,
            options.weights_file,
            options.python_module,
            options.test,
            options.benchmark,
        )
    )


def on_device(signature: Signature, device: str) -> Signature:
    """The signature with all tensors on a device."""

    def move(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(dataclasses.replace(spec, device=device) for spec in specs)

    return dataclasses.replace(signature, inputs=move(signature.inputs), outputs=move(signature.outputs))


def _settings(request: GenerateRequest) -> dict[str, Any]:
    """All that the result depends on beside the model, without paths of the build."""
    apart = {
        "model",
        "output_dir",
        "stamp",
        "depfile",
        "source_dir",
        "project_dir",
        "verbose",
        "tuning_database",
        "config",
    }
    return {name: value for name, value in dataclasses.asdict(request).items() if name not in apart}


def _lowering_settings(request: GenerateRequest, base: Path) -> dict[str, Any]:
    """The part of the settings that lowering depends on."""
    kernels = custom_kernels.settings(base)
    parts = ("device", "cpu_isa", "cuda_architectures", "runtime", "preset", "options", "has_eigen")
    return {"target": request.emit.target, "kernels": kernels, **{name: getattr(request, name) for name in parts}}


def _plain_classes() -> list[type]:
    return [kind for kind in vars(program).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]


def _refuse_unbuilt(request: GenerateRequest) -> None:
    if request.device == "cuda" and not request.cuda_architectures:
        raise AotbuildError(f"{request.emit.target}: DEVICE cuda needs CUDA_ARCHITECTURES, as in 80 90")
    if request.runtime not in ("standalone", "torch"):
        raise AotbuildError(f"{request.emit.target}: RUNTIME {request.runtime!r} is neither standalone nor torch")
    if request.runtime == "torch" and request.device != "cpu":
        raise AotbuildError(
            f"{request.emit.target}: RUNTIME torch with DEVICE {request.device} is not supported yet; use RUNTIME "
            "standalone, or DEVICE cpu"
        )


def _version(package: str) -> str:
    if package == "aotbuild":
        from aotbuild import __version__

        return __version__
    return metadata.version(package)
