"""Models of tests/gpu: each is small in the package, and together they need every kind of kernel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed._functional_collectives as collectives
import triton
import triton.language as tl
from torch import Tensor, distributed, nn
from torch.library import triton_op, wrap_triton
from torch.nn import functional

from aotbuild import Method, Model

# The models of examples/cuda_models are built from there; the others share their parts, and those of examples/generate.
sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "cuda_models"))
sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "generate"))
from decoder import Decoder, Rotation, rotate

from models import Encoder, bert, calls, coarse, decoder, resnet18

__all__ = ["bert", "decoder", "resnet18"]


def mlp() -> Model:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 512))
    return Model(
        coarse(module),
        (torch.randn(64, 512).half(),),
        dynamic_shapes={"input": {0: torch.export.Dim("batch", min=1, max=256)}},
        golden_inputs=calls((torch.randn(1, 512).half(),), (torch.randn(200, 512).half(),)),
        atol=4e-3,
    )


def small_bert() -> Model:
    """With batch and length that vary."""
    torch.manual_seed(0)
    mask = torch.ones(3, 40, dtype=torch.int64)
    mask[1, 25:] = 0
    batch, length = torch.export.Dim("batch", min=1, max=16), torch.export.Dim("length", min=2, max=512)
    sizes = {0: batch, 1: length}
    return Model(
        coarse(Encoder(hidden_size=256, num_attention_heads=4, intermediate_size=1024)),
        (torch.randint(0, 1024, (3, 40)), mask),
        dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
        rtol=2e-2,
        atol=3e-2,
    )


class Bottleneck(nn.Module):
    """Of a ResNet-50: 1x1, dilated 3x3, 1x1, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.convolution1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.convolution2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.convolution3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.norm1(self.convolution1(x)))
        hidden = functional.relu(self.norm2(self.convolution2(hidden)))
        return functional.relu(self.norm3(self.convolution3(hidden)) + self.shortcut(x))


class DilatedResNet(nn.Module):
    """ResNet-50's layers with an eighth of its channels; the last two stages dilate instead of striding."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.stages = nn.ModuleList()
        inputs = 8
        for width, blocks, stride, dilation in ((8, 3, 1, 1), (16, 4, 2, 1), (32, 6, 1, 2), (64, 3, 1, 4)):
            stage = [Bottleneck(inputs, width, stride, dilation)]
            stage += [Bottleneck(4 * width, width, 1, dilation) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(*stage))
            inputs = 4 * width

    def forward(self, x: Tensor) -> list[Tensor]:
        results = []
        hidden = self.stem(x)
        for stage in self.stages:
            hidden = stage(hidden)
            results.append(hidden)
        return results


def resnet50_float64() -> Model:
    torch.manual_seed(0)
    module = coarse(DilatedResNet()).double()
    return Model(module, (torch.randn(1, 3, 64, 64).double(),), rtol=1e-9, atol=1e-9)


def lstm() -> Model:
    torch.manual_seed(0)
    return Model(nn.LSTM(64, 96, batch_first=True), (torch.randn(4, 12, 64),), atol=1e-3, rtol=1e-3)


def reductions() -> Model:
    torch.manual_seed(0)

    def reduce(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        product = x[:, None] * y
        return product.sum(), product.amax(), product.mean(0), product.var(1), product.argmax()

    return Model(reduce, (torch.rand(10_000), torch.rand(1_000)))


def sorting() -> Model:
    torch.manual_seed(0)

    def order(x: Tensor) -> tuple[Tensor, ...]:
        values, indices = x.sort(dim=-1, stable=True)
        top = x.topk(5, dim=-1)
        return values, indices, top.values, top.indices, x.cumsum(-1)

    return Model(order, (torch.randn(16, 300),), rtol=1e-3, atol=1e-4)


class Cache(nn.Module):
    """Attends to what earlier calls have left."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(1, 4, 64, 32, dtype=torch.float16))
        self.register_buffer("values", torch.zeros(1, 4, 64, 32, dtype=torch.float16))
        self.keys: Tensor
        self.values: Tensor

    def forward(self, query: Tensor, key: Tensor, value: Tensor, position: Tensor) -> Tensor:
        self.keys.index_copy_(2, position, key)
        self.values.index_copy_(2, position, value)
        scores = query @ self.keys.transpose(-1, -2) / 32**0.5
        masked = scores.masked_fill(torch.arange(64) > position, float("-inf"))
        attended: Tensor = masked.softmax(-1) @ self.values
        return attended


def kv_cache() -> Model:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 4, 1, 32).half() for _ in range(3))
    return Model(
        Cache(), (query, key, value, torch.tensor([0])), golden_inputs=calls((key, query, value, torch.tensor([1])))
    )


class Generator(Decoder):
    """The decoder of examples/generate, and the same with its position on the GPU: a token is one CUDA graph then."""

    def decode_sliced(self, token: Tensor) -> Tensor:
        """What the example's ``decode`` does: the host reads the position, and as much of the cache as is filled."""
        logits: Tensor = super().decode(token)
        return logits

    def decode(self, token: Tensor) -> Tensor:
        module: Any = self
        position = module.length.reshape(1)
        rotation = module.cosine[position], module.sine[position]
        x = module.embedding(token)
        for block in module.blocks:
            x = x + self._attend(block.attention, block.attention_norm(x), rotation, position)
            normed = block.feed_forward_norm(x)
            x = x + block.down(functional.silu(block.gate(normed)) * block.up(normed))
        module.length.add_(1)
        logits: Tensor = module.head(module.norm(x[:, -1]))
        return logits

    def _attend(self, layer: Any, x: Tensor, rotation: Rotation, position: Tensor) -> Tensor:
        query = rotate(layer.query(x).view(1, 1, layer.heads, -1).transpose(1, 2), rotation)
        key = rotate(layer.key(x).view(1, 1, layer.kv_heads, -1).transpose(1, 2), rotation)
        layer.keys.index_copy_(2, position, key)
        layer.values.index_copy_(2, position, layer.value(x).view(1, 1, layer.kv_heads, -1).transpose(1, 2))
        filled = torch.arange(self.max_length, device=x.device)[None] <= position
        mixed = functional.scaled_dot_product_attention(query, layer.keys, layer.values, filled, enable_gqa=True)
        output: Tensor = layer.output(mixed.transpose(1, 2).reshape(1, 1, -1))
        return output


def generator() -> Model:
    torch.manual_seed(0)
    module = Generator(vocabulary=2048, width=256, hidden=704, layers=4, heads=4, kv_heads=2, max_length=256)
    token, length = torch.tensor([[5]]), torch.export.Dim("length", min=1, max=32)
    return Model(
        module,
        methods={
            "prefill": Method((torch.tensor([[1, 2, 3, 4]]),), dynamic_shapes={"tokens": {1: length}}),
            "decode": Method((token,)),
            "decode_sliced": Method((token,)),
        },
        rtol=1e-3,
        atol=1e-3,
    )


def condition() -> Model:
    def choose(x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos() * 2, (x,))

    return Model(choose, (torch.ones(1000),), golden_inputs=calls((-torch.ones(1000),)))


def scatter() -> Model:
    """Atomic additions, to rows that come several times."""
    torch.manual_seed(0)

    def add(x: Tensor, index: Tensor, counts: Tensor) -> tuple[Tensor, ...]:
        ones = torch.ones_like(index)
        return (
            x.index_add(0, index, x.flip(0)),
            counts.index_add(0, index, ones),
            x[index],
            x.scatter(0, index[:, None], 2.0),
        )

    return Model(add, (torch.randn(500, 16), torch.randint(0, 100, (500,)), torch.zeros(100, dtype=torch.int64)))


class Noise(nn.Module):
    """Statistics of random numbers, which a GPU need not draw as eager PyTorch does, and how many are as before."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("previous", torch.zeros(1 << 20))
        self.previous: Tensor

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        uniform, normal = torch.rand_like(x), torch.randn_like(x)
        dropped = functional.dropout(x, 0.25, training=True)
        repeated = (uniform == self.previous).float().mean() + (uniform == torch.rand_like(x)).float().mean()
        self.previous.copy_(uniform)
        range_error = (uniform < 0).sum() + (uniform >= 1).sum()
        return uniform.mean(), uniform.var(), normal.mean(), normal.var(), dropped.mean(), repeated, range_error


def noise() -> Model:
    # Means of 2^20 draws have a standard error of at most 1e-3, variances of 1.4e-3.
    return Model(Noise(), (torch.ones(1 << 20),), golden_inputs=calls((torch.ones(1 << 20),)), rtol=0, atol=8e-3)


# --- kernels written by hand


@triton.autotune(  # type: ignore[untyped-decorator]
    configs=[triton.Config({"block": 256}, num_warps=4), triton.Config({"block": 1024}, num_warps=8)], key=["count"]
)
@triton.jit  # type: ignore[untyped-decorator]
def add_scaled(x, y, out, count, scale, block: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.program_id(0) * block + tl.arange(0, block)
    mask = i < count
    tl.store(out + i, tl.load(x + i, mask) + scale * tl.load(y + i, mask), mask)


@triton.jit
def relu(x):  # type: ignore[no-untyped-def]
    return tl.maximum(x, 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def add_row(x, row, out, rows, columns, row_tile: tl.constexpr, column_tile: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.program_id(0) * row_tile + tl.arange(0, row_tile)[:, None]
    j = tl.program_id(1) * column_tile + tl.arange(0, column_tile)[None, :]
    mask = (i < rows) & (j < columns)
    total = tl.load(x + i * columns + j, mask) + tl.load(row + j, j < columns)
    tl.store(out + i * columns + j, relu(total), mask)


@triton.jit  # type: ignore[untyped-decorator]
def transpose_matrices(x, out, rows, columns, tile: tl.constexpr):  # type: ignore[no-untyped-def]
    matrix = tl.program_id(2) * rows * columns
    i = tl.program_id(0) * tile + tl.arange(0, tile)[:, None]
    j = tl.program_id(1) * tile + tl.arange(0, tile)[None, :]
    mask = (i < rows) & (j < columns)
    tl.store(out + matrix + j * rows + i, tl.load(x + matrix + i * columns + j, mask), mask)


@triton_op("gpu_tests::transposed", mutates_args={})
def transposed(x: Tensor) -> Tensor:
    batch, rows, columns = x.shape
    out = x.new_empty(batch, columns, rows)
    grid = (triton.cdiv(rows, 32), triton.cdiv(columns, 32), batch)
    wrap_triton(transpose_matrices)[grid](x, out, rows, columns, tile=32)
    return out


@transposed.register_kernel("cpu")  # type: ignore[untyped-decorator]
def _(x: Tensor) -> Tensor:
    return x.transpose(1, 2).clone(memory_format=torch.contiguous_format)


class HandWritten(nn.Module):
    """Grids of 1, 2 and 3 dimensions: called directly, and in an operator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.randn(40))

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns = x.shape
        sums, positive = torch.empty_like(x), torch.empty_like(x)
        add_scaled[lambda meta: (triton.cdiv(x.numel(), meta["block"]),)](x, x.sin(), sums, x.numel(), 0.3)
        grid = (triton.cdiv(batch * rows, 16), triton.cdiv(columns, 32))
        add_row[grid](sums, self.row, positive, batch * rows, columns, row_tile=16, column_tile=32)
        result: Tensor = transposed(positive)
        return result * 2


def hand_written() -> Model:
    torch.manual_seed(0)
    rows = torch.export.Dim("rows", min=1, max=300)
    return Model(HandWritten(), (torch.randn(3, 50, 40),), dynamic_shapes={"x": {1: rows}})


class Ranks(nn.Module):
    """Every collective, with sizes that vary."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(distributed.get_rank())
        self.weight = nn.Parameter(torch.randn(16))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        product = x * self.weight
        world: Any = distributed.group.WORLD
        return {
            "reduced": collectives.all_reduce(product, "sum", world) + 1,
            "mean": collectives.all_reduce(product, "avg", world),
            "gathered": collectives.all_gather_tensor(product, 0, world) * 2,
            "scattered": collectives.reduce_scatter_tensor(product, "max", 0, world),
            "exchanged": collectives.all_to_all_single(product, None, None, world),
            "broadcast": collectives.broadcast(product, 0, world),
        }


def ranks() -> Model:
    torch.manual_seed(1)
    quarter = torch.export.Dim("quarter", min=1, max=64)
    return Model(Ranks(), (torch.randn(8, 16),), dynamic_shapes={"x": {0: 4 * quarter}})
