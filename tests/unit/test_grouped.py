"""Products of groups in operators that a GPU has kernels for: the values of eager PyTorch, and kernels that compile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from aotbuild import Model
from aotbuild.capture import Source, capture
from aotbuild.lower.common.grouped import TABLE, masked_rows
from aotbuild.lower.cuda.compile.lowering import lower_cuda

aten = torch.ops.aten
Product = Callable[[Tensor, Tensor, Tensor], Tensor]


def by_table(a: Tensor, b: Tensor, ends: Tensor) -> Tensor:
    result: Tensor = TABLE[aten._grouped_mm.default](a, b, ends)
    return result


@pytest.mark.quick
@pytest.mark.parametrize("ends", [[2, 5, 5, 8], [0, 0, 0, 8], [8, 8, 8, 8]])
@pytest.mark.parametrize(
    ("product", "a", "b"),
    [(masked_rows, (8, 16), (4, 16, 24)), (by_table, (4, 16, 24), (24, 8)), (by_table, (16, 8), (8, 24))],
)
def test_groups_have_the_values_of_eager_pytorch(
    product: Product, a: tuple[int, ...], b: tuple[int, ...], ends: list[int]
) -> None:
    torch.manual_seed(0)
    operands = (torch.randn(a).bfloat16(), torch.randn(b).bfloat16(), torch.tensor(ends, dtype=torch.int32))
    expected = torch._grouped_mm(*operands[:2], offs=operands[2])
    torch.testing.assert_close(product(*operands).float(), expected.float(), rtol=1.6e-2, atol=6e-2)


@pytest.mark.quick
def test_infinities_of_one_group_do_not_reach_another() -> None:
    a = torch.ones(4, 8).bfloat16()
    a[0] = torch.inf
    result = masked_rows(a, torch.ones(2, 8, 8).bfloat16(), torch.tensor([1, 4], dtype=torch.int32))
    assert result[0].isinf().all()
    assert (result[1:] == 8).all()
    summed = by_table(a.t(), torch.ones(4, 8).bfloat16(), torch.tensor([1, 4], dtype=torch.int32))
    assert summed[0].isinf().all()
    assert (summed[1] == 3).all()


@pytest.mark.quick
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_with_int8_weights_have_the_values_of_eager_pytorch(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(3, 64).to(dtype), torch.randint(-128, 128, (32, 64), dtype=torch.int8)
    scales = torch.rand(32).to(dtype)
    expected = aten._weight_int8pack_mm(x, weight, scales)
    actual = TABLE[aten._weight_int8pack_mm.default](x, weight, scales)
    torch.testing.assert_close(actual, expected, rtol=1.6e-2 if dtype is torch.bfloat16 else 1e-5, atol=1e-3)


def test_experts_compile_for_a_gpu() -> None:
    inputs = (torch.randn(8, 16).bfloat16(), torch.randn(2, 16, 32).bfloat16(), torch.tensor([3, 8], dtype=torch.int32))
    model = Model(lambda x, experts, ends: torch._grouped_mm(x, experts, offs=ends), inputs)
    lowered = lower_cuda(capture(Source(model, None, ()), (), "net"), ["90"], target="net", processes=0)
    assert "launch(context" in lowered.variants[0].run_source
