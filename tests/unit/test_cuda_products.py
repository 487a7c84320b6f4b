"""Templates of matrix products and divided attention for GPUs, run in Triton's interpreter on this machine."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from interpreted_kernels import Gated, constant, kernels_of, run
from torch import Tensor, nn
from torch.nn import functional

from aotbuild.capture import triton_kernels
from aotbuild.lower.cuda.graph.split_attention_kernel import attend_part, join_parts


@pytest.mark.parametrize("activation", [functional.silu, functional.gelu, functional.relu, torch.square])
def test_a_row_is_normalised_multiplied_and_gated_in_one_kernel(activation: Any) -> None:
    torch.manual_seed(0)
    module = Gated(96, 72, activation).half()
    row = torch.randn(1, 1, 96).half()
    (kernel,) = kernels_of(module, row)
    result = torch.zeros(1, 72).half()
    run(kernel, 72, row, module.gate.weight, module.up.weight, module.norm.weight, result)
    assert kernel.work[0].flops == 2 * 2 * 96 * 72
    torch.testing.assert_close(result, module(row)[0], rtol=4e-3, atol=4e-3)


class Rounding(nn.Module):
    """A normalisation that is rounded before its scale, as Hugging Face's models write it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(64).half())
        self.layer = nn.Linear(64, 40, bias=False).half()

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        result: Tensor = self.layer(self.scale * normed.half())
        return result


def test_a_norm_that_is_rounded_before_its_scale_is() -> None:
    torch.manual_seed(0)
    module, row = Rounding(), torch.randn(1, 64).half()
    (kernel,) = kernels_of(module, row)
    result = torch.zeros(1, 40).half()
    run(kernel, 20, row, module.layer.weight, module.scale, result)
    torch.testing.assert_close(result, module(row))
    assert constant(kernel, "ROUNDS_FIRST") == "True"


@pytest.mark.parametrize(("rows", "width", "outputs"), [(1, 1500, 33), (3, 200, 70), (16, 64, 20)])
def test_products_of_few_rows(rows: int, width: int, outputs: int) -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(width, outputs).half(), torch.randn(rows, width).half()
    (kernel,) = kernels_of(module, x)
    result = torch.zeros(rows, outputs).half()
    blocks = -(-outputs // int(constant(kernel, "BLOCK_N")))
    run(kernel, blocks, module.bias, x, module.weight, result)
    torch.testing.assert_close(result, module(x), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("by_columns", [True, False])
def test_products_through_tensor_maps(by_columns: bool) -> None:
    """Sizes that no tile divides: operands are zeros beyond their ends."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(456, 136) if by_columns else torch.randn(136, 456)).half()

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(weight)

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(x @ (self.weight.t() if by_columns else self.weight))

    module, x = Product(), torch.randn(200, 136).half()
    (kernel,) = kernels_of(module, x)
    assert constant(kernel, "B_COLUMNS") == str(by_columns)
    result = torch.zeros(200, 456).half()
    run(kernel, 3, x, module.weight, result, BLOCKS=3)  # each computes several tiles
    torch.testing.assert_close(result, module(x), rtol=2e-3, atol=2e-3)


def test_sums_of_few_rows_are_divided_where_columns_are_few() -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(4096, 100).half(), torch.randn(4, 4096).half()
    product, join = kernels_of(module, x)
    splits = int(constant(product, "SPLITS"))
    assert splits > 1
    parts = torch.full((splits * 4, 100), torch.nan)
    run(product, (2, splits), x, module.weight, parts)
    expected = x.float() @ module.weight.float().t()
    torch.testing.assert_close(parts.view(splits, 4, 100).sum(0), expected, rtol=1e-4, atol=1e-4)
    assert "poi" in join.kernel.name


def divided_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, splits: int) -> Tensor:
    """By the kernels that divide the keys; heads of queries share those of keys."""
    batch, heads, queries, width = query.shape
    sizes = (batch, heads, queries, splits)
    totals, peaks, sums = (
        torch.full((*sizes, width), torch.nan),
        torch.full(sizes, torch.nan),
        torch.full(sizes, torch.nan),
    )
    output = torch.zeros(batch, queries, heads, width)
    seen = None if mask is None else mask.expand(batch, heads, queries, key.shape[2])
    kind = "none" if mask is None else "bool" if mask.dtype == torch.bool else "additive"
    strides = [x.stride() for x in (query, key, value)] + [(0, 0, 0, 0) if seen is None else seen.stride()]
    with triton_kernels.interpreted():
        attend_part[(splits, batch * key.shape[1], 1)](
            query, key, value, seen, totals, peaks, sums, heads, heads // key.shape[1], queries, key.shape[2],
            *(stride for each in strides for stride in each),
            SCALE=1.4426950408889634 / width**0.5, MASK=kind, HEAD_DIM=width, VALUE_DIM=width, BLOCK_D=64, BLOCK_V=64,
            BLOCK_M=16, SPLITS=splits, BLOCK_N=32,
        )  # fmt: skip
        join_parts[(batch * heads * queries, 1, 1)](
            totals, peaks, sums, output, heads, queries, output.stride(0), output.stride(2), output.stride(1),
            VALUE_DIM=width, BLOCK_V=64, SPLITS=splits, BLOCK_S=8,
        )  # fmt: skip
    return output.permute(0, 2, 1, 3)


def seen_keys(kind: str, queries: int, keys: int) -> Tensor | None:
    if kind == "none":
        return None
    if kind == "additive":
        return torch.randn(2, 1, queries, keys)
    mask = torch.rand(2, 1, queries, keys) > 0.4
    mask[:, :, :, keys // 3 :] &= kind == "scattered"  # else parts that nobody sees
    mask[1, 0, 0] = kind == "scattered"  # and a row that sees nothing
    return mask


@pytest.mark.parametrize("kind", ["none", "additive", "scattered", "beginning"])
@pytest.mark.parametrize(("queries", "keys", "splits"), [(1, 300, 5), (3, 65, 2), (4, 130, 8)])
def test_attention_divided_over_keys(kind: str, queries: int, keys: int, splits: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, queries, 40), torch.randn(2, 2, keys, 40), torch.randn(2, 2, keys, 40)
    mask = seen_keys(kind, queries, keys)
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
    found = divided_attention(query, key, value, mask, splits)
    torch.testing.assert_close(found, expected.nan_to_num(0.0), rtol=1e-5, atol=1e-5)


def test_one_token_over_a_cache_has_its_keys_divided() -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    inputs = [torch.randn(1, heads, length, 64).half() for heads, length in ((8, 1), (2, 2048), (2, 2048))]
    names = [kernel.kernel.name.rsplit("_", 1)[0] for kernel in kernels_of(attend, *inputs)]
    assert names == ["attend_part", "join_parts"]


@pytest.mark.parametrize("repeated", ["expand", "repeat_interleave"])
def test_copies_of_heads_are_not_made(repeated: str) -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if repeated == "expand":
            k, v = (x[:, :, None].expand(-1, -1, 4, -1, -1).reshape(1, 8, 700, 64) for x in (k, v))
        else:
            k, v = (x.repeat_interleave(4, dim=1) for x in (k, v))
        return functional.scaled_dot_product_attention(q, k, v)

    inputs = [torch.randn(1, heads, length, 64).half() for heads, length in ((8, 200), (2, 700), (2, 700))]
    names = [kernel.kernel.name.rsplit("_", 1)[0] for kernel in kernels_of(attend, *inputs)]
    assert names == ["attention"]


def test_a_mask_that_layers_share_is_made_once() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor, position: Tensor) -> Tensor:
            for _ in range(3):
                mask = torch.arange(200) <= position
                x = functional.scaled_dot_product_attention(x, x, x, attn_mask=mask[None, None, None])
            return x

    kernels = kernels_of(Masked(), torch.randn(1, 4, 200, 64).half(), torch.tensor([7]))
    assert sum(len(kernel.work) for kernel in kernels if "arange" in kernel.kernel.name) == 1
