"""AOTInductor's tests for the CPU, restated: every case gives eager's results, call after call.

    python test_aotinductor_cases.py [--through WAY] [NAME ...]  # these alone, with the reason of each that fails

All cases go through the pipeline of `add_aot_model` and `aotbuild.compile`, and are compiled with the flags that CMake
has for models, many to a library (`sweep_build.py`), because most of a small model's compile time is in headers. With
`--through`, every case is built as a user builds it (`case_ways.py`): "compile" or "add_aot_model".
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import functools
import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from aotinductor_cases.case import OPEN, Case, all_cases
from model_builds import HERE, ROOT, leaves
from sweep_build import Builder, Sources, in_child
from sweep_calls import BuiltModel, compare_leaves, signature_inputs
from torch.utils import _pytree as pytree

from aotbuild import capture
from aotbuild.generate.model import capture_model
from aotbuild.generate.model import generate as generate_sources
from aotbuild.generate.progress import Progress
from aotbuild.generate.request import GenerateRequest
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model
from aotbuild.spec.program import EmitOptions

FOLDER = ROOT / "build" / "aotinductor-cases"
_BATCH = 40


@dataclass(frozen=True)
class Outcome:
    """What became of a case; ``problem`` is empty where all is as it has to be."""

    name: str
    problem: str


def generate(case: Case, folder: Path) -> str:
    """Writes the sources of a case as the product does. Returns what is wrong; "refused" where the case says so."""
    shutil.rmtree(folder, ignore_errors=True)
    target = folder.name
    model = Model(copy.deepcopy(case.module), copy.deepcopy(case.args), copy.deepcopy(dict(case.kwargs)), case.dynamic)
    request = GenerateRequest("", EmitOptions(target, test=False), folder, folder / "stamp")
    try:
        captured = capture_model(capture.Source(model, None, ()), request)
        generate_sources(request, Progress(target, quiet=True), captured)
    except AotbuildError as error:
        return refusal(case, str(error)) or "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return built_though_refused(case)


def refusal(case: Case, message: str) -> str:
    """What is wrong with refusing the model."""
    return "" if case.error and re.search(case.error, message) else f"refused: {message}"


def built_though_refused(case: Case) -> str:
    """What is wrong with building the model."""
    return f"it builds, but was to be refused with {case.error!r}" if case.error else ""


Call = Callable[[tuple[Any, ...], dict[str, Any], int], Sequence[torch.Tensor]]


def call(case: Case, model: Call) -> str:
    """What is wrong with the results of the case's calls, which see each other's state.

    ``model`` takes arguments, keyword arguments and the number of results.
    """
    eager = capture.as_module(Model(copy.deepcopy(case.module), case.args))
    for args in [case.args, *case.more]:
        ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
        torch.manual_seed(0)
        expected = leaves(pytree.tree_leaves(eager(*theirs, **copy.deepcopy(dict(case.kwargs)))))
        kwargs = copy.deepcopy(dict(case.kwargs))
        inputs = signature_inputs(ours, kwargs)
        sizes = [list(tensor.shape) for tensor in inputs]
        try:
            results = model(ours, kwargs, len(expected))
        except (RuntimeError, TypeError, ValueError) as error:
            return f"the call with {sizes} fails: {error}"
        problem, _ = compare_leaves(results, expected, case.random, functools.partial(_in_float64, case, args))
        if not problem:
            problem, _ = compare_leaves(inputs, signature_inputs(theirs, case.kwargs), False)
            problem = problem and f"an input after the call: {problem}"
        if problem:
            return f"with {sizes}: {problem}"
    for args, message in case.refused:
        try:
            model(args, dict(case.kwargs), len(expected))
        except (RuntimeError, TypeError, ValueError) as error:
            if message not in str(error):
                return f"the message has no {message!r}: {error}"
        else:
            sizes = [list(tensor.shape) for tensor in signature_inputs(args, case.kwargs)]
            return f"the call with {sizes} was to be refused"
    return ""


def _in_float64(case: Case, args: Sequence[Any]) -> list[torch.Tensor]:
    """Eager's results of one call in float64."""

    def wide(leaf: Any) -> Any:
        return leaf.double() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    module = capture.as_module(Model(copy.deepcopy(case.module), ())).double()
    for part in module.modules():  # weights that are plain attributes
        part.__dict__.update({name: wide(value) for name, value in vars(part).items()})
    return leaves(pytree.tree_leaves(module(*pytree.tree_map(wide, args), **pytree.tree_map(wide, dict(case.kwargs)))))


def outcomes(cases: Sequence[Case]) -> Iterator[Outcome]:
    """Builds and calls the cases in batches. A crash is the outcome of the case that it happens in."""
    builder = Builder(FOLDER)

    def generate_one(case: Case) -> str:
        return generate(case, FOLDER / "models" / f"case_{case.name}")

    for begin in range(0, len(cases), _BATCH):
        batch = list(cases[begin : begin + _BATCH])
        built = []
        for case, problem in one_by_one(batch, generate_one):
            if problem == "":
                built.append(case)
            else:
                yield Outcome(case.name, "" if problem == "refused" else problem)
        targets = {f"case_{case.name}": case for case in built}
        library, broken = builder.build([Sources(FOLDER / "models" / name) for name in targets], "batch")
        for name, error in broken.items():
            yield Outcome(targets.pop(name).name, f"does not compile: {error}")

        def run(case: Case, library: Path = library) -> str:
            model = BuiltModel(ctypes.CDLL(str(library)), f"case_{case.name}")
            return call(case, lambda args, kwargs, count: model(signature_inputs(args, kwargs), count))

        for case, problem in one_by_one(list(targets.values()), run):
            yield Outcome(case.name, problem)


def one_by_one(cases: Sequence[Case], action: Callable[[Case], str]) -> Iterator[tuple[Case, str]]:
    """The results of the cases; where the process ends with one of them, another goes on behind it."""
    left = list(cases)
    while left:
        values, (outcome, detail) = in_child(functools.partial(_results, left, action), 600)
        yield from zip(left, values)
        left = left[len(values) :]
        if left:
            yield left.pop(0), f"{outcome}: {detail}"


def _results(cases: Sequence[Case], action: Callable[[Case], str]) -> Iterator[str]:
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore")
    for case in cases:
        try:
            yield action(case)
        except Exception as error:
            yield f"{type(error).__name__}: {error}"


def main() -> None:
    """Prints a JSON line for each case."""
    from sweep import warm_up

    warm_up("cpu")
    parser = argparse.ArgumentParser()
    parser.add_argument("--through", choices=["", "compile", "add_aot_model"], default="")
    parser.add_argument("--folder", type=Path, default=FOLDER / "project", help="of the project of add_aot_model")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    cases = all_cases()
    chosen = [cases[name] for name in options.names] or list(cases.values())
    if options.through:
        from case_ways import outcomes_through

        for name, problem in outcomes_through(options.through, chosen, options.folder.resolve()):
            print(json.dumps([name, problem]), flush=True)
        return
    for outcome in outcomes(chosen):
        print(json.dumps([outcome.name, outcome.problem]), flush=True)


def results_of(*arguments: str) -> dict[str, str]:
    """The problem of each case, in a process of its own: cases run in forks, which must come before parallel loops."""
    command = [sys.executable, str(HERE / "test_aotinductor_cases.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.slow
def test_aotinductors_cases_give_eagers_results() -> None:
    results = results_of()
    assert len(results) >= 500
    known = {name for names in OPEN.values() for name in names}
    assert known <= set(results)
    assert {name: problem for name, problem in results.items() if problem and name not in known} == {}
    crashes = [name for name, problem in results.items() if problem.startswith("crashed")]
    assert crashes == []


@pytest.mark.slow
@pytest.mark.parametrize("way", ["compile", "add_aot_model"])
def test_some_cases_as_users_build_them(way: str) -> None:
    cases = all_cases()
    names = [*list(cases)[::60], next(name for name, case in cases.items() if case.error)]
    assert results_of("--through", way, *names) == dict.fromkeys(names, "")


if __name__ == "__main__":
    main()
