"""Coverage-guided fuzzing: libFuzzer over the C++ targets, Atheris over the Python ones, and planted faults."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trial import FOLDER, HERE, ROOT, Outcome, ReportError, Trial, command, programs, python, require

CPP_TARGETS = {
    "weights": "weights files, for `create` and `load_weights`",
    "options": "options of `create`, and tensors by name, for `create` and `set_weights`",
    "tensors": "tensors of the C ABI: types, ranks, sizes, strides, offsets, null and misaligned memory, counts",
    "golden": "golden files of generated tests",
    "bundle": "tuning bundles and results, as `aotbuild-tune` reads them",
}
PYTHON_TARGETS = {
    "tuning_database": "tuning databases",
    "tuning_results": "results of `aotbuild-tune`, as the generator reads them",
    "manifest": "any file, as `aotbuild inspect` reads it",
    "cache_entry": "entries of a shared compile cache, damaged ones and others under a right checksum",
    "plan": "the words of calls in CMake",
}
EXECUTIONS = 1_000_000
_PART = 100_000
_FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
_LIMITS = ("-timeout=20", "-rss_limit_mb=3000", "-print_final_stats=1")
_LONGEST = {"plan": 300}  # a call's words are compared with all keywords, letter by letter


def build(folder: Path, tests: Path, *targets: str) -> Path:
    """The C++ targets with libFuzzer, by Clang. ``tests``: this folder, or that of a copy of the repository."""
    clang = shutil.which("clang++") or ""
    require(bool(clang), "clang++ is not installed; run tools/reliability_tools.sh")
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    interpreter = python() if tests == HERE else _interpreter_of(tests.parents[1])
    command(
        "cmake", "-S", tests, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        "-DCMAKE_C_COMPILER=clang", f"-DCMAKE_CXX_COMPILER={clang}", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1",
        f"-DCMAKE_CXX_FLAGS={_FLAGS}", "-DAOTBUILD_FUZZER=ON", f"-DAOTBUILD_PYTHON={interpreter}", *launcher,
    )  # fmt: skip
    # Of a copy, ccache has what is as in the repository itself: the build folder lies as deep.
    command(
        "cmake",
        "--build",
        folder,
        "--target",
        *(f"fuzz_{target}" for target in targets),
        CCACHE_NOHASHDIR="1",
        CCACHE_BASEDIR=str(tests.parents[1]),
    )
    return folder


def _interpreter_of(copy: Path) -> Path:
    """A Python that imports the package of a copy, which its CMake code wants, and not the one that is installed."""
    script = copy / "bin" / "python"
    script.parent.mkdir()
    path = f"{copy / 'python'}:{sysconfig.get_path('purelib')}"
    script.write_text(
        f'#!/bin/sh\nPYTHONPATH="{path}" exec "{python()}" -S "$@"\n'
    )  # -S: without what editable installs add
    script.chmod(0o755)
    return script


def _program(target: str) -> list[str | Path]:
    if target in PYTHON_TARGETS:
        return [python(), HERE / "fuzz" / "python_targets.py", target, "--"]
    folder = programs() or build(FOLDER / "fuzz", HERE, *CPP_TARGETS)
    return [folder / f"fuzz_{target}"]


def _fuzz(program: list[str | Path], target: str, corpus: Path, executions: int) -> int:
    """Runs a target; how often it was executed.

    Raises:
        ReportError: the input that breaks a promise is kept, and its path is in the text.
    """
    corpus.mkdir(parents=True, exist_ok=True)
    found = FOLDER / "found"
    found.mkdir(parents=True, exist_ok=True)
    # Files that a target writes lie in memory.
    said = command(
        *program,
        f"-runs={executions}",
        f"-max_len={_LONGEST.get(target, 4096)}",
        *_LIMITS,
        f"-artifact_prefix={found}/{target}-",
        corpus,
        HERE / "corpus" / target,
        ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1:quarantine_size_mb=16",
        LLVM_PROFILE_FILE="/dev/null",
    )
    require("no interesting inputs" not in said, f"fuzz:{target} is instrumented")
    stated = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    require(stated is not None, f"fuzz:{target} says how often it was executed")
    return int(stated[1]) if stated else 0


def _kept(target: str) -> set[tuple[Path, int]]:
    """The inputs that have broken a promise of a target, with their times."""
    return {(path, path.stat().st_mtime_ns) for path in (FOLDER / "found").glob(f"{target}-*")}


def _run(target: str) -> Callable[[Outcome, float, Callable[[], None]], None]:
    def run(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
        wanted = int(EXECUTIONS * scale)
        program = _program(target)
        corpus = FOLDER / "corpus" / target
        at_once = int(os.environ.get("AOTBUILD_RELIABILITY_JOBS", "1"))
        with ThreadPoolExecutor(at_once) as pool:
            while (missing := wanted - outcome.counts.get("executions", 0)) > 0:
                # At its beginning a run executes the corpus, which counts as well. Runs at a time share what they find.
                part = min(-(-missing // at_once), _PART // at_once)
                for executions in pool.map(lambda _, part=part: _fuzz(program, target, corpus, part), range(at_once)):
                    outcome.add({"executions": executions})
                outcome.counts["inputs kept for what they reach"] = len(list(corpus.iterdir()))
                keep()

    return run


@dataclass(frozen=True)
class Planted:
    """A fault: ``old`` of a file becomes ``new``, and the target has to find it."""

    target: str
    file: str
    old: str
    new: str


PLANTED = (
    # A header that is longer than its file is read.
    Planted(
        "weights", "cpp/src/weights/safetensors.cpp", "if (length > size_ - 8) bad(", "if (length > size_ + 8) bad("
    ),
    # Offsets that are one number.
    Planted("weights", "cpp/src/weights/safetensors.cpp", "offsets.size() != 2 ||", "offsets.empty() ||"),
    # A weight without a name; strides that go backwards.
    Planted(
        "options",
        "cpp/src/weights/candidates.cpp",
        'if (name == nullptr) bad("weight tensor ", i, " has no name");',
        "",
    ),
    Planted("options", "cpp/src/tensor/tensor.cpp", "sizes[d] >= 0 && strides[d] >= 0", "sizes[d] >= 0"),
    # Sizes beyond the model's range, and addresses that no element can have.
    Planted("tensors", "cpp/src/tensor/signature.cpp", "if (size < dim.min || size > dim.max)", "if (size < dim.min)"),
    Planted("tensors", "cpp/src/tensor/signature.cpp", "& alignment_mask_) != 0", "& alignment_mask_) > 3"),
    Planted("golden", "cpp/testing/golden.cpp", "(offsets[1]) > size_", "(offsets[1]) > size_ + 16"),
    Planted(
        "bundle",
        "cpp/tools/tune/bundle.cpp",
        "range.size > file.size() - range.offset",
        "range.size > file.size() + 64 - range.offset",
    ),
    Planted("tuning_database", "python/aotbuild/tuning/database.py", "if len(fields) != 6 or", "if len(fields) < 5 or"),
    Planted("tuning_results", "python/aotbuild/tuning/merge.py", "except (KeyError, TypeError):", "except KeyError:"),
    Planted(
        "manifest",
        "python/aotbuild/commands/inspect/read.py",
        "except (AttributeError, KeyError, TypeError, ValueError, RecursionError):",
        "except (AttributeError, KeyError, ValueError, RecursionError):",
    ),
    Planted("cache_entry", "python/aotbuild/cache/results.py", "(ValueError, LookupError,", "(ValueError,"),
    Planted("plan", "python/aotbuild/spec/checks.py", 'if not call.many("QUANTIZE"):', 'if not call.has("QUANTIZE"):'),
)


def _run_planted(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    """Each in a copy of the repository, of its own because one fault must not hide another."""
    for number in range(outcome.counts.get("planted", 0), len(PLANTED)):
        planted = PLANTED[number]
        copy = FOLDER / "planted"
        shutil.rmtree(copy, ignore_errors=True)
        for name in ("cmake", "cpp", "python", "tests/reliability", "tests/cpp", "CMakeLists.txt"):
            source = ROOT / name
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        file = copy / planted.file
        text = file.read_text()
        require(text.count(planted.old) >= 1, f"{planted.file} has no {planted.old!r} any more")
        file.write_text(text.replace(planted.old, planted.new, 1))
        tests = copy / "tests" / "reliability"
        if planted.target in PYTHON_TARGETS:
            program: list[str | Path] = [
                *("env", f"PYTHONPATH={copy / 'python'}", python()),
                *(tests / "fuzz" / "python_targets.py", planted.target, "--"),
            ]
        else:
            program = [build(copy / "build" / "reliability" / "fuzz", tests, planted.target) / f"fuzz_{planted.target}"]
        corpus = copy / "corpus"
        kept = _kept(planted.target)
        missed = f"fuzz:{planted.target} does not find {planted.new!r} in {planted.file}"
        try:
            _fuzz(program, planted.target, corpus, EXECUTIONS)
        except ReportError as error:
            # An input that breaks a promise is kept; a program that fails by itself keeps none.
            require(_kept(planted.target) != kept, f"{missed}: {error}")
            outcome.add({"planted": 1, "found": 1})
            keep()
            continue
        raise ReportError(missed)


def trials() -> Iterator[Trial]:
    for target, text in {**CPP_TARGETS, **PYTHON_TARGETS}.items():
        yield Trial(f"fuzz:{target}", "Fuzzing", text, _run(target))
    yield Trial("planted", "Fuzzing", "faults that were planted, each for a fuzz target to find", _run_planted)
