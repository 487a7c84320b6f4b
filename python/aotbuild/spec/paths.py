"""Where the package's own files are: the same in a checkout, an editable install and a wheel."""

from __future__ import annotations

from pathlib import Path


def _root() -> Path:
    package = Path(__file__).resolve().parents[1]
    return package if (package / "cpp").is_dir() else package.parent.parent


def include_directory() -> Path:
    """The folder that holds ``aotbuild/*.hpp``."""
    return _root() / "cpp" / "include"


def cmake_directory() -> Path:
    """The folder that holds ``aotbuildConfig.cmake``."""
    return _root() / "cmake"
