"""The wheel of this checkout, built once, and an environment that it is installed in with pip."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

# pytest's importlib mode adds no folder to sys.path.
sys.path.insert(0, str(Path(__file__).parent))

from packaging_environment import run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-build-isolation", "--no-deps", f"--config-settings=build-dir={folder / 'build'}"]
    run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, "."])
    (built,) = folder.glob("aotbuild-*.whl")
    return built


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel. Its dependencies are this one's: installing them again takes minutes."""
    environment = tmp_path_factory.mktemp("environment") / "env"
    run([sys.executable, "-m", "venv", environment])
    run([environment / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", wheel])
    version = f"python3.{sys.version_info.minor}"
    (environment / "lib" / version / "site-packages/dependencies.pth").write_text(sysconfig.get_path("platlib") + "\n")
    for library in Path(sys.prefix, "lib").glob("libdnnl.*"):
        (environment / "lib" / library.name).symlink_to(library)
    include = environment / "include"
    include.mkdir(exist_ok=True)
    for header in Path(sys.prefix, "include").glob("*"):
        if not (include / header.name).exists():
            (include / header.name).symlink_to(header)
    return environment
