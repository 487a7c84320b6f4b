"""The typed class of a CUDA model: host or device in the type, streams; it needs no header of CUDA."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aotbuild import emit
from aotbuild.spec.paths import include_directory
from aotbuild.spec.program import (
    CompiledModel,
    Dim,
    EmitOptions,
    GpuVariant,
    Method,
    Numbering,
    Signature,
    TensorData,
    TensorSpec,
    Weight,
)

GOLDEN = Path(__file__).parent / "emit_golden" / "on_gpu.hpp"

USER = """\
#include <utility>
#include <vector>
#include "aotbuild/dlpack.hpp"
#include "on_gpu.hpp"

// The structures of dlpack.h and a stream of cuda_runtime.h.
struct DLDevice { int device_type; int device_id; };
struct DLDataType { unsigned char code; unsigned char bits; unsigned short lanes; };
struct DLTensor {
  void* data; DLDevice device; int ndim; DLDataType dtype; std::int64_t* shape; std::int64_t* strides;
  std::uint64_t byte_offset;
};
struct DLManagedTensor { DLTensor dl_tensor; void* manager_ctx; void (*deleter)(DLManagedTensor*); };
using cudaStream_t = struct CUstream_st*;

DLManagedTensor* use(float*, cudaStream_t, const DLTensor&);
DLManagedTensor* use(float* on_device, cudaStream_t stream, const DLTensor& shared) {
  const OnGpu model;
  std::vector<float> x(6);
  const float scale = 2;
  OnGpu::Outputs outputs = model.run({{x.data(), {2, 3}}, scale});
  model.run({{x.data(), {2, 3}}, scale}, stream);
  const aotbuild::DeviceView<float, 2> view(on_device, {2, 3});
  model.run({view, scale}, {outputs.y.view()}, stream);
  model.run({outputs.y, outputs.y(0, 0)}, {{x.data(), {2, 3}, {3, 1}}});
  model.run({view, scale}, {view});
  OnGpu::DeviceOutputs made = model.run_on_device({view, scale}, stream);
  made = model.run_on_device({made.y, aotbuild::from_dlpack_anywhere<const float, 0>(shared)});
  model.capture_graph({aotbuild::DeviceView<const float, 2>(nullptr, {4, 3}), scale});
  return model.statistics().graph_obstacle == nullptr ? aotbuild::to_dlpack<DLManagedTensor>(std::move(made.y))
                                                      : aotbuild::to_dlpack<DLManagedTensor>(std::move(outputs.y));
}
"""

# What the compiler has to refuse.
MISUSES = {
    "elements of device memory": "float f(const OnGpu::DeviceOutputs& outputs) { return outputs.y(0, 0); }",
    "a device view as host memory": "aotbuild::TensorView<float, 2> f(aotbuild::DeviceView<float, 2> v) { return v; }",
    "read-only memory for an output": "OnGpu::OutputViews f(aotbuild::DeviceView<const float, 2> x) { return {x}; }",
}


def on_gpu() -> CompiledModel:
    batch = Dim(1, 64, "batch")
    x = TensorSpec(("x",), "float32", (batch, Dim(3, 3)), device="cuda")
    scale = TensorSpec(("s",), "float32", (), device="cuda")
    y = TensorSpec(("y",), "float32", (batch, Dim(3, 3)), device="cuda")
    run = (
        '#include "aotbuild/detail/cuda_wrapper.hpp"\n\nnamespace on_gpu_sm_90 {\n'
        "extern const aotbuild::detail::CudaVariantSpec cuda;\n"
        "const aotbuild::detail::CudaVariantSpec cuda{};\n"
        "void run(aotbuild::detail::CallContext&, AtenTensorHandle*, AtenTensorHandle*) {}\n}\n"
    )
    variant = GpuVariant("sm_90", "on_gpu_sm_90", run, "", (), b"image")
    return CompiledModel((Method("run", Signature((x, scale), (y,)), (variant,)),), ())


def render() -> dict[str, bytes]:
    return emit.render(on_gpu(), EmitOptions("on_gpu"))


def compile_cpp(source: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler")
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    return subprocess.run(
        [*command, f"-I{include_directory()}", *flags, "-fsyntax-only", str(source)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.quick
def test_the_header_is_the_recorded_one() -> None:
    text = render()["include/on_gpu.hpp"].decode()
    if os.environ.get("AOTBUILD_RECORD"):  # AOTBUILD_RECORD=1 pytest tests/unit/test_emit_cuda.py
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_uses_compile_and_misuses_do_not(tmp_path: Path) -> None:
    for name, content in render().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    include = f"-I{tmp_path / 'include'}"
    for name in ("on_gpu.cpp", "on_gpu_api.cpp", "on_gpu_run_sm_90.cpp"):
        compiled = compile_cpp(tmp_path / "src" / name, include)
        assert compiled.returncode == 0, compiled.stderr
    user = tmp_path / "user.cpp"
    user.write_text(USER)
    compiled = compile_cpp(user, include)
    assert compiled.returncode == 0, compiled.stderr
    for what, code in MISUSES.items():
        user.write_text(f'#include "on_gpu.hpp"\n{code}\n')
        assert "error:" in compile_cpp(user, include).stderr, what


METHODS_USER = """\
#include <cstdint>
#include <utility>
#include <vector>
#include "on_gpu.hpp"

using cudaStream_t = struct CUstream_st*;

std::int64_t use(float*, cudaStream_t);
std::int64_t use(float* on_device, cudaStream_t stream) {
  const OnGpu model;
  const OnGpu session = model.new_session();
  std::vector<float> x(6);
  OnGpu::PrefillOutputs outputs = session.prefill({{x.data(), {2, 3}}, 2.0F}, stream);
  const aotbuild::DeviceView<float, 2> view(on_device, {1, 3});
  OnGpu::DecodeDeviceOutputs made = session.decode_on_device({view, outputs.y(0, 0)}, stream);
  made = session.decode_on_device({made.y, outputs.y(0, 0)});
  session.decode({view, 2.0F}, {view}, stream);
  session.capture_graph(OnGpu::PrefillInputs{aotbuild::DeviceView<const float, 2>(nullptr, {4, 3}), 2.0F});
  return made.y.size(0) + static_cast<std::int64_t>(session.statistics().calls);
}
"""


def with_methods() -> CompiledModel:
    """The model twice, with state."""
    (method,) = on_gpu().methods
    (variant,) = method.variants
    methods = []
    for name in ("prefill", "decode"):
        namespace = f"on_gpu_{name}_sm_90"
        assert isinstance(variant, GpuVariant)
        run = variant.run_source.replace("on_gpu_sm_90", namespace)
        renamed = replace(variant, namespace_name=namespace, run_source=run)
        methods.append(replace(method, name=name, variants=(renamed,), numbering=Numbering((0, 1), (), (), ())))
    zeros = TensorData("float32", (2,), np.zeros(8, np.uint8))
    return CompiledModel(tuple(methods), (Weight("cache", zeros, mutated=True, required=False),))


def test_methods_have_streams_devices_and_graphs_of_their_own(tmp_path: Path) -> None:
    files = emit.render(with_methods(), EmitOptions("on_gpu"))
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert {"on_gpu.prefill.images_sm_90.bin", "on_gpu.decode.images_sm_90.bin"} < set(files)
    (tmp_path / "user.cpp").write_text(METHODS_USER)
    for source in ("src/on_gpu.cpp", "src/on_gpu_api.cpp", "src/on_gpu.decode_run_sm_90.cpp", "user.cpp"):
        compiled = compile_cpp(tmp_path / source, f"-I{tmp_path / 'include'}")
        assert compiled.returncode == 0, compiled.stderr
    header = files["include/on_gpu.h"].decode()
    assert "on_gpu_decode_on_stream(aotbuild_model* model, void* stream," in header
    assert "on_gpu_prefill_capture_graph(aotbuild_model* model," in header
