"""What a model found while it was made, and whether another build would find the same.

An observation is a question with its answer: what a file holds, whether there is one, what a folder lists, which file a
module comes from, what an environment variable says. Absence is an answer too: a file that appears may be one that the
model prefers. A build asks the same questions of its own files, and takes a result only when every answer is the same.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aotbuild.cache import modules
from aotbuild.cache.places import Place, Places
from aotbuild.cache.reads import kind, listing

CONTENT, KIND, LISTING = "content", "kind", "listing"


@dataclass(frozen=True, order=True)
class Observation:
    """``aspect`` of a file or folder; ``answer`` is None for what is not there."""

    aspect: str
    place: Place
    answer: str | None


@dataclass(frozen=True)
class Lookup:
    """A module that was looked for: its name, the folders in their order, and where it was found.

    ``top``: it is part of no package, so finders other than that of folders are asked as well.
    """

    name: str
    folders: tuple[tuple[str, ...], ...]
    top: bool
    origin: tuple[str, ...] | None


class Eyes:
    """Answers questions for one build, each file once."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._answers: dict[tuple[str, str], str | None] = {}
        importlib.invalidate_caches()

    def answer(self, aspect: str, path: str) -> str | None:
        key = (aspect, path)
        if key not in self._answers:
            self._answers[key] = {CONTENT: content, KIND: kind, LISTING: listing}[aspect](path)
        return self._answers[key]

    def confirms(self, observation: Observation) -> bool:
        paths = self.places.paths(observation.place)
        return bool(paths) and all(self.answer(observation.aspect, path) == observation.answer for path in paths)

    def confirms_lookup(self, lookup: Lookup) -> bool:
        return self.origin(lookup.name, lookup.folders, lookup.top) == lookup.origin

    def origin(self, name: str, folders: Sequence[tuple[str, ...]], top: bool) -> tuple[str, ...] | None:
        """Where this build would find a module."""
        return self.named(modules.origin(name, self._expanded(folders), top=top))

    def named(self, origin: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """An answer of ``modules.origin`` in words that mean the same for other builds."""
        if origin is None:
            return None
        places = map(self.places.of, origin)
        return tuple(part for place in places for part in (place.kind, place.path))

    def _expanded(self, folders: Sequence[tuple[str, ...]]) -> list[str]:
        found: list[str] = []
        for where, *path in folders:
            found += self.places.paths(Place(where, path[0])) if path else self.places.folders(where)
        return found


def content(path: str) -> str | None:
    """A checksum of the file, or None where it can't be opened or is no regular file: a device may have no end."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            result = hashlib.sha256()
            while block := file.read(1 << 20):
                result.update(block)
            return result.hexdigest()
    except OSError:
        return None


def as_json(observations: Sequence[Observation]) -> list[list[Any]]:
    return [[one.aspect, one.place.kind, one.place.path, one.place.seen, one.answer] for one in observations]


def from_json(values: Sequence[Sequence[Any]]) -> list[Observation]:
    return [Observation(aspect, Place(kind, path, seen), answer) for aspect, kind, path, seen, answer in values]
