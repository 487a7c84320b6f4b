"""CUDA models are lowered and compiled to machine code on a machine that has no GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aotbuild import capture
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model
from aotbuild.spec.paths import include_directory
from aotbuild.spec.target import CUDA_ARCHITECTURES, cpu_isa, cuda_target

pytest.importorskip("triton")

from aotbuild.lower.common.lowered import Lowered
from aotbuild.lower.cpu.lowering import lower
from aotbuild.lower.cuda.compile import cubin, dependent, indexing, products
from aotbuild.lower.cuda.compile.lowering import CudaVariant, lower_cuda
from aotbuild.lower.cuda.graph import sort
from aotbuild.lower.cuda.graph.graph import prepare

pytestmark = pytest.mark.usefixtures("kernel_cache")


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any], **buffers: torch.Tensor) -> None:
        super().__init__()
        self._function = function
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, *args: torch.Tensor) -> Any:
        return self._function(self, *args)


def mlp() -> Model:
    layers = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 512))
    return Model(layers.half(), (torch.randn(64, 512).half(),))


def resnet() -> Model:
    """The parts of a ResNet: a strided convolution, batch normalisation, pooling, a shortcut."""
    trunk = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))

    def forward(self: Any, x: torch.Tensor) -> Any:
        hidden = self.trunk(x)
        return self.head(hidden + self.block(hidden))

    module = Function(forward)
    module.trunk, module.block, module.head = trunk, block, head
    return Model(module, (torch.randn(2, 8, 32, 32),))


def dilated_float64() -> Model:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=2, dilation=2), nn.Conv2d(8, 8, 3, groups=2), nn.ConvTranspose2d(8, 4, 3, stride=2)
    )
    return Model(
        nn.Sequential(layers, nn.Flatten(), nn.Linear(3364, 5)).double(), (torch.randn(2, 3, 16, 16).double(),)
    )


def causal_attention() -> Model:
    attend = torch.nn.functional.scaled_dot_product_attention
    rows = torch.export.Dim("rows", min=1, max=4096)
    inputs = tuple(torch.randn(1, 4, 48, 64, dtype=torch.bfloat16) for _ in range(3))
    return Model(
        Function(lambda self, q, k, v: attend(q, k, v, is_causal=True)), inputs, dynamic_shapes=(({2: rows},) * 3,)
    )


def bert() -> Model:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        num_hidden_layers=2, hidden_size=128, num_attention_heads=2, intermediate_size=256, vocab_size=100
    )
    model = transformers.BertModel(config, add_pooling_layer=False).half()

    def forward(self: Any, ids: torch.Tensor, mask: torch.Tensor) -> Any:
        return self.model(ids, attention_mask=mask).last_hidden_state

    module = Function(forward)
    module.model = model
    return Model(module, (torch.randint(0, 100, (8, 128)), torch.ones(8, 128, dtype=torch.int64)))


def lstm() -> Model:
    return Model(nn.LSTM(16, 32, batch_first=True), (torch.randn(2, 5, 16),))


def reductions() -> Model:
    return Model(Function(lambda self, x: (x.sum(), x.var(-1), torch.logsumexp(x, -1))), (torch.randn(256, 4096),))


def scan_and_sort() -> Model:
    return Model(
        Function(lambda self, x: (torch.cumsum(x, -1), *torch.sort(x), *torch.topk(x, 3))), (torch.randn(4, 200),)
    )


def sort_of_long_rows() -> Model:
    return Model(Function(lambda self, x: tuple(torch.sort(x, stable=True))), (torch.randn(2, 700),))


def scatter_and_random() -> Model:
    def forward(self: Any, x: torch.Tensor, index: torch.Tensor) -> Any:
        return x.index_add(0, index, x[:3]), index.new_zeros(8).index_add(0, index, index), x + torch.rand_like(x)

    return Model(Function(forward), (torch.randn(8, 16), torch.tensor([1, 2, 2])))


def kv_cache() -> Model:
    def forward(self: Any, x: torch.Tensor, position: torch.Tensor) -> Any:
        self.cache.index_copy_(1, position, x)
        return self.cache.sum(-1)

    return Model(Function(forward, cache=torch.zeros(2, 32, 8)), (torch.randn(2, 1, 8), torch.tensor([3])))


def condition() -> Model:
    return Model(
        Function(lambda self, x: torch.cond(x.sum() > 0, lambda a: a + 1, lambda a: a * 2, (x,))), (torch.randn(4, 8),)
    )


def dynamic_batch() -> Model:
    batch = torch.export.Dim("batch", min=2, max=64)
    layers = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.LayerNorm(64))
    return Model(layers, (torch.randn(4, 32),), dynamic_shapes=({0: batch},))


MODELS = [
    mlp,
    resnet,
    dilated_float64,
    causal_attention,
    bert,
    lstm,
    reductions,
    scan_and_sort,
    sort_of_long_rows,
    scatter_and_random,
    kv_cache,
    condition,
    dynamic_batch,
]


def lowered(build: Callable[[], Model], *architectures: str) -> Lowered[CudaVariant]:
    torch.manual_seed(0)
    model = build()
    captured = capture.capture(capture.Source(model, None, ()), (), build.__name__)
    return lower_cuda(captured, architectures or ("90",), target=build.__name__)


def captured_gpu_model(name: str) -> capture.Captured:
    """A model of tests/gpu, from its file."""
    source = capture.load_source(f"gpu_models.py:{name}", {}, Path(__file__).parents[1] / "gpu")
    return capture.capture(source, (), name)


def launches(variant: CudaVariant) -> list[tuple[str, str, list[str]]]:
    """(kernel, grid, arguments) of each launch in the run function."""
    found = re.findall(r"^ *launch\(context, (\w+), (\{.*?\}), (.*)\);$", variant.run_source, re.MULTILINE)
    return [(kernel, grid, re.split(r", (?![^(]*\))", arguments)) for kernel, grid, arguments in found]


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_model_becomes_cubins_and_launches(build: Callable[[], Model], tmp_path: Path) -> None:
    (variant,) = lowered(build).variants
    called = launches(variant)
    assert called
    assert {kernel for kernel, _, _ in called} == {kernel.name for kernel in variant.kernels}
    assert not re.findall(r"aoti_torch_(?:cuda|cpu)_\w+", variant.run_source), "no library kernel is called"
    by_name = {kernel.name: kernel for kernel in variant.kernels}
    for name, _, arguments in called:
        kernel = by_name[name]
        found = cubin.read(kernel.image)
        assert found.architecture == 90
        assert len(found.kernels[kernel.symbol]) == kernel.parameter_count == len(arguments) + 2
        assert kernel.image in variant.images
        assert kernel.waits, "it may start before the kernel before it has ended"
    compiler = shutil.which("g++")
    assert compiler is not None
    (tmp_path / f"{build.__name__}_kernels_sm_90.hpp").write_text(variant.kernels_header)
    source = tmp_path / "run.cpp"
    source.write_text(variant.run_source)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    done = subprocess.run(
        [compiler, *flags, f"-I{include_directory()}", f"-I{tmp_path}", str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_hand_written_kernels() -> None:
    captured = captured_gpu_model("hand_written")
    for case in captured.golden:
        x, expected = (
            torch.frombuffer(data.data, dtype=torch.float32).reshape(data.shape)
            for data in (*case.inputs, *case.outputs)
        )
        sums = x + 0.3 * x.sin() + captured.program.state_dict["row"]
        torch.testing.assert_close(expected, 2 * sums.relu().transpose(1, 2))
    (variant,) = lower_cuda(captured, ["90"], target="hand_written").variants
    grids = {kernel: (grid, arguments) for kernel, grid, arguments in launches(variant)}
    (one, two, three) = (
        next(name for name in grids if name.startswith(start)) for start in ("add_scaled", "add_row", "transpose")
    )
    assert re.fullmatch(r"\{.*120L\*s\d+.*, 1L, 1L\}", grids[one][0])
    assert grids[one][1][-1] == "float(0.3)"
    assert re.fullmatch(r"\{.*, 2L, 1L\}", grids[two][0])
    assert re.fullmatch(r"\{.*, 2L, 3L\}", grids[three][0])
    assert {kernel.name: kernel.config for kernel in variant.kernels}[one]["block"] == 256


def test_hand_written_kernels_are_refused_for_the_cpu() -> None:
    captured = captured_gpu_model("hand_written")
    message = r"^net: the model calls hand-written Triton kernels, .*:\n  add_scaled\n    at .*gpu_models.py:"
    with pytest.raises(AotbuildError, match=message):
        lower(captured, [cpu_isa("x86-64-v3")], target="net")


def test_indices_are_checked_without_assertions() -> None:
    def build() -> Model:
        def forward(self: Any, x: torch.Tensor, index: torch.Tensor) -> Any:
            return x[index], x.scatter_add(0, index[:, None].expand(3, 16), x[:3]), self.table(index).sum(0)

        module = Function(forward)
        module.table = nn.Embedding(100, 16)
        return Model(module, (torch.randn(8, 16), torch.tensor([1, 2, 2])))

    (variant,) = lowered(build).variants
    checked = [kernel for kernel in variant.kernels if "index_error" in kernel.parameters]
    assert len(checked) == len(variant.kernels)  # the copy of x is part of one
    for name, _, arguments in launches(variant):
        assert ("context_index_error(context)" in arguments) == (name in {kernel.name for kernel in checked})
    assert b"__assertfail" not in variant.images


@pytest.mark.quick
def test_index_reports_of_a_kernel() -> None:
    source = (
        "@triton_heuristics.pointwise(triton_meta={'signature': {'in_ptr0': '*i64', 'XBLOCK': 'constexpr'}, 'a': {}})\n"
        "@triton.jit\ndef look_up(in_ptr0, XBLOCK : tl.constexpr):\n"
        '    tl.device_assert(((0 <= tmp4) & (tmp4 < 8)) | ~(xmask), "index out of bounds: 0 <= tmp4 < 8")\n'
        '    tl.device_assert(broadcast(tmp5) < ks0, "index out of bounds: broadcast(tmp5) < ks0")\n'
    )
    changed = indexing.report_index_errors("look_up", source)
    assert "'XBLOCK': 'constexpr', 'index_error': '*i32'}, 'a'" in changed
    assert "def look_up(in_ptr0, XBLOCK : tl.constexpr, index_error):" in changed
    assert "    tmp4 = tl.where((0 <= tmp4) & (tmp4 < 8), tmp4, 0)\n" in changed
    assert "    tmp5 = tl.where((tmp5 < ks0), tmp5, 0)\n" in changed
    assert changed.count("mask=~(") == 2
    assert indexing.report_index_errors("other", "def other(in_ptr0):\n") == "def other(in_ptr0):\n"


@pytest.mark.quick
def test_wait_is_the_first_statement_of_a_kernel() -> None:
    head = 'def helper(x):\n    return x\n\ndef copy(\n    x,\n    y,\n):\n    """Copies."""\n'
    source = f"{head}    tl.store(y, tl.load(x))\n"
    hopper, ampere = (CUDA_ARCHITECTURES[number] for number in (90, 80))
    wait = "    tl.extra.cuda.gdc_launch_dependents()\n    tl.extra.cuda.gdc_wait()\n"
    assert dependent.waiting(source, "copy", hopper) == source.replace("    tl.store", f"{wait}    tl.store")
    assert dependent.waiting("def f(x): tl.store(x, 1)\n", "f", hopper) == "def f(x): tl.store(x, 1)\n"
    assert dependent.waiting(source, "copy", ampere) == source
    template = f"@triton_heuristics.template(\n)\n{source}".replace(
        "\n    tl.store", f"\n    tl.load(w)\n{wait}    tl.store"
    )
    assert dependent.waiting(f"\n{template}", "copy", hopper) == f"\n{template}"
    assert dependent.waits_itself(f"\n{template}") and not dependent.waits_itself(source)


@pytest.mark.quick
@pytest.mark.parametrize(
    "early",
    [
        "ld.global.b32 %r1, [%rd1];",
        "@%p1 st.shared.b32 [%r1], %r2;",
        "cp.async.cg.shared",
        "@!%p2 atom.global.add",
        "call.uni f",
    ],
)
def test_wait_before_memory_is_touched(early: str) -> None:
    head, wait, load = ".visible .entry k(\n)\n{\n\tld.param.b64 %rd1, [k_0];", "\tgriddepcontrol.wait;", f"\t{early}"
    assert dependent.waits_first("\n".join((head, wait, load)))
    assert not dependent.waits_first("\n".join((head, load, wait)))
    assert not dependent.waits_first("\n".join((head, load)))


def test_products_that_cublaslt_may_compute() -> None:
    def build() -> Model:
        def forward(self: Any, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Any:
            return self.layer(x), torch.relu(self.activated(x + 1)), y @ z

        module = Function(forward)
        module.layer, module.activated = nn.Linear(64, 48), nn.Linear(64, 48)
        return Model(
            module.half(), (torch.randn(32, 64).half(), torch.randn(3, 16, 64).half(), torch.randn(3, 64, 32).half())
        )

    captured = capture.capture(capture.Source(build(), None, ()), (), "net")
    (chosen,) = lower_cuda(captured, ["90"], target="net", options={"cuda_libraries": "cublaslt"}).variants
    layer = r"\{1, 32, 48, 64\}, \{0, 64, 1\}, \{0, 1, 64\}, 1, 2, 0, 3, \{\d+, 1, 1\}"
    batched = r"\{3, 16, 32, 64\}, \{1024, 64, 1\}, \{2048, 32, 1\}, 0, 1, -1, 2, \{\d+, 3, 1\}"
    rows = re.findall(r"^    \{\d+, 5, (.*)\},$", chosen.run_source, re.MULTILINE)
    assert sorted(re.fullmatch(layer, row) is not None for row in rows) == [False, True], rows
    assert sorted(re.fullmatch(batched, row) is not None for row in rows) == [False, True], rows
    (usual,) = lower_cuda(captured, ["90"], target="net").variants
    assert "CudaProductSpec" not in usual.run_source and usual.images == chosen.images


def test_a_product_of_a_part_of_a_tensor_stays_triton_s() -> None:
    """The table has no place for where the part begins."""

    def product(self: Any, x: torch.Tensor) -> torch.Tensor:
        return x[16:] @ x[:16].t()

    captured = capture.capture(capture.Source(Model(Function(product), (torch.randn(32, 64),)), None, ()), (), "net")
    (variant,) = lower_cuda(
        captured, ["90"], target="net", options={"cuda_libraries": "cublaslt"}, processes=0
    ).variants
    assert "CudaProductSpec" not in variant.run_source


@pytest.mark.quick
@pytest.mark.parametrize(
    ("library", "problem"), [("cudnn", "is not supported yet"), ("cublaslt,cutlass", "cutlass is unknown")]
)
def test_cuda_libraries_that_are_refused(library: str, problem: str) -> None:
    with pytest.raises(AotbuildError, match=f"net: OPTIONS cuda_libraries=.*{problem}; use cuda_libraries=cublaslt"):
        products.wants_cublaslt({"cuda_libraries": library}, "net")


def test_every_architecture() -> None:
    result = lowered(kv_cache, *(str(number) for number in CUDA_ARCHITECTURES), "80-virtual")
    assert [variant.isa for variant in result.variants] == [
        *(f"sm_{number}" for number in sorted(CUDA_ARCHITECTURES, reverse=True)),
        "compute_80",
    ]
    for variant in result.variants[:-1]:
        for kernel in variant.kernels:
            assert f"sm_{cubin.read(kernel.image).architecture}" == variant.isa
            assert kernel.waits == (cubin.read(kernel.image).architecture >= 90)
    assert b".target sm_80\n" in result.variants[-1].kernels[0].image
    assert not any(kernel.waits for kernel in result.variants[-1].kernels)
    assert result.counters == {"exports": 1, "decompositions": 1, "lowerings": len(result.variants)}


def test_output_is_the_same_again_with_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(tmp_path / "first"))
    first = lowered(kv_cache)
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(tmp_path / "second"))
    second = lowered(kv_cache)
    assert first.variants[0].images == second.variants[0].images
    assert first.variants[0].run_source == second.variants[0].run_source
    assert str(tmp_path).encode() not in first.variants[0].images


def test_every_input_is_aligned() -> None:
    (variant,) = lowered(kv_cache).variants
    assert len(re.findall(r"(\w+) = context_aligned\(context, \1\);", variant.run_source)) == 2


def test_outputs_have_the_dtypes_of_the_signature() -> None:
    """On a GPU means and deviations of half types are float32; the signature is the one that the CPU's export has."""

    def moments(_: Any, x: torch.Tensor) -> Any:
        return torch.native_layer_norm(x, [4], None, None, 1e-5)

    captured = capture.capture(capture.Source(Model(Function(moments), (torch.ones(3, 4).half(),)), None, ()))
    outputs: Any = prepare(captured.program).main.module.graph.output_node().args[0]
    assert [node.meta["val"].dtype for node in outputs] == [torch.float16] * 3
    assert [spec.dtype for spec in captured.signature.outputs] == ["float16"] * 3


def test_attention_makes_no_score_matrix() -> None:
    (variant,) = lowered(causal_attention).variants
    assert len(variant.kernels) == 1
    assert variant.run_source.count("context_allocate") == 1


def test_attention_that_a_model_writes_out_becomes_the_kernel() -> None:
    def written_out() -> Model:
        inputs = tuple(torch.randn(2, 4, 64, 64).half() for _ in range(3))
        return Model(Function(lambda self, q, k, v: torch.softmax(q @ k.transpose(-2, -1) / 8.0, -1) @ v), inputs)

    (variant,) = lowered(written_out).variants
    assert [kernel.name for kernel in variant.kernels] == ["attention_0"]


def test_operator_without_a_triton_kernel_is_refused() -> None:
    def determinant() -> Model:
        return Model(Function(lambda self, x: torch.linalg.det(x)), (torch.randn(4, 4),))

    with pytest.raises(AotbuildError, match=r"no Triton kernel serves(?s:.*)det(?s:.*)or write a Triton kernel"):
        lowered(determinant)


def test_an_input_that_the_model_changes_is_refused() -> None:
    def in_place() -> Model:
        return Model(Function(lambda self, x: x.add_(1) * 2), (torch.ones(3),))

    message = r"the model changes its input '\w+' in place, and a CUDA model never writes to its inputs\n  at .*py:"
    with pytest.raises(AotbuildError, match=message):
        lowered(in_place)


@pytest.mark.quick
def test_unknown_architectures_are_refused() -> None:
    with pytest.raises(AotbuildError, match="CUDA_ARCHITECTURES '52' is unknown; use one of: 75, 80"):
        cuda_target("52")
    with pytest.raises(AotbuildError, match="loads on no later GPU; use 90 for machine code"):
        cuda_target("90-virtual")
    assert cuda_target("90-real") == cuda_target("90")


@pytest.mark.quick
def test_cubin_that_is_none() -> None:
    with pytest.raises(ValueError, match="not a cubin"):
        cubin.read(b"\x7fELF")


@pytest.mark.quick
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.int64, torch.uint8])
@pytest.mark.parametrize("descending", [False, True])
def test_sort_and_topk_of_long_rows_are_eager_pytorchs(dtype: torch.dtype, descending: bool) -> None:
    torch.manual_seed(0)
    values = (torch.randn(2, 1700) * 20).to(dtype)
    if dtype.is_floating_point:
        values[0, 5], values[1, 7], values[1, 1600] = float("nan"), float("inf"), -float("inf")
        values[0, 10], values[0, 20] = 0.0, -0.0
    ours = sort.sort_stable(values, stable=True, dim=-1, descending=descending)
    expected = torch.sort(values, stable=True, dim=-1, descending=descending)
    assert torch.equal(ours[1], expected[1])
    torch.testing.assert_close(ours[0], expected[0], rtol=0, atol=0, equal_nan=True)
    best, indices = sort.topk(values, 7, largest=descending)
    torch.testing.assert_close(best, torch.topk(values, 7, largest=descending)[0], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(values.gather(-1, indices), best, rtol=0, atol=0, equal_nan=True)
