"""Models at the sizes that people deploy, as plain modules, with their inputs: made alike here and where a GPU is."""

# Layers and buffers of a module are anything to mypy.
# mypy: disable-error-code="no-any-return, index, arg-type, dict-item, operator"

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Inputs = tuple[Tensor, ...]


class RotaryAttention(nn.Module):
    """Grouped-query attention over a cache of fixed size, with rotary positions."""

    def __init__(self, width: int, heads: int, kv_heads: int, batch: int, room: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, kv_heads * self.head_width, bias=False)
        self.value = nn.Linear(width, kv_heads * self.head_width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        if room:
            self.register_buffer("keys", torch.zeros(batch, kv_heads, room, self.head_width))
            self.register_buffer("values", torch.zeros(batch, kv_heads, room, self.head_width))

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], position: Tensor | None) -> Tensor:
        batch, length, _ = x.shape
        query = rotated(self.query(x).view(batch, length, self.heads, -1).transpose(1, 2), rotation)
        key = rotated(self.key(x).view(batch, length, self.kv_heads, -1).transpose(1, 2), rotation)
        value = self.value(x).view(batch, length, self.kv_heads, -1).transpose(1, 2)
        if position is None:
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        else:
            self.keys.index_copy_(2, position, key)
            self.values.index_copy_(2, position, value)
            mask = torch.arange(self.keys.shape[2], device=x.device) <= position
            mixed = functional.scaled_dot_product_attention(
                query, self.keys, self.values, attn_mask=mask[None, None, None], enable_gqa=True
            )
        return self.output(mixed.transpose(1, 2).reshape(batch, length, -1))


def rotated(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embedding of ``x`` [batch, heads, length, width], https://arxiv.org/abs/2104.09864."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


class DecoderBlock(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int, kv_heads: int, batch: int, room: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=1e-5)
        self.attention = RotaryAttention(width, heads, kv_heads, batch, room)
        self.feed_forward_norm = nn.RMSNorm(width, eps=1e-5)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], position: Tensor | None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rotation, position)
        normed = self.feed_forward_norm(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


class Decoder(nn.Module):
    """Of the Llama family, 1.2B parameters with 16 layers. With ``room`` it takes a token at a position; else many."""

    def __init__(self, layers: int = 16, batch: int = 1, room: int = 2048, length: int = 2048) -> None:
        super().__init__()
        width, hidden, heads, kv_heads, vocabulary = 2048, 8192, 32, 8, 128256
        self.room = room
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(DecoderBlock(width, hidden, heads, kv_heads, batch, room) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight
        half = width // heads // 2
        angles = torch.outer(torch.arange(max(room, length)), 500000.0 ** -(torch.arange(half) / half))
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def forward(self, tokens: Tensor, position: Tensor | None = None) -> Tensor:
        where: Any = slice(0, tokens.shape[1]) if position is None else position
        rotation = self.cosine[where], self.sine[where]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, rotation, position)
        return self.head(self.norm(x[:, -1]))


class EncoderBlock(nn.Module):
    """Of a transformer encoder. ``before``: normalisations come before their layers (ViT), else after (BERT)."""

    def __init__(self, width: int, heads: int, before: bool) -> None:
        super().__init__()
        self.heads, self.before = heads, before
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.before:
            x = x + self.attention(self.norm1(x), mask)
            return x + self.contract(functional.gelu(self.expand(self.norm2(x))))
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.contract(functional.gelu(self.expand(x))))

    def attention(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, _ = x.shape
        query, key, value = (
            layer(x).view(batch, length, self.heads, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, -1))


class Bert(nn.Module):
    """BERT-large."""

    def __init__(self, layers: int = 24, width: int = 1024, heads: int = 16, vocabulary: int = 30522) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(512, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, before=False) for _ in range(layers))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(self.words(tokens) + self.positions.weight[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x, mask[:, None, None, :] != 0)
        return x


class VisionTransformer(nn.Module):
    """ViT-B/16."""

    def __init__(self, layers: int = 12, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 197, width))
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, before=True) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 1000)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 0]))


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        sizes = ((inputs, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1))
        self.layers = nn.ModuleList(convolution(*size) for size in sizes)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != 4 * width:
            self.shortcut = convolution(inputs, 4 * width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.layers[1](functional.relu(self.layers[0](x))))
        return functional.relu(self.layers[2](y) + self.shortcut(x))


def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """ResNet-50, the version with strides in the 3x3 layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 64, 7, 2)
        blocks: list[nn.Module] = []
        inputs = 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for i in range(count):
                blocks.append(Bottleneck(inputs, width, stride if i == 0 else 1))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(2048, 1000)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.stem(image)), 3, 2, 1)
        return self.head(self.blocks(x).mean((2, 3)))


class DiffusionBlock(nn.Module):
    """A residual block with the time's embedding, and a transformer block that looks at the text."""

    def __init__(self, inputs: int, width: int, heads: int, text: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, inputs), nn.Conv2d(inputs, width, 3, padding=1)
        self.time = nn.Linear(time, width)
        self.norm2, self.conv2 = nn.GroupNorm(32, width), nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()
        self.norm, self.enter, self.leave = nn.GroupNorm(32, width), nn.Linear(width, width), nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.queries = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(2))
        self.keys = nn.ModuleList(nn.Linear(size, width, bias=False) for size in (width, text))
        self.values = nn.ModuleList(nn.Linear(size, width, bias=False) for size in (width, text))
        self.outputs = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.expand, self.contract = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        y = self.conv1(functional.silu(self.norm1(x))) + self.time(functional.silu(time))[:, :, None, None]
        x = self.shortcut(x) + self.conv2(functional.silu(self.norm2(y)))
        batch, width, height, columns = x.shape
        y = self.enter(self.norm(x).permute(0, 2, 3, 1).reshape(batch, height * columns, width))
        normed = self.norms[0](y)
        y = y + self.attention(0, normed, normed)
        y = y + self.attention(1, self.norms[1](y), text)
        value, gate = self.expand(self.norms[2](y)).chunk(2, dim=-1)
        y = self.leave(y + self.contract(value * functional.gelu(gate)))
        return x + y.reshape(batch, height, columns, width).permute(0, 3, 1, 2)

    def attention(self, i: int, x: Tensor, source: Tensor) -> Tensor:
        batch, length, _ = x.shape
        query, key, value = (
            layer(where).view(batch, where.shape[1], self.heads, -1).transpose(1, 2)
            for layer, where in ((self.queries[i], x), (self.keys[i], source), (self.values[i], source))
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.outputs[i](mixed.transpose(1, 2).reshape(batch, length, -1))


class DiffusionLevels(nn.Module):
    """Two levels of a diffusion UNet: 320 channels at 64x64, 640 at 32x32, and back."""

    def __init__(self) -> None:
        super().__init__()
        text, time = 768, 1280
        self.enter = nn.Conv2d(4, 320, 3, padding=1)
        self.down1 = DiffusionBlock(320, 320, 8, text, time)
        self.smaller = nn.Conv2d(320, 320, 3, 2, 1)
        self.down2 = DiffusionBlock(320, 640, 8, text, time)
        self.larger = nn.Conv2d(640, 640, 3, padding=1)
        self.up = DiffusionBlock(960, 320, 8, text, time)
        self.norm, self.leave = nn.GroupNorm(32, 320), nn.Conv2d(320, 4, 3, padding=1)

    def forward(self, image: Tensor, time: Tensor, text: Tensor) -> Tensor:
        first = self.down1(self.enter(image), time, text)
        second = self.down2(self.smaller(first), time, text)
        x = self.larger(functional.interpolate(second, scale_factor=2.0, mode="nearest"))
        x = self.up(torch.cat((x, first), dim=1), time, text)
        return self.leave(functional.silu(self.norm(x)))


class Experts(nn.Module):
    """A dense mixture of experts: every expert sees every token, and the best two count."""

    def __init__(self, width: int = 1024, hidden: int = 2816, experts: int = 8) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.gate = nn.Parameter(torch.zeros(experts, width, hidden))
        self.up = nn.Parameter(torch.zeros(experts, width, hidden))
        self.down = nn.Parameter(torch.zeros(experts, hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        shares, chosen = functional.softmax(self.router(x).float(), dim=-1).topk(2, dim=-1)
        shares = (shares / shares.sum(-1, keepdim=True)).to(x.dtype)
        weights = torch.zeros(x.shape[0], self.gate.shape[0], dtype=x.dtype, device=x.device)
        weights = weights.scatter(1, chosen, shares)
        every = x.expand(self.gate.shape[0], -1, -1)
        hidden = functional.silu(torch.bmm(every, self.gate)) * torch.bmm(every, self.up)
        return (torch.bmm(hidden, self.down) * weights.t()[:, :, None]).sum(0)


def _images(device: str, dtype: torch.dtype, generator: torch.Generator) -> Inputs:
    return (torch.randn(32, 3, 224, 224, device=device, generator=generator).to(dtype),)


def _token(batch: int, device: str, dtype: torch.dtype, generator: torch.Generator) -> Inputs:
    tokens = torch.randint(0, 128256, (batch, 1), device=device, generator=generator)
    return tokens, torch.tensor([1024], device=device)


def _prompt(device: str, dtype: torch.dtype, generator: torch.Generator) -> Inputs:
    return (torch.randint(0, 128256, (1, 2048), device=device, generator=generator),)


def _sentences(device: str, dtype: torch.dtype, generator: torch.Generator) -> Inputs:
    tokens = torch.randint(0, 30522, (16, 384), device=device, generator=generator)
    return tokens, torch.ones(16, 384, dtype=torch.int64, device=device)


def _latents(device: str, dtype: torch.dtype, generator: torch.Generator) -> Inputs:
    sizes = ((2, 4, 64, 64), (2, 1280), (2, 77, 768))
    return tuple(torch.randn(size, device=device, generator=generator).to(dtype) for size in sizes)


def _rows(device: str, dtype: torch.dtype, generator: torch.Generator) -> Inputs:
    return (torch.randn(512, 1024, device=device, generator=generator).to(dtype),)


# By name: the module, its type, and its inputs.
MODELS: dict[str, tuple[Any, torch.dtype, Any]] = {
    "decode": (Decoder, torch.bfloat16, functools.partial(_token, 1)),
    "decode8": (functools.partial(Decoder, batch=8), torch.bfloat16, functools.partial(_token, 8)),
    "prefill": (functools.partial(Decoder, layers=4, room=0), torch.bfloat16, _prompt),
    "bert_large": (Bert, torch.float16, _sentences),
    "vit_b16": (VisionTransformer, torch.float16, _images),
    "resnet50": (ResNet, torch.float16, _images),
    "diffusion": (DiffusionLevels, torch.float16, _latents),
    "experts": (Experts, torch.bfloat16, _rows),
}


# Models with quantized layers, by the names of their programs: the model's own, and the words of QUANTIZE.
QUANTIZED = {
    "decode_int8": ("decode", ("int8",)),
    "decode_int4": ("decode", ("int4",)),
    "decode_float8": ("decode", ("float8",)),
    "decode8_int4": ("decode8", ("int4",)),
    "prefill_float8_dynamic": ("prefill", ("float8", "dynamic")),
    "prefill_int4": ("prefill", ("int4",)),
}


def made(name: str, device: str) -> tuple[nn.Module, Inputs]:
    """The model in its type with weights of a fixed seed, and inputs. Where it is made, the same each time."""
    make, dtype, inputs = MODELS[name]
    with torch.device("meta"):
        module = make()
    module = module.to(dtype).to_empty(device=device).eval()
    if isinstance(module, Decoder):
        module.head.weight = module.embedding.weight
    reference = make_buffers(make)
    generator = torch.Generator(device).manual_seed(0)
    for key, tensor in module.state_dict().items():
        if key in reference:
            tensor.copy_(reference[key])
        elif tensor.dim() > 1:
            spread = tensor.shape[-1] if tensor.dim() == 2 else tensor[0].numel()
            tensor.normal_(0, 1 / spread**0.5, generator=generator)
        elif key.endswith("weight"):
            tensor.fill_(1)
        else:
            tensor.normal_(0, 0.02, generator=generator)
    return module, inputs(device, dtype, generator)


def make_buffers(make: Any) -> dict[str, Tensor]:
    """Buffers of a model, which are computed as it is made: a small one has the same, and is made fast."""
    with torch.device("meta"):
        names = [name for name, _ in make().named_buffers()]
    if not names:
        return {}
    if not any(name in ("cosine", "sine") for name in names):
        return {name: torch.ones(()) if name.endswith("running_var") else torch.zeros(()) for name in names}
    keywords = make.keywords if isinstance(make, functools.partial) else {}
    small = Decoder(**{**keywords, "layers": 0})
    caches = {name: torch.zeros(()) for name in names}
    return {**caches, "cosine": small.cosine, "sine": small.sine}


def _build(name: str) -> Any:
    import aotbuild

    module, inputs = made(name, "cpu")
    return aotbuild.Model(module, inputs)


decode = functools.partial(_build, "decode")
decode8 = functools.partial(_build, "decode8")
prefill = functools.partial(_build, "prefill")
bert_large = functools.partial(_build, "bert_large")
vit_b16 = functools.partial(_build, "vit_b16")
resnet50 = functools.partial(_build, "resnet50")
diffusion = functools.partial(_build, "diffusion")
experts = functools.partial(_build, "experts")
