"""RUNTIME torch: models on libtorch, alone and beside models of the standalone runtime in one program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_builds import assert_same, run
from model_zoo import kv_cache
from safetensors.torch import save_file

import aotbuild


def test_models_of_both_runtimes_share_a_program(zoo_build: Path) -> None:
    assert run(zoo_build / "torch_program") == "same same 3\n"


def test_state_and_new_weights(load: Callable[..., Any], tmp_path: Path) -> None:
    library = load("kv_cache_on_torch")
    module: Any = kv_cache().module
    for _ in range(2):
        x = torch.randn(1, 4)
        assert_same(library(x), module(x))
    save_file({"cache": torch.full((8, 4), 2.0), "position": torch.tensor(3)}, tmp_path / "state.safetensors")
    library.load_weights(tmp_path / "state.safetensors")
    total, position = library(torch.zeros(1, 4))
    assert_same((total, position), (torch.full((4,), 14.0), torch.tensor(4)))


def test_operators_that_the_program_does_not_have_are_one_error_when_the_model_is_created(zoo_build: Path) -> None:
    with pytest.raises(aotbuild.Error) as error:
        aotbuild.load(zoo_build / "libabsent_operator.so")
    assert str(error.value) == (
        "absent_operator: libtorch has no operator aotbuild_test::absent; link the library that registers it in C++ "
        "(TORCH_LIBRARY) to the program: operators that are registered in Python alone need Python"
    )
