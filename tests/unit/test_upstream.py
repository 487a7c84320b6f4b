"""What aotbuild replaces in PyTorch and Triton is as it was when the replacement was written.

`python tests/unit/test_upstream.py` writes tests/unit/upstream.json anew for the installed release, once somebody has
looked at what changed.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from aotbuild.spec.upstream import REPLACED, patched, patched_entries

pytestmark = pytest.mark.quick
RECORD = Path(__file__).with_name("upstream.json")
PACKAGE = Path(__file__).parents[2] / "python/aotbuild"


def found(name: str) -> Any:
    """What a name of the table stands for."""
    if "::" in name:
        operator, _, attribute = name.partition(".")
        namespace, _, function = operator.partition("::")
        return getattr(getattr(getattr(torch.ops, namespace), function).default, attribute)
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            value = inspect.getattr_static(value, part) if isinstance(value, type) else getattr(value, part)
        return value
    raise LookupError(name)


def digest(value: Any) -> str:
    """Of a function's or class's source, without comments and layout; of others, their type."""
    value = inspect.unwrap(value.__func__ if isinstance(value, staticmethod) else value)
    try:
        text = ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(value))))
    except TypeError:
        text = type(value).__name__
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def digests() -> dict[str, str]:
    import torch._inductor.compile_fx  # noqa: F401  # registers operators

    return {name: digest(found(name)) for name in sorted(REPLACED)}


def release() -> str:
    return torch.__version__.partition("+")[0]


def test_every_replaced_name_exists() -> None:
    assert digests().keys() == REPLACED.keys()


def test_what_is_replaced_is_what_was_looked_at() -> None:
    recorded = json.loads(RECORD.read_text())
    pinned = [line for line in (PACKAGE.parents[1] / "constraints.txt").read_text().splitlines() if "torch==" in line]
    assert f"torch=={recorded['torch']}" in pinned
    if release() != recorded["torch"]:
        pytest.skip(f"nobody has recorded torch {release()}: that every name exists is what is known of it")
    changed = {name: REPLACED[name] for name, now in digests().items() if recorded["names"].get(name) != now}
    assert not changed, "look at what these are now, mend what replaces them, and run this file"


def test_nothing_else_is_replaced() -> None:
    with pytest.raises(KeyError, match=r"textwrap\.indent is not in the table"), patched(textwrap, "indent", None):
        pass
    for path in sorted(PACKAGE.rglob("*.py")):
        assert "mock" not in path.read_text(), path


def test_replacements_end() -> None:
    from torch._inductor import lowering

    before, table = torch.cuda.is_available, dict(lowering.lowerings)
    with (
        contextlib.suppress(ZeroDivisionError),
        patched(torch.cuda, "is_available", lambda: True),
        patched_entries(lowering, "lowerings", {"a": len, next(iter(table)): None}),
    ):
        assert torch.cuda.is_available()
        assert lowering.lowerings["a"] is len
        raise ZeroDivisionError
    assert torch.cuda.is_available is before
    assert lowering.lowerings == table


if __name__ == "__main__":
    RECORD.write_text(json.dumps({"torch": release(), "names": digests()}, indent=1) + "\n")
