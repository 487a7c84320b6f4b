"""Makes docs/cmake.md out of the references that stand beside the functions in cmake/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The order of the page.
SOURCES = (
    "aotbuildConfig",
    "AddAotModel",
    "AddAotKernel",
    "AotbuildGenerate",
    "AotbuildAddModelTest",
    "AotbuildAddModelBenchmark",
    "AddAotPythonExtension",
    "AotbuildEmbedBinary",
    "AotbuildAddTritonModel",
    "AotbuildAddWasmModule",
    "AotbuildInstall",
)
NOTE = "<!-- Made by docs/make_cmake_reference.py from cmake/*.cmake: edit there. -->\n"


def reference() -> str:
    """The whole page."""
    parts = []
    for name in SOURCES:
        text = (ROOT / "cmake" / f"{name}.cmake").read_text()
        block = re.search(r"^#\[=\[\.md:\n(.*?)^#\]=\]$", text, re.DOTALL | re.MULTILINE)
        if block is None:
            raise SystemExit(f"cmake/{name}.cmake has no reference: a comment from '#[=[.md:' to '#]=]'")
        parts.append(block[1])
    return NOTE + "\n".join(parts)


if __name__ == "__main__":
    (ROOT / "docs" / "cmake.md").write_text(reference())
