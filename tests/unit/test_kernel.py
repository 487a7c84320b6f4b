"""Hand-written kernels: grid expressions, what is refused, and generated code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aotbuild.spec import grid
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.launcher import parse_settings, parse_signature

KERNEL = """\
import triton
import triton.language as tl

SCALE = tl.constexpr(3)


@triton.jit
def scaled(x):
    return x * SCALE


@triton.jit
def plain(x, out, count, class_, block: tl.constexpr, wide: tl.constexpr = False):
    i = tl.program_id(0) * block + tl.arange(0, block)
    tl.store(out + i, scaled(tl.load(x + i, i < count)), i < count)


@triton.jit
def fused(x, block: tl.constexpr):
    value = tl.load(x + tl.arange(0, block))
    tl.store(x + tl.arange(0, block), value * value + 3.0 * value)


@triton.autotune(configs=[triton.Config({"block": 32}, num_warps=1), triton.Config({"block": 64})], key=["count"])
@triton.jit
def tuned(x, count, block: tl.constexpr):
    i = tl.program_id(0) * block + tl.arange(0, block)
    tl.atomic_add(x + i, 1, i < count)


@triton.autotune(configs=[triton.Config({"block": 32}, num_ctas=2)], key=["count"])
@triton.jit
def clustered(x, count, block: tl.constexpr):
    tl.store(x, count)


@triton.heuristics({"block": lambda arguments: 32})
@triton.jit
def guessed(x, count, block: tl.constexpr):
    tl.store(x, count)


@triton.jit
def described(x, count, block: tl.constexpr):
    described = tl.make_tensor_descriptor(x, shape=[count, 64], strides=[64, 1], block_shape=[block, 64])
    described.store([0, 0], described.load([0, 0]) * 2)


def ordinary():
    pass
"""


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "value", "cpp"),
    [
        ("cdiv(n, 4)", 3, "cdiv(n, 4)"),
        ("triton.cdiv(n, b) * 2", 8, "cdiv(n, b) * 2"),
        ("(n + 1) // b - 1", 3, "floor_div(n + 1, b) - 1"),
        ("-(-n // b)", 4, "-floor_div(-n, b)"),
        (
            "min(n, b, 2) + max(n % b, 1)",
            4,
            "std::min<std::int64_t>({n, b, 2}) + std::max<std::int64_t>({modulo(n, b), 1})",
        ),
        ("64 * 2", 128, "128"),
        ("(n - 1) * (b - 1)", 20, "(n - 1) * (b - 1)"),
    ],
)
def test_grid_is_the_same_in_python_and_cpp(text: str, value: int, cpp: str) -> None:
    expression = grid.parse("GRID", text)
    assert expression.evaluate({"n": 11, "b": 3}) == value
    assert expression.cpp({"n": "n", "b": "b"}) == cpp


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("n / 2", "GRID 'n / 2': n / 2 is not allowed; use // for integers; a grid has integers, arguments"),
        ("f(n)", "GRID 'f(n)': f(n) is not allowed; a grid has"),
        ("cdiv(n)", "GRID 'cdiv(n)': cdiv(n) is not allowed"),
        ("n.x", "n.x is not allowed"),
        ("n 2", "GRID 'n 2' is no expression: invalid syntax; use integers, arguments"),
        ("n * (1 // 0)", "GRID 'n * (1 // 0)' divides by 0"),
        ("True", "True is not allowed"),
    ],
)
def test_what_is_no_grid_is_refused(text: str, problem: str) -> None:
    with pytest.raises(AotbuildError) as error:
        grid.parse("GRID", text)
    assert problem in str(error.value)


@pytest.mark.quick
def test_signature_and_settings_are_read() -> None:
    parameters, constants = parse_signature(["x=*fp16:16", "n=i32:16", "f=fp32", "m=*u8", "block=64", "mode=fast"])
    assert [(p.kind, p.alignment) for p in parameters.values()] == [("*fp16", 16), ("i32", 16), ("fp32", 1), ("*u8", 1)]
    assert constants == {"block": 64, "mode": "fast"}
    with pytest.raises(AotbuildError) as error:
        parse_signature(["x", "y=*fp17", "z=fp16", "f=fp32:16", "n=i32:8"])
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [
        "SIGNATURE 'x' is not name=type or name=value, as in x=*fp32",
        "SIGNATURE 'y=*fp17'",
        "SIGNATURE 'z=fp16'",
        "SIGNATURE 'f=fp32",
        "SIGNATURE 'n=i32",
    ]
    assert parse_settings("CONFIGS", " a=1  b=x") == {"a": "1", "b": "x"}
    with pytest.raises(AotbuildError, match="CONFIGS 'a=1 a=2' sets a more than once; keep one of them"):
        parse_settings("CONFIGS", "a=1 a=2")
    with pytest.raises(AotbuildError, match="EXAMPLES 'a': 'a' is not name=value"):
        parse_settings("EXAMPLES", "a")


def load(folder: Path, function: str, signature: str, **keywords: Any) -> Any:
    pytest.importorskip("triton")
    from aotbuild.lower.cuda.compile import hand_written
    from aotbuild.spec.target import cuda_target

    (folder / "kernels.py").write_text(KERNEL)
    given = {"grid": ["cdiv(count, block)"], "configs": [], "examples": [], **keywords}
    return hand_written.load(
        f"kernels.py:{function}",
        signature=signature.split(),
        base=folder,
        gpu=cuda_target("90").architecture,
        **given,
    )


PLAIN = "x=*fp32:16 out=*fp32 count=i32 class_=i64"


def test_kernel_is_what_its_keywords_say(tmp_path: Path) -> None:
    from aotbuild.lower.cuda.compile import hand_written
    from aotbuild.lower.cuda.compile.hints import BufferHint
    from aotbuild.spec.target import cuda_target

    examples = ["x=count out=2*count count=100 class_=-1"]
    kernel = load(tmp_path, "plain", PLAIN, configs=["block=64", "block=128 num_warps=8 wide=True"], examples=examples)
    assert [(p.name, p.written) for p in kernel.parameters] == [
        ("x", False), ("out", True), ("count", False), ("class_", False)
    ]  # fmt: skip
    assert kernel.configs == (
        {"num_warps": 4, "num_stages": 3, "wide": False, "block": 64},
        {"num_warps": 8, "num_stages": 3, "wide": True, "block": 128},
    )
    assert [path.name for path in kernel.files] == ["kernels.py"]
    gpu = cuda_target("90").architecture
    tunable = hand_written.tunable(kernel, gpu)
    assert "def scaled(x):" in tunable.kernel.source
    assert "SCALE" in tunable.kernel.source
    assert tunable.cases == ((BufferHint(400, "float32", "x"), BufferHint(800, "float32", "out"), 100, -1),)
    # The key is that of what is measured: not of the configurations to choose from, but of the sizes and the code.
    fewer = load(tmp_path, "plain", PLAIN, configs=["block=64"], examples=examples)
    assert hand_written.tunable(fewer, gpu).key == tunable.key
    larger = load(tmp_path, "plain", PLAIN, configs=["block=64"], examples=[examples[0].replace("100", "101")])
    assert hand_written.tunable(larger, gpu).key != tunable.key
    unaligned = load(tmp_path, "plain", PLAIN.replace(":16", ""), configs=["block=64"], examples=examples)
    assert hand_written.tunable(unaligned, gpu).key != tunable.key


def test_compiled_kernels_are_kept_in_the_compile_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its size, permissions and checksums, where it is on; a kernel that is damaged or of another GPU compiles."""
    triton = pytest.importorskip("triton")
    from aotbuild.lower.cuda.compile import hand_written, kernels
    from aotbuild.spec.target import cuda_target

    monkeypatch.chdir(tmp_path)
    kernel = load(tmp_path, "fused", "x=*fp32", grid=["1"], configs=["block=32"])

    def compile_for(architecture: str) -> kernels.CompiledKernel:
        target = cuda_target(architecture)
        source = hand_written.triton_kernel(kernel, target.architecture)
        (result,) = kernels.compile_kernels([source], target, processes=0)
        return result

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Triton was called")

    def kept(architecture: str) -> kernels.CompiledKernel | None:
        """What there is without Triton."""
        with monkeypatch.context() as without:
            without.setattr(triton, "compile", fail)
            try:
                return compile_for(architecture)
            except AotbuildError as error:
                if "Triton was called" not in str(error):
                    raise
                return None

    before = sorted(tmp_path.rglob("*"))
    for value in ("OFF", "", "0"):  # no folder of that name
        monkeypatch.setenv("AOTBUILD_CACHE_DIR", value)
        first = compile_for("90")
        assert kept("90") is None
    monkeypatch.delenv("AOTBUILD_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept("90") is None
    assert sorted(tmp_path.rglob("*")) == before

    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o2775)
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(folder))
    assert compile_for("90") == kept("90") == first
    assert kept("80") is None
    compile_for("80")
    assert kept("90") == first
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o7777 for path in files} == {0o664}
    for path in files:
        path.write_bytes(path.read_bytes().replace(b'"num_warps": 4', b'"num_warps": 8'))
    assert kept("90") is None
    assert compile_for("90") == first
    monkeypatch.setenv("AOTBUILD_CACHE_SIZE", "1K")
    compile_for("89")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 1024


def test_the_keys_of_kernels_hold_all_modules_that_compile_them() -> None:
    pytest.importorskip("triton")
    from aotbuild.lower.cuda.compile import kernels

    preloaded = "".join(f"import {name}\n" for name in ("aotbuild.lower.cuda.compile.kernels", *kernels._PRELOADED))
    code = f"import sys\n{preloaded}print(*(name for name in sys.modules if name.startswith('aotbuild.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    parts = {name for name in loaded if not name.startswith("aotbuild.cache")}
    known = {"aotbuild.lower", "aotbuild.lower.cuda", "aotbuild.lower.cuda.compile", "aotbuild.spec"}
    known |= {f"aotbuild.spec.{name}" for name in ("ascii_names", "errors", "record", "target", "upstream")}
    assert parts == known | {f"aotbuild.lower.cuda.compile.{name}" for name in kernels.PARTS}


def test_the_environment_does_not_say_how_kernels_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    from aotbuild.lower.cuda.compile import hand_written
    from aotbuild.lower.cuda.compile.kernels import compile_kernels
    from aotbuild.spec.target import cuda_target

    target = cuda_target("90")
    kernel = load(tmp_path, "fused", "x=*fp32", grid=["1"], configs=["block=32"])
    images = []
    for fusion in ("1", "0"):
        monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", fusion)
        source = hand_written.triton_kernel(kernel, target.architecture)
        (compiled,) = compile_kernels([source], target, processes=0)
        images.append(compiled.image)
    assert images[0] == images[1]


def test_configurations_are_found_in_the_decorator(tmp_path: Path) -> None:
    kernel = load(tmp_path, "tuned", "x=*i32 count=i32")
    assert kernel.configs == (
        {"num_warps": 1, "num_stages": 3, "block": 32},
        {"num_warps": 4, "num_stages": 3, "block": 64},
    )
    assert kernel.parameters[0].written
    fixed = load(tmp_path, "plain", f"{PLAIN} block=64")
    assert fixed.configs == ({"num_warps": 4, "num_stages": 3, "wide": False},)
    assert fixed.constants == {"block": 64}


@pytest.mark.parametrize(
    ("function", "signature", "keywords", "problem"),
    [
        ("ordinary", "", {}, "KERNEL kernels.py:ordinary: a function is no function with @triton.jit, or with"),
        ("none", "", {}, "KERNEL kernels.py:none: kernels.py defines no 'none'; it has: "),
        (
            "guessed",
            "",
            {},
            "a Heuristics is no function with @triton.jit, or with @triton.autotune above it; give what",
        ),
        ("clustered", "x=*i32 count=i32", {}, "num_ctas is not supported; name the configurations in CONFIGS"),
        ("tuned", "x=*i32", {}, "KERNEL kernels.py:tuned: SIGNATURE lacks 'count'; give its type, as in count=*fp32"),
        (
            "tuned",
            "x=*i32 count=i32 y=i32",
            {},
            "SIGNATURE has 'y', which tuned does not take; it takes x, count, block",
        ),
        ("tuned", "x=*i32 count=i32 block=i32", {}, "SIGNATURE block=i32: it is a tl.constexpr; give its value"),
        ("tuned", "x=*i32 count=i32 block=8", {}, "sets block, as SIGNATURE does; keep one of the two"),
        ("plain", PLAIN, {}, "plain without CONFIGS: the tl.constexpr block has no value; give it in CONFIGS"),
        (
            "plain",
            PLAIN,
            {"configs": ["blok=1"]},
            "CONFIGS 'blok=1' sets blok; a configuration has: block, wide, num_warps",
        ),
        (
            "tuned",
            "x=*i32 count=i32",
            {"grid": ["n"]},
            "GRID 'n' has 'n', which is no integer of tuned; these are: count, ",
        ),
    ],
)
def test_kernel_that_does_not_fit_its_keywords(
    tmp_path: Path, function: str, signature: str, keywords: dict[str, Any], problem: str
) -> None:
    with pytest.raises(AotbuildError) as error:
        load(tmp_path, function, signature, **keywords)
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        ("x=count", "EXAMPLES 'x=count' lacks 'count'; an example gives each of x, count: a number, and for pointers"),
        ("x=1 count=1 y=1", "EXAMPLES 'x=1 count=1 y=1' has 'y'"),
        ("x=n count=16", "EXAMPLES 'x=n count=16': x refers to 'n', which is no integer of the example"),
        ("x=1 count=1.5", "EXAMPLES 'x=1 count=1.5': count is of type i32; give a number"),
        ("x=1 count=17", "EXAMPLES 'x=1 count=17': count is no multiple of 16"),
    ],
)
def test_example_that_does_not_fit(tmp_path: Path, example: str, problem: str) -> None:
    from aotbuild.lower.cuda.compile import hand_written
    from aotbuild.spec.target import cuda_target

    kernel = load(tmp_path, "tuned", "x=*i32 count=i32:16", examples=[example])
    with pytest.raises(AotbuildError) as error:
        hand_written.tunable(kernel, cuda_target("90").architecture)
    assert problem in str(error.value)


def test_two_builds_of_a_kernel_are_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two folders, each with kernels compiled anew, from one database."""
    pytest.importorskip("triton")
    from aotbuild.generate.kernel import KernelRequest, KernelSource, bundle, generate
    from aotbuild.spec.program import EmitOptions

    source = KernelSource(
        "kernels.py:tuned", ("x=*i32:16", "count=i32"), ("cdiv(count, block)",), examples=("x=count count=64",)
    )
    results = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "kernels.py").write_text(KERNEL)
        monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(folder / "cache"))
        made = bundle(source, "90", target="tuned", versions="v", base=folder)
        (kernel,) = made.kernels
        assert [candidate.grids for candidate in kernel.candidates] == [[(2, 1, 1)], [(1, 1, 1)]]
        line = (
            f"sm_90 {kernel.key} | H100 | block=64 num_stages=3 num_warps=4 | 1.00 us, heuristics 2.00 us | v | tuned\n"
        )
        (folder / "tuned.tuning").write_text(line)
        request = KernelRequest(
            source, EmitOptions(target="tuned"), folder / "out", folder / "out/stamp", ("90",),
            folder / "out/tuned.d", folder / "tuned.tuning", folder,
        )  # fmt: skip
        generate(request)
        assert "tuned.tuning" in (folder / "out/tuned.d").read_text()
        out = folder / "out"
        files = [path for path in out.rglob("*") if path.is_file() and path.suffix not in (".d", "")]
        results.append({path.relative_to(out).as_posix(): path.read_bytes() for path in files})
        (folder / "tuned.tuning").unlink()
        generate(request)
        assert (out / "src/tuned_sm_90.cpp").read_bytes() != results[-1]["src/tuned_sm_90.cpp"]
    assert results[0] == results[1]
    assert b"block = 64;" in results[0]["src/tuned_sm_90.cpp"]


def test_descriptors_made_on_the_device_need_a_model(tmp_path: Path) -> None:
    """A launch by itself has no memory for them; a model's calls have."""
    pytest.importorskip("triton")
    from aotbuild.generate.kernel import KernelRequest, KernelSource, generate
    from aotbuild.lower.cuda.compile import hand_written
    from aotbuild.lower.cuda.compile.kernels import compile_kernels
    from aotbuild.spec.program import EmitOptions
    from aotbuild.spec.target import cuda_target

    kernel = load(tmp_path, "described", "x=*fp32:16 count=i32", configs=["block=16"], grid=["1"])
    gpu = cuda_target("90")
    (compiled,) = compile_kernels([hand_written.tunable(kernel, gpu.architecture).kernel], gpu, processes=0)
    assert compiled.scratch_bytes == 128
    source = KernelSource("kernels.py:described", ("x=*fp32:16", "count=i32"), ("1",), configs=("block=16",))
    request = KernelRequest(
        source, EmitOptions(target="net"), tmp_path / "out", tmp_path / "out/stamp", ("90",),
        tmp_path / "out/net.d", None, tmp_path,
    )  # fmt: skip
    with pytest.raises(
        AotbuildError, match="net: KERNEL described makes tensor descriptors on the device, for which a"
    ):
        generate(request)
