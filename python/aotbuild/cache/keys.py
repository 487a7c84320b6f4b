"""What a key is made of: values, the contents of files, and the versions and settings of everything that computes.

Nothing of a key is a path of the machine or a time. A folder is named as seen from the project.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotbuild.cache import modules
from aotbuild.cache.observations import content
from aotbuild.cache.places import Places, package_folders, search_path

# Environment variables that PyTorch and Triton read when they are imported, or from native code.
_VARIABLES = ("TORCH", "PYTORCH", "TRITON", "INDUCTOR", "AOT_INDUCTOR", "AOTINDUCTOR")


@dataclass(frozen=True)
class Request:
    """What a build asks for: the key of all that is known before the model is loaded, and where its files lie.

    ``path``: where modules are looked for. ``model``: the model's own file; ``content`` is its checksum, which the key
    holds. ``tools``: a key of everything that computes. ``environment``: the variables, before torch is imported.
    """

    key: str
    places: Places
    path: list[list[str]]
    model: str
    content: str
    settings: str
    tools: str
    environment: Mapping[str, str]


def request(
    settings: Mapping[str, Any], model: str, base: Path, project: Path | None = None, toolchain: Sequence[Path] = ()
) -> Request | None:
    """The key of a request, or None where the model's own file is not found.

    Args:
        settings: all that was asked for, as JSON values, without the model and without paths of the build.
        model: the value of MODEL.
        base: the folder that a relative model is relative to.
        project: the folder of the project, which moves as a whole from checkout to checkout; None: ``base``.
        toolchain: files that identify torch and aotbuild, by content.
    """
    base = Path(os.path.abspath(base))
    root = Path(os.path.abspath(project)) if project is not None else base
    places = Places(root if base.is_relative_to(root) else base)
    file = _model_file(model, base)
    found = content(file) if file else None
    if file is None or found is None:
        return None
    name = model.rpartition(":")[2] if not model.endswith(".pt2") else ""
    text = json.dumps(settings, sort_keys=True)
    path = search_path(places, sys.path)
    tools = digest(tools_key(toolchain), _processor() if "native" in settings.get("cpu_isa", ()) else "")
    identity = {
        "settings": text,
        # As seen from the project, whether it was written as a relative path or an absolute one.
        "model": [os.path.relpath(file, places.project), name, _is_module(model)],
        "content": found,
        "folders": [os.path.relpath(folder, places.project) for folder in (base, Path.cwd())],
        "path": path,
        "tools": tools,
    }
    return Request(digest(identity), places, path, file, found, text, tools, dict(os.environ))


def _is_module(model: str) -> bool:
    return not model.endswith(".pt2") and not model.rpartition(":")[0].endswith(".py")


def _model_file(model: str, base: Path) -> str | None:
    """The file that MODEL names, found for this build alone and without importing it."""
    if not _is_module(model):
        file = model if model.endswith(".pt2") else model.rpartition(":")[0]
        return os.path.normpath(base / file)
    folders = [str(base), *sys.path]
    origin = None
    name = ""
    for part in model.rpartition(":")[0].split("."):
        name = f"{name}.{part}" if name else part
        spec = modules.find(name, folders, top=name == part)
        if spec is None:
            return None
        origin, folders = spec.origin, list(spec.submodule_search_locations or ())
    return origin if origin is not None and os.path.isabs(origin) else None


def digest(*parts: object) -> str:
    """One key for several values; their borders count."""
    result = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        result.update(len(data).to_bytes(8, "little") + data)
    return result.hexdigest()


def tools_key(files: Sequence[Path], packages: Sequence[str] = ()) -> str:
    """The key of Python, the machine's kind, installed packages, torch's environment variables and ``files``.

    Args:
        files: by content.
        packages: the names of those that count; empty: all.
    """
    return digest(
        [platform.python_implementation(), platform.python_version(), platform.machine()],
        _packages(tuple(package_folders()), tuple(packages)),
        [[path.name, content(str(path))] for path in files],
        variables(_VARIABLES),
    )


def variables(prefixes: Sequence[str]) -> list[list[str]]:
    """The environment variables of these prefixes; of one that names a file, what that holds."""
    found = []
    for name, value in sorted(os.environ.items()):
        if name.startswith(tuple(prefixes)) and not name.endswith("_CACHE_DIR"):
            found.append([name, (content(value) if os.path.isfile(value) else None) or value])
    return found


@functools.lru_cache
def _packages(folders: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Installed packages with the checksums of their files: one version of a package may have many contents."""
    result = hashlib.sha256()
    for folder in folders:
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder)):
                counts = not names or name.partition("-")[0] in names
                if counts and name.endswith((".dist-info", ".egg-info")):
                    result.update(name.encode() + b"\0" + _package(Path(folder, name)) + b"\0")
    return result.hexdigest()


def _package(metadata: Path) -> bytes:
    """The checksums of a package's files that are the same wherever it is installed: no scripts, no records."""
    with contextlib.suppress(OSError):
        lines = (metadata / "RECORD").read_bytes().splitlines()
        return b"\n".join(
            sorted(
                line for line in lines if b",sha256=" in line and b".dist-info/" not in line and line[:1] not in b"./"
            )
        )
    for name in ("METADATA", "PKG-INFO", ""):
        with contextlib.suppress(OSError):
            return hashlib.sha256((metadata / name).read_bytes()).digest()
    return b""


def _processor() -> str:
    """What this processor is."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
    return platform.processor()


def toolchain_files() -> list[Path]:
    """One file each that changes when torch or Triton changes, instead of their thousands, and aotbuild's own.

    Neither is imported: a result from the cache must not wait for torch.
    """
    files = []
    for package, file in (("torch", "version.py"), ("triton", "__init__.py")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            files.append(Path(spec.origin).parent / file)
    package_dir = Path(__file__).parents[1]
    return files + sorted(package_dir.glob("**/*.py")) + sorted(package_dir.glob("**/*.j2"))
