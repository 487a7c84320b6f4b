"""Makes objects of the static runtime: copies of the shared one's, with hidden what those export.

    python hide_symbols.py FOLDER OBJECT...

Both are compiled from the same sources, and differ in that alone. A symbol's visibility is two bits of its entry in an
ELF symbol table (System V ABI, "Symbol Visibility"), which binutils cannot set.
"""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

_SYMBOL_TABLE = 2  # sh_type SHT_SYMTAB
_DEFAULT, _HIDDEN = 0, 2  # st_other, its lowest two bits
_UNDEFINED = 0  # st_shndx
_LOCAL = 0  # st_info, its upper four bits
_RUNTIME = re.compile(rb"\w*aotbuild|aoti_torch_")  # what else there is, std::, stays as the compiler made it


def hidden(contents: bytes) -> bytes:
    """A 64-bit little-endian ELF object, with the symbols of the runtime hidden that it defines.

    Raises:
        ValueError: for another kind of file.
    """
    if contents[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    data = bytearray(contents)
    (headers,) = struct.unpack_from("<Q", data, 40)
    header_size, header_count = struct.unpack_from("<HH", data, 58)
    if header_count == 0:  # so many that the first header holds the number
        (header_count,) = struct.unpack_from("<Q", data, headers + 32)
    for header in range(headers, headers + header_size * header_count, header_size):
        (kind,) = struct.unpack_from("<I", data, header + 4)
        if kind != _SYMBOL_TABLE:
            continue
        start, size, names_header = struct.unpack_from("<QQI", data, header + 24)
        (names,) = struct.unpack_from("<Q", data, headers + header_size * names_header + 24)
        (entry_size,) = struct.unpack_from("<Q", data, header + 56)
        for entry in range(start, start + size, entry_size):
            name, info, other, section = struct.unpack_from("<IBBH", data, entry)
            is_exported = info >> 4 != _LOCAL and section != _UNDEFINED and other & 3 == _DEFAULT
            if is_exported and _RUNTIME.match(data, names + name):
                data[entry + 5] = other | _HIDDEN
    return bytes(data)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {Path(name).name: Path(name) for name in sys.argv[2:]}
    for old in set(folder.glob("*.o")) - {folder / name for name in wanted}:
        old.unlink()
    for name, source in wanted.items():
        try:
            (folder / name).write_bytes(hidden(source.read_bytes()))
        except ValueError as error:
            sys.exit(f"{source}: {error}")


if __name__ == "__main__":
    main()
