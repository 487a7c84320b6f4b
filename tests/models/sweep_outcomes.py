"""What can become of a sample, and the log of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

PASSES, BUILT, REFUSED, EXPORT, FAILED, COMPILER, WRONG, CRASHED, SLOW, NONE = OUTCOMES = (
    "passes",
    "built",
    "refused by aotbuild",
    "refused by torch.export",
    "error while generating",
    "does not compile",
    "wrong",
    "crashed",
    "took too long",
    "no such sample",
)


@dataclass(frozen=True)
class Result:
    """What became of one sample; ``detail`` is the reason.

    ``version``: a digest of aotbuild's sources and torch's version. ``content``: one of the generated sources of the
    sample's group and of the runtime. Where one of them is the same, so is the result.
    """

    id: str
    kind: str
    name: str
    dtype: str
    outcome: str
    detail: str = ""
    version: str = ""
    content: str = ""


class Log:
    """The results so far: a JSON line for each sample, so that an interrupted sweep goes on where it stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Result]:
        if not self._path.exists():
            return {}
        results = (Result(**json.loads(line)) for line in self._path.read_text().splitlines())
        return {result.id: result for result in results}

    def write(self, results: Iterable[Result]) -> None:
        """Puts these in the place of all."""
        self._path.write_text("".join(json.dumps(asdict(result)) + "\n" for result in results))

    def add(self, result: Result) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
        reason = result.detail.strip().splitlines()[0] if result.detail else ""
        print(f"{result.outcome:24} {result.id}  {reason}"[:240])
        sys.stdout.flush()
