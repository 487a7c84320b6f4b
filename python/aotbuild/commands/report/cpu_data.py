"""A report of a CPU model: where the time of a call goes, and what the machine could do in that time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aotbuild.spec.errors import AotbuildError


@dataclass(frozen=True)
class Machine:
    """What the threads of a call can do at most.

    ``memory``, ``cache``: bytes a second that they read. ``flops``: float32 operations a second, two for a
    multiplication that is added up.
    """

    memory: float
    cache: float
    flops: float


def stated_machine(text: str) -> Machine | None:
    """What --machine says; None for nothing.

    Raises:
        AotbuildError: these are not three numbers above 0.
    """
    if not text:
        return None
    try:
        figures = [float(part) for part in text.split(",")]
    except ValueError:
        figures = []
    if len(figures) != 3 or not all(0 < figure < math.inf for figure in figures):
        raise AotbuildError(
            f"--machine {text}: write three numbers above 0, bytes a second from memory and from the cache and "
            "operations a second, as in 12e9,60e9,170e9"
        )
    return Machine(*figures)


@dataclass(frozen=True)
class CpuRow:
    """Calls of one function for the same lines. ``microseconds``, ``nbytes``, ``flops``: of all, in a model's call.

    ``fused``: the model's operators in it by its lines; of a line whose operators are elsewhere, none. ``weights``:
    names in the ``state_dict`` of the layers' weights; empty for kernels.
    """

    function: str
    calls: int
    microseconds: float
    fused: Sequence[tuple[str, Sequence[str]]]
    weights: Sequence[str]
    nbytes: int = 0
    flops: int = 0

    @property
    def bandwidth(self) -> float:
        """Bytes a second."""
        return self.nbytes / self.microseconds * 1e6 if self.microseconds else 0.0

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.flops / self.microseconds * 1e6 if self.microseconds else 0.0

    @property
    def intensity(self) -> float | None:
        """Operations a byte."""
        return self.flops / self.nbytes if self.nbytes and self.flops else None

    def of_roofline(self, machine: Machine) -> tuple[float, str]:
        """The part of what the machine could reach, and what keeps it from more: arithmetic, memory or cache.

        What moves more bytes than memory gives reads them from the cache.
        """
        arithmetic = self.rate / machine.flops
        source = "memory" if self.bandwidth <= machine.memory else "cache"
        moving = self.bandwidth / (machine.memory if source == "memory" else machine.cache)
        return max((arithmetic, "arithmetic"), (moving, source))


@dataclass(frozen=True)
class CpuReport:
    """Where the time of a call goes, on ``threads`` threads, what takes longest first.

    Microseconds are processor time of the calling thread. ``call``: a call of the library as it is built for programs;
    ``clocked``: with the clocks in it. ``stated``: whether the user said what the machine can do.
    """

    model: str
    isa: str
    threads: int
    call: float
    clocked: float
    rows: Sequence[CpuRow]
    machine: Machine
    stated: bool = False

    @property
    def total(self) -> float:
        """Microseconds of all kernels and layers in a call."""
        return sum(row.microseconds for row in self.rows)

    @property
    def rest(self) -> float:
        """Of a clocked call what is no kernel: checks, memory, the clocks themselves."""
        return max(0.0, self.clocked - self.total)
