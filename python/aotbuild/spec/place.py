"""Where a call of CMake stands: its folders, and what the build is for."""

from __future__ import annotations

import os

from aotbuild.spec.record import record


@record
class Place:
    """What CMake says of the build at a call. Folders are absolute.

    ``kind``: of libraries that say none, STATIC or SHARED. ``owners``: the target that each OUTPUT_DIR belongs to.
    """

    source_dir: str
    binary_dir: str
    project_dir: str
    processor: str
    cuda_architectures: tuple[str, ...] = ()
    kind: str = "STATIC"
    has_c: bool = False
    is_target: bool = False  # the call's target exists
    is_generated: bool = False  # a model has the name of the call's target
    owners: dict[str, str] = {}  # noqa: RUF012 - read only

    def source(self, path: str) -> str:
        """A path that a call names, relative to its source folder."""
        return os.path.normpath(os.path.join(self.source_dir, path))

    def binary(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.binary_dir, path))
