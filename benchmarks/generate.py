"""Tokens per second of a decoder with a KV cache: aotbuild against eager PyTorch and torch.compile, one thread.

The model is examples/generate/decoder.py: 100 million float32 parameters, so that weights come from memory and not
from a cache. Every contender generates the same tokens greedily, in turns; the tokens are compared. Run alone on the
machine: ``python benchmarks/generate.py``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# One thread for every contender. OpenMP and BLAS libraries read these when they are loaded.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import torch

from harness import machine, save, table

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench" / "generate"
PROMPT = [1, 2, 3, 4, 5, 6, 7, 8]


@dataclass(frozen=True)
class Contender:
    """How one contender reads the prompt and goes on; both give the logits of the next token."""

    prefill: Callable[[torch.Tensor], Any]
    decode: Callable[[torch.Tensor], Any]


def build() -> None:
    """Builds the library and the program."""
    source = ROOT / "benchmarks" / "projects" / "generate"
    configure = ["cmake", "-S", str(source), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
    configure += [f"-Daotbuild_DIR={ROOT / 'cmake'}", f"-DAOTBUILD_PYTHON={sys.executable}"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", BUILD], check=True, stdout=subprocess.DEVNULL)


def generate(contender: Contender, count: int) -> tuple[list[int], float]:
    """``count`` tokens, and how many of them come in a second once the prompt is read."""
    tokens = [int(torch.as_tensor(contender.prefill(torch.tensor([PROMPT]))).argmax())]
    start = time.perf_counter()
    for _ in range(count - 1):
        logits = contender.decode(torch.tensor([[tokens[-1]]]))
        tokens.append(int(logits.argmax()))
    return tokens, (count - 1) / (time.perf_counter() - start)


def program(count: int) -> tuple[list[int], float]:
    """Tokens, and tokens per second, of the C++ program."""
    command = [BUILD / "generate", "--tokens", count, *PROMPT]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return list(map(int, done.stdout.split())), float(done.stderr.split()[0])


def contenders() -> tuple[dict[str, Contender], int]:
    """The contenders, and how many parameters the model has."""
    import aotbuild

    sys.path.insert(0, str(ROOT / "examples" / "generate"))
    module: Any = importlib.import_module("decoder").build().module.eval()
    library = aotbuild.load(BUILD / "libdecoder.so", num_threads=1)
    # The position is read from a buffer: without this each call would be compiled in two parts.
    torch._dynamo.config.capture_scalar_outputs = True
    found = {
        "eager": Contender(module.prefill, module.decode),
        "torch.compile": Contender(module.prefill, torch.compile(module.decode)),
        "torch.compile, freezing": Contender(module.prefill, torch.compile(module.decode, options={"freezing": True})),
        "aotbuild": Contender(library.prefill, library.decode),
    }
    return found, sum(parameter.numel() for parameter in module.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200, help="of one sequence")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    build()
    taking_part, parameters = contenders()
    rates: dict[str, list[float]] = {name: [] for name in [*taking_part, "aotbuild, the C++ program"]}
    with torch.no_grad():
        expected, _ = generate(taking_part["eager"], arguments.tokens)
        for contender in taking_part.values():  # compiles, and finds the caches full of its own
            generate(contender, 8)
        for turn in range(arguments.rounds):
            names = list(taking_part)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                tokens, rate = generate(taking_part[name], arguments.tokens)
                if tokens != expected:
                    raise SystemExit(f"{name}: the tokens differ from eager's")
                rates[name].append(rate)
            tokens, rate = program(arguments.tokens)
            if tokens != expected:
                raise SystemExit("the C++ program: the tokens differ from eager's")
            rates["aotbuild, the C++ program"].append(rate)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    compiled = medians["torch.compile"]
    rows = [
        [name, f"{rate:.1f}", f"{1e3 / rate:.1f}", f"{4e-9 * parameters * rate:.1f}", f"{rate / compiled:.2f}"]
        for name, rate in medians.items()
    ]
    print(table(["one thread", "tokens/s", "ms/token", "weights GB/s", "of torch.compile"], rows))
    print(f"{arguments.tokens} tokens, {len(set(expected))} different ones, the same from all")
    results = {
        "machine": machine(),
        "parameters": parameters,
        "tokens": arguments.tokens,
        "different_tokens": len(set(expected)),
        "tokens_per_second": {name: [round(value, 2) for value in values] for name, values in rates.items()},
        "median_of_torch_compile": {name: round(rate / compiled, 3) for name, rate in medians.items()},
    }
    print(save("generate", results))


if __name__ == "__main__":
    main()
