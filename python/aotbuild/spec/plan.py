"""What a call of `add_aot_model`, `aotbuild_generate` or `add_aot_kernel` makes, as CMake gets it: `aotbuild plan`."""

from __future__ import annotations

import os
import sys

from aotbuild.spec import checks
from aotbuild.spec.ascii_names import ascii_identifier, is_ascii_identifier
from aotbuild.spec.files import Files, Generated, ModelKeywords, kernel_files, model_files
from aotbuild.spec.functions import FUNCTIONS, PLANNED, WITHOUT_TARGET
from aotbuild.spec.place import Place
from aotbuild.spec.precision import OWN
from aotbuild.spec.statements import statements
from aotbuild.spec.target import cuda_suffix, isa_flags
from aotbuild.spec.words import Call, words_of
from aotbuild.spec.world_size import check_world_size

# Options of the generator for what says how a kernel is called.
_KERNEL_OPTIONS = {"SIGNATURE": "signature", "GRID": "grid", "CONFIGS": "configuration", "EXAMPLES": "example"}

_OPTION_FLAGS = ("NO_TEST", "BENCHMARK", "WEIGHTS_SHA256")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Plan = dict[str, Any]


def plan(function: str, words: Sequence[str], place: Place) -> Plan:
    """The plan of one call.

    Returns:
        ``message``: all that is wrong with the call, and then nothing else. ``command``: the generator's arguments.
        ``groups``: the sources by how they are compiled. ``outputs``: every file that is written. Paths are absolute.
    """
    call = Call(words, FUNCTIONS[function])
    found = _plan_kernel(call, place) if function == "add_aot_kernel" else _plan_model(function, call, place)
    if call.problems:
        return {"message": f"{function}({call.target}):{_lines(call)}\nKeywords: {' '.join(call.keywords.all())}"}
    return {"message": "", **found}


def parsed(function: str, words: Sequence[str]) -> Plan:
    """The values of a call's keywords, for functions that CMake checks itself; ``problems`` are lines of a message."""
    call = Call(words, FUNCTIONS[function], has_target=function not in WITHOUT_TARGET)
    return {
        "target": call.target,
        "given": call.given,
        "keywords": list(call.keywords.all()),
        "values": {
            keyword: ["TRUE"] if keyword in call.keywords.flags and call.has(keyword) else call.many(keyword)
            for keyword in call.keywords.all()
        },
        "problems": _lines(call),
    }


def _lines(call: Call) -> str:
    return "".join(f"\n  - {problem}" for problem in call.problems)


def _plan_model(function: str, call: Call, place: Place) -> Plan:
    file, model = checks.check_model(call, place)
    on_gpu = call.one("DEVICE") == "cuda"
    checks.check_target(call, place)
    checks.check_methods(call)
    checks.check_choice(call, "DEVICE", ("cpu", "cuda"))
    variants, suffixes = _variants(call, place, on_gpu)
    _check_values(call, place, on_gpu)
    checks.check_quantize(call, variants if on_gpu else ())
    check_world_size(call, on_gpu)
    folder = checks.check_output_dir(call, place)
    kind = ""
    if function == "add_aot_model":
        kind = checks.check_library(call, place)
        checks.check_test(call)
    if call.problems:
        return {}
    keywords = ModelKeywords(
        call.target,
        call.one("HEADER"),
        tuple(call.many("METHODS")),
        () if on_gpu else tuple(zip(variants, suffixes)),
        tuple(suffixes) if on_gpu else (),
        call.one("WEIGHTS", "EMBED").lower(),
        call.one("WEIGHTS_FILE"),
        call.one("PYTHON_MODULE"),
        not call.has("NO_TEST"),
        call.has("BENCHMARK"),
        int(call.one("WORLD_SIZE", "0")),
    )
    database = _database(call, place, file) if on_gpu else ""
    config = place.source(call.one("CONFIG")) if call.has("CONFIG") else ""
    subject = _model_subject(call, model, config)
    command = [
        *("generate", *subject, *_output_options(call, folder, database)),
        *("--project-dir", place.project_dir, "--device", call.one("DEVICE", "cpu")),
        *_repeated("--cuda-architecture" if on_gpu else "--cpu-isa", variants),
        *("--runtime", call.one("RUNTIME", "standalone"), "--weights", keywords.weights),
        *_named(call, "WEIGHTS_FILE", "RTOL", "ATOL", "PYTHON_MODULE"),
        *_precision(call),
        *(["--c-enabled"] if place.has_c else []),
        *(f"--{flag.lower().replace('_', '-')}" for flag in _OPTION_FLAGS if call.has(flag)),
    ]
    return {
        **_result(call, place, folder, file, command, model_files(keywords)),
        **_files_of_properties(keywords, folder),
        "kind": kind,
        "config": config,
        "cpu_isa": [] if on_gpu else variants,
        "cuda_architectures": variants if on_gpu else [],
        "runtime": call.one("RUNTIME", "standalone"),
        "preset": call.one("PRESET", "default"),
        "weights": call.one("WEIGHTS", "EMBED"),
        "world_size": call.one("WORLD_SIZE"),
        "test_labels": call.many("TEST_LABELS"),
        "tuning_database": database,
        "tune": ["bundle", *subject] if database else [],
    }


def _files_of_properties(keywords: ModelKeywords, folder: str) -> dict[str, str | list[str]]:
    """The files that targets have as properties; empty where the model has none."""
    files, module = Files(keywords.target), keywords.python_module
    weights_files = files.weights_files(keywords.weights_file, keywords.world_size)
    return {
        "weights_file": [_join(folder, name) for name in weights_files] if keywords.weights == "file" else [],
        "test": _join(folder, files.test) if keywords.test else "",
        "golden": _join(folder, files.golden) if keywords.test else "",
        "benchmark": _join(folder, files.benchmark) if keywords.benchmark else "",
        "python_module": module,
        "python_source": _join(folder, files.python_source(module)) if module else "",
        "python_stub": _join(folder, files.python_stub(module)) if module else "",
    }


def _plan_kernel(call: Call, place: Place) -> Plan:
    file, kernel = checks.check_kernel(call, place)
    checks.check_target(call, place)
    architectures = checks.check_architectures(call, place)
    checks.check_tune(call, on_gpu=True)
    checks.check_cpp_names(call)
    folder = checks.check_output_dir(call, place)
    kind = checks.check_library(call, place)
    if call.problems:
        return {}
    database = _database(call, place, file)
    subject = ["--target", call.target, "--kernel", kernel]
    for keyword, option in _KERNEL_OPTIONS.items():
        subject += [f"--{option}={entry}" for entry in call.many(keyword)]  # an expression may begin with -
    command = [
        *("kernel", *subject, *_output_options(call, folder, database)),
        *_repeated("--cuda-architecture", architectures),
    ]
    suffixes = tuple(map(cuda_suffix, architectures))
    return {
        **_result(call, place, folder, file, command, kernel_files(call.target, call.one("HEADER"), suffixes)),
        "kind": kind,
        "cuda_architectures": architectures,
        "tuning_database": database,
        "tune": ["bundle-kernel", *subject] if database and call.has("EXAMPLES") else [],
    }


def _variants(call: Call, place: Place, on_gpu: bool) -> tuple[list[str], list[str]]:
    """The instruction sets or architectures, and their names in files."""
    if on_gpu:
        architectures = checks.check_architectures(call, place)
        if call.has("CPU_ISA"):
            call.problem("CPU_ISA is for DEVICE cpu; leave it out")
        return architectures, [cuda_suffix(architecture) for architecture in architectures]
    isas = checks.check_isas(call, place)
    if call.has("CUDA_ARCHITECTURES"):
        call.problem("CUDA_ARCHITECTURES needs DEVICE cuda")
    return isas, [ascii_identifier(isa) for isa in isas]


def _check_values(call: Call, place: Place, on_gpu: bool) -> None:
    checks.check_tune(call, on_gpu)
    checks.check_choice(call, "RUNTIME", ("standalone", "torch"))
    if call.one("RUNTIME") == "torch" and on_gpu:
        call.problem("RUNTIME torch with DEVICE cuda is not supported yet; use RUNTIME standalone or DEVICE cpu")
    checks.check_choice(call, "WEIGHTS", ("EMBED", "FILE", "EXTERNAL"))
    if call.one("PRESET") == "max-performance":
        call.problem("PRESET max-performance is gone, as it changed nothing; leave it out")
    else:
        checks.check_choice(call, "PRESET", ("default", "debug", "min-size"))
    checks.check_cpp_names(call)
    checks.check_form(call, "PYTHON_MODULE", is_ascii_identifier, "a Python identifier")
    checks.check_form(
        call, "WEIGHTS_FILE", lambda name: "/" not in name, "a file name: the file lies beside the library"
    )
    if call.one("WEIGHTS_FILE") and call.one("WEIGHTS") != "FILE":
        call.problem("WEIGHTS_FILE needs WEIGHTS FILE")
    if call.has("WEIGHTS_SHA256") and call.one("WEIGHTS") != "FILE":
        call.problem("WEIGHTS_SHA256 needs WEIGHTS FILE")
    for keyword in ("RTOL", "ATOL"):
        checks.check_form(call, keyword, checks.is_number, "a number such as 1e-4")
    checks.check_precision(call, on_gpu)
    checks.check_dynamic_shapes(call)
    checks.check_pairs(call, "PARAMS")
    checks.check_pairs(call, "OPTIONS")
    checks.check_config(call, place)


def _model_subject(call: Call, model: str, config: str) -> list[str]:
    """The arguments that say which model is meant, and how its kernels come out."""
    return [
        *("--target", call.target, "--model", model),
        *_repeated("--dynamic-shapes", call.many("DYNAMIC_SHAPES")),
        *_repeated("--method", call.many("METHODS")),
        *_repeated("--quantize", call.many("QUANTIZE")),
        *_repeated("--param", call.many("PARAMS")),
        *_named(call, "WORLD_SIZE"),
        *("--preset", call.one("PRESET", "default")),
        *(("--config", config) if config else ()),
        *_repeated("--option", call.many("OPTIONS")),
    ]


def _precision(call: Call) -> list[str]:
    name, *rest = call.many("PRECISION") or [OWN]
    return ["--precision", name, *_repeated("--precision-except", rest[1:])] if name != OWN else []


def _output_options(call: Call, folder: str, database: str) -> list[str]:
    files = Files(call.target)
    return [
        *("--output-dir", folder, "--stamp", _join(folder, files.stamp), "--depfile", _join(folder, files.depfile)),
        *_named(call, "NAMESPACE", "CLASS_NAME", "HEADER", "SYMBOL_PREFIX"),
        *(("--tuning-database", database) if database else ()),
        *(["--verbose"] if call.has("VERBOSE") else []),
    ]


def _named(call: Call, *keywords: str) -> list[str]:
    given = [keyword for keyword in keywords if call.one(keyword)]
    return [word for keyword in given for word in (f"--{keyword.lower().replace('_', '-')}", call.one(keyword))]


def _repeated(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _database(call: Call, place: Place, file: str) -> str:
    """The tuning database, none with TUNE OFF: by default beside the file of the model."""
    if call.one("TUNE") == "OFF":
        return ""
    if call.has("TUNING_DATABASE"):
        return place.source(call.one("TUNING_DATABASE"))
    return f"{os.path.splitext(file)[0]}.tuning" if file else place.source(f"{call.target}.tuning")


def _result(call: Call, place: Place, folder: str, file: str, command: Sequence[str], generated: Generated) -> Plan:
    """What models and kernels have alike."""
    files = Files(call.target)
    groups = [
        {
            "kind": group.kind,
            "flags": isa_flags(group.isa, place.processor) if group.isa else [],
            "embeds": _join(folder, group.embeds) if group.embeds else "",
            "sources": [_join(folder, source) for source in group.sources],
        }
        for group in generated.groups
    ]
    compiled = [source for source in generated.sources() if place.has_c or not source.endswith(".c")]
    apart = {files.api}
    return {
        "target": call.target,
        "description": call.one("MODEL") or call.one("KERNEL"),
        "input": file,
        "config": "",
        "output_dir": folder,
        "stamp": _join(folder, files.stamp),
        "depfile": _join(folder, files.depfile),
        "header": _join(folder, files.header(call.one("HEADER"))),
        "header_dir": _join(folder, "include"),
        "manifest": _join(folder, files.manifest),
        "api": _join(folder, files.api),
        "sources": [_join(folder, source) for source in compiled if source not in apart],
        "groups": groups,
        "outputs": [_join(folder, path) for path in generated.all()],
        "command": list(command),
        "depends": call.many("DEPENDS"),
        "job_pool": call.one("JOB_POOL"),
        "exclude_from_all": call.has("EXCLUDE_FROM_ALL"),
        "variables": {
            keyword: call.one(keyword)
            for keyword in ("OUTPUT_TARGETS", "HEADER_VAR", "MANIFEST_VAR", "SOURCES_VAR")
            if call.one(keyword)
        },
        "kind": "",
        "tuning_database": "",
        "tune": [],
    }


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}"


def main(argv: Sequence[str]) -> None:
    """Prints the plan of a call as JSON, or as statements that set ``plan`` and ``plan_<field>`` of CMake.

    Args:
        argv: the function's name, ``key=value`` for facts of the place, ``--`` and the call's words; one alone is a
            list of CMake's. With the fact ``form=cmake`` the plan is statements.
    """
    split = argv.index("--")
    function, *facts = argv[:split]
    words = argv[split + 1 :]
    given = dict(fact.split("=", 1) for fact in facts)
    folder = given.get("source_dir") or os.getcwd()
    owners = (owner.rpartition("|") for owner in words_of(given.get("owners", "")))
    place = Place(
        folder,
        given.get("binary_dir") or _join(folder, "build"),
        given.get("project_dir") or folder,
        given.get("processor") or "x86_64",
        tuple(words_of(given.get("cuda_architectures", ""))),
        given.get("kind") or "STATIC",
        bool(given.get("has_c")),
        bool(given.get("is_target")),
        bool(given.get("is_generated")),
        {folder: target for folder, _, target in owners},
    )
    listed = words_of(words[0]) if len(words) == 1 else words
    found = plan(function, listed, place) if function in PLANNED else parsed(function, listed)
    if given.get("form") == "cmake":
        sys.stdout.buffer.write(os.fsencode("".join(statements("plan", found))))
        return
    import json  # takes as long to load as all else

    print(json.dumps(found, indent=2))
