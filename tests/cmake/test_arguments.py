"""Every problem of a call is reported at once, in exact words."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from cmake_project import CMakeProject

from aotbuild.capture import parse_dynamic_shapes
from aotbuild.spec.errors import AotbuildError

pytestmark = pytest.mark.quick


@pytest.fixture
def problems(make_project: Callable[..., CMakeProject]) -> Callable[[str], list[str]]:
    """The problems that add_aot_model finds with a model and the given further arguments."""
    project = make_project("")

    def find(arguments: str, model: str = "MODEL model.py:build") -> list[str]:
        text = project.check_errors(f"add_aot_model(encoder {model} {arguments})")
        first, *rest = text.split("\n")
        assert first == "add_aot_model(encoder):"
        return [line.removeprefix("  - ") for line in rest if line.startswith("  - ")]

    return find


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("NAMSPACE a", 'unknown keyword "NAMSPACE"; did you mean NAMESPACE?'),
        ("PARAMS a=1 NAMESPCE foo", 'unknown keyword "NAMESPCE"; did you mean NAMESPACE?'),
        ("DEPENDS a.txt CPU_IAS avx2", 'unknown keyword "CPU_IAS"; did you mean CPU_ISA?'),
        ("STATIC QUUX", 'unknown keyword "QUUX"; use one of the keywords below'),
        ("static", 'unknown keyword "static"; did you mean STATIC?'),
        ("PARAMS a=1 namespace", 'PARAMS entry "namespace" is not key=value; did you mean the keyword NAMESPACE?'),
        ("STATIC yes", 'STATIC takes no value, got "yes"; remove it, or write its keyword'),
        ("CLASS_NAME A B_", 'unknown keyword "B_"; use one of the keywords below'),
        ("CLASS_NAME A b", 'CLASS_NAME takes one value, got also "b"; keep one of them, or write its keyword'),
        ("NAMESPACE a NAMESPACE b", "NAMESPACE is given more than once; keep one of them"),
        ("NO_TEST NO_TEST", "NO_TEST is given more than once; keep one of them"),
        ('NAMESPACE ""', "NAMESPACE has an empty value; give it one, or leave it out (a variable without a value?)"),
        ('PARAMS a=1 ""', "PARAMS has an empty value; give it one, or leave it out (a variable without a value?)"),
        ('STATIC ""', "unexpected empty argument after STATIC; remove it (a variable without a value?)"),
        ("NAMESPACE STATIC", "NAMESPACE needs a value; give it one, or leave it out"),
        ("PARAMS", "PARAMS needs a value; give it one, or leave it out"),
        ("STATIC SHARED", "STATIC and SHARED exclude each other; keep one of them"),
        ("PARAMS layers", 'PARAMS entry "layers" is not key=value; as in PARAMS name=value'),
        ("PARAMS a=1 a=2", 'PARAMS sets "a" more than once; keep one of them'),
        ("OPTIONS freezing", 'OPTIONS entry "freezing" is not key=value; as in OPTIONS name=value'),
        ("NAMESPACE a:b", 'NAMESPACE "a:b" is not a C++ namespace such as a::b'),
        ("CLASS_NAME a::B", 'CLASS_NAME "a::B" is not a C++ identifier (the namespace goes into NAMESPACE)'),
        ("SYMBOL_PREFIX 1a", 'SYMBOL_PREFIX "1a" is not a C identifier'),
        ("PYTHON_MODULE a-b", 'PYTHON_MODULE "a-b" is not a Python identifier'),
        ("HEADER /a.hpp", 'HEADER "/a.hpp" is not a relative path that ends in .h, .hh, .hpp or .hxx'),
        ("HEADER ../a.hpp", 'HEADER "../a.hpp" leaves the include folder; write it without . and ..'),
        ("HEADER encoder.h", 'HEADER "encoder.h" is the name of the generated C header; use encoder.hpp'),
        ("DYNAMIC_SHAPES ids=1..4", 'DYNAMIC_SHAPES entry "ids=1..4" is not input:dim=min..max, as in ids:1=1..512'),
        (
            "DYNAMIC_SHAPES ids:1=4..4",
            'DYNAMIC_SHAPES entry "ids:1=4..4": the minimum 4 is not below the maximum 4; leave it out where the '
            "size is fixed",
        ),
        (
            "DYNAMIC_SHAPES ids:1=1..1000000000000000000",
            'DYNAMIC_SHAPES entry "ids:1=1..1000000000000000000": the maximum is no size of a tensor; '
            "write a smaller one",
        ),
        ("DYNAMIC_SHAPES x:0=1..4 x:0=1..8", 'DYNAMIC_SHAPES sets "x:0" more than once; keep one of them'),
        ("DEVICE gpu", 'DEVICE "gpu" is none of cpu, cuda'),
        (
            "DEVICE cuda",
            "CUDA_ARCHITECTURES is missing, as in CUDA_ARCHITECTURES 80 90, and so is CMAKE_CUDA_ARCHITECTURES: "
            "they are declared, because the machine that builds need not have the GPU",
        ),
        (
            "DEVICE cuda CUDA_ARCHITECTURES native",
            'CUDA_ARCHITECTURES "native" is none of 75, 80, 86, 89, 90, 100, 103, 120, with or without -real, or one '
            "of 75, 80, 86, 89 with -virtual",
        ),
        (
            "DEVICE cuda CUDA_ARCHITECTURES 90-virtual",
            'CUDA_ARCHITECTURES "90-virtual": PTX from 90 on loads on no later GPU; write 90, and 80-virtual for later '
            "ones",
        ),
        (
            "DEVICE cuda CUDA_ARCHITECTURES 80-virtual 90 90-real",
            "CUDA_ARCHITECTURES names sm_90 more than once; keep one of them",
        ),
        ("DEVICE cuda CUDA_ARCHITECTURES 90 CPU_ISA avx2", "CPU_ISA is for DEVICE cpu; leave it out"),
        (
            "RUNTIME torch DEVICE cuda CUDA_ARCHITECTURES 90",
            "RUNTIME torch with DEVICE cuda is not supported yet; use RUNTIME standalone or DEVICE cpu",
        ),
        ("RUNTIME libtorch", 'RUNTIME "libtorch" is none of standalone, torch'),
        ("METHODS 2nd", 'METHODS "2nd" is no name of a method; write letters, digits and underscores'),
        ("METHODS encode encode", 'METHODS names "encode" more than once; keep one of them'),
        ("CUDA_ARCHITECTURES 80 90", "CUDA_ARCHITECTURES needs DEVICE cuda"),
        ("TUNE OFF", "TUNE needs DEVICE cuda"),
        ("TUNING_DATABASE a.tuning", "TUNING_DATABASE needs DEVICE cuda"),
        (
            "DEVICE cuda CUDA_ARCHITECTURES 90 TUNE SEARCH",
            "TUNE SEARCH: a build never searches, so that it gives the same bytes everywhere; use TUNE CACHED, and "
            "build the target encoder.tune to search",
        ),
        ("DEVICE cuda CUDA_ARCHITECTURES 90 TUNE cached", 'TUNE "cached" is none of OFF, CACHED; did you mean CACHED?'),
        (
            "DEVICE cuda CUDA_ARCHITECTURES 90 TUNE OFF TUNING_DATABASE a.tuning",
            "TUNING_DATABASE is not read with TUNE OFF; leave one of them out",
        ),
        ("WEIGHTS embed", 'WEIGHTS "embed" is none of EMBED, FILE, EXTERNAL; did you mean EMBED?'),
        ("WEIGHTS_FILE a.safetensors", "WEIGHTS_FILE needs WEIGHTS FILE"),
        ("WEIGHTS_SHA256", "WEIGHTS_SHA256 needs WEIGHTS FILE"),
        (
            "DEVICE cuda CUDA_ARCHITECTURES 90 WEIGHTS FILE WORLD_SIZE 1",
            'WORLD_SIZE "1" is no number of GPUs; write one from 2 to 1024',
        ),
        (
            "DEVICE cuda CUDA_ARCHITECTURES 90 WORLD_SIZE 2",
            "WORLD_SIZE needs WEIGHTS FILE: each rank reads a file of its own",
        ),
        ("WEIGHTS FILE WORLD_SIZE 2", "WORLD_SIZE needs DEVICE cuda"),
        (
            "DEVICE cuda CUDA_ARCHITECTURES 90 WEIGHTS FILE WEIGHTS_SHA256 WORLD_SIZE 2",
            "WEIGHTS_SHA256 is not for models with WORLD_SIZE: it knows one file, and each rank has its own; leave it "
            "out",
        ),
        (
            "DEVICE cuda CUDA_ARCHITECTURES 90 WEIGHTS FILE PYTHON_MODULE net WORLD_SIZE 2",
            "PYTHON_MODULE is not for models with WORLD_SIZE: create the ranks in C++; leave it out",
        ),
        ("WEIGHTS FILE WEIGHTS_FILE a/b", 'WEIGHTS_FILE "a/b" is not a file name: the file lies beside the library'),
        (
            "PRESET min-sise",
            'PRESET "min-sise" is none of default, debug, min-size; did you mean min-size?',
        ),
        (
            "PRESET max-performance",
            "PRESET max-performance is gone, as it changed nothing; leave it out",
        ),
        (
            "CPU_ISA avx512f",
            'CPU_ISA "avx512f" is none of x86-64-v3, x86-64-v2, avx2, x86-64-v4, avx512, native; did you mean avx512?',
        ),
        ("CPU_ISA avx2 avx2", 'CPU_ISA names "avx2" more than once; keep one of them'),
        ("CPU_ISA avx2 x86-64-v3", "CPU_ISA avx2 and x86-64-v3 are the same; keep one of them"),
        ("CPU_ISA x86-64-v2 avx512 x86-64-v4", "CPU_ISA avx512 and x86-64-v4 are the same; keep one of them"),
        (
            "CPU_ISA native avx2",
            "CPU_ISA native stands alone: what it means is known only to the compiler, so a library can't choose "
            "between it and others at load; leave out the others",
        ),
        ("PRECISION bf16", 'PRECISION "bf16" is none of float32, bfloat16, float16'),
        (
            "PRECISION bfloat16 head",
            'PRECISION bfloat16 is followed by "head"; write EXCEPT before the names of modules, as in PRECISION '
            "bfloat16 EXCEPT head",
        ),
        (
            "PRECISION float16 EXCEPT",
            "PRECISION float16 EXCEPT names no module; write qualified names or patterns, or leave it out",
        ),
        (
            "PRECISION float32 EXCEPT head",
            "PRECISION float32 leaves all layers as they are; leave EXCEPT out",
        ),
        (
            "PRECISION bfloat16 DEVICE cuda CUDA_ARCHITECTURES 90",
            "PRECISION bfloat16 is for DEVICE cpu; convert the module in the model file: module.bfloat16()",
        ),
        (
            "PRECISION float16 RUNTIME torch",
            "PRECISION float16 is for RUNTIME standalone; convert the module: module.half()",
        ),
        ("QUANTIZE int2", 'QUANTIZE "int2" is none of int8, int4, float8'),
        (
            "QUANTIZE int8 head",
            'QUANTIZE int8 is followed by "head"; what may follow is dynamic, or EXCEPT and names of modules',
        ),
        (
            "QUANTIZE int8 dynamic head",
            'QUANTIZE int8 dynamic is followed by "head"; what may follow is EXCEPT and names of modules',
        ),
        (
            "QUANTIZE int8 EXCEPT",
            "QUANTIZE int8 EXCEPT names no module; write qualified names or patterns, or leave it out",
        ),
        (
            "QUANTIZE int4 dynamic",
            "QUANTIZE int4 dynamic: inputs are quantized with weights of 8 bits only; use QUANTIZE int8 dynamic, or "
            "int4 alone",
        ),
        ("QUANTIZE float8", "QUANTIZE float8 is for DEVICE cuda; processors have no products of it: use int8"),
        (
            "QUANTIZE float8 DEVICE cuda CUDA_ARCHITECTURES 80 90",
            "QUANTIZE float8 needs GPUs of capability 8.9 or later, and CUDA_ARCHITECTURES has 80; use int8",
        ),
        (
            "QUANTIZE int8 RUNTIME torch",
            "QUANTIZE int8 is for RUNTIME standalone; quantize the module in the model file",
        ),
        (
            "QUANTIZE int8 PRECISION bfloat16",
            "QUANTIZE and PRECISION are two ways to store a layer's weights; leave one of them out",
        ),
        ("RTOL small", 'RTOL "small" is not a number such as 1e-4'),
        ("NO_TEST ATOL 1e-4", "ATOL is for the test that NO_TEST leaves out; keep one of the two"),
    ],
)
def test_problem_is_named(problems: Callable[[str], list[str]], arguments: str, problem: str) -> None:
    assert problems(arguments) == [problem]


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("", "MODEL is missing; write MODEL file.py:callable, package.module:callable or file.pt2"),
        ("MODEL", "MODEL needs a value; give it one, or leave it out"),
        ("MODEL model.py", 'MODEL "model.py" names no callable; write model.py:callable'),
        ("MODEL model", 'MODEL "model" is not file.py:callable, package.module:callable or file.pt2'),
    ],
)
def test_model_is_checked(problems: Callable[..., list[str]], model: str, problem: str) -> None:
    assert problems("NO_TEST", model) == [problem]


def test_exported_program_takes_no_arguments(make_project: Callable[..., CMakeProject]) -> None:
    call = "add_aot_model(encoder MODEL net.pt2 PARAMS a=1 DYNAMIC_SHAPES x:0=1..4)"
    assert (
        make_project("", {"net.pt2": b""})
        .check_errors(call)
        .startswith(
            'add_aot_model(encoder):\n  - PARAMS needs a callable, and "net.pt2" is exported already; leave it out\n'
            '  - DYNAMIC_SHAPES needs a callable, and "net.pt2" is exported already; leave it out\nKeywords: '
        )
    )


def test_exported_program_is_not_quantized(make_project: Callable[..., CMakeProject]) -> None:
    call = "add_aot_model(encoder MODEL net.pt2 QUANTIZE int8)"
    problem = (
        "QUANTIZE needs the module, which a .pt2 file has no more; quantize it before torch.export, or name a callable"
    )
    assert f"add_aot_model(encoder):\n  - {problem}\n" in make_project("", {"net.pt2": b""}).check_errors(call)


def test_model_that_is_a_folder_is_refused(make_project: Callable[..., CMakeProject]) -> None:
    project = make_project("", {"net.py/encoder.py": ""})
    assert f'MODEL "net.py:build": {project.source}/net.py is a folder; name a file' in project.check_errors(
        "add_aot_model(encoder MODEL net.py:build)"
    )


def test_missing_model_file_is_named(
    problems: Callable[..., list[str]], make_project: Callable[..., CMakeProject]
) -> None:
    source = make_project("").source
    path = source / "modle.py"
    assert problems("", "MODEL modle.py:build") == [
        f'MODEL "modle.py:build": the file {path} does not exist; if the build makes it, name it in DEPENDS'
    ]
    assert problems("CONFIG a.toml") == [
        f'CONFIG "a.toml": the file {source}/a.toml does not exist; if the build makes it, name it in DEPENDS'
    ]


def test_all_problems_come_in_one_message(problems: Callable[[str], list[str]]) -> None:
    assert problems("NAMSPACE a PARAMS x RUNTIME eager RTOL y") == [
        'unknown keyword "NAMSPACE"; did you mean NAMESPACE?',
        'RUNTIME "eager" is none of standalone, torch',
        'RTOL "y" is not a number such as 1e-4',
        'PARAMS entry "x" is not key=value; as in PARAMS name=value',
    ]


def test_message_names_the_call_and_the_keywords(make_project: Callable[..., CMakeProject]) -> None:
    text = make_project("").check_errors("aotbuild_add_model_test(encoder LABLES a)")
    assert text == (
        'aotbuild_add_model_test(encoder):\n  - unknown keyword "LABLES"; did you mean LABELS?\n'
        '  - "encoder" is no model; make it with add_aot_model before this call\nKeywords: EXCLUDE_FROM_ALL LABELS'
    )


def test_processor_decides_the_instruction_sets(make_project: Callable[..., CMakeProject]) -> None:
    project = make_project("")
    call = "add_aot_model(encoder MODEL model.py:build CPU_ISA avx2)"
    assert 'CPU_ISA "avx2" is none of aarch64, native' in project.check_errors(call, "aarch64")
    known = "x86-64, aarch64, riscv64, armv7 and wasm32"
    assert f'the processor "sparc64" is not supported; {known} are' in project.check_errors(call, "sparc64")


def test_architectures_default_to_the_projects(make_project: Callable[..., CMakeProject]) -> None:
    call = "add_aot_model(encoder MODEL model.py:build DEVICE cuda)"
    text = make_project("").check_errors(f"set(CMAKE_CUDA_ARCHITECTURES 90 all)\n{call}")
    assert 'CMAKE_CUDA_ARCHITECTURES "all" is none of 75, 80,' in text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            "add_aot_model()",
            "add_aot_model():\n  - the target's name is missing; write it first\n  - MODEL is missing; ",
        ),
        (
            "add_aot_model(MODEL model.py:build)",
            "add_aot_model():\n  - the target's name is missing before MODEL; write it first\nKeywords: VERBOSE NO_",
        ),
        ("aotbuild_generate()", "aotbuild_generate():\n  - the target's name is missing; write it first\n"),
        (
            "aotbuild_add_model_test(LABELS a)",
            "aotbuild_add_model_test():\n  - the target's name is missing before LABELS; write it first\n"
            "Keywords: EXCLUDE_FROM_ALL LABELS",
        ),
        (
            "aotbuild_add_model_benchmark()",
            "aotbuild_add_model_benchmark():\n  - the target's name is missing; write it first\n"
            "Keywords: EXCLUDE_FROM_ALL",
        ),
        (
            "add_aot_python_extension(x y)",
            'add_aot_python_extension(x):\n  - unexpected argument "y" before the first keyword; remove it, or write '
            'its keyword\n  - "x" is no model; make it with add_aot_model before this call\nKeywords: EXCLUDE_FROM_ALL',
        ),
        (
            "aotbuild_embed_binary()",
            "aotbuild_embed_binary():\n  - the target's name is missing; write it first\n"
            "  - FILE is missing; write FILE file SYMBOL name\n",
        ),
        (
            "aotbuild_install(TARGETS a b a PACKAGE 1)",
            'aotbuild_install(a b a):\n  - "a" is no model; make it with add_aot_model before this call\n'
            '  - "b" is no model; make it with add_aot_model before this call\n'
            '  - "a" is no model; make it with add_aot_model before this call\n'
            '  - TARGETS names "a" more than once; keep one of them\n'
            '  - PACKAGE "1" is not a package name\n'
            "Keywords: PACKAGE ",
        ),
        ("aotbuild_install(VERSION one)", 'VERSION "one" is not a version such as 1.2.3'),
        (
            "aotbuild_install(PYTHON_PACKAGE /p VERSION 1)",
            "  - PYTHON_PACKAGE and VERSION exclude each other; leave out one of them\n"
            '  - PYTHON_PACKAGE "/p" is not a folder below the install prefix\n',
        ),
        (
            "aotbuild_add_triton_model(x NAME a/b VERSION 0 MAX_BATCH -1 QUEUE_DELAY 5 GENERATE a SEQUENCE_IDLE 1)",
            'aotbuild_add_triton_model(x):\n  - "x" is no model; make it with add_aot_model before this call\n'
            '  - NAME "a/b" is not a name without / and blanks\n'
            '  - VERSION "0" is not a number from 1 on\n'
            '  - MAX_BATCH "-1" is not a number\n'
            "  - QUEUE_DELAY needs DYNAMIC_BATCHING; add it, or leave QUEUE_DELAY out\n"
            '  - GENERATE takes two methods, one for the prompt and one for each token, got "a"\n'
            "  - GENERATE and SEQUENCE_IDLE exclude each other; leave out one of them\n"
            "Keywords: DYNAMIC_BATCHING EXCLUDE_FROM_ALL NAME ",
        ),
        (
            "aotbuild_add_triton_model(x PREFERRED_BATCH 4 x)",
            '  - PREFERRED_BATCH "4;x" is not a list of numbers from 1 on\n'
            "  - PREFERRED_BATCH needs DYNAMIC_BATCHING; add it, or leave PREFERRED_BATCH out\n",
        ),
        (
            "aotbuild_add_triton_model(x LABELS none.txt)",
            "none.txt does not exist, or is a folder; name a file with a label in each line\n",
        ),
        (
            "aotbuild_add_wasm_module(x NAME a/b)",
            'aotbuild_add_wasm_module(x):\n  - "x" is no model; make it with add_aot_model before this call\n'
            "  - the toolchain file is none of Emscripten's; set CMAKE_TOOLCHAIN_FILE to its Emscripten.cmake\n"
            '  - NAME "a/b" is not a name of letters, digits, _ and -\n'
            "Keywords: EXCLUDE_FROM_ALL NAME",
        ),
        ("aotbuild_install()", "TARGETS is missing; name the libraries to install"),
        ("aotbuild_install(TARGETS x)", '"x" is no model; make it with add_aot_model before this call'),
        ("aotbuild_install(encoder)", 'unexpected argument "encoder" before the first keyword; remove it'),
        ("aotbuild_install(NAMESPACE a)", 'NAMESPACE "a" is not a prefix that ends in ::'),
        ("aotbuild_add_model_benchmark(x)", '"x" is no model; make it with add_aot_model before this call'),
        ("add_aot_python_extension(x)", '"x" is no model; make it with add_aot_model before this call'),
        ("aotbuild_generate(x MODEL model.py:build STATIC)", 'unknown keyword "STATIC"; use one of the keywords below'),
        (
            "aotbuild_generate(a/b MODEL model.py:build)",
            '"a/b" is no target name that files can be named after; use letters, digits and _ . + -',
        ),
    ],
)
def test_other_functions_check_their_arguments(make_project: Callable[..., CMakeProject], call: str, text: str) -> None:
    assert text in make_project("").check_errors(call)


# Entries of DYNAMIC_SHAPES that are ones, and that are none: CMake and the generator have to say the same.
TAKEN = """\
x:0=1..4 | x:10=0..1 | x:0=1.. | x:0=0.. | prefill.ids:1=2..512 | a b:0=1..4 | gr\u00f6\u00dfe:0=1..4
x[0]:0=1..4 | x:0=1..999999999999999 | x:0=999999999999998..999999999999999"""
REFUSED = """\
x:0=4..4 | x:0=5..4 | x:0=10..9 | x:0=0..0 | x:0=..4 | x:0=.. | x:0=4 | x:0=1.4 | x:0=1...4 | x:=1..4 | :0=1..4
x=1..4 | x:0 | x | x:0=-1..4 | x:-1=1..4 | x:0= 1..4 | x:0=1..4x | x:a=1..4 | x:0=a..4 | x:0=1..b | x:0:1=1..4
x:0=1=2..4 | x:00=1..4 | x:0=01..4 | x:0=1..04 | x:\u0663=1..4 | x:0=1..1000000000000000 | x:0=1000000000000000.."""


def entries(text: str) -> list[str]:
    return text.replace("\n", " | ").split(" | ")


def test_cmake_and_the_generator_take_the_same_dynamic_shapes(problems: Callable[[str], list[str]]) -> None:
    quoted = " ".join(f'"{entry}"' for entry in entries(f"{TAKEN}\n{REFUSED}"))
    found = "\n".join(problems(f"DYNAMIC_SHAPES {quoted}"))
    for entry in entries(TAKEN):
        assert len(parse_dynamic_shapes([entry])) == 1, entry
        assert f'DYNAMIC_SHAPES entry "{entry}"' not in found
    for entry in entries(REFUSED):
        with pytest.raises(AotbuildError, match=re.escape(f'DYNAMIC_SHAPES entry "{entry}"')):
            parse_dynamic_shapes([entry])
        assert f'DYNAMIC_SHAPES entry "{entry}"' in found


def test_the_generator_names_all_wrong_dynamic_shapes_at_once() -> None:
    with pytest.raises(AotbuildError) as raised:
        parse_dynamic_shapes(["x:0=1..", "y", "x:0=1..4", "x:1=2..2"])
    assert str(raised.value).splitlines() == [
        'DYNAMIC_SHAPES entry "y" is not input:dim=min..max, as in ids:1=1..512',
        'DYNAMIC_SHAPES sets "x:0" more than once; keep one of them',
        'DYNAMIC_SHAPES entry "x:1=2..2": the minimum 2 is not below the maximum 2; leave it out where the size is '
        "fixed",
    ]
