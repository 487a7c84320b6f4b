"""Results by the sources: the generated files of a model, as long as it would find the same files again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotbuild.cache import observations
from aotbuild.cache.keys import Request, digest
from aotbuild.cache.observations import CONTENT, KIND, LISTING, Eyes, Lookup, Observation
from aotbuild.cache.places import ELSEWHERE, PACKAGE, PYTHON, search_path
from aotbuild.cache.reads import Recording
from aotbuild.cache.store import Store

# How many results of one request are looked at: a shared folder sees the sources of many branches.
_MAX_CANDIDATES = 64
# Files that are larger than this are no place where somebody wrote a path.
_LARGEST_TEXT = 4 << 20


@dataclass(frozen=True)
class Hit:
    """A result that was in the cache: the generated files, and the model's own files that it was made from."""

    files: Mapping[str, bytes]
    dependencies: tuple[Path, ...]


def find(store: Store, request: Request) -> Hit | None:
    """The result for the sources as they are now, or None."""
    eyes = Eyes(request.places)
    for name in store.newest("results", request.key, _MAX_CANDIDATES):
        data = store.get("results", name)
        if data is None:
            continue
        try:
            hit = _hit(store, json.loads(data), request, eyes)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            store.warn(f"the result {name} can't be read ({error}) and is ignored")
            continue
        if hit is not None:
            return hit
    return None


def _hit(store: Store, entry: Mapping[str, Any], request: Request, eyes: Eyes) -> Hit | None:
    """What an entry holds, where the model would find now what it found then, and all of its files are there."""
    if not _holds(entry, request, eyes):
        return None
    files = {file: store.get("objects", content) for file, content in entry["files"].items()}
    present = {file: data for file, data in files.items() if data is not None}
    if len(present) != len(files):
        return None
    tracked = observations.from_json(entry["tracked"])
    return Hit(present, tuple(Path(eyes.places.paths(one.place)[0]) for one in tracked))


def _holds(entry: Mapping[str, Any], request: Request, eyes: Eyes) -> bool:
    """Whether the model would find now what it found then."""
    if entry["bound"] not in ("", request.places.project):
        return False
    if any(_variable(name, os.environ.get(name)) != value for name, value in entry["variables"].items()):
        return False
    found = observations.from_json([*entry["tracked"], *entry["found"]])
    return all(map(eyes.confirms, found)) and all(map(eyes.confirms_lookup, _lookups(entry)))


def keep(
    store: Store, request: Request, files: Mapping[str, bytes], dependencies: Iterable[Path], recording: Recording
) -> None:
    """Keeps a result. ``dependencies`` are the model's files for the depfile, ``recording`` is what it read."""
    if not store.fits(sum(map(len, files.values()))):
        return
    places = request.places
    tracked = {os.path.abspath(path) for path in dependencies}
    opened = {path for path in recording.opened if places.of(path).kind != PYTHON}
    eyes = Eyes(places)
    changed = recording.changed(tracked)
    if changed is None and eyes.answer(CONTENT, request.model) != request.content:
        changed = request.model
    if changed is not None:
        store.warn(f"{changed} changed while the model was made, and the result is not kept")
        return
    own = {Observation(CONTENT, places.of(path), eyes.answer(CONTENT, path)) for path in tracked}
    found = {Observation(CONTENT, places.of(path), eyes.answer(CONTENT, path)) for path in opened - tracked}
    found |= set(_looked_at(eyes, recording, tracked | opened))
    named = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    for name, data in files.items():
        store.put("objects", named[name], data)
    lookups = _lookups_as_json(eyes, recording)
    is_bound = _names_project(request, recording, tracked | opened) or _leaves_project(request, lookups["paths"])
    entry = {
        "files": named,
        "bound": places.project if is_bound else "",
        "tracked": observations.as_json(sorted(own)),
        "found": observations.as_json(sorted(found, key=repr)),
        "variables": {name: _variable(name, value) for name, value in sorted(recording.variables.items())},
        **lookups,
    }
    text = json.dumps(entry, sort_keys=True)
    store.put("results", f"{request.key}/{digest(text)}", text.encode())
    store.trim()


def _looked_at(eyes: Eyes, recording: Recording, opened: set[str]) -> Iterator[Observation]:
    """What is beyond the contents of files: whether there are such, and what folders list."""
    for aspect, paths in ((KIND, recording.looked_at.keys() - opened), (LISTING, recording.listed.keys())):
        for path in paths:
            place = eyes.places.of(path)
            if place.kind not in (PYTHON, PACKAGE) and not (aspect == KIND and eyes.places.is_ancestor(path)):
                yield Observation(aspect, place, eyes.answer(aspect, path))


def _variable(name: str, value: str | None) -> str | None:
    """A checksum of an environment variable: it may hold a password, and the cache is shared."""
    return None if value is None else digest(name, value)


def _names_project(request: Request, recording: Recording, opened: set[str]) -> bool:
    """Whether something that the model read has the project's folder written out: another build may read it there."""
    names = {name.encode() for name in (request.places.project, os.path.realpath(request.places.project))}
    texts = [request.settings.encode(), *((value or "").encode() for value in recording.variables.values())]
    for path in opened:
        if request.places.of(path).kind not in (PYTHON, PACKAGE):
            texts.append(_text(path))
    return any(name in text for text in texts for name in names)


def _leaves_project(request: Request, paths: Iterable[Sequence[Sequence[str]]]) -> bool:
    """Whether modules were looked for in foreign folders that the request did not have on its path.

    Such a folder may be named as seen from the project, so for another project it is another one.
    """
    return any(folder[0] == ELSEWHERE and folder not in request.path for path in paths for folder in path)


def _text(path: str) -> bytes:
    try:
        data = Path(path).read_bytes() if os.path.getsize(path) <= _LARGEST_TEXT else b""
    except OSError:
        return b""
    return b"" if b"\0" in data else data


def _lookups_as_json(eyes: Eyes, recording: Recording) -> dict[str, Any]:
    """The lookups of modules in which a folder of the project or a foreign one took part, each list of folders once."""
    paths: dict[str, int] = {}
    lookups = []
    for (name, folders, top), origin in recording.lookups.items():
        searched = search_path(eyes.places, folders)
        if all(kind in (PYTHON, PACKAGE) for kind, *_ in searched):
            continue
        index = paths.setdefault(json.dumps(searched), len(paths))
        lookups.append([name, index, top, eyes.named(origin)])
    return {"paths": [json.loads(path) for path in paths], "lookups": sorted(lookups, key=repr)}


def _lookups(entry: Mapping[str, Any]) -> Iterator[Lookup]:
    for name, index, top, origin in entry["lookups"]:
        folders = tuple(tuple(folder) for folder in entry["paths"][index])
        yield Lookup(name, folders, top, None if origin is None else tuple(origin))
