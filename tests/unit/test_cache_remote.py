"""The cache over HTTP: what a server has is taken from there, and whatever is wrong with one ends no build."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aotbuild.cache import Store, enabled
from aotbuild.spec.errors import AotbuildError

pytestmark = pytest.mark.quick


class Handler(http.server.BaseHTTPRequestHandler):
    """Files by GET and PUT, kept in the server's dictionary; ``refusal`` is the status of answers, if it is set."""

    server: FileServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _status(self) -> int:
        self.server.requests.append(f"{self.command} {self.path} {self.headers.get('Authorization', '')}".strip())
        return self.server.refusal.get(self.command, 0)

    def do_GET(self) -> None:
        data = self.server.files.get(self.path)
        status = self._status() or (404 if data is None else 200)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        status = self._status()
        if not status:
            self.server.files[self.path] = data
        self.send_response(status or 201)
        self.send_header("Content-Length", "0")
        self.end_headers()


class FileServer(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.refusal: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/cache"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def warnings() -> list[str]:
    return []


def store(folder: Path, url: str, warnings: list[str]) -> Store:
    return Store(folder, 1 << 20, warnings.append, url=url)


def check_sharing(folder: Path, url: str) -> None:
    """Two machines with a folder each share what each puts."""
    warnings: list[str] = []
    first, second = (store(folder / name, url, warnings) for name in ("first", "second"))
    assert second.get("graphs", "ab01") is None
    first.put("graphs", "ab01", b"graph" * 1000)
    assert second.get("graphs", "ab01") == b"graph" * 1000
    assert second.get("kernels", "ab01") is None
    first.put("results", "cd02/e1", b"one")
    second.put("results", "cd02/e2", b"two")
    third = store(folder / "third", url, warnings)
    names = third.newest("results", "cd02", 10)
    assert sorted(names) == ["cd02/e1", "cd02/e2"]
    assert names[0] == "cd02/e2"
    assert [third.get("results", name) for name in sorted(names)] == [b"one", b"two"]
    assert not warnings


def test_stores_share_a_server(tmp_path: Path, server: FileServer) -> None:
    check_sharing(tmp_path, server.url)
    server.files.clear()
    assert store(tmp_path / "second", server.url, []).get("graphs", "ab01") == b"graph" * 1000  # kept here


def test_stores_share_nginx(tmp_path: Path) -> None:
    """The server and the settings that the documentation names."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("there is no nginx")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "files").mkdir()
    tmp_path.chmod(0o755)
    folders = "".join(
        f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr; {'user root;' if os.geteuid() == 0 else ''} events {{}}\n"
        f"http {{ access_log off; {folders}\n"
        f"  server {{ listen 127.0.0.1:{port}; root {tmp_path}/files; client_max_body_size 0;\n"
        "    location / { dav_methods PUT; create_full_put_path on; } } }\n"
    )
    process = subprocess.Popen([nginx, "-c", tmp_path / "nginx.conf", "-e", "stderr"])
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        check_sharing(tmp_path, f"http://127.0.0.1:{port}/deep/folder")
        # What a server has is what a folder has.
        copied = Store(tmp_path / "files/deep/folder", 1 << 20)
        assert copied.get("graphs", "ab01") == b"graph" * 1000
    finally:
        process.terminate()
        process.wait()


def test_a_password_goes_as_such_and_stays_out_of_messages(
    tmp_path: Path, server: FileServer, warnings: list[str]
) -> None:
    url = server.url.replace("//", "//me:sec%40ret@")
    server.refusal = {"GET": 401}
    assert store(tmp_path / "a", url, warnings).get("graphs", "ab01") is None
    assert server.requests[0].endswith("Basic bWU6c2VjQHJldA==")
    assert warnings == [f"{server.url} can't be used (401 Unauthorized); this build goes on without it"]
    with pytest.raises(AotbuildError) as raised:
        store(tmp_path / "a", "ftp://me:secret@host/x", warnings)
    assert str(raised.value) == (
        "AOTBUILD_CACHE_URL 'ftp://...@host/x' is no address of a folder; write http://host/folder or https://host/folder"
    )


def test_damaged_entries_are_ignored(tmp_path: Path, server: FileServer, warnings: list[str]) -> None:
    store(tmp_path / "a", server.url, warnings).put("graphs", "ab01", b"one" * 100)
    ((path, data),) = server.files.items()
    server.files[path] = data[:-1]
    second = store(tmp_path / "b", server.url, warnings)
    assert second.get("graphs", "ab01") is None
    assert warnings == [f"{server.url}/2/graphs/ab/ab01 is damaged and is ignored"]
    second.put("graphs", "ab01", b"one" * 100)
    assert server.files[path] == data
    server.files["/cache/2/results/cd/cd02/list"] = b"../../etc\nok1\n\xff\n/x\n"
    assert second.newest("results", "cd02", 10) == ["cd02/ok1"]


def test_a_server_that_is_read_only_is_read(tmp_path: Path, server: FileServer, warnings: list[str]) -> None:
    store(tmp_path / "a", server.url, warnings).put("graphs", "ab01", b"one")
    server.refusal = {"PUT": 405}
    second = store(tmp_path / "b", server.url, warnings)
    second.put("graphs", "ab02", b"two")
    second.put("graphs", "ab03", b"three")
    assert second.get("graphs", "ab01") == b"one"
    assert warnings == [f"{server.url} does not take 2/graphs/ab/ab02 (405 Method Not Allowed)"]
    assert sum(request.startswith("PUT /cache/2/graphs/ab/ab0") for request in server.requests) == 2


def test_a_server_that_fails_is_asked_once(tmp_path: Path, server: FileServer, warnings: list[str]) -> None:
    server.refusal = {"GET": 503}
    broken = store(tmp_path / "a", server.url, warnings)
    for key in ("ab01", "ab02", "ab03"):
        assert broken.get("graphs", key) is None
        broken.put("graphs", key, b"x")
        assert broken.get("graphs", key) == b"x"
    assert len(server.requests) == 1
    assert warnings == [f"{server.url} can't be used (503 Service Unavailable); this build goes on without it"]


def test_no_server_is_one_warning(tmp_path: Path, warnings: list[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/cache"
    absent = store(tmp_path / "a", url, warnings)
    absent.put("graphs", "ab01", b"x")
    assert absent.newest("results", "cd02", 3) == []
    assert len(warnings) == 1 and warnings[0].startswith(f"{url} can't be used (")


def test_the_variable_names_the_server(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(tmp_path / "a"))
    monkeypatch.setenv("AOTBUILD_CACHE_URL", server.url)
    first = enabled()
    assert first is not None
    first.put("graphs", "ab01", b"one")
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(tmp_path / "b"))
    second = enabled()
    assert second is not None and second.get("graphs", "ab01") == b"one"
    monkeypatch.setenv("AOTBUILD_CACHE_URL", "off")
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(tmp_path / "c"))
    alone = enabled()
    assert alone is not None and alone.get("graphs", "ab01") is None
    monkeypatch.setenv("AOTBUILD_CACHE_URL", "cache.example")
    with pytest.raises(AotbuildError, match=r"AOTBUILD_CACHE_URL 'cache\.example' is no address"):
        enabled()
