"""Makes the comments of a public header Doxygen's: what stands before or behind a declaration documents it.

python docs/doxygen_filter.py <header>, which Doxygen runs for each (docs/Doxyfile)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# What opens a block of declarations; any other block is the body of a function.
_SCOPE = re.compile(r'(?:typedef )?(?:(?:inline )?namespace|class|struct|union|enum|extern "C")(?=[ {])')
_VERSIONED = re.compile(r"(?:inline namespace AOTBUILD_NAMESPACE \{|\}  // namespace AOTBUILD_NAMESPACE)$")
_TABLE = re.compile(r"template <> struct dtype_of<")  # what dtype_of's own comment says
_CODE = "//     "
_NO_DOCUMENTATION = re.compile(r"// (?:clang-format|NOLINT|namespace)\b")


def filtered(header: str) -> Iterator[str]:
    """The lines of a header as Doxygen is to read them, one for each. The first comment documents the file."""
    yield "/// @file"
    bodies = 0  # how many blocks are open from the outermost body of a function on
    lines = header.splitlines()
    lines.remove("")  # so that Doxygen's messages have the header's own numbers
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""]):
        if line == "//" and _CODE in (before[: len(_CODE)], after[: len(_CODE)]):
            # As an indented passage Doxygen makes it <verbatim>, which MkDoxy leaves out.
            yield "/// @code{.c}" if after.startswith(_CODE) else "/// @endcode"
            continue
        code, mark, comment = line.partition("//")
        if _VERSIONED.match(line) or _TABLE.match(line):
            yield ""
            continue
        if _NO_DOCUMENTATION.match(mark + comment):
            yield code
            continue
        bare = re.sub(r'"(?:[^"\\]|\\.)*"|\'.\'', "", code)
        if mark and not bodies:
            yield f"{code}{'///<' if code.strip() else '///'}{comment}"
        else:
            yield code
        for brace in re.findall("[{}]", bare):
            if bodies or (brace == "{" and not _SCOPE.match(code.strip())):
                bodies += 1 if brace == "{" else -1


def main() -> None:
    print("\n".join(filtered(Path(sys.argv[1]).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
