"""Models of tests/gpu: each is small in the package, and together they need every kind of kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.library import triton_op, wrap_triton
from torch.nn import functional

from aotbuild import Model


def coarse(module: nn.Module) -> nn.Module:
    """The module in float16, with weights of 2 significant bits: they compress to a quarter in the package."""
    module = module.half().eval()
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.dtype == torch.float16:
            tensor.data = (tensor.data.view(torch.int16) & -512).view(torch.float16)
    return module


def calls(*calls_args: Sequence[Any]) -> list[tuple[Sequence[Any], dict[str, Any]]]:
    return [(args, {}) for args in calls_args]


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


class Encoder(nn.Module):
    """The last hidden state of a BERT."""

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        # A small vocabulary: embeddings are most of the weights otherwise, and a lookup costs the same.
        config = BertConfig(vocab_size=1024, num_hidden_layers=4, **sizes)
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return self.bert(input_ids, attention_mask).last_hidden_state


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


def bert() -> Model:
    torch.manual_seed(0)
    mask = torch.ones(8, 128, dtype=torch.int64)
    mask[3, 100:] = 0
    return Model(coarse(Encoder()), (torch.randint(0, 1024, (8, 128)), mask), rtol=2e-2, atol=3e-2)


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.norm1(self.convolution1(x)))
        return functional.relu(self.norm2(self.convolution2(hidden)) + self.shortcut(x))


def resnet18() -> Model:
    torch.manual_seed(0)
    blocks = []
    inputs = 64
    for outputs in (64, 128, 256, 512):
        blocks += [BasicBlock(inputs, outputs, 1 if outputs == 64 else 2), BasicBlock(outputs, outputs, 1)]
        inputs = outputs
    module = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000),
    )  # fmt: skip
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_var is not None
            nn.init.uniform_(part.running_var, 1, 2)
    pixels = (torch.randn(8, 3, 224, 224) * 4).round().half() / 4
    return Model(coarse(module), (pixels,), rtol=2e-2, atol=2e-2)


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


class DecoderBlock(nn.Module):
    """Causal attention and a gated MLP."""

    def __init__(self, width: int = 256, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.norm2 = nn.RMSNorm(width)
        self.gate = nn.Linear(width, 3 * width, bias=False)
        self.up = nn.Linear(width, 3 * width, bias=False)
        self.down = nn.Linear(3 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(attended.transpose(1, 2).reshape(batch, tokens, width))
        hidden = self.norm2(x)
        result: Tensor = x + self.down(functional.silu(self.gate(hidden)) * self.up(hidden))
        return result


def decoder() -> Model:
    torch.manual_seed(0)
    # Coarse, so that the case of 4096 tokens is small in the package.
    inputs = [(torch.randn(1, tokens, 256) * 4).round().bfloat16() / 4 for tokens in (100, 1, 300)]
    return Model(
        DecoderBlock().bfloat16(),
        (inputs[0],),
        dynamic_shapes={"x": {1: torch.export.Dim("tokens", min=1, max=4096)}},
        golden_inputs=calls(*((x,) for x in inputs[1:])),
        rtol=3e-2,
        atol=5e-2,
    )


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
