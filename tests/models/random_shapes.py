"""Random sizes inside the declared ranges, under the address sanitizer: no report, and eager PyTorch's results.

    python tests/models/random_shapes.py [--calls 2000] [MODEL ...]    # builds every model of the zoo whose sizes vary

The smallest sizes are the likeliest. Each input lies in memory of exactly its size, and so does every tensor of the
runtime in such a build, so that one element too many is a report.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from model_builds import ROOT, Target, assert_same, build_targets, leaves
from model_zoo import MODELS
from torch.utils import _pytree as pytree

from aotbuild.capture.sizes import resize

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
# Sizes that have no bound, or a larger one, go up to here: instrumented kernels are slow.
LARGEST = 40

# What is said of sizes inside their ranges that do not fit together.
_REFUSALS = ("the inputs' sizes do not fit: the model needs", "scaled_dot_product_attention: the length of value is")

Call = tuple[torch.Tensor, ...]


def dynamic_models() -> list[str]:
    """The models of the zoo whose sizes vary and whose inputs are positional tensors."""
    found = []
    for name, build in MODELS.items():
        model = build()
        given = pytree.tree_leaves((tuple(model.example_inputs), dict(model.example_kwargs)))
        if model.dynamic_shapes is not None and all(isinstance(leaf, torch.Tensor) for leaf in given):
            found.append(name)
    return found


def lists(names: Sequence[str]) -> str:
    """The program that calls the models, for the project's CMakeLists.txt."""
    table = " ".join(f"X({name})" for name in names)
    return (
        f'add_executable(random_shapes "{ROOT}/tests/sanitizers/random_shapes.cpp")\n'
        f"target_link_libraries(random_shapes PRIVATE {' '.join(names)})\n"
        f'target_compile_definitions(random_shapes PRIVATE "AOTBUILD_MODELS={table}")\n'
    )


def random_calls(manifest: Mapping[str, Any], example: Sequence[torch.Tensor], count: int, seed: int) -> Iterator[Call]:
    """Inputs of random sizes, with values as in the example. Sizes that do not fit together are among them."""
    dims = [dim for spec in manifest["inputs"] for dim in spec["dims"]]
    codes = {dim["size"]: compile(dim["size"], "size", "eval") for dim in dims}
    symbols = sorted({name for code in codes.values() for name in code.co_names})
    chance = random.Random(seed)
    torch.manual_seed(seed)

    def size(dim: Mapping[str, Any], values: Mapping[str, int]) -> int:
        found = eval(codes[dim["size"]], {}, dict(values))
        return int(found)

    def one(symbol: str) -> int:
        plain = [dim for dim in dims if dim["size"] == symbol]
        low = max((int(dim["min"]) for dim in plain), default=0)
        high = max(low, min([int(dim["max"]) for dim in plain] + [LARGEST]))
        return chance.choice([low, min(low + 1, high), min(low + 2, high), high, *(chance.randint(low, high),) * 4])

    made = 0
    while made < count:
        values = {symbol: one(symbol) for symbol in symbols}
        if not all(dim["min"] <= size(dim, values) <= dim["max"] for dim in dims):
            continue
        made += 1
        shapes = [[size(dim, values) for dim in spec["dims"]] for spec in manifest["inputs"]]
        yield tuple(_values(tensor, shape) for tensor, shape in zip(example, shapes, strict=True))


def _values(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    if tensor.is_floating_point():
        return torch.randn(tuple(shape)).to(tensor.dtype)
    return resize(tensor, shape)


def check(build: Path, name: str, count: int, seed: int = 0) -> str:
    """Calls a model that ``build`` has; says how many calls went through. Raises AssertionError for a wrong one."""
    model = MODELS[name]()
    module: Any = model.module.eval() if isinstance(model.module, torch.nn.Module) else model.module
    args, kwargs = tuple(model.example_inputs), dict(model.example_kwargs)
    example, spec = pytree.tree_flatten((args, kwargs))
    manifest = json.loads((build / f"{name}.aotbuild" / f"{name}.manifest.json").read_text())
    calls = list(random_calls(manifest, example, count, seed))
    cases, results = build / f"{name}.cases", build / f"{name}.results"
    cases.write_bytes(b"".join(map(_encoded, (tensor for call in calls for tensor in call))))
    weights = (build / f"{name}.aotbuild").glob("*.safetensors")  # with WEIGHTS FILE
    command: list[str | Path] = [build / "random_shapes", name, cases, results, *weights]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name}: exit status {done.returncode}\n{done.stderr[-6000:]}"
    through, data = 0, memoryview(results.read_bytes())
    for call in calls:
        shapes = [list(tensor.shape) for tensor in call]
        (status, length), data = struct.unpack("qq", data[:16]), data[16:]
        message, data = bytes(data[:length]).decode(), data[length:]
        if status and any(part in message for part in _REFUSALS):
            continue
        call_args, call_kwargs = pytree.tree_unflatten([tensor.clone() for tensor in call], spec)
        expected = _expected(module, call_args, call_kwargs)
        if expected is None:
            assert status, f"{name} {shapes}: eager PyTorch refuses this call, and the library does not"
            continue
        assert not status, f"{name} {shapes}: eager PyTorch takes these sizes, and the library says: {message}"
        through += 1
        got = []
        for tensor in expected:
            result, data = _decoded(data, tensor.dtype)
            got.append(result)
        try:
            assert_same(got, expected, 1e-3, 1e-4)
        except AssertionError as error:
            raise AssertionError(f"{name} {shapes}: {error}") from error
    assert not data, f"{name}: {len(data)} bytes too many"
    return f"{name}: {through} of {count} calls with eager's results, {count - through} refused"


def _expected(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor] | None:
    """Eager PyTorch's results; None where it refuses the call, such as one with an index beyond its input."""
    try:
        with torch.no_grad():
            return leaves(module(*args, **kwargs))
    except (IndexError, RuntimeError):
        return None


def _encoded(tensor: torch.Tensor) -> bytes:
    flat = tensor.contiguous().flatten()
    data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return struct.pack(f"q{tensor.dim()}q", tensor.dim(), *tensor.shape) + data


def _decoded(data: memoryview, dtype: torch.dtype) -> tuple[torch.Tensor, memoryview]:
    (rank,) = struct.unpack("q", data[:8])
    shape = struct.unpack(f"{rank}q", data[8 : 8 + 8 * rank])
    rest = data[8 + 8 * rank :]
    count = 1
    for size in shape:
        count *= size
    nbytes = count * dtype.itemsize
    tensor = torch.frombuffer(bytearray(rest[:nbytes]), dtype=dtype) if nbytes else torch.empty(0, dtype=dtype)
    return tensor.reshape(shape), rest[nbytes:]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("models", nargs="*", default=[])
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    names = given.models or dynamic_models()
    build = build_targets(
        ROOT / "build" / "sanitizers" / "random-shapes",
        [Target(name, name, kind="STATIC") for name in names],
        lists(names),
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        "-DAOTBUILD_EIGEN=OFF",
        "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1",
        f"-DCMAKE_CXX_FLAGS={FLAGS}",
    )
    failed = 0
    for index, name in enumerate(names):
        count = given.calls // len(names) + (index < given.calls % len(names))
        try:
            print(check(build, name, count), flush=True)
        except AssertionError as error:
            failed += 1
            print(f"FAILED {error}", flush=True)
    print(f"{given.calls} calls of {len(names)} models: {failed} models failed")
    sys.exit(failed)


if __name__ == "__main__":
    main()
