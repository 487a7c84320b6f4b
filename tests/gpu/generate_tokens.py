"""Writes what eager PyTorch on the CPU generates after some prompts: a line of the prompt, one of the tokens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from gpu_models import generator

PROMPTS = ([1, 2, 3], list(range(100, 117)), [7])
COUNT = 200


@torch.no_grad()
def generate(module: Any, prompt: list[int]) -> list[int]:
    """Greedily."""
    logits = module.prefill(torch.tensor([prompt]))
    tokens = [int(logits.argmax())]
    while len(tokens) < COUNT:
        logits = module.decode(torch.tensor([[tokens[-1]]]))
        tokens.append(int(logits.argmax()))
    return tokens


def main() -> None:
    module: Any = generator().module
    lines = [" ".join(map(str, line)) for prompt in PROMPTS for line in (prompt, generate(module.eval(), prompt))]
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
