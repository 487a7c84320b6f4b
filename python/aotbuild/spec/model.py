"""What a model file returns: the module to build together with how it is called and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Module = torch.nn.Module | Callable[..., Any]
else:
    Module = Any


@dataclass
class Method:
    """One method of a module and an example of its call; the attributes are as those of ``Model``."""

    example_inputs: Sequence[Any] = ()
    example_kwargs: Mapping[str, Any] = field(default_factory=dict)
    dynamic_shapes: Any = None
    golden_inputs: Sequence[tuple[Sequence[Any], Mapping[str, Any]]] = ()


@dataclass
class Model:
    """A model and one example of its call, as ``add_aot_model(<target> MODEL file.py:callable)`` expects it.

    Attributes:
        module: an ``nn.Module`` (set to evaluation mode before it is captured) or a function of tensors.
        example_inputs: positional arguments of one call; their dtypes, sizes and values are the example that the
            capture traces and that the generated test replays.
        example_kwargs: keyword arguments of the same call.
        dynamic_shapes: as for ``torch.export.export``: which sizes vary, with their ranges.
        rtol, atol: tolerances of the generated test against eager PyTorch, for every output of every method. None: each
            output has its own, which follow from eager's rounding error (docs/cmake.md, "Tolerances").
        golden_inputs: further calls ``(args, kwargs)`` to record for the generated test.
        methods: for METHODS of ``add_aot_model``: methods of the module by their names, in the place of the example
            inputs, dynamic shapes and golden inputs of the model. They share weights, and the buffers that they write.
        data_files: files that building the model reads (vocabularies, checkpoints): a change to one rebuilds.
    """

    module: Module
    example_inputs: Sequence[Any] = ()
    example_kwargs: Mapping[str, Any] = field(default_factory=dict)
    dynamic_shapes: Any = None
    rtol: float | None = None
    atol: float | None = None
    golden_inputs: Sequence[tuple[Sequence[Any], Mapping[str, Any]]] = ()
    data_files: Sequence[str] = ()
    methods: Mapping[str, Method] = field(default_factory=dict)
