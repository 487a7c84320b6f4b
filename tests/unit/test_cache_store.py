"""The cache's folder: damage, size, sharing, and that trouble with it does not end a build."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import stat
import sys
from pathlib import Path

import pytest

from aotbuild.cache import Store, enabled
from aotbuild.spec.errors import AotbuildError

pytestmark = pytest.mark.quick


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> Store:
    return Store(tmp_path / "cache", 1 << 20, warnings.append)


def files_of(store: Store) -> list[Path]:
    return sorted(path for path in store.directory.rglob("*") if path.is_file())


def test_what_was_put_is_got(store: Store) -> None:
    for data in (b"", b"1", b"\n" * 100, bytes(range(256))):
        key = f"ab{len(data)}"
        assert store.get("graphs", key) is None
        store.put("graphs", key, data)
        assert store.get("graphs", key) == data
        assert store.get("kernels", key) is None


@pytest.mark.parametrize("damage", ["shorter", "longer", "one bit", "empty", "of another entry"])
def test_damaged_files_are_ignored_with_a_warning(store: Store, warnings: list[str], damage: str) -> None:
    store.put("graphs", "ab01", b"one" * 100)
    store.put("graphs", "ab02", b"two" * 100)
    victim, other = files_of(store)
    data = victim.read_bytes()
    victim.write_bytes(
        {
            "shorter": data[:-1],
            "longer": data + b"\0",
            "one bit": data[:-1] + bytes([data[-1] ^ 1]),
            "empty": b"",
            "of another entry": other.read_bytes(),
        }[damage]
    )
    assert store.get("graphs", "ab01") is None
    assert warnings == [f"{victim} is damaged and is ignored"]
    store.put("graphs", "ab01", b"one" * 100)
    assert store.get("graphs", "ab01") == b"one" * 100
    assert len(warnings) == 1


def test_cache_stays_below_its_size_and_forgets_what_was_not_used(tmp_path: Path, warnings: list[str]) -> None:
    store = Store(tmp_path / "cache", 100_000, warnings.append)
    for number in range(20):
        store.put("objects", f"{number:02}", bytes([number]) * 10_000)
        store.trim()
        for path in files_of(store):  # file times may be coarse
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
        assert store.get("objects", "00") is not None, number  # used each time, and so the last to go
        assert store.size() <= 100_000
    assert store.get("objects", "01") is None
    assert not store.fits(90_000)
    assert warnings == ["the result is larger than AOTBUILD_CACHE_SIZE allows and is not kept"]


def test_what_interrupted_runs_left_goes_after_an_hour(store: Store) -> None:
    store.put("objects", "01", b"1")
    (folder,) = (path.parent for path in files_of(store))
    for name, age in ((".02.tmp", 4000), (".03.tmp", 10)):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (folder.stat().st_mtime - age,) * 2)
    store.trim()
    assert [path.name for path in files_of(store)] == [".03.tmp", "01"]


def test_many_builds_at_once_share_a_folder(tmp_path: Path) -> None:
    def build(number: int) -> None:
        wrong: list[str] = []
        store = Store(tmp_path / "cache", 60_000, wrong.append)  # small: others clean while this one reads
        for round in range(30):
            key = f"{round % 9:02}"
            store.put("objects", key, key.encode() * 5_000)
            if store.get("objects", key) not in (None, key.encode() * 5_000):
                wrong.append(key)
            store.trim()
        sys.exit("; ".join(wrong) or 0)

    processes = [multiprocessing.get_context("fork").Process(target=build, args=(number,)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert list((tmp_path / "cache").rglob("*.tmp")) == []


@pytest.mark.parametrize(("folder", "file"), [(0o2775, 0o664), (0o700, 0o600), (0o777, 0o666)])
def test_everybody_who_may_use_the_folder_may_use_what_is_in_it(store: Store, folder: int, file: int) -> None:
    store.directory.mkdir()
    store.directory.chmod(folder)
    before = os.umask(0o077)  # that of the process does not count
    try:
        store.put("graphs", "ab12", b"1")
        store.put("results", "ab12/cd", b"2")
    finally:
        os.umask(before)
    folders = [path for path in store.directory.rglob("*") if path.is_dir()]
    assert len(folders) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {folder}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files_of(store)} == {file}


def test_folder_that_can_not_be_used_is_a_warning(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "cache", 1 << 20, warnings.append)
    store.put("graphs", "ab", b"1")
    assert warnings == [f"{tmp_path}/file/cache can't be used (Not a directory)"]


def test_entries_below_a_key_come_newest_first(store: Store) -> None:
    for age, name in enumerate("cab"):
        store.put("results", f"12/{name}", b"")
        path = files_of(store)[-1] if age == 0 else next(path for path in files_of(store) if path.name == name)
        os.utime(path, (1000 - age, 1000 - age))
    assert store.newest("results", "12", 2) == ["12/c", "12/a"]
    shutil.rmtree(store.directory)
    assert store.newest("results", "12", 2) == []


def test_off_means_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AOTBUILD_CACHE_DIR", raising=False)
    assert enabled() is None
    for value in ("", "OFF", "off", "0", "no", "False"):
        monkeypatch.setenv("AOTBUILD_CACHE_DIR", value)
        assert enabled() is None
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", "/somewhere")
    monkeypatch.setenv("AOTBUILD_CACHE_SIZE", "1.5K")
    assert (cache := enabled()) is not None
    assert cache.max_bytes == 1536
    for value in ("much", "inf", "nan"):
        monkeypatch.setenv("AOTBUILD_CACHE_SIZE", value)
        with pytest.raises(AotbuildError, match=f"AOTBUILD_CACHE_SIZE '{value}' is no size; write bytes, or a number"):
            enabled()


def test_a_graph_whose_reading_would_take_gigabytes_is_ignored(store: Store, warnings: list[str]) -> None:
    """Under a right checksum: a list of as many objects as the pickle says it puts somewhere is made at once."""
    from aotbuild.cache import graphs

    store.put("graphs", "ab01", pickle.dumps({"a": [1, 2]}, protocol=4))
    assert graphs.find(store, "ab01", ()) == {"a": [1, 2]}
    for number in (1 << 28).to_bytes(4, "little"), (100).to_bytes(4, "little"):
        store.put("graphs", "ab" + number.hex(), b"\x80\x04Nr" + number + b".")
        assert graphs.find(store, "ab" + number.hex(), ()) is None
    assert warnings[0] == f"the graph ab00000010 can't be read (object {1 << 28} of 9 bytes) and is ignored"
    assert len(warnings) == 2
