"""The model: mean of word vectors, two linear layers. Runs while the wheel is built, and is not in it."""

import torch

import aotbuild


class Classifier(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(1000, 32)
        self.hidden = torch.nn.Linear(32, 16)
        self.head = torch.nn.Linear(16, 2)

    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        mean = self.words(ids).mean(1)
        logits = self.head(torch.relu(self.hidden(mean)))
        return {"logits": logits, "probabilities": torch.softmax(logits, -1)}


def build() -> aotbuild.Model:
    torch.manual_seed(0)
    sizes = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("words", min=1, max=128)}
    return aotbuild.Model(Classifier(), (torch.arange(12).reshape(2, 6),), dynamic_shapes={"ids": sizes})
