"""What `make docs` changes of the pages that MkDoxy makes: lists that nobody looks for are left out."""

from __future__ import annotations

from typing import Any

# Of the pages below cpp/, those that the site has: classes, headers and namespaces, and lists of the first two.
_LISTS = {"cpp/annotated.md", "cpp/files.md"}
_DETAILS = ("cpp/classaotbuild", "cpp/structaotbuild", "cpp/unionaotbuild", "cpp/namespaceaotbuild")


def on_files(files: Any, config: Any) -> Any:
    for file in list(files):
        if file.src_uri.startswith("cpp/") and not _is_shown(file.src_uri):
            files.remove(file)
    return files


def _is_shown(name: str) -> bool:
    is_namespace_of_details = name.startswith("cpp/namespace") and "detail" in name
    is_header = name.endswith(("8hpp.md", "8h.md"))
    return not is_namespace_of_details and (name in _LISTS or name.startswith(_DETAILS) or is_header)
