"""The version of the C ABI, as cpp/include/aotbuild/c_api.h has it, and the release as its headers have it."""

from __future__ import annotations

from aotbuild import __version__

ABI_VERSION = 4


def release() -> int:
    """``AOTBUILD_RELEASE`` of the headers that generated code is compiled with."""
    major, minor, patch = (int(number) for number in __version__.split("."))
    return 10000 * major + 100 * minor + patch
