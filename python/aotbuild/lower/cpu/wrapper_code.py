"""What a wrapper generator of a CPU or a GPU is told, and what it collects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aotbuild.spec.program import KernelCall


@dataclass
class Kernel:
    """One generated C++ kernel: a function definition, and its declaration."""

    name: str
    declaration: str
    definition: str
    is_attention: bool = False


class Statement(NamedTuple):
    """A line of the run function, without its indentation, and in how many blocks it stands."""

    depth: int
    text: str

    def __str__(self) -> str:
        return "  " * self.depth + self.text


@dataclass(frozen=True)
class ModelNames:
    """What a wrapper generator is told of the model that it writes.

    ``weight_index``: the weights by the names of their placeholders. ``weight_count``: how many there are before the
    graph's own constants. ``custom_kernels``: the functions of registered kernels by operator. ``counts_work``: whether
    calls are to say how much they do.
    """

    weight_index: Mapping[str, int]
    weight_count: int
    custom_kernels: Mapping[Any, str] = field(default_factory=dict)
    counts_work: bool = False


@dataclass
class WrapperCode:
    """What a wrapper generator collected: the body of the run function, its kernels, and the library calls in it.

    ``weights``: the indices of those that the body reads. ``shim_functions``: C shim functions by name.
    ``unreachable``: operators that no C shim function serves. ``custom_functions``: those of registered kernels.
    ``operators``, with RUNTIME torch: name and overload of those that libtorch's dispatcher serves. ``calls``: in the
    order of their statements.
    """

    statements: list[Statement] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    shim_functions: set[str] = field(default_factory=set)
    unreachable: set[str] = field(default_factory=set)
    custom_functions: set[str] = field(default_factory=set)
    operators: list[tuple[str, str]] = field(default_factory=list)
    calls: list[KernelCall] = field(default_factory=list)
    input_count: int = 0
    output_count: int = 0

    @property
    def body(self) -> str:
        return "\n".join(map(str, self.statements))


def statements(body: str) -> Iterator[Statement]:
    """The lines of upstream's statements, without blank ones; a brace at a line's end opens a block."""
    depth = 1
    for line in filter(None, map(str.strip, body.splitlines())):
        depth -= line.startswith("}")
        yield Statement(depth, line)
        depth += line.count("{") - line.count("}") + line.startswith("}")
