"""Running built models from Python: NumPy arrays, torch tensors and DLPack objects in, the same kind out, no copies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aotbuild._runner import Error, Runner

__all__ = ["Error", "Runner", "load"]


def load(
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    num_threads: int = 0,
) -> Runner:
    """Load a model that ``add_aot_model(<target> SHARED ...)`` built.

    Args:
        path: the shared library.
        weights: a safetensors file, or arrays by their names in the ``state_dict``; None takes the embedded weights or
            the file beside the library.
        num_threads: threads of one call; 0 is what OpenMP says (``OMP_NUM_THREADS``, else all cores).

    Returns:
        A callable with the model's signature. It takes arrays in position or by name, nested ones as mappings or
        objects with attributes, and returns what the model returned: a tensor, a tuple of tensors, or tensors by name
        as items and attributes. Outputs are torch tensors if the first input is one, else NumPy arrays. The GIL is
        released, and any number of threads may call one object at the same time.

    Raises:
        FileNotFoundError: if there is no such library.
        Error: with the library's own message, if it refuses the weights or the machine.
    """
    library = Path(path).absolute()
    if not library.exists():
        raise FileNotFoundError(f"there is no model library {os.fspath(path)!r}; build its target first")
    return Runner(str(library), weights=weights, num_threads=num_threads)
