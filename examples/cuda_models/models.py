"""BERT, ResNet-18 and a decoder block, for GPUs: with random weights, as what they cost does not depend on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aotbuild import Model


def coarse(module: nn.Module) -> nn.Module:
    """The module in float16, with weights of 2 significant bits: they compress to a quarter."""
    module = module.half().eval()
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.dtype == torch.float16:
            tensor.data = (tensor.data.view(torch.int16) & -512).view(torch.float16)
    return module


def calls(*calls_args: Sequence[Any]) -> list[tuple[Sequence[Any], dict[str, Any]]]:
    return [(args, {}) for args in calls_args]


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
    # Coarse, so that the recorded cases are small.
    inputs = [(torch.randn(1, tokens, 256) * 4).round().bfloat16() / 4 for tokens in (100, 1, 300)]
    return Model(
        DecoderBlock().bfloat16(),
        (inputs[0],),
        dynamic_shapes={"x": {1: torch.export.Dim("tokens", min=1, max=4096)}},
        golden_inputs=calls(*((x,) for x in inputs[1:])),
        rtol=3e-2,
        atol=5e-2,
    )
