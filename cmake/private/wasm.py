"""Writes the files around a model's WebAssembly with the package in the folder that is named first."""

import sys

sys.path.append(sys.argv[1])

from aotbuild.web.module import main

sys.exit(main(sys.argv[2:]))
