"""Tuning over the real lowering: candidates, bundles, and what a build makes of measured configurations."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

from aotbuild import capture
from aotbuild.capture import triton_kernels
from aotbuild.spec.model import Model
from aotbuild.spec.target import cuda_target

pytest.importorskip("triton")

from triton.runtime.interpreter import InterpretedFunction

from aotbuild.lower.common.lowered import Lowered
from aotbuild.lower.cuda.compile import choices, kernels, lowering, templates
from aotbuild.lower.cuda.compile.device import declared
from aotbuild.lower.cuda.compile.hints import BufferHint
from aotbuild.lower.cuda.compile.lowering import CudaVariant, kernels_to_tune, lower_cuda
from aotbuild.lower.cuda.compile.tunable import TunableKernel
from aotbuild.lower.cuda.graph.graph import prepare
from aotbuild.lower.cuda.tune import bundling, candidates
from aotbuild.tuning.bundle import Buffer


class Step(nn.Module):
    """Writes to a buffer, and to memory that other kernels have used."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.zeros(16, 96))
        self.state: torch.Tensor
        self.first = nn.Linear(96, 128)
        self.second = nn.Linear(128, 96)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.state.add_(x)
        hidden = torch.relu(self.first(self.state)).softmax(-1)
        result: torch.Tensor = self.second(hidden) + x
        return result


@pytest.fixture(scope="module")
def captured() -> capture.Captured:
    torch.manual_seed(0)
    return capture.capture(capture.Source(Model(Step(), (torch.randn(16, 96),)), None, ()), [], "step")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(cache))


@contextlib.contextmanager
def counted(owner: Any, name: str) -> Any:
    """Counts the calls of a method."""
    original = getattr(owner, name)
    calls = []

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return original(*args, **kwargs)

    with mock.patch.object(owner, name, call):
        yield calls


def lower(captured: capture.Captured, measured: Any = None) -> Lowered[CudaVariant]:
    return lower_cuda(captured, ["90"], target="step", measured=measured, processes=1)


@pytest.fixture(scope="module")
def tunable(captured: capture.Captured) -> list[TunableKernel]:
    return kernels_to_tune(captured, "90", target="step")[1]


def other_configs(tunable: Sequence[TunableKernel]) -> dict[str, Mapping[str, Any]]:
    """By key, a configuration that is not the heuristics' choice."""
    pairs = candidates.all_candidates(tunable, cuda_target("90").architecture)
    return {kernel.key: config for kernel, config in pairs}


def plain_launches(source: str) -> list[str]:
    """The launches of a run function without their grids."""
    return re.sub(r"\{[^{}]*\}", "", source[source.index("void run(") :]).splitlines()


def test_one_lowering_and_one_schedule_whatever_the_configurations(
    captured: capture.Captured, tunable: list[TunableKernel]
) -> None:
    from torch._dynamo.utils import counters
    from torch._inductor.graph import GraphLowering
    from torch._inductor.scheduler import Scheduler

    configs = other_configs(tunable)
    results = []
    for measured in (None, lambda architecture, key: configs.get(key)):
        counters.clear()
        with counted(GraphLowering, "__init__") as lowerings, counted(Scheduler, "__init__") as schedules:
            lowered = lower(captured, measured)
        assert (len(lowerings), len(schedules)) == (1, 1)
        results.append((lowered, {name: dict(counts) for name, counts in counters.items()}))
    (untuned, first_counters), (tuned, second_counters) = results
    assert first_counters == second_counters
    # Names and order are those of the kernels that were measured; only grids differ.
    names = [kernel.kernel.name for kernel in tunable]
    for lowered in (untuned, tuned):
        assert [kernel.name for kernel in lowered.variants[0].kernels] == names
        assert [kernel.kernel for kernel in lowered.tuning] == names
        assert [kernel.key for kernel in lowered.tuning] == [kernel.key for kernel in tunable]
    assert plain_launches(untuned.variants[0].run_source) == plain_launches(tuned.variants[0].run_source)
    assert untuned.variants[0].run_source != tuned.variants[0].run_source
    assert not any(kernel.measured for kernel in untuned.tuning)
    assert all(kernel.measured for kernel in tuned.tuning)
    for kernel in tuned.variants[0].kernels:
        config = configs[tuned.tuning[names.index(kernel.name)].key]
        assert {name: kernel.config[name] for name in config} == dict(config)


def test_one_changed_line_compiles_one_kernel(captured: capture.Captured, tunable: list[TunableKernel]) -> None:
    configs = other_configs(tunable)
    changed = dict(list(configs.items())[:1])
    lower(captured)
    lower(captured, lambda architecture, key: configs.get(key))
    compiled: list[str] = []
    original = kernels._compile_all

    def recorded(jobs: Any, processes: Any) -> Any:
        compiled.extend(job.kernel.name for job in jobs)
        return original(jobs, processes)

    def measured(architecture: str, key: str) -> Mapping[str, Any] | None:
        config = configs.get(key)
        return {**config, "num_stages": config["num_stages"] + 1} if config and key in changed else config

    with mock.patch.object(kernels, "_compile_all", recorded):
        lower(captured, measured)
    assert compiled == [kernel.kernel.name for kernel in tunable if kernel.key in changed]


def test_configuration_that_does_not_compile_gives_way_to_the_heuristics(
    captured: capture.Captured, tunable: list[TunableKernel]
) -> None:
    (template, *_) = [kernel for kernel in tunable if templates.is_template(kernel.kernel.source)]
    lowered = lower(captured, lambda architecture, key: {"BLOCK_M": 48} if key == template.key else None)
    (reported,) = [kernel for kernel in lowered.tuning if kernel.key == template.key]
    assert (reported.measured, reported.reason) == (False, "that configuration does not compile here")
    assert lowered.variants[0].images == lower(captured).variants[0].images


def multiply(self: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.relu(x @ y)


class Multiply(nn.Module):
    forward = multiply


@pytest.mark.parametrize(
    "build",
    [
        lambda: Model(Multiply(), (torch.randn(64, 128).half(), torch.randn(128, 80).half())),
        lambda: Model(Multiply(), (torch.randn(64, 100).half(), torch.randn(100, 80).half())),
        lambda: Model(Multiply(), (torch.randn(3, 64, 128).half(), torch.randn(3, 128, 80).half())),
        lambda: Model(nn.Conv2d(16, 32, 3).half(), (torch.randn(2, 16, 10, 10).half(),)),
    ],
    ids=["mm", "mm with a rest", "bmm", "convolution"],
)
def test_template_with_other_tiles_is_what_torchinductor_writes(build: Callable[[], Model]) -> None:
    """Machine code of a rewritten kernel against that of the template that TorchInductor makes with these tiles."""
    program = capture.capture(capture.Source(build(), None, ()), [], "product")
    (ours,) = _template_kernels(program)

    def prefer_large(problem: Any, tiles: choices.Tiles, gpu: Any) -> float:
        return -float(tiles.m * tiles.n * tiles.k)

    with (
        mock.patch.object(choices, "estimated_time", prefer_large),
        mock.patch.object(choices, "adaptable", contextlib.nullcontext),
    ):
        (theirs,) = _template_kernels(program)
    config = templates.config_of(theirs.source)
    assert templates.config_of(ours.source) != config
    gpu = cuda_target("90")
    first, second = kernels.compile_configs([(ours, config), (theirs, {})], gpu, processes=1)
    assert isinstance(first, kernels.CompiledKernel)
    assert isinstance(second, kernels.CompiledKernel)
    assert first.image == second.image


def _template_kernels(program: capture.Captured) -> list[kernels.TritonKernel]:
    found = [kernel.kernel for kernel in kernels_to_tune(program, "90", target="product")[1]]
    return [kernel for kernel in found if templates.is_template(kernel.source)]


def test_bundle_has_every_kernel_with_its_launches(captured: capture.Captured, tunable: list[TunableKernel]) -> None:
    made = bundling.bundle(captured, "90", target="step", versions="torch", limit=2, processes=1)
    assert [kernel.key for kernel in made.kernels if kernel.launches] == [kernel.key for kernel in tunable]
    untuned = {kernel.name: kernel for kernel in lower(captured).variants[0].kernels}
    # What is compared are the kernels of two builds: as it is, and with the line that the comparison can give.
    (compared,) = made.epilogues
    alone = lower(captured, keeps_apart(compared.key))
    keys = [kernel.key for kernel in alone.tuning]
    assert set(compared.fused) == {kernel.key for kernel in tunable} - set(keys)
    assert set(compared.alone) == set(keys) - {kernel.key for kernel in tunable}
    assert (list(compared.fused.values()), list(compared.alone.values())) == ([1], [1, 1])
    assert {kernel.key for kernel in made.kernels if not kernel.launches} == set(compared.alone)
    assert [kernel.name for kernel in made.kernels if kernel.key in compared.fused] == [compared.name]
    binaries = {kernel.key: binary for kernel, binary in zip(alone.tuning, alone.variants[0].kernels)}
    for kernel in made.kernels:
        assert not kernel.failures and kernel.candidates
        # The first candidate is what a build without a database uses.
        expected = untuned[kernel.name] if kernel.launches else binaries[kernel.key]
        assert kernel.candidates[0].image == expected.image
        (case,) = kernel.cases
        assert len(case) == len([kind for kind in kernel.parameters if kind != "null"])
        for candidate in kernel.candidates:
            assert all(size > 0 for grid in candidate.grids for size in grid)


def test_bundle_without_comparisons(captured: capture.Captured, tunable: list[TunableKernel]) -> None:
    options = {"benchmark_epilogue_fusion": False}
    made = bundling.bundle(captured, "90", target="step", versions="v", options=options, limit=1, processes=1)
    assert not made.epilogues
    assert [kernel.key for kernel in made.kernels] == [kernel.key for kernel in tunable]


def keeps_apart(epilogue: str) -> Callable[[str, str], Mapping[str, Any] | None]:
    """A database with one line."""
    return lambda architecture, key: {"epilogue_fusion": False} if key == epilogue else None


def test_line_gives_an_epilogue_kernels_of_its_own(captured: capture.Captured) -> None:
    from torch._inductor.graph import GraphLowering
    from torch._inductor.scheduler import Scheduler

    fused = lower(captured)
    (epilogue,) = fused.epilogues
    assert epilogue.fused and epilogue.origins
    with counted(GraphLowering, "__init__") as lowerings, counted(Scheduler, "__init__") as schedules:
        alone = lower(captured, keeps_apart(epilogue.key))
    assert (len(lowerings), len(schedules)) == (1, 1)
    # Its key is the same whether it is fused or not, so that the line stays in use.
    assert alone.epilogues == (dataclasses.replace(epilogue, fused=False),)
    assert len(alone.variants[0].kernels) == len(fused.variants[0].kernels) + 1
    # Without the line, and with one that makes no sense, everything is as it was.
    again = lower(captured)
    wrong = lower(captured, lambda architecture, key: {"BLOCK_M": 16} if key == epilogue.key else None)
    for lowered in (again, wrong):
        assert lowered.variants[0].run_source == fused.variants[0].run_source
        assert lowered.variants[0].images == fused.variants[0].images
    reason = "the line of an epilogue has to say epilogue_fusion=false"
    assert wrong.epilogues == (dataclasses.replace(epilogue, reason=reason),)


def interpreted(tunable: Sequence[TunableKernel], inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Runs kernels over float32 by Triton's interpreter, one after the other, and returns what the last has written."""
    memory = {name: tensor.contiguous() for name, tensor in inputs.items()}
    tensors: list[torch.Tensor] = []
    for kernel in tunable:
        (case,) = kernel.cases
        buffers = [value for value in case if isinstance(value, BufferHint)]
        if "(in_out_ptr0, " in kernel.kernel.source:  # the buffer before it under a new name
            memory[buffers[0].name] = tensors[-1]
        tensors = [memory.setdefault(one.name, torch.full((one.nbytes // 4,), math.nan)) for one in buffers]
        source = kernel.kernel.source
        text = source.replace("triton_helpers.set_driver_to_gpu()", "")
        text = re.sub(r"@triton_heuristics\.\w+\(.*?\n\)\n@triton\.jit\n", "", text, flags=re.DOTALL)
        module = ModuleType(kernel.kernel.name)
        exec(compile(text, f"{kernel.kernel.name}.py", "exec"), module.__dict__)
        if templates.is_template(source):
            tiles = templates.config_of(source)
            grid, numbers = (-(-64 // tiles["BLOCK_M"]) * -(-80 // tiles["BLOCK_N"]), 1, 1), []
        else:
            count = tensors[-1].numel()
            grid, numbers = (-(-count // 256), 1, 1), [count, 256]
        with triton_kernels.interpreted():
            function = InterpretedFunction(getattr(module, kernel.kernel.name))
            function.run(*tensors, *numbers, grid=grid, warmup=False)
    return tensors[-1]


def test_result_is_the_same_with_an_epilogue_in_a_kernel_of_its_own() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(64, 128), torch.randn(128, 80)
    program = capture.capture(capture.Source(Model(Multiply(), (x, y)), None, ()), [], "product")
    _, fused, (alone,) = kernels_to_tune(program, "90", target="product", with_alternatives=True)
    assert (len(fused), len(alone.kernels)) == (1, 2)
    results = [interpreted(kernels, {"input0_x": x, "input1_y": y}) for kernels in (fused, alone.kernels)]
    assert torch.equal(*results)
    torch.testing.assert_close(results[0].view(64, 80), torch.relu(x @ y), rtol=1e-4, atol=1e-4)


def test_key_of_an_epilogue_is_that_of_the_content() -> None:
    def keys(width: int, activation: Any, name: str = "x") -> list[str]:
        class Net(nn.Module):
            def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
                result: torch.Tensor = activation(x.sin() @ y)
                return result

        build = Model(Net(), (torch.randn(64, width), torch.randn(width, 80)))
        program = capture.capture(capture.Source(build, None, ()), [], name)
        gpu = cuda_target("90")
        with declared(gpu.architecture):
            graph = prepare(program.program).main
        return list(lowering._code(graph, gpu, name, "default", {}).epilogues)

    first = keys(128, torch.relu)
    assert len(first) == 1
    assert keys(128, torch.relu, "other") == first
    assert keys(96, torch.relu) != first
    assert keys(128, torch.tanh) != first


@contextlib.contextmanager
def other_machine(home: Path) -> Any:
    """Another user, host, number of processors, and a GPU of another kind; whoever calls the GPU fails."""

    def touched(*_: Any, **__: Any) -> Any:
        raise AssertionError("a GPU was touched")

    environment = {"HOME": str(home), "USER": "other", "HOSTNAME": "other", "AOTBUILD_CACHE_DIR": str(home / "cache")}
    patches = {
        "is_available": lambda: True,
        "device_count": lambda: 8,
        "get_device_capability": lambda device=None: (12, 0),
        "get_device_name": lambda device=None: "Another GPU",
        "get_device_properties": touched,
        "init": touched,
        "_lazy_init": touched,
        "synchronize": touched,
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict("os.environ", environment))
        stack.enter_context(mock.patch("os.cpu_count", return_value=96))
        for name, function in patches.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, function))
        yield


def test_generator_replays_and_depends_on_the_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aotbuild.generate.model import generate
    from aotbuild.generate.request import GenerateRequest
    from aotbuild.spec.program import EmitOptions

    (tmp_path / "net.py").write_text(
        "import torch\nfrom aotbuild import Model\n\n\ndef build():\n"
        "    layer = torch.nn.Linear(96, 128).half()\n    torch.nn.init.ones_(layer.weight)\n"
        "    torch.nn.init.ones_(layer.bias)\n    return Model(layer, (torch.ones(16, 96).half(),))\n"
    )
    database = tmp_path / "net.tuning"

    def build(folder: str, project: Path = tmp_path) -> dict[str, bytes]:
        request = GenerateRequest(
            model=f"{project / 'net.py'}:build",
            emit=EmitOptions(target="net", test=False),
            output_dir=tmp_path / folder,
            stamp=tmp_path / folder / "net.stamp",
            depfile=tmp_path / folder / "net.d",
            device="cuda",
            cuda_architectures=("90",),
            tuning_database=project / "net.tuning",
        )
        generate(request)
        files = [
            path for path in (tmp_path / folder).rglob("*") if path.is_file() and path.suffix not in (".d", ".stamp")
        ]
        return {path.relative_to(tmp_path / folder).as_posix(): path.read_bytes() for path in files}

    plain = build("plain")
    assert "no tuning database net.tuning: 1 kernels as the heuristics choose" in capsys.readouterr().out
    assert "net.tuning" not in (tmp_path / "plain" / "net.d").read_text()
    tuning = json.loads(plain["net.manifest.json"])["metadata"]["tuning"]
    assert (tuning["kernels"], tuning["measured"]) == (1, 0)
    config = "BLOCK_K=32 BLOCK_M=16 BLOCK_N=16 num_stages=2 num_warps=2"
    database.write_text(f"{tuning['keys'][0]} | H100 | {config} | 1.00 us, heuristics 2.00 us | torch 2.13.0 | k\n")
    tuned = build("tuned")
    assert "net: net.tuning covers 1 of 1 kernels\n" in capsys.readouterr().out
    assert str(database) in (tmp_path / "tuned" / "net.d").read_text()
    assert json.loads(tuned["net.manifest.json"])["metadata"]["tuning"] == {**tuning, "measured": 1}
    changed = {name for name in plain if plain[name] != tuned[name]}
    assert changed >= {"net.manifest.json", "net.images_sm_90.bin", "src/net_run_sm_90.cpp"}
    assert not changed & {"include/net.hpp", "include/net.h", "src/net_kernels_sm_90.hpp", "net.weights.bin"}
    # In another folder of another machine, with kernels compiled anew, and with a GPU that must not be touched.
    place = tmp_path / "elsewhere" / "project"
    place.mkdir(parents=True)
    for name in ("net.py", "net.tuning"):
        shutil.copy(tmp_path / name, place / name)
    with other_machine(place):
        assert build("again", place) == tuned


def environment_of_lowering() -> dict[str, Any]:
    """What lowering changes for its own time."""
    from torch._inductor import config, select_algorithm
    from torch._inductor.codegen import common
    from torch._inductor.virtualized import V
    from triton.runtime.driver import driver

    common.init_backend_registration()
    return {
        "settings": config.get_config_copy(),
        "backend": common.device_codegens["cuda"],
        "driver": driver._active,
        "choices": list(select_algorithm.get_algorithm_selector_cache().preprocessing_fns),
        "template": select_algorithm.TritonTemplate.generate,
        "device": [torch.cuda.is_available, torch.cuda.device_count, torch.cuda.get_device_properties],
        "graph": type(V.graph),
        "random": torch.get_rng_state().tolist(),
        "gradients": torch.is_grad_enabled(),
    }


def test_lowering_leaves_everything_as_it_was(captured: capture.Captured, tunable: list[TunableKernel]) -> None:
    """Settings, backends, devices, random numbers, the model's tensors: after a build, a bundle and a failure."""
    tensors = {name: value.clone() for name, value in captured.program.state_dict.items()}
    code = captured.program.graph_module.code
    before = environment_of_lowering()
    lower(captured)
    bundling.bundle(captured, "90", target="step", versions="torch", limit=1, processes=1)

    def fail(architecture: str, key: str) -> Mapping[str, Any] | None:
        raise RuntimeError("told to fail")

    with pytest.raises(RuntimeError, match="told to fail"):
        lower(captured, fail)
    assert environment_of_lowering() == before
    assert captured.program.graph_module.code == code
    assert all(torch.equal(value, tensors[name]) for name, value in captured.program.state_dict.items())


def attend(self: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(query, key, value)


class Attend(nn.Module):
    forward = attend


class Apply(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def hand_written() -> Model:
    source = capture.load_source("gpu_models.py:hand_written", {}, Path(__file__).parents[1] / "gpu")
    assert source.model is not None
    return source.model


@pytest.mark.parametrize(
    ("kind", "name", "build"),
    [
        ("pointwise", "sin", lambda: Model(Apply(lambda x: x.sin() * 2), (torch.randn(64, 500),))),
        ("reduction", "sum", lambda: Model(Apply(lambda x: x.sin().sum(1)), (torch.randn(1024, 9000),))),
        ("persistent_reduction", "softmax", lambda: Model(Apply(lambda x: x.softmax(1)), (torch.randn(64, 200),))),
        ("persistent_reduction", "softmax", lambda: Model(Apply(lambda x: x.softmax(1)), (torch.randn(64, 4000),))),
        ("template", "mm", lambda: Model(Multiply(), (torch.randn(64, 128).half(), torch.randn(128, 80).half()))),
        ("template", "bmm", lambda: Model(Multiply(), (torch.randn(3, 64, 96).half(), torch.randn(3, 96, 80).half()))),
        ("template", "triton_tem", lambda: Model(nn.Conv2d(16, 32, 3).half(), (torch.randn(2, 16, 10, 10).half(),))),
        (
            "user_autotune",
            "attention",
            lambda: Model(Attend(), tuple(torch.randn(1, 2, 64, 32).half() for _ in range(3))),
        ),
        ("user_autotune", "add_scaled", hand_written),
    ],
    ids=["pointwise", "reduction", "persistent", "long-rows", "mm", "bmm", "convolution", "attention", "hand-written"],
)
def test_kernels_of_every_kind_have_several_candidates(kind: str, name: str, build: Callable[[], Model]) -> None:
    program = capture.capture(capture.Source(build(), None, ()), [], "kinds")
    tunable = kernels_to_tune(program, "90", target="kinds")[1]
    pairs = candidates.all_candidates(tunable, cuda_target("90").architecture)
    found: dict[str, int] = {}
    for kernel, _ in pairs:
        if f"@triton_heuristics.{kind}(" in kernel.kernel.source and name in kernel.kernel.name:
            found[kernel.kernel.name] = found.get(kernel.kernel.name, 0) + 1
    assert found
    assert all(count > 1 for count in found.values()), found


class Lookup(nn.Module):
    """Indices into a table, a large and a small weight, and a buffer that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 1000)
        self.scale = nn.Parameter(torch.tensor([2.0, 3.0]))
        self.register_buffer("calls", torch.zeros(1))
        self.calls: torch.Tensor

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        result: torch.Tensor = self.table(ids) * self.scale[0] + self.calls
        return result


def test_inputs_of_launches_are_real_where_they_matter() -> None:
    """Indices and small tensors are the example's, at larger sizes again and again; large numbers are random."""
    ids = torch.tensor([39, 0, 7, 7, 21, 5])
    dynamic = {"ids": {0: torch.export.Dim("length", min=1, max=600)}}
    source = capture.Source(Model(Lookup(), (ids,), dynamic_shapes=dynamic), None, ())
    made = bundling.bundle(
        capture.capture(source, [], "lookup"), "90", target="lookup", versions="v", limit=1, processes=1
    )
    (kernel,) = [kernel for kernel in made.kernels if "embedding" in kernel.name]
    assert len(kernel.cases) == 3
    lengths = []
    for case in kernel.cases:
        buffers = [value for value in case if isinstance(value, Buffer)]
        (indices,) = [buffer for buffer in buffers if buffer.dtype == "int64"]
        assert indices.data is not None and indices.rotates
        values = torch.frombuffer(bytearray(indices.data), dtype=torch.int64)
        assert torch.equal(values, ids.repeat(len(values) // len(ids) + 1)[: len(values)])
        lengths.append(len(values))
        (table,) = [buffer for buffer in buffers if buffer.nbytes == 4 * 40 * 1000]
        assert table.data is None and table.rotates
        (scale,) = [buffer for buffer in buffers if buffer.nbytes == 8 and buffer.dtype == "float32"]
        assert torch.equal(
            torch.frombuffer(bytearray(scale.data or b""), dtype=torch.float32), torch.tensor([2.0, 3.0])
        )
    # The example's size, and halfway, by ratio, to both ends of the range, of which export makes 2 to 600.
    assert lengths == [6, 3, 60]
