"""Reports of CUDA kernels: what lowering says of them, and how it is put together with times."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aotbuild.commands import cli
from aotbuild.commands.report import text
from aotbuild.commands.report.data import gather
from aotbuild.commands.report.page import as_html
from aotbuild.commands.report.peaks import PEAKS, peak_of
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.target import CUDA_ARCHITECTURES
from aotbuild.tuning import bundle
from aotbuild.tuning.bundle import Bundle, Candidate, Kernel

_PRODUCT = {
    "architecture": "sm_90",
    "code_bytes": 20000,
    "config": {"BLOCK_M": 64, "num_warps": 4},
    "flops": 4_000_000_000,
    "kernel": "triton_tem_fused_relu_0",
    "key": "0123456789abcdef",
    "launches": 2,
    "lines": ["net.py:12 in forward: return relu(self.layer(x))"],
    "measured": True,
    "nbytes": 20_000_000,
    "registers": 128,
    "shared_bytes": 36864,
    "tensor_cores": True,
    "threads": 128,
}
_SUM = {
    **_PRODUCT,
    "config": {"XBLOCK": 1},
    "flops": 0,
    "kernel": "triton_per_<fused>_1",
    "key": "fedcba9876543210",
    "launches": 1,
    "lines": [],
    "measured": False,
    "nbytes": 6_700_000,
    "tensor_cores": False,
}
_EPILOGUES = [
    {"architecture": "sm_90", "fused": True, "key": "a" * 16, "lines": []},
    {"architecture": "sm_90", "fused": False, "key": "b" * 16, "lines": ["net.py:9 in forward: x = self.layer(x)"]},
]
_DATABASE = """\
sm_90 bbbbbbbbbbbbbbbb | H100 | epilogue_fusion=false | 7.00 us, heuristics 8.00 us | torch 2.13.0 | triton_tem_add_2
sm_90 0123456789abcdef | H100 | BLOCK_M=64 num_warps=4 | 10.00 us, heuristics 15.00 us | torch 2.13.0 | a
sm_90 fedcba9876543210 | H100 | XBLOCK=8 | 4.00 us, heuristics 5.00 us | torch 2.13.0 | b
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "net.aotbuild"
    made.mkdir()
    content = {"kernels_version": 2, "target": "net", "kernels": [_SUM, _PRODUCT], "epilogues": _EPILOGUES}
    (made / "net.kernels.json").write_text(json.dumps(content))
    (tmp_path / "net.tuning").write_text(_DATABASE)
    return made


@pytest.mark.quick
def test_times_of_the_database(folder: Path) -> None:
    (report,) = gather(folder, folder.parent / "net.tuning")
    product, summed = report.rows
    assert (report.target, report.architecture, report.device) == ("net", "sm_90", "H100")
    assert (product.time, product.total, product.gain) == (10.0, 20.0, 1.5)
    # Its line was written after the build: what was built is the heuristics' choice.
    assert (summed.time, summed.gain) == (5.0, None)
    assert report.total == 25.0 and report.share(product) == 0.8 and report.gain == 1.5
    assert product.rate == 2e14 and product.bandwidth == 1e12 and product.intensity == 200
    peak = report.peak
    assert peak is not None
    assert product.of_roofline(peak) == pytest.approx(2e14 / (200 * 3350e9))
    assert summed.of_roofline(peak) == pytest.approx(1.34e12 / 3350e9)


@pytest.mark.quick
def test_times_in_the_model_count_instead(folder: Path) -> None:
    times = folder.parent / "times.jsonl"
    names = [_PRODUCT["kernel"], _SUM["kernel"], _PRODUCT["kernel"]]
    records = [{"kernel": name, "microseconds": time} for name, time in zip(names, (8.0, 6.0, 12.0))]
    times.write_text("\n".join(map(json.dumps, records)) + "\n")
    (report,) = gather(folder, folder.parent / "net.tuning", times)
    assert [row.time for row in report.rows] == [10.0, 6.0]
    assert report.source == "measured in the model" and report.gain == 1.5
    times.write_text('{"kernel": "a"}\n')
    with pytest.raises(AotbuildError, match=r"times\.jsonl:1 is not of the form"):
        gather(folder, None, times)


@pytest.mark.quick
def test_without_times_there_are_sizes(folder: Path) -> None:
    (report,) = gather(folder)
    assert report.total == 0 and report.gain is None and {row.time for row in report.rows} == {None}
    table = text.as_text(report)
    assert "times not known" in table and "0.00 us in 0 of 3 launches" in table
    assert (
        "for times: --tuning-database FILE, which the target net.tune writes on a machine with a GPU, or --times "
        'FILE.jsonl, whose lines are what a profiler measured, as in {"kernel": "name", "microseconds": 1.5}\n'
    ) in table
    assert "<svg" not in as_html([report])


@pytest.mark.quick
def test_bundle_says_what_was_tried(folder: Path) -> None:
    candidates = [Candidate({"XBLOCK": size}, b"image", "k", 128, 0, 1, False, [(1, 1, 1)]) for size in (1, 2, 4)]
    made = Bundle("net", "sm_90", "torch 2.13.0", [Kernel("0123456789abcdef", "k", [], [[]], candidates)])
    place = folder.parent / "bundle"
    bundle.write(made, place, None)
    start = {"bundle": bundle.read_description(place)["id"], "format": bundle.FORMAT, "device": "H100"}
    results = [{"kernel": "0123456789abcdef", "candidate": n, "status": "measured", "times": [9.0 + n]} for n in (0, 2)]
    (place / "results.jsonl").write_text("\n".join(map(json.dumps, [start, *results])) + "\n")
    (report,) = gather(folder, folder.parent / "net.tuning", None, place)
    assert [(row.tried, row.slowest) for row in report.rows] == [(2, 11.0), (None, None)]
    assert "2 configurations measured, the slowest 11.00 us" in text.as_text(report)


@pytest.mark.quick
def test_table(folder: Path) -> None:
    (report,) = gather(folder, folder.parent / "net.tuning")
    lines = text.as_text(report).splitlines()
    assert lines[0] == "net, sm_90: times of the tuning database, on H100"
    headings = lines[1].split()
    cells = dict(zip(headings, lines[2].split()))
    assert cells == {
        "us": "10.00",
        "calls": "2",
        "share": "80.0%",
        "bytes": "20M",
        "FLOP": "4G",
        "bytes/s": "1T",
        "FLOP/s": "200T",
        "roofline": "29.9%",
        "regs": "128",
        "shared": "36864",
        "code": "20000",
        "won": "1.50x",
        "from": "database",
        "kernel": "triton_tem_fused_relu_0",
    }
    assert lines[3].strip() == "BLOCK_M=64 num_warps=4; 128 threads"
    assert lines[4].strip() == "net.py:12 in forward: return relu(self.layer(x))"
    assert "25.00 us in 3 of 3 launches a call" in lines
    assert "tuned: 1.50 times as fast as the heuristics' choices" in lines
    assert "epilogues: 1 fused, 1 in kernels of their own" in lines
    assert (
        "in kernels of its own: 7.00 us a call, fused into triton_tem_add_2 8.00 us: "
        "net.py:9 in forward: x = self.layer(x)"
    ) in lines


@pytest.mark.quick
def test_page_is_whole_and_always_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["report", str(folder), "--tuning-database", str(folder.parent / "net.tuning"), "--html"]
    pages = [folder.parent / name for name in ("one.html", "two.html")]
    for page in pages:
        assert cli.main([*command, str(page)]) == 0
    assert "triton_tem_fused_relu_0" in capsys.readouterr().out
    content = pages[0].read_text()
    assert content == pages[1].read_text()
    assert not re.search(r"https?:|src=|href=|<script|<link", content)
    assert str(folder.parent) not in content
    assert content.count("<circle") == 1 and content.count('<polyline class="roof"') == 2
    assert "triton_per_&lt;fused&gt;_1" in content and "net.py:12 in forward" in content
    assert "prefers-color-scheme: dark" in content


@pytest.mark.quick
def test_wrong_folders(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(AotbuildError, match=r"holds no <target>\.kernels\.json"):
        gather(tmp_path)
    with pytest.raises(AotbuildError, match=r"missing\.tuning: No such file"):
        gather(folder, tmp_path / "missing.tuning")
    description = folder / "net.kernels.json"
    description.write_text('{"kernels_version": 3}')
    with pytest.raises(AotbuildError, match="another version"):
        gather(folder)
    description.write_text("[")
    with pytest.raises(AotbuildError, match="cannot be read"):
        gather(folder)


@pytest.mark.quick
def test_every_architecture_has_peaks() -> None:
    assert set(PEAKS) == {str(capability) for capability in CUDA_ARCHITECTURES}
    for architecture in CUDA_ARCHITECTURES.values():
        peak = peak_of(f"sm_{architecture.capability}")
        assert peak is not None and architecture.name.split("-")[0] in peak.device


_NET = """\
import torch
from aotbuild import Model


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(5000, 64)
        self.layer = torch.nn.Linear(64, 96)

    def forward(self, ids):
        rows = self.table(ids).sum(1)
        return torch.relu(self.layer(rows))


def build():
    return Model(Net().half(), (torch.zeros(32, 4, dtype=torch.int64),))
"""


def test_lowering_says_what_kernels_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triton = pytest.importorskip("triton")
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(tmp_path / "cache"))
    model = tmp_path / "net.py"

    def generate(source: str) -> list[dict[str, Any]]:
        model.write_text(source)
        place = tmp_path / "net.aotbuild"
        arguments = ["--target", "net", "--model", f"{model}:build", "--output-dir", str(place), "--no-test"]
        assert cli.main(["generate", *arguments, "--device", "cuda", "--cuda-architecture", "90"]) == 0
        assert str(tmp_path) not in (place / "net.kernels.json").read_text()
        return list(json.loads((place / "net.kernels.json").read_text())["kernels"])

    gathered, product = generate(_NET)
    rows = 32 * 64 * 2
    # Of the table no more than the rows that are looked up: indices, 4 rows of the table each, sums.
    assert gathered["nbytes"] == 32 * 4 * 8 + 4 * rows + rows
    assert gathered["lines"] == ["net.py:12 in forward: rows = self.table(ids).sum(1)"]
    assert (gathered["tensor_cores"], product["tensor_cores"]) == (False, True)
    assert product["nbytes"] == rows + (64 * 96 + 96 + 32 * 96) * 2
    assert product["flops"] == 2 * 32 * 64 * 96 + 32 * 96
    assert product["lines"] == ["net.py:13 in forward: return torch.relu(self.layer(rows))"]
    assert (product["launches"], product["measured"]) == (1, False)

    images = (tmp_path / "net.aotbuild" / "net.images_sm_90.bin").read_bytes()
    image = tmp_path / "kernel.cubin"
    image.write_bytes(images[: gathered["code_bytes"]])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    usage = subprocess.run([tool, "--dump-resource-usage", image], check=True, capture_output=True, text=True).stdout
    assert f"REG:{gathered['registers']} " in usage

    # Lines that moved are not those of a lowering that was kept.
    moved = generate("# A comment\n" + _NET)
    assert [kernel["lines"][0].split()[0] for kernel in moved] == ["net.py:13", "net.py:14"]
    assert [{**kernel, "lines": []} for kernel in moved] == [{**kernel, "lines": []} for kernel in (gathered, product)]
