"""The command line: ``python -m aotbuild generate`` and the queries that CMake and users make."""

from __future__ import annotations

import argparse
import errno
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from aotbuild.commands.output import quieten
from aotbuild.commands.tune import add_commands
from aotbuild.generate.arguments import add_generate, add_kernel, generate_request, kernel_request, pairs
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.functions import FUNCTIONS
from aotbuild.spec.paths import cmake_directory
from aotbuild.spec.plan import main as print_plan


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit status: 0, 1 for an error that the user can mend, 2 for wrong usage, 3 for an error that nobody
        expected, 130 where Ctrl-C stopped it.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.cmakedir:
        print(cmake_directory())
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    try:
        return int(args.function(args))
    except AotbuildError as error:
        if getattr(args, "verbose", False):
            _print_traceback(error)
        print(f"aotbuild: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\naotbuild: stopped. {_KEPT} Run the same command again to go on.", file=sys.stderr)
        return 130
    except Exception as error:
        status, text = _unexpected(error)
        print(f"aotbuild: error: {text} {_KEPT}", file=sys.stderr)
        return status


_KEPT = "What an earlier run made is as it was."


def _unexpected(error: Exception) -> tuple[int, str]:
    """The exit status of an error that no command foresees, and what to do about it; prints a traceback of faults."""
    if isinstance(error, OSError) and error.filename is not None:
        return 1, f"{error.filename}: {error.strerror}. Mend that and run the same command again."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return 1, f"{error.strerror}. Free some space where the build lies and run the same command again."
    if isinstance(error, MemoryError):
        return 1, (
            "the memory of this process ran out. Close what else needs memory, or let fewer models be generated at a "
            "time (the CMake variable AOTBUILD_GENERATOR_JOBS), and run the same command again."
        )
    _print_traceback(error)
    return 3, (
        f"{type(error).__name__}: {error}. Nobody foresaw this, so it is a fault of aotbuild, unless the last lines of "
        "the traceback above are the model's own. Please report it with that traceback and with what `aotbuild "
        "doctor` prints."
    )


def _print_traceback(error: BaseException) -> None:
    """The traceback of an error and of all that led to it, also where the error says that nobody needs to see that."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        cause.__suppress_context__ = cause.__cause__ is not None
        cause = cause.__cause__ or cause.__context__
    traceback.print_exception(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("aotbuild", description="PyTorch models as CMake targets.")
    parser.add_argument("--cmakedir", action="store_true", help="print the folder of aotbuildConfig.cmake")
    commands = parser.add_subparsers(dest="command", metavar="command")
    generate = commands.add_parser("generate", help="write the C++ sources of a model (what CMake runs)")
    add_generate(generate)
    generate.set_defaults(function=_generate)
    hand_written = commands.add_parser(
        "kernel", help="write the C++ sources of a hand-written kernel (what CMake runs)"
    )
    add_kernel(hand_written)
    hand_written.set_defaults(function=_kernel)
    _add_bench(commands.add_parser("bench", help="compare a model file with eager PyTorch: errors, latency, memory"))
    tune = commands.add_parser("tune", help="find the fastest configurations of a CUDA model's kernels")
    add_commands(tune)
    _add_report(commands.add_parser("report", help="show what each kernel of a model costs"))
    plan = commands.add_parser("plan", help="print as JSON what a call in CMake makes (what CMake runs)")
    plan.add_argument("arguments", nargs=argparse.REMAINDER, metavar="FUNCTION [FACT=VALUE ...] -- WORD ...")
    plan.set_defaults(function=_plan)
    _add_inspect(commands.add_parser("inspect", help="show what a built library is: signature, weights, sizes"))
    _add_diff(commands.add_parser("diff", help="show what changed from one build of a model to another"))
    init = commands.add_parser("init", help="write a project with a model, a program and tests, which builds as it is")
    init.add_argument("folder", type=Path, help="a new folder; the project is named after it")
    init.set_defaults(function=_init)
    doctor = commands.add_parser("doctor", help="print what a build finds on this machine, and what is wrong")
    doctor.add_argument("--toolchain", default="", metavar="FILE", help="of a build for another system, as CMake's")
    doctor.set_defaults(function=_doctor)
    return parser


def _plan(args: argparse.Namespace) -> int:
    if args.arguments[:1] == [] or args.arguments[0] not in FUNCTIONS or "--" not in args.arguments:
        raise AotbuildError(f"plan: write one of {', '.join(FUNCTIONS)}, facts as key=value, -- and the call's words")
    print_plan(args.arguments)
    return 0


def _init(args: argparse.Namespace) -> int:
    from aotbuild.commands.init.write import project_name, write_project

    for path in write_project(args.folder):
        print(f"wrote {path}")
    print(
        f"\nNext:\n  cd {args.folder}\n  cmake --preset release\n  cmake --build --preset release\n"
        f"  ctest --preset release\n  build/{project_name(args.folder)}"
    )
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from aotbuild.commands.doctor import report

    text, well = report(args.toolchain)
    print(text)
    return 0 if well else 1


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(function=_bench)
    add = parser.add_argument
    add("model", help="file.py:callable or package.module:callable")
    add("--dynamic-shapes", action="append", default=[], metavar="INPUT:DIM=MIN..MAX")
    add("--param", action="append", default=[], metavar="KEY=VALUE")
    add("--cpu-isa", action="append", default=[], metavar="ISA")
    add("--threads", type=int, default=1)
    add("--rounds", type=int, default=30)
    add("--output-dir", type=Path, help="keep the project and its build there")
    add("--json", type=Path, help="write the figures there too")


def _bench(args: argparse.Namespace) -> int:
    from aotbuild.commands.bench import bench

    quieten()
    report = bench(
        args.model,
        params=pairs(args.param, "PARAMS"),
        dynamic_shapes=args.dynamic_shapes,
        cpu_isa=args.cpu_isa,
        threads=args.threads,
        rounds=args.rounds,
        output_dir=args.output_dir,
    )
    print(report.as_text())
    if args.json is not None:
        args.json.write_text(report.as_json())
    return 0


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(function=_report)
    add = parser.add_argument
    add("what", metavar="FOLDER|MODEL", help="<target>.aotbuild of a build for CUDA, or file.py:callable for the CPU")
    add("--html", type=Path, help="write a page there too")
    cpu = parser.add_argument_group("a model on the CPU, which is built and measured").add_argument
    cpu("--dynamic-shapes", action="append", default=[], metavar="INPUT:DIM=MIN..MAX")
    cpu("--param", action="append", default=[], metavar="KEY=VALUE")
    cpu("--cpu-isa", default="", metavar="ISA")
    cpu("--threads", type=int, default=1)
    cpu("--rounds", type=int, default=30)
    cpu(
        "--machine",
        default="",
        metavar="MEMORY,CACHE,FLOPS",
        help="bytes a second from memory and from the cache, and operations a second, as in 12e9; default: measured",
    )
    add = parser.add_argument_group("a build for CUDA").add_argument
    add("--tuning-database", type=Path, help="has times of the configurations, and of the heuristics' choices")
    add("--times", type=Path, metavar="FILE.jsonl", help="times measured in the model: <model>_bench --kernels --json")
    add("--bundle", type=Path, help="with results, for how many configurations were measured")


def _report(args: argparse.Namespace) -> int:
    page, text = _cpu_report(args) if ":" in args.what and not Path(args.what).exists() else _cuda_report(args)
    print(text, end="")
    if args.html is not None:
        args.html.write_text(page(), encoding="utf-8")
    return 0


def _cpu_report(args: argparse.Namespace) -> tuple[Callable[[], str], str]:
    from aotbuild.commands.report.cpu import measure
    from aotbuild.commands.report.cpu_data import stated_machine
    from aotbuild.commands.report.cpu_text import as_html, as_text

    quieten()
    machine = stated_machine(args.machine)
    report = measure(
        args.what,
        params=pairs(args.param, "PARAMS"),
        dynamic_shapes=args.dynamic_shapes,
        cpu_isa=args.cpu_isa,
        threads=args.threads,
        rounds=args.rounds,
        machine=machine,
    )
    return lambda: as_html(report), as_text(report)


def _cuda_report(args: argparse.Namespace) -> tuple[Callable[[], str], str]:
    from aotbuild.commands.report.data import gather
    from aotbuild.commands.report.page import as_html
    from aotbuild.commands.report.text import as_text

    reports = gather(Path(args.what), args.tuning_database, args.times, args.bundle)
    return lambda: as_html(reports), "\n".join(map(as_text, reports))


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(function=_inspect)
    add = parser.add_argument
    add("file", type=Path, help="a library or program with models, or <target>.manifest.json; nothing of it is run")
    add("--json", action="store_true", help="print JSON, with the whole manifests")
    add("--html", type=Path, help="write a page there too")


def _inspect(args: argparse.Namespace) -> int:
    from aotbuild.commands.inspect.page import as_html
    from aotbuild.commands.inspect.read import inspect
    from aotbuild.commands.inspect.text import as_text

    about = inspect(args.file)
    print(about.as_json() if args.json else as_text(about), end="")
    if args.html is not None:
        args.html.write_text(as_html(about), encoding="utf-8")
    return 0


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(function=_diff)
    add = parser.add_argument
    add("old", type=Path, help="a library, or what else inspect reads; shared libraries for the CPU are called")
    add("new", type=Path)
    add("--rounds", type=int, default=30, help="calls of each; default 30")


def _diff(args: argparse.Namespace) -> int:
    from aotbuild.commands.inspect.compare import compare
    from aotbuild.commands.inspect.text import difference_text

    print(difference_text(compare(args.old, args.new, args.rounds)), end="")
    return 0


def _generate(args: argparse.Namespace) -> int:
    from aotbuild.generate.model import generate

    if not args.verbose:
        quieten()
    generate(generate_request(args))
    return 0


def _kernel(args: argparse.Namespace) -> int:
    from aotbuild.generate.kernel import generate

    if not args.verbose:
        quieten()
    generate(kernel_request(args))
    return 0
