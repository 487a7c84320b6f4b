"""PRECISION: layers of a float32 model in a 16-bit type, against float64, float32 and eager PyTorch cast to it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import model_zoo
import pytest
import torch
from model_builds import assert_same, leaves
from safetensors.torch import load_file, save_file
from torch import Tensor

import aotbuild

Load = Callable[..., Any]

# Names of targets with their types.
ROUNDED = {"in_bfloat16": torch.bfloat16, "but_for_blocks": torch.bfloat16, "in_float16": torch.float16}


def module_to_round() -> torch.nn.Module:
    module = model_zoo.layers_to_round().module
    assert isinstance(module, torch.nn.Module)
    return module.eval()


def given(load: Load, name: str, **options: Any) -> Any:
    """The library; that of external weights with the float32 ones of the module."""
    if name == "in_float16":
        options["weights"] = dict(module_to_round().state_dict())
    return load(name, outputs="torch", **options)


def errors(outputs: Any, exact: Sequence[Tensor]) -> list[float]:
    """Of each output, in the root of the mean of squares: the greatest one of few elements is luck."""
    return [float((a.double() - b).norm() / b.norm()) for a, b in zip(leaves(outputs), exact, strict=True)]


@pytest.mark.parametrize("name", list(ROUNDED))
@torch.no_grad()
def test_errors_are_no_greater_than_eager_pytorchs(load: Load, name: str) -> None:
    module, dtype = module_to_round(), ROUNDED[name]
    library = given(load, name, num_threads=2)
    for length in (1, 17, 40):
        ids = torch.randint(0, 50, (2, length), generator=torch.Generator().manual_seed(length))
        exact = copy.deepcopy(module).double()(ids)
        with torch.autocast("cpu", dtype):
            eager = errors(module(ids), exact)
        own, float32 = errors(library(ids), exact), errors(module(ids), exact)
        assert all(mine <= theirs for mine, theirs in zip(own, eager)), (length, own, eager)
        # It does compute in the type.
        assert all(mine > 4 * theirs for mine, theirs in zip(own, float32)), (length, own, float32)


@torch.no_grad()
def test_outputs_inputs_and_names_of_weights_are_the_same(load: Load) -> None:
    library, plain = load("in_bfloat16"), load("layers_to_round")
    ids = model_zoo.layers_to_round().example_inputs[0]
    assert [output.dtype for output in library(ids)] == [output.dtype for output in plain(ids)]
    manifests = [
        json.loads(one.manifest) if isinstance(one.manifest, str) else one.manifest for one in (library, plain)
    ]
    for part in ("inputs", "outputs", "call"):
        assert manifests[0][part] == manifests[1][part]
    assert manifests[0]["metadata"]["precision"] == {"type": "bfloat16", "except": []}
    assert "precision" not in manifests[1]["metadata"]


def test_weights_of_rounded_layers_are_stored_in_the_type(zoo_build: Path) -> None:
    weights = load_file(zoo_build / "but_for_blocks.aotbuild" / "but_for_blocks.safetensors")
    module = module_to_round()
    for name, value in weights.items():
        own = module.state_dict()[name]
        rounded = name in ("depthwise.weight", "matrix", "odd.weight")
        assert value.dtype == (torch.bfloat16 if rounded else own.dtype), name
        assert torch.equal(value, own.to(value.dtype)), name
    sizes = [
        (zoo_build / f"{name}.aotbuild" / f"{name}.weights.bin").stat().st_size
        for name in ("in_bfloat16", "layers_to_round")
    ]
    assert sizes[0] < 0.6 * sizes[1], sizes


@torch.no_grad()
def test_checkpoints_of_float32_are_rounded_as_they_are_loaded(load: Load, tmp_path: Path) -> None:
    library, module = load("in_bfloat16", outputs="torch"), module_to_round()
    ids = model_zoo.layers_to_round().example_inputs[0]
    before = library(ids)
    tensors: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        if name != "head.weight":  # tied
            tensors[name] = value * 1.25 if value.is_floating_point() else value
    checkpoints = {"float32": tensors, "stored": dict(tensors)}
    for name in ("blocks.0.linear1.weight", "stem.0.weight"):
        checkpoints["stored"][name] = tensors[name].bfloat16()
    results = []
    for label, checkpoint in checkpoints.items():
        save_file(checkpoint, tmp_path / f"{label}.safetensors")
        library.load_weights(tmp_path / f"{label}.safetensors")
        results.append(library(ids))
    assert_same(results[0], results[1], rtol=0, atol=0)
    module.load_state_dict({**tensors, "head.weight": tensors["embedding.weight"]})
    exact = copy.deepcopy(module).double()(ids)
    with torch.autocast("cpu", torch.bfloat16):
        eager = errors(module(ids), exact)
    assert all(mine <= theirs for mine, theirs in zip(errors(results[0], exact), eager))
    save_file({**tensors, "stem.0.weight": tensors["stem.0.weight"].double()}, tmp_path / "double.safetensors")
    with pytest.raises(aotbuild.Error, match=r"'stem.0.weight' .* has type F64, expected bfloat16 or float32"):
        library.load_weights(tmp_path / "double.safetensors")
    library.load_weights(tmp_path / "float32.safetensors")
    assert not torch.equal(library(ids)[0], before[0])


@torch.no_grad()
def test_threads_and_rows_change_no_bit(load: Load) -> None:
    ids = torch.randint(0, 50, (2, 40))
    alone = load("in_bfloat16", num_threads=1, outputs="torch")
    expected = alone(ids)
    assert_same(load("in_bfloat16", num_threads=3, outputs="torch")(ids), expected, rtol=0, atol=0)


@torch.no_grad()
def test_methods_and_state(load: Load) -> None:
    library, module = load("methods_in_bfloat16", outputs="torch"), model_zoo.recorder().module
    assert isinstance(module, torch.nn.Module)
    module.eval()
    prompt = torch.randn(5, 4)
    for ours, eager in ((library.begin(prompt), module.begin(prompt)), (library.read(), module.read())):  # type: ignore[operator]
        assert_same(ours, list(eager.values()) if isinstance(eager, dict) else eager, rtol=2e-2, atol=2e-2)


def test_the_generated_test_says_what_it_compares(zoo_build: Path) -> None:
    text = (zoo_build / "in_bfloat16.aotbuild" / "test" / "in_bfloat16_test.cpp").read_text()
    assert "computes in bfloat16 and eager PyTorch did in float32: tolerances are those of bfloat16" in text
    golden = load_file(zoo_build / "in_bfloat16.aotbuild" / "test" / "in_bfloat16.golden.safetensors")
    for name in (name for name in golden if name.startswith("tolerance/")):
        error = float(golden[name.replace("tolerance/", "rounded_error/")])
        assert 0 < error < float(golden[name][1])
