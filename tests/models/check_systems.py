"""The golden tests of many models on another system: `python tests/models/check_systems.py windows`."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import model_zoo
from model_builds import ROOT, run
from systems import (
    MODULE,
    OTHER_COMPILER,
    SYSTEMS,
    System,
    build_for,
    demo,
    output_of_installed,
    output_of_module,
    output_of_other_compiler,
    passed_tests,
    refusal_without,
    runtime_tests,
)

# Their recorded cases vary the length of keys alone, which attention refuses.
WITHOUT_GOLDEN = ("causal_attention",)
# Takes minutes where the processor is emulated.
HEAVY = ("masked_attention",)
DEMO_LIMIT = 4_000_000
ENCODER = f"{ROOT / 'examples/semantic_search/encoder.py'}:build"


def check_missing_libraries(system: System, build: Path, name: str) -> None:
    """Windows names the DLL that a program misses: the runtime's, or the model's."""
    for pattern in ("*aotbuild_runtime*.dll", f"*{name}*.dll"):
        library, output = refusal_without(system, build, pattern)
        expected = rf"import_dll Library {re.escape(library)} \(which is needed by .*\) not found"
        if not re.search(expected, output):
            sys.exit(f"check_systems: without {library} the program says\n{output}")
        print(f"{system.name} SHARED: a program without {library} is told so")


def check_other_compiler(system: System, build: Path, name: str) -> None:
    """The C ABI is what compilers have in common."""
    output = output_of_other_compiler(system, build, name)
    if "\nis there\n" not in output or ": got 0 inputs, expected " not in output:
        sys.exit(f"check_systems: the program of MSVC's ABI prints\n{output}")
    print(f"{system.name} SHARED: a program of MSVC's ABI called {name}")


def check_demo(system: System, *flags: str) -> None:
    """The program of the example beside its vocabulary and corpus alone: it needs no DLL but those of Windows."""
    printed, expected, size = demo(system, *flags)
    if printed != expected:
        sys.exit(f"check_systems: the program of examples/semantic_search prints\n{printed}\nand not\n{expected}")
    print(f"{system.name}: semantic_search.exe ran from an empty folder, {size / 1e6:.2f} MB without the weights")
    if size > DEMO_LIMIT:
        sys.exit(f"check_systems: the program may have {DEMO_LIMIT} bytes")


def check_large_files(build: Path) -> None:
    """On 32 bits files are asked for by calls whose sizes and inode numbers have 64."""
    (runtime,) = build.rglob("libaotbuild_runtime.a")
    wanted = set(run("nm", "--undefined-only", "--format=just-symbols", runtime).split())
    if "mmap64" not in wanted or wanted & {"fstat", "mmap", "open"}:
        sys.exit(f"check_systems: {runtime.name} asks for files by {sorted(wanted & {'fstat', 'mmap', 'open'})}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--models", type=int, default=40, help="how many of the zoo (default: %(default)s)")
    parser.add_argument("--flags", help="compile all with these, as in -O1, in the place of a release's")
    parser.add_argument("--encoder", action="store_true", help="the encoder of examples/semantic_search too")
    arguments = parser.parse_args()
    system = SYSTEMS[arguments.system]
    if missing := system.missing(**(OTHER_COMPILER if system.name == "windows" else {})):
        sys.exit(f"check_systems: {system.name} needs the Debian packages {' '.join(missing)}")
    left_out = (*WITHOUT_GOLDEN, *(HEAVY if "qemu-user" in system.programs else ()))
    names = [name for name in model_zoo.MODELS if name not in left_out][-arguments.models :]
    models = {name: name for name in names}
    if arguments.encoder:
        models["encoder"] = ENCODER
    flags = ["-DAOTBUILD_EIGEN=OFF"]
    preset = "default"
    if arguments.flags is not None:
        preset = "debug"
        flags += ["-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_CXX_FLAGS_DEBUG={arguments.flags}"]
    if system.name == "windows":
        print(runtime_tests(system, *flags).splitlines()[-3], flush=True)
        if arguments.encoder:
            check_demo(system, *flags)
    in_file = ("transformer", "encoder") if system.name == "wasm" else ("transformer",)
    for kind, build in build_for(system, models, preset, *flags, in_file=in_file).items():
        counts = passed_tests(build)
        class_name = "".join(map(str.capitalize, names[0].split("_")))
        if system.name == "windows":
            output_of_installed(system, build, names[0], class_name)
            print(f"{system.name} {kind}: a program found {names[0]} by find_package, and ran")
            if kind == "SHARED":
                check_missing_libraries(system, build, names[0])
                check_other_compiler(system, build, names[0])
        if system.name == "armv7":
            check_large_files(build)
        if system.name == "wasm":
            output = output_of_module(build, MODULE, MODULE.capitalize())
            print(f"{system.name} module of {MODULE}: {output}", end="")
        for name, count in counts.items():
            print(f"{system.name} {kind} {name}: {count} passed")
        print(f"{system.name} {kind}: {len(counts)} models, {sum(counts.values())} passed, 0 failed", flush=True)
        if len(counts) != len(models):
            sys.exit(f"check_systems: {len(models)} models were asked for")


if __name__ == "__main__":
    main()
