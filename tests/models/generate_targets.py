"""Generates every target of a list in one process, because importing torch takes longer than a small model does.

Usage: generate_targets.py <list.json>: mappings with the fields of ``GenerateRequest``, ``emit`` being a mapping too.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

from aotbuild.generate.model import generate
from aotbuild.generate.progress import Progress
from aotbuild.generate.request import GenerateRequest
from aotbuild.spec.program import EmitOptions


def main() -> None:
    warnings.simplefilter("ignore")
    failed = 0
    for fields in json.loads(Path(sys.argv[1]).read_text()):
        emit = EmitOptions(**fields.pop("emit"))
        folder = Path(fields.pop("output_dir"))
        source = Path(fields.pop("source_dir"))
        stamp, depfile = folder / f"{emit.target}.stamp", folder / f"{emit.target}.d"
        request = GenerateRequest(
            emit=emit, output_dir=folder, stamp=stamp, depfile=depfile, source_dir=source, **fields
        )
        try:
            generate(request, Progress(emit.target, quiet=True))
        except Exception as error:  # the others are worth building all the same
            failed += 1
            print(f"{emit.target}: {type(error).__name__}: {error}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
