"""Samples as models of their own that CMake builds: for a GPU, with RUNTIME torch, and by AOTInductor itself."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweep_build import in_child
from sweep_calls import compare_leaves
from sweep_groups import in_float64
from sweep_outcomes import BUILT, COMPILER, EXPORT, FAILED, NONE, PASSES, REFUSED, WRONG
from sweep_samples import Sample

ROOT = Path(__file__).parents[2]


def generate(sample: Any, folder: Path, device: str, runtime: str) -> tuple[str, str]:
    """Writes the sources of one sample, and its call with eager's result, to ``folder``. The outcome "" is success."""
    import torch

    from aotbuild import capture, emit
    from aotbuild.spec.errors import AotbuildError
    from aotbuild.spec.program import EmitOptions

    warnings.simplefilter("ignore")
    try:
        with torch.no_grad():
            model = sample.make()
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
        "reference": _reference(sample),
        "random": "empty" in sample.name or _is_random(model, captured.golden[0].outputs),
        "stateful": any(weight.mutated for weight in compiled.weights),
    }
    (folder / "calls.pickle").write_bytes(pickle.dumps(calls))
    return "", ""


def _reference(sample: Sample) -> list[tuple[str, tuple[int, ...], bytes]] | None:
    """The results in float64, where there are such."""
    from aotbuild.capture import tensor_data

    try:
        return [_packed(tensor_data(leaf)) for leaf in in_float64(sample)] if sample.call else None
    except Exception:
        return None


def lower(captured: Any, target: str, device: str, runtime: str = "standalone") -> Any:
    """The compiled model; a GPU's kernels are compiled in this process, which is one of many anyway."""
    from aotbuild.generate.compiled import LAYERS, on_device
    from aotbuild.lower.cpu import lowering
    from aotbuild.lower.cuda.compile import lowering as cuda
    from aotbuild.spec.program import CompiledModel, Method
    from aotbuild.spec.target import cpu_isa

    if device == "cuda":
        on_gpu = cuda.lower_cuda(captured, ["90"], target=target, processes=0)
        signature = on_device(captured.signature, device)
        return CompiledModel((Method("run", signature, on_gpu.variants),), on_gpu.weights)
    lowered = lowering.lower(captured, [cpu_isa("x86-64-v3")], target=target, shard_count=1, runtime=runtime)
    return CompiledModel(
        (Method("run", captured.signature, lowered.variants),),
        lowered.weights,
        **{layers: getattr(lowered, layers) for layers in LAYERS},
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
  _aotbuild_set_kernel_properties(-march=x86-64-v3 debug "${sources}")
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
        problem, difference = compare(result, recorded, outputs, number == 0)
        if problem:
            return WRONG, sizes + problem
        greatest = max(greatest, difference)
    if recorded["random"]:
        return PASSES, "only sizes and types are compared: its values are not defined"
    return PASSES, f"error {greatest:.1e}"


def compare(result: Any, recorded: dict[str, Any], outputs: Sequence[Any], is_example: bool) -> tuple[str, float]:
    """What is wrong with the results of one case, if anything, and the greatest error; see ``compare_leaves``."""
    import torch
    from model_builds import leaves

    packed = recorded["reference"]
    reference = (lambda: [unpacked(*part) for part in packed]) if is_example and packed else None
    actual = [torch.as_tensor(leaf) for leaf in leaves(result)]
    return compare_leaves(actual, [unpacked(*part) for part in outputs], recorded["random"], reference)


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


def aotinductor(sample: Any) -> tuple[str, str]:
    """The sample by AOTInductor's own pipeline and runtime: what RUNTIME torch has to pass too."""
    import tempfile

    import torch
    from model_builds import leaves

    warnings.simplefilter("ignore")
    with torch.no_grad():
        model = sample.make()
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
    problem, difference = compare_leaves(result, expected, "empty" in sample.name)
    return (WRONG, problem) if problem else (PASSES, f"error {difference:.1e}")


def _dense(leaf: Any) -> Any:
    """AOTInductor returns sparse tensors too."""
    import torch

    return leaf.to_dense() if isinstance(leaf, torch.Tensor) and leaf.layout != torch.strided else leaf


def new_batch(folder: Path) -> str:
    """A name that no batch has: of those for a GPU, all are kept."""
    for number in itertools.count():
        try:
            (folder / f"batch{number}").mkdir()
        except FileExistsError:
            continue
        return f"batch{number}"
    raise AssertionError


def outcomes(samples: Sequence[Sample], folder: Path, arguments: Any) -> Iterator[tuple[Sample, tuple[str, str]]]:
    """What becomes of each sample of one batch."""
    device, runtime, seconds = arguments.device, arguments.runtime, arguments.seconds

    def child(action: Callable[[], tuple[str, str]]) -> tuple[str, str]:
        values, problem = in_child(lambda: iter([action()]), seconds)
        outcome, detail = values[0] if values and not problem[0] else problem
        return outcome, detail

    if runtime == "aotinductor":
        for sample in samples:
            yield sample, child(functools.partial(aotinductor, sample))
        return
    name = "batch0" if device == "cpu" else new_batch(folder)
    if device == "cpu":
        shutil.rmtree(folder / name, ignore_errors=True)
    generated = []
    for sample in samples:
        outcome = child(functools.partial(generate, sample, folder / name / sample.id, device, runtime))
        if outcome[0]:
            yield sample, outcome
        else:
            generated.append(sample)
    ids = [sample.id for sample in generated]
    broken = compile_batch(folder, name, ids, arguments.jobs, device, runtime) if generated else {}
    for sample in generated:
        if sample.id in broken:
            yield sample, (COMPILER, broken[sample.id])
        elif device == "cuda":
            yield sample, (BUILT, name)
        else:
            prepare = sample.make if runtime == "torch" else None
            yield (
                sample,
                child(functools.partial(call, sample.id, folder / "build", folder / name / sample.id, prepare)),
            )
