"""What a case is, and the list of all."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType
from typing import Any

import torch

THEMES = ("basic", "sizes", "control_flow", "state", "outputs", "values", "layers", "operators", "kernels", "reports")


@dataclasses.dataclass(frozen=True)
class Case:
    """One model with its calls, each of which has to give what eager PyTorch gives, one after the other.

    ``more``: calls after the example's, as tuples of arguments. ``refused``: calls that the built model has to refuse,
    each with a part of its message. ``error``: the model itself is refused with this text, as AOTInductor refuses it.
    ``random``: sizes and types alone are compared.
    """

    name: str
    module: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dynamic: Any = None
    more: Sequence[tuple[Any, ...]] = ()
    refused: Sequence[tuple[tuple[Any, ...], str]] = ()
    error: str = ""
    random: bool = False


CASES: dict[str, Case] = {}


def case(name: str, module: Any, *args: Any, **fields: Any) -> None:
    """Registers a case; ``module`` is a module, or a function of the arguments."""
    assert name not in CASES, f"two cases have the name {name}"
    is_builtin = isinstance(module, BuiltinFunctionType)  # torch.export asks for the signature of a function
    CASES[name] = Case(name, (lambda *args: module(*args)) if is_builtin else module, args, **fields)


def model(name: str, *args: Any, **fields: Any) -> Callable[[type[torch.nn.Module]], type[torch.nn.Module]]:
    """Registers a case of the module class below, which takes no arguments."""

    def register(kind: type[torch.nn.Module]) -> type[torch.nn.Module]:
        case(name, kind(), *args, **fields)
        return kind

    return register


# Cases that did not pass when they last ran, with the reason; none of them crashes.
OPEN: dict[str, tuple[str, ...]] = {}


_generator = torch.Generator().manual_seed(0)


def rand(*sizes: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normally distributed values."""
    return torch.randn(*sizes, generator=_generator, dtype=torch.float32).to(dtype)


def ints(*sizes: int, high: int = 10, low: int = 0, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.randint(low, high, sizes, generator=_generator, dtype=torch.int64).to(dtype)


def all_cases() -> dict[str, Case]:
    torch.manual_seed(0)
    for theme in THEMES:
        importlib.import_module(f"aotinductor_cases.{theme}")
    return CASES
