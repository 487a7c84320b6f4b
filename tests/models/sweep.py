"""The sweep: what of PyTorch's operators and modules compiles, runs and agrees with eager; and the table of it.

    sweep.py [--kind op] [--dtype float32] [--only NAME ...] [--folder build/sweep]   # run; resumes where it stopped
    sweep.py --runtime torch ...                                                      # the same with RUNTIME torch
    sweep.py --runtime aotinductor ...                                                # the same by AOTInductor itself
    sweep.py --device cuda                               # builds for a GPU; sweep_cuda.py has the steps that follow
    sweep.py --report docs                                                            # the tables of what ran

Every sample is generated and run in a process of its own, so that a crash or an endless loop is an outcome. Models are
compiled in batches, many kernels to one source file, because most of a small kernel's compile time is in headers.
"""

from __future__ import annotations

import argparse
import copy
import functools
import itertools
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

PASSES, BUILT, REFUSED, EXPORT, FAILED, COMPILER, WRONG, CRASHED, SLOW, NONE = OUTCOMES = (
    "passes",
    "built",
    "refused by aotbuild",
    "refused by torch.export",
    "error while generating",
    "does not compile",
    "wrong",
    "crashed",
    "took too long",
    "no such sample",
)


RUNTIMES = ("standalone", "torch", "aotinductor")


@dataclass(frozen=True)
class Result:
    """What became of one sample; ``detail`` is the reason."""

    id: str
    kind: str
    name: str
    dtype: str
    outcome: str
    detail: str = ""


# --- one process a sample


def in_child(action: Callable[[], tuple[str, str]], seconds: float) -> tuple[str, str]:
    """The outcome of ``action``, run in a fork that ends after ``seconds`` of processor time, or ten times as long."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        quiet = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2) if not os.environ.get("SWEEP_VERBOSE") else ():
            os.dup2(quiet, stream)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(int(10 * seconds) + 1)
        try:
            outcome = action()
        except BaseException as error:
            outcome = (FAILED, f"{type(error).__name__}: {error}")
        os.write(write, json.dumps((outcome[0], outcome[1][:4000])).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if text:
        outcome, detail = json.loads(text)
        return outcome, detail
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number in (signal.SIGPROF, signal.SIGALRM):
        return SLOW, f"more than {seconds:.0f} s"
    return CRASHED, signal.Signals(number).name if number else f"exit status {os.WEXITSTATUS(status)}"


# --- generating


def generate(sample: Any, folder: Path, device: str, runtime: str) -> tuple[str, str]:
    """Writes the sources of one sample, and its call with eager's result, to ``folder``. The outcome "" is success."""
    import torch
    from sweep_samples import NotASampleError

    from aotbuild import capture, emit
    from aotbuild.errors import AotbuildError
    from aotbuild.program import EmitOptions

    warnings.simplefilter("ignore")
    try:
        with torch.no_grad():
            model = sample.make()
    except NotASampleError as error:
        return NONE, str(error)
    except Exception as error:
        return NONE, f"it does not run eagerly: {type(error).__name__}: {error}"
    try:
        captured = capture.capture(capture.Source(model, None, ()), (), sample.id)
        compiled = lower(captured, sample.id, device, runtime)
    except AotbuildError as error:
        by_export = "cannot be exported by torch.export" in str(error)
        return EXPORT if by_export else REFUSED, str(error)
    try:
        files = emit.render(compiled, EmitOptions(sample.id, test=False))
    except AotbuildError as error:
        return REFUSED, str(error)
    emit.write(files, folder, folder / "stamp", None, ())
    calls = {
        "args": model.example_inputs,
        "kwargs": dict(model.example_kwargs),
        "cases": [
            (list(map(_packed, case.inputs)), list(map(_packed, (*case.outputs, *case.written))))
            for case in captured.golden
        ],
        "written": [index for index, spec in enumerate(captured.signature.inputs) if spec.written],
        "tolerance": (captured.rtol, captured.atol),
        "random": "empty" in sample.name or _is_random(model, captured.golden[0].outputs),
        "stateful": any(weight.mutated for weight in compiled.weights),
    }
    (folder / "calls.pickle").write_bytes(pickle.dumps(calls))
    return "", ""


def lower(captured: Any, target: str, device: str, runtime: str = "standalone") -> Any:
    """The compiled model; a GPU's kernels are compiled in this process, which is one of many anyway."""
    from aotbuild.inductor import lowering
    from aotbuild.inductor.cuda import lowering as cuda
    from aotbuild.pipeline import on_device
    from aotbuild.program import CompiledModel, Method
    from aotbuild.target import cpu_isa

    rtol, atol = captured.rtol, captured.atol
    if device == "cuda":
        on_gpu = cuda.lower_cuda(captured, ["90"], target=target, processes=0)
        signature = on_device(captured.signature, device)
        return CompiledModel((Method("run", signature, on_gpu.variants),), on_gpu.weights, rtol=rtol, atol=atol)
    lowered = lowering.lower(captured, [cpu_isa("x86-64-v3")], target=target, shard_count=1, runtime=runtime)
    return CompiledModel(
        (Method("run", captured.signature, lowered.variants),),
        lowered.weights,
        lowered.linears,
        lowered.mlps,
        lowered.convolutions,
        lowered.quantized,
        rtol=rtol,
        atol=atol,
    )


def _packed(data: Any) -> tuple[str, tuple[int, ...], bytes]:
    return data.dtype, data.shape, data.data.tobytes()


def unpacked(dtype: str, shape: tuple[int, ...], data: bytes) -> Any:
    """A tensor from its contiguous bytes."""
    import numpy as np
    import torch

    if not data:
        return torch.empty(shape, dtype=getattr(torch, dtype))
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy()).view(getattr(torch, dtype)).reshape(shape)


def _is_random(model: Any, recorded: Sequence[Any]) -> bool:
    """Whether another seed gives other results."""
    import torch
    from model_builds import leaves

    from aotbuild.capture import tensor_data

    torch.manual_seed(1)
    args, kwargs = copy.deepcopy((model.example_inputs, model.example_kwargs))  # it may write to them
    with torch.no_grad():
        again = leaves(model.module(*args, **kwargs))
    return any(tensor_data(leaf).data.tobytes() != data.data.tobytes() for leaf, data in zip(again, recorded))


# --- compiling


CMAKE = """\
cmake_minimum_required(VERSION 3.24)
project(sweep LANGUAGES CXX)
find_package(aotbuild REQUIRED)
_aotbuild_python()
_aotbuild_runtime(SHARED runtime)
set(torch "")
if(SWEEP_RUNTIME STREQUAL "torch")
  _aotbuild_torch_runtime(SHARED sweep torch)
endif()
# sweep_cpu_batch(<name> <target>...): the models as one library, and a small one for each that aotbuild.load() opens.
function(sweep_cpu_batch name)
  set(sources "${name}/kernels.cpp" "${name}/run.cpp")
  _aotbuild_set_kernel_properties(x86-64-v3 debug "${sources}")
  add_library(${name} SHARED ${sources})
  target_link_libraries(${name} PRIVATE ${torch} ${runtime} aotbuild::openmp aotbuild::sleef)
  foreach(target IN LISTS ARGN)
    set(folder "${CMAKE_CURRENT_SOURCE_DIR}/${name}/${target}")
    _aotbuild_set_binary_properties("${folder}/src/${target}_weights.cpp" "${folder}/${target}.weights.bin")
    set_source_files_properties("${folder}/src/${target}.cpp" "${folder}/src/${target}_api.cpp" PROPERTIES
      COMPILE_OPTIONS -O0)
    target_sources(${name} PRIVATE "${folder}/src/${target}.cpp" "${folder}/src/${target}_weights.cpp")
    target_include_directories(${name} PRIVATE "${folder}/include")
    add_library(${target} SHARED "${folder}/src/${target}_api.cpp")
    target_include_directories(${target} PRIVATE "${folder}/include")
    target_link_libraries(${target} PRIVATE ${name} ${runtime})
  endforeach()
  set_target_properties(${name} ${ARGN} PROPERTIES CXX_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
endfunction()
# sweep_cuda_batch(<name> <target>...): the models as one library, with the runtime; sweep_runner calls them.
function(sweep_cuda_batch name)
  _aotbuild_runtime(STATIC runtime)
  set_source_files_properties("${name}/run.cpp" PROPERTIES COMPILE_OPTIONS "-std=c++20;-O0;-w")
  _aotbuild_set_binary_properties("${name}/data.cpp" "${CMAKE_CURRENT_SOURCE_DIR}/${name}/data.cpp")
  add_library(${name} SHARED "${name}/run.cpp" "${name}/data.cpp")
  foreach(target IN LISTS ARGN)
    set(folder "${CMAKE_CURRENT_SOURCE_DIR}/${name}/${target}")
    set_source_files_properties("${folder}/src/${target}.cpp" PROPERTIES COMPILE_OPTIONS -O0)
    target_sources(${name} PRIVATE "${folder}/src/${target}.cpp")
    target_include_directories(${name} PRIVATE "${folder}/include")
  endforeach()
  target_link_libraries(${name} PRIVATE ${runtime})
  target_link_options(${name} PRIVATE -s -Wl,--as-needed)
  set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
endfunction()
include("${SWEEP_BATCH}/batch.cmake")
"""


# Sources of a batch: those of its models that go into each. Only the first shard of a CPU's model holds kernels.
BATCH_SOURCES = {
    "cpu": {"kernels": ["{0}_kernels_x86_64_v3_0.cpp"], "run": ["{0}_run_x86_64_v3.cpp"]},
    "cuda": {"run": ["{0}_run_sm_90.cpp"], "data": ["{0}_images_sm_90.cpp", "{0}_weights.cpp"]},
}


def write_batch(folder: Path, targets: Sequence[str], device: str) -> None:
    for stem, patterns in BATCH_SOURCES[device].items():
        files = [f"{target}/src/{pattern.format(target)}" for target in targets for pattern in patterns]
        (folder / f"{stem}.cpp").write_text("".join(f'#include "{file}"\n' for file in files))
    for data in folder.glob("*/*.bin") if device == "cuda" else ():  # where the assembler finds them
        if not (folder / data.name).exists():
            (folder / data.name).hardlink_to(data)


def build_folder(folder: Path, name: str, device: str) -> Path:
    """Of batches for a GPU each has its own: several processes may build some at a time."""
    return folder / "build" if device == "cpu" else folder / name / "build"


def configure(folder: Path, name: str, targets: Sequence[str], device: str, runtime: str) -> None:
    build = build_folder(folder, name, device)
    (folder / "CMakeLists.txt").write_text(CMAKE)
    (folder / name / "batch.cmake").write_text(f"sweep_{device}_batch({name} {' '.join(targets)})\n")
    run(
        "cmake", "-S", folder, "-B", build, "-G", "Ninja", "-DCMAKE_CXX_FLAGS=-O1",
        f"-Daotbuild_DIR={ROOT / 'cmake'}", f"-DAOTBUILD_PYTHON={sys.executable}",
        f"-DSWEEP_BATCH={name}", f"-DSWEEP_RUNTIME={runtime}",
        *(["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []),
    )  # fmt: skip


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def compile_batch(
    folder: Path, name: str, targets: Sequence[str], jobs: int, device: str, runtime: str
) -> dict[str, str]:
    """Compiles a batch. The targets that do not compile are left out of it and returned, each with the error."""
    broken: dict[str, str] = {}
    remaining = list(targets)
    while remaining:
        write_batch(folder / name, remaining, device)
        configure(folder, name, remaining, device, runtime)
        try:
            run("cmake", "--build", build_folder(folder, name, device), "--parallel", str(jobs))
            return broken
        except RuntimeError as error:
            found = re.search(r"(\w+)/src/\w+\.[ch]pp:\d+:\d+: (?:fatal )?error: .*", str(error))
            text = found[0] if found else str(error)[-1500:]
            culprit = found[1] if found and found[1] in remaining else None
            for target in [culprit] if culprit else remaining:
                broken[target] = text
            remaining = [target for target in remaining if target not in broken]
    return broken


# --- running


def call(target: str, build: Path, folder: Path, prepare: Callable[[], Any] | None = None) -> tuple[str, str]:
    """Runs a built sample on its example, and with each dynamic size at its extremes, and compares with eager.

    ``prepare`` runs before: some operators of PyTorch are registered in Python, by their first call.
    """
    import aotbuild

    if prepare is not None:
        prepare()
    recorded = pickle.loads((folder / "calls.pickle").read_bytes())
    library = aotbuild.load(build / f"lib{target}.so", num_threads=2)
    greatest = 0.0
    for number, (inputs, outputs) in enumerate(recorded["cases"]):
        tensors = [unpacked(*packed) for packed in inputs]
        sizes = f"with inputs of sizes {[list(tensor.shape) for tensor in tensors]} " if number else ""
        try:
            if number == 0 and not recorded["written"]:
                result = library(*_positional(recorded["args"]), **_named(recorded["kwargs"]))
            else:
                result = [library(*tensors), *(tensors[index] for index in recorded["written"])]
        except Exception as error:
            return WRONG, f"the call {sizes}fails: {type(error).__name__}: {error}"
        expected = [unpacked(*packed) for packed in outputs]
        problem, difference = compare(result, expected, recorded["tolerance"], recorded["random"])
        if problem:
            return WRONG, sizes + problem
        greatest = max(greatest, difference)
    if recorded["random"]:
        return PASSES, "only sizes and types are compared: its values are not defined"
    return PASSES, f"error {greatest:.1e}"


def compare(result: Any, expected: Sequence[Any], tolerance: tuple[float, float], random: bool) -> tuple[str, float]:
    """What is wrong, if anything, and the greatest error in parts of the greatest value."""
    import torch
    from model_builds import leaves

    actual = [torch.as_tensor(leaf) for leaf in leaves(result)]
    if len(actual) != len(expected):
        return f"{len(actual)} outputs, expected {len(expected)}", 0
    greatest = 0.0
    for index, (got, want) in enumerate(zip(actual, expected)):
        if random:
            if (got.shape, got.dtype) != (want.shape, want.dtype):
                return f"output {index} is {got.dtype}{list(got.shape)}, eager's {want.dtype}{list(want.shape)}", 0
            continue
        exact = not (want.dtype.is_floating_point or want.dtype.is_complex)
        rtol, atol = (0.0, 0.0) if exact else tolerance
        try:
            torch.testing.assert_close(got, want, rtol=rtol, atol=atol, equal_nan=True, check_stride=False)
        except AssertionError as error:
            return f"output {index}: {error}", 0
        finite = want.isfinite()
        if not exact and bool(finite.any()):
            difference = (got - want)[finite].abs().max() / want[finite].abs().max().clamp(min=1e-30)
            greatest = max(greatest, float(difference))
    return "", greatest


def _positional(args: Iterable[Any]) -> list[Any]:
    """Positional inputs as libraries have them: parts of a list are inputs of their own, constants are none."""
    import torch

    result: list[Any] = []
    for arg in args:
        if isinstance(arg, tuple | list):
            result += _positional(arg)
        elif isinstance(arg, dict):
            result.append({key if isinstance(key, str) else f"_{key}": value for key, value in arg.items()})
        elif isinstance(arg, torch.Tensor):
            result.append(arg)
    return result


def _named(kwargs: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {name: value for name, value in kwargs.items() if isinstance(value, torch.Tensor | dict)}


# --- the sweep


GPU_RESULTS = ROOT / "benchmarks" / "results" / "h100-sweep.json"


def read_results(path: Path) -> list[Result]:
    """Results of a GPU that were checked in."""
    return [Result(**result) for result in json.loads(path.read_text())] if path.exists() else []


class Log:
    """The results so far: a JSON line for each sample, so that an interrupted sweep goes on where it stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Result]:
        if not self._path.exists():
            return {}
        results = (Result(**json.loads(line)) for line in self._path.read_text().splitlines())
        return {result.id: result for result in results}

    def add(self, sample: Any, outcome: tuple[str, str]) -> None:
        result = Result(sample.id, sample.kind, sample.name, sample.dtype, *outcome)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
        print(
            f"{result.outcome:24} {result.id}  {result.detail.strip().splitlines()[0] if result.detail else ''}"[:240]
        )
        sys.stdout.flush()


def batches(samples: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def aotinductor(sample: Any) -> tuple[str, str]:
    """The sample by AOTInductor's own pipeline and runtime: what RUNTIME torch has to pass too."""
    import tempfile

    import torch
    from model_builds import leaves
    from sweep_samples import NotASampleError

    warnings.simplefilter("ignore")
    try:
        with torch.no_grad():
            model = sample.make()
    except NotASampleError as error:
        return NONE, str(error)
    args, kwargs = tuple(model.example_inputs), dict(model.example_kwargs)
    module: Any = model.module.eval() if isinstance(model.module, torch.nn.Module) else model.module
    try:
        with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
            exported = torch.export.export(module, args, kwargs, dynamic_shapes=model.dynamic_shapes)
            package = torch._inductor.aoti_compile_and_package(exported, package_path=f"{folder}/model.pt2")
            result = torch._inductor.aoti_load_package(package)(*args, **kwargs)
            expected = leaves(module(*args, **kwargs))
        result, expected = ([_dense(leaf) for leaf in leaves(value)] for value in (result, expected))
    except Exception as error:
        return FAILED, f"{type(error).__name__}: {error}"
    problem, difference = compare(result, expected, (1e-4, 1e-5), "empty" in sample.name)
    return (WRONG, problem) if problem else (PASSES, f"error {difference:.1e}")


def _dense(leaf: Any) -> Any:
    """AOTInductor returns sparse tensors too."""
    import torch

    return leaf.to_dense() if isinstance(leaf, torch.Tensor) and leaf.layout != torch.strided else leaf


def log_path(folder: Path, runtime: str) -> Path:
    return folder / ("results.jsonl" if runtime == "standalone" else f"results-{runtime}.jsonl")


def sweep(samples: Sequence[Any], folder: Path, log: Log, arguments: argparse.Namespace) -> None:
    """Runs the samples, or builds them for a GPU; the log gets a result of each."""
    device, seconds = arguments.device, arguments.seconds
    _warm_up(device)
    if arguments.runtime == "aotinductor":
        for sample in samples:
            log.add(sample, in_child(functools.partial(aotinductor, sample), seconds))
        return
    for number, part in enumerate(batches(samples, arguments.batch)):
        name = f"batch{number}" if device == "cpu" else new_batch(folder)
        shutil.rmtree(folder / name, ignore_errors=True)
        generated = []
        for sample in part:
            target = folder / name / sample.id
            outcome = in_child(functools.partial(generate, sample, target, device, arguments.runtime), seconds)
            if outcome[0]:
                log.add(sample, outcome)
            else:
                generated.append(sample)
        ids = [sample.id for sample in generated]
        broken = compile_batch(folder, name, ids, arguments.jobs, device, arguments.runtime) if generated else {}
        for sample in generated:
            if sample.id in broken:
                log.add(sample, (COMPILER, broken[sample.id]))
            elif device == "cuda":
                log.add(sample, (BUILT, name))
            else:
                run_it = functools.partial(
                    call, sample.id, folder / "build", folder / name / sample.id,
                    sample.make if arguments.runtime == "torch" else None,
                )  # fmt: skip
                log.add(sample, in_child(run_it, seconds))


def new_batch(folder: Path) -> str:
    """A name that no batch has: of those for a GPU, all are kept."""
    for number in itertools.count():
        try:
            (folder / f"batch{number}").mkdir()
        except FileExistsError:
            continue
        return f"batch{number}"
    raise AssertionError


def _warm_up(device: str) -> None:
    """Loads and sets up TorchInductor once, so that forks need not. No parallel loop may have run before a fork."""
    import torch
    from sweep_samples import Sample

    from aotbuild import capture
    from aotbuild.model import Model

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sample = Sample("op", "warm_up", "float32", 0, lambda: Model(torch.nn.ReLU(), (torch.ones(2),)))
    captured = capture.capture(capture.Source(sample.make(), None, ()), (), sample.id)
    lower(captured, sample.id, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=("op", "module", "example", "architecture"))
    parser.add_argument("--dtype", action="append", help="element types of operators' and modules' samples")
    parser.add_argument("--only", nargs="+", help="entries of the databases by name")
    parser.add_argument("--samples", type=int, default=1, help="how many of each entry and element type")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--runtime", default="standalone", choices=RUNTIMES)
    parser.add_argument("--folder", type=Path, help="build/sweep, or build/sweep-cuda")
    parser.add_argument("--seconds", type=float, default=60, help="processor time for each stage of a sample")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--limit", type=int, help="stops after so many samples; the next run goes on")
    parser.add_argument("--part", default="1/1", help="I/N: the I-th of N parts of the samples, for several processes")
    parser.add_argument("--jobs", type=int, default=1, help="compilations at a time")
    parser.add_argument("--again", action="append", choices=OUTCOMES, help="runs samples with this outcome again")
    parser.add_argument("--report", type=Path, help="writes coverage.md and models.md to a folder, and runs nothing")
    arguments = parser.parse_args()
    default = ROOT / "build" / ("sweep" if arguments.device == "cpu" else "sweep-cuda")
    folder: Path = (arguments.folder or default).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.report:
        import sweep_report

        standalone, on_torch, upstream = (list(Log(log_path(folder, runtime)).read().values()) for runtime in RUNTIMES)
        page = arguments.report / "coverage.md"
        sections = sweep_report.parts(page.read_text())
        if standalone:
            sections[0] = sweep_report.coverage(standalone, read_results(GPU_RESULTS))
            (arguments.report / "models.md").write_text(sweep_report.models(standalone))
        if on_torch:
            sections[1] = sweep_report.on_torch(on_torch, upstream)
        page.write_text("".join(sections))
        return
    from sweep_samples import all_samples

    kinds = tuple(arguments.kind or ("op", "module", "example", "architecture"))
    samples = list(all_samples(kinds, tuple(arguments.dtype or ("float32",)), arguments.samples))
    if arguments.only:
        samples = [sample for sample in samples if sample.name in arguments.only]
    path = log_path(folder, arguments.runtime)
    if arguments.again:
        kept = [result for result in Log(path).read().values() if result.outcome not in arguments.again]
        path.write_text("".join(json.dumps(asdict(result)) + "\n" for result in kept))
    start = time.monotonic()
    log = Log(path)
    done = log.read()
    part, parts = map(int, arguments.part.split("/"))
    samples = [sample for sample in samples[part - 1 :: parts] if sample.id not in done][: arguments.limit]
    sweep(samples, folder, log, arguments)
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
