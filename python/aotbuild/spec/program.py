"""The plain data that the pipeline's stages hand to one another: what a model is, apart from how it was made.

Nothing here imports torch, so that emission and its tests need neither torch nor a compiler.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from aotbuild.spec.calls import Call


@dataclass(frozen=True)
class Dim:
    """One dimension of an input or output.

    Static: ``symbol`` is None and ``min == max``. Dynamic: the size is ``multiplier * symbol + offset`` and lies in
    ``[min, max]``; dimensions with the same symbol vary together. A dynamic size that is no such expression (known
    only after a run, or not linear) has the symbol "?".
    """

    min: int
    max: int
    symbol: str | None = None
    multiplier: int = 1
    offset: int = 0

    @property
    def is_static(self) -> bool:
        return self.symbol is None


@dataclass(frozen=True)
class TensorSpec:
    """One input or output tensor.

    ``path``: identifiers from the outermost field inwards: ("hidden", "last") is the field ``last`` of the nested
    structure ``hidden``; elements of a tuple or list have the index in the identifier ("hidden_0"). No two tensors
    among inputs, or among outputs, have the same. C++ has other names for some (``identifiers.cpp_identifier``).
    ``strides``: required strides in elements, -1 for one that may vary; None means contiguous (row-major).
    ``written``: an input that the call writes to.
    """

    path: tuple[str, ...]
    dtype: str
    dims: tuple[Dim, ...]
    strides: tuple[int, ...] | None = None
    device: str = "cpu"
    written: bool = False

    @property
    def name(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True)
class SizeCondition:
    """What has to hold of the sizes of a call beyond their ranges.

    ``text``: as Python writes it. ``code``: in C++ over ``sizes``, the symbols' values in the order in which the inputs
    have them.
    """

    text: str
    code: str


@dataclass(frozen=True)
class Signature:
    """The typed surface of a model: the tensors among its arguments and results, and its call in Python with them."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    call: Call = field(default_factory=Call)
    conditions: tuple[SizeCondition, ...] = ()


@dataclass(frozen=True, eq=False)
class TensorData:
    """The values of one tensor: contiguous little-endian bytes (bfloat16 has no NumPy type, so bytes it is)."""

    dtype: str
    shape: tuple[int, ...]
    data: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Weight:
    """A parameter, buffer or constant of the model.

    ``name``: its name in the ``state_dict``, or the constant's name in the exported program.
    ``aliases``: other ``state_dict`` names of the same tensor (tied weights are stored once).
    ``mutated``: the model writes to it. ``required``: False for what no ``state_dict`` holds. ``rounded``: of a 16-bit
    type where the model has float32.
    """

    name: str
    tensor: TensorData
    aliases: tuple[str, ...] = ()
    mutated: bool = False
    required: bool = True
    rounded: bool = False


def weight_names(weights: Iterable[Weight]) -> set[str]:
    """All names by which a weight can be given."""
    return {name for weight in weights for name in (weight.name, *weight.aliases)}


@dataclass(frozen=True)
class Linear:
    """A linear layer over constant weights (``LinearSpec`` of detail/spec.h): indices into the weights.

    ``transposed``: weights are [K, N]. ``precision``: a type that PRECISION gives, or empty.
    """

    weights: tuple[int, ...]
    biases: tuple[int | None, ...]
    activation: str = "none"
    alpha: float = 0.0
    transposed: bool = False
    precision: str = ""


@dataclass(frozen=True)
class Mlp:
    """Two linear layers in a row (``MlpSpec`` of detail/spec.h)."""

    first: Linear
    second: Linear


@dataclass(frozen=True)
class QuantizedLinear:
    """A linear layer over quantized constant weights (``QuantizedLinearSpec`` of detail/spec.h).

    Indices into the weights; ``scale`` and ``zero_point`` may be missing. ``bits``: of the weights' values.
    """

    weight: int
    scale: int | None
    zero_point: int | None
    group: int
    bits: int = 8
    integers: bool = False


@dataclass(frozen=True)
class Recurrent:
    """Recurrent layers over constant weights (``RecurrentSpec`` of detail/spec.h).

    ``cell``: lstm, gru, tanh or relu.
    """

    weights: tuple[int, ...]
    cell: str
    layers: int
    bidirectional: bool
    batch_first: bool
    has_biases: bool
    has_projection: bool


@dataclass(frozen=True)
class BatchNorm:
    """Running statistics that are folded into a convolution when weights are loaded: indices into the weights."""

    mean: int
    variance: int
    weight: int | None
    bias: int | None
    epsilon: float


@dataclass(frozen=True)
class Convolution:
    """A convolution over constant weights (``ConvolutionSpec`` of detail/spec.h); ``precision`` as of ``Linear``."""

    weight: int
    bias: int | None
    spatial_rank: int
    transposed: bool
    channels_last: bool
    groups: int
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    input_hint: tuple[int, ...]
    norm: BatchNorm | None = None
    activation: str = "none"
    alpha: float = 0.0
    precision: str = ""


@dataclass(frozen=True)
class KernelCall:
    """A statement of a run source that computes: the function that it calls, and what that is for.

    ``places``: of the model's code. ``operators``: the model's, each with its place, or "" where nobody knows. At the
    example's sizes, where lowering was asked to count: ``nbytes`` of the tensors that it reads and that are read later,
    each once, without weights that the runtime packs; ``flops`` without theirs; ``rows``, of such a layer: how many its
    input and its output have. ``slot``: of such a layer, its number.
    """

    function: str
    places: tuple[str, ...]
    operators: tuple[tuple[str, str], ...] = ()
    nbytes: int = 0
    flops: int = 0
    rows: tuple[int, int] = (0, 0)
    slot: int | None = None


@dataclass(frozen=True)
class Variant:
    """C++ of the model for one instruction set.

    ``run_source``: defines ``void run(CallContext&, AtenTensorHandle* inputs, AtenTensorHandle* outputs)`` in the
    namespace ``namespace_name``. ``kernels_header``: declarations of the kernels that it calls, included by the run
    source and by every shard. ``kernel_shards``: sources with the kernels; their number is fixed by the caller and
    some may hold no kernel. ``prepares``: the run source defines ``void prepare()`` too (detail/spec.h).
    ``read_weights``: indices of the weights that the run source reads itself. ``calls``: in the run source's order.
    """

    isa: str
    namespace_name: str
    run_source: str
    kernels_header: str
    kernel_shards: tuple[str, ...]
    prepares: bool = field(default=False, kw_only=True)
    read_weights: tuple[int, ...] = field(default=(), kw_only=True)
    calls: tuple[KernelCall, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, eq=False)
class GpuVariant(Variant):
    """C++ of the model for one GPU architecture; ``isa`` is its name, sm_90 or compute_80.

    ``run_source`` defines also the ``CudaVariantSpec`` ``cuda`` of detail/cuda_spec.hpp. ``images`` is all kernels'
    machine code in one block, which ``run_source`` declares as the array ``images``.
    """

    images: bytes


@dataclass(frozen=True)
class Tolerance:
    """A result may be ``atol + rtol * |expected|`` from what eager PyTorch gave."""

    rtol: float
    atol: float


@dataclass(frozen=True, eq=False)
class GoldenCase:
    """One set of inputs with eager PyTorch's outputs, compared by the model's test.

    ``written``: what the inputs that the call writes to hold after it, in their order. ``tolerances``: of the outputs,
    and then of what is written; those that are missing are zero. ``rounded_errors``: with PRECISION, the greatest error
    of each of them in eager PyTorch that is cast to it; NaN where that could not be had. ``ranks``: with WORLD_SIZE the
    same case of the ranks after the first.
    """

    name: str
    inputs: tuple[TensorData, ...]
    outputs: tuple[TensorData, ...]
    written: tuple[TensorData, ...] = ()
    tolerances: tuple[Tolerance, ...] = ()
    rounded_errors: tuple[float, ...] = field(default=(), kw_only=True)
    ranks: tuple[GoldenCase, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Numbering:
    """The model's indices of the weights and layers that the code of one method counts on its own.

    ``weights``: and then of what a GPU derives from weights, whose indices in the model follow those of its weights.
    """

    weights: tuple[int, ...]
    linears: tuple[int, ...]
    mlps: tuple[int, ...]
    convolutions: tuple[int, ...]
    quantized: tuple[int, ...] = ()
    recurrent: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Method:
    """One function of a model. A model without METHODS has the one method ``run``.

    ``numbering``: None where the code counts as the model does.
    """

    name: str
    signature: Signature
    variants: tuple[Variant, ...]  # best first, for the same instruction sets in every method
    golden: tuple[GoldenCase, ...] = ()
    numbering: Numbering | None = None


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """All that emission needs: the output of lowering together with the recorded golden cases.

    ``session``: calls ``(method, golden case)`` on one object in this order, which see each other's state.
    """

    methods: tuple[Method, ...]
    weights: tuple[Weight, ...]
    linears: tuple[Linear, ...] = ()
    mlps: tuple[Mlp, ...] = ()
    convolutions: tuple[Convolution, ...] = ()
    quantized: tuple[QuantizedLinear, ...] = ()
    recurrent: tuple[Recurrent, ...] = ()
    custom_sources: tuple[str, ...] = ()  # files that include the sources of registered kernels; the last one is C
    session: tuple[tuple[str, GoldenCase], ...] = ()
    rtol: float | None = None  # what the user gave, in the place of each recorded tolerance
    atol: float | None = None
    # Versions, options and counters for the manifest: JSON values only, no path, no time.
    metadata: dict[str, Any] = field(default_factory=dict)
    # Of a GPU's kernels and the epilogues of its templates, what `aotbuild report` shows: JSON values only.
    kernels: list[dict[str, Any]] = field(default_factory=list)
    epilogues: list[dict[str, Any]] = field(default_factory=list)
    precision: str = ""  # of PRECISION
    ranks: tuple[tuple[Weight, ...], ...] = ()  # with WORLD_SIZE the weights of each rank; the first's are ``weights``

    @property
    def world_size(self) -> int:
        return len(self.ranks)


@dataclass(frozen=True)
class EmitOptions:
    """How the C++ surface of a target looks: the keywords of ``add_aot_model`` that emission needs."""

    target: str
    namespace: str = ""  # "a::b"; empty: the global namespace
    class_name: str = ""  # empty: the target in CamelCase
    header: str = ""  # path below include/; empty: <target>.hpp
    symbol_prefix: str = ""  # empty: the target as a C identifier
    weights: str = "embed"  # embed | file | external
    weights_file: str = ""  # name of the safetensors file; empty: <target>.safetensors
    weights_sha256: bool = False  # the model takes that file alone
    python_module: str = ""
    test: bool = True
    benchmark: bool = False
