"""Many models at once, and a generator that is killed at any moment: never a race, never wrong bytes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cmake_project import HEAD, REPOSITORY, CMakeProject

MakeProject = Callable[..., CMakeProject]

MODELS = 8
# A build with Makefiles takes three times as long, and what is raced for is the same.
# `make reliability` does so hundreds of times.
CLEAN_BUILDS = {"Ninja": 8, "Unix Makefiles": 2}
KILLS = {"Ninja": 12, "Unix Makefiles": 4}


def test_eight_models_in_clean_parallel_builds(make_project: MakeProject, generator: str) -> None:
    names = [f"model{number}" for number in range(MODELS)]
    lists = HEAD + "".join(
        f"add_aot_model({name} MODEL model.py:build PARAMS add={number} NO_TEST)\n" for number, name in enumerate(names)
    )
    lists += f"add_executable(app main.cpp)\ntarget_link_libraries(app PRIVATE {' '.join(names)})\n"
    calls = " + ".join(f"{name}()()" for name in names)
    includes = "".join(f"#include <{name}.hpp>\n" for name in names)
    main = f'#include <cstdio>\n{includes}int main() {{ std::printf("%d", {calls}); }}\n'
    project = make_project(lists, {"main.cpp": main}, generator)
    # What is compiled is the same in each build: the compiler's time would be most of the test's.
    project.environment |= {"CCACHE_DIR": str(project.source.parent / "ccache")}
    launcher = [f"-DCMAKE_CXX_COMPILER_LAUNCHER={path}" for path in [shutil.which("ccache")] if path]
    project.configure(*launcher, "-DAOTBUILD_GENERATOR_JOBS=8")
    programs = set()
    for _ in range(CLEAN_BUILDS[generator]):
        project.build("clean")
        for name in names:
            shutil.rmtree(project.build_dir / f"{name}.aotbuild", ignore_errors=True)
        project.run("cmake", "--build", project.build_dir, "--parallel", "8")
        assert project.generated() == names
        assert project.program() == str(MODELS * 12 + sum(range(MODELS)))
        programs.add((project.build_dir / "app").read_bytes())
    assert len(programs) == 1


def test_killed_generator_leaves_a_build_that_recovers(make_project: MakeProject, generator: str) -> None:
    """kill -9 at random points of a run that changes everything, then a build: right bytes, and nothing left to do."""
    project = make_project(HEAD + "add_aot_model(encoder MODEL model.py:build NO_TEST)\n", generator=generator)
    project.environment["STANDIN_SLOW"] = "1"  # sleeps between the files, so that the kills fall everywhere
    project.configure()
    expected: dict[int, dict[str, bytes]] = {}
    output = project.build_dir / "encoder.aotbuild"

    def contents() -> dict[str, bytes]:
        files = [path for path in output.rglob("*") if path.is_file() and path.suffix not in (".stamp", ".d")]
        assert not [path for path in files if path.suffix == ".tmp"]
        return {str(path.relative_to(output)): path.read_bytes() for path in files}

    def change(value: int) -> None:
        project.write("helper.py", f"VALUE = {value}\n")
        project.write("weights.bin", bytes([value]) * 1000)

    for value in (1, 2):
        change(value)
        project.build("encoder.generate")
        expected[value] = contents()
    chance = random.Random(0)
    killed = 0
    for number in range(KILLS[generator]):
        value = 1 + number % 2
        change(value)
        environment = {**project.environment, "STANDIN_KILL_AFTER": str(chance.uniform(0, 0.08))}
        command = ["cmake", "--build", str(project.build_dir), "--target", "encoder.generate"]
        killed += subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0
        project.build("encoder.generate")
        assert contents() == expected[value], number
        project.generated()
        project.build("encoder.generate")
        assert project.generated() == [], number
    assert killed > KILLS[generator] / 2


WRITER = """
import sys
from pathlib import Path
from aotbuild.emit import write
value, output = sys.argv[1].encode(), Path(sys.argv[2])
files = {f"src/{n}.cpp": value * 100000 for n in range(20)} | {"m.manifest.json": value}
print("ready", flush=True)
sys.stdin.read(1)
write(files, output, output / "m.stamp", output / "m.d", [])
"""


def test_killed_writing_of_the_real_generator_is_repaired(tmp_path: Path) -> None:
    """The files of the real generator are either those of one run, or have no manifest; the next run mends them."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "python")}

    def run(value: str, kill_after: float | None) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, value, tmp_path],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # what is killed is the writing, not the start of Python
        process.stdin.write(b"x")
        process.stdin.flush()
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
        process.communicate()

    def values() -> set[bytes]:
        return {path.read_bytes()[:1] for path in (tmp_path / "src").glob("[!.]*.cpp")}

    run("a", None)
    chance = random.Random(1)
    for number in range(10):
        value = "ba"[number % 2]
        run(value, chance.uniform(0, 0.02))
        if (tmp_path / "m.manifest.json").exists():
            assert values() == {(tmp_path / "m.manifest.json").read_bytes()}
        run(value, None)
        assert values() == {value.encode()}
        assert (tmp_path / "m.manifest.json").read_bytes() == value.encode()
        assert not list(tmp_path.rglob("*tmp"))
