"""The texts of the model's own checks in the errors of generated code."""

from __future__ import annotations

from collections.abc import Mapping

from torch._inductor import ir
from torch._inductor.graph import GraphLowering

from aotbuild import capture


def name_checks(graph: GraphLowering, texts: Mapping[str, str]) -> None:
    """Adds to each assertion of the graph the text of the check that it comes from.

    Args:
        texts: by each form that the condition may have, as ``capture.check_texts`` gives them.
    """
    for operation in graph.operations:
        if isinstance(operation, ir.AssertScalar):
            text = next((texts[form] for form in capture.check_forms(operation.scalar) if form in texts), None)
            if text is not None:
                operation.msg = f"{operation.scalar} ({in_literal(text)})"


def in_literal(text: str) -> str:
    """Text for a C++ string literal, which TorchInductor writes without escapes: one line of ASCII."""
    line = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if " " <= c <= "~" else "".join(f"\\{byte:03o}" for byte in c.encode()) for c in line)
