"""What a model reads while it is made: files, folders, modules and environment variables, whether they exist or not."""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import itertools
import os
import pathlib
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aotbuild.cache import modules
from aotbuild.cache.places import PACKAGE, PYTHON, Places

# Of the system, and torch's own cache.
_IGNORED = ("/proc/", "/sys/", "/dev/", os.path.join(tempfile.gettempdir(), "torchinductor_"))

_real_stat = os.stat

# Size, times and number of a file: when they are the same, so is what it holds.
Status = tuple[int, int, int, int] | None


def status(path: str) -> Status:
    try:
        found = _real_stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def kind(path: str) -> str | None:
    """What lies at a path, and where it points if it is a link; None for nothing."""
    try:
        link = f"link to {os.readlink(path)}: "
    except OSError:
        link = ""
    try:
        mode = _real_stat(path).st_mode
    except (OSError, ValueError):
        return link or None
    return link + ("folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other")


def listing(path: str) -> str | None:
    """A checksum of the names in a folder."""
    try:
        with os.scandir(path) as entries:
            names = sorted((entry.name, entry.is_dir()) for entry in entries if entry.name != "__pycache__")
    except OSError:
        return None
    return hashlib.sha256(repr(names).encode()).hexdigest()


@dataclass
class Recording:
    """What was read, with what was there when that was read for the first time.

    ``opened``: files. ``looked_at``: paths of which it was asked whether and what they are. ``listed``: folders.
    ``variables``: environment variables, with their values in ``environment``, which is the one before any import.
    ``lookups``: names of modules, the folders in which they were looked for, and whether those are ``sys.path``;
    with the file that was found.
    """

    opened: dict[str, Status] = field(default_factory=dict)
    looked_at: dict[str, str | None] = field(default_factory=dict)
    listed: dict[str, str | None] = field(default_factory=dict)
    variables: dict[str, str | None] = field(default_factory=dict)
    lookups: dict[tuple[str, tuple[str, ...], bool], tuple[str, ...] | None] = field(default_factory=dict)
    started: int = field(default_factory=time.time_ns)
    environment: Mapping[str, str] = field(default_factory=dict)

    def open(self, path: Any) -> None:
        name = _name(path)
        if name.endswith(".pyc"):
            with contextlib.suppress(ValueError, NotImplementedError):
                name = importlib.util.source_from_cache(name)
        if name and name not in self.opened:
            self.opened[name] = status(name)

    def look_at(self, path: Any) -> None:
        name = _name(path)
        if name and name not in self.looked_at:
            self.looked_at[name] = kind(name)

    def list(self, path: Any) -> None:
        name = _name(os.curdir if path is None else path)
        if name and name not in self.listed:
            self.listed[name] = None  # before the line below, which lists the folder as well
            self.listed[name] = listing(name)

    def read_variable(self, name: str) -> None:
        self.variables.setdefault(name, self.environment.get(name))

    def changed(self, files: Iterable[str]) -> str | None:
        """The first of what was read that is another now; ``files`` are those that native code may have read."""
        for path in files:
            now = status(path)
            if path not in self.opened and now is not None and now[1] >= self.started:
                return path
        parts: tuple[tuple[Mapping[str, Any], Callable[[str], Any]], ...] = (
            (self.opened, status),
            (self.looked_at, kind),
            (self.listed, listing),
        )
        found = (path for before, read in parts for path, answer in before.items() if read(path) != answer)
        importlib.invalidate_caches()
        moved = (
            f"the module {name}"
            for (name, folders, top), origin in self.lookups.items()
            if modules.origin(name, folders, top=top) != origin
        )
        return next(itertools.chain(found, moved), None)


def _name(path: Any) -> str:
    """The absolute path of what a function was given, or "" for what is no file of interest."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        return ""
    with contextlib.suppress(ValueError, OSError):
        name = os.fsdecode(path)
        if "\0" not in name and not name.startswith(_IGNORED):
            # ".." is left to ``Places``: after a link it is not the folder before.
            return os.path.join(os.getcwd(), name) if os.pardir in name.split(os.sep) else os.path.abspath(name)
    return ""


_recordings: list[Recording] = []
_hooked = False


@contextlib.contextmanager
def recorded(places: Places, environment: Mapping[str, str]) -> Iterator[Recording]:
    """Records what Python code reads, and what the native readers of torch and safetensors do.

    A result is right only as long as all that it was made from is known; other files that native code opens by itself
    have to be in ``data_files``. While it records, the project's modules are compiled from their sources: Python takes
    an old ``.pyc`` for a source that was edited within one second.

    Args:
        environment: the variables that the build was started with; importing torch sets some.
    """
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    recording = Recording(environment=environment)
    _recordings.append(recording)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_noted_looks())
            stack.enter_context(_replaced(type(os.environ), "__getitem__", _getitem(type(os.environ).__getitem__)))
            stack.enter_context(_sources_of_projects(places))
            stack.enter_context(_native_readers())
            finder = _Finder()
            sys.meta_path.insert(0, finder)
            stack.callback(sys.meta_path.remove, finder)
            yield recording
    finally:
        _recordings.remove(recording)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _recordings:
        return
    if event == "open":
        path, mode, flags = arguments
        empties = flags & (os.O_WRONLY | os.O_TRUNC) if isinstance(flags, int) else "w" in str(mode)
        for recording in () if empties else _recordings:
            recording.open(path)
    elif event in ("os.listdir", "os.scandir"):
        # Python's own search for modules and packages lists folders too: lookups of modules stand for those.
        caller = sys._getframe(1).f_code.co_filename
        if "importlib" not in caller:
            for recording in _recordings:
                recording.list(arguments[0])
    elif event == "ctypes.dlopen" and isinstance(arguments[0], str) and os.sep in arguments[0]:
        for recording in _recordings:
            recording.open(arguments[0])


class _Finder:
    """Sees every search for a module, and finds none itself."""

    records_lookups = True

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in sys.builtin_module_names:
            return
        folders = tuple(str(folder) for folder in (sys.path if path is None else path))
        lookup = (name, folders, path is None)
        origin = modules.origin(name, folders, top=path is None)
        for recording in _recordings:
            recording.lookups.setdefault(lookup, origin)


def _noting(function: Callable[..., Any], note: Callable[[Recording, Any], None], index: int = 0) -> Callable[..., Any]:
    """The function; one of its arguments, a path, is noted."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        path = args[index] if len(args) > index else next(iter(kwargs.values()), None)
        for recording in _recordings:
            note(recording, path)
        return function(*args, **kwargs)

    return wrapper


def _getitem(original: Callable[[Any, str], str]) -> Callable[[Any, str], str]:
    def getitem(environment: Any, name: str) -> str:
        for recording in _recordings if isinstance(name, str) else ():
            recording.read_variable(name)
        return original(environment, name)

    return getitem


@contextlib.contextmanager
def _replaced(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextlib.contextmanager
def _noted_looks() -> Iterator[None]:
    """Notes what is looked at without being opened."""
    # shutil asks these sets what a function can do.
    sets = [found for key, found in vars(os).items() if key.startswith("supports_") and isinstance(found, builtins.set)]
    with contextlib.ExitStack() as stack:
        for name in ("stat", "lstat", "access"):
            original = getattr(os, name)
            noting = _noting(original, Recording.look_at)
            for found in sets:
                if original in found:
                    found.add(noting)
                    stack.callback(found.discard, noting)
            stack.enter_context(_replaced(os, name, noting))
        if hasattr(pathlib, "_NormalAccessor"):  # Python 3.10, which keeps the functions that it was loaded with
            noting = staticmethod(_noting(_real_stat, Recording.look_at))
            stack.enter_context(_replaced(pathlib._NormalAccessor, "stat", noting))
        yield


@contextlib.contextmanager
def _sources_of_projects(places: Places) -> Iterator[None]:
    """Modules that are not of Python or a package are compiled from their source, whatever ``__pycache__`` holds."""
    loader = importlib.machinery.SourceFileLoader
    original = loader.get_code

    def get_code(self: Any, fullname: str) -> Any:
        path = self.get_filename(fullname)
        if places.of(path).kind in (PACKAGE, PYTHON):
            return original(self, fullname)
        return self.source_to_code(self.get_data(path), path)

    loader.get_code = get_code  # type: ignore[method-assign]
    try:
        yield
    finally:
        del loader.get_code


@contextlib.contextmanager
def _native_readers() -> Iterator[None]:
    """Notes the files that native code of torch and safetensors opens, of which Python sees nothing."""
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("safetensors") is not None:
            import safetensors

            for module in (safetensors, *map(sys.modules.get, ("safetensors.torch", "safetensors.numpy"))):
                if module is not None and hasattr(module, "safe_open"):
                    stack.enter_context(_replaced(module, "safe_open", _noting(module.safe_open, Recording.open)))
        torch: Any = sys.modules.get("torch")
        if torch is not None:
            reader = torch._C.PyTorchFileReader  # torch.load and torch.export.load
            for owner, name, index in (
                (reader, "__init__", 1),
                (torch._C, "import_ir_module", 1),
                (torch, "from_file", 0),
            ):
                noting = _noting(getattr(owner, name), Recording.open, index)
                stack.enter_context(_replaced(owner, name, noting))
        yield
