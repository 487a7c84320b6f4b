"""The quickstart's model: returns the module and example inputs; runs at build time only."""

import torch


def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)), (torch.ones(2, 4),)
