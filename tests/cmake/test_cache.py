"""The compile cache: what it finds, what it does not, and that trouble with it neither ends nor changes a build."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cmake_project import REPOSITORY

from aotbuild.cache import Cache, SourceKey, enabled, foreign_reads, recorded_reads, source_key
from aotbuild.errors import AotbuildError

FILES = {"src/a.cpp": b"int a;\n", "weights.bin": b"\x01" * 100}


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> Cache:
    return Cache(tmp_path / "cache", 1 << 20, warnings.append)


def make_sources(folder: Path) -> tuple[SourceKey, list[Path]]:
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text("import helper\n")
    (folder / "helper.py").write_text("VALUE = 1\n")
    key = source_key({"cpu_isa": ["avx2"]}, f"{folder}/model.py:build", folder, [])
    return key, [folder / "model.py", folder / "helper.py"]


@pytest.mark.quick
def test_same_sources_in_another_checkout_are_found(tmp_path: Path, store: Cache) -> None:
    key, paths = make_sources(tmp_path / "one")
    store.store(key, FILES, paths, [])
    other, other_paths = make_sources(tmp_path / "two")
    assert other.key == key.key
    (tmp_path / "one/helper.py").unlink()
    hit = store.find(other)
    assert hit is not None
    assert hit.files == FILES
    assert sorted(hit.dependencies) == sorted(other_paths)


@pytest.mark.quick
def test_every_input_counts(tmp_path: Path, store: Cache) -> None:
    key, paths = make_sources(tmp_path / "one")
    read = tmp_path / "one/undeclared.bin"
    read.write_bytes(b"first")
    store.store(key, FILES, paths, [read])
    hit = store.find(key)
    assert hit is not None
    assert read not in hit.dependencies
    read.write_bytes(b"other")
    assert store.find(key) is None
    store.store(key, {"src/a.cpp": b"int b;\n"}, paths, [read])
    read.write_bytes(b"first")  # both are kept
    assert (found := store.find(key)) is not None
    assert found.files == FILES
    read.unlink()
    assert store.find(key) is None


@pytest.mark.quick
def test_settings_model_and_toolchain_make_the_key(tmp_path: Path) -> None:
    tool = tmp_path / "version.py"
    tool.write_text("2.13")
    settings = {"cpu_isa": ["avx2"], "options": {}}
    base = source_key(settings, "model.py:build", tmp_path, [tool])
    assert source_key(settings, f"{tmp_path}/model.py:build", tmp_path, [tool]).key == base.key
    assert source_key({**settings, "options": {"a": "1"}}, "model.py:build", tmp_path, [tool]).key != base.key
    assert source_key(settings, "model.py:other", tmp_path, [tool]).key != base.key
    tool.write_text("2.14")
    assert source_key(settings, "model.py:build", tmp_path, [tool]).key != base.key


@pytest.mark.quick
def test_damaged_files_are_ignored_with_a_warning(tmp_path: Path, store: Cache, warnings: list[str]) -> None:
    key, paths = make_sources(tmp_path / "one")
    for damaged in ("objects/*/*", "sources/*/*.json"):
        store.store(key, FILES, paths, [])
        (victim, *_) = sorted(store.directory.glob(f"1/{damaged}"))
        victim.write_bytes(victim.read_bytes()[:-1])
        assert store.find(key) is None
        assert warnings.pop() == f"{victim} is damaged and is ignored"
    store.store(key, FILES, paths, [])
    assert store.find(key) is not None
    assert warnings == []


@pytest.mark.quick
def test_cache_stays_below_its_size_and_forgets_what_was_not_used(tmp_path: Path, warnings: list[str]) -> None:
    store = Cache(tmp_path / "cache", 100_000, warnings.append)
    key, paths = make_sources(tmp_path / "one")
    for number in range(20):
        paths[1].write_text(f"VALUE = {number}\n")
        store.store(key, {"weights.bin": bytes([number]) * 10_000}, paths, [])
        for path in store.directory.rglob("*"):  # file times may be coarse
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
        paths[1].write_text("VALUE = 0\n")
        assert store.find(key) is not None, number  # used each time, and so the last to go
        assert store.size() <= 100_000
    paths[1].write_text("VALUE = 1\n")
    assert store.find(key) is None
    store.store(key, {"weights.bin": bytes(90_000)}, paths, [])
    assert warnings == ["the result is larger than AOTBUILD_CACHE_SIZE allows and is not kept"]


@pytest.mark.quick
def test_many_builds_at_once_share_a_folder(tmp_path: Path) -> None:
    key, paths = make_sources(tmp_path / "one")

    def build(number: int) -> None:
        wrong: list[str] = []
        store = Cache(tmp_path / "cache", 60_000, wrong.append)  # small: others clean while this one reads
        own = tmp_path / f"{number}.txt"
        own.write_text(str(number))
        for _ in range(30):
            store.store(key, {"weights.bin": bytes([number]) * 10_000}, paths, [own])
            hit = store.find(key)
            if hit is not None and hit.files["weights.bin"] not in {bytes([n]) * 10_000 for n in range(8)}:
                wrong.append(f"{number}: {hit.files['weights.bin'][:4]!r}")
        sys.exit("; ".join(wrong) or 0)

    processes = [multiprocessing.get_context("fork").Process(target=build, args=(number,)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert list((tmp_path / "cache").rglob("*.tmp")) == []


@pytest.mark.quick
def test_everybody_who_may_write_to_the_folder_may_write_below_it(tmp_path: Path, store: Cache) -> None:
    store.directory.mkdir()
    store.directory.chmod(0o2775)
    key, paths = make_sources(tmp_path / "one")
    store.store(key, FILES, paths, [])
    store.store_graph("ab12", 1)
    folders = [path for path in store.directory.rglob("*") if path.is_dir()]
    assert len(folders) == 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o2775}


@pytest.mark.quick
def test_folder_that_can_not_be_used_is_a_warning(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").write_text("")
    store = Cache(tmp_path / "file" / "cache", 1 << 20, warnings.append)
    key, paths = make_sources(tmp_path / "one")
    store.store(key, FILES, paths, [])
    assert warnings == [f"{tmp_path}/file/cache can't be used (Not a directory)"]


@pytest.mark.quick
def test_reads_of_the_model_are_seen(tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("x")
    (tmp_path / "found_module.py").write_text("VALUE = 1\n")
    with recorded_reads() as reads:
        data.read_text()
        (tmp_path / "written.txt").write_text("y")
        Path("/proc/self/status").read_text()
    assert foreign_reads(reads, lambda name: name.startswith(str(tmp_path))) == [data]


@pytest.mark.quick
def test_off_means_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "OFF", "off", "0"):
        monkeypatch.setenv("AOTBUILD_CACHE_DIR", value)
        assert enabled() is None
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", "/somewhere")
    monkeypatch.setenv("AOTBUILD_CACHE_SIZE", "1.5K")
    assert (cache := enabled()) is not None
    assert cache.max_bytes == 1536
    monkeypatch.setenv("AOTBUILD_CACHE_SIZE", "much")
    with pytest.raises(AotbuildError, match="AOTBUILD_CACHE_SIZE 'much' is no size; write bytes, or a number with K"):
        enabled()


MODEL = """\
from pathlib import Path

import torch
from safetensors.torch import load_file


def build():
    module = torch.nn.Sequential(torch.nn.Linear(4, 80), torch.nn.ReLU(), torch.nn.Linear(80, 3))
    module.load_state_dict(load_file(Path(__file__).parent / "weights.safetensors"))
    return module, (torch.ones(2, 4),)
"""
WEIGHTS = """\
import sys
import torch
from safetensors.torch import save_file
torch.manual_seed(int(sys.argv[1]))
module = torch.nn.Sequential(torch.nn.Linear(4, 80), torch.nn.ReLU(), torch.nn.Linear(80, 3))
save_file(module.state_dict(), sys.argv[2])
"""


def test_generator_skips_what_it_can_and_writes_the_same_bytes(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "model.py").write_text(MODEL)

    def python(*arguments: str | Path, **environment: str) -> str:
        path = {"PYTHONPATH": str(REPOSITORY / "python")}
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=project,
            env={**os.environ, **path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def generate(name: str, cache: str = str(tmp_path / "cache")) -> tuple[list[str], dict[str, bytes]]:
        output = tmp_path / name
        command = ("generate", "--target", "net", "--model", f"{project}/model.py:build", "--output-dir", output)
        printed = python("-m", "aotbuild", *command, AOTBUILD_CACHE_DIR=cache)
        stages = [line.removeprefix("aotbuild: net: ").rpartition(" in ")[0] for line in printed.splitlines()]
        return stages, {str(p.relative_to(output)): p.read_bytes() for p in output.rglob("*") if p.is_file()}

    python("-c", WEIGHTS, "1", project / "weights.safetensors")
    stages, first = generate("first")
    assert stages == [
        "looked in the cache",
        "imported torch",
        "loaded the model",
        "exported and ran it eagerly",
        "lowered it",
        "wrote the sources",
        "kept it in the cache",
    ]
    stages, second = generate("second")
    assert stages == ["looked in the cache", "took the sources from the cache"]
    assert second == first

    python("-c", WEIGHTS, "2", project / "weights.safetensors")
    stages, third = generate("third")
    assert "exported and ran it eagerly" in stages
    assert "lowered it" not in stages
    stages, uncached = generate("uncached", "OFF")
    assert "looked in the cache" not in stages
    assert third == uncached
    assert {name for name in third if third[name] != first[name]} == {
        "net.weights.bin",
        "test/net.golden.safetensors",
    }
