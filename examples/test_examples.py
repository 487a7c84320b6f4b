"""Each example is built as its README says, and prints what stands there: `make test-examples`.

Those that need more than CMake and a compiler have tests of their own below tests/.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aotbuild.spec.paths import cmake_directory

EXAMPLES = Path(__file__).parent
sys.path.insert(0, str(EXAMPLES))
from draw_outputs import blocks  # noqa: E402  # pytest's importlib mode adds no folder to sys.path

BUILT = (
    "quickstart",
    "from_c",
    "from_rust",
    "streaming",
    "game_loop",
    "image_classifier",
    "tabular",
    "robot_node",
)
# Their commands take models of a size, servers or GPUs.
ELSEWHERE = {
    "semantic_search": "make demo",
    "python_wheel": "tests/packaging/test_distributions.py",
    "serving": "make serve-test",
    "generate": "tests/models/model_zoo.py, benchmarks/generate.py",
    "cuda_models": "make package-gpu-tests",
    "triton_kernel": "tests/cmake/test_kernel_example.py",
    "container": "test_the_containerfiles_commands_build_a_project",
    "ci": "test_the_workflows_steps_build_a_project",
    "packages": "make recipes-test",
}


def run(command: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_example_has_a_page_and_a_test() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert names == {*BUILT, *ELSEWHERE}
    assert all((EXAMPLES / name / "README.md").exists() for name in names)


@pytest.mark.parametrize("name", BUILT)
def test_the_example_prints_what_its_page_says(name: str, tmp_path: Path) -> None:
    if name == "from_rust" and shutil.which("cargo") is None:
        pytest.skip("needs cargo")
    shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("build"))
    if name == "from_rust":
        shutil.copytree(EXAMPLES / "from_c", tmp_path / "from_c")
    commands, printed = blocks((EXAMPLES / name / "README.md").read_text())
    found = f'cmake -B build -Daotbuild_DIR="{cmake_directory()}" -DAOTBUILD_PYTHON="{sys.executable}" -G Ninja'
    build, *rest = commands.replace(" && build/", "\nbuild/").splitlines()
    run(build.replace("cmake -B build", found), tmp_path / name)
    assert "".join(run(command, tmp_path / name) for command in rest) == printed


def test_containerfile_has_two_stages() -> None:
    text = (EXAMPLES / "container/Containerfile").read_text()
    words = [line.split()[0] for line in re.sub(r"\\\n", "", text).splitlines() if line and not line.startswith("#")]
    assert set(words) <= {"FROM", "RUN", "ENV", "COPY", "WORKDIR", "USER", "ENTRYPOINT"}
    assert words.count("FROM") == 2
    last = text.rpartition("FROM")[2]
    assert "COPY --from=build" in last
    assert "pip" not in last


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What `aotbuild init` writes."""
    folder = tmp_path / "hello"
    run(f"{sys.executable} -m aotbuild init {folder}", tmp_path)
    return folder


def environment_of_this_python() -> str:
    """As in a virtual environment with aotbuild, which `pip install aotbuild` then leaves as it is."""
    return f'export PATH="{Path(sys.executable).parent}:$PATH"\n'


def printed_by(page: str) -> str:
    """What the last block of an example's page says that a program prints."""
    return blocks((EXAMPLES / page / "README.md").read_text())[-1]


def test_the_containerfiles_commands_build_a_project(project: Path) -> None:
    """Those of the first stage behind the installation of packages, and then the program with an empty environment."""
    text = re.sub(r"\\\n", "", (EXAMPLES / "container/Containerfile").read_text())
    lines = re.findall(r"^RUN (?:--mount=\S+ )*(.*)", text[: text.rindex("FROM")], re.MULTILINE)
    commands = [line for line in lines if "cmake --preset" in line]
    assert len(lines) == 4, lines
    assert len(commands) == 1
    run(environment_of_this_python() + commands[0].replace("/models", str(project.parent / "models")), project)
    assert run("env -i build/hello", project) == printed_by("container")


def test_the_workflows_steps_build_a_project(project: Path) -> None:
    """All that install no package of the system's."""
    workflow = yaml.safe_load((EXAMPLES / "ci/aotbuild.yml").read_text())
    steps = [step for step in workflow["jobs"]["build"]["steps"] if "run" in step and "apt-get" not in step["run"]]
    assert [step["run"].split()[0] for step in steps] == ["pip", "aotbuild", "cmake"]
    printed = ""
    for step in steps:
        variables = "export AOTBUILD=aotbuild PRESET=release\n"
        printed = run(environment_of_this_python() + variables + step["run"], project)
    assert printed_by("ci").strip() in printed


def test_workflow_has_the_inputs_that_its_steps_use() -> None:
    text = (EXAMPLES / "ci/aotbuild.yml").read_text()
    workflow = yaml.safe_load(text)
    given = workflow[True]["workflow_call"]["inputs"]  # YAML 1.1 reads the key `on` as true
    assert set(re.findall(r"inputs\.(\w+)", text)) == set(given)
    steps = workflow["jobs"]["build"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)
