"""One contender of benchmarks/deploy.py in a process of its own: what it loads, how long that takes, how fast it is.

    python benchmarks/deploy_worker.py <contender> <model> <folder> <calls>

Prints a line of JSON. What is imported before the clock starts is the contender's Python package; a C++ program would
link its libraries instead.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

import peer_worker

PACKAGES = {
    "aotbuild": ("aotbuild",),
    "aotinductor": ("torch",),
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "executorch": ("executorch.runtime",),
}
# What a contender's Python package needs of others: a C++ program would not have it.
FOR_ITS_PACKAGE = {"executorch": "torch"}
# What a program in C++ has no use for: Python's side of a package, and parts for other devices and formats that it
# loads all the same. ONNX Runtime's and ExecuTorch's Python modules are one library with what runs the model, so they
# count.
NOT_NEEDED = re.compile(
    r"libtorch_python|libshm|/_C\.|/_runner\.|/_pyopenvino|/numpy|\.abi3\.so$"
    r"|openvino_tensorflow_frontend|openvino_auto_batch|executorch_backend_(openvino|qnn)|executorch_etdump|/data_loader\."
)


def libraries(contender: str, folder: Path) -> Iterator[Path]:
    """The shared libraries of the contender that this process has mapped; the system's own are not counted."""
    roots = [str(folder.parent)]
    for package in PACKAGES[contender]:
        origin = importlib.import_module(package.partition(".")[0]).__path__[0]
        roots += [origin, f"{origin}.libs"]
    if contender == "aotinductor":
        roots.append(tempfile.gettempdir())  # its loader unpacks the model there
    lines = Path("/proc/self/maps").read_text().splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if line.count("/") and ".so" in line}
    for path in sorted(paths):
        ours = contender == "aotbuild" and re.search("libsleef|libgomp", path)
        if ours or (any(path.startswith(root) for root in roots) and not NOT_NEEDED.search(path)):
            yield Path(path)


def name_of(contender: str, path: Path) -> str:
    """AOTInductor unpacks the model under a random name."""
    unpacked = contender == "aotinductor" and path.is_relative_to(tempfile.gettempdir())
    return "the model" if unpacked else path.name


def stripped_bytes(path: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        done = subprocess.run(["strip", "-o", copy, path], capture_output=True, check=False)
        return (copy if done.returncode == 0 else path).stat().st_size


def resident_mib() -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    contender, name, folder, calls = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    if contender in FOR_ITS_PACKAGE:
        importlib.import_module(FOR_ITS_PACKAGE[contender])
    before = resident_mib()
    for package in PACKAGES[contender]:
        importlib.import_module(package)
    start = time.perf_counter()
    call, _ = peer_worker.CONTENDERS[contender](name, folder, 1, "float32")
    first = call().copy()
    started = time.perf_counter() - start
    memory = resident_mib() - before
    expected = np.load(folder / "expected.npy")
    error = float(np.linalg.norm(first.astype(np.float64) - expected) / np.linalg.norm(expected))
    seconds = []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    version = metadata.version(peer_worker.PACKAGES.get(contender, contender))
    files = {name_of(contender, path): stripped_bytes(path) for path in libraries(contender, folder)}
    print(
        json.dumps(
            {
                "version": version,
                "start_ms": 1e3 * started,
                "memory_mib": memory,
                "milliseconds": 1e3 * min(seconds),
                "error": error,
                "files": files,
            }
        )
    )


if __name__ == "__main__":
    main()
