"""Where a file lies as a build sees it, in words that mean the same file in another checkout or on another machine.

A path that a model read may have been written out, or made from the place of the model file. Nothing tells which. So a
file of the project is looked up in the project of the build that asks and nowhere else, and a file beyond it has to be
what it was both at its own path and as seen from the project.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Folders of the system: no project makes paths to them from its own place.
_SYSTEM = ("/bin", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/sbin", "/sys", "/usr")
PROJECT, PACKAGE, PYTHON, ELSEWHERE = "project", "package", "python", "elsewhere"


@dataclass(frozen=True, order=True)
class Place:
    """``path`` is relative to the project, to a folder of packages or to Python's own, and absolute elsewhere.

    ``seen``: of a file elsewhere, relative to the project.
    """

    kind: str
    path: str
    seen: str = ""


class Places:
    """The folders of one build: that of its project, and those of Python and its packages."""

    def __init__(self, project: Path) -> None:
        self.project = os.path.abspath(project)
        self._projects = list(dict.fromkeys([self.project, os.path.realpath(project)]))
        self._packages = package_folders()
        self._python = _python_folders()
        self._own = _with_targets([str(Path(__file__).parents[1])])  # a part of every key, as Python's version is

    def of(self, path: str) -> Place:
        """The place of a path, which may be relative to the current folder."""
        absolute = os.path.abspath(path)
        if os.pardir in path.split(os.sep) and os.path.realpath(path) != os.path.realpath(absolute):
            absolute = os.path.realpath(path)  # the folder before ".." is a link
        known = ((PYTHON, self._own), (PACKAGE, self._packages), (PYTHON, self._python), (PROJECT, self._projects))
        for kind, folders in known:
            for folder in folders:
                relative = _below(absolute, folder)
                if relative is not None:
                    return Place(kind, relative)
        is_system = any(_below(absolute, folder) is not None for folder in _SYSTEM)
        return Place(ELSEWHERE, absolute, "" if is_system else os.path.relpath(absolute, self.project))

    def paths(self, place: Place) -> list[str]:
        """Where a place is for this build: all of the paths have to be what they were."""
        if place.kind == ELSEWHERE:
            seen = [os.path.normpath(os.path.join(self.project, place.seen))] if place.seen else []
            return list(dict.fromkeys([place.path, *seen]))
        if place.kind == PROJECT:
            return [os.path.normpath(os.path.join(self.project, place.path))]
        found = [os.path.normpath(os.path.join(folder, place.path)) for folder in self.folders(place.kind)]
        return [next(filter(os.path.exists, found), found[0])] if found else []

    def folders(self, kind: str) -> list[str]:
        """The folders of packages, or Python's own, in the order in which Python looks into them."""
        return self._packages if kind == PACKAGE else self._python

    def is_ancestor(self, path: str) -> bool:
        """Whether a folder holds the project, Python or packages: every build has those, under names of its own."""
        folders = (*self._projects, *self._packages, *self._python, *self._own)
        return any(_below(folder, os.path.abspath(path)) is not None for folder in folders)


def package_folders() -> list[str]:
    """The folders of installed packages, in the order in which Python looks into them."""
    folders = [folder for folder in sys.path if os.path.basename(folder) in ("site-packages", "dist-packages")]
    torch = importlib.util.find_spec("torch")
    if torch is not None and torch.origin is not None:
        folders.append(os.path.dirname(os.path.dirname(torch.origin)))
    return _with_targets(folders)


def _python_folders() -> list[str]:
    paths = sysconfig.get_paths()
    return _with_targets([paths["stdlib"], paths["platstdlib"]])


def _with_targets(folders: Sequence[str]) -> list[str]:
    """The folders, and what they are links to."""
    return list(
        dict.fromkeys(path for folder in folders for path in (os.path.abspath(folder), os.path.realpath(folder)))
    )


def _below(path: str, folder: str) -> str | None:
    """``path`` relative to ``folder``, or None where it lies elsewhere."""
    if path == folder:
        return "."
    start = folder.rstrip(os.sep) + os.sep
    return path[len(start) :] if path.startswith(start) else None


def search_path(places: Places, folders: Sequence[str]) -> list[list[str]]:
    """A list of folders in which modules are looked for as JSON; a run of folders of Python's own is one."""
    found: list[list[str]] = []
    for folder in folders:
        place = places.of(folder or os.curdir)
        entry = [place.kind] if place.kind in (PACKAGE, PYTHON) and place.path == "." else [place.kind, place.path]
        if not found or found[-1] != entry:
            found.append(entry)
    return found
