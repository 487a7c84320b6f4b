"""Builds that are killed, have no room, may not write, find a damaged cache, share one, or see the clock jump; and the
same bytes from other folders, users, locales and processors."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trial import FOLDER, ROOT, Outcome, Trial, require

_KILLS = 200
_BYTES = 100
_EXAMPLE = ROOT / "examples" / "quickstart"
_CHANGED = ("Linear(16, 3)", "Linear(16, 5)")
_PLACE = FOLDER / "builds"


class Project:
    """The quickstart in a folder of its own. ``environment``: what builds get beside the process's own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.source, self.build = folder / "source", folder / "build"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(_EXAMPLE, self.source)
        self.environment = {**os.environ, "AOTBUILD_CACHE_DIR": "OFF", "OMP_NUM_THREADS": "1", **environment}
        self.wrapper: list[str] = []

    def change(self, text: str) -> None:
        """Another last layer of the model."""
        file = self.source / "classifier.py"
        file.write_text(re.sub(r"Linear\(16, \d+\)", text, file.read_text()))

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.wrapper, *map(str, words)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str | Path) -> tuple[int, str]:
        process = self.start(*words)
        said = process.communicate()[0]
        return process.returncode, said

    def configure(self) -> None:
        status, said = self.run(
            *("cmake", "-S", self.source, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"),
            *(f"-Daotbuild_DIR={ROOT / 'cmake'}", f"-DAOTBUILD_PYTHON={sys.executable}", "-DAOTBUILD_EIGEN=OFF"),
            *(["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []),
        )
        require(status == 0, f"the project configures:\n{said[-3000:]}")

    @property
    def command(self) -> list[str | Path]:
        return ["cmake", "--build", self.build]

    def make(self, *words: str) -> str:
        status, said = self.run(*self.command, *words)
        require(status == 0, f"the build succeeds:\n{said[-3000:]}")
        return said

    def outputs(self) -> dict[str, str]:
        """Checksums of what the generator writes, but for what names the build's own paths to make or Ninja."""
        folder = self.build / "classifier.aotbuild"
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".d", ".stamp"))
        require(not [path for path in files if path.suffix == ".tmp"], "no temporary file is left")
        return {str(path.relative_to(folder)): digest(path) for path in files}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _states(project: Project) -> dict[str, dict[str, str]]:
    """What a whole build has generated, by the model's last layer."""
    states = {}
    for text in _CHANGED:
        project.change(text)
        project.make()
        states[text] = project.outputs()
    return states


def _check_interrupted(project: Project, states: Mapping[str, dict[str, str]], text: str, where: str) -> None:
    """What an interrupted build has left is one state or says that it is none; the next build is right."""
    manifest = project.build / "classifier.aotbuild" / "classifier.manifest.json"
    if manifest.exists():
        require(project.outputs() in states.values(), f"{where}: files of two builds lie beside one manifest")
    project.make()
    require(project.outputs() == states[text], f"{where}: the next build's files are right")
    require("no work to do" in project.make(), f"{where}: the build after it has nothing to do")


def _kill(process: subprocess.Popen[str], how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    process.communicate()


def _run_kills(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    """Every other time the model comes from the compile cache, so that the writing of files takes its share."""
    wanted = max(4, int(_KILLS * scale))
    project = Project(_PLACE / "kills", AOTBUILD_CACHE_DIR=str(_PLACE / "kills-cache"))
    project.configure()
    states = _states(project)
    seconds = {}
    for cached in (True, False):
        project.environment["AOTBUILD_CACHE_DIR"] = str(_PLACE / "kills-cache") if cached else "OFF"
        project.change(_CHANGED[0])
        start = time.monotonic()
        project.make()
        project.change(_CHANGED[1])
        project.make()
        seconds[cached] = (time.monotonic() - start) / 2
    while (number := outcome.counts.get("killed at a random point", 0)) < wanted:
        chance = random.Random(number)
        cached = number % 4 != 0
        text = _CHANGED[number % 2]
        project.environment["AOTBUILD_CACHE_DIR"] = str(_PLACE / "kills-cache") if cached else "OFF"
        project.change(text)
        process = project.start(*project.command)
        time.sleep(chance.uniform(0, seconds[cached]))
        was_running = process.poll() is None
        _kill(process, signal.SIGKILL)
        project.environment["AOTBUILD_CACHE_DIR"] = str(_PLACE / "kills-cache")
        _check_interrupted(project, states, text, f"kill {number}")
        outcome.add({"killed at a random point": 1, "of them while the build ran": int(was_running)})
        keep()


def _run_interrupts(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    """Ctrl-C after each line that a build prints."""
    project = Project(_PLACE / "interrupts")
    project.configure()
    states = _states(project)
    line, more = 0, True
    while more:
        text = _CHANGED[line % 2]
        project.change(text)
        process = project.start(*project.command)
        assert process.stdout is not None
        for _ in range(line + 1):
            more = bool(process.stdout.readline())
        _kill(process, signal.SIGINT)
        _check_interrupted(project, states, text, f"Ctrl-C after line {line}")
        line += 1
    outcome.counts = {"interrupted after a line": line}


@contextlib.contextmanager
def _small_disk(size: str) -> Iterator[Path]:
    folder = _PLACE / "disk"
    subprocess.run(["umount", folder], capture_output=True, check=False)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _run_disk(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    """A disk that gets full while a build writes, then has room; one that is read-only, then not."""
    outcome.counts.clear()
    with _small_disk("500m") as folder:
        project = Project(folder / "project")
        project.configure()
        states = _states(project)
        for number, kib in enumerate((0, 4, 8, 16, 24, 32, 48, 64)):
            text = _CHANGED[number % 2]
            project.change(text)
            shutil.rmtree(project.build / "classifier.aotbuild")
            used = shutil.disk_usage(folder).used // 1024
            subprocess.run(["mount", "-o", f"remount,size={used + kib}k", folder], check=True)
            status, said = project.run(*project.command)
            require(status != 0 and "No space left on device" in said, f"with {kib} KiB the disk is full: {said}")
            subprocess.run(["mount", "-o", "remount,size=500m", folder], check=True)
            _check_interrupted(project, states, text, f"a disk with {kib} KiB")
            outcome.add({"full disks": 1})
        project.change(_CHANGED[0])
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        status, said = project.run(*project.command)
        require(status != 0 and "Read-only file system" in said, f"the disk is read-only: {said}")
        require(project.outputs() in states.values(), "what is there stays whole")
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        project.make()
        require(project.outputs() == states[_CHANGED[0]], "the next build is right")
    outcome.add({"read-only disks": 1})


def _run_cache(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    """A byte of an entry is another one, or the entry ends early; then eight builds at once over one cache."""
    cache = _PLACE / "damaged-cache"
    shutil.rmtree(cache, ignore_errors=True)
    project = Project(_PLACE / "damaged", AOTBUILD_CACHE_DIR=str(cache))
    project.configure()
    states = _states(project)
    while (number := outcome.counts.get("damaged entries", 0)) < max(4, int(_BYTES * scale)):
        chance = random.Random(number)
        files = sorted(path for path in cache.rglob("*") if path.is_file())
        file = chance.choice(files)
        data = bytearray(file.read_bytes())
        if number % 4 == 3:
            del data[chance.randrange(len(data)) :]
        else:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        text = _CHANGED[number % 2]
        project.change(text)
        shutil.rmtree(project.build / "classifier.aotbuild")
        project.make()
        require(project.outputs() == states[text], f"damaged {file.name}: the build is right")
        outcome.add({"damaged entries": 1})
        keep()
    shutil.rmtree(cache)
    builders = [Project(_PLACE / f"shared{number}", AOTBUILD_CACHE_DIR=str(cache)) for number in range(8)]
    for builder in builders:
        builder.configure()
    processes = [builder.start(*builder.command) for builder in builders]
    for builder, process in zip(builders, processes):
        said = process.communicate()[0]
        require(process.returncode == 0, f"eight builders at once: {said}")
        require(builder.outputs() == states[_CHANGED[0]], "eight builders have the same files")
    outcome.add({"builders at once": 8})


def _run_clock(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    """Years forth and back between builds that share a compile cache; by libfaketime.

    Build folders are new: make and Ninja see by the time of a file that it has changed, and no generator can help that.
    """
    require(bool(shutil.which("faketime")), "faketime is not installed; run tools/reliability_tools.sh")
    cache = _PLACE / "clock-cache"
    shutil.rmtree(cache, ignore_errors=True)
    expected: dict[str, dict[str, str]] = {}
    outcome.counts.clear()
    for number, jump in enumerate(("+0d", "+0d", "+2y", "-3y", "+0d", "-1d", "+1d")):
        project = Project(_PLACE / "clock", AOTBUILD_CACHE_DIR=str(cache))
        project.wrapper = ["faketime", "-f", jump]
        text = _CHANGED[number % 2]
        project.change(text)
        project.configure()
        project.make()
        require(project.outputs() == expected.setdefault(text, project.outputs()), f"clock {jump}: the build is right")
        outcome.add({"jumps of the clock": 1})


def _run_bytes(outcome: Outcome, scale: float, keep: Callable[[], None]) -> None:
    """Each build's files, objects and library against those of the first."""

    def result(project: Project) -> dict[str, str]:
        project.configure()
        project.make()
        return {**project.outputs(), "library": digest(project.build / "libclassifier.a")}

    first = result(Project(_PLACE / "bytes"))
    long = _PLACE / "/".join(["a" * 200] * 3)
    ways: dict[str, tuple[Path, dict[str, str], list[str]]] = {
        "another folder": (_PLACE / "bytes in another folder", {}, []),
        "a long path": (long, {}, []),
        "another user": (
            _PLACE / "bytes-user",
            {"HOME": "/nonexistent", "CCACHE_DISABLE": "1"},
            ["nobody"],
        ),
        "another umask": (_PLACE / "bytes-umask", {}, ["sh", "-c", 'umask 077; exec "$@"', "sh"]),
        "another locale": (_PLACE / "bytes-locale", {"LC_ALL": "C"}, []),
        "a locale of UTF-8": (_PLACE / "bytes-utf8", {"LC_ALL": "C.UTF-8", "LANG": "tr_TR.UTF-8"}, []),
        "one processor": (_PLACE / "bytes-one", {}, ["taskset", "-c", "0"]),
        "another hash seed": (_PLACE / "bytes-seed", {"PYTHONHASHSEED": "1234"}, []),
        "another time zone": (_PLACE / "bytes-zone", {"TZ": "Asia/Kathmandu", "SOURCE_DATE_EPOCH": "1"}, []),
    }
    outcome.counts.clear()
    for name, (folder, environment, wrapper) in ways.items():
        project = Project(folder, **environment)
        if wrapper == ["nobody"]:
            shutil.chown(folder, 65534, 65534)
            for path in folder.rglob("*"):
                shutil.chown(path, 65534, 65534)
            # Who may read everything: the interpreter may lie in the home of another user.
            wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--securebits=+no_setuid_fixup"]
            wrapper += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        project.wrapper = wrapper
        require(result(project) == first, f"{name}: the bytes are the same")
        outcome.add({"builds with the same bytes": 1})
        shutil.rmtree(folder, ignore_errors=True)


def trials() -> Iterator[Trial]:
    section = "Builds under attack"
    yield Trial("kills", section, "kill -9 of a whole build at a random point, then a build", _run_kills)
    yield Trial("interrupts", section, "Ctrl-C after each line that a build prints, then a build", _run_interrupts)
    yield Trial(
        "disk", section, "a disk that gets full at eight points of a build, and one that is read-only", _run_disk
    )
    yield Trial(
        "cache", section, "a compile cache with a bit flipped or an end cut off, and eight builders", _run_cache
    )
    yield Trial("clock", section, "a clock that jumps by years between builds that share a cache", _run_clock)
    yield Trial(
        "bytes",
        "Same bytes",
        "builds from other folders, users, umasks, locales, numbers of processors, hash seeds and time zones",
        _run_bytes,
    )
