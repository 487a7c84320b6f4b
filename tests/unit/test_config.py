"""CONFIG: TorchInductor's settings in a TOML file, below OPTIONS, in the depfile and in the compile cache's key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aotbuild import cli
from aotbuild.config import read_config
from aotbuild.errors import AotbuildError


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
