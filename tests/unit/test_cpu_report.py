"""`aotbuild report` of CPU models: clocks in a run function, and what is printed of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from aotbuild.commands import cli
from aotbuild.commands.report.cpu import CpuReport, CpuRow
from aotbuild.commands.report.cpu_text import as_html, as_text
from aotbuild.commands.report.instrument import Part, instrument

pytestmark = pytest.mark.quick

RUN = """\
#include "wrapper.hpp"

namespace aotbuild_net_x86 {

void run() {
  Buffer buf0(allocate(1));
  context_linear(context, 3, buf0, buf1);
  cpp_fused_add_0(buf1);
  if (flag) {
    cpp_fused_add_0(buf2);
  }
  AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_cpu_sort(buf0));
  match_strides(buf0, {1});
  outputs[0] = buf2.release();
}

}  // namespace aotbuild_net_x86
"""
CALLS = (
    ("context_linear", ("net.py:3",)),
    ("cpp_fused_add_0", ("net.py:4",)),
    ("cpp_fused_add_0", ("net.py:5", "net.py:6")),
    ("aoti_torch_cpu_sort", ()),
)


def test_each_call_that_computes_has_a_clock_and_nothing_else_has() -> None:
    text, parts = instrument(RUN, CALLS)
    assert parts == [
        Part("context_linear", ("net.py:3",), "linears", 3),
        Part("cpp_fused_add_0", ("net.py:4",)),
        Part("cpp_fused_add_0", ("net.py:5", "net.py:6")),
        Part("aoti_torch_cpu_sort", ()),
    ]
    assert "  { const PartClock clock(0); context_linear(context, 3, buf0, buf1); }\n" in text
    assert "    { const PartClock clock(2); cpp_fused_add_0(buf2); }\n" in text
    assert text.count("const PartClock clock(") == 4
    assert "\n  match_strides(buf0, {1});\n" in text
    without = re.sub(r"\{ const PartClock clock\(\d+\); (.*) \}", r"\1", text)
    assert without.endswith(RUN)


def test_the_clocks_compile_and_count(tmp_path: Path) -> None:
    text, _ = instrument("void work() {}\nvoid run() {\n  work();\n  work();\n}\n", [("work", ()), ("work", ())])
    main = "int main() { run(); auto* n = aotbuild_part_nanoseconds(); return n[0] > 0 && n[1] > 0 ? 0 : 1; }\n"
    source, program = tmp_path / "run.cpp", tmp_path / "run"
    source.write_text(text + main)
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    subprocess.run([program], check=True)


def test_a_model_without_kernels_has_no_parts() -> None:
    text, parts = instrument("void run() {\n  outputs[0] = inputs[0];\n}\n", ())
    assert parts == []
    assert "part_nanoseconds[1]" in text


REPORT = CpuReport(
    "net.py:build",
    "x86-64-v3",
    1,
    call=105.0,
    clocked=110.0,
    rows=(
        CpuRow(
            "linear layer", 4, 80.0, ("net.py:3 in forward: a<b",), ("a.weight", "b.weight", "c.weight", "d.weight")
        ),
        CpuRow("cpp_fused_add_0", 2, 20.0, (), ()),
    ),
)


def test_the_text_has_times_shares_lines_and_what_they_sum_up_to() -> None:
    assert as_text(REPORT) == (
        "net.py:build, x86-64-v3, 1 thread; processor time of the calling thread, the least of its calls\n"
        "\n"
        "          us   share  calls  what\n"
        "        80.0   72.7%      4  linear layer of a.weight, b.weight, c.weight, 1 others\n"
        "                             net.py:3 in forward: a<b\n"
        "        20.0   18.2%      2  cpp_fused_add_0\n"
        "\n"
        "100.0 us in 6 kernels and layers\n"
        "10.0 us besides: checks, memory, the clocks\n"
        "105.0 us is a call without clocks; kernels and layers are 0.952 of it\n"
    )


def test_the_page_has_a_bar_for_each_row_and_is_for_light_and_dark() -> None:
    page = as_html(REPORT)
    assert 'style="width: 100.00%"' in page
    assert 'style="width: 25.00%"' in page
    assert "a&lt;b" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"src=|href=|url\(|@import", page)


def test_a_model_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(tmp_path / "absent.py:build")]) == 1
    assert "absent.py" in capsys.readouterr().err
