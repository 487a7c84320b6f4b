"""Bundles: every candidate of a model's kernels as machine code, and how to launch and time them without Python."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aotbuild.spec.errors import AotbuildError

# Of the files that `aotbuild-tune` reads and writes; both sides refuse another.
FORMAT = 3
DESCRIPTION = "bundle.json"
_IMAGES = "images.bin"
_DATA = "data.bin"
_PROGRAM = "aotbuild-tune"


@dataclass(frozen=True)
class Buffer:
    """Memory of a launch.

    ``rotates``: no launch finds it in the cache, as with weights; what another kernel has just written is there.
    ``data``: what is in it; None: random numbers, or zeros where they are indices.
    """

    nbytes: int
    dtype: str
    rotates: bool = False
    data: bytes | None = None


@dataclass(frozen=True)
class Candidate:
    """A configuration as machine code. ``grids``: of each case. ``scratch_bytes``: that a block needs on the device."""

    config: Mapping[str, Any]
    image: bytes
    symbol: str
    threads: int
    shared_bytes: int
    cluster_blocks: int
    cooperative: bool
    grids: Sequence[tuple[int, int, int]]
    scratch_bytes: int = 0


@dataclass(frozen=True)
class Kernel:
    """A kernel to tune.

    ``launches``: of a call of the model; 0: only where an epilogue is not fused.
    ``parameters``: "pointer", "null" or Triton's type of each parameter of a launch. ``cases``: values of those that
    are not null. ``failures``: why configurations are not among the candidates.
    """

    key: str
    name: str
    parameters: Sequence[str]
    cases: Sequence[Sequence[Buffer | float]]
    candidates: Sequence[Candidate]
    failures: Sequence[str] = field(default=())
    launches: int = 1


@dataclass(frozen=True)
class Comparison:
    """An epilogue that is fused, and the same in kernels of its own: the launches of a call that only one of them has.

    ``fused``, ``alone``: how often a kernel is launched, by its key. ``name``: of the kernel that it is fused into.
    """

    key: str
    name: str
    fused: Mapping[str, int]
    alone: Mapping[str, int]


@dataclass(frozen=True)
class Bundle:
    """All that `aotbuild-tune` needs to know of a model. ``architecture``: "sm_90"."""

    target: str
    architecture: str
    versions: str
    kernels: Sequence[Kernel]
    epilogues: Sequence[Comparison] = ()


def joined(target: str, bundles: Sequence[Bundle]) -> Bundle:
    """One bundle of several methods' (at least one): a kernel or an epilogue that some share is in it once."""
    kernels: dict[str, Kernel] = {}
    epilogues: dict[str, Comparison] = {}
    for bundle in bundles:
        for kernel in bundle.kernels:
            before = kernels[kernel.key].launches if kernel.key in kernels else 0
            kernels[kernel.key] = dataclasses.replace(kernel, launches=before + kernel.launches)
        for epilogue in bundle.epilogues:
            known = epilogues.get(epilogue.key)
            if known is not None:
                fused, alone = Counter(known.fused), Counter(known.alone)
                fused.update(epilogue.fused)
                alone.update(epilogue.alone)
                epilogue = dataclasses.replace(epilogue, fused=dict(fused), alone=dict(alone))
            epilogues[epilogue.key] = epilogue
    return dataclasses.replace(
        bundles[0], target=target, kernels=list(kernels.values()), epilogues=list(epilogues.values())
    )


def write(bundle: Bundle, folder: Path, program: Path | None) -> None:
    """Writes the folder anew: description, machine code, data and, if it is given, the program.

    Results of the same bundle stay, so that its run goes on; those of another are removed.
    """
    images = _Blob()
    data = _Blob()
    description = {
        "format": FORMAT,
        "target": bundle.target,
        "architecture": bundle.architecture,
        "versions": bundle.versions,
        "kernels": [_kernel(kernel, images, data) for kernel in bundle.kernels],
        "epilogues": [dataclasses.asdict(comparison) for comparison in bundle.epilogues],
    }
    text = json.dumps(description, indent=1, sort_keys=True)
    identity = hashlib.sha256(text.encode() + images.content() + data.content()).hexdigest()[:16]
    text = json.dumps({**description, "id": identity}, indent=1, sort_keys=True) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    before = folder / DESCRIPTION
    if not before.is_file() or before.read_text() != text:
        for results in folder.glob("results*.jsonl"):
            results.unlink()
    (folder / _IMAGES).write_bytes(images.content())
    (folder / _DATA).write_bytes(data.content())
    if program is not None:
        shutil.copyfile(program, folder / _PROGRAM)
        os.chmod(folder / _PROGRAM, 0o755)
    (folder / DESCRIPTION).write_text(text)


def read_description(folder: Path) -> dict[str, Any]:
    """The content of a bundle's description.

    Raises:
        AotbuildError: the folder holds none, or one of another version.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text())
        found = description["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AotbuildError(f"{path} is no tuning bundle: {error}; make one with `aotbuild tune bundle`") from None
    if found != FORMAT:
        raise AotbuildError(
            f"{path} has format {found}, and this version of aotbuild reads {FORMAT}; make the bundle again"
        )
    return dict(description)


class _Blob:
    """Pieces in one file, equal ones once, each at a multiple of 64 bytes."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        self._size = 0

    def add(self, piece: bytes) -> tuple[int, int]:
        if piece not in self._places:
            self._places[piece] = (self._size, len(piece))
            padding = bytes(-len(piece) % 64)
            self._pieces += [piece, padding]
            self._size += len(piece) + len(padding)
        return self._places[piece]

    def content(self) -> bytes:
        return b"".join(self._pieces)


def _kernel(kernel: Kernel, images: _Blob, data: _Blob) -> dict[str, Any]:
    return {
        "key": kernel.key,
        "name": kernel.name,
        "parameters": list(kernel.parameters),
        "cases": [[_argument(value, data) for value in case] for case in kernel.cases],
        "candidates": [
            {
                "config": dict(candidate.config),
                "image": list(images.add(candidate.image)),
                "symbol": candidate.symbol,
                "threads": candidate.threads,
                "shared_bytes": candidate.shared_bytes,
                "cluster_blocks": candidate.cluster_blocks,
                "cooperative": candidate.cooperative,
                "scratch_bytes": candidate.scratch_bytes,
                "grids": [list(grid) for grid in candidate.grids],
            }
            for candidate in kernel.candidates
        ],
        "failures": list(kernel.failures),
        "launches": kernel.launches,
    }


def _argument(value: Buffer | float, data: _Blob) -> Any:
    if not isinstance(value, Buffer):
        return value
    described: dict[str, Any] = {"nbytes": value.nbytes, "dtype": value.dtype, "rotates": value.rotates}
    if value.data is not None:
        described["data"] = list(data.add(value.data))
    return described
