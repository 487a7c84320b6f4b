"""What became of tuning in a build: of each kernel of a model, and of what follows its templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KernelTuning:
    """A kernel of the model, and what tuning said about it.

    ``reason``: why the measured configuration is not used, or "". ``origins``: which nodes of the exported program it
    comes from, by ``node_numbers``. ``launches`` of a call move ``nbytes`` and do ``flops`` in all.
    ``registers``: of a thread, None where the driver compiles the kernel. ``code_bytes``: of its machine code or PTX.
    """

    architecture: str
    key: str
    kernel: str
    measured: bool
    reason: str
    config: Mapping[str, Any]
    threads: int
    shared_bytes: int
    registers: int | None
    code_bytes: int
    launches: int
    nbytes: int
    flops: int
    tensor_cores: bool
    origins: tuple[int, ...]


@dataclass(frozen=True)
class EpilogueTuning:
    """What follows templates of a model, ``epilogues.Epilogue`` of lower/cuda, on one
    architecture, and what tuning said about it.

    ``reason``: why the database's line is not followed, or "". ``origins``: see ``KernelTuning``.
    """

    architecture: str
    key: str
    fused: bool
    reason: str
    origins: tuple[int, ...]
