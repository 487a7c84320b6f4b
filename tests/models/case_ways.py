"""AOTInductor's cases as users build them: by `aotbuild.compile`, and by one CMake project of `add_aot_model` calls."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from aotinductor_cases.case import Case
from model_builds import HERE, configure, leaves
from test_aotinductor_cases import call, one_by_one

import aotbuild
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model

# The model file of all targets: a function for each case.
_MODELS = f"""import sys

sys.path.insert(0, {str(HERE)!r})
from case_ways import models

globals().update(models())
"""


def models() -> dict[str, Callable[[], Model]]:
    """A function that makes the model of each case."""
    from aotinductor_cases.case import all_cases

    def maker(case: Case) -> Callable[[], Model]:
        return lambda: Model(case.module, case.args, dict(case.kwargs), case.dynamic)

    return {name: maker(case) for name, case in all_cases().items()}


def outcomes_through(way: str, cases: Sequence[Case], folder: Path) -> Iterator[tuple[str, str]]:
    """The name and the problem of each case; the problem is empty where all is as it has to be."""
    if way == "compile":
        for case, problem in one_by_one(cases, _compile):
            yield case.name, problem
    else:
        yield from _build(cases, folder)


def _compile(case: Case) -> str:
    module, args, kwargs = copy.deepcopy((case.module, case.args, dict(case.kwargs)))
    try:
        compiled = aotbuild.compile(module, args, kwargs, dynamic_shapes=case.dynamic)
    except AotbuildError as error:
        return _refused(case, str(error))
    if case.error:
        return f"it builds, but was to be refused with {case.error!r}"
    return call(case, lambda args, kwargs, _: leaves(compiled(*args, **kwargs)))


def _refused(case: Case, message: str) -> str:
    return "" if case.error and re.search(case.error, message) else f"refused: {message}"


def _build(cases: Sequence[Case], folder: Path) -> Iterator[tuple[str, str]]:
    """Builds one project. A case that the generator refuses is no target; every tenth has its golden test too."""
    source, build = folder / "source", folder / "build"
    source.mkdir(parents=True, exist_ok=True)
    (source / "cases.py").write_text(_MODELS)
    targets = {f"case_{case.name}": case for case in cases}
    tested = {target for target in list(targets)[::10] if not targets[target].random}
    refused = _generate({target: target in tested for target in targets}, source, build)
    for target in refused:
        case = targets.pop(target)
        yield case.name, _refused(case, refused[target])
    words = {target: "" if target in tested else " NO_TEST" for target in targets}
    (source / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.24)\nproject(cases LANGUAGES CXX)\nenable_testing()\n"
        "find_package(aotbuild REQUIRED)\n"
        + "".join(
            f"add_aot_model({target} SHARED MODEL cases.py:{case.name}{words[target]})\n"
            for target, case in targets.items()
        )
    )
    configure(source, build, f"-DAOTBUILD_GENERATOR={HERE / 'touch_stamp.py'}")
    built = subprocess.run(
        ["cmake", "--build", build, "--parallel", "2", "--", "-k", "0"], capture_output=True, text=True, check=False
    )
    libraries = {target: build / f"lib{target}.so" for target in targets}
    for target in [target for target, library in libraries.items() if not library.exists()]:
        yield targets.pop(target).name, f"does not build: {built.stdout[-3000:]}"
    golden = subprocess.run(
        ["ctest", "--test-dir", build, "--output-on-failure"], capture_output=True, text=True, check=False
    )
    failed = set(re.findall(r"^\s+\d+ - (case_\w+?)[. ]", golden.stdout, re.MULTILINE))

    def run_one(case: Case) -> str:
        loaded = aotbuild.load(libraries[f"case_{case.name}"], outputs="torch")
        return call(case, lambda args, kwargs, _: leaves(loaded(*args, **kwargs)))

    for case, problem in one_by_one(list(targets.values()), run_one):
        if not problem and case.error:
            problem = f"it builds, but was to be refused with {case.error!r}"
        yield case.name, problem or ("its golden test fails" if f"case_{case.name}" in failed else "")


def _generate(targets: Mapping[str, bool], source: Path, build: Path) -> dict[str, str]:
    """Writes the sources of each target, some with a test, in one process. Returns the refused ones with messages."""
    requests = [
        {
            "model": f"{source / 'cases.py'}:{target.removeprefix('case_')}",
            "output_dir": str(build / f"{target}.aotbuild"),
            "source_dir": str(source),
            "cpu_isa": ("x86-64-v3",),
            "emit": {"target": target, "test": test},
        }
        for target, test in targets.items()
    ]
    path = source.parent / "requests.json"
    path.write_text(json.dumps(requests))
    command = [sys.executable, str(HERE / "generate_targets.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    refused: dict[str, str] = {}
    target = ""
    for line in done.stdout.splitlines():
        head, _, message = line.partition(": ")
        if head in targets:
            target, refused[head] = head, message
        elif target:
            refused[target] += f"\n{line}"
    return refused
