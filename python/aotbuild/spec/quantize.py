"""QUANTIZE: the type that linear layers' weights are stored in, whether their inputs are too, and who is left out."""

from __future__ import annotations

from aotbuild.spec.record import record
from aotbuild.spec.target import architecture_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TYPES = ("int8", "int4", "float8")
DYNAMIC = "dynamic"
EXCEPT = "EXCEPT"

# Values of four bits that share a scale, of one row: as many as divide it.
GROUPS = (64, 32)
# Rows of other types are of a multiple of so many values, which kernels read at a time.
BLOCK = 16

_FLOAT8_CAPABILITY = 89


@record
class Quantize:
    """``type``: one of ``TYPES``, or empty. ``dynamic``: inputs of a layer are quantized too, each row by itself.

    ``excepted``: modules as in ``Precision``.
    """

    type: str = ""
    dynamic: bool = False
    excepted: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As the keyword has it, without the modules that are left out."""
        return f"QUANTIZE {self.type} {DYNAMIC}" if self.dynamic else f"QUANTIZE {self.type}"


def from_words(words: Sequence[str]) -> Quantize:
    """Of the keyword's values, which have been checked."""
    if not words:
        return Quantize()
    name, *rest = words
    dynamic = rest[:1] == [DYNAMIC]
    return Quantize(name, dynamic, tuple(rest[dynamic + 1 :]))


def problem(words: Sequence[str], architectures: Sequence[str], runtime: str) -> str:
    """What is wrong with the keyword's values; empty for nothing. ``architectures``: of GPUs, none for a CPU."""
    name, *rest = words
    if name not in TYPES:
        return f'QUANTIZE "{name}" is none of {", ".join(TYPES)}'
    dynamic = rest[:1] == [DYNAMIC]
    rest = rest[dynamic:]
    text = Quantize(name, dynamic).text
    if rest and rest[0] != EXCEPT:
        known = f"{DYNAMIC}, or {EXCEPT} and names of modules" if not dynamic else f"{EXCEPT} and names of modules"
        return f'{text} is followed by "{rest[0]}"; what may follow is {known}'
    if len(rest) == 1:
        return f"{text} {EXCEPT} names no module; write qualified names or patterns, or leave it out"
    if runtime == "torch":
        return f"{text} is for RUNTIME standalone; quantize the module in the model file"
    old = [name for name in architectures if _lacks_float8(name)]
    if name == "float8" and old:
        return f"{text} needs GPUs of capability 8.9 or later, and CUDA_ARCHITECTURES has {', '.join(old)}; use int8"
    if name == "float8" and not architectures:
        return f"{text} is for DEVICE cuda; processors have no products of it: use int8"
    if name == "int4" and dynamic:
        return f"{text}: inputs are quantized with weights of 8 bits only; use QUANTIZE int8 {DYNAMIC}, or int4 alone"
    return ""


def _lacks_float8(value: str) -> bool:
    """Whether a value of CUDA_ARCHITECTURES names GPUs without it; another message is for one that names none."""
    architecture = architecture_of(value.partition("-")[0])
    return architecture is not None and architecture.capability < _FLOAT8_CAPABILITY
