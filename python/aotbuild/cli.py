"""The command line: ``python -m aotbuild generate`` and the queries that CMake and users make."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotbuild.errors import AotbuildError
from aotbuild.paths import cmake_directory
from aotbuild.program import EmitOptions
from aotbuild.spec.files import Files
from aotbuild.spec.plan import FUNCTIONS
from aotbuild.spec.plan import main as print_plan
from aotbuild.tuning.commands import add_commands

if TYPE_CHECKING:
    from aotbuild.pipeline import GenerateRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status: 0, 1 for an error that the user can mend, 2 for wrong usage."""
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
    _add_generate(commands.add_parser("generate", help="write the C++ sources of a model (what CMake runs)"))
    _add_kernel(commands.add_parser("kernel", help="write the C++ sources of a hand-written kernel (what CMake runs)"))
    _add_bench(commands.add_parser("bench", help="compare a model file with eager PyTorch: errors, latency, memory"))
    tune = commands.add_parser("tune", help="find the fastest configurations of a CUDA model's kernels")
    add_commands(tune, _add_model, _add_kernel_source, _pairs, _quieten)
    _add_report(commands.add_parser("report", help="show what each kernel of a CUDA model costs"))
    plan = commands.add_parser("plan", help="print as JSON what a call in CMake makes (what CMake runs)")
    plan.add_argument("arguments", nargs=argparse.REMAINDER, metavar="FUNCTION [FACT=VALUE ...] -- WORD ...")
    plan.set_defaults(function=_plan)
    doctor = commands.add_parser("doctor", help="print what a build finds on this machine, and what is wrong")
    doctor.set_defaults(function=_doctor)
    return parser


def _plan(args: argparse.Namespace) -> int:
    if args.arguments[:1] == [] or args.arguments[0] not in FUNCTIONS or "--" not in args.arguments:
        raise AotbuildError(f"plan: write one of {', '.join(FUNCTIONS)}, facts as key=value, -- and the call's words")
    print_plan(args.arguments)
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from aotbuild.doctor import report

    text, well = report()
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
    from aotbuild.bench import bench

    _quieten()
    report = bench(
        args.model,
        params=_pairs(args.param, "PARAMS"),
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
    add("folder", type=Path, help="<target>.aotbuild of a build for CUDA")
    add("--tuning-database", type=Path, help="has times of the configurations, and of the heuristics' choices")
    add("--times", type=Path, metavar="FILE.jsonl", help="times measured in the model: <model>_bench --kernels --json")
    add("--bundle", type=Path, help="with results, for how many configurations were measured")
    add("--html", type=Path, help="write a page there too")


def _report(args: argparse.Namespace) -> int:
    from aotbuild.report.data import gather
    from aotbuild.report.page import as_html
    from aotbuild.report.text import as_text

    reports = gather(args.folder, args.tuning_database, args.times, args.bundle)
    print("\n".join(map(as_text, reports)), end="")
    if args.html is not None:
        args.html.write_text(as_html(reports), encoding="utf-8")
    return 0


def _add_model(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which model is meant, and how its kernels come out."""
    add = parser.add_argument
    add("--target", required=True, help="name of the CMake target")
    add("--model", required=True, help="file.py:callable, package.module:callable or file.pt2")
    add("--dynamic-shapes", action="append", default=[], metavar="INPUT:DIM=MIN..MAX")
    add("--param", action="append", default=[], metavar="KEY=VALUE")
    add("--cuda-architecture", action="append", default=[], metavar="ARCHITECTURE")
    add("--preset", default="default")
    add("--config", type=Path, metavar="FILE.toml", help="TorchInductor's settings; --option wins over them")
    add("--option", action="append", default=[], metavar="KEY=VALUE")
    add("--method", action="append", default=[], metavar="NAME", help="of several, one --method each")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where the sources go and what is in them, of models and of kernels."""
    add = parser.add_argument
    add("--output-dir", required=True, type=Path)
    add("--stamp", type=Path, help="file to touch last; default <output-dir>/<target>.stamp")
    add("--depfile", type=Path, help="Makefile-syntax list of what the stamp depends on")
    add("--namespace", default="")
    add("--class-name", default="")
    add("--header", default="")
    add("--symbol-prefix", default="")
    add("--tuning-database", type=Path, help="configurations to replay; it need not exist")
    add("--verbose", action="store_true", help="print Python tracebacks of errors too")


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(function=_generate)
    _add_model(parser)
    _add_outputs(parser)
    add = parser.add_argument
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add("--cpu-isa", action="append", default=[], metavar="ISA")
    add("--runtime", default="standalone")
    add("--weights", default="embed", choices=["embed", "file", "external"])
    add("--weights-file", default="")
    add("--rtol", type=float)
    add("--atol", type=float)
    add("--c-enabled", action="store_true", help="the project compiles C, so registered kernels may be written in it")
    add("--no-eigen", action="store_true", help="the build found no Eigen")
    add("--project-dir", type=Path, help="folder of the whole project, for the compile cache; default: this one")
    add("--python-module", default="")
    add("--no-test", action="store_true")
    add("--benchmark", action="store_true")


def _add_kernel_source(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which hand-written kernel is meant."""
    add = parser.add_argument
    add("--target", required=True, help="name of the CMake target")
    add("--kernel", required=True, help="file.py:function or package.module:function")
    add("--signature", action="append", default=[], metavar="NAME=TYPE|VALUE")
    add("--grid", action="append", default=[], metavar="EXPRESSION", help="blocks in x, then y, then z")
    add("--configuration", action="append", default=[], metavar='"NAME=VALUE ..."')
    add("--example", action="append", default=[], metavar='"NAME=VALUE ..."', help="arguments to tune with")
    add("--cuda-architecture", action="append", default=[], metavar="ARCHITECTURE")


def _add_kernel(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(function=_kernel)
    _add_kernel_source(parser)
    _add_outputs(parser)


def _emit_options(args: argparse.Namespace, **more: Any) -> EmitOptions:
    """Those of a kernel, and ``more`` of a model."""
    names = ("target", "namespace", "class_name", "header", "symbol_prefix")
    return EmitOptions(**{name: getattr(args, name) for name in names}, **more)


def _stamp(args: argparse.Namespace) -> Path:
    stamp: Path | None = args.stamp
    return stamp or args.output_dir / Files(args.target).stamp


def _kernel(args: argparse.Namespace) -> int:
    from aotbuild.kernel import KernelRequest, KernelSource, generate

    if not args.verbose:
        _quieten()
    generate(
        KernelRequest(
            KernelSource(args.kernel, args.signature, args.grid, args.configuration, args.example),
            _emit_options(args),
            output_dir=args.output_dir,
            stamp=_stamp(args),
            cuda_architectures=args.cuda_architecture,
            depfile=args.depfile,
            tuning_database=args.tuning_database,
        )
    )
    return 0


def _pairs(values: Sequence[str], keyword: str) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key:
            raise AotbuildError(f"{keyword} {value!r}: write key=value")
        pairs[key] = text
    return pairs


def generate_request(argv: Sequence[str]) -> GenerateRequest:
    """What ``generate <options>`` asks for."""
    return _generate_request(_parser().parse_args(argv))


def _generate_request(args: argparse.Namespace) -> GenerateRequest:
    from aotbuild.pipeline import GenerateRequest

    return GenerateRequest(
        model=args.model,
        emit=_emit_options(
            args,
            weights=args.weights,
            weights_file=args.weights_file,
            python_module=args.python_module,
            test=not args.no_test,
            benchmark=args.benchmark,
        ),
        output_dir=args.output_dir,
        stamp=_stamp(args),
        depfile=args.depfile,
        project_dir=args.project_dir,
        dynamic_shapes=tuple(args.dynamic_shapes),
        methods=tuple(args.method),
        params=_pairs(args.param, "PARAMS"),
        device=args.device,
        cpu_isa=tuple(args.cpu_isa) or ("x86-64-v3",),
        cuda_architectures=tuple(args.cuda_architecture),
        runtime=args.runtime,
        preset=args.preset,
        config=args.config,
        options=_pairs(args.option, "OPTIONS"),
        tuning_database=args.tuning_database,
        rtol=args.rtol,
        atol=args.atol,
        c_enabled=args.c_enabled,
        has_eigen=not args.no_eigen,
        verbose=args.verbose,
    )


def _generate(args: argparse.Namespace) -> int:
    from aotbuild.pipeline import generate

    if not args.verbose:
        _quieten()
    generate(_generate_request(args))
    return 0


def _quieten() -> None:
    """Keeps other packages' warnings out of the build log; ``--verbose`` shows them."""
    import logging
    import os
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of the processes that compile kernels
