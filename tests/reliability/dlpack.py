"""Capsules of DLPack with any fields, as inputs of a built model: computed right, or refused with a message.

Usage: ``dlpack.py LIBRARY CALLS SEED``. The memory of a tensor ends where a page begins that nobody may read, so that
reading beyond it ends the process. Prints as JSON how often a call was computed and refused. ``LIBRARY``: the zoo's
``related_sizes`` or any model whose first input has float32.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import mmap
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from c_tensor import CTensor

PAGE = mmap.PAGESIZE
_FLOAT32 = (2, 32, 1)


class Managed(ctypes.Structure):
    """DLPack's ``DLManagedTensor``."""

    _fields_ = (("tensor", CTensor), ("manager", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


_make_capsule = ctypes.pythonapi.PyCapsule_New
_make_capsule.restype = ctypes.py_object
_make_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_protect = ctypes.CDLL(None, use_errno=True).mprotect


class Guarded:
    """A page of floats before one that may not be read."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2 * PAGE)
        self.begin = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        values = (ctypes.c_float * (PAGE // 4)).from_buffer(self._memory)
        for number in range(PAGE // 4):
            values[number] = number % 17 / 4
        if _protect(ctypes.c_void_p(self.begin + PAGE), ctypes.c_size_t(PAGE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")


class Given:
    """An object with ``__dlpack__``."""

    def __init__(self, name: bytes, managed: Managed | None, keep: Any = None) -> None:
        self._name, self._managed, self._keep = name, managed, keep

    def __dlpack__(self, **_: Any) -> Any:
        if self._managed is None:
            return None
        return _make_capsule(ctypes.addressof(self._managed), self._name, None)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def given(chance: random.Random, memory: Guarded, sizes: list[int], codes: tuple[int, int, int] = _FLOAT32) -> Given:
    """A tensor of ``sizes`` whose last byte is the page's; now and then with fields that are something else."""

    def is_odd() -> bool:
        return chance.random() < 0.06

    def number() -> int:
        return chance.choice((chance.randrange(-2, 70), chance.randrange(-(1 << 63), 1 << 63)))

    managed = Managed()
    tensor = managed.tensor
    tensor.device_type, tensor.device_index = 1, 0
    tensor.code, tensor.bits, tensor.lanes = codes
    if is_odd():
        tensor.code, tensor.bits, tensor.lanes = chance.randrange(256), chance.randrange(256), chance.randrange(4)
    if is_odd():
        sizes = [number() for _ in range(chance.randrange(6))]
    count = 1
    for size in sizes:
        count *= size
    room = count * codes[1] // 8
    fits = 0 <= room <= PAGE
    tensor.data = memory.begin + PAGE - (room if fits else 0)
    tensor.ndim = len(sizes)
    shape = (ctypes.c_int64 * max(1, len(sizes)))(*sizes)
    tensor.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
    strides = None
    if is_odd():
        # What a stride of a size that fits reaches is this tensor's own word.
        contiguous = [*itertools.accumulate(reversed(sizes[1:]), initial=1, func=int.__mul__)][::-1] if sizes else []
        own = contiguous if fits and chance.random() < 0.5 else [number() for _ in sizes]
        if not fits or own == contiguous or all(size == 1 for size in sizes):
            strides = (ctypes.c_int64 * max(1, len(sizes)))(*(min(max(one, -(1 << 63)), (1 << 63) - 1) for one in own))
            tensor.strides = ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64))
    if is_odd():
        offset = chance.randrange(64)
        tensor.data, tensor.byte_offset = tensor.data - offset, offset
    name, kept = b"dltensor", managed
    odd = chance.random()
    if odd < 0.01:
        tensor.ndim = number() % (1 << 31) - (1 << 30)
    elif odd < 0.02:
        tensor.shape = ctypes.POINTER(ctypes.c_int64)()
    elif odd < 0.03:
        tensor.data = None
    elif odd < 0.04:
        tensor.device_type, tensor.device_index = number() % 30, number() % 3
    elif odd < 0.05:
        name = chance.choice((b"used_dltensor", b"dltensor_versioned", b""))
    elif odd < 0.06:
        return Given(name, None)
    return Given(name, kept, (shape, strides))


def main(library: str, calls: int, seed: int) -> dict[str, int]:
    import aotbuild

    model = aotbuild.load(Path(library), num_threads=1, outputs="numpy")
    inputs = model.manifest["inputs"]
    memories = [Guarded() for _ in inputs]
    chance = random.Random(seed)
    counts = {"computed": 0, "refused": 0}
    for _ in range(calls):
        symbols: dict[str, int] = {}
        arguments = []
        for spec, memory in zip(inputs, memories):
            sizes = []
            for dim in spec["dims"]:
                if dim["min"] == dim["max"]:
                    sizes.append(dim["min"])
                else:
                    sizes.append(symbols.setdefault(dim["size"], chance.randrange(dim["min"], dim["min"] + 4)))
            arguments.append(given(chance, memory, sizes))
        try:
            model(*arguments)
            counts["computed"] += 1
        except (aotbuild.Error, TypeError, ValueError, OverflowError) as error:
            counts["refused"] += len(str(error)) > 10
    if sum(counts.values()) != calls:
        raise SystemExit("a refusal does not say why")
    return counts


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
