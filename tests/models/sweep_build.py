"""Batches of groups: compiled as one library with the flags that CMake has for models, and called in one process."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from sweep_calls import BuiltModel, compare_leaves
from sweep_groups import Case, Group, Recorded, in_float64
from sweep_outcomes import CRASHED, FAILED, PASSES, SLOW, WRONG

ROOT = Path(__file__).parents[2]

_CMAKE = """\
cmake_minimum_required(VERSION 3.24)
project(sweep LANGUAGES CXX)
find_package(aotbuild REQUIRED)
_aotbuild_python()
_aotbuild_runtime(SHARED runtime)
_aotbuild_set_kernel_properties(-march=x86-64-v3 debug kernels.cpp)
set_source_files_properties(model.cpp PROPERTIES COMPILE_OPTIONS -O0)
add_library(batch SHARED kernels.cpp model.cpp)
target_link_libraries(batch PRIVATE ${runtime} aotbuild::openmp aotbuild::sleef)
set_target_properties(batch PROPERTIES POSITION_INDEPENDENT_CODE ON)
"""


class Built(Protocol):
    """Generated sources: ``folder`` holds those of ``target``."""

    @property
    def target(self) -> str: ...

    @property
    def folder(self) -> Path: ...


@dataclass(frozen=True)
class Sources:
    """Generated sources in ``folder``, which has the name of the target."""

    folder: Path

    @property
    def target(self) -> str:
        return self.folder.name


class Builder:
    """Compiles batches with the commands of one CMake project, which is configured once and holds the runtime."""

    def __init__(self, folder: Path, optimisation: str = "-O1") -> None:
        self._folder = folder
        self._build = folder / "build"
        source = folder / "source"
        source.mkdir(parents=True, exist_ok=True)
        (source / "CMakeLists.txt").write_text(_CMAKE)
        for stem in ("kernels", "model"):
            (source / f"{stem}.cpp").write_text("")
        launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        _run(
            "cmake", "-S", source, "-B", self._build, "-G", "Ninja", f"-DCMAKE_CXX_FLAGS={optimisation}",
            "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", f"-Daotbuild_DIR={ROOT / 'cmake'}",
            f"-DAOTBUILD_PYTHON={sys.executable}", *launcher,
        )  # fmt: skip
        _run("cmake", "--build", self._build)
        commands = json.loads((self._build / "compile_commands.json").read_text())
        self._compile = {Path(command["file"]).stem: shlex.split(command["command"]) for command in commands}
        link = _run("ninja", "-C", self._build, "-t", "commands", "libbatch.so").strip().splitlines()[-1]
        self._link = [word for word in shlex.split(link) if word not in (":", "&&")]
        self.runtime = hashlib.sha256((self._build / "libaotbuild_runtime_shared.so").read_bytes()).hexdigest()

    def build(self, groups: Sequence[Built], name: str) -> tuple[Path, dict[str, str]]:
        """The library of a batch. The targets that do not compile are left out and returned, each with the error."""
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        broken: dict[str, str] = {}
        remaining = list(groups)
        while remaining:
            try:
                return self._library(remaining, folder), broken
            except RuntimeError as error:
                found = re.search(r"(\w+)/src/\w+\.[ch]pp:\d+:\d+: (?:fatal )?error: .*", str(error))
                text = found[0] if found else str(error)[-1500:]
                culprits = [group for group in remaining if found and group.target == found[1]] or remaining
                broken |= {group.target: text for group in culprits}
                remaining = [group for group in remaining if group.target not in broken]
        return folder, broken

    def _library(self, groups: Sequence[Built], folder: Path) -> Path:
        objects = []
        for stem in ("kernels", "run"):
            files = [
                file for group in groups for file in sorted((group.folder / "src").glob(f"{group.target}_{stem}_*.cpp"))
            ]
            source = folder / f"{stem}.cpp"
            source.write_text("".join(f'#include "{file}"\n' for file in files))
            objects.append(self._object("kernels", source))
        models = folder / "models.cpp"
        models.write_text("".join(_with_own_names(group, index) for index, group in enumerate(groups)))
        objects.append(self._object("model", models, groups))
        weights = folder / "weights.cpp"
        has_weights = [group for group in groups if (group.folder / f"{group.target}.weights.bin").stat().st_size]
        weights.write_text(
            "".join(f'#include "{group.folder}/src/{group.target}_weights.cpp"\n' for group in has_weights)
        )
        objects.append(self._object("model", weights, has_weights))
        library = folder / "libbatch.so"
        own = [word for word in self._link if word.endswith(".cpp.o") and "batch.dir" in word]
        words: list[str | Path] = [word for word in self._link if word not in own[1:]]
        at = words.index(own[0])
        words[at : at + 1] = objects
        words[words.index("libbatch.so")] = library
        _run(*words, cwd=self._build)
        return library

    def _object(self, stem: str, source: Path, groups: Sequence[Built] = ()) -> Path:
        command = list(self._compile[stem])
        result = source.with_suffix(".o")
        command[command.index("-o") + 1] = str(result)
        command[command.index("-c") + 1] = str(source)
        for option in ("-MD", "-MT", "-MF"):
            if option in command:
                at = command.index(option)
                del command[at : at + (1 if option == "-MD" else 2)]
        for group in groups:
            command += [f"-I{group.folder / 'include'}", "-Xassembler", f"-I{group.folder}"]
        _run(*command, cwd=self._build)
        return result


def _with_own_names(group: Built, index: int) -> str:
    """A model's source with the names of its anonymous namespace changed, so that many fit in one file."""
    text = (group.folder / "src" / f"{group.target}.cpp").read_text()
    return re.sub(r"(?<![:.\w])(k[A-Z]\w*|supports_\w+|broken_condition)\b", rf"\1_{index}", text)


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


# --- one process for some groups


def in_child(action: Callable[[], Iterator[Any]], seconds: float) -> tuple[list[Any], tuple[str, str]]:
    """What ``action`` yields in a fork that ends after ``seconds`` of processor time, or ten times as long.

    Also its outcome where it does not come to its end.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        quiet = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2) if not os.environ.get("SWEEP_VERBOSE") else ():
            os.dup2(quiet, stream)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(int(10 * seconds) + 1)
        status = 0
        try:
            for value in action():
                os.write(write, json.dumps(value).encode() + b"\n")
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"[:4000]
            os.write(write, json.dumps({"error": text}).encode() + b"\n")
            status = 1
        os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        values = [json.loads(line) for line in pipe.read().splitlines()]
    _, status = os.waitpid(child, 0)
    if values and isinstance(values[-1], dict):
        return values[:-1], (FAILED, values[-1]["error"])
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number in (signal.SIGPROF, signal.SIGALRM):
        return values, (SLOW, f"more than {seconds:.0f} s")
    if number:
        return values, (CRASHED, signal.Signals(number).name)
    return values, ("", "")


def call_groups(library: Path, groups: Sequence[Group]) -> Iterator[list[Any]]:
    """Calls every group. Yields ``[target]`` before each, then also a list of ``[sample's id, outcome, detail]``."""
    torch.set_grad_enabled(False)
    loaded = ctypes.CDLL(str(library))
    for group in groups:
        yield [group.target]
        with (group.folder / "recorded.pickle").open("rb") as file:
            recorded: Recorded = pickle.load(file)
        try:
            model = BuiltModel(loaded, group.target)
            results = [model(case.inputs, len(case.outputs)) for case in recorded.cases]
        except RuntimeError as error:
            yield [group.target, [[sample.id, WRONG, f"the call fails: {error}"] for sample in group.samples]]
            continue
        yield [group.target, list(_judged(group, recorded, results))]


def _judged(group: Group, recorded: Recorded, results: Sequence[Sequence[torch.Tensor]]) -> Iterator[list[str]]:
    begin = 0
    for sample, count, random in zip(group.samples, recorded.counts, recorded.random):
        part = slice(begin, begin + count)
        begin += count
        greatest, wrong = 0.0, ""
        for number, (case, actual) in enumerate(zip(recorded.cases, results)):
            reference = functools.partial(in_float64, sample) if number == 0 and sample.call else None
            problem, error = _compare(case, actual, part, random, reference)
            for index, tensor in case.written.items():
                problem = problem or compare_leaves([case.inputs[index]], [tensor], random)[0]
            wrong = wrong or problem
            greatest = max(greatest, error)
        if wrong:
            yield [sample.id, WRONG, wrong]
        elif random:
            yield [sample.id, PASSES, "only sizes and types are compared: its values are not defined"]
        else:
            yield [sample.id, PASSES, f"error {greatest:.1e}"]


def _compare(
    case: Case, actual: Sequence[torch.Tensor], part: slice, random: bool, reference: Callable[[], Any] | None
) -> tuple[str, float]:
    problem, error = compare_leaves(actual[part], case.outputs[part], random, reference)
    return (f"with inputs {case.sizes}: {problem}" if problem and case.sizes else problem), error
