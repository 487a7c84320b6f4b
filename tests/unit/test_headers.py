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
#include <vector>

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


# What clang-cl is like, as far as the C++ library of this machine lets it be: MSVC's names, templates and keywords.
MICROSOFT = (
    *("-fms-compatibility", "-fms-compatibility-version=19.30", "-fms-extensions", "-fdelayed-template-parsing"),
    "-fgnuc-version=4.2.1",  # which the C library asks for
    "-Wno-#warnings",  # of the C++ library, which is not MSVC's
)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_headers_are_of_the_standard_alone(compiler: str, include: Path) -> None:
    for flags in ((), MICROSOFT) if compiler.startswith("clang") else ((),):
        done = compile_cpp(
            compiler, USER + "float use();" + THROWS, include, "-fsyntax-only", "-pedantic-errors", *flags
        )
        assert done.returncode == 0, done.stderr


def test_attributes_of_compilers_are_in_one_header() -> None:
    """That of the C ABI is in its own, which stands alone. Generated code and Python modules are for GCC and Clang."""
    folder = ROOT / "cpp/include/aotbuild"
    ours = [*folder.glob("*.h*"), *(folder / "detail" / name for name in ("export.h", "results.hpp", "shared.hpp"))]
    extension = re.compile(r"__attribute__|__builtin_|__typeof|__extension__|__asm|__int128|#pragma GCC|__GNUC__")
    found = {path.relative_to(folder).as_posix() for path in ours if extension.search(path.read_text())}
    assert found == {"c_api.h", "detail/export.h", "python.hpp"}


C_LAYOUT = """\
#include "aotbuild/c_api.h"

_Static_assert(sizeof(aotbuild_tensor) == 48 && sizeof(aotbuild_named_tensor) == 64, "as DLPack has it");
_Static_assert(offsetof(aotbuild_tensor, shape) == 24 && offsetof(aotbuild_tensor, byte_offset) == 40, "the same");
_Static_assert(sizeof(aotbuild_options) == 64 && offsetof(aotbuild_options, weight_count) == 24, "the same");
_Static_assert(offsetof(aotbuild_options, communicator_id) == 48, "behind what was padding before");
_Static_assert(sizeof(aotbuild_dim_info) == 48 && sizeof(aotbuild_statistics) == 56, "the same");
_Static_assert(sizeof(aotbuild_api) == 112 && sizeof(aotbuild_status) == 4, "the same");
"""


@pytest.mark.parametrize("target", ["x86_64-pc-windows-msvc", "x86_64-w64-mingw32", "x86_64-linux-gnu"])
def test_the_c_abi_has_one_layout_for_every_compiler(target: str) -> None:
    compiler = next(filter(shutil.which, ("clang", "clang-14", "clang-16", "clang-19")), None)
    if compiler is None:
        pytest.skip("needs Clang: make cross-tools")
    command = [compiler, f"--target={target}", "-std=c11", "-ffreestanding", "-nostdlibinc", "-fsyntax-only"]
    command += ["-Wall", "-Wextra", "-pedantic-errors", "-Werror", f"-I{ROOT / 'cpp/include'}", "-x", "c", "-"]
    done = subprocess.run(command, input=C_LAYOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def lines_of(header: str, include: Path) -> int:
    """What a compiler reads for a header: the lines that are left after preprocessing, without its markers."""
    command = ["g++", "-std=c++17", "-E", f"-I{ROOT / 'cpp/include'}", f"-I{include}", "-x", "c++", "-"]
    text = f'#include "{header}"\n'
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return sum(not line.startswith("#") for line in done.stdout.splitlines())


def test_a_generated_header_costs_little_to_include(include: Path) -> None:
    assert lines_of("encoder.hpp", include) <= 15000
    # <complex> alone is three times that, so headers have it where the model has complex types.
    assert lines_of("aotbuild/complex.hpp", include) > 40000


SPANS = """\
#include <span>
#include <vector>

#include "aotbuild/tensor.hpp"

float sum(std::span<const float> values) {
  float result = 0;
  for (const float value : values) result += value;
  return result;
}

int main() {
  std::vector<float> data(6, 1);
  const aotbuild::TensorView<const float, 1> row = std::span<const float>(data);
  aotbuild::Tensor<float, 2> tensor(aotbuild::TensorView<float, 2>(data.data(), {2, 3}), nullptr);
  const std::span<float> all = tensor;
  return sum(row) + sum(tensor) + sum(all) == 18 ? 0 : 1;
}
"""
MDSPANS = """\
#include <mdspan>
#include <vector>

#include "aotbuild/tensor.hpp"

int main() {
  std::vector<float> data(12);
  const std::mdspan matrix(data.data(), 4, 3);
  const aotbuild::TensorView<float, 2> view = matrix;
  const std::mdspan<const float, std::extents<std::int64_t, std::dynamic_extent, 3>> back = view;
  const aotbuild::TensorView<float, 2> columns(data.data(), {3, 4}, {1, 3});
  const std::mdspan<float, std::dextents<int, 2>, std::layout_stride> strided = columns;
  const std::mdspan<float, std::dextents<int, 2>, std::layout_left> left = columns;
  return view.stride(0) == 3 && back.extent(0) == 4 && strided.stride(1) == 3 && left.stride(0) == 1 ? 0 : 1;
}
"""


def runs(compiler: list[str], program: str, folder: Path) -> None:
    command = [*compiler, f"-I{ROOT / 'cpp/include'}", "-x", "c++", "-", "-o", str(folder / "program")]
    subprocess.run(command, input=program, text=True, check=True)
    subprocess.run([folder / "program"], check=True)


def test_contiguous_tensors_are_spans(tmp_path: Path) -> None:
    runs(["g++", "-std=c++20"], SPANS, tmp_path)


def test_views_are_mdspans_where_the_library_has_them(tmp_path: Path) -> None:
    """tests/cpp/tensor_test.cpp has a class like std::mdspan for compilers without it."""
    candidates = [["g++", "-std=c++23"], ["clang++-19", "-std=c++23", "-stdlib=libc++"]]
    for compiler in filter(lambda words: shutil.which(words[0]), candidates):
        check = [*compiler, "-fsyntax-only", "-x", "c++", "-"]
        if not subprocess.run(check, input="#include <mdspan>\n", text=True, capture_output=True).returncode:
            return runs(compiler, MDSPANS, tmp_path)
    pytest.skip("no compiler has <mdspan>: GCC 15, or Clang 19 with libc++-19-dev")


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
