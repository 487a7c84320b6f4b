"""The compile cache: what the generator made of the same sources, or lowered from the same graph, in a folder.

Two keys lead to a result. That of the request needs no torch: the model's own file by content, and all that was asked
for. Below it lies what a model found while it was made, each with the result; one counts when the build that asks finds
the same (``results``). The graph's key is known after the export: the exported program without the values of its
weights, so that new weights skip the lowering (``graphs``). Kernels for GPUs are kept by their source.
"""

from aotbuild.cache.keys import Request, request, toolchain_files
from aotbuild.cache.reads import Recording, recorded
from aotbuild.cache.remote import URL_VARIABLE
from aotbuild.cache.results import Hit, find, keep
from aotbuild.cache.store import DIRECTORY_VARIABLE, SIZE_VARIABLE, Store, enabled

__all__ = [
    "DIRECTORY_VARIABLE",
    "SIZE_VARIABLE",
    "URL_VARIABLE",
    "Hit",
    "Recording",
    "Request",
    "Store",
    "enabled",
    "find",
    "keep",
    "recorded",
    "request",
    "toolchain_files",
]
