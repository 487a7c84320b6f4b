"""The same bytes on another machine, of the generator with the same releases of Python and PyTorch.

``python machines.py FOLDER`` writes FOLDER/machine.json, which goes there with the repository; there
``reliability.py --programs FOLDER --only bytes:machine`` compares.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from builds import digest
from trial import FOLDER, ROOT, Outcome, Trial, command, programs, python, require

# A model's file and function, its CPU_ISA.
_MODELS = {
    "classifier": ("examples/quickstart/classifier.py:build", "x86-64-v3"),
    "conv2d": ("tests/models/model_zoo.py:conv2d", "x86-64-v2"),
    "transformer": ("tests/models/model_zoo.py:transformer", "x86-64-v4"),
    "recurrent": ("tests/models/model_zoo.py:recurrent", "avx512"),
}


def _versions() -> dict[str, str]:
    import torch

    return {"python": ".".join(platform.python_version_tuple()[:2]), "torch": torch.__version__.partition("+")[0]}


def _sums() -> dict[str, str]:
    """Checksums of what the generator writes here, by name of file."""
    environment: dict[str, Any] = {"PYTHONPATH": str(ROOT / "python"), "PYTHONHASHSEED": "0"}
    environment |= {"AOTBUILD_CACHE_DIR": "OFF", "OMP_NUM_THREADS": "1"}
    sums = {}
    for name, (model, isa) in _MODELS.items():
        output = FOLDER / "machine" / name
        shutil.rmtree(output, ignore_errors=True)
        command(
            *(python(), "-m", "aotbuild", "generate", "--target", name, "--model", ROOT / model),
            *("--preset", "default", "--device", "cpu", "--cpu-isa", isa, "--runtime", "standalone"),
            *("--weights", "embed", "--output-dir", output, "--project-dir", ROOT),
            *("--stamp", output / "stamp", "--depfile", output / "depfile"),
            **environment,
        )
        for path in sorted(output.rglob("*")):
            if path.is_file() and path.name not in ("stamp", "depfile"):
                sums[f"{name}/{path.relative_to(output)}"] = digest(path)
    return sums


def _file() -> Path | None:
    folder = programs()
    return folder / "machine.json" if folder and (folder / "machine.json").exists() else None


def _run(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    file = _file()
    assert file is not None
    expected: dict[str, Any] = json.loads(file.read_text())
    require(expected["versions"] == _versions(), f"both machines have {expected['versions']}")
    wanted: dict[str, str] = expected["sums"]
    found = _sums()
    others = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    require(not others, f"another machine writes the same bytes: {', '.join(others)}")
    outcome.counts = {"models": len(_MODELS), "files with the same bytes": len(found)}


def trials() -> Iterator[Trial]:
    yield Trial(
        "bytes:machine",
        "Same bytes",
        "what the generator writes for four models on another machine",
        _run,
        lambda: _file() is not None,
    )


if __name__ == "__main__":
    (Path(sys.argv[1]) / "machine.json").write_text(json.dumps({"versions": _versions(), "sums": _sums()}, indent=2))
