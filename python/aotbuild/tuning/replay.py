"""Replays a tuning database in a build: answers the configuration of each kernel, and says what it had no line for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from aotbuild.tuning import database
from aotbuild.tuning.database import Database


class Tuned(Protocol):
    """What lowering says about a kernel (``outcome.KernelTuning``)."""

    @property
    def architecture(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def kernel(self) -> str: ...
    @property
    def measured(self) -> bool: ...
    @property
    def reason(self) -> str: ...


class TunedEpilogue(Protocol):
    """What lowering says about an epilogue (``outcome.EpilogueTuning``)."""

    @property
    def architecture(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def fused(self) -> bool: ...
    @property
    def reason(self) -> str: ...


class Replay:
    """A database's configurations; of a path that is None or does not exist, there are none."""

    def __init__(self, path: Path | None) -> None:
        self.path = path if path is not None and path.is_file() else None
        self._name = "" if path is None else path.name
        self._database = Database(()) if self.path is None else database.read(self.path)

    @property
    def settings(self) -> list[str]:
        """All that a build depends on: its own text for each line."""
        return sorted(entry.line() for entry in self._database.entries)

    def measured(self, architecture: str, key: str) -> Mapping[str, Any] | None:
        entry = self._database.find(architecture, key)
        return None if entry is None else entry.config

    def report(self, target: str, kernels: Sequence[Tuned], epilogues: Sequence[TunedEpilogue] = ()) -> list[str]:
        """Lines for the build log: how many kernels are covered, and one warning each for what is wrong."""
        if not self._name or not kernels:
            return []
        covered = sum(kernel.measured for kernel in kernels)
        if self.path is None:
            return [f"{target}: no tuning database {self._name}: {len(kernels)} kernels as the heuristics choose"]
        lines = [f"{self._name} covers {covered} of {len(kernels)} kernels"]
        alone = sum(not epilogue.fused for epilogue in epilogues)
        if alone:
            lines.append(f"{self._name} keeps {alone} of {len(epilogues)} epilogues in kernels of their own")
        lines += [
            f"warning: {self._name}:{problem.number}: {problem.reason}; the line is ignored"
            for problem in self._database.problems
        ]
        lines += [
            f"warning: {self._name}: {kernel.architecture} {kernel.key} ({kernel.kernel}): {kernel.reason}; "
            "the heuristics' choice is used"
            for kernel in kernels
            if kernel.reason
        ]
        lines += [
            f"warning: {self._name}: {epilogue.architecture} {epilogue.key}: {epilogue.reason}; the epilogue is fused"
            for epilogue in epilogues
            if epilogue.reason
        ]
        missing = sum(not kernel.measured and not kernel.reason for kernel in kernels)
        if missing:
            lines.append(
                f"warning: {self._name} has no line for {missing} kernel(s), which are as the heuristics choose; "
                f"to measure them, build {target}.tune"
            )
        return [f"{target}: {line}" for line in lines]
