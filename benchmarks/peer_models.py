"""The models that benchmarks/peers.py measures: what people deploy, at its real sizes, with random weights from a seed.

``python benchmarks/peers.py`` builds each of them by its name. Those of timm need ``timm`` and ``torchvision``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

import minilm_model

Built = tuple[nn.Module, tuple[Tensor, ...]]

MODELS: dict[str, Callable[[], Built]] = {}


def model(build: Callable[[], Built]) -> Callable[[], Built]:
    def seeded() -> Built:
        torch.manual_seed(0)
        module, inputs = build()
        return module.eval(), inputs

    MODELS[build.__name__] = seeded
    return seeded


class Output(nn.Module):
    """A model of transformers as a function of tensors in position to one tensor."""

    def __init__(self, network: nn.Module, output: str, names: tuple[str, ...], **fixed: Any) -> None:
        super().__init__()
        self.network = network
        self._output, self._names, self._fixed = output, names, fixed

    def forward(self, *tensors: Tensor) -> Tensor:
        found: Tensor = self.network(**dict(zip(self._names, tensors)), **self._fixed)[self._output]
        return found


class InBfloat16(nn.Module):
    """A model that computes in bfloat16, with the inputs and outputs of the one in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.bfloat16()

    def forward(self, *tensors: Tensor) -> Tensor:
        rounded = [tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in tensors]
        output: Tensor = self.network(*rounded)
        return output.float()


def _declared_torchvision() -> Any:
    """timm and transformers import torchvision, whose C++ operators are made for another build of torch.

    No model calls them; its Python needs their names.
    """
    make: Any = torch.library.Library
    library = make("torchvision", "DEF")
    for operator in ("nms", "qnms", "roi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward",
                     "roi_pool", "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d",
                     "_deform_conv2d_backward"):  # fmt: skip
        library.define(f"{operator}(Tensor input) -> Tensor")
    return library


_torchvision = _declared_torchvision() if find_spec("torchvision") else None


def _timm(name: str, size: int = 224) -> Built:
    timm: Any = importlib.import_module("timm")
    return timm.create_model(name), (torch.randn(1, 3, size, size),)


def _tokens(batch: int, length: int) -> Tensor:
    return torch.randint(1000, 30000, (batch, length))


@model
def resnet50() -> Built:
    return _timm("resnet50")


@model
def mobilenetv3_large() -> Built:
    return _timm("mobilenetv3_large_100")


@model
def efficientnet_b0() -> Built:
    return _timm("efficientnet_b0")


@model
def convnext_tiny() -> Built:
    return _timm("convnext_tiny")


@model
def vit_small() -> Built:
    return _timm("vit_small_patch16_224")


@model
def swin_tiny() -> Built:
    return _timm("swin_tiny_patch4_window7_224")


@model
def densenet121() -> Built:
    return _timm("densenet121")


@model
def mobilevit_s() -> Built:
    return _timm("mobilevit_s", 256)


@model
def minilm_1x128() -> Built:
    return minilm_model.build()


@model
def bert_base_1x128() -> Built:
    import transformers

    network = transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False)
    ids = _tokens(1, 128)
    return Output(network, "last_hidden_state", ("input_ids", "attention_mask")), (ids, torch.ones_like(ids))


@model
def distilbert_8x64() -> Built:
    import transformers

    ids = _tokens(8, 64)
    mask = torch.ones_like(ids)
    mask[3, 50:] = 0
    network = transformers.DistilBertModel(transformers.DistilBertConfig())
    return Output(network, "last_hidden_state", ("input_ids", "attention_mask")), (ids, mask)


@model
def gpt2_prefill_1x64() -> Built:
    import transformers

    network = transformers.GPT2LMHeadModel(transformers.GPT2Config(use_cache=False))
    return Output(network, "logits", ("input_ids",)), (_tokens(1, 64),)


@model
def whisper_base_encoder() -> Built:
    import transformers

    network = transformers.WhisperModel(transformers.WhisperConfig(
        d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048,
        decoder_layers=1, decoder_attention_heads=8, decoder_ffn_dim=2048,
    )).get_encoder()  # fmt: skip
    return Output(network, "last_hidden_state", ("input_features",)), (torch.randn(1, 80, 3000),)


@model
def wav2vec2_base_1s() -> Built:
    import transformers

    network = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config())
    return Output(network, "last_hidden_state", ("input_values",)), (torch.randn(1, 16000),)


class Separator(nn.Module):
    """Conv-TasNet for two speakers: Luo and Mesgarani, Conv-TasNet, 2019, with the paper's N, L, B, H, P, X and R."""

    def __init__(self, filters: int = 512, length: int = 16, bottleneck: int = 128, hidden: int = 512) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, filters, length, stride=length // 2, bias=False)
        self.norm = nn.GroupNorm(1, filters)
        self.narrow = nn.Conv1d(filters, bottleneck, 1)
        self.blocks = nn.ModuleList(_SeparatorBlock(bottleneck, hidden, 2**x) for _ in range(3) for x in range(8))
        self.masks = nn.Sequential(nn.PReLU(), nn.Conv1d(bottleneck, 2 * filters, 1))
        self.decoder = nn.ConvTranspose1d(filters, 1, length, stride=length // 2, bias=False)

    def forward(self, wave: Tensor) -> Tensor:
        features = torch.relu(self.encoder(wave))
        hidden = self.narrow(self.norm(features))
        skips: Tensor | float = 0.0
        for block in self.blocks:
            residual, skip = block(hidden)
            hidden, skips = hidden + residual, skips + skip
        masks = torch.sigmoid(self.masks(skips)).view(-1, 2, *features.shape[1:])
        sources = (masks * features.unsqueeze(1)).flatten(0, 1)
        separated: Tensor = self.decoder(sources)  # [batch * 2, 1, samples]
        return separated


class _SeparatorBlock(nn.Module):
    def __init__(self, bottleneck: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(bottleneck, hidden, 1), nn.PReLU(), nn.GroupNorm(1, hidden),
            nn.Conv1d(hidden, hidden, 3, padding=dilation, dilation=dilation, groups=hidden),
            nn.PReLU(), nn.GroupNorm(1, hidden),
        )  # fmt: skip
        self.residual = nn.Conv1d(hidden, bottleneck, 1)
        self.skip = nn.Conv1d(hidden, bottleneck, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.layers(x)
        return self.residual(hidden), self.skip(hidden)


@model
def conv_tasnet_1s() -> Built:
    return Separator(), (torch.randn(1, 1, 8000),)


class UNet(nn.Module):
    """Ronneberger, Fischer and Brox, U-Net, 2015, with padding, batch normalisation and 32 features at first."""

    def __init__(self, features: int = 32, depth: int = 4) -> None:
        super().__init__()
        sizes = [features << level for level in range(depth + 1)]
        self.down = nn.ModuleList(_pair(before, after) for before, after in zip([3, *sizes], sizes))
        self.up = nn.ModuleList(nn.ConvTranspose2d(size, size // 2, 2, stride=2) for size in sizes[:0:-1])
        self.merge = nn.ModuleList(_pair(size, size // 2) for size in sizes[:0:-1])
        self.head = nn.Conv2d(features, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for level, down in enumerate(self.down):
            x = down(x if level == 0 else nn.functional.max_pool2d(x, 2))
            kept.append(x)
        for up, merge, skip in zip(self.up, self.merge, kept[-2::-1]):
            x = merge(torch.cat([skip, up(x)], 1))
        output: Tensor = self.head(x)
        return output


def _pair(before: int, after: int) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


@model
def unet_256() -> Built:
    return UNet(), (torch.randn(1, 3, 256, 256),)


class Sequence(nn.Module):
    """A recurrent layer's output alone."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer(x)[0]
        return output


@model
def gru_2x256_100_steps() -> Built:
    return Sequence(nn.GRU(256, 256, 2)), (torch.randn(100, 1, 256),)


@model
def lstm_2x256_100_steps() -> Built:
    return Sequence(nn.LSTM(256, 256, 2)), (torch.randn(100, 1, 256),)


@model
def mlp_1_row() -> Built:
    layers = (nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 8))
    return nn.Sequential(*layers), (torch.randn(1, 64),)


def build(name: str, precision: str = "float32") -> Built:
    """What CMake and the peers build: a model of the list in float32 or bfloat16."""
    module, inputs = MODELS[name]()
    return (InBfloat16(module).eval() if precision == "bfloat16" else module), inputs
