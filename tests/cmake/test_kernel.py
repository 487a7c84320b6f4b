"""The keywords of add_aot_kernel: every problem is named."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from cmake_project import CMakeProject

GOOD = "KERNEL kernel.py:scale SIGNATURE x=*fp32 count=i32 GRID count CUDA_ARCHITECTURES 90"


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "KERNEL is missing; write it as in KERNEL file.py:function"),
        ("", "SIGNATURE is missing; write it as in SIGNATURE x=*fp32 count=i32"),
        ("", 'GRID is missing; write it as in GRID "cdiv(count, block)"'),
        ("", "CUDA_ARCHITECTURES is missing, as in CUDA_ARCHITECTURES 80 90, and so is CMAKE_CUDA_ARCHITECTURES: "),
        ("KERNEL kernel.py", 'KERNEL "kernel.py" names no function; write kernel.py:function'),
        ("KERNEL a/b", 'KERNEL "a/b" is not file.py:function or package.module:function'),
        ("KERNEL none.py:f", "none.py does not exist; if the build makes it, name it in DEPENDS"),
        (GOOD.replace("x=*fp32", "x"), 'SIGNATURE entry "x" is not key=value; as in SIGNATURE name=value'),
        (GOOD.replace("count=i32", "x=i32"), 'SIGNATURE sets "x" more than once; keep one of them'),
        (
            GOOD.replace("GRID count", "GRID cdiv(count, 4)"),
            "GRID has a parenthesis outside quotation marks, which CMake takes apart; write each size in quotation "
            'marks, as in GRID "cdiv(count, block)"',
        ),
        (
            GOOD.replace("GRID count", "GRID count + 1 2"),
            "GRID has 4 sizes, and CUDA has x, y and z; write an expression with blanks in quotation marks",
        ),
        (f"{GOOD} CONFIGS block", 'CONFIGS "block" is not "name=value name=value ...", without blanks in a value'),
        (f'{GOOD} EXAMPLES "x=1, count=1 2"', 'EXAMPLES "x=1, count=1 2" is not "name=value name=value ..."'),
        (f"{GOOD} CONFIG block=1", 'unknown keyword "CONFIG"; did you mean CONFIGS?'),
        (f"{GOOD} STATIC SHARED", "STATIC and SHARED exclude each other; keep one of them"),
        (f"{GOOD} TUNE SEARCH", "TUNE SEARCH: a build never searches"),
        (f"{GOOD} TUNE OFF TUNING_DATABASE x", "TUNING_DATABASE is not read with TUNE OFF"),
        (f"{GOOD} HEADER scaled.h", 'HEADER "scaled.h" is the name of the generated C header; use scaled.hpp'),
        (f"{GOOD} CLASS_NAME a::B", 'CLASS_NAME "a::B" is not a C++ identifier'),
        (f"{GOOD} CUDA_ARCHITECTURES", "CUDA_ARCHITECTURES is given more than once; keep one of them"),
    ],
)
def test_wrong_arguments_are_named(make_project: Callable[..., CMakeProject], arguments: str, problem: str) -> None:
    project = make_project("", files={"kernel.py": ""})
    text = project.check_errors(f"add_aot_kernel(scaled {arguments})")
    assert text.startswith("add_aot_kernel(scaled):")
    assert problem in text


@pytest.mark.quick
def test_every_problem_is_reported_at_once(make_project: Callable[..., CMakeProject]) -> None:
    text = make_project("").check_errors("add_aot_kernel(a/b KERNEL x GRID 1 2 3 4 NAMESPACE 1)")
    assert len(re.findall("^  - ", text, re.MULTILINE)) == 6
