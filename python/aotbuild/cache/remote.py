"""Entries of the cache over HTTP: GET and PUT of files, as caches of ccache, sccache and Bazel are served."""

from __future__ import annotations

import base64
import contextlib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator

from aotbuild.spec.errors import AotbuildError

URL_VARIABLE = "AOTBUILD_CACHE_URL"
# A cache that makes a build wait is worse than none.
_SECONDS = 20.0
# Names in the list of a key: GET lists no folder, so the keys below a key are an entry of their own.
_MOST_LISTED = 64


class Remote:
    """A server's folder. What goes wrong is one warning, and the build goes on without what failed."""

    def __init__(self, url: str, warn: Callable[[str], None]) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise AotbuildError(
                f"{URL_VARIABLE} {_without_password(url)!r} is no address of a folder; write http://host/folder or "
                "https://host/folder"
            )
        host = parts.netloc.rpartition("@")[2]
        self.url = urllib.parse.urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._headers = {"User-Agent": "aotbuild"}
        if parts.username is not None:
            user = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        self._warn = warn
        self._is_lost = False  # the server does not answer
        self._is_read_only = False

    def get(self, name: str) -> bytes | None:
        """The file, or None where there is none or the server does not answer."""
        if self._is_lost:
            return None
        with self._tolerant():
            try:
                return self._send(name, None)
            except urllib.error.HTTPError as error:
                if error.code not in (404, 410):
                    raise
        return None

    def put(self, name: str, data: bytes) -> None:
        if self._is_lost or self._is_read_only:
            return
        with self._tolerant():
            try:
                self._send(name, data)
            except urllib.error.HTTPError as error:
                if error.code not in (401, 403, 405, 413, 501):
                    raise
                # One entry may be too large; else nobody may write.
                self._is_read_only = error.code != 413
                self._warn(f"{self.url} does not take {name} ({error.code} {error.reason})")

    def listed(self, name: str) -> list[str]:
        """The names that ``add`` added to a list; the last one first."""
        lines = (self.get(f"{name}/list") or b"").decode(errors="replace").split("\n")
        # They become names of files.
        return [line for line in lines if line.isascii() and line.isalnum()][:_MOST_LISTED]

    def add(self, name: str, entry: str) -> None:
        """Adds a name to a list. Of two that are added at the same time one may be missing, which is a miss later."""
        others = [other for other in self.listed(name) if other != entry]
        self.put(f"{name}/list", "\n".join([entry, *others[: _MOST_LISTED - 1]]).encode())

    def _send(self, name: str, data: bytes | None) -> bytes:
        request = urllib.request.Request(
            f"{self.url}/{urllib.parse.quote(name)}",
            data,
            {**self._headers, **({} if data is None else {"Content-Type": "application/octet-stream"})},
            method="GET" if data is None else "PUT",
        )
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            content: bytes = answer.read()
            return content

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            self._is_lost = True
            reason = f"{error.code} {error.reason}" if isinstance(error, urllib.error.HTTPError) else error
            self._warn(f"{self.url} can't be used ({reason}); this build goes on without it")


def _without_password(url: str) -> str:
    head, at, host = url.rpartition("@")
    scheme, slashes, _ = head.partition("//")
    return f"{scheme}{slashes}...{at}{host}" if at else url
