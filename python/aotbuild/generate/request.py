"""What one run of the generator is asked for, what it captured, and what it prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from aotbuild.spec.program import EmitOptions, GoldenCase

if TYPE_CHECKING:
    from aotbuild.capture import Captured

Session = tuple[tuple[str, GoldenCase], ...]


@dataclass(frozen=True)
class GenerateRequest:
    """One run of the generator: the keywords of ``add_aot_model`` as plain values."""

    model: str
    emit: EmitOptions
    output_dir: Path
    stamp: Path
    depfile: Path | None = None
    source_dir: Path | None = None
    project_dir: Path | None = None  # the whole project's, which holds source_dir
    dynamic_shapes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    cpu_isa: tuple[str, ...] = ("x86-64-v3",)
    cuda_architectures: tuple[str, ...] = ()
    runtime: str = "standalone"
    preset: str = "default"
    config: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    tuning_database: Path | None = None
    quantize: tuple[str, ...] = ()  # the words of QUANTIZE
    precision: str = ""
    precision_except: tuple[str, ...] = ()
    rtol: float | None = None
    atol: float | None = None
    c_enabled: bool = False  # the project compiles C
    has_eigen: bool = True  # the build has Eigen
    verbose: bool = False


class Progress:
    """Prints one line a stage with its seconds, and nothing else, so that a build log stays readable."""

    def __init__(self, target: str, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._target = target
        self._stream = stream if stream is not None else sys.stdout
        self._quiet = quiet

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if not self._quiet:
            seconds = time.perf_counter() - start
            print(f"aotbuild: {self._target}: {name} {seconds:.1f} s", file=self._stream, flush=True)

    def note(self, line: str) -> None:
        if not self._quiet:
            print(f"aotbuild: {line}", file=self._stream, flush=True)


@dataclass(frozen=True)
class CapturedModel:
    """The methods by their names (of a model without methods, ``run``), and the calls of its test in one session.

    ``notes``: lines for the user.
    """

    methods: Mapping[str, Captured]
    session: Session = ()
    notes: tuple[str, ...] = ()
