"""Writes a model's folder for Triton Inference Server with the package in the folder that is named first."""

import sys

sys.path.append(sys.argv[1])

from aotbuild.serve.repository import main

sys.exit(main(sys.argv[2:]))
