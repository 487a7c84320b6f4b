"""Reads a cubin: the ELF file of machine code that ptxas writes, for checks of what was compiled.

The layout of ELF is the System V ABI's; NVIDIA's own sections are not documented. What is read here was found in the
output of ``cuobjdump --dump-elf`` of CUDA 12 and 13.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_EM_CUDA = 190
_KPARAM_INFO = 0x17  # attribute of .nv.info.<kernel>: one for each parameter
_REGCOUNT = 0x2F  # attribute of .nv.info: symbol and number of registers
_SYMBOL_SIZE = 24
_SIZED_VALUE = 4  # format of an attribute whose value follows it


@dataclass(frozen=True)
class Cubin:
    """``architecture``: 90 for sm_90 and sm_90a.

    By entry function: ``kernels`` has the sizes in bytes of the parameters, ``registers`` how many a thread has.
    """

    architecture: int
    kernels: dict[str, tuple[int, ...]]
    registers: dict[str, int]


def read(image: bytes) -> Cubin:
    """Parses a cubin.

    Raises:
        ValueError: the image is none.
    """
    if image[:4] != b"\x7fELF" or len(image) < 64 or struct.unpack_from("<H", image, 18)[0] != _EM_CUDA:
        raise ValueError("not a cubin")
    (flags,) = struct.unpack_from("<I", image, 48)
    # From ABI version 8 on (CUDA 13 for Blackwell) the low byte holds other things.
    architecture = flags >> 8 & 0xFF if image[8] >= 8 else flags & 0xFF
    sections = dict(_sections(image))
    kernels = {
        name.removeprefix(".nv.info."): _parameter_sizes(data)
        for name, data in sections.items()
        if name.startswith(".nv.info.")
    }
    return Cubin(architecture, kernels, _registers(sections))


def _sections(image: bytes) -> list[tuple[str, bytes]]:
    (table,) = struct.unpack_from("<Q", image, 40)
    entry_size, count, names_index = struct.unpack_from("<HHH", image, 58)
    headers = [struct.unpack_from("<IIQQQQ", image, table + i * entry_size) for i in range(count)]
    names = headers[names_index][4]
    result = []
    for name, _, _, _, offset, size in headers:
        end = image.index(b"\0", names + name)
        result.append((image[names + name : end].decode(), image[offset : offset + size]))
    return result


def _parameter_sizes(attributes: bytes) -> tuple[int, ...]:
    sizes: dict[int, int] = {}
    for attribute, value in _attributes(attributes):
        if attribute == _KPARAM_INFO:
            _, ordinal, _, properties = struct.unpack_from("<IHHI", value)
            sizes[ordinal] = properties >> 18
    return tuple(sizes[ordinal] for ordinal in sorted(sizes))


def _registers(sections: dict[str, bytes]) -> dict[str, int]:
    """By the name of the symbol that the attribute refers to."""
    found = {}
    for attribute, value in _attributes(sections.get(".nv.info", b"")):
        if attribute == _REGCOUNT:
            symbol, count = struct.unpack_from("<II", value)
            (name,) = struct.unpack_from("<I", sections[".symtab"], symbol * _SYMBOL_SIZE)
            names = sections[".strtab"]
            found[names[name : names.index(b"\0", name)].decode()] = count
    return found


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers of the attributes that have a value, and the value."""
    position = 0
    while position < len(data):
        form, attribute, size = struct.unpack_from("<BBH", data, position)
        position += 4
        if form == _SIZED_VALUE:
            yield attribute, data[position : position + size]
            position += size
