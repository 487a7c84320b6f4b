"""Runs `aotbuild plan` of the package in the folder that is named first, without what else an environment has."""

import sys

sys.path.append(sys.argv[1])

from aotbuild.spec.plan import main

main(sys.argv[2:])
