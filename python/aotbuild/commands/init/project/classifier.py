"""The model: returns the module and example inputs. It runs while building, and never with the program."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aotbuild import Model


class Classifier(nn.Module):
    """Features, float32 [batch, 4], to the probabilities of three classes, [batch, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"probabilities": self.layers(features).softmax(dim=1)}


def build() -> Model:
    torch.manual_seed(0)  # load trained weights here
    batch = torch.export.Dim("batch", min=1, max=64)
    return Model(Classifier(), (torch.ones(2, 4),), dynamic_shapes={"features": {0: batch}})
