"""The sections and symbols of an ELF file (System V ABI, 64-bit, little-endian), read and never loaded."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_MAGIC = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_SYMBOL_TABLE, _NO_BITS = 2, 8
_FUNCTION = 2


@dataclass(frozen=True)
class Section:
    """``offset`` and ``size`` are bytes of the file; of what has none there, such as ``.bss``, the size is 0."""

    name: str
    offset: int
    size: int
    kind: int
    flags: int
    link: int

    @property
    def part(self) -> str:
        """What it is for."""
        if not self.flags & _ALLOC:
            return "symbols and debug information"
        if self.flags & _EXECUTE:
            return "code"
        if self.name.startswith((".rodata", ".lrodata")):
            return "read-only data"
        return "data" if self.flags & _WRITE else "tables of the linker"


def is_elf(content: bytes) -> bool:
    return content.startswith(_MAGIC)


def sections(content: bytes) -> list[Section]:
    """Raises ``struct.error`` or ``IndexError`` where the file ends before what its header promises."""
    header = _HEADER.unpack_from(content)
    offset, size, count, names_at = header[5], header[10], header[11], header[12]
    raw = [_SECTION.unpack_from(content, offset + index * size) for index in range(count)]
    names = raw[names_at][4]
    return [
        Section(
            _text(content, names + name),
            start,
            0 if kind == _NO_BITS else length,
            kind,
            flags,
            link,
        )
        for name, kind, flags, _, start, length, link, *_ in raw
    ]


def functions(content: bytes, found: Sequence[Section]) -> Iterator[tuple[str, int]]:
    """Names as they are mangled, and bytes; nothing of a stripped file."""
    for table in found:
        if table.kind != _SYMBOL_TABLE:
            continue
        names = found[table.link].offset
        for at in range(table.offset, table.offset + table.size, _SYMBOL.size):
            name, info, _, _, _, size = _SYMBOL.unpack_from(content, at)
            if info & 15 == _FUNCTION and size:
                yield _text(content, names + name), size


def qualified_name(mangled: str) -> tuple[str, ...]:
    """The namespaces and the name of a function, of the Itanium ABI's ``_ZN1a1bE``; else the symbol itself."""
    if not (begin := re.match(r"_ZN", mangled)):
        return (mangled,)
    parts, at = [], begin.end()
    while length := re.match(r"\d+", mangled[at:]):
        at += length.end()
        parts.append(mangled[at : at + int(length[0])])
        at += int(length[0])
    return tuple(parts) or (mangled,)


def _text(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode(errors="replace")
