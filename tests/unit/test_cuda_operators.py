"""Operators that a GPU's lowering writes out give what eager PyTorch gives; they are the same on any device."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from aotbuild import capture
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model

pytest.importorskip("triton")

from aotbuild.lower.cuda.compile.lowering import lower_cuda
from aotbuild.lower.cuda.graph import operators, scatter_reductions, selection

pytestmark = pytest.mark.usefixtures("kernel_cache")

TABLE = {**operators.TABLE, **scatter_reductions.TABLE, **selection.TABLE}


class WrittenOut(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Calls the decompositions; ``called`` says whether any was."""

    called = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        decomposition = TABLE.get(func)
        if decomposition is None:
            return func(*args, **(kwargs or {}))
        self.called = True
        with self:
            return decomposition(*args, **(kwargs or {}))


def numbers(*sizes: int) -> Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(sum(sizes)))


def with_nan() -> Tensor:
    return numbers(4, 9).masked_fill(numbers(4, 9) > 1, torch.nan)


def repeated() -> Tensor:
    return torch.tensor([[3.0, 1, 3, 0, 1, 3], [0, 0, 2, 2, 2, 5]])


INDEX = torch.tensor([[0, 2, 2, 0], [1, 1, 1, 4], [3, 0, 3, 3]])

CASES: dict[str, Callable[[], Any]] = {
    "kthvalue": lambda: numbers(3, 8, 2).kthvalue(3, dim=1, keepdim=True),
    "median": lambda: (numbers(3, 8).median(), with_nan().median(1), numbers(3, 8).median(0)),
    "nanmedian": lambda: (with_nan().nanmedian(), with_nan().nanmedian(0).values),
    "mode": lambda: (repeated().mode(1).values, repeated().mode(0, keepdim=True).values),
    "nonzero": lambda: (repeated().nonzero(), torch.tensor(2.0).nonzero(), torch.zeros(3, 0).nonzero()),
    "nonzero_static": lambda: (
        torch.nonzero_static(repeated(), size=5),
        torch.nonzero_static(repeated(), size=20, fill_value=7),
        torch.nonzero_static(torch.zeros(2, 0), size=2),
    ),
    "masked_select": lambda: (repeated().masked_select(repeated() > 1), numbers(3).masked_select(numbers(2, 1) > 9)),
    "unique": lambda: torch.unique(repeated(), return_inverse=True, return_counts=True),
    "unique_consecutive": lambda: torch.unique_consecutive(repeated(), return_inverse=True, return_counts=True),
    "repeat_interleave": lambda: torch.repeat_interleave(torch.tensor([2, 0, 3])),
    "scatter_reduce": lambda: [
        numbers(3, 6).scatter_reduce(1, INDEX, numbers(4, 5), reduce, include_self=include_self)
        for reduce in ("amax", "amin", "prod", "mean")
        for include_self in (True, False)
    ],
    "scatter_reduce_of_half": lambda: numbers(3, 6).half().scatter_reduce(1, INDEX, numbers(4, 5).half(), "mean"),
    "scatter_reduce_of_scalars": lambda: torch.ones(()).scatter_reduce(0, torch.tensor(0), torch.tensor(5.0), "amax"),
    "index_reduce": lambda: [
        numbers(5, 3).index_reduce(0, torch.tensor([4, 4, 1]), numbers(3, 3), reduce)
        for reduce in ("amax", "amin", "prod", "mean")
    ],
    "adaptive_avg_pool3d": lambda: functional.adaptive_avg_pool3d(numbers(2, 3, 5, 6, 7), (3, 2, 4)),
    "adaptive_max_pool3d": lambda: functional.adaptive_max_pool3d(
        numbers(2, 3, 5, 6, 7), (3, 2, 4), return_indices=True
    ),
    "cdist": lambda: [torch.cdist(numbers(2, 4, 3), numbers(2, 5, 3), p) for p in (0, 1, 1.5, 2, torch.inf)],
    "pdist": lambda: functional.pdist(numbers(5, 3)),
    "histc": lambda: (numbers(50).histc(7), numbers(50).histc(4, -1, 0.5), torch.ones(3).histc(3)),
    "embedding_bag": lambda: [
        functional.embedding_bag(
            torch.tensor([1, 1, 6, 0, 2]), numbers(7, 3), torch.tensor([0, 2, 2]), mode=mode, padding_idx=0
        )
        for mode in ("sum", "mean")
    ],
    "grid_sampler_3d": lambda: [
        functional.grid_sample(numbers(2, 3, 4, 5, 6), numbers(2, 2, 3, 4, 3), mode, padding, align_corners)
        for mode in ("bilinear", "nearest")
        for padding in ("zeros", "border", "reflection")
        for align_corners in (True, False)
    ],
    "digamma": lambda: torch.tensor([-2.0, -1.7, -0.0, 0.0, 1e-3, 0.5, 3, 40, torch.nan]).digamma(),
}  # fmt: skip


@pytest.mark.quick
@pytest.mark.parametrize("name", CASES)
def test_operators_are_eager_pytorchs(name: str) -> None:
    with WrittenOut() as mode:  # type: ignore[no-untyped-call]
        results = CASES[name]()
    assert mode.called
    torch.testing.assert_close(results, CASES[name](), equal_nan=True)


@pytest.mark.quick
@pytest.mark.parametrize("replacement", [True, False])
def test_draws_are_of_categories_that_have_a_weight(replacement: bool) -> None:
    weights = torch.tensor([[0.0, 1, 3, 0], [2, 0, 1, 0]])
    drawn = operators._multinomial(weights, 2, replacement)
    assert drawn.dtype == torch.int64
    assert (weights.gather(1, drawn) > 0).all()


@pytest.mark.quick
def test_recurrent_cells_are_eager_pytorchs() -> None:
    x, hidden, cell = numbers(3, 5), numbers(3, 7), numbers(3, 7)
    lstm, gru = torch.nn.LSTMCell(5, 7), torch.nn.GRUCell(5, 7)
    with torch.no_grad():
        ours = operators._lstm_cell(x, (hidden, cell), lstm.weight_ih, lstm.weight_hh, lstm.bias_ih, lstm.bias_hh)
        torch.testing.assert_close(ours, lstm(x, (hidden, cell)))
        state = operators._gru_cell(x, hidden, gru.weight_ih, gru.weight_hh, gru.bias_ih, gru.bias_hh)
        torch.testing.assert_close(state, gru(x, hidden))


class Function(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Tensor) -> Any:
        return self.function(*args)


def run_source(function: Callable[..., Any], *inputs: Tensor) -> str:
    captured = capture.capture(capture.Source(Model(Function(function), inputs), None, ()), (), "model")
    return lower_cuda(captured, ["90"], target="model", processes=0).variants[0].run_source


def test_a_size_that_depends_on_values_is_read_on_the_host() -> None:
    source = run_source(lambda x: x.masked_select(x > 0) * 2, numbers(3, 4))
    assert "launch(context" in source
    assert "item" in source


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_conversions_that_the_model_writes_round(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.codegen.triton import TritonKernel

    kernels: list[str] = []
    upstreams = TritonKernel.codegen_kernel

    def recorded(self: Any, *args: Any, **kwargs: Any) -> str:
        kernels.append(str(upstreams(self, *args, **kwargs)))
        return kernels[-1]

    monkeypatch.setattr(TritonKernel, "codegen_kernel", recorded)
    run_source(lambda x: x.to(dtype).float() * 3, numbers(4, 5))
    name = str(dtype).removeprefix("torch.")
    assert re.search(rf"(\w+) = \w+\.to\(tl\.{name}\)\n +\w+ = \1\.to\(tl\.float32\)", kernels[0])


def test_a_mask_larger_than_the_tensor_is_refused() -> None:
    with pytest.raises(AotbuildError, match=r"masked_select of a tensor(?s:.*)Expand the tensor first"):
        run_source(lambda x, mask: x.masked_select(mask), numbers(4), numbers(3, 4) > 0)


def test_assignments_to_slices_compile_where_pytorch_has_no_cuda() -> None:
    def assign(x: Tensor, y: Tensor) -> Tensor:
        result = x.clone()
        result[:, 1:3] = y
        return result * 2

    assert run_source(assign, numbers(3, 4), numbers(3, 2)).count("launch(context") == 1


class Roll(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.roll(2, 0)


def test_checks_of_indices_that_sizes_alone_give_are_reports_too() -> None:
    """No index is loaded, and none can be replaced."""
    model = Model(Roll(), (numbers(5, 4),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    captured = capture.capture(capture.Source(model, None, ()), (), "model")
    source = lower_cuda(captured, ["90"], target="model", processes=0).variants[0].run_source
    assert "context_index_error(context)" in source


def test_a_model_without_tensors_compiles_beside_others() -> None:
    run_source(lambda x: x * 2, numbers(3))
    assert "launch(context" not in run_source(lambda x: x.shape[0], numbers(3))


def test_operators_that_only_a_library_has_are_refused_by_name() -> None:
    with pytest.raises(AotbuildError, match=r"no Triton kernel serves 1 operator(?s:.*)geqrf"):
        run_source(torch.geqrf, numbers(3, 3))


def test_operators_that_cannot_be_traced_on_a_gpu_are_refused_with_their_line() -> None:
    def resize(x: Tensor) -> Tensor:
        result = x.clone()
        result.resize_as_(torch.ones(2))
        return result

    with pytest.raises(AotbuildError, match=r"on a GPU: aten.resize_as_.default(?s:.*)at .* in forward"):
        run_source(resize, numbers(3))
