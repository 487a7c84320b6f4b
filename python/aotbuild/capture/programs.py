"""Files of ``torch.export.save``, also of another release of torch."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import torch
from torch.export import ExportedProgram

from aotbuild.spec.errors import AotbuildError


def load_program(path: Path, model: str) -> ExportedProgram:
    """The program in the file that MODEL names.

    Raises:
        AotbuildError: this torch cannot read it; with the release that wrote it, where that is another one.
    """
    try:
        return torch.export.load(path)
    except Exception as error:
        written, here = writer(path), _release(torch.__version__)
        if written and written != here:
            raise AotbuildError(
                f"MODEL {model}: the program was written by torch {written}, and torch {here} of this environment "
                f"cannot read it: {error}\n"
                f"  Export the model with torch {here}, or build with an environment that has torch {written}."
            ) from error
        raise AotbuildError(
            f"MODEL {model}: cannot be read as a program written by torch.export.save: {error}"
        ) from error


def writer(path: Path) -> str:
    """The release of torch that wrote a file; "" if that cannot be found out."""
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("models/model.json")]
            return _release(str(json.loads(archive.read(name))["torch_version"]))
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError):
        return ""


def _release(version: str) -> str:
    return version.partition("+")[0]
