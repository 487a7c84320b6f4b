"""AOTInductor's cases as users build them: by `aotbuild.compile`, and by one CMake project of `add_aot_model` calls."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from aotinductor_cases.case import Case
from model_builds import HERE, configure, leaves
from test_aotinductor_cases import built_though_refused, call, one_by_one, refusal

import aotbuild
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model

# The model file of all targets: a function for each case.
_MODELS = f"""import sys

sys.path.insert(0, {str(HERE)!r})
from case_ways import models

globals().update(models())
"""
_HEAD = """cmake_minimum_required(VERSION 3.24)
project(cases LANGUAGES CXX)
enable_testing()
find_package(aotbuild REQUIRED)
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
        return refusal(case, str(error))
    return built_though_refused(case) or call(case, lambda args, kwargs, _: leaves(compiled(*args, **kwargs)))


def _build(cases: Sequence[Case], folder: Path) -> Iterator[tuple[str, str]]:
    """Builds one project. A case that the generator refuses is no target; every tenth has its golden test too."""
    build = folder / "build"
    targets = {f"case_{case.name}": case for case in cases}
    tested = [target for target in list(targets)[::10] if not targets[target].random]
    refused = _generate(targets, tested, folder)
    for target, message in refused.items():
        case = targets.pop(target)
        yield case.name, refusal(case, message)
    calls = [
        f"add_aot_model({target} SHARED MODEL cases.py:{case.name}{'' if target in tested else ' NO_TEST'})\n"
        for target, case in targets.items()
    ]
    (folder / "source" / "CMakeLists.txt").write_text(_HEAD + "".join(calls))
    configure(folder / "source", build, f"-DAOTBUILD_GENERATOR={HERE / 'touch_stamp.py'}")
    _output("cmake", "--build", build, "--parallel", "2", "--", "-k", "0")
    passed = _passed_tests(build)

    def run_one(case: Case) -> str:
        target = f"case_{case.name}"
        library = build / f"lib{target}.so"
        if not library.exists():
            return f"does not build: {_output('cmake', '--build', build, '--target', target)[-3000:]}"
        if target in tested and target not in passed:
            return "its golden test did not pass"
        loaded = aotbuild.load(library, outputs="torch")
        return built_though_refused(case) or call(case, lambda args, kwargs, _: leaves(loaded(*args, **kwargs)))

    for case, problem in one_by_one(list(targets.values()), run_one):
        yield case.name, problem


def _passed_tests(build: Path) -> set[str]:
    """The targets whose test ctest says has passed."""
    report = build / "tests.xml"
    _output("ctest", "--test-dir", build, "--output-junit", report)
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return {str(case.get("name")) for case in cases if case.get("status") == "run"}


def _output(*command: str | Path) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def _generate(targets: Mapping[str, Case], tested: Collection[str], folder: Path) -> dict[str, str]:
    """Writes the sources of each target, some with a test, in one process. Returns the refused ones with messages."""
    source = folder / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / "cases.py").write_text(_MODELS)
    requests = [
        {
            "model": f"{source / 'cases.py'}:{case.name}",
            "output_dir": str(folder / "build" / f"{target}.aotbuild"),
            "source_dir": str(source),
            "emit": {"target": target, "test": target in tested},
        }
        for target, case in targets.items()
    ]
    path = folder / "requests.json"
    path.write_text(json.dumps(requests))
    refused: dict[str, str] = {}
    target = ""
    for line in _output(sys.executable, HERE / "generate_targets.py", path).splitlines():
        head, _, message = line.partition(": ")
        if head in targets:
            target, refused[head] = head, message
        elif target:
            refused[target] += f"\n{line}"
    return refused
