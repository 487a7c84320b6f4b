"""Every model of the zoo gives eager PyTorch's outputs."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_zoo
import pytest
import torch
from model_builds import assert_same, chosen_targets, run


def assert_same_form(actual: Any, expected: Any) -> None:
    """The containers that eager returned, classes of its own by the names of their fields."""
    if dataclasses.is_dataclass(expected):
        assert type(actual).__name__ == type(expected).__name__
        expected = {field.name: getattr(expected, field.name) for field in dataclasses.fields(expected)}
        actual = vars(actual)
    elif not isinstance(expected, torch.Tensor):
        assert type(actual).__name__ == type(expected).__name__
        assert getattr(type(actual), "_fields", None) == getattr(type(expected), "_fields", None)
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        actual, expected = list(actual.values()), list(expected.values())
    if isinstance(expected, tuple | list):
        assert len(actual) == len(expected)
        for pair in zip(actual, expected):
            assert_same_form(*pair)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of one model run with each that is built."""
    if "name" in metafunc.fixturenames:
        targets = chosen_targets(metafunc.config.getoption("zoo"))
        metafunc.parametrize("name", [target.name for target in targets if target.name in model_zoo.MODELS])


# Two threads, so that kernels run their parallel loops.
def test_outputs_are_eager_pytorchs(load: Callable[..., Any], name: str) -> None:
    model = model_zoo.MODELS[name]()
    module: Any = model.module.eval() if isinstance(model.module, torch.nn.Module) else model.module
    library = load(name, num_threads=2, outputs="torch")
    for args, kwargs in [(model.example_inputs, model.example_kwargs), *model.golden_inputs]:
        eager_args, eager_kwargs = copy.deepcopy((args, kwargs))
        with torch.no_grad():
            expected = module(*eager_args, **eager_kwargs)
        outputs = library(*args, **kwargs)
        assert_same_form(outputs, expected)
        assert_same(outputs, expected)
        assert_same([*args, kwargs], [*eager_args, eager_kwargs])  # written inputs too


def test_generated_tests_pass(zoo_build: Path, pytestconfig: pytest.Config) -> None:
    output = run("ctest", "--test-dir", zoo_build, "--output-on-failure", "--no-tests=error")
    count = sum(target.test for target in chosen_targets(pytestconfig.getoption("zoo")))
    assert f"100% tests passed, 0 tests failed out of {count}" in output


def test_every_function_of_the_zoo_is_tested() -> None:
    functions = {
        name for name, value in vars(model_zoo).items() if inspect.isfunction(value) and value.__name__ == "seeded"
    }
    assert functions == set(model_zoo.MODELS)
