"""What a run of the generator prints: a bar on a terminal, one line a stage in a log, a paragraph where it fails."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aotbuild.commands import cli
from aotbuild.generate.progress import EXPORT, IMPORT_TORCH, LOAD_MODEL, LOWER, Progress, bar, lower_method

pytestmark = pytest.mark.quick

DOCTOR = "aotbuild.commands.doctor.report"


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    return Terminal()


def test_a_log_has_one_line_a_stage() -> None:
    log = io.StringIO()
    progress = Progress("encoder", log)
    with progress.stage(LOAD_MODEL):
        time.sleep(0.3)
    progress.note("encoder: kept in bfloat16")
    first, second = log.getvalue().splitlines()
    assert re.fullmatch(r"aotbuild: encoder: loaded the model in \d+\.\d s, \d+ MiB", first)
    assert second == "aotbuild: encoder: kept in bfloat16"


def test_a_stage_asks_the_environment_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be taken for the model's question, and builds by make would not find what Ninja's have kept."""
    progresses = [Progress("encoder", terminal), Progress("encoder", io.StringIO())]

    class Silent(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            raise AssertionError(key)

    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", Silent())
        for progress in progresses:
            with progress.stage(EXPORT):
                time.sleep(0.5)
    assert "exporting and running it" in terminal.getvalue()


def test_a_terminal_has_a_bar_while_a_stage_runs_and_its_line_afterwards(terminal: Terminal) -> None:
    progress = Progress("encoder", terminal)
    with progress.stage(EXPORT):
        wait_for(lambda: "\x1b[K" in terminal.getvalue())
    frames = terminal.getvalue().split("\r")
    assert frames[0] == ""
    assert re.fullmatch(r"encoder \[\.{20}\] exporting and running it: \d s, \d+ MiB\x1b\[K", frames[1])
    assert re.fullmatch(r"\x1b\[Kaotbuild: encoder: exported and ran it eagerly in \d+\.\d s, \d+ MiB\n", frames[-1])


def test_the_bar_is_gone_before_an_error_is_printed(terminal: Terminal) -> None:
    with pytest.raises(ValueError, match="bad"), Progress("encoder", terminal).stage(LOWER):
        raise ValueError("bad")
    assert terminal.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("name", "value"), [("MAKEFLAGS", " -j8 --jobserver-auth=3,4"), ("TERM", "dumb")])
def test_no_bar_where_it_could_not_be_read(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with Progress("encoder", terminal).stage(LOWER):
        time.sleep(0.3)
    assert "\r" not in terminal.getvalue()


def test_quiet_prints_nothing(terminal: Terminal) -> None:
    progress = Progress("encoder", terminal, quiet=True)
    with progress.stage(LOWER):
        time.sleep(0.3)
    progress.note("a note")
    assert terminal.getvalue() == ""


def test_the_estimate_comes_from_the_stages_that_are_over() -> None:
    # Torch's import is a quarter of all, and took 3 seconds.
    line = bar("encoder", LOAD_MODEL, IMPORT_TORCH.share, 3.0, 0.0)
    assert line.startswith("encoder [#####...............] loading the model: 0 s, about 9 s left, ")
    # A stage that takes longer than it should does not fill its part of the bar.
    assert bar("encoder", LOAD_MODEL, IMPORT_TORCH.share, 3.0, 60.0).startswith("encoder [######..............] ")
    assert "left" not in bar("encoder", LOAD_MODEL, IMPORT_TORCH.share, 3.0, 60.0)


def test_methods_share_the_part_of_lowering() -> None:
    assert lower_method("decode", 2).share == LOWER.share / 2


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "aotbuild: error: No space left on device. Free some space where the build lies and run the same command "
            "again. What an earlier run made is as it was.\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "out/net.cpp"),
            1,
            "aotbuild: error: out/net.cpp: Permission denied. Mend that and run the same command again. What an "
            "earlier run made is as it was.\n",
        ),
        (
            MemoryError(),
            1,
            "aotbuild: error: the memory of this process ran out. Close what else needs memory, or let fewer models be "
            "generated at a time (the CMake variable AOTBUILD_GENERATOR_JOBS), and run the same command again. What an "
            "earlier run made is as it was.\n",
        ),
        (
            KeyError("stride"),
            3,
            "aotbuild: error: KeyError: 'stride'. Nobody foresaw this, so it is a fault of aotbuild, unless the last "
            "lines of the traceback above are the model's own. Please report it with that traceback and with what "
            "`aotbuild doctor` prints. What an earlier run made is as it was.\n",
        ),
        (
            KeyboardInterrupt(),
            130,
            "\naotbuild: stopped. What an earlier run made is as it was. Run the same command again to go on.\n",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_a_failure_ends_with_a_paragraph_that_says_what_to_do(
    error: BaseException,
    status: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: str) -> None:
        raise error

    monkeypatch.setattr(DOCTOR, fail)
    assert cli.main(["doctor"]) == status
    printed = capsys.readouterr().err
    assert printed.endswith(expected)
    assert ("Traceback" in printed) == (status == 3)


SLOW = """\
import time
import torch

def build():
    print("building", flush=True)
    time.sleep(60)
    return torch.nn.Linear(2, 2), (torch.ones(1, 2),)
"""


def test_ctrl_c_leaves_what_an_earlier_run_made(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(SLOW)
    output = tmp_path / "net.aotbuild"
    output.mkdir()
    (output / "net.cpp").write_text("// of an earlier run\n")
    command = [sys.executable, "-m", "aotbuild", "generate", "--target", "net", "--model", "model.py:build"]
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--output-dir", output],
            cwd=tmp_path,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "AOTBUILD_CACHE_DIR": "OFF"},
        )
        wait_for(lambda: "building" in log.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert log.read_text().endswith("Run the same command again to go on.\n")
    assert "Traceback" not in log.read_text()
    assert [path.name for path in output.iterdir()] == ["net.cpp"]
    assert (output / "net.cpp").read_text() == "// of an earlier run\n"
