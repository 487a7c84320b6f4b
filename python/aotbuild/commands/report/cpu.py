"""Measures where a CPU model's time goes: kernels and layers, with the lines of the model that they are for."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotbuild.commands.report.instrument import READER, Part, instrument
from aotbuild.spec.errors import AotbuildError

if TYPE_CHECKING:
    from aotbuild.api.project import Project
    from aotbuild.capture import Source
    from aotbuild.spec.program import CompiledModel

_TARGET = "model"


@dataclass(frozen=True)
class CpuRow:
    """Calls of one function for the same lines. ``microseconds``: of all of them, in a call of the model.

    ``weights``: names in the ``state_dict`` of the layers' weights; empty for kernels.
    """

    function: str
    calls: int
    microseconds: float
    lines: Sequence[str]
    weights: Sequence[str]


@dataclass(frozen=True)
class CpuReport:
    """Where the time of a call goes, on ``threads`` threads, what takes longest first.

    Microseconds are processor time of the calling thread. ``call``: a call of the library as it is built for programs;
    ``clocked``: with the clocks in it.
    """

    model: str
    isa: str
    threads: int
    call: float
    clocked: float
    rows: Sequence[CpuRow]

    @property
    def total(self) -> float:
        """Microseconds of all kernels and layers in a call."""
        return sum(row.microseconds for row in self.rows)

    @property
    def rest(self) -> float:
        """Of a clocked call what is no kernel: checks, memory, the clocks themselves."""
        return max(0.0, self.clocked - self.total)


def measure(
    model: str,
    *,
    params: Mapping[str, str],
    dynamic_shapes: Sequence[str] = (),
    cpu_isa: str = "",
    threads: int = 1,
    rounds: int = 30,
) -> CpuReport:
    """Builds the model twice, as it is and with a clock around each kernel, and calls both in turn.

    Raises:
        AotbuildError: the model cannot be loaded, exported or built, or is of a kind that this does not measure.
    """
    from aotbuild.api.project import Project
    from aotbuild.api.runner import load
    from aotbuild.capture import load_source

    source = load_source(model, params)
    if source.model is None or source.model.methods:
        raise AotbuildError(f"MODEL {model}: report measures models of one function, from a Python file")
    described = source.model
    with tempfile.TemporaryDirectory(prefix="aotbuild-report-") as folder:
        keywords = {"NO_TEST": [], **({"CPU_ISA": [cpu_isa]} if cpu_isa else {})}
        project = Project(Path(folder), _TARGET, keywords, quiet=True)
        texts = list(dynamic_shapes)
        compiled, run_file = _generate(source, project, texts)
        project.build(test=False)
        plain = project.build_directory / "libplain.so"  # where its runtime is found
        shutil.copy(project.library, plain)
        variant = compiled.methods[0].variants[0]
        text, parts = instrument(variant.run_source, variant.calls)
        run_file.write_text(text)
        project.build(test=False)
        runners = [load(path, num_threads=threads) for path in (plain, project.library)]
        counters = _counters(project.library, len(parts))
        args, kwargs = tuple(described.example_inputs), dict(described.example_kwargs)
        calls = [functools.partial(runner, *args, **kwargs) for runner in runners]
        call, clocked, sums = _time(calls, counters, rounds)
    rows = _rows(parts, sums, compiled)
    return CpuReport(model, variant.isa, threads, call, clocked, rows)


def _generate(source: Source, project: Project, dynamic_shapes: Sequence[str]) -> tuple[CompiledModel, Path]:
    """Runs the pipeline without its cache. Returns the model, and the file of its run function."""
    from aotbuild import cache, emit
    from aotbuild.generate.arguments import parse_generate
    from aotbuild.generate.compiled import compiled_model
    from aotbuild.generate.lowering import Lowering
    from aotbuild.generate.model import capture_model
    from aotbuild.generate.progress import Progress
    from aotbuild.spec.ascii_names import ascii_identifier
    from aotbuild.spec.files import Files
    from aotbuild.tuning.replay import Replay

    arguments = project.configure()
    request = parse_generate([*arguments, *(f"--dynamic-shapes={entry}" for entry in dynamic_shapes)])
    replay = Replay(None)
    captured = capture_model(source, request)
    lowered = Lowering(request, replay, None, None)(captured.methods["run"], "", Progress(_TARGET, quiet=True))
    compiled, _ = compiled_model(request, captured, {"run": lowered}, replay)
    files = emit.render(compiled, request.emit)
    emit.write(files, request.output_dir, request.stamp, request.depfile, cache.toolchain_files())
    project.keep_request(arguments)
    run_file = Files(_TARGET).run("", ascii_identifier(compiled.methods[0].variants[0].isa))
    return compiled, request.output_dir / run_file


def _counters(library: Path, count: int) -> Any:
    """The counters of a loaded library, an array of nanoseconds."""
    reader = getattr(ctypes.CDLL(str(library)), READER)
    reader.restype = ctypes.POINTER(ctypes.c_int64 * max(1, count))
    return reader().contents


def _time(calls: Sequence[Callable[[], Any]], counters: Any, rounds: int) -> tuple[float, float, list[float]]:
    """Microseconds of a plain call and of a clocked one, and of each part in the latter.

    Processor time of the calling thread, which in kernels of several threads works or waits actively; the least of
    calls in turn: other work on the machine disturbs it little. The parts are those of one call, so that they belong
    together.
    """
    for call in calls:
        call()
    plain, clocked = [], []
    for _ in range(max(1, rounds)):
        start = time.thread_time()
        calls[0]()
        plain.append(time.thread_time() - start)
        for index in range(len(counters)):
            counters[index] = 0
        start = time.thread_time()
        calls[1]()
        clocked.append((time.thread_time() - start, list(counters)))
    least = min(clocked, key=lambda taken: taken[0])
    return 1e6 * min(plain), 1e6 * least[0], [value / 1e3 for value in least[1]]


def _rows(parts: Sequence[Part], sums: Sequence[float], compiled: CompiledModel) -> list[CpuRow]:
    grouped: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for index, part in enumerate(parts):
        grouped.setdefault((part.function, tuple(part.places)), []).append(index)
    rows = [
        CpuRow(
            _title(function),
            len(indices),
            sum(sums[index] for index in indices),
            [re.sub(r"^[^:]*/", "", place) for place in places],
            [name for index in indices for name in _weights(parts[index], compiled)],
        )
        for (function, places), indices in grouped.items()
    ]
    return sorted(rows, key=lambda row: -row.microseconds)


def _title(function: str) -> str:
    """What is called: of the runtime's layers by what they are."""
    layers = {
        "context_linear": "linear layer",
        "context_mlp": "pair of linear layers",
        "context_convolution": "convolution",
        "context_quantized_linear": "quantized linear layer",
    }
    return layers.get(function, function.removeprefix("aoti_torch_cpu_").removeprefix("aoti_torch_"))


def _weights(part: Part, compiled: CompiledModel) -> list[str]:
    if not part.layers or part.slot is None:
        return []
    layer = getattr(compiled, part.layers)[part.slot]
    linears = [layer.first, layer.second] if part.layers == "mlps" else [layer]
    found = [getattr(one, "weights", None) or (one.weight,) for one in linears]
    return [compiled.weights[index].name for indices in found for index in indices]
