"""Chromium without a window, by the DevTools protocol over two pipes; and a server of a folder for its pages."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import itertools
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECONDS = 120


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = SECONDS) -> None:
        """Until an expression is true. Raises TimeoutError with the page's text."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} did not become true; the page: {self.evaluate(TEXT)}")
            time.sleep(0.05)

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self) -> bytes:
        """A PNG of what is seen."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


TEXT = "document.body.innerText"


class Browser:
    """A process of it, until ``close``; ``flags`` are Chromium's."""

    def __init__(self, *flags: str, width: int = 800, height: int = 640) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._ids = itertools.count(1)
        from_us, self._to = os.pipe()
        self._from, to_us = os.pipe()
        command = [
            *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio"),
            *("--no-first-run", "--disable-background-networking", "--remote-debugging-pipe"),
            *("--force-device-scale-factor=1", f"--window-size={width},{height}"),
            *(f"--user-data-dir={self._folder.name}", *flags, "about:blank"),
        ]
        # Chromium reads its descriptor 3 and writes to 4.
        shell = ["bash", "-c", f'exec "$@" 3<&{from_us} 4>&{to_us}', "bash", *command]
        self._process = subprocess.Popen(shell, pass_fds=(from_us, to_us), stderr=subprocess.DEVNULL)
        os.close(from_us)
        os.close(to_us)
        self._received = b""
        self._size = (width, height)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._folder.cleanup()

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next_message()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next_message(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            part = os.read(self._from, 1 << 16)
            if not part:
                raise RuntimeError("chromium ended")
            self._received += part
        message, _, self._received = self._received.partition(b"\0")
        result: dict[str, Any] = json.loads(message)
        return result

    def open(self, address: str) -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        width, height = self._size
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )  # the window without its frame
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.call("Page.enable")
        page.call("Page.navigate", url=address)
        page.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")
        return page


class Handler(http.server.SimpleHTTPRequestHandler):
    """Pages in an origin of their own, so that their clocks count microseconds."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path, handler: type[Handler] = Handler) -> Iterator[str]:
    """The address at which a server on loopback gives out a folder."""
    bound = functools.partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
