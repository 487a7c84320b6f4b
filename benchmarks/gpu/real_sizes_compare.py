"""Models of real size beside PyTorch on one GPU, in one run: a table with each one's share of the roofline, and JSON.

    python benchmarks/gpu/real_sizes_compare.py <folder of programs> [--models decode vit_b16] [--output <file>]

Needs the GPU, PyTorch with CUDA, safetensors, and aotbuild's ``python`` folder on PYTHONPATH. The programs are those of
benchmarks/gpu/real, built anywhere. Weights and inputs are made here from a seed, the same for all contenders. Models
with quantized layers are compared with their quantized modules; errors are those against the model as it was.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import real_sizes
import torch
from safetensors.torch import save_file  # type: ignore[import-not-found, unused-ignore]
from torch import nn

from aotbuild.capture.quantized_layers import QuantizedLinear, quantize_layers
from aotbuild.spec.packing import FOUR_BITS_BLOCK
from aotbuild.spec.quantize import from_words

# Bytes and operations a second that a GPU reaches on random data: its copies, and products of 8192 x 8192 x 8192 in
# bfloat16, both as measured on one.
_PEAKS = {"NVIDIA H200": (4.3e12, 7.8e14)}
_WARM_UP_SECONDS = 0.5
_SECONDS = 0.6  # of timed calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--models", nargs="+", default=[*real_sizes.MODELS, *real_sizes.QUANTIZED])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--kernels", type=Path, help="a folder for the time of each kernel of ours")
    parser.add_argument("--ours-alone", action="store_true", help="nothing of PyTorch's but eager")
    arguments = parser.parse_args()
    results = []
    for name in arguments.models:
        if (arguments.programs / f"{name}_bench").exists():
            results.append(_measured(name, arguments))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
            torch.cuda.empty_cache()
    text = _table(results)
    print(text)
    if arguments.output:
        machine = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda}
        arguments.output.write_text(json.dumps({"machine": machine, "models": results}, indent=2) + "\n")


def _measured(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    own_name, words = real_sizes.QUANTIZED.get(name, (name, ()))
    module, inputs = real_sizes.made(own_name, "cuda")
    programs = arguments.programs
    result: dict[str, Any] = {"model": name}
    with torch.no_grad():
        exact = copy.deepcopy(module).float()(*[x.float() if x.is_floating_point() else x for x in inputs])
        flops = _flops(module, inputs)
        if words:
            module, _ = quantize_layers(module, from_words(words), name)
            torch.cuda.empty_cache()
        expected = module(*inputs)
        result["eager_error"] = _error(expected, exact)
        _write_files(name, module, inputs, expected, programs)
        result.update(_limits(module, inputs, flops))
        result["eager_us"] = _time(lambda: module(*inputs))
        if not arguments.ours_alone:
            compiled = torch.compile(module, mode="reduce-overhead")
            result["compiled_us"] = _time(lambda: compiled(*inputs))
            torch._dynamo.reset()
    calls = max(20, min(1000, int(_SECONDS * 1e6 / result["eager_us"])))
    outputs = programs / f"{name}.outputs"
    command = [programs / f"{name}_bench", "--json", "--calls", str(calls), "--outputs", outputs]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        return {**result, "failed": run.stderr.strip()}
    for line in run.stdout.splitlines():
        row = json.loads(line)
        result[f"ours_{row['kind']}_us"] = row["back_to_back_us"]
    found = torch.frombuffer(bytearray(outputs.read_bytes()), dtype=expected.dtype).view(expected.shape).cuda()
    result["error"] = _error(found, exact)
    if arguments.kernels:
        arguments.kernels.mkdir(exist_ok=True)
        listed = subprocess.run([programs / f"{name}_bench", "--kernels"], stdout=subprocess.PIPE, text=True)
        (arguments.kernels / f"{name}.txt").write_text(listed.stdout)
    for suffix in (".safetensors", ".golden.safetensors", ".outputs"):
        (programs / (name + suffix)).unlink()
    return result


def _write_files(name: str, module: nn.Module, inputs: Any, expected: Any, folder: Path) -> None:
    state: dict[str, torch.Tensor] = {}
    places: set[int] = set()
    four_bits = {f"{key}.weight" for key, part in module.named_modules() if getattr(part, "bits", 8) == 4}
    for key, tensor in module.state_dict().items():
        if tensor.data_ptr() in places:
            continue  # a tied weight is in the file once
        places.add(tensor.data_ptr())
        state[key] = _in_bytes(tensor) if key in four_bits else tensor.detach().clone().contiguous()
    save_file(state, folder / f"{name}.safetensors")
    program = torch.export.export(module, inputs)
    names = program.graph_signature.user_inputs
    golden = {f"example/input/{key}": value.contiguous() for key, value in zip(names, inputs)}
    save_file({**golden, "example/output/output": expected.contiguous()}, folder / f"{name}.golden.safetensors")


def _in_bytes(values: torch.Tensor) -> torch.Tensor:
    """[N, K / 2] of values [N, K] of four bits (``spec/packing.py``)."""
    rows, columns = values.shape
    halves = (values & 15).view(torch.uint8).view(rows, columns // FOUR_BITS_BLOCK, 2, FOUR_BITS_BLOCK // 2)
    packed: torch.Tensor = (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(rows, columns // 2)
    return packed


def _error(found: Any, exact: Any) -> float:
    """The root of the mean square of the error, as a share of the result's."""
    difference = (found.double() - exact.double()).square().mean()
    return math.sqrt(float(difference / exact.double().square().mean()))


def _flops(module: nn.Module, inputs: Any) -> float:
    """What a call has to multiply and add up. Of the module before it is quantized: the counter knows no other."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # Attention as products and a softmax: the counter refuses grouped queries otherwise.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return float(counter.get_total_flops())


def _limits(module: nn.Module, inputs: Any, flops: float) -> dict[str, float]:
    """What a call has to read and to multiply."""
    tensors = {tensor.data_ptr(): tensor.nbytes for tensor in module.state_dict().values()}
    layers = [part for part in module.modules() if isinstance(part, QuantizedLinear)]
    halves = sum(layer.weight.nbytes // 2 for layer in layers if layer.bits == 4)
    # Of a table that no layer shares a call reads a few rows.
    shared = {part.weight.data_ptr() for part in module.modules() if isinstance(part, nn.Linear)}
    tables = [part.weight for part in module.modules() if isinstance(part, nn.Embedding)]
    unread = sum(table.nbytes for table in tables if table.data_ptr() not in shared)
    nbytes = sum(tensors.values()) - halves - unread + sum(value.nbytes for value in inputs)
    limits = {"bytes": float(nbytes), "flops": flops}
    peaks = _PEAKS.get(torch.cuda.get_device_name())
    if peaks is not None:
        limits["roofline_us"] = 1e6 * max(limits["bytes"] / peaks[0], limits["flops"] / peaks[1])
    return limits


def _time(call: Callable[[], object]) -> float:
    """Microseconds of a call, queued back to back as the program's are."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    calls = 0
    while time.perf_counter() - start < _WARM_UP_SECONDS:
        call()
        torch.cuda.synchronize()
        calls += 1
    count = max(10, int(calls / _WARM_UP_SECONDS * _SECONDS / 3))
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(count):
            call()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) / count)
    return statistics.median(times) * 1e6


def _table(results: list[dict[str, Any]]) -> str:
    titles = ("model", "ours", "compile", "ratio", "eager", "roofline", "share", "error", "eager's")
    lines = ["".join(f"{title:>12}" for title in titles)]
    for row in results:
        if "failed" in row:
            lines.append(f"{row['model']:>12}  {row['failed']}")
            continue
        ours, compiled, limit = row["ours_graph_us"], row.get("compiled_us", math.nan), row.get("roofline_us", math.nan)
        numbers = (
            ours,
            compiled,
            ours / compiled,
            row["eager_us"],
            limit,
            limit / ours,
            row["error"],
            row["eager_error"],
        )
        forms = (".0f", ".0f", ".2f", ".0f", ".0f", ".2f", ".1e", ".1e")
        cells = (f"{number:{form}}" for number, form in zip(numbers, forms))
        lines.append(f"{row['model']:>12}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
