"""Measures where a CPU model's time goes: kernels and layers, with the lines of the model that they are for."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotbuild.commands.report import layers
from aotbuild.commands.report.cpu_data import CpuReport, CpuRow, Machine
from aotbuild.commands.report.instrument import MEASURER, READER, instrument
from aotbuild.spec.errors import AotbuildError

if TYPE_CHECKING:
    from aotbuild.api.project import Project
    from aotbuild.capture import Source
    from aotbuild.spec.program import CompiledModel, KernelCall

_TARGET = "model"


def measure(
    model: str,
    *,
    params: Mapping[str, str],
    dynamic_shapes: Sequence[str] = (),
    cpu_isa: str = "",
    threads: int = 1,
    rounds: int = 30,
    machine: Machine | None = None,
) -> CpuReport:
    """Builds the model twice, as it is and with a clock around each kernel, and calls both in turn.

    Args:
        machine: what the machine can do; by default it is measured.

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
        can_do = machine or _measure_machine(project.library, threads)
    rows = _rows(parts, sums, compiled)
    return CpuReport(model, variant.isa, threads, call, clocked, rows, can_do, stated=machine is not None)


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
    lowered = Lowering(request, replay, None, None, counts_work=True)(
        captured.methods["run"], "", Progress(_TARGET, quiet=True)
    )
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


_LARGEST_BUFFER = 512 * 2**20


def _measure_machine(library: Path, threads: int) -> Machine:
    """What the instrumented library measures; it reads several times the last cache, and 512 MiB at most."""
    measure_machine = getattr(ctypes.CDLL(str(library)), MEASURER)
    measure_machine.restype = None
    cache = os.sysconf("SC_LEVEL3_CACHE_SIZE") if "SC_LEVEL3_CACHE_SIZE" in os.sysconf_names else 0
    nbytes = min(max(4 * cache, 64 * 2**20), _LARGEST_BUFFER)
    figures = (ctypes.c_double * 3)()
    measure_machine(ctypes.c_int(max(1, threads)), ctypes.c_size_t(nbytes // 4), figures)
    return Machine(*figures)


def _rows(parts: Sequence[KernelCall], sums: Sequence[float], compiled: CompiledModel) -> list[CpuRow]:
    grouped: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for index, part in enumerate(parts):
        grouped.setdefault((part.function, part.places), []).append(index)
    rows = [
        _row([parts[index] for index in indices], [sums[i] for i in indices], compiled) for indices in grouped.values()
    ]
    return sorted(rows, key=lambda row: -row.microseconds)


def _row(parts: Sequence[KernelCall], sums: Sequence[float], compiled: CompiledModel) -> CpuRow:
    found = [layers.layer_of(part, compiled) for part in parts]
    works = [layers.work(part, layer, compiled) for part, layer in zip(parts, found)]
    return CpuRow(
        layers.title(parts[0], found[0]),
        len(parts),
        sum(sums),
        fused(parts[0]),
        [compiled.weights[index].name for layer in found for index in layers.weights(layer)],
        sum(nbytes for nbytes, _ in works),
        sum(flops for _, flops in works),
    )


def fused(call: KernelCall) -> list[tuple[str, Sequence[str]]]:
    """The operators that a call computes by the model's lines, whose folders are left out."""
    lines: dict[str, list[str]] = {place: [] for place in call.places}
    for operator, place in call.operators:
        if operator not in lines.setdefault(place, []):
            lines[place].append(operator)
    return [(re.sub(r"^[^:]*/", "", place), operators) for place, operators in lines.items()]
