"""What a run of the generator says while it works: a bar on a terminal, one line a stage in a log."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

_BAR_CELLS = 20
_SECONDS_BETWEEN_FRAMES = 0.2


@dataclass(frozen=True)
class Stage:
    """A part of a run. ``share`` is how long it takes beside the others, for the estimate; 0 where nobody knows."""

    done: str
    doing: str
    share: float = 0.0


LOOK_IN_CACHE = Stage("looked in the cache", "looking in the cache")
TAKE_FROM_CACHE = Stage("took the sources from the cache", "taking the sources from the cache")
# Shares are a small model's: of a large one each of the last four takes longer, and torch as long as ever.
IMPORT_TORCH = Stage("imported torch", "importing torch", 3.0)
LOAD_MODEL = Stage("loaded the model", "loading the model", 1.0)
EXPORT = Stage("exported and ran it eagerly", "exporting and running it", 3.0)
LOWER = Stage("lowered it", "lowering it", 4.0)
WRITE_SOURCES = Stage("wrote the sources", "writing the sources", 1.0)
KEEP_IN_CACHE = Stage("kept it in the cache", "keeping it in the cache")
LOAD_KERNEL = Stage("loaded the kernel", "loading the kernel")
COMPILE_KERNEL = Stage("compiled it", "compiling it")
_TOTAL = sum(stage.share for stage in (IMPORT_TORCH, LOAD_MODEL, EXPORT, LOWER, WRITE_SOURCES))


def lower_method(method: str, methods: int) -> Stage:
    """The lowering of one of a model's methods."""
    return Stage(f"lowered {method}", f"lowering {method}", LOWER.share / methods)


class Progress:
    """Prints one line a stage, with its seconds and the most memory so far; on a terminal also a bar while it runs.

    There is no bar where make runs several commands at a time, which would draw over one another.
    """

    def __init__(self, target: str, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._target = target
        self._stream = stream if stream is not None else sys.stdout
        self._quiet = quiet
        # Now: what the environment is asked for while a model is made counts as the model's, for the compile cache.
        self._has_bar = not quiet and _draws(self._stream)
        self._start = time.perf_counter()
        self._done = 0.0  # the shares of the stages that are over

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        start = time.perf_counter()
        with self._bar(stage):
            yield
        self._done += stage.share
        if not self._quiet:
            seconds = time.perf_counter() - start
            memory = memory_text("VmHWM")
            print(f"aotbuild: {self._target}: {stage.done} in {seconds:.1f} s{memory}", file=self._stream, flush=True)

    def note(self, line: str) -> None:
        if not self._quiet:
            print(f"aotbuild: {line}", file=self._stream, flush=True)

    @contextmanager
    def _bar(self, stage: Stage) -> Iterator[None]:
        if not self._has_bar:
            yield
            return
        over = threading.Event()
        thread = threading.Thread(target=self._draw, args=(stage, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _draw(self, stage: Stage, over: threading.Event) -> None:
        start = time.perf_counter()
        while not over.wait(_SECONDS_BETWEEN_FRAMES):
            now = time.perf_counter()
            line = bar(self._target, stage, self._done, start - self._start, now - start)
            self._stream.write(f"\r{line[: _columns(self._stream) - 1]}\x1b[K")
            self._stream.flush()


def bar(target: str, stage: Stage, done: float, before: float, within: float) -> str:
    """The line of a terminal.

    Args:
        done: the shares of the stages that are over, which took ``before`` seconds.
        within: the seconds of this stage so far.
    """
    expected = before / done * stage.share if done else 0.0
    part = min(0.95, within / expected) if expected else 0.0
    cells = int(_BAR_CELLS * min(1.0, (done + part * stage.share) / _TOTAL))
    left = before / done * (_TOTAL - done) - within if done else 0.0
    estimate = f", about {left:.0f} s left" if left >= 1 else ""
    drawn = "#" * cells + "." * (_BAR_CELLS - cells)
    return f"{target} [{drawn}] {stage.doing}: {within:.0f} s{estimate}{memory_text('VmRSS')}"


def memory_text(what: str) -> str:
    """This process's memory by its name in Linux's ``/proc/self/status``, as ``", 512 MiB"``; empty elsewhere."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return ""
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    return f", {int(found[1]) / 1024:.0f} MiB" if found else ""


def _columns(stream: TextIO) -> int:
    """The terminal's own answer, and not the environment's."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 80


def _draws(stream: TextIO) -> bool:
    parallel = re.search(r"-j|jobserver", os.environ.get("MAKEFLAGS", "")) is not None
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not parallel
