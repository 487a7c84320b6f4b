"""Architectures of transformers at small sizes with random weights; batch and length are dynamic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from aotbuild.spec.model import Model

# Sizes of every text model unless its configuration has other names for them.
_TEXT = {
    "vocab_size": 128,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
_DECODER = {**_TEXT, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


class _Network(nn.Module):
    """A model of transformers as a function of tensors in position: one tensor out."""

    def __init__(self, network: nn.Module, names: tuple[str, ...], **fixed: Any) -> None:
        super().__init__()
        self.network = network
        self._names = names
        self._fixed = fixed

    def forward(self, *tensors: Tensor) -> Any:
        outputs = self.network(**dict(zip(self._names, tensors)), **self._fixed)
        for name in ("logits", "last_hidden_state", "pooler_output"):
            if getattr(outputs, name, None) is not None:
                return outputs[name]
        return outputs[0]


def _model(kind: str, sizes: dict[str, Any], names: tuple[str, ...], inputs: tuple[Tensor, ...], **fixed: Any) -> Model:
    import transformers

    torch.manual_seed(0)
    network = getattr(transformers, kind)
    return Model(_Network(network(network.config_class(**sizes)), names, **fixed), inputs)


def _ids(batch: int, length: int) -> Tensor:
    return torch.randint(3, 128, (batch, length), generator=torch.Generator().manual_seed(1))


def _text(kind: str, sizes: dict[str, Any], *, masked: bool = True, **fixed: Any) -> Model:
    """Token ids, and a mask of the real ones, of any batch and length."""
    ids = _ids(2, 12)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    names = ("input_ids", "attention_mask") if masked else ("input_ids",)
    model = _model(kind, sizes, names, (ids, mask)[: len(names)], **fixed)
    dims = {0: Dim("batch", min=1, max=4), 1: Dim("length", min=2, max=32)}
    model.dynamic_shapes = ((dims,) * len(names),)
    return model


def _decoder(kind: str, **sizes: Any) -> Model:
    return _text(kind, {**_DECODER, **sizes}, use_cache=False)


def _pictures(kind: str, sizes: dict[str, Any], size: int = 32, names: tuple[str, ...] = ("pixel_values",)) -> Model:
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    model = _model(kind, sizes, names, (pixels,))
    model.dynamic_shapes = (({0: Dim("batch", min=1, max=4)},),)
    return model


def _two_texts(kind: str, sizes: dict[str, Any]) -> Model:
    """An encoder and a decoder with texts of different lengths."""
    model = _model(kind, sizes, ("input_ids", "decoder_input_ids"), (_ids(2, 12), _ids(2, 7)), use_cache=False)
    batch = Dim("batch", min=1, max=4)
    encoder, decoder = Dim("length", min=2, max=32), Dim("decoder_length", min=2, max=32)
    model.dynamic_shapes = (({0: batch, 1: encoder}, {0: batch, 1: decoder}),)
    return model


_VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_BART = {
    "vocab_size": 128,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}


def _whisper() -> Model:
    sizes = {**_BART, "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 32, "pad_token_id": 0,
             "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}  # fmt: skip
    features = torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(1))
    names = ("input_features", "decoder_input_ids")
    model = _model("WhisperForConditionalGeneration", sizes, names, (features, _ids(2, 7)), use_cache=False)
    batch = Dim("batch", min=1, max=4)
    model.dynamic_shapes = (({0: batch}, {0: batch, 1: Dim("length", min=2, max=32)}),)
    return model


def _wav2vec2() -> Model:
    sizes = {**_VISION, "vocab_size": 32, "conv_dim": (16, 16, 16), "conv_stride": (5, 2, 2),
             "conv_kernel": (10, 3, 3), "num_feat_extract_layers": 3, "num_conv_pos_embeddings": 16,
             "num_conv_pos_embedding_groups": 4}  # fmt: skip
    sound = torch.randn(2, 400, generator=torch.Generator().manual_seed(1))
    model = _model("Wav2Vec2ForCTC", sizes, ("input_values",), (sound,))
    model.dynamic_shapes = (({0: Dim("batch", min=1, max=4)},),)
    return model


def _clip() -> Model:
    sizes = {
        "text_config": {**_TEXT, "eos_token_id": 2},
        "vision_config": {**_VISION, "image_size": 32, "patch_size": 8},
        "projection_dim": 16,
    }
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    names = ("input_ids", "pixel_values")
    model = _model("CLIPModel", sizes, names, (_ids(3, 12), pixels))
    texts, pictures = Dim("texts", min=1, max=4), Dim("pictures", min=1, max=4)
    model.dynamic_shapes = (({0: texts}, {0: pictures}),)
    return model


class _CachedStep(nn.Module):
    """One step of a decoder: keys and values, [layers, 2, batch, heads, past, size], come in and go out longer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(past.shape[0]):
            cache.update(past[layer, 0], past[layer, 1], layer)
        outputs = self.network(input_ids=ids, past_key_values=cache, use_cache=True)
        layers = [torch.stack([layer.keys, layer.values]) for layer in outputs.past_key_values.layers]
        return outputs.logits, torch.stack(layers)


def _llama_with_cache() -> Model:
    import transformers

    torch.manual_seed(0)
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**_DECODER))
    past = torch.randn(2, 2, 2, 2, 9, 8, generator=torch.Generator().manual_seed(1))
    # Not named: of named ones export wants proofs such as min(8 * n + 8, 16 * n + 16) == 8 * n + 8, and finds none.
    batch, length = Dim.DYNAMIC(min=1, max=4), Dim.DYNAMIC(min=2, max=32)
    shapes = {"ids": {0: batch}, "past": {2: batch, 4: length}}
    return Model(_CachedStep(network), (_ids(2, 1), past), dynamic_shapes=shapes)


_T5 = {"vocab_size": 128, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
_EXPERTS = {"num_experts_per_tok": 2}

# In the order of docs/models.md: what the model is for, and its maker.
ARCHITECTURES: dict[str, tuple[str, Callable[[], Model]]] = {
    "BERT": ("text encoder", lambda: _text("BertModel", _TEXT)),
    "RoBERTa": ("text encoder", lambda: _text("RobertaModel", {**_TEXT, "pad_token_id": 1})),
    "DistilBERT": (
        "text encoder",
        lambda: _text("DistilBertModel", {"vocab_size": 128, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),
    ),
    "ALBERT": ("text encoder", lambda: _text("AlbertModel", {**_TEXT, "embedding_size": 16})),
    "ELECTRA": ("text encoder", lambda: _text("ElectraModel", {**_TEXT, "embedding_size": 16})),
    "MPNet": ("text encoder", lambda: _text("MPNetModel", _TEXT)),
    "DeBERTa-v2": (
        "text encoder",
        lambda: _text("DebertaV2Model", {**_TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    ),
    "ModernBERT": ("text encoder", lambda: _text("ModernBertModel", {**_TEXT, "pad_token_id": 0})),
    "GPT-2": (
        "decoder",
        lambda: _text(
            "GPT2LMHeadModel",
            {"vocab_size": 128, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
            use_cache=False,
        ),
    ),
    "Llama": ("decoder", lambda: _decoder("LlamaForCausalLM")),
    "Llama with a cache": ("decoder", _llama_with_cache),
    "Mistral": ("decoder", lambda: _decoder("MistralForCausalLM", sliding_window=8)),
    "Qwen2": ("decoder", lambda: _decoder("Qwen2ForCausalLM")),
    "Gemma 2": ("decoder", lambda: _decoder("Gemma2ForCausalLM", head_dim=8, sliding_window=8)),
    "Phi-3": ("decoder", lambda: _decoder("Phi3ForCausalLM")),
    "Mixtral": ("mixture of experts", lambda: _decoder("MixtralForCausalLM", num_local_experts=4, **_EXPERTS)),
    "Qwen3-MoE": (
        "mixture of experts",
        lambda: _decoder("Qwen3MoeForCausalLM", num_experts=4, moe_intermediate_size=32, head_dim=8, **_EXPERTS),
    ),
    "T5": (
        "encoder-decoder",
        lambda: _two_texts("T5ForConditionalGeneration", {**_T5, "decoder_start_token_id": 0}),
    ),
    "BART": ("encoder-decoder", lambda: _two_texts("BartForConditionalGeneration", _BART)),
    "Whisper": ("audio", _whisper),
    "wav2vec 2.0": ("audio", _wav2vec2),
    "ViT": ("vision", lambda: _pictures("ViTModel", {**_VISION, "image_size": 32, "patch_size": 8})),
    "DINOv2": (
        "vision",
        lambda: _pictures("Dinov2Model", {**_VISION, "image_size": 32, "patch_size": 8}),
    ),
    "Swin": (
        "vision",
        lambda: _pictures(
            "SwinModel",
            {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4],
             "window_size": 4},
        ),
    ),
    "ConvNeXt": (
        "vision",
        lambda: _pictures("ConvNextModel", {"num_stages": 2, "hidden_sizes": [16, 32], "depths": [1, 1]}),
    ),
    "ResNet": (
        "vision",
        lambda: _pictures(
            "ResNetForImageClassification",
            {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"},
        ),
    ),
    "SegFormer": (
        "vision",
        lambda: _pictures(
            "SegformerForSemanticSegmentation",
            {"num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [16, 32],
             "num_attention_heads": [1, 2], "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2],
             "decoder_hidden_size": 16},
            64,
        ),
    ),
    "CLIP": ("text and vision", _clip),
}  # fmt: skip
