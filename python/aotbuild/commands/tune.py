"""The commands `aotbuild tune bundle`, `run`, `merge` and `prune`."""

from __future__ import annotations

import argparse
import concurrent.futures
import fcntl
import json
import os
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from aotbuild.commands.output import quieten
from aotbuild.generate.arguments import add_kernel_source, add_model, kernel_source, pairs
from aotbuild.spec.errors import AotbuildError
from aotbuild.tuning import bundle, database, merge
from aotbuild.tuning.bundle import Bundle


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Adds the commands."""
    commands = parser.add_subparsers(dest="tune_command", metavar="command", required=True)

    making = commands.add_parser("bundle", help="compile every candidate of a model's kernels; no GPU is needed")
    add_model(making)
    making_kernel = commands.add_parser("bundle-kernel", help="the same of a hand-written kernel")
    add_kernel_source(making_kernel)
    for each in (making, making_kernel):
        each.add_argument("--bundle", required=True, type=Path, help="the folder to write")
        each.add_argument("--program", type=Path, help="aotbuild-tune, to put into the folder")
        each.add_argument("--candidates", type=int, help="at most so many of each kernel")

    making.set_defaults(function=_make)
    making_kernel.set_defaults(function=_make_of_kernel)

    running = commands.add_parser("run", help="time the candidates of a bundle, here or through a runner")
    running.add_argument("bundle", type=Path)
    running.add_argument("--runner", default="", help='a command to put before aotbuild-tune, such as "srun --gpus=1"')
    running.add_argument("--shards", type=int, default=1, help="parts that run at the same time, on a device each")
    running.add_argument("--time-limit", type=float, help="seconds")
    running.set_defaults(function=_run)

    merging = commands.add_parser("merge", help="put the results of a bundle into a database")
    merging.add_argument("database", type=Path)
    merging.add_argument("bundle", type=Path)
    merging.add_argument("results", type=Path, nargs="*", help="default: the bundle's results*.jsonl")
    merging.set_defaults(function=_merge)

    pruning = commands.add_parser("prune", help="drop the lines of a database that no model uses")
    pruning.add_argument("database", type=Path)
    pruning.add_argument("manifests", type=Path, nargs="+", help="<target>.manifest.json of all models that use it")
    pruning.add_argument("--check", action="store_true", help="print such lines, change nothing, and exit with 1")
    pruning.set_defaults(function=_prune)


def _make(args: argparse.Namespace) -> int:
    quieten()
    return _write_bundle(args, _model_bundle(args))


def _make_of_kernel(args: argparse.Namespace) -> int:
    quieten()
    return _write_bundle(args, _kernel_bundle(args))


def _model_bundle(args: argparse.Namespace) -> Bundle:
    architecture = _architecture(args)
    from aotbuild import capture
    from aotbuild.lower.common.options import option_values
    from aotbuild.lower.cuda.tune import bundling
    from aotbuild.spec.config import read_config
    from aotbuild.spec.quantize import from_words

    config = read_config(args.config) if args.config else {}
    options = option_values({**config, **pairs(args.option, "OPTIONS")}, config)
    with capture.process_group(0, args.world_size):
        source = capture.load_source(args.model, pairs(args.param, "PARAMS"))
        quantize = from_words(args.quantize)
        if quantize.type:
            source, _ = capture.quantized_source(source, quantize, args.target)
        dynamic = capture.parse_dynamic_shapes(args.dynamic_shapes)
        if args.method:
            methods, _ = capture.capture_methods(source, args.method, dynamic, args.target, runs=False)
        else:
            methods = {"": capture.capture(source, dynamic, args.target, runs=False)}
        bundles = [
            bundling.bundle(
                captured,
                architecture,
                target=f"{args.target}.{method}" if method else args.target,
                versions=_versions(),
                preset=args.preset,
                options=options,
                limit=args.candidates,
                progress=_show_compilation,
            )
            for method, captured in methods.items()
        ]
    return bundle.joined(args.target, bundles)


def _kernel_bundle(args: argparse.Namespace) -> Bundle:
    architecture = _architecture(args)
    from aotbuild.generate import kernel

    return kernel.bundle(
        kernel_source(args),
        architecture,
        target=args.target,
        versions=_versions(),
        limit=args.candidates,
        progress=_show_compilation,
    )


def _architecture(args: argparse.Namespace) -> str:
    if len(args.cuda_architecture) != 1:
        raise AotbuildError(f"{args.target}: a bundle is for one architecture; pass --cuda-architecture once")
    return str(args.cuda_architecture[0])


def _versions() -> str:
    """What made the machine code, as lines of the database say it."""
    import torch

    from aotbuild import __version__

    torch_version = torch.__version__.partition("+")[0]
    return f"torch {torch_version}, triton {metadata.version('triton')}, aotbuild {__version__}"


def _write_bundle(args: argparse.Namespace, made: Bundle) -> int:
    bundle.write(made, args.bundle, args.program)
    candidates = sum(len(kernel.candidates) for kernel in made.kernels)
    failures = sum(len(kernel.failures) for kernel in made.kernels)
    print(
        f"{args.bundle}: {len(made.kernels)} kernels, {candidates} candidates for {made.architecture}; "
        f"{failures} more do not compile or need too much shared memory"
    )
    return 0


def _show_compilation(done: int, total: int) -> None:
    """A line on a terminal that is written over; elsewhere one for each tenth."""
    if sys.stderr.isatty():
        print(
            f"\raotbuild: {done} of {total} candidates", end="\n" if done == total else "", file=sys.stderr, flush=True
        )
    elif done * 10 // total != (done - 1) * 10 // total:
        print(f"aotbuild: {done} of {total} candidates", file=sys.stderr, flush=True)


def _run(args: argparse.Namespace) -> int:
    bundle.read_description(args.bundle)
    program = args.bundle / "aotbuild-tune"
    if not program.is_file():
        raise AotbuildError(f"{program} is missing; pass --program to `aotbuild tune bundle`")
    commands = []
    for shard in range(args.shards):
        command = [*shlex.split(args.runner), str(program.absolute()), str(args.bundle.absolute())]
        if args.shards > 1:
            command += ["--shard", f"{shard}/{args.shards}"]
            # A runner gives each part a device of its own, which is that part's first.
            command += [] if args.runner else ["--device", str(shard)]
        command += [] if args.time_limit is None else ["--time-limit", str(args.time_limit)]
        commands.append(command)
    # Two programs on one device would time each other.
    lock = Path(tempfile.gettempdir()) / f"aotbuild-tune-{os.getuid()}.lock"
    with lock.open("a") as held, concurrent.futures.ThreadPoolExecutor(args.shards) as pool:
        if not args.runner:
            fcntl.flock(held, fcntl.LOCK_EX)
        results = list(pool.map(subprocess.call, commands))
    for command, result in zip(commands, results):
        if result != 0:
            print(f"aotbuild: error: {shlex.join(command)} ended with {result}", file=sys.stderr)
    return 1 if any(results) else 0


def _merge(args: argparse.Namespace) -> int:
    print("\n".join(merge.merge(args.database, args.bundle, args.results)))
    return 0


def _prune(args: argparse.Namespace) -> int:
    used: set[str] = set()
    for path in args.manifests:
        try:
            used.update(json.loads(path.read_text())["metadata"].get("tuning", {}).get("keys", ()))
        except (OSError, ValueError, KeyError) as error:
            raise AotbuildError(f"{path} is no manifest: {error}; build the model first") from None
    try:
        found = database.read(args.database)
    except OSError as error:
        raise AotbuildError(f"{args.database}: {error.strerror}") from None
    stale = [entry for entry in found.entries if f"{entry.architecture} {entry.key}" not in used]
    for problem in found.problems:
        print(f"{args.database}:{problem.number}: {problem.reason}")
    for entry in stale:
        print(f"no kernel has {entry.line()}")
    if args.check:
        return 1 if stale or found.problems else 0
    args.database.write_text(database.text_of(entry for entry in found.entries if entry not in stale), encoding="utf-8")
    return 0
