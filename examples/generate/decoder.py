"""A small decoder of the Llama family with a KV cache: the methods prefill and decode of one model.

The weights are random with a fixed seed: the example shows how a decoder runs in C++, not what it says.
"""

import torch
from torch import nn
from torch.nn import functional

import aotbuild

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosine and sine of the angles of each position


class Attention(nn.Module):
    """Grouped-query attention with rotary positions. The cache has room for ``max_length`` tokens of one sequence."""

    def __init__(self, width: int, heads: int, kv_heads: int, max_length: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, kv_heads * self.head_width, bias=False)
        self.value = nn.Linear(width, kv_heads * self.head_width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        shape = (1, kv_heads, max_length, self.head_width)
        self.register_buffer("keys", torch.zeros(shape), persistent=False)
        self.register_buffer("values", torch.zeros(shape), persistent=False)

    def forward(self, x: torch.Tensor, rotation: Rotation, start: int, prompt: bool) -> torch.Tensor:
        length = x.shape[1]
        query = rotate(self.query(x).view(1, length, self.heads, -1).transpose(1, 2), rotation)
        key = rotate(self.key(x).view(1, length, self.kv_heads, -1).transpose(1, 2), rotation)
        value = self.value(x).view(1, length, self.kv_heads, -1).transpose(1, 2)
        self.keys[:, :, start : start + length] = key
        self.values[:, :, start : start + length] = value
        # Only what is filled is read: a token costs what its history is long, not what the cache could hold.
        keys, values = self.keys[:, :, : start + length], self.values[:, :, : start + length]
        mixed = functional.scaled_dot_product_attention(query, keys, values, is_causal=prompt, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).reshape(1, length, -1))


class Block(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int, kv_heads: int, max_length: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=1e-5)
        self.attention = Attention(width, heads, kv_heads, max_length)
        self.feed_forward_norm = nn.RMSNorm(width, eps=1e-5)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor, rotation: Rotation, start: int, prompt: bool) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), rotation, start, prompt)
        normed = self.feed_forward_norm(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


class Decoder(nn.Module):
    """Tokens of one sequence to the logits of the next one; ``length`` counts the tokens that the caches hold."""

    def __init__(
        self,
        vocabulary: int = 32000,
        width: int = 768,
        hidden: int = 2048,
        layers: int = 12,
        heads: int = 12,
        kv_heads: int = 4,
        max_length: int = 1024,
    ) -> None:
        super().__init__()
        self.max_length = max_length
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, hidden, heads, kv_heads, max_length) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight
        half = width // heads // 2
        angles = torch.outer(torch.arange(max_length), 10000.0 ** -(torch.arange(half) / half))
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)
        self.register_buffer("length", torch.zeros((), dtype=torch.int64), persistent=False)
        # Large enough that the tokens vary.
        nn.init.normal_(self.embedding.weight, std=0.02)
        for layer in self.blocks.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=2 / layer.in_features**0.5)

    def prefill(self, tokens: torch.Tensor) -> torch.Tensor:
        """Begins a sequence with ``tokens`` [1, n]; returns the logits [1, vocabulary] of the token that follows."""
        return self._advance(tokens, 0, prompt=True)

    def decode(self, token: torch.Tensor) -> torch.Tensor:
        """Goes on with one ``token`` [1, 1]; returns the logits [1, vocabulary] of the token that follows."""
        start = self.length.item()
        torch._check(start >= 0)
        torch._check(start < self.max_length)
        return self._advance(token, start, prompt=False)

    def _advance(self, tokens: torch.Tensor, start: int, prompt: bool) -> torch.Tensor:
        end = start + tokens.shape[1]
        rotation = self.cosine[start:end], self.sine[start:end]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, rotation, start, prompt)
        self.length.fill_(end)
        return self.head(self.norm(x[:, -1]))


def rotate(x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """Rotary position embedding of ``x`` [1, heads, length, width], https://arxiv.org/abs/2104.09864."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


def build(**sizes: int) -> aotbuild.Model:
    """The decoder and an example of each method; ``sizes`` (PARAMS of the target) are arguments of ``Decoder``."""
    torch.manual_seed(0)
    model = Decoder(**sizes)
    length = torch.export.Dim("length", min=1, max=model.max_length // 2)
    return aotbuild.Model(
        model,
        methods={
            "prefill": aotbuild.Method((torch.tensor([[1, 2, 3, 4]]),), dynamic_shapes={"tokens": {1: length}}),
            "decode": aotbuild.Method((torch.tensor([[5]]),)),
        },
    )
