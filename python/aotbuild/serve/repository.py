"""The folder of one model in a model repository of Triton Inference Server: what CMake runs while building."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from aotbuild.serve.config import Serving, config, readme
from aotbuild.spec.errors import AotbuildError


def main(words: Sequence[str]) -> int:
    """Writes the folder. Returns the exit status: 1 with a message for a model that cannot be served so."""
    args = _parser().parse_args(words)
    serving = Serving(
        name=args.name,
        library=args.library.name if args.library else "",
        max_batch=args.max_batch,
        instances=args.instances,
        threads=args.threads,
        batching=args.batching,
        preferred=tuple(args.preferred),
        delay=args.delay,
        sequences=args.sequences,
        idle=args.idle,
        generate=tuple(args.generate),
        labels=args.labels is not None,
    )
    manifest = json.loads(args.manifest.read_text())
    try:
        text = config(manifest, serving)
    except AotbuildError as error:
        print(error, file=sys.stderr)
        return 1
    version = args.folder / str(args.version)
    version.mkdir(parents=True, exist_ok=True)
    for file in [*([args.library] if args.library else []), *args.file]:
        _place(file, version / file.name)
    if args.labels is not None:
        _place(args.labels, args.folder / "labels.txt")
    _write(args.folder / "README.md", readme(manifest, serving))
    _write(args.folder / "config.pbtxt", text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("repository", allow_abbrev=False)
    add = parser.add_argument
    add("--manifest", type=Path, required=True)
    add("--folder", type=Path, required=True, help="of the model, in the repository")
    add("--name", required=True)
    add("--version", type=int, required=True)
    add("--library", type=Path)
    add("--file", type=Path, action="append", default=[], help="what the library needs beside it")
    add("--labels", type=Path)
    add("--generate", nargs="*", default=[])
    add("--preferred", nargs="*", type=int, default=[])
    add("--batching", action="store_true")
    for number in ("max-batch", "instances", "threads", "delay", "sequences", "idle"):
        add(f"--{number}", type=int)
    return parser


def _place(source: Path, target: Path) -> None:
    """A copy that takes the place of what a server may have mapped, which keeps the file that it has."""
    if (
        target.exists()
        and target.stat().st_size == source.stat().st_size
        and target.read_bytes() == source.read_bytes()
    ):
        return
    temporary = target.with_name(f".{target.name}.aotbuild-tmp")
    shutil.copy(source, temporary)
    temporary.replace(target)


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
