"""`aotbuild inspect` and `aotbuild diff`: what they read of manifests and ELF files, and what they print."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aotbuild import emit
from aotbuild.commands import cli
from aotbuild.commands.inspect.compare import compare
from aotbuild.commands.inspect.elf import qualified_name
from aotbuild.commands.inspect.page import as_html
from aotbuild.commands.inspect.read import inspect
from aotbuild.spec.program import (
    CompiledModel,
    Dim,
    EmitOptions,
    Method,
    Signature,
    TensorData,
    TensorSpec,
    Variant,
    Weight,
)

pytestmark = pytest.mark.quick


def manifest(target: str, **changes: Any) -> str:
    features = TensorSpec(("features",), "float32", (Dim(1, 64, "batch"), Dim(4, 4)))
    result = TensorSpec(("output",), "float32", (Dim(1, 64, "batch"), Dim(3, 3)))
    variant = Variant("x86-64-v3", "kernels", "void run();\n", "", ())
    weight = Weight("w", TensorData("float32", (4,), np.zeros(16, np.uint8)))
    metadata = {"versions": {"aotbuild": "0.1.0", "torch": "2.13.0"}, "runtime": "standalone", "options": {}}
    model = CompiledModel((Method("run", Signature((features,), (result,)), (variant,)),), (weight,), metadata=metadata)
    text = emit.render(model, EmitOptions(target, test=False))[f"{target}.manifest.json"].decode()
    about: dict[str, Any] = {**json.loads(text), **changes}
    return json.dumps(about, indent=2, sort_keys=True) + "\n"


def library(path: Path, manifests: Mapping[str, str], *, padding: int = 0, flags: tuple[str, ...] = ()) -> Path:
    """An ELF file that holds manifests, weights of 16 bytes each and two kernels, as models do."""
    texts = "".join(
        f'extern const char {name}[] = R"m({text})m";\nextern const char {name}_weights[16] = {{1}};\n'
        for name, text in manifests.items()
    )
    code = f"""{texts}
namespace aotbuild_net_x86 {{
void cpp_fused_relu_0(float* x) {{ for (int i = 0; i < 100; ++i) x[i] = x[i] > 0 ? x[i] : {padding}; }}
void run(float* x) {{ cpp_fused_relu_0(x); }}
}}
"""
    command = ["g++", "-shared", "-fPIC", "-O0", "-x", "c++", "-", "-o", str(path), *flags]
    subprocess.run(command, input=code, text=True, check=True)
    return path


def test_a_library_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = library(tmp_path / "libnet.so", {"net": manifest("net")})
    assert cli.main(["inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    for line in (
        "net\n",
        "  function  run(features: float32[batch=1..64, 4]) -> (output: float32[batch=1..64, 3])\n",
        "  C++       Net in net.hpp; C: net_...\n",
        "  weights   inside the library, 1 tensors, 16 bytes\n",
        "  state     none\n",
        "  runs on   x86-64-v3\n",
        "  made by   aotbuild 0.1.0, torch 2.13.0\n",
    ):
        assert line in printed
    assert re.search(r"^ +16  weights$", printed, re.MULTILINE)
    assert re.search(r"^ +\d+  cpp_fused_relu_0$", printed, re.MULTILINE)
    about = inspect(path)
    assert sum(about.parts.values()) == about.size == path.stat().st_size
    assert set(about.kernels) == {"cpp_fused_relu_0", "run"}


def test_a_stripped_program_with_two_models_and_an_archive_are_read(tmp_path: Path) -> None:
    both = {"net": manifest("net"), "other": manifest("other")}
    stripped = inspect(library(tmp_path / "program", both, flags=("-s",)))
    assert [model.target for model in stripped.models] == ["net", "other"]
    assert stripped.kernels == {}
    assert stripped.parts["weights"] == 32
    archive = tmp_path / "libnet.a"
    subprocess.run(["ar", "rcs", archive, tmp_path / "program"], check=True)
    about = inspect(archive)
    assert [model.target for model in about.models] == ["net", "other"]
    assert about.parts == {}


def test_a_manifest_and_its_folder_are_read_and_printed_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.manifest.json").write_text(manifest("net"))
    assert cli.main(["inspect", str(tmp_path), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["models"] == [json.loads(manifest("net"))]
    assert about["file"] == "net.manifest.json"


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    path = library(tmp_path / "libnet.so", {"net": manifest("net", namespace="a<b")})
    assert cli.main(["inspect", str(path), "--html", str(tmp_path / "net.html")]) == 0
    page = (tmp_path / "net.html").read_text()
    assert page == as_html(inspect(path))
    assert "a&lt;b::Net" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"src=|href=|url\(|@import", page)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("net.txt", b"nothing", "net.txt holds no model of aotbuild; name a library or program with one, or <target>."),
        ("absent.so", None, "absent.so: No such file or directory"),
        ("cut.so", "cut", "cut.so is cut off or damaged; build it again"),
    ],
)
def test_a_file_that_is_nothing_of_the_kind_is_named(
    name: str, content: Any, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if content == "cut":
        whole = library(tmp_path / "libnet.so", {"net": manifest("net")}).read_bytes()
        path.write_bytes(whole[: len(whole) - 500])
    elif content is not None:
        path.write_bytes(content)
    assert cli.main(["inspect", str(path)]) == 1
    assert f"aotbuild: error: {tmp_path / expected}" in capsys.readouterr().err


def test_diff_names_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(manifest("net"))
    changed = json.loads(manifest("net"))
    changed["inputs"][0]["dtype"] = "float64"
    changed["metadata"]["versions"]["torch"] = "2.14.0"
    changed["metadata"]["options"] = {"max_autotune": True}
    new.write_text(json.dumps(changed, indent=2, sort_keys=True) + "\n")
    assert cli.main(["diff", str(old), str(new)]) == 0
    assert capsys.readouterr().out == (
        "interface\n"
        "  run: run(features: float32[batch=1..64, 4]) -> (output: float32[batch=1..64, 3]) -> "
        "run(features: float64[batch=1..64, 4]) -> (output: float32[batch=1..64, 3])\n"
        "settings\n"
        "  made by torch: 2.13.0 -> 2.14.0\n"
        "  option max_autotune: - -> True\n"
        "\n"
        "not called: both have to be shared libraries\n"
    )
    assert cli.main(["diff", str(old), str(old)]) == 0
    assert capsys.readouterr().out.startswith("the same in all that their manifests and parts say\n")


def test_diff_wants_one_model_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = library(tmp_path / "one.so", {"net": manifest("net")})
    two = library(tmp_path / "two.so", {"net": manifest("net"), "other": manifest("other")})
    assert cli.main(["diff", str(one), str(two)]) == 1
    assert f"{two} holds 2 models (net, other); name the library of one" in capsys.readouterr().err


def test_models_that_diff_cannot_call_are_compared_all_the_same(tmp_path: Path) -> None:
    given = {"mode": "external", "file": None, "count": 1, "bytes": 16}
    path = library(tmp_path / "libnet.so", {"net": manifest("net", weights=given)})
    difference = compare(path, path)
    assert difference.why_not_called == "the program gives the weights"
    assert difference.changes == {}


def test_names_of_functions() -> None:
    assert qualified_name("_ZN5outer3run4coldEv.cold") == ("outer", "run", "cold")
    assert qualified_name("main") == ("main",)
