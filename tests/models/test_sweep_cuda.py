"""The program of the sweep on a GPU: models that give results, that fail and that crash are told apart."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import torch
from model_builds import ROOT
from sweep_cuda import Plan, judge, read_outputs
from sweep_outcomes import CRASHED, PASSES, WRONG

MODELS = """\
#include <csignal>
#include "aotbuild/c_api.h"

static int64_t sizes[] = {2}, strides[] = {2};
static float values[3];
static const aotbuild_tensor_info tensor = {sizeof tensor, 1, "x", {AOTBUILD_FLOAT, 32, 1}, 0, {AOTBUILD_CPU, 0}};
static const aotbuild_tensor_info* const tensors[] = {&tensor};
static const aotbuild_method_info method = {sizeof method, "run", 1, tensors, 1, tensors};
static const aotbuild_method_info* const methods[] = {&method};

static const aotbuild_model_info* describe() {
  static aotbuild_model_info info;
  info.method_count = 1;
  info.methods = methods;
  return &info;
}
static aotbuild_status create(const aotbuild_options*, aotbuild_model**) { return AOTBUILD_OK; }
static void destroy(aotbuild_model*) {}
static void destroy_result(aotbuild_result*) {}
static const char* last_error() { return "out of\\norder"; }
// The sum of its input's neighbours, with a gap between the elements of its output.
static aotbuild_status run(aotbuild_model*, size_t, void*, const aotbuild_tensor* inputs, size_t,
                           aotbuild_tensor* outputs, size_t, aotbuild_result**) {
  const auto* x = static_cast<const float*>(inputs->data);
  for (int i = 0; i < 2; ++i) values[2 * i] = x[inputs->strides[0] * i] + x[inputs->strides[0] * (i + 1)];
  *outputs = {values, {AOTBUILD_CPU, 0}, 1, tensor.dtype, sizes, strides, 0};
  return AOTBUILD_OK;
}
static aotbuild_status fail(aotbuild_model*, size_t, void*, const aotbuild_tensor*, size_t, aotbuild_tensor*, size_t,
                            aotbuild_result**) { return AOTBUILD_RUNTIME_ERROR; }
static aotbuild_status crash(aotbuild_model*, size_t, void*, const aotbuild_tensor*, size_t, aotbuild_tensor*, size_t,
                             aotbuild_result**) { return std::raise(SIGSEGV), AOTBUILD_OK; }

static const aotbuild_api* api(decltype(aotbuild_api::run) run) {
  static aotbuild_api table;
  table.abi_version = AOTBUILD_ABI_VERSION;
  table.describe = describe;
  table.create = create;
  table.run = run;
  table.destroy = destroy;
  table.destroy_result = destroy_result;
  table.last_error = last_error;
  return &table;
}
extern "C" const aotbuild_api* first_api() { return api(run); }
extern "C" const aotbuild_api* crashing_api() { return api(crash); }
extern "C" const aotbuild_api* failing_api() { return api(fail); }
extern "C" const aotbuild_api* last_api() { return api(run); }
"""


def recorded(x: torch.Tensor, expected: list[float]) -> dict[str, Any]:
    output = ("float32", (len(expected),), torch.tensor(expected, dtype=torch.float32).numpy().tobytes())
    return {
        "args": (x,), "kwargs": {}, "cases": [([], [output])], "reference": None, "random": False,
        "stateful": False,
    }  # fmt: skip


def test_a_model_that_fails_or_crashes_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "models.cpp").write_text(MODELS)
    compiler = ["c++", "-std=c++17", f"-I{ROOT}/cpp/include"]
    library, runner = tmp_path / "libmodels.so", tmp_path / "sweep_runner"
    subprocess.run([*compiler, "-fPIC", "-shared", tmp_path / "models.cpp", "-o", library], check=True)
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    source = ROOT / "tests" / "gpu" / "sweep_runner.cpp"
    subprocess.run([*compiler, *warnings, source, "-ldl", "-o", runner], check=True)
    x = torch.arange(6.0)[::2]
    calls = {
        "first": recorded(x, [2, 6]),
        "crashing": recorded(x, [2, 6]),
        "failing": recorded(x, [2, 6]),
        "last": recorded(x, [2, 7]),
    }
    plan = Plan()
    for name, call in calls.items():
        plan.add(name, call)
    (tmp_path / "plan").write_text("".join(plan.lines))
    (tmp_path / "inputs").write_bytes(plan.data)
    files = [tmp_path / name for name in ("plan", "inputs", "outputs")]
    subprocess.run([runner, library, *files], check=True)
    with (tmp_path / "outputs").open("rb") as file:
        outcomes = {name: judge(calls[name], output) for name, output in read_outputs(file)}
    assert outcomes["first"] == (PASSES, "error 0.0e+00")
    assert outcomes["crashing"] == (CRASHED, "signal 11")
    assert outcomes["failing"] == (WRONG, "the call fails: out of order")
    assert outcomes["last"][0] == WRONG
    assert "output 0" in outcomes["last"][1]
