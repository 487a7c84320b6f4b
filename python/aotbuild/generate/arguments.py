"""The command lines of `aotbuild generate` and `aotbuild kernel`, which CMake runs, and what they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.files import Files

# Loaded when they are needed: other commands have parsers too, and take as long to start as what they import.
if TYPE_CHECKING:
    from aotbuild.generate.kernel import KernelRequest, KernelSource
    from aotbuild.generate.request import GenerateRequest
    from aotbuild.spec.program import EmitOptions


def add_model(parser: argparse.ArgumentParser) -> None:
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
    add("--world-size", type=int, default=0, help="ranks of a model for several GPUs")
    add("--quantize", action="append", default=[], metavar="WORD", help="the words of QUANTIZE, one --quantize each")


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
    add("--quiet", action="store_true", help="print errors alone")


def add_generate(parser: argparse.ArgumentParser) -> None:
    """The arguments of `aotbuild generate`."""
    add_model(parser)
    _add_outputs(parser)
    add = parser.add_argument
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add("--cpu-isa", action="append", default=[], metavar="ISA")
    add("--runtime", default="standalone")
    add("--weights", default="embed", choices=["embed", "file", "external"])
    add("--weights-file", default="")
    add("--weights-sha256", action="store_true", help="the model takes the weights file of this build alone")
    add("--precision", default="", choices=["", "bfloat16", "float16"], help="what layers of float32 are computed in")
    add("--precision-except", action="append", default=[], metavar="MODULE", help="a name or a pattern")
    add("--rtol", type=float)
    add("--atol", type=float)
    add("--c-enabled", action="store_true", help="the project compiles C, so registered kernels may be written in it")
    add("--no-eigen", action="store_true", help="the build found no Eigen")
    add("--project-dir", type=Path, help="folder of the whole project, for the compile cache; default: this one")
    add("--python-module", default="")
    add("--no-test", action="store_true")
    add("--benchmark", action="store_true")


def add_kernel_source(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which hand-written kernel is meant."""
    add = parser.add_argument
    add("--target", required=True, help="name of the CMake target")
    add("--kernel", required=True, help="file.py:function or package.module:function")
    add("--signature", action="append", default=[], metavar="NAME=TYPE|VALUE")
    add("--grid", action="append", default=[], metavar="EXPRESSION", help="blocks in x, then y, then z")
    add("--configuration", action="append", default=[], metavar='"NAME=VALUE ..."')
    add("--example", action="append", default=[], metavar='"NAME=VALUE ..."', help="arguments to tune with")
    add("--cuda-architecture", action="append", default=[], metavar="ARCHITECTURE")


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """The arguments of `aotbuild kernel`."""
    add_kernel_source(parser)
    _add_outputs(parser)


def pairs(values: Sequence[str], keyword: str) -> dict[str, str]:
    """KEY=VALUE arguments of a keyword.

    Raises:
        AotbuildError: an argument of another form.
    """
    found = {}
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key:
            raise AotbuildError(f"{keyword} {value!r}: write key=value")
        found[key] = text
    return found


def parse_generate(argv: Sequence[str]) -> GenerateRequest:
    """What ``generate <options>`` asks for; ``argv`` begins with ``generate``."""
    parser = argparse.ArgumentParser()
    add_generate(parser)
    return generate_request(parser.parse_args(argv[1:]))


def generate_request(args: argparse.Namespace) -> GenerateRequest:
    """What the arguments of ``add_generate`` ask for."""
    from aotbuild.generate.request import GenerateRequest

    return GenerateRequest(
        model=args.model,
        emit=_emit_options(
            args,
            weights=args.weights,
            weights_file=args.weights_file,
            weights_sha256=args.weights_sha256,
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
        params=pairs(args.param, "PARAMS"),
        device=args.device,
        cpu_isa=tuple(args.cpu_isa) or ("x86-64-v3",),
        cuda_architectures=tuple(args.cuda_architecture),
        runtime=args.runtime,
        preset=args.preset,
        config=args.config,
        options=pairs(args.option, "OPTIONS"),
        tuning_database=args.tuning_database,
        quantize=tuple(args.quantize),
        precision=args.precision,
        precision_except=tuple(args.precision_except),
        world_size=args.world_size,
        rtol=args.rtol,
        atol=args.atol,
        c_enabled=args.c_enabled,
        has_eigen=not args.no_eigen,
        verbose=args.verbose,
        quiet=args.quiet,
    )


def kernel_source(args: argparse.Namespace) -> KernelSource:
    """The hand-written kernel that the arguments of ``add_kernel_source`` name."""
    from aotbuild.generate.kernel import KernelSource

    return KernelSource(args.kernel, args.signature, args.grid, args.configuration, args.example)


def kernel_request(args: argparse.Namespace) -> KernelRequest:
    """What the arguments of ``add_kernel`` ask for."""
    from aotbuild.generate.kernel import KernelRequest

    return KernelRequest(
        kernel_source(args),
        _emit_options(args),
        output_dir=args.output_dir,
        stamp=_stamp(args),
        cuda_architectures=args.cuda_architecture,
        depfile=args.depfile,
        tuning_database=args.tuning_database,
        quiet=args.quiet,
    )


def _emit_options(args: argparse.Namespace, **more: Any) -> EmitOptions:
    """Those of a kernel, and ``more`` of a model."""
    from aotbuild.spec.program import EmitOptions

    names = ("target", "namespace", "class_name", "header", "symbol_prefix")
    return EmitOptions(**{name: getattr(args, name) for name in names}, **more)


def _stamp(args: argparse.Namespace) -> Path:
    stamp: Path | None = args.stamp
    return stamp or args.output_dir / Files(args.target).stamp
