"""The cache's folder: files under the names of their keys, checked when they are read, bounded in size, shared.

Everything is written whole and with a checksum over its name and its content, so that any number of builds on any
number of machines may use one folder. Trouble with it is a warning and never the end of a build.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aotbuild.cache.remote import URL_VARIABLE, Remote
from aotbuild.spec.errors import AotbuildError

DIRECTORY_VARIABLE = "AOTBUILD_CACHE_DIR"
SIZE_VARIABLE = "AOTBUILD_CACHE_SIZE"
_DEFAULT_SIZE = "5G"
_OFF = ("", "OFF", "0", "NO", "FALSE")
_FORMAT = "2"
# A full cache shrinks to this part of its size, so that not every store has to clean.
_KEPT = 0.8
# What an interrupted run left behind is removed after this time.
_STALE_SECONDS = 3600.0


def enabled() -> Store | None:
    """The cache that AOTBUILD_CACHE_DIR names, or None when that is unset, empty or OFF.

    Raises:
        AotbuildError: AOTBUILD_CACHE_SIZE is no size, or AOTBUILD_CACHE_URL no address.
    """
    text = os.environ.get(DIRECTORY_VARIABLE, "")
    url = os.environ.get(URL_VARIABLE, "")
    if text.upper() in _OFF:
        return None
    size = _bytes(os.environ.get(SIZE_VARIABLE) or _DEFAULT_SIZE)
    return Store(Path(text).expanduser(), size, url="" if url.upper() in _OFF else url)


def _bytes(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in units else (text, "")
    try:
        return int(float(number) * units.get(unit, 1))
    except (ValueError, OverflowError):
        raise AotbuildError(
            f"{SIZE_VARIABLE} {text!r} is no size; write bytes, or a number with K, M, G or T"
        ) from None


class Store:
    """A folder of entries. An entry has a kind, such as "graphs", and a key of hexadecimal digits and slashes.

    With ``url``, a server's folder of the same layout is asked for what is missing here, and gets what is put here.
    """

    def __init__(
        self, directory: Path, max_bytes: int, warn: Callable[[str], None] | None = None, *, url: str = ""
    ) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self._root = directory / _FORMAT
        self._warn = warn or (lambda text: print(f"aotbuild: warning: cache: {text}", file=sys.stderr))
        self._remote = Remote(url, self.warn) if url else None

    def get(self, kind: str, key: str) -> bytes | None:
        """The entry, or None where there is none or it is damaged."""
        path = self._path(kind, key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return self._fetch(kind, key)
        except OSError as error:
            self._warn(f"{path} can't be read ({error.strerror})")
            return None
        content = _opened(kind, key, data)
        if content is None:
            self._warn(f"{path} is damaged and is ignored")
            _remove(path)
            return None
        _touch(path)
        return content

    def _fetch(self, kind: str, key: str) -> bytes | None:
        """The server's entry, which is kept here too."""
        data = self._remote.get(_name(kind, key)) if self._remote else None
        if self._remote is None or data is None:
            return None
        content = _opened(kind, key, data)
        if content is None:
            self._warn(f"{self._remote.url}/{_name(kind, key)} is damaged and is ignored")
            return None
        self._keep(kind, key, data)
        return content

    def put(self, kind: str, key: str, data: bytes) -> None:
        """Keeps an entry, which is whole for whoever reads it. Call ``trim`` after the last one."""
        sealed = _seal(kind, key, data) + b"\n" + data
        self._keep(kind, key, sealed)
        if self._remote:
            self._remote.put(_name(kind, key), sealed)
            folder, slash, name = key.rpartition("/")
            if slash:
                self._remote.add(_name(kind, folder), name)

    def _keep(self, kind: str, key: str, sealed: bytes) -> None:
        with self._tolerant():
            path = self._path(kind, key)
            if path.exists():  # its key says what it holds; a damaged one is removed when it is read
                _touch(path)
                return
            self._make_folder(path.parent)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
            try:
                temporary.write_bytes(sealed)
                with contextlib.suppress(OSError):
                    temporary.chmod(self._mode() & 0o666)
                temporary.replace(path)
            finally:
                _remove(temporary)

    def fits(self, size: int) -> bool:
        """Whether entries of so many bytes are kept; a warning where they are not."""
        if size <= self.max_bytes * _KEPT:
            return True
        self._warn(f"the result is larger than {SIZE_VARIABLE} allows and is not kept")
        return False

    def newest(self, kind: str, key: str, limit: int) -> list[str]:
        """Keys of the entries below a key, as in ``key/name``; those that were used last come first."""
        names: list[str] = []
        with self._tolerant():
            folder = self._path(kind, key)
            if folder.is_dir():
                dated = [(_mtime(path), path.name) for path in folder.iterdir() if path.suffix != ".tmp"]
                names = [name for _, name in sorted(dated, reverse=True)]
        if self._remote and len(names) < limit:
            names += [name for name in self._remote.listed(_name(kind, key)) if name not in names]
        return [f"{key}/{name}" for name in names[:limit]]

    def trim(self) -> None:
        """Removes what was not used for the longest time when the cache is too large."""
        with self._tolerant():
            files = sorted(self._all_files())
            total = sum(size for _, size, _ in files)
            now = time.time()
            shrinking = total > self.max_bytes
            for used, size, path in files:
                stale = path.suffix == ".tmp" and now - used > _STALE_SECONDS
                if stale or (shrinking and total > self.max_bytes * _KEPT and path.suffix != ".tmp"):
                    _remove(path)
                    total -= size

    def size(self) -> int:
        """Bytes that the cache takes."""
        return sum(size for _, size, _ in self._all_files())

    def warn(self, text: str) -> None:
        self._warn(text)

    def _path(self, kind: str, key: str) -> Path:
        return self.directory / _name(kind, key)

    def _mode(self) -> int:
        return stat.S_IMODE(self.directory.stat().st_mode)

    def _make_folder(self, folder: Path) -> None:
        """Makes a folder that whoever may write to the cache's own may write to: people share a network folder."""
        if folder.is_dir():
            return
        if folder == self.directory:
            folder.mkdir(parents=True, exist_ok=True)
            return
        self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            with contextlib.suppress(OSError):
                folder.chmod(self._mode())

    def _all_files(self) -> Iterator[tuple[float, int, Path]]:
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    status = path.stat()
                    yield status.st_mtime, status.st_size, path

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._warn(f"{self.directory} can't be used ({error.strerror})")


def _name(kind: str, key: str) -> str:
    """An entry's file below the cache's folder, here and on a server."""
    return f"{_FORMAT}/{kind}/{key[:2]}/{key}"


def _opened(kind: str, key: str, data: bytes) -> bytes | None:
    """The content of a sealed entry; None of a damaged one."""
    seal, _, content = data.partition(b"\n")
    return content if _seal(kind, key, content) == seal else None


def _seal(kind: str, key: str, data: bytes) -> bytes:
    """A checksum of the content, and of the name so that a file that was moved is none."""
    result = hashlib.sha256(f"{kind}/{key}\n".encode())
    result.update(data)
    return result.hexdigest().encode()


def _touch(path: Path) -> None:
    """Marks a file as used. A folder that can't be written to is a cache all the same."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
