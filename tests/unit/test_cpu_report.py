"""`aotbuild report` of CPU models: clocks in a run function, and what is printed of them."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aotbuild.commands import cli
from aotbuild.commands.report import layers
from aotbuild.commands.report.cpu import fused
from aotbuild.commands.report.cpu_data import CpuReport, CpuRow, Machine, stated_machine
from aotbuild.commands.report.cpu_text import as_html, as_text
from aotbuild.commands.report.instrument import instrument
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import (
    BatchNorm,
    CompiledModel,
    Convolution,
    KernelCall,
    Linear,
    Mlp,
    QuantizedLinear,
    Recurrent,
    TensorData,
    Weight,
)

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
LINEAR = KernelCall("context_linear", ("net.py:3",), slot=3)
SORT = KernelCall("aoti_torch_cpu_sort", ())
CALLS = (
    LINEAR,
    KernelCall("cpp_fused_add_0", ("net.py:4",)),
    KernelCall("cpp_fused_add_0", ("net.py:5", "net.py:6")),
    SORT,
)


def test_each_call_that_computes_has_a_clock_and_nothing_else_has() -> None:
    text, parts = instrument(RUN, CALLS)
    assert parts == list(CALLS)
    assert "  { const PartClock clock(0); context_linear(context, 3, buf0, buf1); }\n" in text
    assert "    { const PartClock clock(2); cpp_fused_add_0(buf2); }\n" in text
    assert text.count("const PartClock clock(") == 4
    assert "\n  match_strides(buf0, {1});\n" in text
    without = re.sub(r"\{ const PartClock clock\(\d+\); (.*) \}", r"\1", text)
    assert without.endswith(RUN)


MAIN = """
#include <cstdio>

int main() {
  run();
  const std::int64_t* nanoseconds = aotbuild_part_nanoseconds();
  double figures[3];
  aotbuild_measure_machine(2, 1 << 20, figures);
  std::printf("%d %g %g %g\\n", nanoseconds[0] > 0 && nanoseconds[1] > 0, figures[0], figures[1], figures[2]);
}
"""


def test_the_clocks_count_and_the_machine_is_measured(tmp_path: Path) -> None:
    calls = [KernelCall("work", ()), KernelCall("work", ())]
    text, _ = instrument("void work() {}\nvoid run() {\n  work();\n  work();\n}\n", calls)
    source, program = tmp_path / "run.cpp", tmp_path / "run"
    source.write_text(text + MAIN)
    flags = ("-std=c++20", "-O2", "-fopenmp", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["g++", *flags, "-o", program, source], check=True)
    counted, *figures = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    assert counted == "1"
    memory, cache, flops = map(float, figures)
    # What every machine of the last twenty years is above, and none below.
    assert 1e8 < memory < 1e13 and 1e8 < cache < 1e14 and 1e8 < flops < 1e14


def test_a_model_without_kernels_has_no_parts() -> None:
    text, parts = instrument("void run() {\n  outputs[0] = inputs[0];\n}\n", ())
    assert parts == []
    assert "part_nanoseconds[1]" in text


def weight(name: str, *shape: int, dtype: str = "float32", itemsize: int = 4) -> Weight:
    count = 1
    for size in shape:
        count *= size
    return Weight(name, TensorData(dtype, shape, np.zeros(count * itemsize, np.uint8)))


CONVOLUTION = Convolution(4, None, 2, False, True, 1, (1, 1), (1, 1), (1, 1), (0, 0), ())
MODEL = CompiledModel(
    (),
    (
        weight("q", 32, 16),
        weight("k", 32, 16),
        weight("up", 64, 16),
        weight("down", 16, 64),
        weight("kernel", 8, 4, 3, 3),
        weight("int4", 32, 16, dtype="int8", itemsize=1),
        weight("w_ih", 12, 5),
        weight("b_ih", 12),
    ),
    linears=(Linear((0, 1), (None, None)), Linear((0,), (None,), "relu", precision="bfloat16")),
    mlps=(Mlp(Linear((2,), (None,), "gelu"), Linear((3,), (None,))), Mlp(Linear((2,), (None,)), Linear((3,), (None,)))),
    convolutions=(CONVOLUTION, replace(CONVOLUTION, norm=BatchNorm(0, 0, None, None, 1e-5), activation="relu")),
    quantized=(QuantizedLinear(5, None, None, 16, 4),),
    recurrent=(Recurrent((6, 7), "gru", 1, False, True, True, False),),
)


@pytest.mark.parametrize(
    ("function", "slot", "title", "nbytes", "flops"),
    [
        ("context_linear", 0, "2 linear layers in one product", 2 * 32 * 16 * 4, 2 * 10 * 2 * 32 * 16),
        ("context_linear", 1, "linear layer with relu", 32 * 16 * 2, 2 * 10 * 32 * 16),
        ("context_mlp", 0, "pair of linear layers with gelu between", 2 * 64 * 16 * 4, 2 * 10 * 2 * 64 * 16),
        ("context_mlp", 1, "pair of linear layers", 2 * 64 * 16 * 4, 2 * 10 * 2 * 64 * 16),
        ("context_convolution", 0, "convolution", 8 * 4 * 9 * 4, 2 * 10 * 8 * 4 * 9),
        ("context_convolution", 1, "convolution with batch norm and relu", 8 * 4 * 9 * 4, 2 * 10 * 8 * 4 * 9),
        ("context_quantized_linear", 0, "linear layer of 4-bit weights", 32 * 16 // 2, 2 * 10 * 32 * 16),
        ("context_recurrent", 0, "gru layer", (12 * 5 + 12) * 4, 2 * 10 * 12 * 5),
        ("aoti_torch_cpu_sort", None, "sort", 0, 0),
        ("cpp_fused_add_0", None, "cpp_fused_add_0", 0, 0),
    ],
)
def test_layers_have_their_names_bytes_and_operations(
    function: str, slot: int | None, title: str, nbytes: int, flops: int
) -> None:
    call = KernelCall(function, (), nbytes=100, flops=7, rows=(10, 10), slot=slot)
    layer = layers.layer_of(call, MODEL)
    assert layers.title(call, layer) == title
    assert layers.work(call, layer, MODEL) == (100 + nbytes, 7 + flops)


def test_a_transposed_convolution_multiplies_for_each_place_of_its_input() -> None:
    model = replace(MODEL, convolutions=(replace(CONVOLUTION, transposed=True),))
    call = KernelCall("context_convolution", (), rows=(10, 40), slot=0)
    assert layers.work(call, layers.layer_of(call, model), model)[1] == 2 * 10 * 8 * 4 * 9


def test_operators_stand_at_their_lines() -> None:
    places = ("/somewhere/net.py:3 in forward: x + y", "net.py:4 in forward: z")
    operators = (("add", places[0]), ("mul", places[0]), ("add", places[0]), ("arange", ""))
    assert fused(KernelCall("cpp_fused_0", places, operators)) == [
        ("net.py:3 in forward: x + y", ["add", "mul"]),
        ("net.py:4 in forward: z", []),
        ("", ["arange"]),
    ]


MACHINE = Machine(memory=10e9, cache=100e9, flops=100e9)


@pytest.mark.parametrize(
    ("microseconds", "nbytes", "flops", "expected"),
    [
        (100.0, 300_000, 5_000_000, (0.5, "arithmetic")),
        (100.0, 800_000, 2_000_000, (0.8, "memory")),
        (100.0, 5_000_000, 1_000_000, (0.5, "cache")),
    ],
)
def test_the_roofline_says_what_limits_a_kernel(
    microseconds: float, nbytes: int, flops: int, expected: tuple[float, str]
) -> None:
    row = CpuRow("f", 1, microseconds, (), (), nbytes, flops)
    assert row.of_roofline(MACHINE) == expected


@pytest.mark.parametrize("text", ["1e9,2e9", "a,b,c", "1e9,2e9,0", "1e9,2e9,inf", "1e9,2e9,-1"])
def test_a_machine_is_stated_as_three_numbers(text: str) -> None:
    assert stated_machine("") is None
    assert stated_machine("10e9,100e9,1e11") == MACHINE
    with pytest.raises(AotbuildError, match=re.escape(f"--machine {text}: write three numbers above 0")):
        stated_machine(text)


REPORT = CpuReport(
    "net.py:build",
    "x86-64-v3",
    1,
    call=105.0,
    clocked=110.0,
    rows=(
        CpuRow(
            "linear layer",
            4,
            80.0,
            (("net.py:3 in forward: a<b", ("linear",)),),
            ("a.weight", "b.weight", "c.weight", "d.weight"),
            400_000,
            6_000_000,
        ),
        CpuRow(
            "cpp_fused_add_0",
            2,
            20.0,
            (("net.py:4", ("add", "mul")), ("net.py:5", ()), ("", ("full",))),
            (),
            1_000_000,
            10_000,
        ),
        CpuRow("sort", 1, 5.0, (), ()),
    ),
    machine=MACHINE,
)


def test_the_text_has_times_the_roofline_and_what_is_fused() -> None:
    assert as_text(REPORT) == (
        "net.py:build, x86-64-v3, 1 thread; processor time of the calling thread, the least of its calls\n"
        "\n"
        "  us  share  calls  bytes  FLOP  bytes/s  FLOP/s  roofline       limit  what\n"
        "80.0  72.7%      4   400k    6M       5G     75G     75.0%  arithmetic"
        "  linear layer of a.weight, b.weight, c.weight, 1 others\n"
        "    linear at net.py:3 in forward: a<b\n"
        "20.0  18.2%      2     1M   10k      50G    500M     50.0%       cache  cpp_fused_add_0\n"
        "    add, mul at net.py:4\n"
        "    net.py:5\n"
        "    full\n"
        " 5.0   4.5%      1      -     -        -       -      0.0%      memory  sort\n"
        "\n"
        "105.0 us in 7 kernels and layers\n"
        "5.0 us besides: checks, memory, the clocks\n"
        "105.0 us is a call without clocks; kernels and layers are 1.000 of it\n"
        "roofline, as measured here: 10GB/s from memory, 100GB/s from the cache, 100GFLOP/s in float32\n"
    )
    assert "roofline, as stated: 10GB/s" in as_text(replace(REPORT, stated=True))


def test_the_page_has_bars_and_a_chart_and_is_for_light_and_dark() -> None:
    page = as_html(REPORT)
    assert 'style="width: 100.00%"' in page
    assert 'style="width: 25.00%"' in page
    assert "a&lt;b" in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<circle") == 2 and page.count('<polyline class="roof"') == 2
    assert "75.0% of the roofline, limit: arithmetic" in page
    assert '<span class="operators">add, mul</span> at net.py:4' in page
    assert not re.search(r"src=|href=|url\(|@import", page)


def test_a_model_without_operations_has_no_chart() -> None:
    assert "<svg" not in as_html(replace(REPORT, rows=()))


def test_a_model_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(tmp_path / "absent.py:build")]) == 1
    assert "absent.py" in capsys.readouterr().err
