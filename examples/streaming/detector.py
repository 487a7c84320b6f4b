"""Speech or not, in chunks: spectral features in, a probability for each step out, the state in and out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import aotbuild

BANDS, HIDDEN = 40, 64


class Detector(nn.Module):
    """Features, float32 [1, steps, 40], and the state [1, 1, 64], to probabilities [1, steps] and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(BANDS, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, features: Tensor, state: Tensor) -> dict[str, Tensor]:
        hidden, state = self.layer(features, state)
        return {"probabilities": self.head(hidden).squeeze(2).sigmoid(), "state": state}


def build() -> aotbuild.Model:
    torch.manual_seed(0)
    steps = torch.export.Dim("steps", min=1, max=1000)
    example = (torch.randn(1, 10, BANDS), torch.zeros(1, 1, HIDDEN))
    return aotbuild.Model(Detector().eval(), example, dynamic_shapes={"features": {1: steps}, "state": None})
