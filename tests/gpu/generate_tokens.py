"""What eager PyTorch generates after some prompts, for generate_test; or how fast PyTorch's own ways do so on a GPU.

generate_tokens.py <file>    # on the CPU: for each prompt a line of it, and one of 200 tokens
generate_tokens.py --gpu     # prints tokens per second
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_models import generator

PROMPTS = ([1, 2, 3], list(range(100, 117)), [7])
COUNT = 200
ROUNDS = 7

Decode = Callable[[torch.Tensor], torch.Tensor]


@torch.no_grad()
def generate(module: Any, decode: Decode, prompt: list[int], device: str) -> tuple[list[int], float]:
    """Greedily: the tokens, and how many come in a second once the prompt is read."""
    tokens = [int(module.prefill(torch.tensor([prompt], device=device)).argmax())]
    start = time.perf_counter()
    while len(tokens) < COUNT:
        tokens.append(int(decode(torch.tensor([[tokens[-1]]], device=device)).argmax()))
    return tokens, (COUNT - 1) / (time.perf_counter() - start)


def print_rates(module: Any) -> None:
    """The median of some sequences, as generate_test prints it."""
    ways: dict[str, Decode] = {
        "eager PyTorch, position read by the host": module.decode_sliced,
        "eager PyTorch, position on the GPU": module.decode,
        "torch.compile, position on the GPU": torch.compile(module.decode),
        "the same with CUDA graphs": torch.compile(module.decode, mode="reduce-overhead"),
    }
    for name, decode in ways.items():
        generate(module, decode, PROMPTS[0], "cuda")  # compiles
        runs = [generate(module, decode, PROMPTS[0], "cuda") for _ in range(ROUNDS)]
        rate = statistics.median(rate for _, rate in runs)
        print(f"{name:<40} {rate:8.0f} tokens per second")


def main() -> None:
    module: Any = generator().module
    module = module.eval()
    if sys.argv[1] == "--gpu":
        print_rates(module.cuda())
        return
    lines = [line for prompt in PROMPTS for line in (prompt, generate(module, module.decode, prompt, "cpu")[0])]
    Path(sys.argv[1]).write_text("".join(" ".join(map(str, line)) + "\n" for line in lines))


if __name__ == "__main__":
    main()
