"""Every model of the zoo gives eager PyTorch's outputs."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import model_zoo
import pytest
import torch
from model_builds import assert_same, chosen_targets, run


def flatten_lists(args: Sequence[Any]) -> list[Any]:
    """Positional inputs as the library has them: the parts of a list are inputs of their own."""
    return [part for arg in args for part in (arg if isinstance(arg, list) else [arg])]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of one model run with each that is built."""
    if "name" in metafunc.fixturenames:
        targets = chosen_targets(metafunc.config.getoption("zoo"))
        metafunc.parametrize("name", [target.name for target in targets if target.name in model_zoo.MODELS])


# Two threads, so that kernels run their parallel loops.
def test_outputs_are_eager_pytorchs(load: Callable[..., Any], name: str) -> None:
    model = model_zoo.MODELS[name]()
    module: Any = model.module.eval() if isinstance(model.module, torch.nn.Module) else model.module
    library = load(name, num_threads=2)
    for args, kwargs in [(model.example_inputs, model.example_kwargs), *model.golden_inputs]:
        eager_args, eager_kwargs = copy.deepcopy((args, kwargs))
        with torch.no_grad():
            expected = module(*eager_args, **eager_kwargs)
        tensors = {key: value for key, value in kwargs.items() if isinstance(value, torch.Tensor)}
        assert_same(library(*flatten_lists(args), **tensors), expected)
        assert_same([*args, tensors], [*eager_args, {key: eager_kwargs[key] for key in tensors}])  # written inputs too


def test_generated_tests_pass(zoo_build: Path, pytestconfig: pytest.Config) -> None:
    output = run("ctest", "--test-dir", zoo_build, "--output-on-failure", "--no-tests=error")
    count = sum(target.test for target in chosen_targets(pytestconfig.getoption("zoo")))
    assert f"100% tests passed, 0 tests failed out of {count}" in output


def test_every_function_of_the_zoo_is_tested() -> None:
    functions = {
        name for name, value in vars(model_zoo).items() if inspect.isfunction(value) and value.__name__ == "seeded"
    }
    assert functions == set(model_zoo.MODELS)
