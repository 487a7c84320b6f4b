"""Checks the recipes of this folder: `make recipes-test`, in an environment with Conan and py-rattler-build.

python examples/packages/check_recipes.py <folder of the outputs>
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
EXPECTED = "score: 0.2008"
# The values that vcpkg's documentation has for a manifest; of `name` also the form.
MANIFEST = {"name", "version", "description", "license", "supports", "dependencies", "homepage", "features"}
PORT_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# What vcpkg gives a portfile, as far as these do the same with an installed tree.
VCPKG = """\
set(CURRENT_PORT_DIR "{port}")
set(CURRENT_PACKAGES_DIR "{packages}")
function(run)
  execute_process(COMMAND ${{ARGV}} COMMAND_ERROR_IS_FATAL ANY)
endfunction()
function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 call "" "SOURCE_PATH" "OPTIONS")
  run("${{CMAKE_COMMAND}}" -S "${{call_SOURCE_PATH}}" -B "{build}" -G Ninja -DCMAKE_BUILD_TYPE=Release
    "-DCMAKE_INSTALL_PREFIX={packages}" ${{call_OPTIONS}} ${{call_UNPARSED_ARGUMENTS}})
endfunction()
function(vcpkg_cmake_install)
  run("${{CMAKE_COMMAND}}" --build "{build}" --target install)
endfunction()
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 call "" "CONFIG_PATH" "")
  file(GLOB files "{packages}/${{call_CONFIG_PATH}}/*")
  file(INSTALL ${{files}} DESTINATION "{packages}/share/scorer")
endfunction()
function(vcpkg_fixup_pkgconfig)
endfunction()
function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 call "" "" "FILE_LIST")
  foreach(file IN LISTS call_FILE_LIST)
    file(READ "${{file}}" text)
    file(APPEND "{packages}/share/scorer/copyright" "${{text}}")
  endforeach()
endfunction()
include("{port}/portfile.cmake")
"""


def run(command: Sequence[str | Path], **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=HERE,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def conan(folder: Path) -> str:
    """`conan create` builds the package and runs the program of test_package with it."""
    tool = Path(sys.executable).with_name("conan")
    home = {"CONAN_HOME": str(folder / "conan")}
    recipe = folder / "conan-recipe"  # Conan builds the test program beside its recipe
    shutil.rmtree(recipe, ignore_errors=True)
    shutil.copytree(HERE, recipe)
    run([tool, "profile", "detect", "--exist-ok"], **home)
    run([tool, "inspect", recipe], **home)
    printed = run([tool, "create", recipe], **home)
    if EXPECTED not in printed.splitlines():
        raise SystemExit(f"conan: the test program did not print {EXPECTED!r}:\n{printed}")
    return f"{run([tool, '--version'], **home).strip()}: conan create built it, and test_package printed {EXPECTED!r}"


def conda(_: Path) -> str:
    """rattler-build's parser takes the recipes and renders them for Linux; packages are not at hand to build with."""
    import rattler_build

    # Of Linux, as the variants of a channel say it.
    libraries = rattler_build.VariantConfig({"c_stdlib": ["sysroot"], "c_stdlib_version": ["2.28"]})
    names = []
    for recipe in sorted((HERE / "conda").glob("*/recipe.yaml")):
        rendered = rattler_build.Stage0Recipe.from_yaml(recipe.read_text()).render(libraries)
        names += [variant.recipe.package.name for variant in rendered]
    if names != ["aotbuild", "scorer"]:
        raise SystemExit(f"conda: the recipes render to {names}")
    version = rattler_build.rattler_build_version()
    return f"rattler-build {version}: both recipes were parsed and rendered, not built"


def vcpkg(folder: Path) -> str:
    """The manifest has the form that is documented, and the portfile builds where functions stand in for vcpkg's."""
    port = HERE / "vcpkg/scorer"
    manifest = json.loads((port / "vcpkg.json").read_text())
    wrong = set(manifest) - MANIFEST
    names = [manifest["name"], *(entry["name"] for entry in manifest["dependencies"])]
    if wrong or manifest["name"] != port.name or not all(PORT_NAME.fullmatch(name) for name in names):
        raise SystemExit(f"vcpkg: the manifest is wrong: {sorted(wrong)} {names}")
    place = folder / "vcpkg"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    script = place / "port.cmake"
    script.write_text(VCPKG.format(port=port, packages=place / "packages", build=place / "build"))
    run(["cmake", "-P", script])
    licences = (place / "packages/share/scorer/copyright").read_text()
    if "Apache License" not in licences or not (place / "packages/share/scorer/scorerConfig.cmake").exists():
        raise SystemExit("vcpkg: the port installs no licence or no CMake package")
    return "vcpkg: the manifest was checked, and the portfile run with stand-ins for vcpkg's functions; vcpkg was not"


def spack(_: Path) -> str:
    """Spack's audit where it is installed; else the packages are read as the Python that they are."""
    packages = sorted((HERE / "spack/packages").glob("*/package.py"))
    tool = shutil.which("spack")
    if tool is not None:
        for name in ("scorer", "py-aotbuild"):
            run([tool, "--config", f"repos:aotbuild:{HERE / 'spack'}", "audit", "packages", name])
        return f"Spack {run([tool, '--version']).strip()}: spack audit packages found nothing"
    for package in packages:
        classes = [node for node in ast.parse(package.read_text()).body if isinstance(node, ast.ClassDef)]
        expected = "".join(word.capitalize() for word in package.parent.name.split("_"))
        if [made.name for made in classes] != [expected] or ast.get_docstring(classes[0]) is None:
            raise SystemExit(f"spack: {package.relative_to(HERE)} defines no class {expected} with a docstring")
    return "Spack: is not installed; its packages were read as Python alone"


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    for check in (conan, vcpkg, conda, spack):
        print(check(folder), flush=True)


if __name__ == "__main__":
    main()
