"""Fuzz targets of the generator's readers: whatever a file or a call holds, it is read, or refused with a message.

``python python_targets.py TARGET FOLDER`` runs one over files; ``TARGET -- ...`` hands it to Atheris, with libFuzzer's
arguments.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CACHE_KEY, REQUEST_KEY = "00" * 32, "11" * 32


class BrokenPromiseError(Exception):
    """A promise that does not hold."""


def require(holds: bool, promise: str) -> None:
    if not holds:
        raise BrokenPromiseError(promise)


def tuning_database(data: bytes) -> None:
    """A file beside the model, which people merge by hand: what is no line is reported, and what is one is kept."""
    from aotbuild.tuning import database

    text = data.decode("utf-8", "replace")
    read = database.parse(text)
    written = database.text_of(read.entries)
    again = database.parse(written)
    require(not again.problems, f"what is written is read: {again.problems}")
    require(database.text_of(again.entries) == written, "what is read again is the same")


def tuning_results(data: bytes) -> None:
    """Results of a device: another machine has written them."""
    from aotbuild.spec.errors import AotbuildError
    from aotbuild.tuning import merge

    path = _file(data)
    try:
        results = merge.read_results(path, "id")
    except AotbuildError as error:
        require(str(path) in str(error), "the message names the file")
        return
    for times in results.times.values():
        require(all(isinstance(time, float | int) and time >= 0 for time in times), "times are numbers")


def manifest(data: bytes) -> None:
    """``aotbuild inspect`` of any file."""
    from aotbuild.commands.inspect.read import inspect
    from aotbuild.commands.inspect.text import as_text
    from aotbuild.spec.errors import AotbuildError

    path = _file(data)
    try:
        found = inspect(path)
    except AotbuildError as error:
        require(str(path) in str(error), "the message names the file")
        return
    as_text(found)
    found.as_json()


def cache_entry(data: bytes) -> None:
    """A file of a shared cache, as it is and under a right checksum: it is used or passed over, with a warning."""
    from aotbuild.cache import graphs, results
    from aotbuild.cache.keys import Request
    from aotbuild.cache.places import Places
    from aotbuild.cache.store import Store

    store = Store(_folder() / "cache", 1 << 30, lambda text: None)
    for kind in ("graphs", "results"):
        path = store._path(kind, CACHE_KEY)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        store.get(kind, CACHE_KEY)
        path.unlink(missing_ok=True)
    store.put("graphs", CACHE_KEY, data)
    require(store.get("graphs", CACHE_KEY) == data, "what was put is found")
    graphs.find(store, CACHE_KEY, [])
    store._path("graphs", CACHE_KEY).unlink()
    request = Request(REQUEST_KEY, Places(_folder()), [], "model.py", "", "{}", "", {})
    store.put("results", f"{REQUEST_KEY}/entry", data)
    results.find(store, request)
    store._path("results", f"{REQUEST_KEY}/entry").unlink()


def plan(data: bytes) -> None:
    """The words of a call in CMake: a plan, or a message."""
    from aotbuild.spec.functions import FUNCTIONS, PLANNED
    from aotbuild.spec.place import Place
    from aotbuild.spec.plan import parsed
    from aotbuild.spec.plan import plan as make_plan
    from aotbuild.spec.statements import statements
    from aotbuild.spec.words import words_of

    names = sorted(FUNCTIONS)
    name = names[data[0] % len(names)] if data else names[0]
    words = words_of(os.fsdecode(data[1:]))
    place = Place("/project", "/project/build", "/project", "x86_64", ("90",), is_target=bool(data[:1] > b"\x7f"))
    if name not in PLANNED:
        parsed(name, words)
        return
    found = make_plan(name, words, place)
    require(bool(found["message"]) != ("command" in found), "a plan, or a message")
    os.fsencode("".join(statements("plan", found)))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (tuning_database, tuning_results, manifest, cache_entry, plan)
}


def _folder() -> Path:
    global _made
    if _made is None:
        _made = tempfile.TemporaryDirectory(dir="/dev/shm")
    return Path(_made.name)


_made: tempfile.TemporaryDirectory[str] | None = None


def _file(data: bytes) -> Path:
    path = _folder() / "input"
    path.write_bytes(data)
    return path


def replay(name: str, folder: Path) -> int:
    """Runs a target over the files of a folder; how many there were."""
    files = sorted(folder.iterdir())
    for file in files:
        TARGETS[name](file.read_bytes())
    return len(files)


def main(name: str, arguments: list[str]) -> None:
    if arguments[0] != "--":
        print(f"{replay(name, Path(arguments[0]))} inputs")
        return
    import atheris

    # Of the finder that an editable install has put in the way of all others, Atheris sees no source.
    sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
    sys.path.insert(0, str(Path(__file__).parents[3] / "python"))
    with atheris.instrument_imports(include=["aotbuild"]):
        TARGETS[name](b"")  # imports all that it needs
    atheris.Setup([sys.argv[0], *arguments[1:]], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
