"""Writing generated files: whole or not at all, only those that differ, the stamp last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

# A fixed suffix: what an interrupted run leaves behind, the next one overwrites.
_TEMPORARY_SUFFIX = ".aotbuild-tmp"
_MANIFEST_SUFFIX = ".manifest.json"


def write(
    files: Mapping[str, bytes], output_dir: Path, stamp: Path, depfile: Path | None, dependencies: Iterable[Path]
) -> list[str]:
    """Bring ``output_dir`` to hold ``files`` and touch ``stamp``.

    Everything new is first written beside its destination; until that has succeeded nothing that exists is changed.
    Then the manifest is removed, the other files renamed into place, and the manifest written: a folder with a
    manifest is whole. ``depfile`` names ``stamp`` as its target in make's syntax, because the stamp is the one
    ``OUTPUT`` of the CMake rule.

    Returns:
        The relative paths that were new or changed, sorted.
    """
    contents = {output_dir / name: data for name, data in files.items()}
    if depfile is not None:
        contents[depfile] = _depfile_text(stamp, dependencies).encode()
    changed = [path for path, data in sorted(contents.items()) if not _holds(path, data)]
    manifests = [path for path in changed if path.name.endswith(_MANIFEST_SUFFIX)]
    others = [path for path in changed if path not in manifests]
    if set(others) - {depfile}:
        manifests = [path for path in contents if path.name.endswith(_MANIFEST_SUFFIX)]
    staged: dict[Path, Path] = {}
    try:
        for path in [*others, *manifests]:
            temporary = path.with_name(f".{path.name}{_TEMPORARY_SUFFIX}")
            path.parent.mkdir(parents=True, exist_ok=True)
            staged[path] = temporary
            temporary.write_bytes(contents[path])
        for path in manifests:
            path.unlink(missing_ok=True)
        for path in [*others, *manifests]:
            staged.pop(path).replace(path)
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.touch()
    return sorted(name for name in files if output_dir / name in changed)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _depfile_text(stamp: Path, dependencies: Iterable[Path]) -> str:
    unique = sorted({_escape(path) for path in dependencies})
    return " \\\n  ".join([f"{_escape(stamp)}:", *unique]) + "\n"


def _escape(path: Path) -> str:
    return str(path).replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ")
