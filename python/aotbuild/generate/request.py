"""What one run of the generator is asked for, and what it captured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

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
    world_size: int = 0  # 0: a model for one GPU
    rtol: float | None = None
    atol: float | None = None
    c_enabled: bool = False  # the project compiles C
    has_eigen: bool = True  # the build has Eigen
    verbose: bool = False
    quiet: bool = False  # print errors alone


@dataclass(frozen=True)
class CapturedModel:
    """The methods by their names (of a model without methods, ``run``), and the calls of its test in one session.

    ``notes``: lines for the user. ``ranks``: with WORLD_SIZE the methods of the ranks after the first, whose weights
    are other ones.
    """

    methods: Mapping[str, Captured]
    session: Session = ()
    notes: tuple[str, ...] = ()
    ranks: tuple[Mapping[str, Captured], ...] = ()
