"""What a call does besides computing: state, threads, checks of its inputs, weights that change under it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_zoo
import numpy as np
import pytest
import torch
from model_builds import assert_same
from safetensors.torch import save_file

import aotbuild

Load = Callable[..., Any]


def module_of(name: str) -> torch.nn.Module:
    module = model_zoo.MODELS[name]().module
    assert isinstance(module, torch.nn.Module)
    return module.eval()


def state_dict(name: str, offset: float = 0.0) -> dict[str, torch.Tensor]:
    """A checkpoint of a model of the zoo; tied tensors once, as safetensors files have them."""
    tensors: dict[int, torch.Tensor] = {}
    result = {}
    for key, value in module_of(name).state_dict().items():
        if tensors.setdefault(value.data_ptr(), value) is value:
            result[key] = value + offset
    return result


# --- inputs that calls write to


def test_an_input_is_written_in_the_callers_memory(load: Load) -> None:
    library = load("written_inputs")
    rows, count = np.zeros((6, 3), np.float32), np.zeros((), np.int64)
    for position in range(3):
        library(np.ones(3, np.float32), {"rows": rows, "count": count}, position)
    assert rows.tolist() == [[2.0] * 3] * 3 + [[0.0] * 3] * 3
    assert count == 3
    rows.flags.writeable = False
    with pytest.raises(TypeError, match=r"input 'args_1.rows' is written to; pass an array that can be"):
        library(np.ones(3, np.float32), {"rows": rows, "count": count}, 0)
    with pytest.raises(TypeError, match=r"input 'args_1.count' is written to; pass an array that can be"):
        library(np.ones(3, np.float32), {"rows": rows.copy(), "count": 3}, 0)


def test_the_class_says_which_inputs_are_written_to(zoo_build: Path) -> None:
    header = (zoo_build / "written_inputs.aotbuild/include/written_inputs.hpp").read_text()
    assert "aotbuild::TensorView<const float, 1> args_0;" in header
    assert re.search(r"aotbuild::TensorView<float, 2> rows; +// \[6, 3\], written to", header)


# --- results


def test_packed_weights_are_read_where_they_lie(zoo_build: Path, load: Load) -> None:
    model = model_zoo.MODELS["packed_layers"]()
    assert "kPacked" in (zoo_build / "packed_layers.aotbuild" / "src" / "packed_layers.cpp").read_text()
    module: Any = module_of("packed_layers")
    with torch.no_grad():
        expected = module(*model.example_inputs)
    outputs = load("packed_layers")(*model.example_inputs)
    assert_same([torch.as_tensor(y) for y in outputs], list(expected))


def test_checkpoints_replace_packed_weights(load: Load, tmp_path: Path) -> None:
    library, x = load("packed_layers"), torch.randn(3, 272)
    before = library(x)
    save_file(state_dict("packed_layers"), tmp_path / "same.safetensors")
    library.load_weights(tmp_path / "same.safetensors")
    for same, y in zip(library(x), before):
        assert torch.equal(torch.as_tensor(same), torch.as_tensor(y))


def test_results_have_the_models_own_form(load: Load) -> None:
    assert isinstance(load("repeated_outputs")(torch.ones(2, 3)), tuple)
    _, nothing, doubled = load("missing_outputs")(torch.ones(2, 3))
    assert nothing is None
    assert torch.equal(doubled, torch.full((2, 3), 2.0))
    outputs = load("dict_outputs")(torch.ones(3), torch.full((3,), 2.0))
    assert outputs["products"]["list"][1].tolist() == [1, 1, 1]


def test_a_model_without_inputs_gives_the_arrays_that_were_asked_for(load: Load) -> None:
    assert isinstance(load("no_inputs")()[0], np.ndarray)
    assert isinstance(load("no_inputs", outputs="torch")()[0], torch.Tensor)


def test_outputs_that_repeat_are_memory_of_their_own(load: Load) -> None:
    x = torch.ones(2, 3)
    first, second, same, *_ = load("repeated_outputs")(x)
    first.zero_()
    assert torch.equal(second, x + 1)
    same.zero_()
    assert torch.equal(x, torch.ones(2, 3))


def test_the_signature_names_inputs_as_python_does(load: Load) -> None:
    assert load("tied_weights").signature == "tied_weights(ids: int64[1, 3]) -> float32[1, 3, 10]"
    nested = load("structured").signature
    assert nested.startswith(
        "structured(batch.values: float32[2, 3], batch.more.ids: int64[4], batch.more._7_0: float32[3], "
        "batch.more[7][1]=None, batch.more['n.o']=3, scales_0: float32[3], scales_1: float32[1], power=2.0, "
        "shift: float32[]) -> (hidden: float32[2, 3], pooled.left: float32[3], pooled.right: float32[3], "
    )


# --- state


def test_a_buffer_keeps_what_calls_write_for_each_object_alone(load: Load) -> None:
    eager = module_of("kv_cache")
    library, other = load("kv_cache"), load("kv_cache")
    for step in range(1, 5):
        x = torch.full((1, 4), float(step))
        assert_same(library(x), [value.clone() for value in eager(x)])
    total, position = other(torch.ones(1, 4))
    assert position == 1
    assert torch.equal(total, torch.ones(4))


# --- checks


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("index", [10, -11, 2**40])
def test_an_index_outside_its_range_is_an_error(load: Load, threads: int, index: int) -> None:
    library = load("embedding", num_threads=threads)
    ids = torch.zeros(10000, dtype=torch.int64)
    ids[7777] = index
    with pytest.raises(aotbuild.Error, match="embedding: an index is outside 0 <= index < 10") as error:
        library(ids)
    assert error.value.status == "RUNTIME_ERROR"
    assert library(ids[:5]).shape == (5, 64)


@pytest.mark.parametrize("row", [5, -6, 2**40])
def test_a_row_outside_a_tensor_is_an_error(load: Load, row: int) -> None:
    with pytest.raises(aotbuild.Error, match=f"selected: an index is outside 0 <= index < 5: {row + 5 * (row < 0)}"):
        load("selected")(torch.ones(5, 3), torch.tensor(row))


def test_every_division_of_integers_checks_its_divisor(load: Load) -> None:
    x, y = model_zoo.truncating_division().example_inputs
    y[-1] = 0
    with pytest.raises(
        aotbuild.Error,
        match=r"^truncating_division: ZeroDivisionError: .+ divided by zero \(model_zoo\.py:\d+ in \w+: .+\)",
    ):
        load("truncating_division")(x, y)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_division_by_zero_is_an_error_of_its_own_call(load: Load, threads: int) -> None:
    library = load("integer_division", num_threads=threads)
    x, y = model_zoo.integer_division().example_inputs
    zero = y.clone()
    zero[2345] = 0
    expected = library(x, y)
    failures: list[str] = []

    def divide(divisor: torch.Tensor, good: bool) -> None:
        for _ in range(30):
            try:
                if not good or not all(map(torch.equal, library(x, divisor), expected)):
                    library(x, divisor)
                    failures.append("no error" if not good else "wrong values")
            except aotbuild.Error as error:
                named = re.search(
                    r": ZeroDivisionError: an integer is divided by zero \(model_zoo\.py:\d+ in \w+: .+\)$", str(error)
                )
                if good or not named:
                    failures.append(str(error))

    workers = [threading.Thread(target=divide, args=(y if good else zero, good)) for good in (True, False) * 2]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        (
            "function",
            (torch.ones(4, 3).t(), torch.ones(4, 5)),
            r"function: input 'a' has strides \(1, 3\), expected \(4, 1\) \(contiguous\); copy it to that layout",
        ),
        ("function", (torch.ones(3, 4).double(), torch.ones(4, 5)), "input 'a' has type float64, expected float32"),
        ("function", (torch.ones(3, 4, 1), torch.ones(4, 5)), "input 'a' has 3 dimensions, expected 2"),
        ("function", (torch.ones(3, 4), torch.ones(5, 5)), "input 'b' dimension 0 is 5, expected 4"),
        ("embedding", (torch.zeros(10001, dtype=torch.int64),), "dimension 0 is 10001, allowed range is 0..10000"),
        ("two_dynamic", (torch.ones(3, 4, 6), torch.ones(2, 6)), "'args_1' dimension 0 is 2, .*3"),
        (
            "related_sizes",
            (torch.ones(4, 3), torch.ones(5, 3), torch.ones(4, 6)),
            r"related_sizes: the inputs' sizes do not fit: the model needs args_1.shape\[0\] <= args_0.shape\[0\], and "
            r"they are args_0 \(4, 3\), args_1 \(5, 3\), args_2 \(4, 6\)",
        ),
        ("related_sizes", (torch.ones(4, 3), torch.ones(4, 3), torch.ones(5, 6)), r"args_2.shape\[0\]\) % 12\) == 0"),
        *(
            ("small_sizes", [torch.ones(n - (i == short), 4) for i, n in enumerate((5, 1, 2, 3))], message)
            for short, message in (
                (1, r"'args_1' dimension 0 is 0, allowed range is 1\.\.32 \(symbol 'last'\)"),
                (2, r"'args_2' dimension 0 is 1, allowed range is 2\.\.32 \(symbol 'ends'\)"),
                (3, r"'args_3' dimension 0 is 2, allowed range is 3\.\.32"),
            )
        ),
    ],
)
def test_wrong_inputs_are_named(load: Load, name: str, inputs: Any, message: str) -> None:
    with pytest.raises(aotbuild.Error, match=message) as error:
        load(name)(*inputs)
    assert error.value.status == "INVALID_ARGUMENT"


def test_sizes_that_export_does_not_tie_are_checked_by_attention(load: Load) -> None:
    q, k, v = torch.ones(1, 2, 8, 20), torch.ones(1, 2, 8, 20), torch.ones(1, 2, 7, 20)
    with pytest.raises(aotbuild.Error, match="scaled_dot_product_attention: the length of value is 7, expected 8"):
        load("causal_attention")(q, k, v)


def test_sizes_that_export_ties_are_checked_before_the_call_runs(load: Load) -> None:
    q, k, v = torch.ones(2, 8, 8, 128), torch.ones(2, 2, 8, 128), torch.ones(2, 2, 7, 64)
    with pytest.raises(aotbuild.Error, match="input 'args_2' dimension 2 is 7, expected 8 to agree with"):
        load("grouped_query_attention")(q, k, v)


def test_the_best_instruction_set_of_the_machine_is_chosen(load: Load) -> None:
    library = load("several_isas")
    assert library.manifest["cpu_isa"] == ["avx512", "x86-64-v3", "x86-64-v2"]
    model = model_zoo.causal_attention()
    assert_same(library(*model.example_inputs), module_of("causal_attention")(*model.example_inputs))


def test_kernels_for_different_instruction_sets_share_no_function(zoo_build: Path) -> None:
    """The linker keeps one of the inline functions of one name: it would be compiled for the wrong processor."""
    defined: dict[str, set[str]] = {}
    for isa in ("avx512", "x86_64_v3", "x86_64_v2"):
        objects = sorted(zoo_build.glob(f"CMakeFiles/several_isas.dir/**/several_isas_kernels_{isa}_*.o"))
        output = subprocess.run(["nm", "-C", *objects], capture_output=True, text=True, check=True).stdout
        defined[isa] = set(re.findall(r"^[0-9a-f]+ [A-TV-Zuvw] (.+)$", output, re.MULTILINE))
        defined[isa] -= {"DW.ref.__gxx_personality_v0"}  # an address
        assert any("attention" in name for name in defined[isa])
    assert not defined["avx512"] & defined["x86_64_v3"]
    assert not defined["avx512"] & defined["x86_64_v2"]
    assert not defined["x86_64_v3"] & defined["x86_64_v2"]


def test_a_pt2_file_is_a_model(load: Load) -> None:
    model = model_zoo.lstm()
    assert_same(load("from_pt2")(*model.example_inputs), module_of("lstm")(*model.example_inputs))


def test_static_and_shared_models_in_one_program(zoo_build: Path) -> None:
    done = subprocess.run([zoo_build / "program"], capture_output=True, text=True, check=True)
    assert done.stdout == "same same\n"


def test_libraries_need_neither_python_nor_torch(zoo_build: Path) -> None:
    for file in ("libtransformer.so", "libaotbuild_runtime_shared.so", "program"):
        libraries = subprocess.run(["ldd", zoo_build / file], capture_output=True, text=True, check=True).stdout
        assert "torch" not in libraries
        assert "python" not in libraries
        assert "not found" not in libraries


def test_models_and_torch_share_a_process_in_either_order(zoo_build: Path) -> None:
    code = (
        "import sys, numpy, aotbuild\n"
        "def run():\n"
        "    f = aotbuild.load(sys.argv[1])\n"
        "    return f(numpy.ones((3, 4), 'f4'), numpy.ones((4, 5), 'f4'))\n"
        "first = run()\n"
        "import torch\n"
        "assert (run() == (torch.ones(3, 4) @ torch.ones(4, 5)).numpy()).all() and (first == run()).all()\n"
    )
    library = zoo_build / "libfunction.so"
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code, library], env=environment, check=True)


# --- weights


def test_new_weights_are_used_under_either_tied_name(load: Load, tmp_path: Path) -> None:
    library = load("tied_weights")
    ids = torch.tensor([[1, 2, 9]])
    weights = state_dict("tied_weights", 0.5)
    assert len(weights) == 1
    module = module_of("tied_weights")
    (weight,) = weights.values()
    module.load_state_dict({"embedding.weight": weight, "head.weight": weight})
    for name in ("embedding.weight", "head.weight"):
        save_file({name: weight}, tmp_path / "new.safetensors")
        library = load("tied_weights")
        library.load_weights(tmp_path / "new.safetensors")
        assert_same(library(ids), module(ids))
    library = load("weights_external", weights={"embedding.weight": weight})
    assert_same(library(ids), module(ids))


def test_weights_change_while_eight_threads_run(load: Load, tmp_path: Path) -> None:
    """Each call gives the outputs of one checkpoint, never of a mixture."""
    library = load("weights_in_file", num_threads=1)
    module = module_of("transformer")
    x = torch.randn(2, 9, 32)
    files, expected = [], []
    for index in range(2):
        weights = state_dict("transformer", 0.01 * index)
        files.append(tmp_path / f"{index}.safetensors")
        save_file(weights, files[-1])
        module.load_state_dict(weights)
        with torch.no_grad():
            expected.append(module(x))
    assert not torch.allclose(expected[0], expected[1], 1e-4, 1e-5)
    problems: list[str] = []
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            output = library(x)
            if not any(torch.allclose(output, outcome, 1e-4, 1e-5) for outcome in expected):
                problems.append("a mixture")
                return

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for index in range(60):
        library.load_weights(files[index % 2])
    done.set()
    for thread in threads:
        thread.join()
    assert not problems


BAD_WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "missing": (
        lambda w: {k: v for k, v in w.items() if "linear1.bias" not in k},
        "does not have the 24 weights of the model: 2 missing: 'layers.0.linear1.bias', 'layers.1.linear1.bias'",
    ),
    "extra": (lambda w: {**w, "head.weight": torch.ones(2)}, "1 that the model does not have: 'head.weight'"),
    "shape": (
        lambda w: {**w, "layers.0.linear1.bias": torch.ones(3)},
        r"weight 'layers.0.linear1.bias' in .* has shape \(3,?\), expected \(64,?\)",
    ),
    "type": (
        lambda w: {**w, "layers.0.linear1.bias": torch.ones(64).half()},
        "weight 'layers.0.linear1.bias' in .* has type F16, expected float32; convert it before saving",
    ),
}


@pytest.mark.parametrize("problem", BAD_WEIGHTS)
def test_weights_that_do_not_fit_are_named_and_the_old_ones_stay(load: Load, tmp_path: Path, problem: str) -> None:
    change, message = BAD_WEIGHTS[problem]
    library = load("weights_in_file")
    x = torch.ones(1, 3, 32)
    before = library(x)
    file = tmp_path / "bad.safetensors"
    save_file(change(state_dict("transformer")), file)
    with pytest.raises(aotbuild.Error, match=message) as error:
        library.load_weights(file)
    assert error.value.status == "INVALID_WEIGHTS"
    with pytest.raises(aotbuild.Error, match=message):
        load("weights_in_file", weights=file)
    assert torch.equal(library(x), before)


@pytest.mark.parametrize("kept", [0, 7, 8, 100, -1])
def test_truncated_files_are_refused(load: Load, tmp_path: Path, kept: int) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file(state_dict("transformer"), whole)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:kept])
    with pytest.raises(aotbuild.Error, match=r"cut\.safetensors") as error:
        load("weights_in_file").load_weights(cut)
    assert error.value.status == "INVALID_WEIGHTS"


def test_corrupt_files_are_refused(load: Load, tmp_path: Path) -> None:
    """Any byte of the header may be wrong: an error or other values, never the end of the process."""
    whole = tmp_path / "whole.safetensors"
    save_file(state_dict("transformer"), whole)
    data = whole.read_bytes()
    library = load("weights_in_file")
    header = int.from_bytes(data[:8], "little")
    refused = 0
    for position in range(0, 8 + header, 13):
        corrupt = tmp_path / "corrupt.safetensors"
        corrupt.write_bytes(data[:position] + bytes([data[position] ^ 0x15]) + data[position + 1 :])
        try:
            library.load_weights(corrupt)
        except aotbuild.Error as error:
            refused += error.status == "INVALID_WEIGHTS"
    assert refused > 100


def test_external_weights_have_to_be_given(load: Load) -> None:
    with pytest.raises(aotbuild.Error, match="built with WEIGHTS EXTERNAL: pass the tensors"):
        load("weights_external")


def test_constants_that_no_state_dict_has_are_in_a_library_with_external_weights(load: Load) -> None:
    x = torch.randn(3, 4)
    assert_same(load("external_constants")(x), module_of("constants")(x))


def test_the_weights_file_beside_the_library_has_to_exist(zoo_build: Path, tmp_path: Path) -> None:
    copied = tmp_path / "libweights_in_file.so"
    copied.write_bytes((zoo_build / "libweights_in_file.so").read_bytes())
    with pytest.raises(aotbuild.Error, match=r"weights_in_file\.safetensors") as error:
        aotbuild.load(copied)
    assert error.value.status == "INVALID_WEIGHTS"


def test_a_model_built_with_a_checksum_takes_that_file_alone(zoo_build: Path, load: Load, tmp_path: Path) -> None:
    """WEIGHTS_SHA256; the generated test has loaded the file of the build."""
    library = load("but_for_blocks")
    whole = zoo_build / "but_for_blocks.safetensors"
    library.load_weights(whole)
    data = bytearray(whole.read_bytes())
    data[-1] ^= 1
    other = tmp_path / "other.safetensors"
    other.write_bytes(data)
    with pytest.raises(aotbuild.Error, match=f"and the model takes only {library.manifest['weights']['sha256']}"):
        library.load_weights(other)


def test_shared_models_and_their_runtime_are_hardened(zoo_build: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "reliability"))
    from processes import hardening

    for name in ("libtransformer.so", "libaotbuild_runtime_shared.so"):
        facts = hardening(zoo_build / name)
        assert all(facts.values()), (name, facts)
