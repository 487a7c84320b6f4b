"""What a character does next: its surroundings in, a steering vector out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pilot(nn.Module):
    """An observation, float32 [12], to a steering vector of at most length 1, [2]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 64), nn.Tanh(), nn.Linear(64, 2))

    def forward(self, observation: Tensor) -> dict[str, Tensor]:
        steering = self.layers(observation)
        return {"steering": steering / steering.norm().clamp(min=1.0)}


def build() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return Pilot().eval(), (torch.ones(12),)
