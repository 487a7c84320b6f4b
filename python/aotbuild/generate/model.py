"""The pipeline from end to end: a model file in, generated C++ files out; one line of progress a stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotbuild import cache, emit
from aotbuild.generate import progress as stages
from aotbuild.generate.compiled import compiled_model
from aotbuild.generate.progress import Progress
from aotbuild.generate.request import CapturedModel, GenerateRequest
from aotbuild.spec import torch_versions
from aotbuild.spec.ascii_names import ascii_identifier
from aotbuild.spec.config import read_config
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.files import Generated, ModelKeywords, model_files
from aotbuild.spec.precision import unknown_module
from aotbuild.spec.quantize import from_words
from aotbuild.spec.target import cuda_suffix
from aotbuild.tuning.replay import Replay

if TYPE_CHECKING:
    from aotbuild.capture import Source


def capture_model(source: Source, request: GenerateRequest, others: Sequence[CapturedModel] = ()) -> CapturedModel:
    """Exports what the request asks for of a model, and runs it eagerly where there is a test.

    ``others``: of a model for several GPUs, the ranks after the first, which is the one of ``source``.
    """
    from aotbuild import capture

    dynamic = capture.parse_dynamic_shapes(request.dynamic_shapes)
    target, runs = request.emit.target, request.emit.test
    options: dict[str, Any] = {"runs": runs, "precision": request.precision}
    quantize = from_words(request.quantize)
    notes: tuple[str, ...] = ()
    if quantize.type:
        whole = source
        source, lines = capture.quantized_source(whole, quantize, target)
        lines.append(capture.quantization_cost(whole, source, quantize, runs=runs))
        notes = tuple(f"{target}: {line}" for line in lines)
    programs = [{name: method.program for name, method in rank.methods.items()} for rank in others]
    ranks = tuple(rank.methods for rank in others)
    if request.methods:
        methods = capture.capture_methods(source, request.methods, dynamic, target, **options, others=programs)
        return CapturedModel(*methods, notes, ranks)
    of_run = [rank["run"] for rank in programs]
    method = capture.capture(source, dynamic, target, **options, others=of_run)
    return CapturedModel({"run": method}, notes=notes, ranks=ranks)


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
    progress = progress or Progress(request.emit.target, quiet=request.quiet)
    _refuse_unbuilt(request)
    if request.config is not None:
        request = dataclasses.replace(request, options={**read_config(request.config), **request.options})
    replay = Replay(request.tuning_database)
    toolchain = cache.toolchain_files()
    store = cache.enabled() if captured is None else None
    base = request.source_dir or Path.cwd()
    settings = {**_settings(request), "tuning": replay.settings}
    asked = cache.request(settings, request.model, base, request.project_dir, toolchain) if store else None
    write = _Writer(request, [*toolchain, *filter(None, (replay.path, request.config))])
    if store and asked:
        with progress.stage(stages.LOOK_IN_CACHE):
            hit = cache.find(store, asked)
        if hit:
            with progress.stage(stages.TAKE_FROM_CACHE):
                return write(hit.files, hit.dependencies)
    with progress.stage(stages.IMPORT_TORCH):
        import torch

        torch_versions.refuse_unsupported(torch.__version__)
        from aotbuild.generate.lowering import Lowering

        lowering = Lowering(request, replay, store, asked)
    torch.set_num_threads(max(1, torch.get_num_threads()))
    with ExitStack() as stack:
        with cache.recorded(asked.places, asked.environment) if asked else nullcontext(cache.Recording()) as recording:
            captured = captured or _captured(request, progress, stack)
        _refuse_unknown_modules(request, captured)
        _note(request, captured, progress)
        lowered = {
            name: lowering(part, name if request.methods else "", progress) for name, part in captured.methods.items()
        }
    compiled, notes = compiled_model(request, captured, lowered, replay)
    for line in notes:
        progress.note(line)
    with progress.stage(stages.WRITE_SOURCES):
        files = emit.render(compiled, request.emit)
        unplanned = set(files) ^ set(_planned(request).all())
        assert not unplanned, f"the build expects other files: {sorted(unplanned)}"
        ranks = [captured.methods, *captured.ranks]
        model_files = sorted({path for rank in ranks for part in rank.values() for path in part.files})
        changed = write(files, model_files)
    if store and asked:
        with progress.stage(stages.KEEP_IN_CACHE):
            cache.keep(store, asked, files, model_files, recording)
    return changed


def _captured(request: GenerateRequest, progress: Progress, stack: ExitStack) -> CapturedModel:
    """``stack`` holds the process group of a model for several GPUs, which lowering looks at too."""
    from aotbuild import capture
    from aotbuild.generate.ranks import capture_others, refuse_other_graphs

    others = capture_others(request, capture_model)
    stack.enter_context(capture.process_group(0, request.world_size))
    with progress.stage(stages.LOAD_MODEL):
        source = capture.load_source(request.model, request.params, request.source_dir)
    with progress.stage(stages.EXPORT):
        captured = capture_model(source, request, others)
    refuse_other_graphs(request.emit.target, captured.methods, others)
    return captured


def _note(request: GenerateRequest, captured: CapturedModel, progress: Progress) -> None:
    for line in captured.notes:
        progress.note(line)
    for name, part in captured.methods.items():
        unit = f"{request.emit.target}.{name}" if request.methods else request.emit.target
        for line in part.notes:
            progress.note(f"{unit}: {line}")


@dataclass(frozen=True)
class _Writer:
    """Writes files with what the rule depends on: the model's files, and those that every result is made with."""

    request: GenerateRequest
    dependencies: Sequence[Path]

    def __call__(self, files: Mapping[str, bytes], model_files: Sequence[Path]) -> list[str]:
        dependencies = [*model_files, *self.dependencies]
        return emit.write(files, self.request.output_dir, self.request.stamp, self.request.depfile, dependencies)


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
            request.world_size,
        )
    )


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
        "quiet",
        "tuning_database",
        "config",
    }
    return {name: value for name, value in dataclasses.asdict(request).items() if name not in apart}


def _refuse_unknown_modules(request: GenerateRequest, captured: CapturedModel) -> None:
    weights = [name for part in captured.methods.values() for name in part.program.state_dict]
    problem = unknown_module(request.precision_except, weights)
    if problem:
        raise AotbuildError(f"{request.emit.target}: PRECISION {request.precision} {problem}")


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
