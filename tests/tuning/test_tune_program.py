"""aotbuild-tune over the stand-in driver: what it measures, what it refuses, and that nothing is lost when it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aotbuild.commands import cli
from aotbuild.spec.errors import AotbuildError
from aotbuild.tuning import bundle, database
from aotbuild.tuning.bundle import Buffer, Bundle, Candidate, Comparison, Kernel
from aotbuild.tuning.merge import merge

ROOT = Path(__file__).parents[2]
TUNE = ROOT / "cpp" / "tools" / "tune"
RUNTIME = ROOT / "cpp" / "src"
FAKE = ROOT / "tests" / "cpp" / "fake_cuda"

KEY = "0123456789abcdef"
COUNT = 100


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program and the stand-in for the driver."""
    folder = tmp_path_factory.mktemp("tune")
    build_program(folder)
    return folder


def build_program(folder: Path) -> None:
    """Compiles ``aotbuild-tune`` and ``driver.so``."""
    compiler = ["c++", "-std=c++17", "-O0", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    include = ["-I", str(ROOT / "cpp" / "include"), "-I", str(RUNTIME), "-I", str(FAKE)]
    sources = [
        *TUNE.glob("*.cpp"),
        *(RUNTIME / f"{name}.cpp" for name in ("cuda/device", "cuda/driver", "base/error", "base/system_posix")),
    ]
    subprocess.run([*compiler, *include, *sources, "-o", folder / "aotbuild-tune", "-ldl", "-pthread"], check=True)
    fake = [FAKE / "fake_cuda.cpp", Path(__file__).with_name("kernels.cpp")]
    subprocess.run([*compiler[:3], *include, "-shared", "-fPIC", *fake, "-o", folder / "driver.so"], check=True)


def candidate(symbol: str, **config: int) -> Candidate:
    image = f"fake cubin 90 {symbol}\0".encode()
    return Candidate({"XBLOCK": 64, **config}, image, symbol, 64, 0, 1, False, [(2, 1, 1)])


def make_bundle(folder: Path, symbols: Sequence[str], kernels: int = 1, program: Path | None = None) -> Path:
    x = np.arange(COUNT, dtype=np.float32).tobytes()
    case: list[Buffer | float] = [Buffer(4 * COUNT, "float32", True, x), Buffer(4 * COUNT, "float32"), COUNT]
    parameters = ["pointer", "pointer", "i32", "null", "null"]
    candidates = [candidate(symbol, XBLOCK=64 << number) for number, symbol in enumerate(symbols)]
    made = [
        Kernel(f"{KEY[:-1]}{number}", f"twice_{number}", parameters, [case], candidates) for number in range(kernels)
    ]
    bundle.write(Bundle("net", "sm_90", "torch 2.13.0", made), folder, program)
    return folder


Tune = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tune(built: Path) -> Tune:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "AOTBUILD_CUDA_DRIVER": str(built / "driver.so")}
        command = [str(built / "aotbuild-tune"), *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run


def statuses(folder: Path) -> dict[int, str]:
    """The last status of each candidate."""
    records: list[dict[str, Any]] = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return {record["candidate"]: record["status"] for record in records if "candidate" in record}


def test_fastest_right_candidate_is_chosen(tune: Tune, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us", "at_30_us", "wrong", "at_8_us", "missing"])
    (folder / "images.bin").write_bytes((folder / "images.bin").read_bytes().replace(b"90 missing", b"90 nothing"))
    result = tune(folder)
    assert result.returncode == 0, result.stderr
    assert statuses(folder) == {0: "measured", 1: "slow", 2: "wrong", 3: "measured", 4: "failed"}
    summary = "of 5 candidates of 1 kernels 2 measured, 1 given up as slow, 1 wrong, 1 failed; 0 of these results were"
    assert summary in result.stderr
    assert 'twice_0 with {"XBLOCK":256} is wrong: buffer 1: element 1 is 3, and with the first' in result.stderr
    assert 'twice_0 with {"XBLOCK":1024} failed: cuModuleGetFunction: CUDA_ERROR_NOT_FOUND' in result.stderr

    path = tmp_path / "net.tuning"
    lines = merge(path, folder, [])
    assert any(line.startswith('twice_0 with {"XBLOCK": 256} wrong: ') for line in lines)
    (entry,) = database.read(path).entries
    assert (entry.architecture, entry.config, entry.kernel) == ("sm_90", {"XBLOCK": 512}, "twice_0")
    assert (entry.time, entry.heuristics) == (8.0, 10.0)
    # The same again finds all results, and leaves the file alone, so that nothing is built.
    written = path.stat().st_mtime_ns
    assert tune(folder).returncode == 0
    assert merge(path, folder, []) == lines
    assert path.stat().st_mtime_ns == written


def test_what_a_kernel_writes_to_is_restored_for_each_candidate(tune: Tune, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", ["adds", "adds", "adds"])
    result = tune(folder)
    assert result.returncode == 0, result.stderr
    assert statuses(folder) == {0: "measured", 1: "measured", 2: "measured"}
    # The result depends on what was there: a kernel that only reads x is told apart.
    other = make_bundle(tmp_path / "other", ["adds", "at_8_us"])
    assert "is wrong" in tune(other).stderr
    assert statuses(other) == {0: "measured", 1: "wrong"}


def test_no_gain_keeps_the_heuristics_choice(tune: Tune, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us", "at_10_us"])
    assert tune(folder).returncode == 0
    merge(tmp_path / "net.tuning", folder, [])
    (entry,) = database.read(tmp_path / "net.tuning").entries
    assert entry.config == {"XBLOCK": 64}


@pytest.mark.parametrize("flaw", ["illegal", "crashes", "hangs"])
def test_candidate_that_ends_the_process_is_passed_over(tune: Tune, tmp_path: Path, flaw: str) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us", flaw, "at_8_us"])
    result = tune(folder, "--hang-limit", 1)
    assert result.returncode == 0, result.stderr
    assert statuses(folder) == {0: "measured", 1: "failed", 2: "measured"}
    reason = "CUDA_ERROR_ILLEGAL_ADDRESS" if flaw == "illegal" else "the process ended or hung while it ran"
    assert 'twice_0 with {"XBLOCK":128} failed: ' in result.stderr
    assert reason in result.stderr


def test_kernel_whose_memory_does_not_fit_is_left_out(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us", "at_8_us"], kernels=2)
    monkeypatch.setenv("FAKE_CUDA_FAIL", "cuMemAlloc_v2:2:1:1")
    result = tune(folder)
    assert result.returncode == 0, result.stderr
    assert (
        "twice_0 is left out: aotbuild-tune: cuMemAlloc failed for 400 bytes: CUDA_ERROR_OUT_OF_MEMORY" in result.stderr
    )
    merge(tmp_path / "net.tuning", folder, [])
    assert [entry.kernel for entry in database.read(tmp_path / "net.tuning").entries] == ["twice_1"]


def test_kill_loses_nothing(tune: Tune, built: Path, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us", "at_8_us"], kernels=40)
    environment = {**os.environ, "AOTBUILD_CUDA_DRIVER": str(built / "driver.so")}
    results = folder / "results.jsonl"
    process = subprocess.Popen([built / "aotbuild-tune", folder], env=environment, start_new_session=True)
    while not results.exists() or results.stat().st_size < 2000:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = results.read_text()
    results.write_text(before[:-20])  # in the middle of a line
    assert tune(folder).returncode == 0
    lines = results.read_text().splitlines()
    assert results.read_text().startswith(before[:-20])
    measured = [json.loads(line) for line in lines if '"measured"' in line and line.endswith("}")]
    assert len({(record["kernel"], record["candidate"]) for record in measured}) == 2 * 40
    merge(tmp_path / "net.tuning", folder, [])


def test_two_programs_over_one_file_take_turns(tune: Tune, built: Path, tmp_path: Path) -> None:
    """As when a scheduler starts a task again whose process it has lost sight of."""
    folder = make_bundle(tmp_path / "b", ["at_10_us", "at_8_us"], kernels=40)
    environment = {**os.environ, "AOTBUILD_CUDA_DRIVER": str(built / "driver.so")}
    results = folder / "results.jsonl"
    first = subprocess.Popen([built / "aotbuild-tune", folder], env=environment, stderr=subprocess.DEVNULL)
    while not results.exists() or results.stat().st_size < 500:
        time.sleep(0.01)
    second = tune(folder)
    assert first.wait() == 0
    assert second.returncode == 0
    assert f"aotbuild-tune: another one writes to {results}; waiting for it" in second.stderr
    records = [json.loads(line) for line in results.read_text().splitlines()]
    started = [(r["kernel"], r["candidate"]) for r in records if r.get("status") == "started"]
    assert len(started) == len(set(started)) == 2 * 40
    assert "80 of these results were there before" in second.stderr or second.stderr.count("\n") == 1


def test_what_measures_ends_with_the_program(built: Path, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us", "hangs"])
    environment = {**os.environ, "AOTBUILD_CUDA_DRIVER": str(built / "driver.so")}
    process = subprocess.Popen([built / "aotbuild-tune", folder], env=environment, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    results = folder / "results.jsonl"
    while not results.exists() or results.read_text().count('"started"') < 2:
        time.sleep(0.01)
    (child,) = children.read_text().split()
    process.kill()
    process.wait()
    for _ in range(500):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.01)
    os.kill(int(child), signal.SIGKILL)
    pytest.fail("the process that measures goes on")


def test_merge_says_what_a_choice_for_each_size_would_win(tmp_path: Path) -> None:
    x = np.arange(COUNT, dtype=np.float32).tobytes()
    cases: list[list[Buffer | float]] = [[Buffer(4 * COUNT, "float32", True, x), COUNT] for _ in range(2)]
    candidates = [dataclasses.replace(candidate("k", XBLOCK=size), grids=[(2, 1, 1)] * 2) for size in (1, 2, 3)]
    kernel = Kernel(KEY, "k", ["pointer", "i32", "null", "null"], cases, candidates)
    bundle.write(Bundle("net", "sm_90", "v", [kernel]), tmp_path / "b", None)
    write_results(tmp_path / "b", {KEY: [[10, 10], [8, 9], [12, 6]]})
    lines = merge(tmp_path / "net.tuning", tmp_path / "b", [])
    # The third is faster on average, and slower at the example's size, so it is not chosen.
    assert [entry.config for entry in database.read(tmp_path / "net.tuning").entries] == [{"XBLOCK": 2}]
    assert "a configuration for each of the 2 sizes would take 1.00, 0.67 of the time of one for all" in lines


def write_results(folder: Path, times: dict[str, list[list[float]]], name: str = "results.jsonl") -> None:
    """Times of each kernel's candidates at each size, as aotbuild-tune writes them."""
    identity = bundle.read_description(folder)["id"]
    records: list[dict[str, Any]] = [{"bundle": identity, "format": bundle.FORMAT, "device": "H100"}]
    for key, candidates in times.items():
        for number, values in enumerate(candidates):
            records.append({"kernel": key, "candidate": number, "status": "measured", "times": values})
    (folder / name).write_text("".join(f"{json.dumps(record)}\n" for record in records))


FUSED, PRODUCT, POINTWISE, OTHER = (digit * 16 for digit in "abcd")
EPILOGUE = "e" * 16


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    """A bundle with a product whose epilogue is fused, twice in a call, the two kernels for it, and another kernel."""
    case: list[Buffer | float] = [Buffer(4, "float32"), 1]
    launches = {FUSED: 2, PRODUCT: 0, POINTWISE: 1, OTHER: 1}
    kernels = [
        Kernel(key, f"{key[0]}_kernel", ["pointer", "i32"], [case], [candidate("k", XBLOCK=n) for n in (1, 2)], (), n)
        for key, n in launches.items()
    ]
    compared = Comparison(EPILOGUE, "a_kernel", {FUSED: 2}, {PRODUCT: 2, POINTWISE: 2})
    bundle.write(Bundle("net", "sm_90", "v", kernels, [compared]), tmp_path / "b", None)
    return tmp_path / "b"


def test_epilogue_in_kernels_of_its_own_has_a_line_if_these_are_faster(comparison: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.tuning"
    # What counts are the best candidates: 2 x 9 us, and 2 x (5 + 2) us.
    times: dict[str, list[list[float]]] = {FUSED: [[12], [9]], PRODUCT: [[10], [5]], POINTWISE: [[2], [3]]}
    write_results(comparison, {**times, OTHER: [[4], [4]]})
    lines = merge(path, comparison, [])
    assert "     18.00       14.00  a_kernel, in kernels of its own" in lines
    assert "1 of 1 epilogues that were compared are faster in kernels of their own" in lines
    assert lines[-1].endswith("net.tuning: 3 of 3 kernels")
    entries = {entry.key: entry for entry in database.read(path).entries}
    # The kernel that is launched no more has no line, and the two that are have theirs.
    assert set(entries) == {EPILOGUE, PRODUCT, POINTWISE, OTHER}
    found = entries[EPILOGUE]
    assert (found.config, found.time, found.heuristics, found.kernel) == (
        {"epilogue_fusion": False},
        14.0,
        18.0,
        "a_kernel",
    )
    # Another measurement, by which it is not: the line goes.
    write_results(comparison, {**times, PRODUCT: [[10], [9]], OTHER: [[4], [4]]})
    lines = merge(path, comparison, [])
    assert "0 of 1 epilogues that were compared are faster in kernels of their own" in lines
    keys = {entry.key for entry in database.read(path).entries}
    assert EPILOGUE not in keys and {FUSED, POINTWISE, OTHER} <= keys


def test_epilogue_stays_fused_within_the_noise_and_where_a_time_is_missing(comparison: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.tuning"
    times: dict[str, list[list[float]]] = {FUSED: [[9], [9]], PRODUCT: [[6], [6]], POINTWISE: [[2.9], [2.9]]}
    write_results(comparison, times)
    assert "     18.00       17.80  a_kernel" in merge(path, comparison, [])
    assert {entry.key for entry in database.read(path).entries} == {FUSED, POINTWISE}
    del times[PRODUCT]
    write_results(comparison, times)
    lines = merge(path, comparison, [])
    assert "a_kernel: not compared" in lines
    assert "0 of 0 epilogues that were compared are faster in kernels of their own" in lines
    assert {entry.key for entry in database.read(path).entries} == {FUSED, POINTWISE}


def test_kernels_of_a_comparison_may_be_measured_by_several_shards(comparison: Path, tmp_path: Path) -> None:
    write_results(comparison, {FUSED: [[9]], POINTWISE: [[2]]}, "results.0.jsonl")
    write_results(comparison, {PRODUCT: [[5]]}, "results.1.jsonl")
    merge(tmp_path / "net.tuning", comparison, [])
    assert EPILOGUE in {entry.key for entry in database.read(tmp_path / "net.tuning").entries}


@pytest.mark.quick
def test_bundle_of_methods_has_what_each_of_them_launches() -> None:
    def kernel(key: str, launches: int) -> Kernel:
        return Kernel(key, key, [], [], [], launches=launches)

    prefill = Bundle("m.prefill", "sm_90", "", [kernel("shared", 2)], [Comparison("e", "shared", {"shared": 1}, {})])
    # What one method launches may be in another only for an epilogue that is not fused.
    others = [Comparison("e", "shared", {"shared": 3}, {"add": 1}), Comparison("f", "add", {}, {})]
    decode = Bundle("m.decode", "sm_90", "", [kernel("shared", 0), kernel("add", 1)], others)
    made = bundle.joined("m", [prefill, decode])
    assert made.target == "m"
    assert {kernel.key: kernel.launches for kernel in made.kernels} == {"shared": 2, "add": 1}
    assert [(e.key, e.fused, e.alone) for e in made.epilogues] == [("e", {"shared": 4}, {"add": 1}), ("f", {}, {})]


def test_shards_and_time_limit(tune: Tune, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us", "at_8_us"], kernels=3)
    assert tune(folder, "--shard", "0/2").returncode == 0
    assert tune(folder, "--shard", "1/2").returncode == 0
    merge(tmp_path / "net.tuning", folder, [])
    assert len(database.read(tmp_path / "net.tuning").entries) == 3
    assert tune(folder, "--shard", "2/2").returncode == 2
    late = make_bundle(tmp_path / "late", ["at_10_us", "at_8_us"], kernels=3)
    assert "the time limit is over" in tune(late, "--time-limit", "0.001").stderr
    assert tune(late).returncode == 0
    assert set(statuses(late).values()) == {"measured"}


def test_command_runs_shards_through_a_runner(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOTBUILD_CUDA_DRIVER", "/nowhere.so")
    folder = make_bundle(tmp_path / "b", ["at_10_us", "at_8_us"], kernels=3, program=built / "aotbuild-tune")
    command = ["tune", "run", str(folder), "--shards", "2", "--runner"]
    assert cli.main([*command, f"env AOTBUILD_CUDA_DRIVER='{built / 'driver.so'}'"]) == 0
    assert sorted(path.name for path in folder.glob("*.jsonl")) == ["results.0.jsonl", "results.1.jsonl"]
    assert cli.main(["tune", "merge", str(tmp_path / "net.tuning"), str(folder)]) == 0
    assert len(database.read(tmp_path / "net.tuning").entries) == 3
    assert cli.main([*command, "false"]) == 1
    (folder / "aotbuild-tune").unlink()
    assert cli.main([*command, ""]) == 1


def test_other_bundles_and_versions_are_refused(tune: Tune, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us"])
    assert tune(folder).returncode == 0
    other = make_bundle(tmp_path / "other", ["at_8_us"])
    result = tune(other, "--results", folder / "results.jsonl")
    assert result.returncode == 1
    assert "holds results of another bundle; name another file or remove it" in result.stderr
    with pytest.raises(AotbuildError, match="holds results of another bundle"):
        merge(tmp_path / "net.tuning", other, [folder / "results.jsonl"])

    description = folder / "bundle.json"
    description.write_text(description.read_text().replace(f'"format": {bundle.FORMAT}', '"format": 99'))
    result = tune(folder)
    assert result.returncode == 1
    assert f"bundle.json: has format 99, and this program reads {bundle.FORMAT}; make the bundle again" in result.stderr
    with pytest.raises(AotbuildError, match=f"has format 99, and this version of aotbuild reads {bundle.FORMAT}"):
        merge(tmp_path / "net.tuning", folder, [])
    description.write_text('{"format": 2}')
    assert "bundle.json: " in tune(folder).stderr


def test_new_bundle_in_the_same_folder_starts_anew(tune: Tune, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us"])
    assert tune(folder).returncode == 0
    results = (folder / "results.jsonl").read_text()
    make_bundle(folder, ["at_10_us"])
    assert (folder / "results.jsonl").read_text() == results
    make_bundle(folder, ["at_8_us"])
    assert tune(folder).returncode == 0
    assert statuses(folder) == {0: "measured"}


def test_device_that_the_bundle_is_not_for(tune: Tune, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", ["at_10_us"])
    description = folder / "bundle.json"
    description.write_text(description.read_text().replace('"sm_90"', '"sm_100"'))
    result = tune(folder)
    assert result.returncode == 1
    assert "the bundle is for sm_100, and device 0 (" in result.stderr
