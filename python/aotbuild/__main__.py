"""``python -m aotbuild``."""

import sys

from aotbuild.cli import main

sys.exit(main())
