"""Fixtures of tests that run built models: the zoo of tests/models, built once for all workers of a test run."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

# pytest's importlib mode adds no folder to sys.path.
sys.path.insert(0, str(ROOT / "tests" / "models"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--zoo", default="", help="models of the zoo, with commas between: tests/models/test_zoo.py builds no others"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first: one worker builds the zoo while the others run what does not need it."""
    first = ("test_zoo.py", "test_sanitizers.py")
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


@pytest.fixture(scope="session")
def zoo_build(pytestconfig: pytest.Config) -> Path:
    """The build tree of every model, in build/models so that a second run of the tests builds only what changed.

    Models that --zoo chooses have a tree of their own for each release of torch.
    """
    import torch
    from model_builds import FOLDER, build_zoo, chosen_targets

    names = pytestconfig.getoption("zoo")
    folder = FOLDER / f"chosen-{torch.__version__}" if names else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with (folder / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if lock.read() != run_id:
            lock.truncate(0)
            build_zoo(folder, chosen_targets(names))
            lock.write(run_id)
    return folder / "build"


@pytest.fixture(scope="session")
def load(zoo_build: Path) -> Callable[..., Any]:
    """Loads a model of the zoo by its target's name."""
    import aotbuild

    return lambda name, **options: aotbuild.load(zoo_build / f"lib{name}.so", **options)
