"""The sweep on a GPU: what `sweep.py --device cuda` built as a package for a machine that has one, and its results.

    sweep_cuda.py package [--folder build/sweep-cuda]            # writes <folder>/package.tar.xz
    tar -xf package.tar.xz && package/run.sh outputs.tar.gz      # there: needs an NVIDIA driver, no Python
    sweep_cuda.py compare outputs.tar.gz [--folder ...]          # here: with eager's outputs of the CPU

Each sample is called three times: kernels are launched, captured into a graph, and replayed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import re
import shutil
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from sweep import GPU_RESULTS, ROOT, read_results
from sweep_cmake import compare, run, unpacked
from sweep_outcomes import BUILT, CRASHED, NONE, PASSES, WRONG, Log, Result
from sweep_report import NO_KERNEL, first_reason, missing_operators, parts, with_gpu

_ALIGNMENT = 64

_RUN = """\
#!/usr/bin/env bash
# run.sh <outputs.tar.gz>: calls the models of every batch, some batches at a time.
set -euo pipefail
result=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"
export LD_LIBRARY_PATH="$PWD" CUDA_MODULE_LOADING=LAZY
mkdir -p outputs
rm -f outputs/*
printf '%s\\n' batch*.plan | sed 's/.plan$//' |
  xargs -P 6 -I @ ./sweep_runner ./lib@.so @.plan @.inputs outputs/@
tar -czf "$result" outputs
"""


# --- the package


def package(folder: Path) -> None:
    """Everything that the built samples need on the machine with the GPU, but the driver and the C library."""
    batches: dict[str, list[Result]] = defaultdict(list)
    for result in Log(folder / "results.jsonl").read().values():
        if result.outcome == BUILT:
            batches[result.detail].append(result)
    target = folder / "package"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for batch, results in batches.items():
        shutil.copy(folder / batch / "build" / f"lib{batch}.so", target)
        plan = Plan()
        for result in results:
            plan.add(result.id, pickle.loads((folder / batch / result.id / "calls.pickle").read_bytes()))
        (target / f"{batch}.plan").write_text("".join(plan.lines))
        (target / f"{batch}.inputs").write_bytes(plan.data)
    (target / "run.sh").write_text(_RUN)
    (target / "run.sh").chmod(0o755)
    runner = target / "sweep_runner"
    run(
        "c++",
        "-std=c++17",
        "-O1",
        "-s",
        f"-I{ROOT}/cpp/include",
        ROOT / "tests/gpu/sweep_runner.cpp",
        "-ldl",
        "-o",
        runner,
    )
    for library in _libraries([runner, *target.glob("*.so")]):
        shutil.copy(library, target)
    archive = folder / "package.tar.xz"
    with tarfile.open(archive, "w:xz", preset=2) as tar:
        tar.add(target, "package")
    print(f"{archive}: {sum(map(len, batches.values()))} samples, {archive.stat().st_size / 1e6:.1f} MB")


def _libraries(files: Sequence[Path]) -> set[str]:
    """What the files load, but the C library, which is every machine's own."""
    found = set(re.findall(r"=> (/\S+)", run("ldd", *files)))
    return {path for path in found if not re.match(r"(libc|libm|libdl|libpthread|librt)\.so", os.path.basename(path))}


@dataclass
class Plan:
    """What sweep_runner reads: the calls of each model, and the values of all inputs."""

    lines: list[str] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)

    def add(self, name: str, recorded: dict[str, Any]) -> None:
        import torch
        from torch.utils import _pytree as pytree

        self.lines.append(f"model {name} {repeats(recorded)}\n")
        for number, (inputs, _) in enumerate(recorded["cases"]):
            given = pytree.tree_leaves((recorded["args"], recorded["kwargs"]))
            tensors = [leaf for leaf in given if isinstance(leaf, torch.Tensor)]
            self.lines.append("call\n")
            for tensor in [unpacked(*packed) for packed in inputs] if number else tensors:
                self._add_input(tensor.detach().resolve_conj().resolve_neg())

    def _add_input(self, tensor: Any) -> None:
        """The tensor's memory from its first element to its last, with its strides."""
        import torch

        sizes, strides = list(tensor.shape), list(tensor.stride())
        count = 1 + sum((size - 1) * stride for size, stride in zip(sizes, strides)) if tensor.numel() else 0
        self.data += bytes(-len(self.data) % _ALIGNMENT)
        numbers = [len(self.data), len(sizes), *sizes, *strides]
        self.lines.append(f"input {' '.join(map(str, numbers))}\n")
        if count:
            self.data += tensor.as_strided((count,), (1,)).view(torch.uint8).numpy().tobytes()


def repeats(recorded: dict[str, Any]) -> int:
    """How often each case is called; a model with state gives other results the second time."""
    return 1 if recorded["stateful"] else 3


# --- the results


@dataclass
class Output:
    """What became of one model on the GPU. ``problem``: outcome and detail, where it gave no outputs."""

    tensors: list[Any] = field(default_factory=list)
    problem: tuple[str, str] | None = None


def read_outputs(file: IO[bytes]) -> Iterator[tuple[str, Output]]:
    """The models of one batch, from what sweep_runner wrote."""
    name, output = "", Output()
    while line := file.readline():
        kind, _, rest = line.decode(errors="replace").rstrip("\n").partition(" ")
        if kind == "model":
            if name:
                yield name, output
            name, output = rest, Output()
        elif kind == "output":
            code, bits, _, *sizes = map(int, rest.split())
            dtype, nbytes = _DTYPES[code, bits], bits // 8
            output.tensors.append(unpacked(dtype, tuple(sizes), file.read(math.prod(sizes) * nbytes)))
        else:
            output.problem = (CRASHED, f"signal {rest}") if kind == "signal" else (WRONG, f"the call fails: {rest}")
    if name:
        yield name, output


_DTYPES = {
    **{(0, bits): f"int{bits}" for bits in (8, 16, 32, 64)},
    (1, 8): "uint8",
    **{(2, bits): f"float{bits}" for bits in (16, 32, 64)},
    (4, 16): "bfloat16",
    (5, 64): "complex64",
    (5, 128): "complex128",
    (6, 8): "bool",
}


def judge(recorded: dict[str, Any], output: Output) -> tuple[str, str]:
    """The outcome of a model: every call gives what eager gave."""
    if output.problem is not None:
        return output.problem
    tensors = iter(output.tensors)
    greatest = 0.0
    for number, (_, expected) in enumerate(recorded["cases"]):
        for repeat in range(repeats(recorded)):
            actual = [next(tensors, None) for _ in expected]
            if any(tensor is None for tensor in actual):
                return CRASHED, "it ended before its last call"
            problem, difference = compare(actual, recorded, expected, number == 0)
            if problem:
                return WRONG, f"case {number}, call {repeat + 1}: {problem}"
            greatest = max(greatest, difference)
    if recorded["random"]:
        return PASSES, "only sizes and types are compared: its values are not defined"
    return PASSES, f"error {greatest:.1e}"


def compare_outputs(folder: Path, archive: Path) -> list[Result]:
    """The results of all samples: what was refused here, and what ran there."""
    results = Log(folder / "results.jsonl").read()
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member)
            batch = Path(member.name).name
            for name, output in read_outputs(file) if file is not None else ():
                result = results.get(name)
                if result is None or (result.outcome, result.detail) != (BUILT, batch):
                    continue  # it was built anew since
                recorded = pickle.loads((folder / batch / name / "calls.pickle").read_bytes())
                outcome, detail = judge(recorded, output)
                results[name] = replace(result, outcome=outcome, detail=detail)
    return list(results.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "sweep-cuda")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("package")
    comparing = commands.add_parser("compare")
    comparing.add_argument("outputs", type=Path, nargs="+")
    comparing.add_argument("--results", type=Path, default=GPU_RESULTS, help="are kept where this run has no others")
    comparing.add_argument("--page", type=Path, default=ROOT / "docs" / "coverage.md")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if arguments.command == "package":
        package(folder)
        return
    results = {result.id: result for result in read_results(arguments.results)}
    for outputs in arguments.outputs:
        for result in compare_outputs(folder, outputs):
            if result.outcome in (WRONG, CRASHED):
                print(f"{result.outcome:8} {result.id}  {result.detail}"[:400])
            if result.outcome not in (BUILT, NONE):
                operators = missing_operators(result.detail)
                reason = NO_KERNEL + ", ".join(operators) if operators else first_reason(result.detail)
                results[result.id] = replace(result, detail=reason)
    lines = [json.dumps(asdict(results[id])) for id in sorted(results)]
    arguments.results.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    standalone, on_torch = parts(arguments.page.read_text())
    arguments.page.write_text(with_gpu(standalone, results.values()) + on_torch)
    print(dict(Counter((result.kind, result.outcome) for result in results.values())))


if __name__ == "__main__":
    main()
