"""No two projects, and no two states of one, are ever confused by a cache that they share; the same ones share results.

Each build below runs in a process of its own: it loads a model file as the generator does, and its result is what the
model computes. A build through the cache has to give what one without it gives.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aotbuild import cache
from aotbuild.capture import load_named

pytestmark = pytest.mark.quick
Change = Callable[[Path], object]


@dataclass
class Build:
    """One run of the stand-in for the generator; ``answer`` is what the model computes, or the error's kind."""

    model: str = "model.py:build"
    settings: Mapping[str, Any] = field(default_factory=dict)
    project: str = "."
    environment: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    edit: Change | None = None  # while the model is made


def run(build: Build, folder: Path, store: Path | None) -> tuple[str, bool]:
    """What the build of a folder gives, and whether the cache had it."""
    receiver, sender = multiprocessing.get_context("fork").Pipe(False)
    process = multiprocessing.get_context("fork").Process(target=_child, args=(sender, build, folder, store))
    process.start()
    answer, hit, error = receiver.recv()
    process.join()
    assert not error, error
    return answer, hit


def _child(sender: Any, build: Build, folder: Path, directory: Path | None) -> None:
    try:
        os.chdir(folder)
        os.environ.update(build.environment)
        sys.path[:0] = [str(folder), *build.path]
        for name in ("colorsys", "model", "helper", "package", "package.part", "faster"):
            sys.modules.pop(name, None)  # other tests of this process may have imported modules of these names
        sys.dont_write_bytecode = directory is None
        sender.send((*_result(build, folder, directory), ""))
    except BaseException:
        sender.send(("", False, traceback.format_exc()))


def _result(build: Build, folder: Path, directory: Path | None) -> tuple[str, bool]:
    base = folder
    project = Path(os.path.normpath(folder / build.project))
    if directory is None:
        return _made(build, base)[0], False
    store = cache.Store(directory, 1 << 24, lambda text: None)
    asked = cache.request(build.settings, build.model, base, project)
    if asked is None:
        return _made(build, base)[0], False
    hit = cache.find(store, asked)
    if hit is not None:
        return hit.files["answer"].decode(), True
    with cache.recorded(asked.places, asked.environment) as recording:
        answer, files = _made(build, base)
    if "raised" not in answer:
        cache.keep(store, asked, {"answer": answer.encode()}, files, recording)
    return answer, False


def _made(build: Build, base: Path) -> tuple[str, set[Path]]:
    if build.model.endswith(".pt2"):
        path = base / build.model
        return hashlib.sha256(path.read_bytes()).hexdigest(), {path}
    try:
        function, files, _ = load_named("MODEL", build.model, base, "")
        answer = str(function(**build.settings))
    except Exception as error:
        return f"raised {type(error).__name__}", set()
    if build.edit is not None:
        build.edit(base)
    return answer, files


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


# One project that reads in every way there is. Each entry of CHANGES is a project that differs from it in one thing.
PROJECT = {
    "model.py": """\
import colorsys
import glob
import json
import os
from pathlib import Path

import helper
import package.part
try:
    import faster
except ImportError:
    faster = None

HERE = Path(__file__).parent


def build(scale=1):
    values = [colorsys.ONE_THIRD > 0, helper.VALUE, package.part.VALUE, faster and faster.VALUE, scale]
    values.append((HERE / "data.txt").read_text())
    values.append(Path("data.txt").read_text())
    values.append(json.loads((HERE.resolve() / "settings.json").read_text()))
    values.append((HERE / "fitted.txt").exists())
    values.append(os.path.isdir(HERE / "folder"))
    values.append(os.environ.get("MODEL_SIZE", "small"))
    values.append("MODEL_DEBUG" in os.environ)
    values.append(os.getenv("MODEL_KIND"))
    values.append(sorted(map(os.path.basename, glob.glob(str(HERE / "parts" / "*.txt")))))
    values.append(len(os.listdir(HERE / "parts")))
    try:
        values.append(open(HERE / "optional.txt").read())
    except FileNotFoundError:
        values.append(None)
    values.append((HERE / "current").resolve().joinpath("weights.txt").read_text())
    return values
""",
    "helper.py": "VALUE = 1\n",
    "package/__init__.py": "",
    "package/part.py": "VALUE = 2\n",
    "data.txt": "3",
    "settings.json": "{}",
    "parts/a.txt": "4",
    "versions/1/weights.txt": "5",
    "versions/2/weights.txt": "6",
}


def text(name: str, content: str) -> Change:
    return lambda folder: write(folder, {name: content})


def gone(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def relinked(folder: Path) -> None:
    (folder / "current").unlink()
    (folder / "current").symlink_to("versions/2")


CHANGES: dict[str, Change] = {
    "nothing": lambda folder: None,
    "a file that is not read": text("other.txt", "1"),
    "the model": lambda folder: write(folder, {"model.py": PROJECT["model.py"].replace("scale]", "-scale]")}),
    "an imported module": text("helper.py", "VALUE = 7\n"),
    "a module of a package": text("package/part.py", "VALUE = 9\n"),
    "a package's own module": text("package/__init__.py", "import helper\n\nhelper.VALUE = 6\n"),
    "a module that was missing": text("faster.py", "VALUE = 9\n"),
    "a package that was missing": text("faster/__init__.py", "VALUE = 8\n"),
    "a package that shadows a module": text("helper/__init__.py", "VALUE = 9\n"),
    "a package that shadows a package's module": text("package/part/__init__.py", "VALUE = 8\n"),
    "data": text("data.txt", "9"),
    "settings": text("settings.json", '{"a": 1}'),
    "a file that was missing": text("optional.txt", "9"),
    "a file whose existence counts": text("fitted.txt", ""),
    "a folder whose existence counts": text("folder/file", ""),
    "one more file of a folder": text("parts/b.txt", "4"),
    "a link": relinked,
    "a target of a link": text("versions/1/weights.txt", "9"),
    "a file of the standard library's name": text("colorsys.py", "ONE_THIRD = -1\n"),
}
ENVIRONMENTS: dict[str, Mapping[str, str]] = {
    "a variable": {"MODEL_SIZE": "large"},
    "an empty variable": {"MODEL_DEBUG": ""},
    "a variable that was missing": {"MODEL_KIND": "a"},
    "a variable of torch": {"TORCHINDUCTOR_FREEZING": "1"},
}


def make_project(folder: Path, change: Change = CHANGES["nothing"]) -> Path:
    write(folder, PROJECT)
    (folder / "current").symlink_to("versions/1")
    change(folder)
    return folder


def test_projects_that_differ_in_one_thing_are_never_confused(tmp_path: Path) -> None:
    """All of them share one cache, so each is built beside the results of all others, twice."""
    projects = {name: make_project(tmp_path / str(i) / "p", change) for i, (name, change) in enumerate(CHANGES.items())}
    plain = projects["nothing"]
    builds = [(name, folder, Build()) for name, folder in projects.items()]
    builds += [(name, plain, Build(environment=environment)) for name, environment in ENVIRONMENTS.items()]
    builds += [(f"PARAMS scale={scale}", plain, Build(settings={"scale": scale})) for scale in (1, 2)]
    truth = {name: run(build, folder, None)[0] for name, folder, build in builds}
    assert len(set(truth.values())) == len(truth) - 3  # nothing, what is not read, and scale=1; torch's is not read
    store = tmp_path / "cache"
    for repeat in range(2):
        for name, folder, build in builds[:: 1 - 2 * repeat]:
            answer, hit = run(build, folder, store)
            assert answer == truth[name], name
            assert hit or repeat == 0, name


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_one_folder_and_its_undoing_are_seen(tmp_path: Path, name: str) -> None:
    """In place, at once: in files of the same size and of times that are a few milliseconds apart."""
    folder, store = make_project(tmp_path / "one"), tmp_path / "cache"
    before = run(Build(), folder, store)[0]
    CHANGES[name](folder)
    changed, hit = run(Build(), folder, store)
    assert changed == run(Build(), folder, None)[0]
    assert hit == (changed == before)
    shutil.rmtree(folder)
    make_project(folder)
    assert run(Build(), folder, store) == (before, True)


@pytest.mark.parametrize("name", ["data.txt", "helper.py", "package/part.py", "settings.json", "current"])
def test_missing_files_are_missed_in_another_folder(tmp_path: Path, name: str) -> None:
    store = tmp_path / "cache"
    assert "raised" not in run(Build(), make_project(tmp_path / "one"), store)[0]
    other = make_project(tmp_path / "two")
    (other / name).unlink()
    assert run(Build(), other, store) == (run(Build(), other, None)[0], False)


def test_the_model_file_itself_missing_is_no_hit(tmp_path: Path) -> None:
    store = tmp_path / "cache"
    for model in ("model.py:build", "model:build", "model.pt2"):
        one, two = tmp_path / f"one-{model}", tmp_path / f"two-{model}"
        write(one, {"model.py": "def build():\n    return 1\n", "model.pt2": "1"})
        two.mkdir()
        run(Build(model), one, store)
        assert run(Build(model), one, store)[1]
        assert cache.request({}, model, two) is None


@pytest.mark.parametrize(
    "model", ["model.py:build", "model:build", "pack.model:build", "sub/model.py:build", "model.pt2"]
)
def test_the_models_own_bytes_are_part_of_its_identity(tmp_path: Path, model: str) -> None:
    store = tmp_path / "cache"
    for number, name in enumerate(["one", "two", "three"]):
        source = f"def build():\n    return {number}\n"
        names = ("model.py", "pack/model.py", "sub/model.py")
        folder = write(
            tmp_path / name, {**dict.fromkeys(names, source), "pack/__init__.py": "", "model.pt2": str(number)}
        )
        answer, hit = run(Build(model), folder, store)
        assert (answer, hit) == (run(Build(model), folder, None)[0], False)
        assert run(Build(model), folder, store) == (answer, True)


READS_ABSOLUTE = """\
from pathlib import Path


def build():
    return Path({path!r}).read_text()
"""


@pytest.mark.parametrize("inside", [True, False], ids=["in the first project", "in a shared folder"])
def test_files_at_absolute_paths_are_read_there(tmp_path: Path, inside: bool) -> None:
    """Of three checkouts, all with a copy of the file, the model reads the one that it has written out."""
    store = tmp_path / "cache"
    data = tmp_path / ("one/data/w.txt" if inside else "data/w.txt")
    source = READS_ABSOLUTE.format(path=str(data))
    folders = [
        write(tmp_path / name, {"model.py": source, "data/w.txt": "1"}) for name in ("one", "two", "deeper/three")
    ]
    for content in ("1", "2", "3"):
        write(data.parent, {data.name: content})
        for folder in folders:
            assert run(Build(), folder, store)[0] == content
            assert run(Build(), folder, store) == (content, True)
    data.unlink()
    for folder in folders:
        assert run(Build(), folder, store) == ("raised FileNotFoundError", False)


READS_BESIDE = """\
import sys
from pathlib import Path

SHARED = Path(__file__).parents[1] / "shared"
sys.path.insert(0, str(SHARED))
import common


def build():
    return common.VALUE, (SHARED / "w.txt").read_text()
"""


@pytest.mark.parametrize("name", ["shared/w.txt", "shared/common.py", "shared/common/__init__.py", "nothing"])
@pytest.mark.parametrize("project", [".", ".."], ids=["outside of the project", "of the project"])
def test_files_beside_the_models_folder_are_those_of_the_same_checkout(tmp_path: Path, name: str, project: str) -> None:
    store = tmp_path / "cache"
    files = {"model/model.py": READS_BESIDE, "shared/w.txt": "1", "shared/common.py": "VALUE = 1\n"}
    one, two = (write(tmp_path / checkout, files) / "model" for checkout in ("one", "two"))
    build = Build(project=project)
    run(build, one, store)
    if name != "nothing":
        write(two.parent, {name: "VALUE = 2\n"})
    answer, hit = run(build, two, store)
    assert answer == run(build, two, None)[0]
    assert hit == (name == "nothing" and project == "..")
    if name != "nothing" and (two.parent / name).exists():
        (two.parent / name).unlink()
        assert run(build, two, store)[0] == run(build, two, None)[0]


def test_a_checkout_that_is_gone_leaves_its_results_to_the_next(tmp_path: Path) -> None:
    store = tmp_path / "cache"
    answer, _ = run(Build(), make_project(tmp_path / "1" / "p"), store)
    shutil.rmtree(tmp_path / "1")
    assert run(Build(), make_project(tmp_path / "2" / "p"), store) == (answer, True)


def test_results_name_the_files_of_the_build_that_asks(tmp_path: Path) -> None:
    store = cache.Store(tmp_path / "cache", 1 << 20)
    make_project(tmp_path / "one")
    run(Build(), tmp_path / "one", store.directory)
    two = make_project(tmp_path / "two")
    asked = _request_in(two)
    hit = cache.find(store, asked)
    assert hit is not None
    assert {path.parts[len(two.parts)] for path in hit.dependencies} == {"model.py", "helper.py", "package"}
    assert all(path.is_relative_to(two) for path in hit.dependencies)


def _request_in(folder: Path) -> cache.Request:
    before, path = os.getcwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        asked = cache.request({}, "model.py:build", folder)
    finally:
        os.chdir(before)
        sys.path[:] = path
    assert asked is not None
    return asked


def test_a_module_in_an_earlier_folder_of_the_path_wins(tmp_path: Path) -> None:
    store = tmp_path / "cache"
    first, second = tmp_path / "first", write(tmp_path / "second", {"library.py": "VALUE = 2\n"})
    first.mkdir()
    source = "import library\n\ndef build():\n    return library.VALUE\n"
    folder = write(tmp_path / "one", {"model.py": source})
    build = Build(path=(str(first), str(second)))
    assert run(build, folder, store) == ("2", False)
    assert run(build, folder, store) == ("2", True)
    write(first, {"library.py": "VALUE = 1\n"})
    assert run(build, folder, store) == ("1", False)
    write(folder, {"library.py": "VALUE = 0\n"})
    assert run(build, folder, store) == ("0", False)
    assert run(Build(path=(str(second), str(first))), write(tmp_path / "two", {"model.py": source}), store)[0] == "2"


@pytest.mark.parametrize("how", ["another content of the same version", "another version", "one file edited"])
def test_installed_packages_count_by_content(tmp_path: Path, how: str) -> None:
    """Two environments in which packages of one name and version differ, as after `pip install .` of two checkouts."""
    store = tmp_path / "cache"

    def install(name: str, value: int, version: str = "1.0") -> str:
        site = tmp_path / name / "site-packages"
        source = f"VALUE = {value}\n"
        record = f"lib{'' if how == 'another version' else value}.py,sha256={value},9\n../../bin/x,sha256={name},1\n"
        write(site, {"lib.py": source, f"lib-{version}.dist-info/RECORD": record})
        return str(site)

    folder = write(tmp_path / "one", {"model.py": "import lib\n\ndef build():\n    return lib.VALUE\n"})
    first, same = install("env1", 1), install("env2", 1)
    assert run(Build(path=(first,)), folder, store) == ("1", False)
    assert run(Build(path=(same,)), folder, store) == ("1", True)
    if how == "one file edited":
        write(Path(same), {"lib.py": "VALUE = 2\n"})
    else:
        same = install("env3", 2, "1.1" if how == "another version" else "1.0")
    assert run(Build(path=(same,)), folder, store) == ("2", False)


@pytest.mark.parametrize("model", ["model.py:build", "lib:build"])
def test_a_finder_of_an_editable_package_decides_where_a_module_is(tmp_path: Path, model: str) -> None:
    """One environment in which the package of the first checkout is installed as editable, for both checkouts."""
    store = tmp_path / "cache"
    source = "def build():\n    return VALUE\n"
    files = {"src/lib.py": "VALUE = 1\n" + source, "model.py": "import lib\n\ndef build():\n    return lib.VALUE\n"}
    one, two = write(tmp_path / "one", files), write(tmp_path / "two", files)
    site = write(tmp_path / "site-packages", {"editable.py": EDITABLE.format(path=str(one / "src/lib.py"))})

    def built(folder: Path) -> str:
        return run(Build(model, path=(str(site),), edit=None, settings={}), folder, store)[0]

    sys.path.insert(0, str(site))
    import editable  # type: ignore[import-not-found]

    try:
        sys.meta_path.append(editable.Finder)
        assert [built(one), built(two)] == ["1", "1"]
        write(one, {"src/lib.py": "VALUE = 2\n" + source})
        assert [built(two), built(one)] == ["2", "2"]
    finally:
        sys.meta_path.remove(editable.Finder)
        sys.path.remove(str(site))
        del sys.modules["editable"]


EDITABLE = """\
import importlib.util


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, {path!r}) if name == "lib" else None
"""


@pytest.mark.parametrize("name", ["model.py", "helper.py", "data.txt", "parts/b.txt", "fitted.txt", "faster.py"])
def test_what_changes_while_the_model_is_made_is_not_kept(tmp_path: Path, name: str) -> None:
    """The result is of the old content, and the next build asks with the new one."""
    store = tmp_path / "cache"
    folder = make_project(tmp_path / "one")
    new = PROJECT["model.py"].replace("scale]", "-scale]") if name == "model.py" else "VALUE = 9"
    write(tmp_path, {"new": new})
    # As an editor does: in another process.
    run(
        Build(edit=lambda base: subprocess.run(["cp", tmp_path / "new", base / name], check=True)),
        folder,
        store,
    )
    assert run(Build(), folder, store) == (run(Build(), folder, None)[0], False)


def test_a_file_that_the_model_makes_is_read_from_then_on(tmp_path: Path) -> None:
    source = """\
from pathlib import Path

MADE = Path(__file__).parent / "made.txt"


def build():
    if not MADE.exists():
        MADE.write_text("7")
    return MADE.read_text()
"""
    folder, store = write(tmp_path / "one", {"model.py": source}), tmp_path / "cache"
    assert run(Build(), folder, store) == ("7", False)
    assert run(Build(), folder, store) == ("7", False)  # the first build found another state of the folder
    assert run(Build(), folder, store) == ("7", True)
    write(folder, {"made.txt": "8"})
    assert run(Build(), folder, store) == ("8", False)


def test_native_readers_are_seen(tmp_path: Path) -> None:
    """torch's and safetensors' own code opens files without Python's `open`."""
    import torch
    from safetensors.torch import save_file

    source = """\
from pathlib import Path
import torch
from safetensors import safe_open
from safetensors.torch import load_file

HERE = Path(__file__).parent


def build():
    with safe_open(HERE / "a.safetensors", "pt") as file:
        values = [file.get_tensor("x").item()]
    values.append(load_file(HERE / "b.safetensors")["x"].item())
    values.append(torch.load(HERE / "c.pt").item())
    values.append(torch.load(HERE / "d.pt", mmap=True).item())
    program = torch.export.load(str(HERE / "e.pt2"))
    values.append(program.module()(torch.zeros(1)).item())
    return values
"""

    class Constant(torch.nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = torch.nn.Buffer(torch.tensor([value]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.value

    folder, store = write(tmp_path / "one", {"model.py": source}), tmp_path / "cache"
    writers: dict[str, Callable[[Path, float], Any]] = {
        "a.safetensors": lambda path, value: save_file({"x": torch.tensor(value)}, path),
        "b.safetensors": lambda path, value: save_file({"x": torch.tensor(value)}, path),
        "c.pt": lambda path, value: torch.save(torch.tensor(value), path),
        "d.pt": lambda path, value: torch.save(torch.tensor(value), path),
        "e.pt2": lambda path, value: torch.export.save(
            torch.export.export(Constant(value), (torch.zeros(1),)), str(path)
        ),
    }
    for name, writer in writers.items():
        writer(folder / name, 1.0)
    assert run(Build(), folder, store) == ("[1.0, 1.0, 1.0, 1.0, 1.0]", False)
    assert run(Build(), folder, store)[1]
    for index, (name, writer) in enumerate(writers.items()):
        writer(folder / name, 2.0)
        assert run(Build(), folder, store) == (str([2.0] * (index + 1) + [1.0] * (4 - index)), False), name


def test_passwords_in_variables_are_not_in_the_cache(tmp_path: Path) -> None:
    source = "import os\n\ndef build():\n    return len(os.environ['TOKEN'])\n"
    folder, store = write(tmp_path / "one", {"model.py": source}), tmp_path / "cache"
    run(Build(environment={"TOKEN": "correct-horse"}), folder, store)
    kept = [path.read_bytes() for path in store.rglob("*") if path.is_file()]
    assert len(kept) == 2
    assert not any(b"correct-horse" in data for data in kept)


def test_settings_model_and_toolchain_make_the_key(tmp_path: Path) -> None:
    write(tmp_path, {"model.py": "", "version.py": "2.13"})
    tool = tmp_path / "version.py"
    settings: dict[str, Any] = {"cpu_isa": ["avx2"], "options": {}}

    def key(settings: dict[str, Any], model: str) -> str:
        asked = cache.request(settings, model, tmp_path, None, [tool])
        assert asked is not None
        return asked.key

    base = key(settings, "model.py:build")
    assert key(settings, f"{tmp_path}/model.py:build") == base
    different = [
        key({**settings, "options": {"a": "1"}}, "model.py:build"),
        key({**settings, "cpu_isa": ["native"]}, "model.py:build"),
        key(settings, "model.py:other"),
    ]
    tool.write_text("2.14")
    different.append(key(settings, "model.py:build"))
    assert len({base, *different}) == 5


def test_entries_are_json_without_contents_of_files(tmp_path: Path) -> None:
    store = tmp_path / "cache"
    run(Build(), make_project(tmp_path / "one"), store)
    (entry,) = (path for path in store.glob("*/results/**/*") if path.is_file())
    found = json.loads(entry.read_bytes().partition(b"\n")[2])
    names = {path for _, kind, path, *_ in itertools.chain(found["tracked"], found["found"]) if kind == "project"}
    assert {"model.py", "helper.py", "data.txt", "optional.txt", "parts", "versions/1/weights.txt"} <= names
