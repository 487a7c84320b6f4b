"""Prints, as JSON, what an interpreter's environment offers to the build; torch is found but not imported."""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
import sysconfig
from importlib import metadata
from pathlib import Path


def package_dir(name: str) -> Path | None:
    """The folder of an installed package, or None."""
    spec = importlib.util.find_spec(name)
    # An editable install has several search locations; __init__.py is in the one with the sources.
    return Path(spec.origin).parent if spec and spec.origin else None


def child(parent: Path | None, *parts: str) -> str:
    path = parent.joinpath(*parts) if parent else None
    return path.as_posix() if path and path.exists() else ""


def version(package: str) -> str:
    """As in 2.13.0, without what follows a plus sign: the same for builds with and without CUDA."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def main() -> None:
    json.dump(
        {
            "version": platform.python_version(),
            "prefix": Path(sys.prefix).as_posix(),
            # In site-packages also when the package is installed editable.
            "prebuilt": child(Path(sysconfig.get_path("platlib")), "aotbuild", "runtime"),
            "torch_include": child(package_dir("torch"), "include"),
            "torch_version": version("torch"),
            "pybind11_dir": child(package_dir("pybind11"), "share", "cmake", "pybind11"),
            "aotbuild": child(package_dir("aotbuild"), "__init__.py"),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
