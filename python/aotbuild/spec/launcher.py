"""The plain data of a hand-written kernel that becomes a C++ function: what was asked for, and what emission gets.

Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aotbuild.spec.dtypes import DTYPES
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.grid import GridExpression
from aotbuild.spec.values import parse

# Triton's element types of memory, with PyTorch's names of them; where PyTorch has none, the bytes.
POINTER_DTYPES = {
    **{dtype.triton: dtype.name for dtype in DTYPES.values() if dtype.triton},
    "fp8e4nv": "uint8",
    "fp8e5": "uint8",
}
SCALAR_TYPES = ("i1", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "fp32", "fp64")
_ALIGNMENT = 16  # the only one that Triton makes use of


@dataclass(frozen=True)
class Parameter:
    """An argument of a launch. ``kind``: "*fp32" or "i32". ``alignment``: what its value is a multiple of.

    ``written``: the kernel may write there.
    """

    name: str
    kind: str
    alignment: int = 1
    written: bool = True

    @property
    def is_pointer(self) -> bool:
        return self.kind.startswith("*")

    @property
    def is_integer(self) -> bool:
        return self.kind[0] in "iu"

    @property
    def dtype(self) -> str:
        """PyTorch's name of the elements that a pointer points to."""
        return POINTER_DTYPES[self.kind[1:]]


@dataclass(frozen=True, eq=False)
class LauncherVariant:
    """The kernel for one architecture, ``isa`` ("sm_90").

    ``table``: C++ of the array ``kernels``, which points into the array ``images``. ``constants``: values that the
    grid may refer to. ``image_kind``: of ``CudaImageKind``.
    """

    isa: str
    namespace_name: str
    capability: int
    image_kind: str
    images: bytes
    table: str
    shared_bytes: int
    constants: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CompiledLauncher:
    """All that emission needs. ``function``: the kernel's name. ``kernels``: for `aotbuild report`, JSON values."""

    function: str
    parameters: Sequence[Parameter]
    grid: tuple[GridExpression, GridExpression, GridExpression]
    variants: Sequence[LauncherVariant]
    metadata: dict[str, Any] = field(default_factory=dict)
    kernels: list[dict[str, Any]] = field(default_factory=list)


def parse_signature(entries: Sequence[str]) -> tuple[dict[str, Parameter], dict[str, Any]]:
    """Parameters by name, and values of constants, from entries of SIGNATURE: ``x=*fp32:16``, ``n=i32``, ``block=64``.

    Raises:
        AotbuildError: for entries of another form; all of them at once.
    """
    parameters: dict[str, Parameter] = {}
    constants: dict[str, Any] = {}
    problems = []
    for entry in entries:
        name, _, text = entry.partition("=")
        kind, separator, alignment = text.partition(":")
        known = kind[1:] in POINTER_DTYPES if kind.startswith("*") else kind in SCALAR_TYPES
        aligned = kind.startswith("*") or kind[:1] in ("i", "u")
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or not text:
            problems.append(f"SIGNATURE {entry!r} is not name=type or name=value, as in x=*fp32")
        elif known and separator and (alignment != str(_ALIGNMENT) or not aligned or kind == "i1"):
            problems.append(
                f"SIGNATURE {entry!r}: {kind} may be followed by :{_ALIGNMENT}, a promise that Triton makes use of, if "
                "it is a pointer or an integer; leave the rest out"
            )
        elif known:
            parameters[name] = Parameter(name, kind, _ALIGNMENT if separator else 1)
        elif kind in POINTER_DTYPES or kind.startswith("*"):
            problems.append(
                f"SIGNATURE {entry!r}: {kind} is no type of an argument; use a scalar ({', '.join(SCALAR_TYPES)}) or a "
                f"pointer (*{', *'.join(POINTER_DTYPES)})"
            )
        else:
            constants[name] = parse(text)
    if problems:
        raise AotbuildError("\n".join(problems))
    return parameters, constants


def parse_settings(keyword: str, text: str) -> dict[str, str]:
    """``name=value`` pairs with blanks between them, as an entry of CONFIGS or EXAMPLES has them.

    Raises:
        AotbuildError: for anything else, and for a name that comes twice.
    """
    settings: dict[str, str] = {}
    for part in text.split():
        name, separator, value = part.partition("=")
        if not separator or not value or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise AotbuildError(f"{keyword} {text!r}: {part!r} is not name=value")
        if name in settings:
            raise AotbuildError(f"{keyword} {text!r} sets {name} more than once; keep one of them")
        settings[name] = value
    return settings
