"""CONFIG: TorchInductor's settings in a TOML file, below OPTIONS, in the depfile and in the compile cache's key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aotbuild.commands import cli
from aotbuild.spec.config import read_config
from aotbuild.spec.errors import AotbuildError


@pytest.mark.quick
def test_tables_are_parts_of_a_settings_name(tmp_path: Path) -> None:
    path = tmp_path / "inductor.toml"
    path.write_text("epilogue_fusion = false\n[cpp]\nsimdlen = 8\nnames = ['a']\n")
    assert read_config(path) == {"epilogue_fusion": "False", "cpp.simdlen": "8", "cpp.names": "['a']"}


@pytest.mark.quick
def test_a_file_that_is_no_config_is_named(tmp_path: Path) -> None:
    path = tmp_path / "inductor.toml"
    with pytest.raises(AotbuildError, match=rf"CONFIG {path} can't be read: .*No such file"):
        read_config(path)
    path.write_text("simdlen: 8")
    with pytest.raises(AotbuildError, match=rf"CONFIG {path} is no TOML file: .*line 1"):
        read_config(path)


def test_options_win_and_the_file_is_a_dependency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AOTBUILD_CACHE_DIR", str(tmp_path / "cache"))
    config = tmp_path / "inductor.toml"
    (tmp_path / "relu.py").write_text("import torch\ndef build():\n    return torch.nn.ReLU(), (torch.ones(2, 3),)\n")
    command = ["generate", "--target", "net", "--model", "relu.py:build", "--output-dir", "out", "--depfile", "out/d"]

    def generate() -> object:
        assert cli.main([*command, "--config", str(config), "--option", "max_fusion_size=8", "--no-test"]) == 0
        dependencies = (tmp_path / "out/d").read_text().split()
        assert str(config) in dependencies
        # One file tells that torch or Triton is another, instead of their thousands.
        for package, file in (("torch", "version.py"), ("triton", "__init__.py")):
            assert [Path(name).name for name in dependencies if f"-packages/{package}/" in name] == [file]
        return json.loads((tmp_path / "out/net.manifest.json").read_text())["metadata"]["options"]

    config.write_text("max_fusion_size = 4\n[cpp]\nfallback_scatter_reduce_sum = false\n")
    assert generate() == {"cpp.fallback_scatter_reduce_sum": "False", "max_fusion_size": "8"}
    config.write_text("# without\n")
    assert generate() == {"max_fusion_size": "8"}
    config.write_text("max_fusion_sise = 4\n")
    assert cli.main([*command, "--config", str(config)]) == 1


@pytest.mark.parametrize("text", ["false", "False", "OFF", "off", "0"])
def test_a_bool_is_a_bool_however_it_is_written(text: str) -> None:
    from aotbuild.lower.common.options import option_values

    assert option_values({"epilogue_fusion": text}) == {"epilogue_fusion": False}


def test_options_have_the_types_that_torchinductor_declares() -> None:
    from aotbuild.lower.common.options import option_values

    texts = {
        "freezing": "ON",
        "max_fusion_size": "8",
        "cpp.simdlen": "none",
        "cpp.gemm_cache_blocking": "[1, 2]",  # of a type that nobody declares
        "cpp.enable_floating_point_contract_flag": "off",  # a string that is no bool
        "max_autotune_gemm_backends": "ATEN,TRITON",
        "max_autotune_gemm_search_space": "EXHAUSTIVE",
        "triton.multi_kernel": "2",
        "cpu_gpu_bw": "50",
        "multi_kernel_hints": "[64, 256]",
        "cpp.march": "none",
        "cuda_libraries": "cublaslt",  # aotbuild's own
    }
    values = option_values(texts)
    assert values == {
        "freezing": True,
        "max_fusion_size": 8,
        "cpp.simdlen": None,
        "cpp.gemm_cache_blocking": [1, 2],
        "cpp.enable_floating_point_contract_flag": "off",
        "max_autotune_gemm_backends": "ATEN,TRITON",
        "max_autotune_gemm_search_space": "EXHAUSTIVE",
        "triton.multi_kernel": 2,
        "cpu_gpu_bw": 50.0,
        "multi_kernel_hints": [64, 256],
        "cpp.march": None,
        "cuda_libraries": "cublaslt",
    }
    assert type(values["cpu_gpu_bw"]) is float


def test_values_of_other_types_are_refused_all_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aotbuild.lower.common.options import option_values

    texts = {
        "epilogue_fusion": "flase",
        "freezing": "2",
        "max_fusion_size": "8.5",
        "cpp.simdlen": "true",
        "max_autotune_gemm_search_space": "all",
        "multi_kernel_hints": "64",
        "post_grad_custom_post_pass": "print",
    }
    with pytest.raises(AotbuildError) as raised:
        option_values(texts, {"freezing": "2"})
    assert str(raised.value).splitlines() == [
        "OPTIONS epilogue_fusion=flase: the option is a bool, and 'flase' is no such value; write true or false",
        "CONFIG freezing=2: the option is a bool, and '2' is no such value; write true or false",
        "OPTIONS max_fusion_size=8.5: the option is an int, and '8.5' is no such value; write a whole number",
        "OPTIONS cpp.simdlen=true: the option is an int or none, and 'true' is no such value; write a whole number or "
        "none",
        "OPTIONS max_autotune_gemm_search_space=all: the option is one of a few words, and 'all' is no such value; "
        "write DEFAULT, EXHAUSTIVE",
        "OPTIONS multi_kernel_hints=64: the option is a list, and '64' is no such value; write as in [1, 2]",
        "OPTIONS post_grad_custom_post_pass=print: the option is what only Python code can give, and 'print' is no "
        "such value; write none, or leave it out",
    ]
    model = tmp_path / "relu.py"
    model.write_text("import torch\ndef build():\n    return torch.nn.ReLU(), (torch.ones(2, 3),)\n")
    command = ["generate", "--target", "net", "--model", f"{model}:build", "--output-dir", str(tmp_path / "out")]
    assert cli.main([*command, "--option", "epilogue_fusion=flase"]) == 1
    assert "OPTIONS epilogue_fusion=flase: the option is a bool" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
