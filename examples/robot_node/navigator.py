"""Where a robot drives: distances of a laser scan in, a velocity out, and a memory of the scans before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RAYS, HIDDEN = 90, 32


class Navigator(nn.Module):
    """A scan, float32 [90] in metres, to a forward and an angular velocity, [2]. The buffer is each session's own."""

    def __init__(self) -> None:
        super().__init__()
        self.scan = nn.Linear(RAYS, HIDDEN)
        self.cell = nn.GRUCell(HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, 2)
        self.register_buffer("memory", torch.zeros(1, HIDDEN))

    def forward(self, scan: Tensor) -> dict[str, Tensor]:
        memory = self.cell(self.scan(scan).relu().unsqueeze(0), self.memory)
        self.memory.copy_(memory)
        return {"velocity": self.head(memory).tanh().squeeze(0)}


def build() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return Navigator().eval(), (torch.ones(RAYS),)
