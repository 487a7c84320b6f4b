"""Where Python would find a module, without importing anything."""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import sys
from collections.abc import Sequence


def find(name: str, folders: Sequence[str], *, top: bool) -> importlib.machinery.ModuleSpec | None:
    """As ``import`` finds it: by the finders in their order, that of folders with ``folders``.

    Args:
        top: the module is part of no package. Other finders see no folders then.
    """
    for finder in sys.meta_path:
        spec = None
        if finder is importlib.machinery.PathFinder:
            spec = importlib.machinery.PathFinder.find_spec(name, folders)
        elif not getattr(finder, "records_lookups", False):
            with contextlib.suppress(Exception):  # a finder of another package that wants what is not there
                spec = finder.find_spec(name, None if top else folders)
        if spec is not None:
            return spec
    return None


def origin(name: str, folders: Sequence[str], *, top: bool) -> tuple[str, ...] | None:
    """The file that a module would come from, or the folders of a namespace package, or None where there is none."""
    spec = find(name, folders, top=top)
    if spec is None:
        return None
    if spec.origin is not None and os.path.isabs(spec.origin):
        return (spec.origin,)
    return tuple(map(str, spec.submodule_search_locations or ()))
