"""The public headers under strict warnings and in programs without exceptions and run-time types."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aotbuild import emit
from aotbuild.spec.program import CompiledModel, Dim, EmitOptions, Method, Signature, TensorSpec, Variant

ROOT = Path(__file__).parents[2]
COMPILERS = [
    name
    for name in ("g++", "g++-11", "clang++", "clang++-14", "clang++-16", "clang++-19")
    if shutil.which(name) and Path(shutil.which(name) or "").exists()
]
# -O2: some warnings are of what is inlined.
STRICT = [
    *("-std=c++17", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow"),
    *("-Wnull-dereference", "-Wold-style-cast", "-Wcast-qual", "-Wnon-virtual-dtor", "-Woverloaded-virtual"),
    *("-Wdouble-promotion", "-Wformat=2", "-Werror"),
]

USER = """\
#include "encoder.hpp"
#include "aotbuild/dlpack.hpp"
#include "aotbuild/kernel.hpp"

struct Dl {
  struct Type { unsigned char code; unsigned char bits; unsigned short lanes; } dtype;
  struct Device { int device_type; int device_id; } device;
  void* data;
  int ndim;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};

float use(const Dl& ids, const std::vector<std::int64_t>& mask);
float use(const Dl& ids, const std::vector<std::int64_t>& mask) {
  const auto view = aotbuild::try_from_dlpack<const std::int64_t, 2>(ids);
  auto encoder = Encoder::try_create();
  if (!view || !encoder || !encoder->try_manual_seed(1)) return -1;
  const auto outputs = encoder->try_run({*view, {mask.data(), {2, 4}}});
  float sum = 0;
  if (outputs) {
    for (const float value : outputs->output) sum += value;
  }
  return sum + static_cast<float>(aotbuild::bfloat16(sum)) + static_cast<float>(aotbuild::float16(sum));
}
"""
THROWS = """
float use() {
  const Encoder encoder;
  const std::vector<std::int64_t> ids(8, 1);
  Encoder::Outputs outputs = encoder.run({{ids.data(), {2, 4}}, {ids.data(), {2, 4}}});
  return *outputs.output.begin();
}
"""


def encoder() -> CompiledModel:
    sizes = (Dim(1, 64, "batch"), Dim(1, 512, "length"))
    inputs = tuple(TensorSpec((name,), "int64", sizes) for name in ("ids", "mask"))
    signature = Signature(inputs, (TensorSpec(("output",), "float32", (sizes[0], Dim(2, 2))),))
    return CompiledModel((Method("run", signature, (Variant("x86-64-v3", "encoder_v3", "", "", ()),)),), ())


@pytest.fixture(scope="module")
def include(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("headers")
    for name, content in emit.render(encoder(), EmitOptions("encoder")).items():
        if name.startswith("include/"):
            (folder / Path(name).name).write_bytes(content)
    return folder


def compile_cpp(compiler: str, text: str, include: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [compiler, *STRICT, f"-I{ROOT / 'cpp/include'}", f"-I{include}", *flags]
    if compiler.startswith("g++"):
        command += ["-Wuseless-cast", "-Wduplicated-cond", "-Wlogical-op"]
    return subprocess.run(
        [*command, "-x", "c++", "-", "-c", "-o", os.devnull], input=text, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("compiler", COMPILERS)
def test_headers_have_no_warnings_with_and_without_exceptions(compiler: str, include: Path) -> None:
    for text, flags in ((USER + "float use();" + THROWS, ()), (USER, ("-fno-exceptions", "-fno-rtti"))):
        done = compile_cpp(compiler, text, include, *flags)
        assert done.returncode == 0, done.stderr


def test_what_throws_is_not_there_without_exceptions(include: Path) -> None:
    done = compile_cpp("g++", USER + "float use();" + THROWS, include, "-fno-exceptions")
    assert "error:" in done.stderr
    assert "class Encoder" in done.stderr or "Encoder" in done.stderr


def test_the_pages_program_without_exceptions_compiles(include: Path) -> None:
    (program,) = re.findall(r"```cpp\n(.*?)```", (ROOT / "docs/errors.md").read_text(), re.DOTALL)
    done = compile_cpp("g++", program, include, "-fno-exceptions", "-fno-rtti")
    assert done.returncode == 0, done.stderr


PLUGIN = (
    USER
    + "float use();"
    + THROWS
    + """
extern "C" const aotbuild_api* encoder_api() { return nullptr; }
extern "C" const aotbuild_model_info* encoder_describe() { return nullptr; }
const aotbuild::CudaStream stream_of_the_plugin;
aotbuild_dtype any(const aotbuild::AnyTensorView& view);
aotbuild_dtype any(const aotbuild::AnyTensorView& view) { return view.c_tensor().dtype; }
"""
)


def exported_by_a_plugin(library: Path, include: Path, *flags: str) -> set[str]:
    """The functions of aotbuild that a user's shared library exports, which has default visibility."""
    command = ["g++", "-std=c++17", "-O0", "-shared", "-fPIC", *flags, f"-I{ROOT / 'cpp/include'}", f"-I{include}"]
    subprocess.run([*command, "-x", "c++", "-", "-o", str(library)], input=PLUGIN, text=True, check=True)
    nm = ["nm", "-D", "--defined-only", "-C", str(library)]
    symbols = subprocess.run(nm, capture_output=True, text=True, check=True).stdout.splitlines()
    return {symbol for line in symbols if "aotbuild::" in (symbol := line.split(" ", 2)[2])}


def test_plugins_built_with_different_releases_share_nothing(include: Path, tmp_path: Path) -> None:
    this = exported_by_a_plugin(tmp_path / "this.so", include)
    assert len(this) > 100
    assert not [symbol for symbol in this if re.search(r"aotbuild::(?!(detail::)?v\d+_\d+_\d+::)", symbol)]
    headers = shutil.copytree(ROOT / "cpp/include", tmp_path / "next")
    version = headers / "aotbuild/detail/version.h"
    version.write_text(version.read_text().replace("NAMESPACE v0", "NAMESPACE v9"))
    assert not this & exported_by_a_plugin(tmp_path / "next.so", include, f"-I{headers}")
