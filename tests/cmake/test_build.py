"""What a build gives: libraries of every kind, their surface, tests, and what runs again when something is touched."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import FILES, HEAD, PACKAGE, STANDIN, CMakeProject

APP = """
add_executable(app main.cpp)
target_link_libraries(app PRIVATE encoder)
"""
ENCODER = HEAD + "add_aot_model(encoder MODEL model.py:build)\n" + APP

MakeProject = Callable[..., CMakeProject]


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["STATIC", "SHARED", "OBJECT"])
def test_model_links_as_every_kind_of_library(make_project: MakeProject, kind: str) -> None:
    project = make_project(HEAD + f"add_aot_model(encoder {kind} MODEL model.py:build)\n" + APP)
    project.configure()
    project.build()
    assert project.program() == "12"
    assert "100% tests passed, 0 tests failed out of 1" in project.run("ctest", "--test-dir", project.build_dir)


def test_build_shared_libs_decides_the_default_kind(make_project: MakeProject) -> None:
    project = make_project(ENCODER)
    project.configure("-DBUILD_SHARED_LIBS=ON")
    project.build("encoder")
    assert (project.build_dir / "libencoder.so").exists()


@pytest.mark.quick
@pytest.mark.parametrize("generator", ["Ninja", "Ninja Multi-Config", "Unix Makefiles"])
def test_each_edit_runs_what_it_must_and_no_more(make_project: MakeProject, generator: str) -> None:
    project = make_project(ENCODER, generator=generator)
    project.configure("-DCMAKE_RUNTIME_OUTPUT_DIRECTORY_DEBUG=.")
    project.build()
    assert project.generated() == ["encoder"]

    def rebuild() -> tuple[list[str], dict[str, list[str]]]:
        ran = project.ran(project.build())
        return project.generated(), ran

    nothing: dict[str, list[str]] = {"compiled": [], "linked": []}
    assert rebuild() == ([], nothing)

    project.touch("main.cpp")
    assert rebuild() == ([], {"compiled": ["main.cpp"], "linked": ["app"]})

    for name in ("model.py", "helper.py"):  # touched, but with the same outcome: nothing is compiled
        project.touch(name)
        assert rebuild() == (["encoder"], nothing), name
        assert rebuild() == ([], nothing), name

    project.write("helper.py", "VALUE = 8\n")
    generated, ran = rebuild()
    assert generated == ["encoder"]
    assert ran["compiled"] == ["encoder_kernels_x86_64_v3_0.cpp"]
    assert project.program() == "13"

    project.write("weights.bin", b"\x06rest")
    generated, ran = rebuild()
    assert generated == ["encoder"]
    assert ran["compiled"] == ["encoder_weights.cpp"]
    assert project.program() == "14"
    assert rebuild() == ([], nothing)


def test_changed_argument_generates_again(make_project: MakeProject, generator: str) -> None:
    project = make_project(ENCODER, generator=generator)
    project.configure()
    project.build()
    project.generated()
    project.write("CMakeLists.txt", ENCODER.replace("model.py:build", "model.py:build PARAMS add=3"))
    output = project.build()
    assert project.generated() == ["encoder"]
    assert project.ran(output)["compiled"] == ["encoder_kernels_x86_64_v3_0.cpp"]
    assert project.program() == "15"
    project.build()
    assert project.generated() == []


def test_declared_dependency_generates_again(make_project: MakeProject) -> None:
    lists = ENCODER.replace("build)", "build DEPENDS vocabulary.txt CONFIG inductor.toml)")
    project = make_project(lists, {"vocabulary.txt": "a", "inductor.toml": ""})
    project.configure()
    project.build()
    manifest = json.loads((project.build_dir / "encoder.aotbuild/encoder.manifest.json").read_text())
    assert manifest["config"] == str(project.source / "inductor.toml")
    project.generated()
    for name in ("vocabulary.txt", "inductor.toml"):
        project.touch(name)
        project.build()
        assert project.generated() == ["encoder"], name


@pytest.mark.parametrize("generator", ["Ninja", "Ninja Multi-Config", "Unix Makefiles"])
def test_tuning_database_may_come_change_and_go(make_project: MakeProject, generator: str) -> None:
    lists = HEAD + "add_aot_model(encoder MODEL model.py:build DEVICE cuda CUDA_ARCHITECTURES 80-virtual 90)\n" + APP
    project = make_project(lists, generator=generator)
    project.configure("-DCMAKE_RUNTIME_OUTPUT_DIRECTORY_DEBUG=.")
    project.build()
    assert project.generated() == ["encoder"]

    def rebuild() -> list[str]:
        compiled = project.ran(project.build())["compiled"]
        assert project.program() == "12"
        return [*project.generated(), *compiled]

    assert rebuild() == []
    project.write("model.tuning", "fast")
    assert rebuild() == ["encoder", "encoder_images_sm_90.cpp"]
    assert rebuild() == []
    project.touch("model.tuning")
    assert rebuild() == ["encoder"]
    project.write("model.tuning", "faster")
    assert rebuild() == ["encoder", "encoder_images_sm_90.cpp"]
    (project.source / "model.tuning").unlink()
    assert rebuild() == ["encoder", "encoder_images_sm_90.cpp"]
    assert rebuild() == []


def test_failed_generator_leaves_the_last_good_state_and_is_run_again(
    make_project: MakeProject, generator: str
) -> None:
    project = make_project(ENCODER, generator=generator)
    project.configure()
    project.build()
    output = project.build_dir / "encoder.aotbuild"
    good = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    project.write("helper.py", "VALUE = 8\n")
    for _ in range(2):
        assert "told to fail for encoder" in project.build(error=True, STANDIN_FAIL="1")
        assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == good
    project.build()
    assert project.program() == "13"


def test_what_is_gone_is_noticed_once(make_project: MakeProject, generator: str) -> None:
    """Generated files that somebody removed are made again, and a file that is no longer imported is forgotten."""
    project = make_project(ENCODER, generator=generator)
    project.configure()
    project.build()
    output = project.build_dir / "encoder.aotbuild"
    for name in ("src/encoder.cpp", "include/encoder.hpp", "encoder.weights.bin", "encoder.manifest.json", "encoder.d"):
        project.generated()
        (output / name).unlink()
        assert f"  {output / name} is missing\n" in project.build("encoder.explain")
        project.build()
        assert project.generated() == ["encoder"], name
        assert (output / name).exists()
    project.write("model.py", "def build():\n    return {'value': 3, 'weights': b'x'}\n")
    (project.source / "helper.py").unlink()
    project.build()
    assert project.generated() == ["encoder"]
    project.touch("weights.bin")
    project.build()
    assert project.generated() == []


def test_names_with_characters_that_make_reads(tmp_path: Path, generator: str) -> None:
    project = CMakeProject(tmp_path / "a folder, (1)", ENCODER, {}, generator)
    project.configure()
    project.build()
    assert project.program() == "12"
    assert project.generated() == ["encoder"]
    project.build()
    assert project.generated() == []
    project.write("helper.py", "VALUE = 8\n")
    project.build()
    assert project.program() == "13"


def test_model_file_that_raises_shows_the_users_line(make_project: MakeProject) -> None:
    project = make_project(ENCODER, {"helper.py": "raise ValueError('no such checkpoint')\n"})
    project.configure()
    output = project.build(error=True)
    assert "helper.py" in output
    assert "ValueError: no such checkpoint" in output


@pytest.mark.quick
def test_two_models_static_and_shared_in_one_program(make_project: MakeProject, generator: str) -> None:
    lists = (
        HEAD
        + """
add_subdirectory(a)
add_subdirectory(b)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE encoder decoder)
"""
    )
    files = {
        "a/CMakeLists.txt": "add_aot_model(encoder MODEL ../model.py:build)\n",
        "b/CMakeLists.txt": "add_aot_model(decoder SHARED MODEL ../model.py:build PARAMS add=1)\n",
        "main.cpp": "#include <cstdio>\n#include <encoder.hpp>\n#include <decoder.hpp>\n"
        'int main() { std::printf("%d %d", encoder()(), decoder()()); }\n',
    }
    project = make_project(lists, files, generator)
    project.configure()
    project.build()
    assert project.program() == "12 13"
    assert project.generated() == ["decoder", "encoder"]
    assert "Built target" in project.build("aotbuild_codegen") or project.generated() == []


def test_surface_keywords_reach_the_generated_header(make_project: MakeProject) -> None:
    lists = (
        HEAD
        + """
add_aot_model(encoder MODEL model.py:build NAMESPACE nlp::v1 CLASS_NAME Encoder HEADER nlp/enc.hpp SYMBOL_PREFIX enc
  HEADER_VAR header MANIFEST_VAR manifest OUTPUT_TARGETS targets OUTPUT_DIR made)
file(WRITE "${CMAKE_BINARY_DIR}/variables.txt" "${header}\\n${manifest}\\n${targets}\\n")
get_target_property(dir encoder AOTBUILD_HEADER_DIR)
file(APPEND "${CMAKE_BINARY_DIR}/variables.txt" "${dir}\\n")
"""
        + APP
    )
    main = '#include <cstdio>\n#include <nlp/enc.hpp>\nint main() { std::printf("%d", nlp::v1::Encoder()()); }\n'
    project = make_project(lists, {"main.cpp": main})
    project.configure()
    project.build()
    assert project.program() == "12"
    made = project.build_dir / "made"
    assert (project.build_dir / "variables.txt").read_text().splitlines() == [
        f"{made}/include/nlp/enc.hpp",
        f"{made}/encoder.manifest.json",
        "encoder;aotbuild_runtime",
        f"{made}/include",
    ]


def test_properties_and_variables_for_further_helpers(make_project: MakeProject) -> None:
    lists = (
        HEAD
        + """
add_aot_model(encoder MODEL model.py:build WEIGHTS FILE CPU_ISA avx2 avx512 BENCHMARK PYTHON_MODULE enc
  HEADER_VAR header MANIFEST_VAR manifest OUTPUT_TARGETS targets)
aotbuild_generate(decoder MODEL model.py:build DEVICE cuda CUDA_ARCHITECTURES 80-virtual 90 NO_TEST
  SOURCES_VAR sources HEADER_VAR decoder_header MANIFEST_VAR decoder_manifest)
function(show target)
  foreach(name IN LISTS ARGN)
    get_target_property(value ${target} AOTBUILD_${name})
    file(APPEND "${CMAKE_BINARY_DIR}/shown.txt" "${target} ${name} ${value}\\n")
  endforeach()
endfunction()
set(shared OUTPUT_DIR HEADER HEADER_DIR MANIFEST WEIGHTS WEIGHTS_FILE CPU_ISA CUDA_ARCHITECTURES)
set(generated API_SOURCE TEST_SOURCE GOLDEN BENCHMARK_SOURCE PYTHON_MODULE PYTHON_SOURCE PYTHON_STUB)
show(encoder ${shared})
show(encoder.generate ${shared} ${generated})
show(decoder.generate ${shared} ${generated})
foreach(name IN ITEMS header manifest targets sources decoder_header decoder_manifest)
  file(APPEND "${CMAKE_BINARY_DIR}/shown.txt" "${name} ${${name}}\\n")
endforeach()
"""
    )
    project = make_project(lists)
    project.configure()
    text = (project.build_dir / "shown.txt").read_text()
    shown = text.replace(f"{project.build_dir}/encoder.aotbuild/", "E/").replace(
        f"{project.build_dir}/decoder.aotbuild/", "D/"
    )
    shared = [
        f"OUTPUT_DIR {project.build_dir}/encoder.aotbuild",
        "HEADER E/include/encoder.hpp",
        "HEADER_DIR E/include",
        "MANIFEST E/encoder.manifest.json",
        "WEIGHTS FILE",
        "WEIGHTS_FILE E/encoder.safetensors",
        "CPU_ISA avx2;avx512",
        "CUDA_ARCHITECTURES ",
    ]
    assert shown.splitlines() == [
        *(f"encoder {line}" for line in shared),
        *(f"encoder.generate {line}" for line in shared),
        "encoder.generate API_SOURCE E/src/encoder_api.cpp",
        "encoder.generate TEST_SOURCE E/test/encoder_test.cpp",
        "encoder.generate GOLDEN E/test/encoder.golden.safetensors",
        "encoder.generate BENCHMARK_SOURCE E/test/encoder_benchmark.cpp",
        "encoder.generate PYTHON_MODULE enc",
        "encoder.generate PYTHON_SOURCE E/python/enc.cpp",
        "encoder.generate PYTHON_STUB E/python/enc.pyi",
        f"decoder.generate OUTPUT_DIR {project.build_dir}/decoder.aotbuild",
        "decoder.generate HEADER D/include/decoder.hpp",
        "decoder.generate HEADER_DIR D/include",
        "decoder.generate MANIFEST D/decoder.manifest.json",
        "decoder.generate WEIGHTS EMBED",
        "decoder.generate WEIGHTS_FILE ",
        "decoder.generate CPU_ISA ",
        "decoder.generate CUDA_ARCHITECTURES 80-virtual;90",
        "decoder.generate API_SOURCE D/src/decoder_api.cpp",
        *(f"decoder.generate {name} " for name in ("TEST_SOURCE", "GOLDEN", "BENCHMARK_SOURCE")),
        *(f"decoder.generate {name} " for name in ("PYTHON_MODULE", "PYTHON_SOURCE", "PYTHON_STUB")),
        "header E/include/encoder.hpp",
        "manifest E/encoder.manifest.json",
        "targets encoder;aotbuild_runtime",
        "sources "
        + ";".join(
            f"D/src/decoder{part}.cpp"
            for part in ("", "_run_compute_80", "_images_compute_80", "_run_sm_90", "_images_sm_90", "_weights")
        ),
        "decoder_header D/include/decoder.hpp",
        "decoder_manifest D/decoder.manifest.json",
    ]


def test_every_keyword_reaches_the_generator(make_project: MakeProject) -> None:
    keywords = (
        "DYNAMIC_SHAPES ids:0=1..8 ids:1=1..512 PARAMS add=1 name=x DEVICE cpu CPU_ISA avx2 avx512 RUNTIME standalone "
        "WEIGHTS FILE WEIGHTS_FILE w.safetensors PRESET min-size OPTIONS freezing=1 epilogue_fusion=0 RTOL 1e-3 "
        "ATOL .5 BENCHMARK VERBOSE PRECISION bfloat16 EXCEPT head body.*"
    )
    project = make_project(HEAD + f"add_aot_model(encoder MODEL model.py:build {keywords})\n")
    project.configure("-DAOTBUILD_QUIET=ON")
    project.build("encoder")
    manifest = json.loads((project.build_dir / "encoder.aotbuild/encoder.manifest.json").read_text())
    assert manifest == {
        "command": "generate",
        "target": "encoder",
        "device": "cpu",
        "runtime": "standalone",
        "weights": "file",
        "preset": "min-size",
        "namespace": "",
        "class_name": "",
        "symbol_prefix": "",
        "weights_file": "w.safetensors",
        "config": "",
        "precision": "bfloat16",
        "precision_except": ["head", "body.*"],
        "rtol": "1e-3",
        "atol": ".5",
        "python_module": "",
        "header": "",
        "c_enabled": False,
        "no_eigen": True,  # the empty runtime of these tests has not
        "tuning_database": "",
        "cpu_isa": ["avx2", "avx512"],
        "cuda_architecture": [],
        "dynamic_shapes": ["ids:0=1..8", "ids:1=1..512"],
        "param": ["add=1", "name=x"],
        "option": ["freezing=1", "epilogue_fusion=0"],
        "no_test": False,
        "benchmark": True,
        "verbose": True,
        "quiet": True,
    }
    assert (project.build_dir / "w.safetensors").read_bytes() == b"\x05rest"


def test_kernels_alone_get_the_instruction_set(make_project: MakeProject) -> None:
    project = make_project(HEAD + "add_aot_model(encoder MODEL model.py:build CPU_ISA avx2 avx512 NO_TEST)\n")
    project.configure("-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DCMAKE_BUILD_TYPE=Debug")
    commands = json.loads((project.build_dir / "compile_commands.json").read_text())
    flags = {entry["file"].rpartition("/")[2]: entry["command"].split() for entry in commands}
    assert "-march=x86-64-v3" in flags["encoder_run_avx2.cpp"]
    assert "-march=x86-64-v4" in flags["encoder_kernels_avx512_3.cpp"]
    assert "-O3" in flags["encoder_kernels_avx512_3.cpp"]
    for name in ("encoder.cpp", "encoder_weights.cpp"):
        assert not [flag for flag in flags[name] if flag.startswith(("-march", "-O"))], name


def test_changed_weights_file_is_copied_and_nothing_compiled(make_project: MakeProject, generator: str) -> None:
    project = make_project(ENCODER.replace("build)", "build WEIGHTS FILE)"), generator=generator)
    project.configure()
    project.build()
    project.write("weights.bin", b"new")
    output = project.build()
    assert project.ran(output) == {"compiled": [], "linked": []}
    assert (project.build_dir / "encoder.safetensors").read_bytes() == b"new"


def test_consumers_of_one_folder_place_the_weights_at_the_same_time(tmp_path: Path) -> None:
    """A plain copy fails when another replaces the file, and changes what a running program has mapped."""
    (tmp_path / "build").mkdir()
    script = PACKAGE / "private/place_weights.cmake"
    commands = [
        ["cmake", f"-DSOURCE={tmp_path}/w", f"-DFOLDER={tmp_path}/build", f"-DCONSUMER=app{n}", "-P", str(script)]
        for n in range(8)
    ]
    for content in (b"a" * 100_000, b"b" * 100_000):
        (tmp_path / "w").write_bytes(content)
        mapped = (tmp_path / "build/w").open("rb") if (tmp_path / "build/w").exists() else None
        running = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
        assert [(process.communicate()[1], process.returncode) for process in running] == [(b"", 0)] * 8
        assert {path.name: path.read_bytes() for path in (tmp_path / "build").iterdir()} == {"w": content}
        if mapped is not None:
            assert mapped.read(1) == b"a"
            mapped.close()


def test_module_and_exported_file_are_models_too(make_project: MakeProject) -> None:
    lists = (
        HEAD
        + """
add_aot_model(from_module MODEL zoo.model:build)
add_aot_model(from_file MODEL model.pt2)
set(original "${CMAKE_CURRENT_SOURCE_DIR}/zoo/model.py")
add_custom_command(OUTPUT made.py COMMAND "${CMAKE_COMMAND}" -E copy "${original}" made.py DEPENDS "${original}")
add_aot_model(from_rule MODEL ${CMAKE_CURRENT_BINARY_DIR}/made.py:build DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/made.py)
"""
    )
    files = {"zoo/__init__.py": "", "zoo/model.py": "def build():\n    return {'value': 1, 'weights': b'x'}\n"}
    project = make_project(lists, {**files, "model.pt2": b"w"})
    project.configure()
    project.build("aotbuild_codegen")
    assert project.generated() == ["from_file", "from_module", "from_rule"]
    project.touch("zoo/model.py")
    project.build("aotbuild_codegen")
    assert project.generated() == ["from_module", "from_rule"]


def test_excluded_model_is_built_on_demand(make_project: MakeProject) -> None:
    project = make_project(HEAD + "add_aot_model(encoder MODEL model.py:build EXCLUDE_FROM_ALL BENCHMARK)\n")
    project.configure()
    project.build()
    assert project.generated() == []
    project.build("encoder_test")
    assert project.generated() == ["encoder"]


@pytest.mark.parametrize("off", ["no_testing", "build_testing", "no_test"])
def test_no_test_when_testing_is_off(make_project: MakeProject, off: str) -> None:
    lists = HEAD + f"add_aot_model(encoder MODEL model.py:build {'NO_TEST' if off == 'no_test' else ''})\n"
    project = make_project(lists.replace("enable_testing()\n", "") if off == "no_testing" else lists)
    project.configure(*(["-DBUILD_TESTING=OFF"] if off == "build_testing" else []))
    assert "encoder_test:" not in project.build("help")


def test_test_carries_its_labels(make_project: MakeProject) -> None:
    project = make_project(HEAD + "add_aot_model(encoder MODEL model.py:build TEST_LABELS slow nlp)\n")
    project.configure()
    shown = project.run("ctest", "--test-dir", project.build_dir, "--show-only=json-v1")
    (test,) = json.loads(shown[shown.index("{") : shown.rindex("}") + 1])["tests"]
    labels = next(entry["value"] for entry in test["properties"] if entry["name"] == "LABELS")
    assert (test["name"], labels) == ("encoder", ["aotbuild", "nlp", "slow"])


def test_python_module_imports(make_project: MakeProject) -> None:
    project = make_project(HEAD + "add_aot_model(encoder MODEL model.py:build PYTHON_MODULE encoder_py)\n")
    project.configure()
    project.build()
    code = f"import sys; sys.path.insert(0, {str(project.build_dir)!r}); import encoder_py; print(encoder_py.run())"
    assert project.run(sys.executable, "-c", code) == "12\n"


def test_the_parts_add_up_to_the_whole(make_project: MakeProject) -> None:
    lists = (
        HEAD
        + """
aotbuild_generate(encoder MODEL model.py:build SOURCES_VAR sources)
get_target_property(header_dir encoder.generate AOTBUILD_HEADER_DIR)
add_library(encoder STATIC ${sources})
target_include_directories(encoder PUBLIC ${header_dir})
target_link_libraries(encoder PUBLIC aotbuild_runtime)
add_dependencies(encoder encoder.generate)
aotbuild_add_model_test(encoder LABELS parts)
"""
        + APP
    )
    project = make_project(lists)
    project.configure()
    project.build()
    assert project.program() == "12"
    assert "100% tests passed, 0 tests failed out of 1" in project.run("ctest", "--test-dir", project.build_dir)


def test_explain_says_what_would_run_and_why(make_project: MakeProject) -> None:
    project = make_project(ENCODER)
    project.configure()
    shutil.rmtree(project.build_dir / "encoder.aotbuild", ignore_errors=True)
    assert "because\n  it has not run, or did not finish\n" in project.build("encoder.explain")
    project.build()
    assert "encoder: from model.py:build\nup to date;" in project.build("encoder.explain")
    project.touch("helper.py")
    assert f"  {project.source}/helper.py is newer than the last run\n" in project.build("encoder.explain")
    answer = json.loads((project.build_dir / "encoder.aotbuild/encoder.explain.json").read_text())
    assert answer["reasons"] == [f"{project.source}/helper.py is newer than the last run"]
    project.generated()
    project.run("sh", "-c", answer["shell"])
    assert project.generated() == ["encoder"]
    assert str(STANDIN) in answer["command"]


def test_two_builds_give_the_same_bytes(make_project: MakeProject) -> None:
    project = make_project(HEAD + "add_aot_model(encoder SHARED MODEL model.py:build NO_TEST)\n")
    libraries = []
    for folder in ("one", "a/longer/two"):
        project.build_dir = project.source.parent / folder
        project.configure("-DCMAKE_BUILD_TYPE=RelWithDebInfo")
        project.build()
        libraries.append((project.build_dir / "libencoder.so").read_bytes())
    assert libraries[0] == libraries[1]


@pytest.mark.parametrize("generator", ["Ninja", "Ninja Multi-Config"])
def test_job_pools_survive_a_project_that_sets_its_own(make_project: MakeProject, generator: str) -> None:
    lists = ENCODER + "set_property(GLOBAL PROPERTY JOB_POOLS mine=2)\n"
    project = make_project(lists, {"later/CMakeLists.txt": "set_property(GLOBAL PROPERTY JOB_POOLS)\n"}, generator)
    project.write("CMakeLists.txt", lists + "add_subdirectory(later)\n")
    project.configure("-DAOTBUILD_GENERATOR_JOBS=3", "-DAOTBUILD_COMPILE_JOBS=1")
    rules = (project.build_dir / "CMakeFiles/rules.ninja").read_text()
    assert "pool aotbuild_generate\n  depth = 3\n" in rules
    assert "pool aotbuild_compile\n  depth = 1\n" in rules
    project.build("encoder.generate")
    assert project.generated() == ["encoder"]


@pytest.mark.parametrize(
    ("setting", "seen"),
    [("AOTBUILD_TERMINAL=ON", True), ("AOTBUILD_TERMINAL=OFF", False), ("AOTBUILD_GENERATOR_JOBS=1", True)],
)
def test_generators_of_ninja_have_the_terminal(make_project: MakeProject, setting: str, seen: bool) -> None:
    """What they print there is seen while they run; else Ninja keeps it until they end."""
    model = FILES["model.py"]
    assert isinstance(model, str)
    says = 'import sys\nprint("terminal:", sys.stdout.isatty())\n'
    project = make_project(ENCODER, {"model.py": says + model}, "Ninja")
    project.configure(f"-D{setting}")
    controller, terminal = pty.openpty()
    command = ["cmake", "--build", str(project.build_dir), "--target", "encoder.generate"]
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, env=project.environment) as process:
        os.close(terminal)
        printed = b""
        with contextlib.suppress(OSError):  # of a terminal that nobody has open any more
            while part := os.read(controller, 4096):
                printed += part
    os.close(controller)
    assert process.returncode == 0, printed
    assert f"terminal: {seen}" in printed.decode()


def test_undefined_job_pool_is_an_error_while_configuring(make_project: MakeProject) -> None:
    project = make_project(
        HEAD
        + "set_property(GLOBAL PROPERTY JOB_POOLS mine=2)\nadd_aot_model(encoder MODEL model.py:build JOB_POOL mien)\n"
    )
    output = project.configure(error=True)
    assert (
        '  add_aot_model(encoder):\n\n    - JOB_POOL "mien" is not defined; add it with\n'
        "      set_property(GLOBAL APPEND PROPERTY JOB_POOLS mien=1)\n      (defined pools: mine)\n" in output
    )


def test_multi_config_build(make_project: MakeProject) -> None:
    project = make_project(ENCODER.replace("build)", "build WEIGHTS FILE)"), generator="Ninja Multi-Config")
    project.configure()
    for config in ("Debug", "Release"):
        project.build("all", "--config", config)
        assert project.program(f"{config}/app") == "7"
        assert (project.build_dir / config / "encoder.safetensors").exists()
    assert project.generated() == ["encoder"]
    assert "no work to do" in project.build("all", "--config", "Release")
    project.write("weights.bin", b"new")
    for config in ("Debug", "Release"):
        project.build("all", "--config", config)
        assert (project.build_dir / config / "encoder.safetensors").read_bytes() == b"new"


def test_bad_number_of_generator_jobs_is_named(make_project: MakeProject) -> None:
    output = make_project(ENCODER).configure("-DAOTBUILD_GENERATOR_JOBS=many", error=True)
    assert 'AOTBUILD_GENERATOR_JOBS "many" is not a positive number' in output


def test_small_machine_runs_one_heavy_step_at_a_time(make_project: MakeProject, generator: str) -> None:
    """Each generator and each compiler of a model's sources writes when it began and ended."""
    models = "".join(f"add_aot_model(m{i} MODEL model.py:build NO_TEST)\n" for i in range(3))
    project = make_project(HEAD + models, generator=generator)
    project.write(
        "compiler",
        f'#!/bin/sh\ncase "$*" in *aotbuild/src*) begin=$(date +%s%N); c++ "$@"; result=$?; '
        f'echo $begin $(date +%s%N) >> "{project.source}/compiled"; exit $result;; *) exec c++ "$@";; esac\n',
    )
    (project.source / "compiler").chmod(0o755)
    project.environment["STANDIN_SPAN"] = str(project.source / "generated")
    project.configure(
        "-DAOTBUILD_GENERATOR_JOBS=1", "-DAOTBUILD_COMPILE_JOBS=1", f"-DCMAKE_CXX_COMPILER={project.source}/compiler"
    )
    project.run("cmake", "--build", project.build_dir, "--parallel", "6")
    for name, count in (("generated", 3), ("compiled", 3 * 11)):
        spans = sorted([int(n) for n in line.split()] for line in (project.source / name).read_text().splitlines())
        assert len(spans) == count
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans)), name


def test_gpu_is_used_by_one_command_at_a_time(make_project: MakeProject, generator: str, tmp_path: Path) -> None:
    lists = (
        HEAD
        + """
add_aot_model(encoder MODEL model.py:build)
_aotbuild_python()
_aotbuild_gpu_lock(prefix)
foreach(i RANGE 3)
  add_custom_command(OUTPUT gpu${i} COMMAND ${prefix} sh -c "echo begin >> log && sleep 0.05 && echo end >> log"
    COMMAND "${CMAKE_COMMAND}" -E touch gpu${i} VERBATIM)
  list(APPEND steps gpu${i})
endforeach()
add_custom_target(gpu DEPENDS ${steps})
"""
    )
    project = make_project(lists, generator=generator)
    project.environment["TMPDIR"] = str(tmp_path)
    project.configure()
    other = CMakeProject(tmp_path / "other", lists, {}, generator)  # another build on the same machine
    other.environment["TMPDIR"] = str(tmp_path)
    other.configure()
    (other.build_dir / "log").symlink_to(project.build_dir / "log")
    builds = [threading.Thread(target=each.build, args=("gpu",)) for each in (project, other)]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert (project.build_dir / "log").read_text() == "begin\nend\n" * 8


def test_projects_strict_warnings_and_unity_build_work(make_project: MakeProject) -> None:
    project = make_project(ENCODER)
    project.configure("-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror", "-DCMAKE_UNITY_BUILD=ON")
    project.build()
    assert project.program() == "12"


@pytest.mark.quick
def test_cache_folder_reaches_the_generator(make_project: MakeProject) -> None:
    project = make_project(HEAD + "add_aot_model(encoder MODEL model.py:build)\n")
    project.configure("-DAOTBUILD_CACHE_DIR=/somewhere/cache")
    project.build("encoder.explain")
    answer = json.loads((project.build_dir / "encoder.aotbuild/encoder.explain.json").read_text())
    assert "AOTBUILD_CACHE_DIR=/somewhere/cache" in answer["command"]


@pytest.mark.skipif(shutil.which("ccache") is None, reason="needs ccache")
def test_ccache_answers_a_clean_build(make_project: MakeProject) -> None:
    """In the same folder and in another: what is emitted, and the commands that compile it, do not change."""
    project = make_project(ENCODER)
    project.environment |= {
        "CCACHE_DIR": str(project.source.parent / "ccache"),
        "CCACHE_BASEDIR": str(project.source.parent),
        "CCACHE_NOHASHDIR": "1",
    }

    def misses() -> list[str]:
        project.run("ccache", "--zero-stats")
        project.configure("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache", "-DCMAKE_BUILD_TYPE=Release")
        project.build()
        project.run("ccache", "--cleanup")
        text = project.run("ccache", "--print-stats")
        counts = dict(line.split("\t") for line in text.splitlines())
        return [counts["cache_miss"], counts["direct_cache_hit"], counts["preprocessed_cache_hit"]]

    # 5 of kernels, 4 of registered ones, the model, its test and what tests share, main, two runtimes; and the weights,
    # which ccache leaves.
    sources = 16
    assert misses() == [str(sources - 1), "0", "0"]
    shutil.rmtree(project.build_dir)
    assert misses() == ["0", str(sources - 1), "0"]
    project.build_dir = project.source.parent / "other"
    assert misses()[0] == "0"
