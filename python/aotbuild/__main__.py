"""``python -m aotbuild``."""

import sys

from aotbuild.commands.cli import main

sys.exit(main())
