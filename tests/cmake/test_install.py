"""An installed model is used where there is no Python, torch or aotbuild."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cmake_project import HEAD, CMakeProject

MakeProject = Callable[..., CMakeProject]

LISTS = """
install(CODE "message(FATAL_ERROR \\"another component\\")" COMPONENT other)
add_aot_model(encoder STATIC MODEL model.py:build)
add_aot_model(decoder SHARED MODEL model.py:build WEIGHTS FILE PARAMS add=1)
add_aot_model(scorer OBJECT MODEL model.py:build PARAMS add=2)
aotbuild_install(TARGETS encoder decoder scorer PACKAGE models VERSION 2.1 COMPONENT nets)
"""

# The real runtime's libraries need Sleef; the empty runtime needs nothing, and neither does the stand-in.
CONSUMER = """
cmake_minimum_required(VERSION 3.24)
project(consumer LANGUAGES CXX)
find_package(models 2.0 REQUIRED)
add_executable(app main.cpp)
target_link_libraries(app PRIVATE models::encoder models::decoder models::scorer)
get_target_property(weights models::decoder AOTBUILD_WEIGHTS_FILE)
if(NOT EXISTS "${weights}")
  message(FATAL_ERROR "no weights: ${weights}")
endif()
"""

# Another project's package, below the same prefix.
OTHERS = """
add_aot_model(ranker STATIC MODEL model.py:build PARAMS add=3)
add_aot_model(sorter SHARED MODEL model.py:build PARAMS add=4)
aotbuild_install(TARGETS ranker sorter PACKAGE others)
"""
BOTH = """
cmake_minimum_required(VERSION 3.24)
project(consumer LANGUAGES C)
find_package(models REQUIRED)
find_package(others REQUIRED)
foreach(model IN ITEMS models::encoder models::decoder models::scorer others::ranker others::sorter)
  string(REGEX REPLACE ".*:" "" name "${model}")
  add_executable(${name} main.c)
  target_compile_definitions(${name} PRIVATE RUN=${name}_run HEADER="${name}.h")
  target_link_libraries(${name} PRIVATE ${model})
endforeach()
add_executable(together together.c)
target_link_libraries(together PRIVATE models::encoder models::decoder others::ranker others::sorter)
"""
MAIN_C = """\
#include <stdio.h>
#include <aotbuild/c_api.h>
#include HEADER
int main(void) { return printf("%d", RUN()) < 0; }
"""
TOGETHER_C = """\
#include <stdio.h>
#include <encoder.h>
#include <decoder.h>
#include <ranker.h>
#include <sorter.h>
int main(void) { return printf("%d %d %d %d", encoder_run(), decoder_run(), ranker_run(), sorter_run()) < 0; }
"""

MAIN = """\
#include <cstdio>
#include <aotbuild/c_api.h>
#include <encoder.hpp>
#include <decoder.hpp>
#include <scorer.hpp>
int main() { std::printf("%d %d %d", encoder()(), decoder()(), scorer()()); }
"""


@pytest.fixture(scope="module", params=["Ninja", "Unix Makefiles"])
def prefix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed models, moved to another folder; the source and build trees that they came from are gone."""
    folder = tmp_path_factory.mktemp("install")
    project = CMakeProject(folder, HEAD + LISTS, {}, request.param)
    project.configure("-DCMAKE_INSTALL_LIBDIR=lib", "-DCMAKE_BUILD_TYPE=Release")
    project.build()
    project.run("cmake", "--install", project.build_dir, "--prefix", folder / "first", "--component", "nets")
    shutil.rmtree(project.source)
    shutil.rmtree(project.build_dir)
    return (folder / "first").rename(folder / "moved")


def installed(prefix: Path) -> set[str]:
    return {path.relative_to(prefix).as_posix() for path in prefix.rglob("*") if path.is_file()}


def test_installed_tree_holds_what_is_needed_and_no_more(prefix: Path) -> None:
    assert {name for name in installed(prefix) if not name.startswith("include/models/aotbuild/")} == {
        *(f"include/{model}.{extension}" for model in ("decoder", "encoder", "scorer") for extension in ("h", "hpp")),
        *(f"lib/pkgconfig/{model}.pc" for model in ("decoder", "encoder", "scorer")),
        *(f"share/models/{model}.manifest.json" for model in ("decoder", "encoder", "scorer")),
        "lib/cmake/models/modelsConfig.cmake",
        "lib/cmake/models/modelsConfigVersion.cmake",
        "lib/cmake/models/modelsTargets-release.cmake",
        "lib/cmake/models/modelsTargets.cmake",
        *(f"share/models/licenses/{name}.txt" for name in ("Eigen", "PyTorch", "Sleef", "aotbuild", "nlohmann-json")),
        "share/models/sbom.cdx.json",
        "lib/decoder.safetensors",
        "lib/models/libaotbuild_runtime.a",
        "lib/models/libaotbuild_runtime_shared.so",
        "lib/libdecoder.so",
        "lib/libencoder.a",
        "lib/models/libsleef.so.3",
        *(
            f"lib/objects-Release/scorer/scorer.aotbuild/src/scorer{part}.cpp.o"
            for part in (
                *("", "_run_x86_64_v3", "_weights"),
                *(f"_{kind}_{n}" for kind in ("kernels_x86_64_v3", "custom") for n in range(4)),
            )
        ),
    }


def test_installed_text_files_name_no_path_outside(prefix: Path) -> None:
    for path in [*prefix.rglob("*.cmake"), *prefix.rglob("*.pc"), *prefix.rglob("*.json"), *prefix.rglob("*.h*")]:
        assert str(prefix.parent) not in path.read_text(), path


def test_bill_of_materials_names_what_is_installed(prefix: Path) -> None:
    bill = json.loads((prefix / "share/models/sbom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["version"] == "2.1"
    libraries = {one["name"]: one for one in bill["components"] if one["type"] == "library"}
    assert {name: one["licenses"][0]["license"]["id"] for name, one in libraries.items()} == {
        "aotbuild": "Apache-2.0",
        "eigen": "MPL-2.0",
        "nlohmann-json": "MIT",
        "sleef": "BSL-1.0",
        "torch": "BSD-3-Clause",
    }
    assert all(re.fullmatch(r"\d+(\.\d+)+", one["version"]) for one in libraries.values())
    assert {name: one["purl"].removesuffix(one["version"]) for name, one in libraries.items()} == {
        "aotbuild": "pkg:pypi/aotbuild@",
        "eigen": "pkg:generic/eigen@",
        "nlohmann-json": "pkg:github/nlohmann/json@v",
        "sleef": "pkg:github/shibatch/sleef@",
        "torch": "pkg:pypi/torch@",
    }
    models = {one["name"] for one in bill["components"] if one["type"] == "machine-learning-model"}
    assert models == {"decoder", "encoder", "scorer"}
    references = [one["bom-ref"] for one in bill["components"]]
    assert {one["ref"] for one in bill["dependencies"]} == {"package", *(f"model:{name}" for name in models)}
    assert all(set(one["dependsOn"]) <= set(references) for one in bill["dependencies"])


@pytest.mark.quick
def test_find_package_uses_the_installed_models(make_project: MakeProject, prefix: Path) -> None:
    project = make_project(CONSUMER, {"main.cpp": MAIN})
    project.configure(
        f"-DCMAKE_PREFIX_PATH={prefix}",
        "-DCMAKE_DISABLE_FIND_PACKAGE_Python3=ON",
        "-DCMAKE_DISABLE_FIND_PACKAGE_aotbuild=ON",
        standin=False,
        package=False,
    )
    project.build()
    assert project.program() == "12 8 14"
    project.write("CMakeLists.txt", CONSUMER.replace("2.0", "3.0"))
    output = project.configure(f"-DCMAKE_PREFIX_PATH={prefix}", standin=False, package=False, error=True)
    assert 'compatible with requested version "3.0"' in " ".join(output.split())


def test_two_packages_share_a_prefix_and_serve_projects_in_c(
    make_project: MakeProject, prefix: Path, tmp_path: Path
) -> None:
    other = CMakeProject(tmp_path / "other", HEAD + OTHERS, {}, "Ninja")
    other.configure("-DCMAKE_INSTALL_LIBDIR=lib", "-DCMAKE_BUILD_TYPE=Release")
    other.build()
    together = shutil.copytree(prefix, tmp_path / "together")
    before = {name: (together / name).stat().st_mtime_ns for name in installed(together)}
    other.run("cmake", "--install", other.build_dir, "--prefix", together)
    assert {name: (together / name).stat().st_mtime_ns for name in before} == before
    project = make_project(BOTH, {"main.c": MAIN_C, "together.c": TOGETHER_C})
    project.configure(f"-DCMAKE_PREFIX_PATH={together}", standin=False, package=False)
    project.build()
    values = {name: project.program(name) for name in ("encoder", "decoder", "scorer", "ranker", "sorter", "together")}
    assert list(values.values()) == ["12", "8", "14", "15", "16", "12 8 15 16"]
    for name, package in {"decoder": "models", "sorter": "others"}.items():
        assert f"$ORIGIN/{package}]" in project.run("readelf", "-d", together / f"lib/lib{name}.so")


@pytest.mark.parametrize(
    ("words", "satisfied"),
    [
        ("", ["2.0", "2.1"]),
        ("COMPATIBILITY SameMinorVersion", ["2.1"]),
        ("COMPATIBILITY AnyNewerVersion", ["1.9", "2.0", "2.1"]),
    ],
)
def test_version_satisfies_the_requests_that_it_is_compatible_with(
    make_project: MakeProject, words: str, satisfied: list[str]
) -> None:
    install = f"aotbuild_install(TARGETS encoder PACKAGE models VERSION 2.1.3 {words})\n"
    project = make_project(HEAD + "add_aot_model(encoder MODEL model.py:build NO_TEST)\n" + install)
    project.configure()
    script = project.source / "requests.cmake"
    script.write_text(
        "foreach(PACKAGE_FIND_VERSION IN ITEMS 1.9 2.0 2.1 2.2 3.0)\n"
        '  string(REPLACE "." ";" parts ${PACKAGE_FIND_VERSION})\n'
        "  list(GET parts 0 PACKAGE_FIND_VERSION_MAJOR)\n  list(GET parts 1 PACKAGE_FIND_VERSION_MINOR)\n"
        f'  include("{project.build_dir}/models.package/modelsConfigVersion.cmake")\n'
        "  if(PACKAGE_VERSION_COMPATIBLE)\n    message(${PACKAGE_FIND_VERSION})\n  endif()\nendforeach()\n"
    )
    assert project.run("cmake", "-P", script).split() == satisfied


def test_unknown_compatibility_is_named(make_project: MakeProject) -> None:
    text = make_project("").check_errors("aotbuild_install(COMPATIBILITY Same)")
    words = "SameMajorVersion, SameMinorVersion, ExactVersion or AnyNewerVersion"
    assert f'COMPATIBILITY "Same" is not {words}' in " ".join(text.split())


def test_pkg_config_uses_the_installed_models(make_project: MakeProject, prefix: Path) -> None:
    project = make_project("", {"main.cpp": MAIN})
    names = ("encoder", "decoder", "scorer")
    environment = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    flags = project.run("pkg-config", "--cflags", "--libs", *names, environment=environment).split()
    assert project.run("pkg-config", "--modversion", *names, environment=environment).split() == ["2.1"] * 3
    project.build_dir.mkdir()
    project.run("c++", project.source / "main.cpp", "-o", project.build_dir / "app", *flags)
    assert project.program() == "12 8 14"


def test_projects_own_export_set_takes_the_output_targets(make_project: MakeProject) -> None:
    lists = (
        HEAD
        + """
add_aot_model(encoder MODEL model.py:build OUTPUT_TARGETS targets)
install(TARGETS ${targets} EXPORT mine)
install(EXPORT mine NAMESPACE mine:: DESTINATION lib/cmake/mine)
"""
    )
    make_project(lists).configure()
