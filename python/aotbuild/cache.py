"""The compile cache: what the generator made of the same sources, or lowered from the same graph, in a folder.

Two keys lead to a result. The sources' key needs no torch: the files that the model was made from, by content, and all
that was asked for. The graph's key is found after the export: the exported program without the values of its weights,
so that new weights skip the lowering. Everything is written whole under a name made of its content or key, and checked
when it is read, so that any number of builds on any number of machines may share one folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import itertools
import json
import os
import pickle
import platform
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotbuild.errors import AotbuildError

DIRECTORY_VARIABLE = "AOTBUILD_CACHE_DIR"
SIZE_VARIABLE = "AOTBUILD_CACHE_SIZE"
_DEFAULT_SIZE = "5G"
_FORMAT = "1"
# How many results of one request are looked at: a shared folder sees the sources of many branches.
_MAX_CANDIDATES = 64
# A full cache shrinks to this part of its size, so that not every store has to clean.
_KEPT = 0.8
# What an interrupted run left behind is removed after this time.
_STALE_SECONDS = 3600.0


@dataclass(frozen=True)
class Hit:
    """A result that was in the cache: the generated files, and the model's own files that it was made from."""

    files: Mapping[str, bytes]
    dependencies: tuple[Path, ...]


@dataclass(frozen=True)
class SourceKey:
    """What a model's result depends on beside its files; ``base`` is what its files are relative to."""

    key: str
    base: Path


def enabled() -> Cache | None:
    """The cache that AOTBUILD_CACHE_DIR names, or None when that is unset, empty or OFF.

    Raises:
        AotbuildError: AOTBUILD_CACHE_SIZE is no size.
    """
    text = os.environ.get(DIRECTORY_VARIABLE, "")
    if text.upper() in ("", "OFF", "0", "NO", "FALSE"):
        return None
    return Cache(Path(text).expanduser(), _bytes(os.environ.get(SIZE_VARIABLE) or _DEFAULT_SIZE))


def _bytes(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in units else (text, "")
    try:
        return int(float(number) * units.get(unit, 1))
    except ValueError:
        raise AotbuildError(
            f"{SIZE_VARIABLE} {text!r} is no size; write bytes, or a number with K, M, G or T"
        ) from None


def digest(*parts: object) -> str:
    """One key for several values; their borders count."""
    result = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        result.update(len(data).to_bytes(8, "little") + data)
    return result.hexdigest()


class Cache:
    """A folder of results, bounded in size. Trouble with it is a warning and never the end of a build."""

    def __init__(self, directory: Path, max_bytes: int, warn: Callable[[str], None] | None = None) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self._root = directory / _FORMAT
        self._warn = warn or (lambda text: print(f"aotbuild: warning: cache: {text}", file=sys.stderr))

    # --- results by the sources

    def find(self, source: SourceKey) -> Hit | None:
        """The result for the sources as they are now, or None."""
        hashes: dict[Path, str | None] = {}
        for path in self._candidates(source):
            entry = self._read_entry(path)
            if entry is None:
                continue
            dependencies = _matching(entry["inputs"], source.base, hashes)
            if dependencies is None:
                continue
            files = {name: self._object(content) for name, content in entry["files"].items()}
            if any(data is None for data in files.values()):
                continue
            _touch(path)
            present = {name: data for name, data in files.items() if data is not None}
            return Hit(present, tuple(path for path, tracked in dependencies if tracked))
        return None

    def store(
        self, source: SourceKey, files: Mapping[str, bytes], dependencies: Iterable[Path], reads: Iterable[Path]
    ) -> None:
        """Keeps a result. ``dependencies`` are the model's files for the depfile, ``reads`` whatever else it read."""
        if sum(map(len, files.values())) > self.max_bytes * _KEPT:
            self._warn(f"the result is larger than {SIZE_VARIABLE} allows and is not kept")
            return
        tracked = {path.absolute() for path in dependencies}
        inputs = []
        for path in sorted(tracked | {path.absolute() for path in reads}):
            content = _hash_file(path)
            if content is not None:
                inputs.append(
                    {
                        "relative": os.path.relpath(path, source.base),
                        "path": str(path),
                        "content": content,
                        "tracked": path in tracked,
                    }
                )
        with self._tolerant():
            named = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            for name, data in files.items():
                self._write(self._object_path(named[name]), data)
            text = json.dumps({"inputs": inputs, "files": named}, sort_keys=True)
            name = digest([[entry["relative"], entry["content"]] for entry in inputs])
            self._write(self._root / "sources" / source.key / f"{name}.json", _sealed(text.encode()))
            self._clean()

    def _candidates(self, source: SourceKey) -> list[Path]:
        with self._tolerant():
            folder = self._root / "sources" / source.key
            if folder.is_dir():
                dated = [(_mtime(path), path) for path in folder.glob("*.json")]
                return [path for _, path in sorted(dated, reverse=True)[:_MAX_CANDIDATES]]
        return []

    def _read_entry(self, path: Path) -> Any:
        data = self._read(path)
        text = _unsealed(data) if data is not None else None
        if data is not None and text is None:
            self._warn(f"{path} is damaged and is ignored")
            _remove(path)
        return None if text is None else json.loads(text)

    # --- lowered programs by the graph

    def find_graph(self, key: str, allowed: Iterable[type]) -> Any:
        """What ``store_graph`` was given for the key, or None. Only objects of ``allowed`` classes are read."""
        path = self._root / "graphs" / key[:2] / key
        data = self._read(path)
        if data is None:
            return None
        content = _unsealed(data)
        try:
            if content is None:
                raise pickle.UnpicklingError
            value = _Unpickler(io.BytesIO(content), allowed).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, ValueError):
            self._warn(f"{path} is damaged and is ignored")
            _remove(path)
            return None
        _touch(path)
        return value

    def store_graph(self, key: str, value: Any) -> None:
        with self._tolerant():
            self._write(self._root / "graphs" / key[:2] / key, _sealed(pickle.dumps(value, protocol=4)))
            self._clean()

    # --- files

    def size(self) -> int:
        """Bytes that the cache takes."""
        return sum(size for _, size, _ in self._all_files())

    def _object_path(self, content: str) -> Path:
        return self._root / "objects" / content[:2] / content

    def _object(self, content: str) -> bytes | None:
        path = self._object_path(content)
        data = self._read(path)
        if data is not None and hashlib.sha256(data).hexdigest() != content:
            self._warn(f"{path} is damaged and is ignored")
            _remove(path)
            return None
        if data is not None:
            _touch(path)
        return data

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"{path} can't be read ({error.strerror})")
            return None

    def _write(self, path: Path, data: bytes) -> None:
        if path.exists():  # its name says what it holds; a damaged one is removed when it is read
            _touch(path)
            return
        self._make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            _remove(temporary)

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
                folder.chmod(stat.S_IMODE(self.directory.stat().st_mode))

    def _all_files(self) -> Iterator[tuple[float, int, Path]]:
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    status = path.stat()
                    yield status.st_mtime, status.st_size, path

    def _clean(self) -> None:
        """Removes what was not used for the longest time when the cache is too large."""
        files = sorted(self._all_files())
        total = sum(size for _, size, _ in files)
        now = time.time()
        shrinking = total > self.max_bytes
        for used, size, path in files:
            stale = path.suffix == ".tmp" and now - used > _STALE_SECONDS
            if stale or (shrinking and total > self.max_bytes * _KEPT and path.suffix != ".tmp"):
                _remove(path)
                total -= size

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._warn(f"{self.directory} can't be used ({error.strerror})")


def source_key(settings: Mapping[str, Any], model: str, base: Path, toolchain: Sequence[Path]) -> SourceKey:
    """The key of a request.

    Args:
        settings: all that was asked for, as JSON values, without the model and without paths of the build.
        model: the value of MODEL.
        base: the folder that a relative model is relative to.
        toolchain: files that identify torch and aotbuild, by content.
    """
    place, separator, name = model.rpartition(":")
    file = model if model.endswith(".pt2") else place if place.endswith(".py") else None
    written = model if file is None else os.path.relpath(base / file, base) + (separator + name if place else "")
    identity = {
        "settings": settings,
        "model": written,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": _installed_packages(),
        "toolchain": [[path.name, _hash_file(path)] for path in toolchain],
    }
    if "native" in settings.get("cpu_isa", ()):
        identity["processor"] = _processor()
    return SourceKey(digest(identity), base)


def _installed_packages() -> list[str]:
    """Every installed package with its version, by the names of the folders with their metadata."""
    found = set()
    for folder in sys.path:
        if os.path.basename(folder) in ("site-packages", "dist-packages"):
            with contextlib.suppress(OSError):
                found |= {name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info"))}
    return sorted(found)


def _processor() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
    return platform.processor()


def _matching(
    inputs: Iterable[Mapping[str, Any]], base: Path, hashes: dict[Path, str | None]
) -> list[tuple[Path, bool]] | None:
    """Where the recorded inputs are now, or None when one of them differs. Another checkout has other folders."""
    found = []
    for entry in inputs:
        places = [Path(os.path.normpath(base / entry["relative"])), Path(entry["path"])]
        for path in places:
            if path not in hashes:
                hashes[path] = _hash_file(path)
            if hashes[path] == entry["content"]:
                found.append((path, bool(entry["tracked"])))
                break
        else:
            return None
    return found


def _hash_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            result = hashlib.sha256()
            while block := file.read(1 << 20):
                result.update(block)
            return result.hexdigest()
    except OSError:
        return None


def _sealed(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode() + b"\n" + data


def _unsealed(data: bytes) -> bytes | None:
    seal, _, content = data.partition(b"\n")
    return content if hashlib.sha256(content).hexdigest().encode() == seal else None


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


class _Unpickler(pickle.Unpickler):
    """Reads plain data and a few named classes: a shared folder must not be able to run code while it is read."""

    def __init__(self, file: io.BytesIO, allowed: Iterable[type]) -> None:
        super().__init__(file)
        self._allowed = {(kind.__module__, kind.__qualname__): kind for kind in allowed}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return self._allowed[module, name]


# --- what a model reads while it is made

_recorders: list[set[str]] = []
_hooked = False


@contextlib.contextmanager
def recorded_reads() -> Iterator[set[str]]:
    """Collects the files that Python code opens, and the safetensors files, which native code opens.

    A result is right only as long as all that it was made from is known; other files that native code opens by itself
    have to be in ``data_files``.
    """
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    reads: set[str] = set()
    _recorders.append(reads)
    try:
        with _recorded_safetensors():
            yield reads
    finally:
        _recorders.remove(reads)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _recorders:
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR) if isinstance(flags, int) else "r" not in str(mode)
        if isinstance(path, (str, bytes, os.PathLike)) and not writes:
            for reads in _recorders:
                reads.add(os.path.abspath(os.fsdecode(path)))


@contextlib.contextmanager
def _recorded_safetensors() -> Iterator[None]:
    if importlib.util.find_spec("safetensors") is None:
        yield
        return
    import safetensors

    original = safetensors.safe_open

    def safe_open(filename: Any, *args: Any, **kwargs: Any) -> Any:
        for reads in _recorders:
            reads.add(os.path.abspath(os.fsdecode(filename)))
        return original(filename, *args, **kwargs)

    safetensors.safe_open = safe_open  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        safetensors.safe_open = original  # type: ignore[misc]


def foreign_reads(reads: Iterable[str], is_project_file: Callable[[str], bool]) -> list[Path]:
    """Those of the recorded files that a result depends on: not Python's, not a package's, nothing that is gone."""
    sources = set()
    for name in reads:
        if name.endswith(".pyc"):
            with contextlib.suppress(ValueError):
                sources.add(importlib.util.source_from_cache(name))
        elif not name.startswith(("/proc/", "/sys/", "/dev/")):
            sources.add(name)
    return [Path(name) for name in sorted(sources) if is_project_file(name) and os.path.isfile(name)]


# --- the graph


def graph_key(captured: Any, settings: Mapping[str, Any], toolchain: Sequence[Path]) -> str:
    """The key of an exported program without the values of its weights; empty where the program does not say it all.

    It calls code of the user's then: what an operator of another library or a Triton kernel does is not in the graph.
    """
    import torch

    program = captured.program
    if not all(map(_is_pytorchs, itertools.chain.from_iterable(map(_calls, program.graph_module.modules())))):
        return ""
    lines = []
    for name, module in sorted(program.graph_module.named_modules()):
        if isinstance(module, torch.fx.GraphModule):
            lines += [name, *map(_node_text, module.graph.nodes)]
    tensors = []
    storages: dict[int, int] = {}
    for name, tensor in itertools.chain(sorted(program.state_dict.items()), sorted(program.constants.items())):
        if not isinstance(tensor, torch.Tensor):
            tensors.append([name, str(tensor)])
            continue
        same = storages.setdefault(tensor.untyped_storage().data_ptr(), len(storages))
        # What is in no state_dict stays a constant of the graph, and small ones are written into the code.
        value = hashlib.sha256(_tensor_bytes(tensor)).hexdigest() if name in program.constants else ""
        layout = [str(tensor.dtype), list(tensor.shape), list(tensor.stride()), tensor.storage_offset(), same]
        tensors.append([name, *layout, value])
    return digest(
        lines,
        str(program.graph_signature),
        str(program.range_constraints),
        repr(captured.signature),
        sorted(captured.state),
        tensors,
        dict(settings),
        platform.python_version(),
        _installed_packages(),
        [[path.name, _hash_file(path)] for path in toolchain],
        _processor() if "native" in settings.get("cpu_isa", ()) else "",
    )


def _calls(module: Any) -> Iterator[Any]:
    import torch

    if isinstance(module, torch.fx.GraphModule):
        yield from (node.target for node in module.graph.nodes if node.op == "call_function")


def _is_pytorchs(operator: Any) -> bool:
    import torch

    if isinstance(operator, torch._ops.OpOverload):
        return operator.namespace in ("aten", "prim", "prims")
    return not str(operator).startswith("triton_kernel_wrapper")


def _node_text(node: Any) -> str:
    import torch
    from torch.utils import _pytree as pytree

    values = [
        (str(value.dtype), tuple(map(str, value.shape)), tuple(map(str, value.stride())))
        if isinstance(value, torch.Tensor)
        else str(value)
        for value in pytree.tree_leaves(node.meta.get("val"))
    ]
    return f"{node.name} {node.op} {node.target} {node.args} {node.kwargs} {values}"


def _tensor_bytes(tensor: Any) -> bytes:
    from aotbuild.capture import tensor_data

    return tensor_data(tensor).data.tobytes()


def split_weights(lowered: Any, program: Any) -> Any:
    """``lowered`` with names in place of the values of weights, or None where a value is not that of the program.

    A value that lowering computed from weights would be wrong for other weights.
    """
    import dataclasses

    import torch

    tensors = {**program.state_dict, **program.constants}
    kept: list[tuple[Any, ...]] = []
    for weight in lowered.weights:
        value = tensors.get(weight.name)
        if isinstance(value, torch.Tensor) and _tensor_bytes(value) == weight.tensor.data.tobytes():
            kept.append((weight.name, weight.tensor.shape, weight.aliases, weight.mutated, weight.required, None))
        elif weight.required:
            return None
        else:
            data = (weight.tensor.dtype, weight.tensor.data.tobytes())
            kept.append((weight.name, weight.tensor.shape, weight.aliases, weight.mutated, weight.required, data))
    return dataclasses.replace(lowered, weights=tuple(kept))


def join_weights(lowered: Any, program: Any) -> Any:
    """The inverse of ``split_weights`` with the values of another program of the same graph."""
    import dataclasses

    import numpy as np

    from aotbuild.capture import tensor_data
    from aotbuild.program import TensorData, Weight

    tensors = {**program.state_dict, **program.constants}
    weights = []
    for name, shape, aliases, mutated, required, data in lowered.weights:
        if data is None:
            tensor = tensor_data(tensors[name])
            tensor = TensorData(tensor.dtype, shape, tensor.data)
        else:
            tensor = TensorData(data[0], shape, np.frombuffer(data[1], np.uint8))
        weights.append(Weight(name, tensor, aliases, mutated, required))
    return dataclasses.replace(lowered, weights=tuple(weights))


def toolchain_files() -> list[Path]:
    """One file each that changes when torch or Triton changes, instead of their thousands, and aotbuild's own.

    Neither is imported: a result from the cache must not wait for torch.
    """
    files = []
    for package, file in (("torch", "version.py"), ("triton", "__init__.py")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            files.append(Path(spec.origin).parent / file)
    package_dir = Path(__file__).parent
    return files + sorted(package_dir.glob("**/*.py")) + sorted(package_dir.glob("**/*.j2"))
