"""The same bytes on another machine: a generator with its Python and PyTorch in a folder, and what it has to write.

``python machines.py FOLDER`` makes FOLDER/machine, which goes there beside the repository; there
``reliability.py --programs FOLDER --only bytes:machine`` runs it.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from builds import digest
from trial import FOLDER, ROOT, Outcome, Trial, command, programs, require

# A model's file and function, its CPU_ISA.
_MODELS = {
    "classifier": ("examples/quickstart/classifier.py:build", "x86-64-v3"),
    "conv2d": ("tests/models/model_zoo.py:conv2d", "x86-64-v2"),
    "transformer": ("tests/models/model_zoo.py:transformer", "x86-64-v4"),
    "recurrent": ("tests/models/model_zoo.py:recurrent", "amx"),
}
_PACKAGES = (
    *("torch", "sympy", "mpmath", "networkx", "jinja2", "MarkupSafe", "typing_extensions", "fsspec", "filelock"),
    *("numpy", "setuptools", "packaging", "safetensors"),
)
_UNUSED = ("torch/include/", "torch/test/", "torch/share/", "numpy/tests/", "/__pycache__/")


def _sums(machine: Path) -> dict[str, str]:
    """Checksums of what the generator in a folder writes here, by name of file."""
    environment: dict[str, Any] = {"PYTHONPATH": f"{ROOT / 'python'}:{machine / 'site'}", "PYTHONHASHSEED": "0"}
    environment |= {"AOTBUILD_CACHE_DIR": "OFF", "OMP_NUM_THREADS": "1"}
    sums = {}
    for name, (model, isa) in _MODELS.items():
        output = FOLDER / "machine" / name
        shutil.rmtree(output, ignore_errors=True)
        command(
            *("env", "-u", "PYTHONHOME", machine / "python" / "bin" / "python3", "-s", "-m", "aotbuild", "generate"),
            *("--target", name, "--model", ROOT / model, "--preset", "default", "--device", "cpu", "--cpu-isa", isa),
            *("--runtime", "standalone", "--weights", "embed", "--output-dir", output, "--project-dir", ROOT),
            *("--stamp", output / "stamp", "--depfile", output / "depfile"),
            **environment,
        )
        for path in sorted(output.rglob("*")):
            if path.is_file() and path.name not in ("stamp", "depfile"):
                sums[f"{name}/{path.relative_to(output)}"] = digest(path)
    return sums


def package(folder: Path) -> None:
    """Writes ``folder``/machine: python, site and sums.json."""
    machine = folder / "machine"
    shutil.rmtree(machine, ignore_errors=True)
    ignored = shutil.ignore_patterns("test", "idlelib", "site-packages", "__pycache__", "*.a", "tkinter", "ensurepip")
    shutil.copytree(sys.base_prefix, machine / "python", symlinks=True, ignore=ignored)
    for name in _PACKAGES:
        for file in importlib.metadata.files(name) or []:
            if not str(file).startswith("..") and not any(part in str(file) for part in _UNUSED):
                target = machine / "site" / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), target)
    for library in (machine / "site" / "torch").rglob("*.so*"):
        command("strip", library)
    (machine / "sums.json").write_text(json.dumps(_sums(machine), indent=2))
    (folder / "commit").write_text(command("git", "-C", ROOT, "rev-parse", "--short", "HEAD"))


def _machine() -> Path | None:
    folder = programs()
    return folder / "machine" if folder and (folder / "machine").exists() else None


def _run(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    machine = _machine()
    assert machine is not None
    expected: dict[str, str] = json.loads((machine / "sums.json").read_text())
    found = _sums(machine)
    others = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    require(not others, f"another machine writes the same bytes: {', '.join(others)}")
    outcome.counts = {"models": len(_MODELS), "files with the same bytes": len(found)}


def trials() -> Iterator[Trial]:
    yield Trial(
        "bytes:machine",
        "Same bytes",
        "what the same generator writes for models of four CPU_ISAs on a machine with another processor",
        _run,
        lambda: _machine() is not None,
    )


if __name__ == "__main__":
    package(Path(sys.argv[1]))
