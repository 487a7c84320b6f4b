"""MODEL: from what the keyword says to the user's model and the files that it read."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from torch.export import ExportedProgram

from aotbuild.capture.frames import project_files, user_line
from aotbuild.capture.programs import load_program
from aotbuild.spec import values
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model


@dataclass
class Source:
    """A model file, loaded: what its callable returned and the project files that it read.

    ``modules_before`` are those that were imported before the model's: the export may import more of the project.
    """

    model: Model | None
    program: ExportedProgram | None
    files: tuple[Path, ...]
    modules_before: frozenset[str] = field(default_factory=lambda: frozenset(sys.modules))


def load_source(model: str, params: Mapping[str, str], directory: Path | None = None) -> Source:
    """Loads MODEL: ``file.py:callable``, ``package.module:callable`` or ``file.pt2``.

    Args:
        model: the value of MODEL.
        params: PARAMS, passed to the callable as keyword arguments, with values as ``values.parse`` reads them.
        directory: what a relative file is relative to; None: the current directory.

    Raises:
        AotbuildError: the file, module or callable is missing or raises.
    """
    base = directory or Path.cwd()
    if model.endswith(".pt2"):
        path = base / model
        if not path.is_file():
            raise AotbuildError(f"MODEL {model}: no such file (looked for {path})")
        if params:
            raise AotbuildError(f"MODEL {model}: PARAMS go to a callable; a .pt2 file takes none")
        return Source(None, load_program(path, model), (path,))
    function, files, before = load_named("MODEL", model, base, "file.py:callable, package.module:callable or file.pt2")
    name = model.rpartition(":")[2]
    if not callable(function):
        raise AotbuildError(f"MODEL {model}: {name!r} is a {type(function).__name__}, not a callable")
    try:
        returned = function(**{key: values.parse(value) for key, value in params.items()})
    except Exception as error:
        where = user_line(error.__traceback__) or "in the model file"
        raise AotbuildError(f"MODEL {model}: {name}() raised {type(error).__name__}: {error}\n  {where}") from error
    result = _as_model(returned, model)
    files |= {*project_files(set(sys.modules) - before)}  # what the call imported
    for extra in result.data_files:
        path = base / extra
        if not path.is_file():
            raise AotbuildError(f"MODEL {model}: data_files names {extra}, and there is no such file")
        files.add(path)
    return Source(result, None, tuple(sorted(files)), before)


def load_named(keyword: str, text: str, base: Path, forms: str) -> tuple[Any, set[Path], frozenset[str]]:
    """Loads what ``file.py:name`` or ``package.module:name`` names.

    Args:
        keyword: of the CMake function, for errors.
        base: what a relative file is relative to.
        forms: what the keyword may be, for errors.

    Returns:
        The object, the project's files that loading it has read, and the modules that were there before.

    Raises:
        AotbuildError: the file, module or name is missing, or importing it raises.
    """
    what = f"{keyword} {text}"
    place, separator, name = text.rpartition(":")
    if not separator or not place or not name:
        raise AotbuildError(f"{what}: write {forms}")
    before = frozenset(sys.modules)
    module = _import_file(base / place, what) if place.endswith(".py") else _import_module(place, base, what)
    found = getattr(module, name, None)
    if found is None:
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        has = ", ".join(public) or "no callables"
        raise AotbuildError(f"{what}: {place} defines no {name!r}; it has: {has}")
    return found, {*project_files(set(sys.modules) - before | {module.__name__})}, before


def _import_file(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise AotbuildError(f"{what}: no such file (looked for {path})")
    name = path.stem
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader
    _execute(lambda: loader.exec_module(module), what)
    return module


def _import_module(name: str, base: Path, what: str) -> ModuleType:
    sys.path.insert(0, str(base))
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise AotbuildError(f"{what}: no module {name!r} on PYTHONPATH or beside the project's CMakeLists.txt")
    holder: list[ModuleType] = []
    _execute(lambda: holder.append(importlib.import_module(name)), what)
    return holder[0]


def _execute(action: Callable[[], None], what: str) -> None:
    try:
        action()
    except Exception as error:
        where = user_line(error.__traceback__) or "while it was imported"
        raise AotbuildError(f"{what}: importing it raised {type(error).__name__}: {error}\n  {where}") from error


def _as_model(returned: Any, model: str) -> Model:
    if isinstance(returned, Model):
        return returned
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], (tuple, list)):
        return Model(returned[0], returned[1])
    if isinstance(returned, tuple) and len(returned) == 3 and isinstance(returned[2], Mapping):
        return Model(returned[0], returned[1], returned[2])
    raise AotbuildError(
        f"MODEL {model}: the callable returned a {type(returned).__name__}; return an aotbuild.Model, "
        "or (module, args) with args a tuple of example inputs"
    )
