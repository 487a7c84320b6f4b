"""Emission: turns a compiled model into the files that CMake compiles, and writes them."""

from aotbuild.emit.files import write
from aotbuild.emit.render import render

__all__ = ["render", "write"]
