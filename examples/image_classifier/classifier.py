"""Which shape a picture shows. All that comes before the network is in the model: the program hands over bytes."""

from __future__ import annotations

import numpy as np
import torch
from shapes import NAMES, draw
from torch import Tensor, nn
from torch.nn import functional

import aotbuild

SIZE = 32


class Classifier(nn.Module):
    """A picture, uint8 [height, width, 3], to the probabilities of NAMES, [3]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(24 * (SIZE // 4) ** 2, len(NAMES)),
        )

    def scores(self, pictures: Tensor) -> Tensor:
        """Of pictures of one size, uint8 [count, height, width, 3]: float32 [count, 3]."""
        values = pictures.permute(0, 3, 1, 2).float() / 255 - 0.5
        scores: Tensor = self.layers(functional.interpolate(values, (SIZE, SIZE), mode="bilinear", align_corners=False))
        return scores

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        return {"probabilities": self.scores(picture.unsqueeze(0)).softmax(1).squeeze(0)}


def train(model: Classifier) -> None:
    """Some seconds. Yours has weights in a file: load them instead."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        labels = torch.from_numpy(rng.integers(0, len(NAMES), 48))
        height, width = (int(size) for size in rng.integers(32, 80, 2))
        pictures = np.stack([draw(NAMES[label], height, width, rng) for label in labels])
        loss = functional.cross_entropy(model.scores(torch.from_numpy(pictures)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def build() -> aotbuild.Model:
    torch.manual_seed(0)
    model = Classifier()
    train(model)
    height, width = (torch.export.Dim(name, min=8, max=4096) for name in ("height", "width"))
    example = torch.from_numpy(draw("circle", 48, 64, np.random.default_rng(0)))
    return aotbuild.Model(model.eval(), (example,), dynamic_shapes={"picture": {0: height, 1: width}})
