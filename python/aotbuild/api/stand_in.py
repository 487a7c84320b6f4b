"""What CMake runs in the place of the generator: ``aotbuild.compile`` has written every source in its own process.

Usage: stand_in.py generate <options of the generator>. Imports nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(arguments: list[str]) -> str:
    """Touches the stamp. Returns what is wrong, or an empty text."""
    options = dict(zip(arguments[1::2], arguments[2::2]))
    stamp = Path(options["--stamp"])
    made = stamp.with_suffix(".request.json")
    target = options["--target"]
    if not made.is_file() or json.loads(made.read_text()) != arguments:
        return (
            f"aotbuild: error: the sources of {target} were written by aotbuild.compile, in a process that has the "
            "model, and are missing or for other arguments now; call aotbuild.compile again"
        )
    stamp.touch()
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) or 0)
