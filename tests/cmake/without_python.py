"""Runs commands where neither Python nor torch nor aotbuild can be found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def hidden_from_everything() -> list[str]:
    """What a process must not see for Python, torch and aotbuild to be nowhere: folders and files."""
    places = {sys.prefix, str(Path(__file__).parents[2] / "python"), str(Path(__file__).parents[2] / "cmake")}
    if sys.base_prefix not in ("/usr", "/usr/local"):
        places.add(sys.base_prefix)
    for folder in ("/usr/lib", "/usr/local/lib", "/usr/bin", "/usr/local/bin"):
        places |= {str(path) for path in Path(folder).glob("python*")}
    return sorted(places)


def without_python(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a mount namespace of its own, in which those places are empty."""
    covers = [
        f"mount -t tmpfs none '{place}'" if Path(place).is_dir() else f"mount --bind /dev/null '{place}'"
        for place in hidden_from_everything()
    ]
    script = " && ".join([*covers, 'exec "$@"'])
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command],
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def system_has(program: str) -> bool:
    return shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") is not None
