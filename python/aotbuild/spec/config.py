"""Reads CONFIG, a TOML file of TorchInductor's settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aotbuild.spec.errors import AotbuildError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_config(path: Path) -> dict[str, str]:
    """The settings of the file, as OPTIONS writes them: ``[cpp]`` with ``simdlen = 8`` is ``cpp.simdlen=8``.

    Raises:
        AotbuildError: the file can't be read, or is no TOML.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise AotbuildError(f"CONFIG {path} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise AotbuildError(f"CONFIG {path} is no TOML file: {error}") from error
    return dict(_flat(data, ""))


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", repr(value)
