"""PRECISION: the type that layers of a float32 model are computed in, and the modules that keep their own."""

from __future__ import annotations

from aotbuild.spec.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Those that PRECISION takes; float32 is what a model has without it.
OWN = "float32"
TYPES = ("bfloat16", "float16")
EXCEPT = "EXCEPT"


@record
class Precision:
    """``type``: one of ``TYPES``, or empty.

    ``excepted``: modules by their qualified names, or patterns such as ``decoder.*``; what is in such a module is left
    out too.
    """

    type: str = ""
    excepted: tuple[str, ...] = ()

    def of_weight(self, names: Iterable[str]) -> str:
        """The type of a layer over a weight that the ``state_dict`` has by these names; empty for its own."""
        modules = {module for name in names for module in modules_of(name)}
        return "" if any(matches(entry, modules) for entry in self.excepted) else self.type


def modules_of(weight: str) -> list[str]:
    """The modules that hold a weight, the outermost first: ``a`` and ``a.b`` of ``a.b.weight``."""
    parts = weight.split(".")[:-1]
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def matches(entry: str, modules: Iterable[str]) -> bool:
    """Whether an entry of EXCEPT names one of the modules."""
    from fnmatch import fnmatchcase

    return any(fnmatchcase(module, entry) for module in modules)


def unknown_module(excepted: Sequence[str], weights: Iterable[str]) -> str:
    """What is wrong with the first entry that names no module of a model with such weights; empty for nothing."""
    from difflib import get_close_matches

    modules = list(dict.fromkeys(module for name in weights for module in modules_of(name)))
    for entry in excepted:
        if matches(entry, modules):
            continue
        close = get_close_matches(entry, modules, n=3, cutoff=0.5)
        if not modules:
            return f"{EXCEPT} {entry}: the model has no module with weights; leave {EXCEPT} out"
        known = f"did you mean {' or '.join(close)}?" if close else f"its modules are {_some(modules)}"
        return f"{EXCEPT} {entry}: no module with weights has that name; {known}"
    return ""


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
