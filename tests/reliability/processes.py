"""Failures on purpose, long runs, many threads, and what a binary is made of: over built models of the zoo."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trial import FOLDER, HERE, ROOT, Outcome, Trial, command, counts_of, programs, require

sys.path.insert(0, str(ROOT / "tests" / "models"))

# Attention, packed layers, convolutions, recurrent layers, several variants.
MODELS = ("transformer", "conv2d", "masked_attention", "related_sizes", "recurrent", "causal_attention")
_CALLS = 10_000_000
_SECONDS = 3600
_PART_SECONDS = 270
_GPU_MODELS = ("mlp", "small_bert")
_GPU_SECONDS = 1800
_GPU_PART_SECONDS = 450
_TIMES = 1000
_CAPSULES = 1_000_000


def lists(models: tuple[str, ...] = MODELS) -> str:
    """The programs of this folder, for the CMakeLists.txt of a project with the models."""
    calls = (f"aotbuild_reliability_program({name} {' '.join(models)})\n" for name in ("faults", "soak", "mixes"))
    return f'include("{HERE}/programs.cmake")\n' + "".join(calls)


@functools.cache
def build(kind: str) -> Path:
    """A build tree of the models and programs; ``kind``: release, asan or tsan."""
    from model_builds import Target, build_targets

    flags = {
        "asan": "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer",
        "tsan": "-fsanitize=thread -fno-omit-frame-pointer",
    }
    # The kernels of a debug preset are compiled with -O1, which instruments in a quarter of the time.
    preset = "default" if kind == "release" else "debug"
    targets = [Target(name, name, kind="STATIC", weights="FILE", preset=preset) for name in MODELS]
    shared = [Target(f"{name}_shared", name) for name in MODELS[:3]] if kind == "release" else []
    reopen = (
        f'add_executable(reopen "{HERE}/reopen.cpp")\ntarget_include_directories(reopen PRIVATE "{ROOT}/cpp/include")\n'
    )
    return build_targets(
        FOLDER / kind,
        [*targets, *shared],
        lists() + (reopen + "target_link_libraries(reopen PRIVATE ${CMAKE_DL_LIBS})\n" if shared else ""),
        "-DAOTBUILD_EIGEN=OFF",
        *([f"-DCMAKE_CXX_FLAGS={flags[kind]}"] if kind in flags else []),
    )


def weights_of(folder: Path, model: str) -> Path:
    return next((folder / f"{model}.aotbuild").rglob("*.safetensors"), folder / f"{model}.safetensors")


def _run_faults(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    folder = build("asan")
    outcome.counts.clear()
    for model in MODELS:
        outcome.add(counts_of(command(folder / "faults", model, weights_of(folder, model))))


def _run_driver(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    folder = FOLDER / "driver"
    command("cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DAOTBUILD_EIGEN=OFF",
            f"-DAOTBUILD_PYTHON={sys.executable}")  # fmt: skip
    command("cmake", "--build", folder, "--target", "aotbuild_cuda_tests")
    said = command(folder / "tests" / "cpp" / "aotbuild_cuda_tests", "--gtest_filter=*May*Fail*:*MayFail*")
    for what in ("calls of the driver", "calls of cuBLASLt", "calls of NCCL"):
        found = re.search(rf"^{what} that failed: (\d+)", said, re.MULTILINE)
        outcome.counts[what] = int(found[1]) if found else 0
        require(outcome.counts[what] > 5, f"the stand-in's test says how many {what} failed")


def _require_flat(counts: Mapping[str, int]) -> None:
    require(counts["late KiB"] <= 1.01 * counts["early KiB"] + 64, f"memory is flat: {counts}")
    for held in ("files", "mappings"):
        require(counts[f"late {held}"] <= counts[f"early {held}"], f"{held} are constant: {counts}")


def _run_soak(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    folder = build("release")
    model = "causal_attention"
    counts = counts_of(command(folder / "soak", model, weights_of(folder, model), str(int(_CALLS * scale))))
    _require_flat(counts)
    outcome.counts = counts


def has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()


def _run_gpu_soak(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    """In parts of a process for each model: memory, the device's too, is flat from their second tenth to their last."""
    folder = programs() or FOLDER / "gpu"
    if programs() is None:
        command("cmake", "-S", ROOT / "tests" / "gpu", "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                f"-Daotbuild_DIR={ROOT / 'cmake'}", f"-DAOTBUILD_PYTHON={sys.executable}", "-DAOTBUILD_EIGEN=OFF",
                f"-DGPU_MODELS={';'.join(_GPU_MODELS)}")  # fmt: skip
        command("cmake", "--build", folder)
    while (missing := int(_GPU_SECONDS * scale) - outcome.counts.get("seconds", 0)) > 0:
        part = min(missing, _GPU_PART_SECONDS)
        with ThreadPoolExecutor() as pool:
            counted = list(pool.map(functools.partial(_gpu_soak, folder, part), _GPU_MODELS))
        for model, counts in zip(_GPU_MODELS, counted):
            outcome.add({name: count for name, count in counts.items() if not name.startswith(("early", "late"))})
            kept = {name: count for name, count in counts.items() if name.endswith("device KiB")}
            outcome.counts |= {f"{name}, {model}": count for name, count in kept.items()}
        outcome.add({"seconds": part})
        keep()


def _gpu_soak(folder: Path, seconds: int, model: str) -> dict[str, int]:
    program, weights = next(folder.rglob("gpu_soak")), next(folder.rglob(f"{model}.safetensors"))
    said = command(program, f"gpu_{model}", weights, f"{seconds}s")
    print(said.rpartition("\n{")[0], end="", flush=True)  # the mappings, where there are more
    counts = counts_of(said)
    _require_flat(counts)
    require(counts["late device KiB"] <= 1.01 * counts["early device KiB"], f"the device's is flat: {counts}")
    return counts


def _mix(folder: Path, kind: str, seconds: int, seed: int) -> str:
    model = MODELS[seed % 2]
    forks = ["nofork"] if kind == "tsan" else []
    return command(folder / "mixes", model, weights_of(folder, model), str(seconds), str(seed), *forks)


def _run_mixes(kind: str) -> Callable[[Outcome, float, Callable[[], None]], None]:
    def run(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
        folder = (programs() if kind == "tsan" else None) or build(kind)
        wanted = max(1, int(_SECONDS * scale * (1 if kind == "tsan" else 0.1)))
        at_once = max(1, (os.cpu_count() or 1) // 4)  # six threads each
        with ThreadPoolExecutor(at_once) as pool:
            while (missing := wanted - outcome.counts.get("seconds", 0)) > 0:
                part = min(missing, _PART_SECONDS)
                runs = range(outcome.counts.get("runs", 0), outcome.counts.get("runs", 0) + at_once)
                for said in list(pool.map(functools.partial(_mix, folder, kind, part), runs)):
                    outcome.add({**counts_of(said), "seconds": part, "runs": 1})
                keep()

    return run


def _reopen(program: Path, times: int, *libraries: Path) -> tuple[dict[str, int], list[int]]:
    """Counts, and the checksums of the libraries' outputs."""
    counts = counts_of(command(program, str(times), *libraries))
    sums = [counts.pop(f"checksum {number}") for number in range(len(libraries))]
    require(counts["late KiB"] <= 1.01 * counts["early KiB"] + 256, f"memory is flat: {counts}")
    return counts, sums


def _run_reopen(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    folder = build("release")
    libraries = [folder / f"lib{name}_shared.so" for name in MODELS[:3]]
    times = max(10, int(_TIMES * scale))
    counts, sums = _reopen(folder / "reopen", times, *libraries)
    require(counts["unloaded"] >= times, f"a library without attention is gone when it is closed: {counts}")
    for library, among_others in zip(libraries, sums):
        require(_reopen(folder / "reopen", 2, library)[1] == [among_others], f"{library.name} alone computes the same")
    outcome.counts = counts


def _run_versions(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    """The libraries have every symbol in common, and the models differ in weights and sizes."""
    library = "libtransformer_shared.so"
    versions = [build("release") / library, _second_version() / library]
    times = max(10, int(_TIMES * scale))
    counts, sums = _reopen(build("release") / "reopen", times, *versions)
    require(sums[0] != sums[1], "two versions compute two things")
    for version, among_others in zip(versions, sums):
        require(_reopen(build("release") / "reopen", 2, version)[1] == [among_others], "each computes what is its own")
    outcome.counts = counts


def _second_version() -> Path:
    from model_builds import Target, build_targets

    return build_targets(FOLDER / "version", [Target("transformer_shared", "conv2d")], "", "-DAOTBUILD_EIGEN=OFF")


def _run_openmp(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    folder = build("release")
    program = FOLDER / "reopen-libomp"
    options = ("-std=c++17", "-O1", "-fopenmp=libomp", f"-I{ROOT}/cpp/include")
    command("clang++", *options, HERE / "reopen.cpp", "-o", program, "-ldl")
    libraries = [folder / f"lib{name}_shared.so" for name in MODELS[:3]]
    require("libomp" in command("ldd", program), "the program has LLVM's OpenMP")
    require(all("libgomp" in command("ldd", library) for library in libraries), "the models have GCC's OpenMP")
    times = max(10, int(_TIMES * scale))
    counts, sums = _reopen(program, times, *libraries)
    for library, beside_another in zip(libraries, sums):
        require(_reopen(folder / "reopen", 2, library)[1] == [beside_another], f"{library.name} computes the same")
    outcome.counts = counts


def _run_dlpack(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    library = build("release") / "libtransformer_shared.so"
    wanted = int(_CAPSULES * scale)
    while (missing := wanted - outcome.counts.get("calls", 0)) > 0:
        part = min(missing, 100_000)
        seed = str(outcome.counts.get("calls", 0))
        counts = counts_of(command(sys.executable, HERE / "dlpack.py", library, str(part), seed))
        require(min(counts.values()) > part / 20, f"calls of both kinds: {counts}")
        outcome.add({"calls": part, **counts})
        keep()


def hardening(library: Path) -> dict[str, bool]:
    """What a shared library or a program has, read off it."""
    said = command("readelf", "-W", "-l", "-d", "-r", "--dyn-syms", library)
    own = set(re.findall(r" FUNC +(?:GLOBAL|WEAK) +DEFAULT +\d+ ([^\s@]+)", said))
    looked_up = set(re.findall(r" R_\w+ +[0-9a-f]+ ([^\s@]+)\S* \+ ", said))  # without versions
    stack = re.search(r"GNU_STACK(\s+0x\w+){5}\s+(\w+)", said)
    segments = re.findall(r"^\s+LOAD(?:\s+0x\w+){5}\s+(R?\s?W?\s?E?)\s+0x", said, re.MULTILINE)
    paths = [path for listed in re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", said) for path in listed.split(":")]
    return {
        "read-only relocations": "GNU_RELRO" in said,
        "bound when it is loaded": "BIND_NOW" in said,
        "no executable stack": stack is not None and "E" not in stack[2],
        "no segment that is writable and executable": bool(segments)
        and not any("W" in flags and "E" in flags for flags in segments),
        "its own functions": not own & looked_up,
        "libraries beside it alone": all(
            part.startswith("$ORIGIN") for path in paths for part in path.split(":") if part
        ),
    }


def installed_package() -> Path:
    """Where the installed package has its machine code."""
    runner = importlib.util.find_spec("aotbuild._runner")
    assert runner is not None
    assert runner.origin is not None
    return Path(runner.origin).parent


def package_hardening(package: Path) -> dict[str, bool]:
    """The same of the Python package's own machine code, and what its compiler put in."""
    (runner,) = package.glob("_runner*.so")
    objects = [*(package / "runtime" / "shared").glob("*.o")]
    symbols = [command("readelf", "-W", "--syms", file) for file in (runner, *objects)]
    notes = [command("readelf", "-W", "-n", file) for file in objects]
    return {
        **hardening(runner),
        "guarded stacks": any("__stack_chk_fail" in text for text in symbols),
        "fortified calls": any(re.search(r"__\w+_chk\b", text) for text in symbols),
        "control-flow protection": all("IBT" in text and "SHSTK" in text for text in notes),
    }


def _run_hardening(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    folder = build("release")
    libraries = sorted(folder.glob("lib*_shared.so"))
    found = {library.name: hardening(library) for library in libraries}
    found["the Python package"] = package_hardening(installed_package())
    for name, facts in found.items():
        require(all(facts.values()), f"{name}: {facts}")
    outcome.counts = {"libraries": len(found), "properties": sum(map(len, found.values()))}


def trials() -> Iterator[Trial]:
    yield Trial(
        "dlpack",
        "Fuzzing",
        "capsules of DLPack from Python with any fields, before memory that may not be read (not guided by coverage)",
        _run_dlpack,
    )
    yield Trial(
        "faults",
        "Failures on purpose",
        "every allocation and every system call in the life of a model on the CPU, once each, under the address "
        "sanitizer; after each the model goes on or is whole, and no block, mapping or file is left",
        _run_faults,
    )
    yield Trial(
        "driver",
        "Failures on purpose",
        "every call of NVIDIA's driver, cuBLASLt and NCCL in the life of a model, once each, over stand-ins for them",
        _run_driver,
    )
    yield Trial("soak", "Long runs", "calls with changing sizes, sessions, exchanges of weights, threads", _run_soak)
    yield Trial(
        "soak:gpu",
        "Long runs",
        "the same on a GPU, of two models at a time in two processes; the device's memory in use is compared as well",
        _run_gpu_soak,
        has_gpu,
    )
    yield Trial(
        "mixes",
        "Threads",
        "all calls in random mixes from six threads, interrupted by signals every 2 ms, and forks afterwards",
        _run_mixes("release"),
    )
    yield Trial("mixes:tsan", "Threads", "the same under the thread sanitizer", _run_mixes("tsan"))
    yield Trial(
        "reopen", "Threads", "three shared models that are opened, called and closed in one process", _run_reopen
    )
    yield Trial(
        "versions",
        "Threads",
        "two libraries of one name and the same symbols with different models, opened and closed in one process",
        _run_versions,
    )
    yield Trial(
        "openmp",
        "Threads",
        "models with GCC's OpenMP in a program with threads of LLVM's, opened, called and closed",
        _run_openmp,
    )
    yield Trial(
        "hardening",
        "Hardening",
        "what is read off shared models, the shared runtime and the Python package: relocations, stack, segments, "
        "paths; of the package also fortified calls, guarded stacks, control-flow protection",
        _run_hardening,
    )
