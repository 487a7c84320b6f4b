"""What the values of keywords have to be. Each check adds the problems that it finds to the call."""

from __future__ import annotations

import itertools
import os

from aotbuild.spec.ascii_names import is_ascii_identifier
from aotbuild.spec.dynamic import dynamic_shape_problems
from aotbuild.spec.place import Place
from aotbuild.spec.precision import EXCEPT, OWN, TYPES
from aotbuild.spec.quantize import problem as quantize_problem
from aotbuild.spec.target import (
    CPU_ISAS,
    CUDA_ARCHITECTURES,
    FAMILIES,
    FIRST_ARCHITECTURE_SPECIFIC,
    cpu_isas,
    cuda_suffix,
)
from aotbuild.spec.words import Call, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def check_target(call: Call, place: Place) -> None:
    if call.target and not is_ascii_identifier(call.target, also=".+-"):
        call.problem(
            f'"{call.target}" is no target name that files can be named after; use letters, digits and _ . + -'
        )
    elif place.is_generated:
        call.problem(f'a model named "{call.target}" already exists in this build; choose another name')


def check_library(call: Call, place: Place) -> str:
    """Returns the kind of library that the call asks for."""
    kinds = [kind for kind in ("STATIC", "SHARED", "OBJECT") if call.has(kind)]
    if len(kinds) > 1:
        call.problem(f"{' and '.join(kinds)} exclude each other; keep one of them")
    if place.is_target:
        call.problem(f'a target named "{call.target}" already exists; choose another name')
    return kinds[0] if kinds else place.kind


def check_test(call: Call) -> None:
    if call.has("NO_TEST"):
        for keyword in ("RTOL", "ATOL", "TEST_LABELS"):
            if call.has(keyword):
                call.problem(f"{keyword} is for the test that NO_TEST leaves out; keep one of the two")


def check_model(call: Call, place: Place) -> tuple[str, str]:
    """Returns MODEL's file, none for a module, and what the generator gets."""
    model = call.one("MODEL")
    path, name = _file_and_name(model)
    if path:
        return _found(call, place, "MODEL", path, f":{name}")
    if not model:
        if not call.has("MODEL"):
            call.problem("MODEL is missing; write MODEL file.py:callable, package.module:callable or file.pt2")
    elif model.endswith(".pt2") and model != ".pt2":
        path = model
        for keyword in ("PARAMS", "DYNAMIC_SHAPES", "METHODS"):
            if call.has(keyword):
                call.problem(f'{keyword} needs a callable, and "{model}" is exported already; leave it out')
    elif model.endswith(".py"):
        call.problem(f'MODEL "{model}" names no callable; write {model}:callable')
    elif not _is_in_module(model):
        call.problem(f'MODEL "{model}" is not file.py:callable, package.module:callable or file.pt2')
    return _found(call, place, "MODEL", path, "")


def _file_and_name(text: str) -> tuple[str, str]:
    """The parts of ``file.py:name``, empty for a text of another form."""
    file, _, name = text.rpartition(":")
    fits = file.endswith(".py") and file != ".py" and _is_dotted(name)
    return (file, name) if fits else ("", "")


def _is_in_module(text: str) -> bool:
    module, _, name = text.partition(":")
    return _is_dotted(module) and _is_dotted(name)


def _is_dotted(text: str) -> bool:
    return is_ascii_identifier(text, also=".")


def check_kernel(call: Call, place: Place) -> tuple[str, str]:
    """Returns KERNEL's file, none for a module, and what the generator gets."""
    kernel = call.one("KERNEL")
    path, name = _file_and_name(kernel)
    file, argument = "", kernel
    if path:
        file, argument = _found(call, place, "KERNEL", path, f":{name}")
    elif kernel.endswith(".py"):
        call.problem(f'KERNEL "{kernel}" names no function; write {kernel}:function')
    elif kernel and not _is_in_module(kernel):
        call.problem(f'KERNEL "{kernel}" is not file.py:function or package.module:function')
    for form in ("KERNEL file.py:function", "SIGNATURE x=*fp32 count=i32", 'GRID "cdiv(count, block)"'):
        keyword = form.partition(" ")[0]
        if not call.has(keyword):
            call.problem(f"{keyword} is missing; write it as in {form}")
    check_pairs(call, "SIGNATURE")
    grid = call.many("GRID")
    if "(" in grid or ")" in grid:
        call.problem(
            "GRID has a parenthesis outside quotation marks, which CMake takes apart; write each size in "
            'quotation marks, as in GRID "cdiv(count, block)"'
        )
    elif len(grid) > 3:
        call.problem(
            f"GRID has {len(grid)} sizes, and CUDA has x, y and z; write an expression with blanks in quotation marks"
        )
    for keyword in ("CONFIGS", "EXAMPLES"):
        for entry in call.many(keyword):
            settings = [setting for setting in entry.split(" ") if setting]
            if not settings or not all(map(_is_setting, settings)):
                call.problem(f'{keyword} "{entry}" is not "name=value name=value ...", without blanks in a value')
    return file, argument


def _is_setting(text: str) -> bool:
    name, _, value = text.partition("=")
    return is_ascii_identifier(name) and value != "" and "=" not in value


def _found(call: Call, place: Place, keyword: str, path: str, rest: str) -> tuple[str, str]:
    if not path:
        return "", call.one(keyword)
    file = place.source(path)
    check_exists(call, place, keyword, call.one(keyword), file)
    return file, file + rest


def check_exists(call: Call, place: Place, keyword: str, value: str, path: str) -> None:
    """That the file of a keyword exists, or that the build makes it."""
    made = map(place.source, call.many("DEPENDS"))
    if os.path.isdir(path):
        call.problem(f'{keyword} "{value}": {path} is a folder; name a file')
    elif not os.path.exists(path) and path not in made:
        call.problem(f'{keyword} "{value}": the file {path} does not exist; if the build makes it, name it in DEPENDS')


def check_methods(call: Call) -> None:
    """Names that Python can have, each once; letters of other scripts are Python's to judge."""
    seen: set[str] = set()
    for method in call.many("METHODS"):
        if not is_ascii_identifier("".join(letter if " " <= letter <= "~" else "a" for letter in method)):
            call.problem(f'METHODS "{method}" is no name of a method; write letters, digits and underscores')
        elif method in seen:
            call.problem(f'METHODS names "{method}" more than once; keep one of them')
        seen.add(method)


def check_choice(call: Call, keyword: str, choices: Sequence[str]) -> None:
    value = call.one(keyword)
    if value and value not in choices:
        meant = next((case for case in (value.upper(), value.lower()) if case in choices), "")
        suggestion = _suggestion(meant or nearest(value, choices))
        call.problem(f'{keyword} "{value}" is none of {", ".join(choices)}{suggestion}')


def _suggestion(word: str) -> str:
    return f"; did you mean {word}?" if word else ""


def check_form(call: Call, keyword: str, fits: Callable[[str], bool], expected: str) -> None:
    value = call.one(keyword)
    if value and not fits(value):
        call.problem(f'{keyword} "{value}" is not {expected}')


def check_isas(call: Call, place: Place) -> list[str]:
    """Returns the instruction sets of CPU_ISA, or the processor's first."""
    accepted = cpu_isas(place.processor)
    if not accepted:
        known = f"{', '.join(FAMILIES[:-1])} and {FAMILIES[-1]}"
        call.problem(f'the processor "{place.processor}" is not supported; {known} are')
        return []
    given = call.many("CPU_ISA")
    for index, isa in enumerate(given):
        if isa not in accepted:
            choices = ", ".join(accepted)
            call.problem(f'CPU_ISA "{isa}" is none of {choices}{_suggestion(nearest(isa, accepted))}')
        elif isa in given[:index]:
            call.problem(f'CPU_ISA names "{isa}" more than once; keep one of them')
    for first, second in itertools.combinations(dict.fromkeys(isa for isa in given if isa in CPU_ISAS), 2):
        if CPU_ISAS[first].flag == CPU_ISAS[second].flag:
            call.problem(f"CPU_ISA {first} and {second} are the same; keep one of them")
    if "native" in given and len(given) > 1:
        call.problem(
            "CPU_ISA native stands alone: what it means is known only to the compiler, so a library can't "
            "choose between it and others at load; leave out the others"
        )
    return given or [accepted[0]]


def check_architectures(call: Call, place: Place) -> list[str]:
    """Returns the GPUs of CUDA_ARCHITECTURES, or the project's."""
    given = call.many("CUDA_ARCHITECTURES")
    keyword = "CUDA_ARCHITECTURES" if given else "CMAKE_CUDA_ARCHITECTURES"
    architectures = given or list(place.cuda_architectures)
    if not architectures:
        call.problem(
            "CUDA_ARCHITECTURES is missing, as in CUDA_ARCHITECTURES 80 90, and so is CMAKE_CUDA_ARCHITECTURES: "
            "they are declared, because the machine that builds need not have the GPU"
        )
    known = list(map(str, CUDA_ARCHITECTURES))
    virtual = [str(number) for number in CUDA_ARCHITECTURES if number < FIRST_ARCHITECTURE_SPECIFIC]
    seen: set[str] = set()
    for architecture in architectures:
        number = architecture.removesuffix("-virtual" if architecture.endswith("-virtual") else "-real")
        if number not in known:
            call.problem(
                f'{keyword} "{architecture}" is none of {", ".join(known)}, with or without -real, or one of '
                f"{', '.join(virtual)} with -virtual"
            )
        elif architecture.endswith("-virtual") and number not in virtual:
            call.problem(
                f'{keyword} "{architecture}": PTX from {FIRST_ARCHITECTURE_SPECIFIC} on loads on no later GPU; write '
                f"{number}, and 80-virtual for later ones"
            )
        elif cuda_suffix(architecture) in seen:
            call.problem(f"{keyword} names {cuda_suffix(architecture)} more than once; keep one of them")
        seen.add(cuda_suffix(architecture))
    return architectures


def check_precision(call: Call, on_gpu: bool) -> None:
    name, *rest = call.many("PRECISION") or [OWN]
    if name not in (OWN, *TYPES):
        call.problem(f'PRECISION "{name}" is none of {", ".join((OWN, *TYPES))}')
    elif rest and rest[0] != EXCEPT:
        call.problem(
            f'PRECISION {name} is followed by "{rest[0]}"; write {EXCEPT} before the names of modules, as in PRECISION '
            f"{name} {EXCEPT} {rest[0]}"
        )
    elif rest and name == OWN:
        call.problem(f"PRECISION {OWN} leaves all layers as they are; leave {EXCEPT} out")
    elif len(rest) == 1:
        call.problem(f"PRECISION {name} {EXCEPT} names no module; write qualified names or patterns, or leave it out")
    if name in TYPES and on_gpu:
        call.problem(
            f"PRECISION {name} is for DEVICE cpu; convert the module in the model file: module.{_CASTS[name]}()"
        )
    elif name in TYPES and call.one("RUNTIME") == "torch":
        call.problem(f"PRECISION {name} is for RUNTIME standalone; convert the module: module.{_CASTS[name]}()")


def check_quantize(call: Call, architectures: Sequence[str]) -> None:
    """``architectures``: of GPUs, none for DEVICE cpu."""
    if not call.many("QUANTIZE"):
        return  # one without values is a problem of the call already
    found = quantize_problem(call.many("QUANTIZE"), architectures, call.one("RUNTIME", "standalone"))
    if found:
        call.problem(found)
    elif call.one("MODEL").endswith(".pt2"):
        call.problem(
            "QUANTIZE needs the module, which a .pt2 file has no more; quantize it before torch.export, or name a "
            "callable"
        )
    elif (call.many("PRECISION") or [OWN])[0] != OWN:
        call.problem("QUANTIZE and PRECISION are two ways to store a layer's weights; leave one of them out")


_CASTS = {"bfloat16": "bfloat16", "float16": "half"}


def check_tune(call: Call, on_gpu: bool) -> None:
    if not on_gpu:
        for keyword in ("TUNE", "TUNING_DATABASE"):
            if call.has(keyword):
                call.problem(f"{keyword} needs DEVICE cuda")
    elif call.one("TUNE") == "SEARCH":
        call.problem(
            "TUNE SEARCH: a build never searches, so that it gives the same bytes everywhere; use TUNE CACHED, "
            f"and build the target {call.target}.tune to search"
        )
    else:
        check_choice(call, "TUNE", ("OFF", "CACHED"))
        if call.one("TUNE") == "OFF" and call.has("TUNING_DATABASE"):
            call.problem("TUNING_DATABASE is not read with TUNE OFF; leave one of them out")


def check_cpp_names(call: Call) -> None:
    check_form(call, "NAMESPACE", _is_namespace, "a C++ namespace such as a::b")
    check_form(call, "CLASS_NAME", is_ascii_identifier, "a C++ identifier (the namespace goes into NAMESPACE)")
    check_form(call, "SYMBOL_PREFIX", is_ascii_identifier, "a C identifier")
    header = call.one("HEADER")
    check_form(call, "HEADER", _is_header, "a relative path that ends in .h, .hh, .hpp or .hxx")
    if {".", ".."} & set(header.split("/")):
        call.problem(f'HEADER "{header}" leaves the include folder; write it without . and ..')
    elif header == f"{call.target}.h":
        call.problem(f'HEADER "{header}" is the name of the generated C header; use {call.target}.hpp')


def _is_namespace(text: str) -> bool:
    return all(map(is_ascii_identifier, text.split("::")))


def _is_header(text: str) -> bool:
    return text[0] != "/" and text[1:].endswith((".h", ".hh", ".hpp", ".hxx"))


def is_number(text: str) -> bool:
    """A number such as 1e-4, without a sign."""
    try:
        float(text)
    except ValueError:
        return False
    return text[0] in "0123456789." and set("0123456789.eE+-").issuperset(text)


def check_pairs(call: Call, keyword: str) -> None:
    """The form of key=value entries, and keys that come twice."""
    keys: set[str] = set()
    for entry in call.many(keyword):
        key, equals, _ = entry.partition("=")
        if not equals or not _is_dotted(key):
            upper = entry.upper()
            is_keyword = upper in call.keywords.all()
            remedy = f"did you mean the keyword {upper}?" if is_keyword else f"as in {keyword} name=value"
            call.problem(f'{keyword} entry "{entry}" is not key=value; {remedy}')
        elif key in keys:
            call.problem(f'{keyword} sets "{key}" more than once; keep one of them')
        else:
            keys.add(key)


def check_dynamic_shapes(call: Call) -> None:
    for problem in dynamic_shape_problems(call.many("DYNAMIC_SHAPES")):
        call.problem(problem)


def check_output_dir(call: Call, place: Place) -> str:
    """Returns the folder that the generator writes to, which has to be the target's own."""
    folder = place.binary(call.one("OUTPUT_DIR") or f"{call.target}.aotbuild")
    owner = place.owners.get(folder, "")
    if call.has("OUTPUT_DIR") and owner:
        call.problem(f'OUTPUT_DIR {folder} is the one of "{owner}"; name another folder')
    return folder


def check_config(call: Call, place: Place) -> None:
    value = call.one("CONFIG")
    if value:
        check_exists(call, place, "CONFIG", value, place.source(value))
