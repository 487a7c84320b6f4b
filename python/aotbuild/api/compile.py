"""From Python without writing CMake: a module or function of this process becomes a library."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotbuild.api.project import Project
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Method, Model
from aotbuild.spec.precision import EXCEPT, OWN

if TYPE_CHECKING:
    import torch

    from aotbuild.api.runner import Runner
    from aotbuild.capture import Captured, Source


class Compiled:
    """What ``compile`` returns: it is called as the function that was compiled.

    Attributes:
        library: the path of the shared library. Where ``compile`` made a temporary folder, it goes when this object
            does; what has been loaded stays.
        programs: what was exported, by the names of methods; without methods it is the one of ``"run"``.
    """

    def __init__(self, library: Path, captured: Mapping[str, Captured], load: Callable[[], Runner]) -> None:
        self.library = library
        self.programs = {name: method.program for name, method in captured.items()}
        self._load = load
        self._runner: Runner | None = None

    @property
    def program(self) -> torch.export.ExportedProgram:
        """What was exported, of a model without methods."""
        if list(self.programs) != ["run"]:
            raise AttributeError(
                f"the model has a program for each method: programs[name] of {', '.join(self.programs)}"
            )
        return self.programs["run"]

    @property
    def runner(self) -> Runner:
        """The library, loaded: as ``load`` gives it, but with the classes that this process has."""
        if self._runner is None:
            self._runner = self._load()
        return self._runner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.runner(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Methods of the model, and all else that the loaded library has."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.runner, name)

    def __repr__(self) -> str:
        return f"<aotbuild.Compiled {self.library}>"


def compile(
    f: torch.nn.Module | Callable[..., Any] | torch.export.ExportedProgram | Model,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    methods: Mapping[str, Method] | None = None,
    device: str = "cpu",
    cpu_isa: Sequence[str] = (),
    cuda_architectures: Sequence[str | int] = (),
    runtime: str = "standalone",
    weights: str = "embed",
    preset: str = "default",
    config: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    tuning_database: str | os.PathLike[str] | None = None,
    precision: str = "float32",
    precision_except: Sequence[str] = (),
    quantize: str = "",
    quantize_except: Sequence[str] = (),
    test: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    num_threads: int = 0,
    quiet: bool = True,
    output_dir: str | os.PathLike[str] | None = None,
    name: str = "model",
) -> Compiled:
    """Compiles a module or a function of tensors to a shared library and loads it.

    The model is exported and lowered in this process, which has its classes and its operators; CMake and a C++ compiler
    make the library. Keywords that ``add_aot_model`` has mean what they mean there.

    Args:
        f: an ``nn.Module`` (set to evaluation mode), a function, an ``ExportedProgram``, or an ``aotbuild.Model``,
            which has the example itself.
        args, kwargs: one example call; of an ``ExportedProgram`` its own, if they are left out.
        dynamic_shapes: as for ``torch.export.export``, or texts as DYNAMIC_SHAPES has them: ``["ids:1=1..512"]``.
        methods: methods of the module with their examples, in the place of ``args`` and ``kwargs``; they become
            attributes of the result.
        device: "cpu", or "cuda" with ``cuda_architectures``, as in ``[90]``. A model for CUDA is loaded when it is
            first called, so that machines without a GPU can compile it.
        cpu_isa: instruction sets; empty is the portable default.
        runtime: "standalone" or "torch".
        weights: "embed", "file" (beside the library) or "external".
        preset, config, options: TorchInductor's settings.
        tuning_database: of a model for CUDA.
        precision: "bfloat16" or "float16": what layers of float32 are computed in, their weights stored in.
        precision_except: modules that keep float32, by qualified names or patterns, as in ``["head", "decoder.*"]``.
        quantize: "int8", "int4" or "float8", with " dynamic" behind it for inputs too: how linear layers are quantized.
        quantize_except: modules that are left as they are.
        test: build the model's test too, which compares with eager PyTorch, and raise unless it passes.
        rtol, atol: the test's tolerances.
        num_threads: of the loaded library, as ``load`` has it.
        quiet: print nothing; else the stages with their seconds and what CMake says.
        output_dir: where the project and its build go. None: a temporary folder, which is removed with the result.
        name: the name of the target, hence of the library and of its C functions.

    Raises:
        AotbuildError: the model does not export or cannot be compiled, or a step of CMake failed (with its error).
    """
    model = _model_of(f, args, kwargs, dynamic_shapes, methods, name)
    keywords = _keywords(
        DEVICE=device,
        RUNTIME=runtime,
        WEIGHTS=weights.upper(),
        PRESET=preset,
        METHODS=list(model.methods or ()),
        CPU_ISA=cpu_isa,
        CUDA_ARCHITECTURES=cuda_architectures,
        OPTIONS=[f"{key}={value}" for key, value in (options or {}).items()],
        CONFIG=None if config is None else Path(config).absolute(),
        TUNING_DATABASE=None if tuning_database is None else Path(tuning_database).absolute(),
        PRECISION=_precision_words(precision, precision_except),
        QUANTIZE=_quantize_words(quantize, quantize_except),
        RTOL=rtol,
        ATOL=atol,
    )
    if not test:
        keywords["NO_TEST"] = []
    dynamic = dynamic_shapes if _are_texts(dynamic_shapes) else ()
    if dynamic and model is not f:
        model.dynamic_shapes = None
    with _folder(output_dir) as directory:
        project = Project(directory, name, keywords, quiet=quiet)
        compiled = _compile(_source(model, name), project, dynamic, test=test, quiet=quiet, num_threads=num_threads)
        if device == "cpu":
            compiled.runner  # noqa: B018  # loads it
    if output_dir is None:
        weakref.finalize(compiled, shutil.rmtree, directory, ignore_errors=True)
    return compiled


@contextmanager
def _folder(output_dir: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The folder that was given, or a temporary one, which an error removes."""
    directory = Path(output_dir) if output_dir is not None else Path(tempfile.mkdtemp(prefix="aotbuild-"))
    try:
        yield directory.absolute()
    except BaseException:
        if output_dir is None:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _model_of(
    f: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    dynamic_shapes: Any,
    methods: Mapping[str, Method] | None,
    name: str,
) -> Model:
    """The model that ``compile`` was given, with its examples."""
    if not isinstance(f, Model) and not methods:
        return Model(f, tuple(args), dict(kwargs or {}), dynamic_shapes)
    given = {"args": args, "kwargs": kwargs, "dynamic_shapes": dynamic_shapes if methods else None}
    _refuse_given(name, given, "each method has them" if methods else "the Model has them")
    return f if isinstance(f, Model) else Model(f, methods=methods or {})


def _keywords(**values: Any) -> dict[str, list[str]]:
    """Keywords of ``add_aot_model`` with their words; what is None or has none is left out."""
    lists = {key: value if isinstance(value, list | tuple) else [value] for key, value in values.items()}
    return {key: [str(word) for word in words] for key, words in lists.items() if words and words != [None]}


def _precision_words(precision: str, excepted: Sequence[str]) -> list[str]:
    if precision == OWN and not excepted:
        return []
    return [precision, *((EXCEPT, *excepted) if excepted else ())]


def _quantize_words(quantize: str, excepted: Sequence[str]) -> list[str]:
    return [*quantize.split(), *((EXCEPT, *excepted) if excepted else ())]


def _refuse_given(name: str, given: Mapping[str, Any], reason: str) -> None:
    named = [key for key, value in given.items() if value]
    if named:
        raise AotbuildError(f"{name}: {' and '.join(named)} cannot be given here, {reason}; leave them out")


def _are_texts(shapes: Any) -> bool:
    return isinstance(shapes, list | tuple) and len(shapes) > 0 and all(isinstance(entry, str) for entry in shapes)


def _source(model: Model, name: str) -> Source:
    """The model as the pipeline takes it."""
    import torch

    from aotbuild.capture import Source

    program = model.module
    if not isinstance(program, torch.export.ExportedProgram):
        return Source(model, None, ())
    _refuse_given(name, {"dynamic_shapes": model.dynamic_shapes}, "an ExportedProgram says which sizes vary")
    if model.example_inputs or model.example_kwargs:
        program = copy.copy(program)
        program.example_inputs = (tuple(model.example_inputs), dict(model.example_kwargs))
    return Source(None, program, ())


def _compile(
    source: Source, project: Project, dynamic_shapes: Sequence[str], *, test: bool, quiet: bool, num_threads: int
) -> Compiled:
    import torch

    from aotbuild.generate.arguments import parse_generate
    from aotbuild.generate.model import capture_model, generate
    from aotbuild.generate.progress import Progress

    arguments = project.configure()
    request = parse_generate([*arguments, *(f"--dynamic-shapes={entry}" for entry in dynamic_shapes)])
    # Golden cases are recorded from a seed of their own.
    with _silence() if quiet else nullcontext(), torch.random.fork_rng(devices=[]):
        captured = capture_model(source, request)
        generate(request, Progress(project.target, quiet=quiet), captured)
    project.keep_request(arguments)
    project.build(test=test)

    classes = [
        (known.type, known.make, known.flatten, known.context)
        for method in captured.methods.values()
        for known in method.classes
    ]
    has_inputs = any(method.signature.inputs for method in captured.methods.values())
    weights: Mapping[str, Any] | None = None
    if request.emit.weights == "external":
        weights = {
            key: value for method in captured.methods.values() for key, value in method.program.state_dict.items()
        }

    def load() -> Runner:
        from aotbuild.api.runner import Runner

        return Runner(
            str(project.library),
            weights=weights,
            num_threads=num_threads,
            outputs=None if has_inputs else "torch",
            classes=classes,
        )

    return Compiled(project.library, captured.methods, load)


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps other packages' warnings out of the output."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
