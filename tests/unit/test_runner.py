"""The Python runner: arrays in and out without copies, errors as the library words them."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

aotbuild = pytest.importorskip("aotbuild")
pytest.importorskip("aotbuild._runner", reason="aotbuild is not installed: run `make bootstrap`")


@pytest.mark.quick
def test_importing_the_package_imports_neither_torch_nor_the_compiled_module() -> None:
    code = "import aotbuild, sys; sys.exit('torch' in sys.modules or 'aotbuild._runner' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_repr_is_the_signature(echo: Any) -> None:
    signature = "echo(x: float32[n=1..1000], options.scale: float32[]) -> (scaled: float32[n], stats.size: int64[])"
    assert echo.signature == signature
    assert repr(echo) == f"<aotbuild model {signature}>"
    assert echo.manifest["target"] == "echo"


@pytest.mark.parametrize("options", [{"scale": 2.0}, SimpleNamespace(scale=np.float32(2.0))], ids=["dict", "object"])
def test_nested_inputs_and_outputs(echo: Any, options: Any) -> None:
    if isinstance(options, SimpleNamespace):
        options.scale = np.asarray(options.scale)
    outputs = echo(np.arange(3, dtype=np.float32), options=options)
    np.testing.assert_array_equal(outputs.scaled, [0, 2, 4])
    assert outputs["stats"]["size"] == outputs.stats.size == 3
    assert list(outputs) == ["scaled", "stats"]
    with pytest.raises(AttributeError, match="no output is named 'logits'"):
        _ = outputs.logits


def test_inputs_are_not_copied_and_strides_are_followed(echo: Any) -> None:
    base = np.arange(6, dtype=np.float32)
    base.flags.writeable = False
    np.testing.assert_array_equal(echo(base[::2], {"scale": 1.0}).scaled, [0, 2, 4])


def test_outputs_outlive_the_model(echo_library: Path) -> None:
    scaled = aotbuild.load(echo_library)(np.ones(1000, np.float32), {"scale": 3.0}).scaled
    gc.collect()
    assert not scaled.flags.owndata
    assert scaled.sum() == 3000


def test_torch_tensors_give_torch_tensors(echo: Any) -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(4, dtype=torch.float32, requires_grad=True)
    outputs = echo(x, {"scale": torch.tensor(2.0)})
    assert torch.equal(outputs.scaled, torch.tensor([0.0, 2.0, 4.0, 6.0]))
    assert isinstance(outputs.stats.size, torch.Tensor)


def test_lazily_negated_tensors_have_their_values(echo: Any) -> None:
    torch = pytest.importorskip("torch")
    x = torch.complex(torch.zeros(3), torch.arange(3.0)).conj().imag
    assert x.is_neg()
    assert torch.equal(echo(x, {"scale": torch.tensor(2.0)}).scaled, torch.tensor([-0.0, -2.0, -4.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, x: f(), r"echo\(\) misses the input 'x': echo\(x: float32\[n=1..1000\]"),
        (lambda f, x: f(x), r"echo\(\) misses the input 'options'"),
        (lambda f, x: f(x, {}), r"echo\(\) misses the input 'options.scale'"),
        (lambda f, x: f(x, x, x), r"echo\(\) takes 2 inputs in position, got 3"),
        (lambda f, x: f(x, x=x), r"echo\(\) got two values for the input 'x'"),
        (lambda f, x: f(x, y=x), r"echo\(\) has no input 'y'"),
        (lambda f, x: f([1.0], {"scale": 1.0}), r"echo: input 'x' is of type list; pass a NumPy array"),
        (lambda f, x: f(x.astype(">f4"), {"scale": 1.0}), r"echo: input 'x' is big-endian"),
        (lambda f, x: f(x.astype(object), {"scale": 1.0}), r"echo: input 'x' has the NumPy dtype object"),
        (lambda f, x: f.load_weights(3), r"expected the path of a safetensors file or a mapping .* got int"),
    ],
)
def test_wrong_calls_name_what_is_wrong(echo: Any, call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(echo, np.ones(2, np.float32))


def test_capsules_that_are_no_tensors_are_refused(echo: Any) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "reliability"))
    import ctypes

    from dlpack import Given, Managed

    def call(given: Given) -> str:
        with pytest.raises(TypeError) as error:
            echo(given, {"scale": 1.0})
        return str(error.value)

    unnamed = "echo: input 'x': __dlpack__() of Given gives no unused capsule named 'dltensor'; pass numpy.from_dlpack"
    for name in (b"used_dltensor", b"dltensor_versioned"):
        assert call(Given(name, Managed())).startswith(unnamed)
    assert call(Given(b"", None)).startswith(unnamed)
    managed = Managed()
    managed.tensor.ndim = 2
    assert call(Given(b"dltensor", managed)).endswith("gives a tensor of 2 dimensions without sizes")
    sizes = (ctypes.c_int64 * 1)(2)
    managed.tensor.shape = ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64))
    managed.tensor.ndim = -1
    assert call(Given(b"dltensor", managed)).endswith("gives a tensor of -1 dimensions")


def test_what_the_library_refuses_is_an_error_with_its_message_and_status(echo: Any, echo_library: Path) -> None:
    with pytest.raises(aotbuild.Error, match="echo: input 'x' is not float32 of rank 1") as error:
        echo(np.ones(2), {"scale": 1.0})
    assert error.value.status == "INVALID_ARGUMENT"
    with pytest.raises(aotbuild.Error, match=r"echo: cannot open missing\.safetensors") as error:
        aotbuild.load(echo_library, weights="missing.safetensors")
    assert error.value.status == "INVALID_WEIGHTS"
    with pytest.raises(aotbuild.Error, match=r"cannot open other\.safetensors"):
        echo.load_weights(Path("other.safetensors"))


def test_a_library_that_was_built_again_is_loaded_anew(tmp_path: Path, build_another_echo: Callable[..., Path]) -> None:
    x, path = np.ones(2, np.float32), tmp_path / "libecho.so"
    models = []
    for factor in (1, 2, 3):
        build_another_echo(path, f"-DECHO_FACTOR={factor}")
        models += [aotbuild.load(path), aotbuild.load(path)]
    assert [float(model(x, {"scale": 1.0}).scaled[0]) for model in models] == [1, 1, 2, 2, 3, 3]


def test_files_that_are_no_model_are_refused(tmp_path: Path, build_another_echo: Callable[..., Path]) -> None:
    with pytest.raises(FileNotFoundError, match="there is no model library"):
        aotbuild.load(tmp_path / "missing.so")
    text = tmp_path / "text.so"
    text.write_text("text")
    with pytest.raises(aotbuild.Error, match="cannot load the library"):
        aotbuild.load(text)
    with pytest.raises(aotbuild.Error, match="does not export aotbuild_model_api"):
        aotbuild.load(sys.modules["aotbuild._runner"].__file__)


def test_libraries_of_other_versions_are_refused_before_they_are_read(
    tmp_path: Path, build_another_echo: Callable[..., Path]
) -> None:
    message = r"other\.so: the model's library has version 7 of aotbuild's binary interface, .* version 4\. Build"
    with pytest.raises(aotbuild.Error, match=message):
        aotbuild.load(build_another_echo(tmp_path / "other.so", "-DECHO_ABI_VERSION=7"))
    with pytest.raises(aotbuild.Error, match=r"shorter\.so: .* of an earlier release of aotbuild"):
        aotbuild.load(build_another_echo(tmp_path / "shorter.so", "-DECHO_API_SIZE=100"))
