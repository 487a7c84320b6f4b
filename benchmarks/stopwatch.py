"""From a machine with torch to the first result: seconds of each step with the wheel in dist/.

    make stopwatch

The environment is new and empty but for torch and what else aotbuild requires, which are this one's. Caches of
compilers and of models are off.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from deploy_worker import stripped_bytes
from harness import machine, save, table

ROOT = Path(__file__).parents[1]


def tools_path(environment: Path) -> str:
    tools = {str(Path(found).parent) for name in ("cmake", "ninja") if (found := shutil.which(name))}
    return os.pathsep.join([str(environment / "bin"), "/usr/local/bin", "/usr/bin", "/bin", *sorted(tools)])


def main() -> None:
    wheels = sorted(ROOT.glob("dist/aotbuild-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise SystemExit("dist/ holds no wheel: run `make wheel`")
    with tempfile.TemporaryDirectory() as folder:
        environment, project = Path(folder, "env"), Path(folder, "hello")
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        packages = environment / f"lib/python3.{sys.version_info.minor}/site-packages"
        # Below the environment's own packages, so that its aotbuild is the one of the wheel.
        (packages / "torch.pth").write_text(sysconfig.get_path("platlib") + "\n")
        variables = {
            "PATH": tools_path(environment),
            "HOME": folder,
            "CCACHE_DISABLE": "1",
            "AOTBUILD_CACHE_DIR": "OFF",
        }
        steps = {
            "pip install aotbuild": ["pip", "install", "--no-index", "--force-reinstall", "--no-deps", str(wheels[-1])],
            "aotbuild init hello": ["aotbuild", "init", str(project)],
            "cmake --preset release": ["cmake", "--preset", "release"],
            "cmake --build --preset release": ["cmake", "--build", "--preset", "release"],
            "build/hello": [str(project / "build/hello")],
        }
        seconds = {}
        for name, command in steps.items():
            start = time.perf_counter()
            where = project if project.exists() else Path(folder)
            done = subprocess.run(command, cwd=where, env=variables, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"{name} failed:\n{done.stdout}\n{done.stderr}")
            seconds[name] = time.perf_counter() - start
        print(done.stdout)
        program = stripped_bytes(project / "build/hello")
    seconds["in all"] = sum(seconds.values())
    print(table(["step", "seconds"], [[name, f"{taken:.1f}"] for name, taken in seconds.items()]))
    sizes = {"wheel_megabytes": wheels[-1].stat().st_size / 1e6, "program_megabytes": program / 1e6}
    print(f"\nthe wheel {sizes['wheel_megabytes']:.1f} MB, the stripped program {sizes['program_megabytes']:.2f} MB")
    save("stopwatch", {"machine": machine(), **sizes, "seconds": seconds})


if __name__ == "__main__":
    main()
