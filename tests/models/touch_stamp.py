"""Stands in for the generator while CMake builds: `generate_targets.py` has written every file that CMake expects."""

from __future__ import annotations

import sys
from pathlib import Path

arguments = dict(zip(sys.argv[2::2], sys.argv[3::2]))
Path(arguments["--stamp"]).touch()
