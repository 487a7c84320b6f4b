"""Triton Inference Server as a process on loopback: starting, waiting until it is ready, killing, its metrics."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build/serve"
INSTALLED = FOLDER / "server/pytriton/tritonserver"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """The server over one repository. ``arguments`` are further ones of its command line."""

    def __init__(self, repository: Path, backends: Path, *arguments: str, environment: dict[str, str] | None = None):
        self.http, self.grpc, self.metrics_port = free_ports(3)
        self.log = FOLDER / f"server-{self.http}.log"
        folders = FOLDER / "backends"
        folders.mkdir(parents=True, exist_ok=True)
        for name, source in (("aotbuild", backends / "aotbuild"), ("python", INSTALLED / "backends/python")):
            link = folders / name
            link.unlink(missing_ok=True)
            link.symlink_to(source)
        self.command = [
            str(INSTALLED / "bin/tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={folders}",
            *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")),
            f"--http-port={self.http}",
            f"--grpc-port={self.grpc}",
            f"--metrics-port={self.metrics_port}",
            *arguments,
        ]
        self.environment = {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:  # noqa: PYI034
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
            if self._answers():
                return
            time.sleep(0.1)
        raise SystemExit(f"the server is not ready after 120 s:\n{self.log.read_text()[-3000:]}")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def memory(self) -> int:
        """Bytes that are resident."""
        assert self.process is not None
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def threads(self) -> int:
        assert self.process is not None
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def metrics(self, names: Sequence[str], model: str) -> list[float]:
        """The values of metrics of one model, all versions together."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return [
            sum(float(line.split()[-1]) for line in lines if line.startswith(f'{name}{{model="{model}",'))
            for name in names
        ]
