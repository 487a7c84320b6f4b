"""The tuning database as a file, the keys of its lines, and what a build says about them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from aotbuild.commands import cli
from aotbuild.tuning import database
from aotbuild.tuning.database import Database, Entry
from aotbuild.tuning.keys import kernel_key
from aotbuild.tuning.replay import Replay

pytestmark = pytest.mark.quick

ENTRY = Entry(
    "sm_90", "0123456789abcdef", "NVIDIA H100", {"XBLOCK": 64, "num_warps": 4}, 9.5, 12.25, "torch 2.13.0", "add_0"
)
LINE = (
    "sm_90 0123456789abcdef | NVIDIA H100 | XBLOCK=64 num_warps=4 | 9.50 us, heuristics 12.25 us | torch 2.13.0 | add_0"
)


def entry(key: str, device: str = "NVIDIA H100", time: float = 1, architecture: str = "sm_90") -> Entry:
    return Entry(architecture, key * 16, device, {"XBLOCK": 8}, time, None, "torch 2.13.0", "k")


def test_line_is_read_as_it_was_written() -> None:
    assert ENTRY.line() == LINE
    assert database.parse(database.text_of([ENTRY])) == Database((ENTRY,))
    unusual = Entry("compute_80", "f" * 16, "A", {"A": True, "B": "a b", "C": None}, 1, None, "v", "k")
    assert database.parse(unusual.line()).entries == (unusual,)


def test_file_does_not_depend_on_the_order_of_measurements() -> None:
    assert database.text_of([entry("b"), entry("a")]) == database.text_of([entry("a"), entry("b")])
    lines = database.text_of([entry("b"), entry("a")]).splitlines()
    assert lines[0].startswith("# aotbuild tuning database")
    assert lines[1:] == sorted(lines[1:])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("garbage", "has to be six fields with | between them"),
        ("<<<<<<< ours", "a conflict"),
        (
            LINE.replace("sm_90 0", "sm_90 x"),
            "'sm_90 x123456789abcdef' is not an architecture and 16 hexadecimal digits",
        ),
        (LINE.replace("num_warps=4", "num_warps"), "'num_warps' is not a setting NAME=VALUE"),
        (
            LINE.replace("9.50 us", "fast"),
            "'fast, heuristics 12.25 us' is not of the form '1.23 us, heuristics 4.56 us'",
        ),
    ],
)
def test_corrupt_line_is_reported_by_number_and_skipped(line: str, reason: str) -> None:
    found = database.parse(f"# comment\n\n{line}\n{LINE}\n")
    assert found.entries == (ENTRY,)
    (problem,) = found.problems
    assert (problem.number, problem.reason) == (3, reason)


def test_line_that_a_merge_has_doubled_counts_once() -> None:
    slow = LINE.replace("9.50", "10.50").replace("XBLOCK=64", "XBLOCK=32")
    for text in (f"{LINE}\n{slow}", f"{slow}\n{LINE}"):
        found = database.parse(text)
        assert found.entries == (ENTRY,)
        assert [problem.number for problem in found.problems] == [2]
        assert found.problems[0].reason == "the same kernel and device as line 1, the faster counts"


def test_device_with_the_most_lines_counts() -> None:
    lines = Database((entry("a", "A10"), entry("a", "A40", 2), entry("b", "A40")))
    found = lines.find("sm_90", "a" * 16)
    assert found is not None and found.device == "A40"
    assert lines.find("sm_80", "a" * 16) is None
    assert lines.find("sm_90", "c" * 16) is None


def test_new_measurement_replaces_the_old_one_of_its_device() -> None:
    merged = database.merged(Database((entry("a"), entry("a", "A10"), entry("b"))), [entry("a", time=5)])
    assert sorted((found.key[0], found.device, found.time) for found in merged.entries) == [
        ("a", "A10", 1),
        ("a", "NVIDIA H100", 5),
        ("b", "NVIDIA H100", 1),
    ]


KERNEL = """\
import triton
from torch._inductor.runtime.hints import DeviceProperties

@triton_heuristics.template(

num_stages=2,
num_warps=4,
triton_meta={'signature': {'x': '*fp16'}, 'device': DeviceProperties(type='cuda'), 'constants': {}},
inductor_meta={'kernel_name': 'NAME', 'backend_hash': 'A79', 'grid_type': 'FixedGrid'},

)
@triton.jit
def NAME(x):
    BLOCK_M : tl.constexpr = 64
    M = 1024
    # a comment
    tl.store(x, tl.load(x) + 1)
"""


def test_key_is_that_of_the_content() -> None:
    def key(source: str, name: str = "NAME", sizes: tuple[tuple[int, ...], ...] = ((1, 2), (3, 4))) -> str:
        return kernel_key(name, source, sizes, ("BLOCK_M",))

    plain = key(KERNEL)
    # Names, settings of the machine that generated it, and the configuration that it was written with.
    assert key(KERNEL.replace("NAME", "other"), "other") == plain
    assert key(KERNEL.replace("A79", "B80").replace("type='cuda'", "type='cuda', cc=80")) == plain
    assert key(KERNEL.replace("= 64", "= 32").replace("num_warps=4", "num_warps=8")) == plain
    assert key(KERNEL.replace("# a comment", "# another")) == plain
    assert key(KERNEL, sizes=((3, 4), (1, 2))) == plain
    others = [
        key(KERNEL.replace("1024", "1025")),
        key(KERNEL.replace("+ 1", "+ 2")),
        key(KERNEL.replace("*fp16", "*fp32")),
        key(KERNEL, sizes=((1, 2),)),
    ]
    assert len({plain, *others}) == 1 + len(others)


def test_databases_of_the_examples_are_as_they_would_be_written() -> None:
    paths = sorted((Path(__file__).parents[2] / "examples").rglob("*.tuning"))
    assert [path.parent.name for path in paths] == ["cuda_models", "triton_kernel"]
    for path in paths:
        found = database.read(path)
        assert found.entries and not found.problems
        assert database.text_of(found.entries) == path.read_text()


def test_refuted_line_goes() -> None:
    lines = Database((entry("a"), entry("a", "A10"), entry("b")))
    merged = database.merged(lines, [entry("c")], [("sm_90", "a" * 16, "A10"), ("sm_90", "d" * 16, "A10")])
    assert sorted((found.key[0], found.device) for found in merged.entries) == [
        ("a", "NVIDIA H100"),
        ("b", "NVIDIA H100"),
        ("c", "NVIDIA H100"),
    ]


@dataclass(frozen=True)
class Epilogue:
    key: str
    fused: bool
    reason: str = ""
    architecture: str = "sm_90"


@dataclass(frozen=True)
class Tuned:
    key: str
    measured: bool
    reason: str = ""
    architecture: str = "sm_90"
    kernel: str = "add_0"


def test_build_says_what_the_database_covers(tmp_path: Path) -> None:
    path = tmp_path / "net.tuning"
    kernels = [Tuned(ENTRY.key, True), Tuned("b" * 16, False), Tuned("c" * 16, False, "that does not compile here")]
    assert Replay(path).report("net", kernels) == [
        "net: no tuning database net.tuning: 3 kernels as the heuristics choose"
    ]
    assert Replay(None).report("net", kernels) == []
    path.write_text(f"{LINE}\ngarbage\n")
    replay = Replay(path)
    assert replay.measured("sm_90", ENTRY.key) == {"XBLOCK": 64, "num_warps": 4}
    assert replay.measured("sm_80", ENTRY.key) is None
    assert replay.settings == [LINE]
    assert replay.report("net", kernels) == [
        "net: net.tuning covers 1 of 3 kernels",
        "net: warning: net.tuning:2: has to be six fields with | between them; the line is ignored",
        "net: warning: net.tuning: sm_90 cccccccccccccccc (add_0): that does not compile here; the heuristics' choice "
        "is used",
        "net: warning: net.tuning has no line for 1 kernel(s), which are as the heuristics choose; to measure them, "
        "build net.tune",
    ]


def test_build_says_which_epilogues_are_not_fused(tmp_path: Path) -> None:
    path = tmp_path / "net.tuning"
    path.write_text(f"{LINE}\n")
    epilogues = [Epilogue("b" * 16, False), Epilogue("c" * 16, True), Epilogue("d" * 16, True, "the reason")]
    assert Replay(path).report("net", [Tuned(ENTRY.key, True)], epilogues) == [
        "net: net.tuning covers 1 of 1 kernels",
        "net: net.tuning keeps 1 of 3 epilogues in kernels of their own",
        "net: warning: net.tuning: sm_90 dddddddddddddddd: the reason; the epilogue is fused",
    ]


def test_prune_drops_what_no_model_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.tuning"
    path.write_text(f"garbage\n{LINE}\n{entry('a').line()}\n")
    manifest = tmp_path / "net.manifest.json"
    manifest.write_text(json.dumps({"metadata": {"tuning": {"keys": [f"sm_90 {ENTRY.key}"]}}}))
    command = ["tune", "prune", str(path), str(manifest)]
    assert cli.main([*command, "--check"]) == 1
    assert f"no kernel has {entry('a').line()}" in capsys.readouterr().out
    assert cli.main(command) == 0
    assert database.read(path) == Database((ENTRY,))
    assert cli.main([*command, "--check"]) == 0
    assert cli.main(["tune", "prune", str(path), str(tmp_path / "none.json")]) == 1
    assert "none.json is no manifest" in capsys.readouterr().err
