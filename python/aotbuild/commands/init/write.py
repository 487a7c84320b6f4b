"""Writes the files of ``project/`` beside this module into a new folder, under the project's name."""

from __future__ import annotations

import re
from pathlib import Path

from aotbuild.spec.errors import AotbuildError

_FILES = Path(__file__).parent / "project"
_HIDDEN = ("gitignore", "clangd")
_PLACE = "@PROJECT@"
# Other names than these would be two targets of one name, or one of CMake's own.
_TAKEN = ("classifier", "classifier_test", "all", "test", "clean", "install", "help", "package", "edit_cache")


def project_name(folder: Path) -> str:
    """The name of the project in ``folder``: the folder's own, as far as CMake's targets may have it.

    Raises:
        AotbuildError: nothing of it is left, or the name is taken.
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "_", folder.absolute().name).strip("_")
    if not re.match(r"[A-Za-z]", name) or name in _TAKEN:
        raise AotbuildError(
            f"init: a project can't be named after the folder {folder.absolute().name!r}: the name has to begin with a "
            f"letter of A to Z and to differ from {', '.join(_TAKEN)}; choose another folder"
        )
    return name


def write_project(folder: Path) -> list[Path]:
    """Writes the project.

    Returns:
        The files.

    Raises:
        AotbuildError: one of them exists already; nothing is written then.
    """
    name = project_name(folder)
    texts = {}
    for source in sorted(path for path in _FILES.iterdir() if path.is_file()):
        target = folder / (f".{source.name}" if source.name in _HIDDEN else source.name)
        texts[target] = source.read_text(encoding="utf-8").replace(_PLACE, name)
    existing = [path.name for path in texts if path.exists()]
    if existing:
        raise AotbuildError(f"init: {folder} has {', '.join(existing)} already; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)
