"""What lowering makes of a method of a model, for CPUs and GPUs alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from aotbuild.spec.program import Convolution, Linear, Mlp, QuantizedLinear, Recurrent, Variant, Weight
from aotbuild.tuning.outcome import EpilogueTuning, KernelTuning

AnyVariant = TypeVar("AnyVariant", bound=Variant, covariant=True)


@dataclass(frozen=True, eq=False)
class Lowered(Generic[AnyVariant]):
    """C++ for every instruction set or GPU, and the weights and layers that it refers to by index.

    ``counters``: how often the expensive stages ran. ``linears`` and the like: layers that the CPU's runtime packs.
    ``custom_functions``: of registered kernels that the model calls. ``derived``: what a GPU derives from weights, as
    a text that is the same where the result is. ``tuning``, ``epilogues``: what became of the tuning of a GPU's
    kernels.
    """

    variants: tuple[AnyVariant, ...]
    weights: tuple[Weight, ...]
    counters: Mapping[str, int]
    linears: tuple[Linear, ...] = ()
    mlps: tuple[Mlp, ...] = ()
    convolutions: tuple[Convolution, ...] = ()
    quantized: tuple[QuantizedLinear, ...] = ()
    recurrent: tuple[Recurrent, ...] = ()
    custom_functions: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    tuning: tuple[KernelTuning, ...] = ()
    epilogues: tuple[EpilogueTuning, ...] = ()
