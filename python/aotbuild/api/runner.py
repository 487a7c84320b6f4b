"""Running built models from Python: NumPy arrays, torch tensors and DLPack objects in, the same kind out, no copies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aotbuild._runner import Error, Runner

__all__ = ["Error", "Runner", "load"]


def load(
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    num_threads: int = 0,
    device: int | None = None,
    cuda_graphs: int = 0,
    outputs: Literal["numpy", "torch"] | None = None,
) -> Runner:
    """Load a model that ``add_aot_model(<target> SHARED ...)`` built.

    Args:
        path: the shared library.
        weights: a safetensors file, or arrays by their names in the ``state_dict``; None takes the embedded weights or
            the file beside the library.
        num_threads: threads of one call; 0 is what OpenMP says (``OMP_NUM_THREADS``, else all cores).
        device: of a CUDA model: the index of the device; None is device 0.
        cuda_graphs: of a CUDA model: how many captured graphs are kept; 0 is the default, -1 none.

        outputs: what results are: NumPy arrays or torch tensors. None: torch tensors if the first input is one, else
            NumPy arrays.

    Returns:
        A callable with the signature of the function that was compiled, which takes what that takes and returns what it
        returns. Tensors may be NumPy arrays, torch tensors or objects with ``__dlpack__``, also in tuples, lists, dicts
        and, with the names of attributes, in objects. What was no tensor when the model was compiled (None, a number, a
        string) has to be equal to what it was then; where a default was taken, it may be left out. Classes of results
        that this process need not have are named tuples of the same name and fields, objects with the attributes of
        dataclasses, and, for transformers' outputs, dicts whose items are attributes too. The GIL is released, and any
        number of threads may call one object at the same time.

        A CUDA model also takes tensors on its device, and returns its outputs there if it is given any: torch tensors
        if the first tensor on the device is one, else objects with ``__dlpack__``. The call is then queued on PyTorch's
        current stream, or on the legacy default stream for tensors of other libraries, and does not wait.

        A model that was built with METHODS has its methods as attributes, as in ``model.prefill(ids)``.
        ``model.new_session()`` is another object over the same weights: what calls write to the model's buffers, each
        session has for itself.

    Raises:
        FileNotFoundError: if there is no such library.
        Error: with the library's own message, if it refuses the weights or the machine.
    """
    library = Path(path).absolute()
    if not library.exists():
        raise FileNotFoundError(f"there is no model library {os.fspath(path)!r}; build its target first")
    return Runner(
        str(library), weights=weights, num_threads=num_threads, device=device, cuda_graphs=cuda_graphs, outputs=outputs
    )
