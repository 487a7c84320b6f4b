"""The wheel and the source distribution hold exactly what they should; what pip installed of the wheel works.

CMake finds it, and a scikit-build-core project makes a wheel with a model of it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROJECT = """\
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES CXX)
find_package(aotbuild REQUIRED)
add_compile_definitions(${DEFINITIONS})
add_aot_model(classifier MODEL classifier.py:build NO_TEST)
"""


def run(command: Sequence[str | Path], cwd: Path = ROOT, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AOTBUILD_", "PYTHON"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-build-isolation", "--no-deps", f"--config-settings=build-dir={folder / 'build'}"]
    # tools/bootstrap.sh compiled the same sources with the same flags.
    ccache = {"CMAKE_CXX_COMPILER_LAUNCHER": "ccache", "CCACHE_BASEDIR": str(folder / "build")}
    ccache = ccache if shutil.which("ccache") else {}
    run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, "."], ROOT, **ccache)
    (built,) = folder.glob("aotbuild-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel. Its dependencies are this one's: installing them again takes minutes."""
    environment = tmp_path_factory.mktemp("environment") / "env"
    run([sys.executable, "-m", "venv", environment])
    run([environment / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", wheel])
    version = f"python3.{sys.version_info.minor}"
    (environment / "lib" / version / "site-packages/dependencies.pth").write_text(sysconfig.get_path("platlib") + "\n")
    include = environment / "include"
    include.mkdir(exist_ok=True)
    for header in Path(sys.prefix, "include").glob("*"):
        if not (include / header.name).exists():
            (include / header.name).symlink_to(header)
    return environment


def sources(*folders: str) -> set[str]:
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders])
    return {name for name in listed.splitlines() if (ROOT / name).is_file()}


@pytest.mark.quick
def test_wheel_holds_the_package_the_cmake_code_and_the_runtime(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    version = wheel.name.split("-")[1]
    (runner,) = [name for name in names if name.startswith("aotbuild/_runner.") and name.endswith(".so")]
    units = [f"unity_{group}_cxx.cxx" for group in ("kernels", "model", "operators", "operators_selection", "tensor")]
    units += [Path(name).name for name in sources("cpp/src/base/*.cpp", "cpp/src/cuda/*.cpp", "cpp/src/weights/*.cpp")]
    units = [
        unit for unit in units if unit not in ("openmp_wasm.cpp", "system_wasm.cpp", "system_windows.cpp")
    ]  # other systems
    folders = ("include", "single_thread", "src", "testing", "tools", "torch", "triton", "vector_math", "wasm_threads")
    on_eigen = sources("cpp/src/operators/eigen/*.cpp")
    assert names == {
        *(name.removeprefix("python/") for name in sources("python/aotbuild")),
        *(f"aotbuild/{name}" for name in sources("cmake", *(f"cpp/{folder}" for folder in folders))),
        *(f"aotbuild-{version}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")),
        f"aotbuild-{version}.dist-info/sboms/aotbuild.cdx.json",
        *(f"aotbuild-{version}.dist-info/licenses/{name}" for name in sources("LICENSE", "cmake/private/licenses")),
        f"aotbuild-{version}.data/data/share/cmake/aotbuild/aotbuildConfig.cmake",
        f"aotbuild-{version}.data/data/share/cmake/aotbuild/aotbuildConfigVersion.cmake",
        runner,
        "aotbuild/runtime/runtime.cmake",
        *(f"aotbuild/runtime/{kind}/{unit}.o" for kind in ("static", "shared") for unit in units),
        *(f"aotbuild/runtime/eigen/{Path(name).name}.o" for name in on_eigen),
        *(f"aotbuild/runtime/sleef/{name}" for name in ("lib/libsleef.so.3", "include/sleef.h")),
    }


def test_bill_of_materials_names_what_is_compiled_into_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if ".dist-info/sboms/" in name]
        bill = json.loads(archive.read(name))
        licensed = {Path(name).stem for name in archive.namelist() if ".dist-info/licenses/cmake/" in name}
    about = bill["metadata"]["component"]
    assert (about["name"], about["version"]) == ("aotbuild", wheel.name.split("-")[1])
    versions = {one["name"]: one["version"] for one in bill["components"]}
    assert versions.keys() == {"eigen", "nlohmann-json", "pybind11", "sleef"}
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in versions.values())
    assert versions.keys() <= {name.lower() for name in licensed}


@pytest.mark.quick
def test_sdist_holds_what_builds_the_wheel(tmp_path: Path) -> None:
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    run([sys.executable, "-c", code, tmp_path])
    (built,) = tmp_path.glob("aotbuild-*.tar.gz")
    with tarfile.open(built) as archive:
        names = {entry.name.partition("/")[2] for entry in archive.getmembers() if entry.isfile()}
    assert names == {
        *sources("cmake", "cpp", "python"),
        *("CHANGELOG.md", "CMakeLists.txt", "LICENSE", "PKG-INFO", "README.md", "SECURITY.md", "pyproject.toml"),
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(PROJECT)
    shutil.copy(ROOT / "examples/quickstart/classifier.py", folder)
    return folder


def path_without_environments() -> str:
    """PATH without any environment's programs, and with CMake and Ninja wherever they are."""
    tools = {str(Path(found).parent) for name in ("cmake", "ninja") if (found := shutil.which(name))}
    return ":".join(["/usr/local/bin", "/usr/bin", "/bin", *sorted(tools)])


@pytest.mark.parametrize("how", ["active", "prefix", "aotbuild_DIR"])
def test_find_package(environment: Path, project: Path, how: str) -> None:
    path = path_without_environments()
    options = []
    if how == "active":
        path = f"{environment / 'bin'}:{path}"
    elif how == "prefix":
        options = [f"-DCMAKE_PREFIX_PATH={environment}"]
    else:
        cmake_dir = run([environment / "bin/python", "-m", "aotbuild", "--cmakedir"]).strip()
        assert Path(cmake_dir).is_relative_to(environment)
        options = [f"-Daotbuild_DIR={cmake_dir}"]
    build = project / "build"
    run(["cmake", "-S", project, "-B", build, "-G", "Ninja", *options], PATH=path)
    assert f"{environment}/bin/python" in (build / "build.ninja").read_text()
    if how == "active":  # the generator is the same in each case
        output = run(["cmake", "--build", build, "--target", "classifier.generate"], PATH=path)
        assert "aotbuild: classifier: wrote the sources in" in output


@pytest.mark.parametrize(
    ("option", "compiled"),
    [
        ("-DCMAKE_BUILD_TYPE=Release", False),
        ("-DCMAKE_BUILD_TYPE=Debug", False),
        ("-DAOTBUILD_PREBUILT_RUNTIME=OFF", True),
        ("-DCMAKE_CXX_FLAGS=-fsanitize=address", True),
        ("-DCMAKE_BUILD_TYPE=Custom;-DCMAKE_CXX_FLAGS_CUSTOM=-march=native", True),
        ("-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON", False),
        ("-DCMAKE_BUILD_TYPE=Release;-DDEFINITIONS=$<$<CONFIG:Debug>:_GLIBCXX_DEBUG>", False),
        ("-DCMAKE_BUILD_TYPE=Debug;-DDEFINITIONS=$<$<CONFIG:Debug>:_GLIBCXX_DEBUG>", True),
    ],
)
def test_the_runtime_is_compiled_where_the_packages_own_does_not_fit(
    environment: Path, project: Path, option: str, compiled: bool
) -> None:
    build = project / "build"
    options = [f"-DCMAKE_PREFIX_PATH={environment}", *option.split(";")]
    run(["cmake", "-S", project, "-B", build, "-G", "Ninja", *options], PATH=path_without_environments())
    planned = run(["ninja", "-C", build, "-n", "aotbuild_runtime"])
    assert ("Building CXX object" in planned) == compiled
    assert "Linking CXX static library libaotbuild_runtime.a" in planned


@pytest.mark.parametrize(("compiler", "compiled"), [("5", False), ("99", True)])
def test_objects_of_an_earlier_compiler_fit_and_of_a_later_one_do_not(
    environment: Path, project: Path, compiler: str, compiled: bool
) -> None:
    (description,) = (environment / "lib").glob("python*/site-packages/aotbuild/runtime/runtime.cmake")
    text = description.read_text()
    changed = re.sub(r'AOTBUILD_PREBUILT_COMPILER "\d+"', f'AOTBUILD_PREBUILT_COMPILER "{compiler}"', text)
    assert changed != text
    description.write_text(changed)
    try:
        build = project / "build"
        options = [f"-DCMAKE_PREFIX_PATH={environment}"]
        run(["cmake", "-S", project, "-B", build, "-G", "Ninja", *options], PATH=path_without_environments())
        assert ("Building CXX object" in run(["ninja", "-C", build, "-n", "aotbuild_runtime"])) == compiled
    finally:
        description.write_text(text)


def without_libraries(folder: Path) -> Path:
    """A toolchain file for a machine that has a compiler, and none of the libraries in Debian's packages."""
    hidden = [f"{folder}/{platform.machine()}-linux-gnu" for folder in ("/lib", "/usr/lib", "/usr/include")]
    hidden += ["/usr/include", "/usr/include/eigen3"]
    file = folder / "bare.cmake"
    # OpenMP's threads are a part of glibc.
    file.write_text(f'set(CMAKE_IGNORE_PATH "{";".join(hidden)}")\nset(OpenMP_pthread_LIBRARY pthread)\n')
    return file


def test_doctor_finds_the_wheels_own_runtime_enough(environment: Path, tmp_path: Path) -> None:
    path = f"{environment / 'bin'}:{path_without_environments()}"
    command: list[str | Path] = [environment / "bin/python", "-m", "aotbuild", "doctor"]
    printed = run(command, PATH=path, CMAKE_TOOLCHAIN_FILE=str(without_libraries(tmp_path)))
    (line,) = re.findall(r"^\w+ +runtime +(.*)$", printed, re.MULTILINE)
    assert re.fullmatch(r"Sleef \S+/libsleef\.so\.3; compiled, of the Python package; with Eigen", line)


def test_the_quickstart_is_built_by_the_wheel_and_a_compiler(environment: Path, tmp_path: Path) -> None:
    """No Sleef, Eigen or JSON library of the system: what the wheel brings is all that the runtime needs."""
    source, build = tmp_path / "quickstart", tmp_path / "build"
    shutil.copytree(ROOT / "examples/quickstart", source)
    lists = source / "CMakeLists.txt"
    lists.write_text(lists.read_text().replace("classifier.py:build)", "classifier.py:build NO_TEST)"))
    path = f"{environment / 'bin'}:{path_without_environments()}"
    start = time.perf_counter()
    options = ["-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_TOOLCHAIN_FILE={without_libraries(tmp_path)}"]
    run(["cmake", "-S", source, "-B", build, "-G", "Ninja", *options], PATH=path)
    planned = run(["ninja", "-C", build, "-n", "aotbuild_runtime"], PATH=path)
    assert "Building CXX object" not in planned
    run(["cmake", "--build", build], PATH=path)
    first = run([build / "quickstart"])
    print(f"configure, first build and first result of the quickstart: {time.perf_counter() - start:.1f} s")
    eager = "import classifier; module, inputs = classifier.build(); print(module(*inputs)[0, 0].item())"
    assert float(first) == pytest.approx(float(run([sys.executable, "-c", eager], cwd=source)), rel=1e-5)
    cached = (build / "CMakeCache.txt").read_text()
    for kind in ("LIBRARY:FILEPATH", "INCLUDE_DIR:PATH"):
        assert f"AOTBUILD_SLEEF_{kind}={environment}/lib" in cached


def test_the_wheel_runs_on_the_distributions_that_its_tag_names(wheel: Path, tmp_path: Path) -> None:
    run([sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", tmp_path, wheel])
    (repaired,) = tmp_path.glob("aotbuild-*.whl")
    found = re.search(rf"manylinux_2_(\d+)_{platform.machine()}", repaired.name)
    assert found, repaired.name
    assert int(found[1]) <= 36  # Debian 12
    # The objects of the runtime ask for no later C library than the runner, whose symbols auditwheel has read.
    with zipfile.ZipFile(repaired) as archive:
        names = [name for name in archive.namelist() if name.startswith("aotbuild/runtime/")]
        archive.extractall(tmp_path, names)
    runtime = tmp_path / "aotbuild/runtime"
    objects = [*runtime.glob("shared/*.o"), *runtime.glob("eigen/*.o")]
    library = tmp_path / "libruntime.so"
    run(["g++", "-shared", "-fopenmp", "-o", library, *objects, runtime / "sleef/lib/libsleef.so.3", "-ldl"])
    symbols = run(["objdump", "-T", library])
    assert max(int(minor) for minor in re.findall(r"GLIBC_2\.(\d+)", symbols)) <= int(found[1])


def test_other_sources_than_the_packages_own_are_compiled(environment: Path, project: Path) -> None:
    build = project / "build"
    options = [f"-DCMAKE_PREFIX_PATH={environment}"]
    run(["cmake", "-S", project, "-B", build, "-G", "Ninja", *options], PATH=path_without_environments())
    run(["ninja", "-C", build, "aotbuild_runtime"])
    assert "no work to do" in run(["ninja", "-C", build, "aotbuild_runtime"])
    (source,) = (environment / "lib").glob("python*/site-packages/aotbuild/cpp/src/base/error.cpp")
    text = source.read_text()
    source.write_text(text + "\n")
    try:
        run(["cmake", "-S", project, "-B", build])
        assert "Building CXX object" in run(["ninja", "-C", build, "-n", "aotbuild_runtime"])
    finally:
        source.write_text(text)


def test_wheel_with_a_model(environment: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "examples/python_wheel", source)
    # The exact list is of the files, not of the compiler's optimisations: without them it is built in half the time.
    options = ["--no-build-isolation", "--no-deps", "--config-settings=cmake.build-type=Debug"]
    tools = f"{environment / 'bin'}:{path_without_environments()}"
    run([environment / "bin/python", "-m", "pip", "wheel", *options, "--wheel-dir", tmp_path, source], PATH=tools)
    (wheel,) = tmp_path.glob("sentiment-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    module = f"sentiment/_classifier{sysconfig.get_config_var('EXT_SUFFIX')}"
    assert names == {
        "sentiment/__init__.py",
        "sentiment/_classifier.pyi",
        "sentiment/libaotbuild_runtime_shared.so.0.1.0",
        "sentiment/libclassifier.so",
        *(f"sentiment/licenses/{name}.txt" for name in ("Eigen", "PyTorch", "Sleef", "aotbuild", "nlohmann-json")),
        "sentiment/libsleef.so.3",
        "sentiment/sbom.cdx.json",
        "sentiment/py.typed",
        *(f"sentiment-1.0.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")),
        module,
    }

    # Somebody else's machine: NumPy, and neither PyTorch nor aotbuild.
    bare = tmp_path / "bare"
    run([sys.executable, "-m", "venv", bare])
    run([bare / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", wheel])
    packages = bare / f"lib/python3.{sys.version_info.minor}/site-packages"
    for name in ("numpy", "numpy.libs"):
        if (installed := Path(sysconfig.get_path("platlib"), name)).exists():
            (packages / name).symlink_to(installed)
    code = (
        "import importlib.util, numpy as np, sentiment\n"
        "assert not any(importlib.util.find_spec(name) for name in ('torch', 'aotbuild'))\n"
        "print(sentiment.probabilities(np.arange(12).reshape(2, 6)).tolist())"
    )
    shown = run([bare / "bin/python", "-c", code], cwd=tmp_path).strip()
    eager = (
        f"import sys; sys.path.insert(0, {str(source)!r}); import classifier, torch; m = classifier.build(); "
        "print(m.module(*m.example_inputs)['probabilities'].tolist())"
    )
    expected = run([sys.executable, "-c", eager]).strip()
    numbers = [[float(n) for n in text.replace("[", "").replace("]", "").split(",")] for text in (shown, expected)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)

    use = tmp_path / "use.py"
    use.write_text(
        "import numpy as np\nfrom numpy.typing import NDArray\nfrom sentiment._classifier import Classifier\n"
        "ids: NDArray[np.int64] = np.ones((1, 2), np.int64)\n"
        'good: NDArray[np.float32] = Classifier(num_threads=1)(ids)["logits"]\n'
        "Classifier()(words=ids)\n"
    )
    checked = run(
        ["sh", "-c", f"'{sys.executable}' -m mypy --strict --python-executable '{bare}/bin/python' use.py || true"],
        cwd=tmp_path,
    )
    assert 'use.py:6: error: Unexpected keyword argument "words" for overloaded function' in checked
    assert "Found 1 error in 1 file" in checked
