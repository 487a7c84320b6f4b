"""A bundle measured by two workers of a Ray cluster on this machine, one of which is killed meanwhile: nothing is lost.

    tools/ray_test.sh

The candidates run over the stand-in for the driver. The runner is the one of docs/tuning.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from test_tune_program import ROOT, build_program, make_bundle

KERNELS = 400


def main() -> None:
    site = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build_program(folder)
        made = make_bundle(folder / "bundle", ["at_10_us", "at_8_us"], KERNELS, folder / "aotbuild-tune")
        environment = {**os.environ, "PYTHONPATH": str(site), "AOTBUILD_CUDA_DRIVER": str(folder / "driver.so")}
        (folder / "on_ray.py").write_text(_documented_runner())
        ray = [sys.executable, "-m", "ray.scripts.scripts"]
        start = ["start", "--head", "--num-cpus=2", "--num-gpus=2"]
        start += ["--disable-usage-stats", "--include-dashboard=false"]
        subprocess.run([*ray, *start], env=environment, check=True, stdout=subprocess.DEVNULL)
        try:
            _measure(made, folder / "on_ray.py", environment)
        finally:
            stopped = [*ray, "stop", "--force"]
            subprocess.run(stopped, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"{KERNELS} kernels by two workers, one of them killed: each candidate is measured, at most one anew")


def _documented_runner() -> str:
    text = (ROOT / "docs" / "tuning.md").read_text()
    found = re.search(r"on_ray\.py\"`.*?:\n\n((?:    .*\n|\n)+)", text)
    assert found is not None, "docs/tuning.md has no on_ray.py"
    return re.sub(r"^    ", "", found[1], flags=re.MULTILINE)


def _measure(made: Path, runner: Path, environment: dict[str, str]) -> None:
    aotbuild = shutil.which("aotbuild")
    assert aotbuild is not None
    command = [aotbuild, "tune", "run", str(made), "--shards", "2", "--runner", f"{sys.executable} {runner}"]
    tuning = subprocess.Popen(command, env=environment)
    killed = ""
    while tuning.poll() is None:
        started = sum(path.read_text().count('"started"') for path in made.glob("results*.jsonl"))
        if not killed and started > 10:
            killed = _kill_a_worker()
        time.sleep(0.02)
    assert killed, "no worker was there to kill"
    assert tuning.returncode == 0, f"`aotbuild tune run` ended with {tuning.returncode}"
    records = [json.loads(line) for path in made.glob("results*.jsonl") for line in path.read_text().splitlines()]
    done = {(r["kernel"], r["candidate"]) for r in records if r.get("status") in ("measured", "slow")}
    assert len(done) == 2 * KERNELS, f"{len(done)} of {2 * KERNELS} candidates are measured"
    starts = [(r["kernel"], r["candidate"]) for r in records if r.get("status") == "started"]
    again = len(starts) - len(set(starts))
    assert again <= 1, f"{again} candidates were started twice; only the one that was being measured has to be"


def _kill_a_worker() -> str:
    """Kills one process that runs a task, as the system does for want of memory."""
    listed = subprocess.run(["pgrep", "-f", "^ray::call"], stdout=subprocess.PIPE, text=True).stdout.split()
    if listed:
        os.kill(int(listed[0]), signal.SIGKILL)
    return listed[0] if listed else ""


if __name__ == "__main__":
    main()
