"""One contender of benchmarks/peers.py in a process of its own, which waits for orders while others are measured.

    python benchmarks/peer_worker.py <contender> <model> <folder> <threads>

It writes its first output to ``<folder>/<contender>.npy`` and then prints a line of JSON: the precision that it
computes in, and its version. Each line that it reads is a number of calls; it answers with the seconds that each took.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# A call, and the precision that the contender says it computes in.
Ready = tuple[Callable[[], Array], str]


def inputs_of(folder: Path) -> list[Array]:
    with np.load(folder / "inputs.npz") as given:
        return [given[name] for name in sorted(given, key=lambda name: int(name.removeprefix("arr_")))]


def aotbuild(name: str, folder: Path, threads: int, precision: str, build: str = "build") -> Ready:
    import aotbuild

    library = aotbuild.load(folder.parent / build / f"lib{name}_{precision}.so", num_threads=threads)
    inputs = inputs_of(folder)
    return lambda: _first(library(*inputs)), precision


def onednn(name: str, folder: Path, threads: int, precision: str) -> Ready:
    """Ours over a runtime with oneDNN."""
    return aotbuild(name, folder, threads, precision, "build-onednn")


def eager(name: str, folder: Path, threads: int, precision: str) -> Ready:
    import torch

    import peer_models

    torch.set_num_threads(threads)
    module, _ = peer_models.build(name, precision)
    inputs = [torch.from_numpy(array) for array in inputs_of(folder)]

    def call() -> Array:
        with torch.inference_mode():
            found: Array = module(*inputs).numpy()
            return found

    return call, precision


def aotinductor(name: str, folder: Path, threads: int, precision: str) -> Ready:
    """A package that was compiled for one thread, by the class that is its C++ loader: Python's own takes longer."""
    import torch

    torch.set_num_threads(threads)
    loader: Any = torch._C._aoti.AOTIModelPackageLoader(str(folder / "model.pt2"), "model", True, 1, -1)
    inputs = [torch.from_numpy(array) for array in inputs_of(folder)]
    return lambda: loader.boxed_run(list(inputs))[0].numpy(), "float32"


def onnxruntime(name: str, folder: Path, threads: int, precision: str) -> Ready:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    given = dict(zip([each.name for each in session.get_inputs()], inputs_of(folder), strict=True))
    return lambda: _first(session.run(None, given)), "float32"


def openvino(name: str, folder: Path, threads: int, precision: str) -> Ready:
    """``precision`` "default" leaves the choice to OpenVINO, which says what it took."""
    library: Any = importlib.import_module("openvino")
    core = library.Core()
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    if precision != "default":
        settings["INFERENCE_PRECISION_HINT"] = {"float32": "f32", "bfloat16": "bf16"}[precision]
    compiled = core.compile_model(core.read_model(folder / "model.onnx"), "CPU", settings)
    request = compiled.create_infer_request()
    inputs = dict(enumerate(inputs_of(folder)))

    def call() -> Array:
        request.infer(inputs, share_inputs=True)
        found: Array = request.get_output_tensor(0).data
        return found

    took = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return call, {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}.get(took, took)


def executorch(name: str, folder: Path, threads: int, precision: str) -> Ready:
    """With the delegate XNNPACK. ExecuTorch's threads are one a core, or none but the caller's."""
    import torch

    runtime: Any = importlib.import_module("executorch.runtime")
    pybindings: Any = importlib.import_module("executorch.extension.pybindings.portable_lib")
    if hasattr(pybindings, "_threadpool_get_thread_count"):
        pybindings._unsafe_reset_threadpool(threads)
    method = runtime.Runtime.get().load_program(folder / "model.pte").load_method("forward")
    inputs = [torch.from_numpy(array) for array in inputs_of(folder)]
    return lambda: method.execute(inputs)[0].numpy(), "float32"


CONTENDERS: dict[str, Callable[[str, Path, int, str], Ready]] = {
    "aotbuild": aotbuild,
    "onednn": onednn,
    "eager": eager,
    "aotinductor": aotinductor,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "executorch": executorch,
}
PACKAGES = {"eager": "torch", "aotinductor": "torch", "onednn": "aotbuild"}


def _first(outputs: Array | Sequence[Array]) -> Array:
    return outputs if isinstance(outputs, np.ndarray) else outputs[0]


def main() -> None:
    contender, name, folder, threads = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    kind, _, precision = contender.partition("-")
    call, precision = CONTENDERS[kind](name, folder, threads, precision)
    np.save(folder / f"{contender}.npy", call())
    version = metadata.version(PACKAGES.get(kind, kind))
    print(json.dumps({"precision": precision, "version": version}), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
