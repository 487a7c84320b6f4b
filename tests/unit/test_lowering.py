"""Lowering: every expensive stage runs once, and what cannot be lowered is refused with the user's lines."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch._functorch import aot_autograd
from torch._inductor.graph import GraphLowering

from aotbuild.capture import Source, capture
from aotbuild.lower.common.lowered import Lowered
from aotbuild.lower.cpu import refusals
from aotbuild.lower.cpu.lowering import lower
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model
from aotbuild.spec.program import Variant
from aotbuild.spec.target import cpu_isa

pytestmark = pytest.mark.quick


def lowered(model: Any, *args: Any, isas: tuple[str, ...] = ("x86-64-v3",), **options: Any) -> Lowered[Variant]:
    source = Source(Model(model, args), None, ())
    return lower(capture(source), [cpu_isa(name) for name in isas], target="encoder", **options)


def refusal(model: Any, *args: Any, **options: Any) -> list[str]:
    with pytest.raises(AotbuildError) as error:
        lowered(model, *args, **options)
    return str(error.value).splitlines()


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.layers(x), -1)


# --- once


def test_every_stage_runs_once_and_aot_autograd_not_after_the_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with several instruction sets: only code generation runs for each."""
    calls: list[str] = []

    def count(owner: Any, name: str, after: str = "") -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            result = original(*args, **kwargs)
            calls.extend([after] if after else [])
            return result

        monkeypatch.setattr(owner, name, counted)

    count(torch.export, "export", after="exported")
    count(torch.export.ExportedProgram, "run_decompositions", after="decomposed")
    count(GraphLowering, "run")
    count(GraphLowering, "codegen")
    entries = [
        name
        for name, value in vars(aot_autograd).items()
        if callable(value) and getattr(value, "__module__", "") == aot_autograd.__name__ and "aot" in name
    ]
    assert {"aot_module_simplified", "aot_export_module"} <= set(entries)
    for name in entries:
        with contextlib.suppress(TypeError):
            count(aot_autograd, name)

    result = lowered(Network(), torch.ones(3, 8), isas=("x86-64-v2", "x86-64-v3", "avx512"))
    assert [variant.isa for variant in result.variants] == ["avx512", "x86-64-v3", "x86-64-v2"]
    assert result.counters == {"exports": 1, "decompositions": 1, "lowerings": 1}
    assert calls.count("export") == calls.count("run_decompositions") == 1
    assert calls[calls.index("decomposed") + 1 :] == ["run", "codegen", "codegen", "codegen"]


def test_calls_say_what_they_are_for_and_how_much_they_do() -> None:
    (variant,) = lowered(Network(), torch.ones(3, 8), counts_work=True).variants
    assert [(call.function, call.slot, call.rows) for call in variant.calls] == [
        ("context_linear", 0, (3, 3)),
        ("cpp_fused_native_layer_norm_0", None, (0, 0)),
        ("context_linear", 1, (3, 3)),
        ("cpp_fused__softmax_1", None, (0, 0)),
    ]
    # Tensors of 3 rows, each once; the weights of the normalisation are read by its kernel, those of layers are not.
    assert [call.nbytes for call in variant.calls] == [
        4 * (24 + 24),
        4 * (24 + 8 + 8 + 24),
        4 * (24 + 12),
        4 * (12 + 12),
    ]
    assert [call.flops > 0 for call in variant.calls] == [False, True, False, True]
    for call, operator in zip(variant.calls, ("linear", "native_layer_norm", "linear", "softmax")):
        ((name, place),) = call.operators
        assert (name, (place,)) == (operator, call.places)
        assert "in forward: return torch.softmax(self.layers(x), -1)" in place


def test_work_is_counted_where_it_is_asked_for() -> None:
    (variant,) = lowered(Network(), torch.ones(3, 8)).variants
    assert {(call.nbytes, call.flops, call.rows) for call in variant.calls} == {(0, 0, (0, 0))}


@pytest.mark.parametrize(
    ("function", "inputs", "expected"),
    [
        (lambda x, y: x @ y, ((2, 3, 4), (2, 4, 5)), 2 * 2 * 3 * 4 * 5),
        (lambda x, y: torch.nn.functional.conv2d(x, y, padding=1), ((1, 4, 5, 5), (6, 4, 3, 3)), 2 * 6 * 25 * 4 * 9),
        (lambda x, y: torch.nn.functional.scaled_dot_product_attention(x, y, y), ((1, 2, 8, 4), (1, 2, 6, 4)), 1536),
    ],
)
def test_operations_of_products_are_exact(
    function: Callable[..., Tensor], inputs: tuple[tuple[int, ...], ...], expected: int
) -> None:
    (variant,) = lowered(function, *(torch.ones(shape) for shape in inputs), counts_work=True).variants
    assert max(call.flops for call in variant.calls) == expected


def test_models_lowered_before_leave_no_trace() -> None:
    first = lowered(Network(), torch.ones(3, 8))
    lowered(lambda x: x.cos() @ x, torch.ones(5, 5))
    assert lowered(Network(), torch.ones(3, 8)).variants == first.variants


def test_the_number_of_sources_is_the_callers() -> None:
    for count in (1, 4, 7):
        (variant,) = lowered(Network(), torch.ones(3, 8), shard_count=count).variants
        assert len(variant.kernel_shards) == count


# --- refusals


class Inverse(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return torch.linalg.inv(x), torch.fft.fft(x)


def test_what_needs_eigen_is_refused_where_there_is_none() -> None:
    captured = capture(Source(Model(Inverse(), (torch.eye(3),)), None, ()), (), "encoder")
    (variant,) = lower(captured, [cpu_isa("x86-64-v3")], target="encoder").variants
    assert "aoti_torch_cpu_linalg_inv_ex(" in variant.run_source
    assert "_linalg_check_errors(" in variant.run_source
    with pytest.raises(AotbuildError) as error:
        lower(captured, [cpu_isa("x86-64-v3")], target="encoder", has_eigen=False)
    lines = str(error.value).splitlines()
    assert "  aten.linalg_inv_ex.default (1 call)" in lines
    assert "  aten._fft_r2c.default (1 call)" in lines
    assert any("need the headers of Eigen" in line and "libeigen3-dev" in line for line in lines)


def test_no_call_that_the_runtime_lacks_gets_into_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what upstream writes past the generator's methods, as it does with functions that work in place."""

    def put(x: Tensor, mask: Tensor, values: Tensor) -> Tensor:
        return torch.index_put(x, (mask,), values, accumulate=True)

    without = refusals.supported_shim_functions() - {"aoti_torch_index_put_out"}
    monkeypatch.setattr(refusals, "supported_shim_functions", lambda: without)
    x, mask = torch.ones(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool)
    lines = refusal(put, x, mask, x * 2)
    assert lines[0] == "encoder: the standalone runtime has no kernel for 1 operator(s) that this model calls:"
    assert lines[1].startswith("  aten.index_put_")


@pytest.mark.parametrize(
    ("function", "phrases"),
    [
        (lambda x: x.to_sparse(), ["output 'output' is a tensor of layout sparse_coo", "to_dense()"]),
        (lambda x: x[0].masked_select(x > 0), ["sizes [2] with a mask of sizes [2, 2]", "x.expand_as(mask)"]),
        (lambda x: x.to(torch.uint32), ["output 'output' has the element type uint32", "RUNTIME torch"]),
        (lambda x: x.chalf().sin().cfloat(), ["the model computes tensors of complex32", "use complex64"]),
        (
            lambda x: x.to(torch.float8_e5m2fnuz),
            ["output 'output' has the element type float8_e5m2fnuz", "convert it in the"],
        ),
    ],
)
def test_what_would_not_run_is_refused(function: Callable[[Tensor], Tensor], phrases: list[str]) -> None:
    text = "\n".join(refusal(function, torch.ones(2, 2)))
    assert all(phrase in text for phrase in phrases)


class ShortWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(2, dtype=torch.float8_e4m3fnuz))

    def forward(self, x: Tensor) -> Tensor:
        return x * cast(Tensor, self.scale).float()


@pytest.mark.parametrize("offset", [0, -2, 1])
def test_a_size_that_is_the_smaller_of_two_is_computed_in_each_call(offset: int) -> None:
    shapes = ({0: torch.export.Dim.AUTO},)
    model = Model(lambda x: torch.diagonal(x, offset), (torch.ones(5, 5),), dynamic_shapes=shapes)
    code = lower(capture(Source(model, None, ())), [cpu_isa("x86-64-v3")], target="encoder").variants[0].run_source
    assert "std::min" in code


def test_the_cholesky_factor_of_no_elements_needs_no_kernel() -> None:
    assert "cholesky" not in lowered(torch.cholesky, torch.empty(0, 5)).variants[0].run_source


def test_a_varying_size_that_upstream_fixes_to_the_examples_is_refused() -> None:
    def convolved(x: Tensor, weight: Tensor) -> Tensor:
        return nn.functional.conv2d(x, weight)

    shapes: Any = ({}, {0: torch.export.Dim("channels", min=2, max=9)})
    model = Model(convolved, (torch.ones(1, 3, 4, 4), torch.ones(5, 3, 3, 3)), dynamic_shapes=shapes)
    with pytest.raises(AotbuildError, match="compiles dimension 0 of 'weight' for the example's size of 5 alone"):
        lower(capture(Source(model, None, ())), [cpu_isa("x86-64-v3")], target="encoder")


def test_weights_of_types_that_no_library_has_are_refused_by_name() -> None:
    (line,) = refusal(ShortWeight(), torch.ones(2))
    assert line.startswith("weight 'scale' has the element type float8_e4m3fnuz; a compiled model has weights of float")


def test_unknown_options_and_presets_name_those_that_exist() -> None:
    (line,) = refusal(Network(), torch.ones(3, 8), options={"cpp.simdlenn": 8})
    assert line == "OPTIONS cpp.simdlenn: torch._inductor.config has no such option; did you mean 'cpp.simdlen'?"
    (line,) = refusal(Network(), torch.ones(3, 8), preset="fast")
    assert line == "PRESET 'fast' is unknown; use one of: default, debug, min-size"


def test_an_unknown_instruction_set_names_those_that_exist() -> None:
    with pytest.raises(AotbuildError, match="CPU_ISA 'avx9' is unknown; use one of: x86-64-v3, x86-64-v2, "):
        cpu_isa("avx9")


def test_every_call_of_the_runtime_is_checked() -> None:
    """Upstream writes scatters and writes through indices without a look at what they return."""

    def scattered(x: Tensor, mask: Tensor, index: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        put = torch.index_put(x, (mask,), values, accumulate=True)
        return put, torch.scatter_reduce(x, 0, index, values, reduce="prod")

    x, mask = torch.ones(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool)
    source = lowered(scattered, x, mask, torch.arange(4), x * 2).variants[0].run_source
    assert "AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_index_put_out(" in source
    assert not re.search(r"^\s*aoti_torch_", source, re.MULTILINE)


def test_sums_of_booleans_are_stored_as_such() -> None:
    """Upstream multiplies by `alpha` as a whole number, and would store vectors of eight bytes for each boolean."""

    def added(x: Tensor, y: Tensor) -> list[Tensor]:
        found = [torch.add(x, y, alpha=alpha) for alpha in (0, 2, 256)]
        return [*found, *torch._foreach_add([x], [y], alpha=2)]

    x = torch.ones(64, dtype=torch.bool)
    (variant,) = lowered(added, x, ~x).variants
    assert not re.search(r"(VectorizedN|VecMask|to)<int64_t", "".join(variant.kernel_shards))


class Scaled(nn.Module):
    """A packed layer, and a weight that the code reads itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = self.layer(x) * self.scale
        return scaled


def test_a_variant_says_which_weights_its_code_reads() -> None:
    result = lowered(Scaled(), torch.randn(4, 8))
    (variant,) = result.variants
    read = [result.weights[index].name for index in variant.read_weights]
    assert read == ["scale"]
    assert variant.run_source.count("context_weight(context, ") == 1


def kernels_of(function: Callable[..., Any], *args: Tensor) -> str:
    (variant,) = lowered(function, *args).variants
    return "".join(variant.kernel_shards)


def test_failed_checks_do_not_leave_the_iterations_of_parallel_loops() -> None:
    text = kernels_of(lambda x, index: x[index] * 2, torch.randn(5, 4096), torch.zeros(64, dtype=torch.int64))
    lines = [line.strip() for line in text.splitlines()]
    loop = next(number for number, line in enumerate(lines) if line.startswith("#pragma omp for"))
    body = next(number for number in range(loop, len(lines)) if lines[number] == "{")
    assert lines[body + 1] == "try {"
    assert lines.count("} catch (...) { error.capture(); }") == lines.count("error.rethrow();") == 1
    assert lines[lines.index("error.rethrow();") - 1] == "}"
    name = next(line for line in lines if line.startswith("void ")).removeprefix("void ").partition("(")[0]
    assert f'"an index is outside 0 <= index < 5 (in {name})"' in text


def test_an_example_that_is_a_view_of_other_numbers_is_an_input_like_any_other() -> None:
    """Export then guards the tensor behind it, of which a call knows nothing."""
    assert lowered(lambda x: x * 2, torch.view_as_complex(torch.randn(5, 2))).variants


def test_a_division_is_written_with_the_models_line_also_where_several_become_one_kernel() -> None:
    def divide(x: Tensor, y: Tensor) -> Tensor:
        quotient = x // y
        return torch.fmod(quotient + 1, y + 2)

    text = kernels_of(divide, torch.ones(64, dtype=torch.int64), torch.ones(64, dtype=torch.int64))
    for number, code in ((1, "quotient = x // y"), (2, "return torch.fmod(quotient + 1, y + 2)")):
        line = divide.__code__.co_firstlineno + number
        assert f'divided("test_lowering.py:{line} in forward: {code}", [&] {{' in text
    assert "inductor_cpu_integer_div_error" not in text


def test_kernels_without_checks_catch_nothing() -> None:
    text = kernels_of(lambda x: x.sin(), torch.randn(64, 4096))
    assert "#pragma omp for" in text and "try {" not in text and "error" not in text
