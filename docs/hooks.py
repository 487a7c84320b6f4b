"""What `make docs` changes of the pages that MkDoxy makes: lists that nobody looks for are left out."""

from __future__ import annotations

from typing import Any

# Of the pages below cpp/, those that the site has: classes, headers and namespaces, and lists of the first two.
_LISTS = {"cpp/annotated.md", "cpp/files.md"}
_DETAILS = ("cpp/classaotbuild", "cpp/structaotbuild", "cpp/unionaotbuild", "cpp/namespaceaotbuild")


def on_files(files: Any, config: Any) -> Any:
    for file in list(files):
        name = file.src_uri
        is_header = name.endswith(("8hpp.md", "8h.md"))
        is_detail = "namespaceaotbuild_1_1" in name and "detail" in name
        if is_detail or name.startswith("cpp/") and name not in _LISTS and not name.startswith(_DETAILS) and not is_header:
            files.remove(file)
    return files
