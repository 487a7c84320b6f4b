"""The runtime's own tests and generated models under the sanitizers of CMakePresets.json."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What the models below call: attention, packed layers, convolutions, reads and writes through indices, small sizes.
MODELS = {
    "asan": (
        "transformer",
        "conv2d",
        "masked_attention",
        "indexing",
        "related_sizes",
        "small_sizes",
        "wrapping_products",
    ),
    "tsan": ("transformer",),
}
# Where every allocation and system call fails once.
FAILING = ("transformer", "conv2d")
FUZZED = ("weights", "options", "tensors", "golden", "bundle")
# Those that are called with random sizes; `python tests/models/random_shapes.py` does so with all whose sizes vary.
RANDOM = ("transformer", "conv2d", "masked_attention", "related_sizes", "small_sizes", "wrapping_products")
# The runtime's tests, and the threads of tests/sanitizers over the model `transformer`.
LISTS = f"""
set(AOTBUILD_BUILD_TESTS ON)
add_subdirectory("{ROOT}" aotbuild)
add_executable(stress "{ROOT}/tests/sanitizers/stress.cpp")
target_link_libraries(stress PRIVATE transformer GTest::gtest_main)
target_compile_definitions(stress PRIVATE
  AOTBUILD_WEIGHTS_FILE="$<TARGET_PROPERTY:transformer,AOTBUILD_WEIGHTS_FILE>")
add_test(NAME stress COMMAND stress)
# What these tests do beside calling the runtime need not be fast, and instrumented code takes long to optimise.
foreach(target IN ITEMS cuda triton tensor)
  target_compile_options(aotbuild_${{target}}_tests PRIVATE -O0)
endforeach()
"""


def preset(kind: str, name: str) -> dict[str, dict[str, str]]:
    presets = json.loads((ROOT / "CMakePresets.json").read_text())[kind]
    found: dict[str, dict[str, str]] = next(preset for preset in presets if preset["name"] == name)
    return found


def reliability_lists() -> str:
    """The fuzz targets over their corpora, and the program whose calls fail."""
    folder = ROOT / "tests" / "reliability"
    return (
        f"""
include("{folder}/fuzz/targets.cmake")
include("{folder}/programs.cmake")
aotbuild_reliability_program(faults {" ".join(FAILING)})
"""
        + "".join(f'add_test(NAME fuzz_{name} COMMAND fuzz_{name} "{folder}/corpus/{name}")\n' for name in FUZZED)
        + "".join(
            f'add_test(NAME faults_{name} COMMAND faults {name} "$<TARGET_PROPERTY:{name},AOTBUILD_WEIGHTS_FILE>")\n'
            for name in FAILING
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", MODELS)
def test_runtime_and_models_are_clean_under(sanitizer: str) -> None:
    import random_shapes
    from model_builds import Target, build_targets, run

    # With more inputs than a generated test has, and compared with eager as well.
    called = RANDOM if sanitizer == "asan" else ()
    flags = preset("configurePresets", sanitizer)["environment"]["SANITIZER_FLAGS"]
    tested = [name for name in MODELS[sanitizer] if name not in called]
    build = build_targets(
        ROOT / "build" / "sanitizers" / sanitizer,
        # Kernels have the -O1 below too: GCC takes four times as long to instrument what -O3 makes of them.
        [
            Target(name, name, kind="STATIC", weights="FILE", test=name in tested, preset="debug")
            for name in MODELS[sanitizer]
        ],
        f"find_package(GTest REQUIRED)\n{LISTS}"
        + "".join(f"target_compile_options({name}_test PRIVATE -O0)\n" for name in tested)
        + (random_shapes.lists(called) + reliability_lists() if called else ""),
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        "-DAOTBUILD_EIGEN=OFF",  # Eigen's templates take minutes, and the models call none
        "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1",  # compiles in half the time of -O2 -g
        f"-DCMAKE_CXX_FLAGS={flags} -fno-omit-frame-pointer",
    )
    # The OpenMP runtime is not instrumented, so that the thread sanitizer takes its barriers for none.
    threads = {"OMP_NUM_THREADS": "1"} if sanitizer == "tsan" else {}
    environment = preset("testPresets", sanitizer)["environment"] | threads
    run("ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", "--parallel", "2", **environment)
    for name in called:
        random_shapes.check(build, name, count=40)


def test_a_sanitizer_build_is_one(tmp_path: Path) -> None:
    """The flags of the presets make a program that fails: a typo in them would switch the sanitizer off."""
    source = tmp_path / "bad.cpp"
    source.write_text(
        "#include <climits>\n#include <cstring>\n#include <thread>\nint shared = 0;\n"
        "int main(int argc, char** argv) {\n"
        '  if (std::strcmp(argv[1], "freed") == 0) {\n    int* freed = new int(argc);\n    delete freed;\n'
        "    shared = *freed;\n  }\n"
        '  if (std::strcmp(argv[1], "overflow") == 0) shared = INT_MAX - 1 + argc;\n'
        '  if (std::strcmp(argv[1], "race") == 0) {\n    std::thread other([] { ++shared; });\n    ++shared;\n'
        "    other.join();\n  }\n  return 0;\n}\n"
    )
    for sanitizer, fault, report in (
        ("asan", "freed", "heap-use-after-free"),
        ("asan", "overflow", "signed integer overflow"),
        ("tsan", "race", "data race"),
    ):
        flags = preset("configurePresets", sanitizer)["environment"]["SANITIZER_FLAGS"].split()
        program = tmp_path / sanitizer
        subprocess.run(["c++", *flags, "-g", "-pthread", source, "-o", program], check=True)
        done = subprocess.run([program, fault], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert report in done.stderr
