"""Small models, one for each thing that a model may do: a model file like any user's.

Each is compared with eager PyTorch on the example and on every call of `golden_inputs`.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from aotbuild import Method, Model

randn = torch.randn
DYNAMIC = torch.export.Dim.DYNAMIC

# The functions of this file that return a model, by name.
MODELS: dict[str, Callable[[], Model]] = {}


def model(build: Callable[[], Model]) -> Callable[[], Model]:
    """Lists a function in `MODELS`, with a seed, so that the weights compiled are those that are compared with."""

    def seeded() -> Model:
        torch.manual_seed(0)
        return build()

    MODELS[build.__name__] = seeded
    return seeded


class Compute(nn.Module):
    """A module around a function of itself and its inputs, with parts that are attributes."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(self, *args, **kwargs)


def calls(*calls_args: Sequence[Any]) -> list[tuple[Sequence[Any], dict[str, Any]]]:
    return [(args, {}) for args in calls_args]


# --- what goes in and out


class Constants(nn.Module):
    """Tensors that are neither parameters nor buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = randn(4, 4)
        self.scale = torch.tensor(2.5)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix * self.scale + torch.tensor([1.0, 2.0, 3.0, 4.0])


@model
def constants() -> Model:
    return Model(Constants(), (randn(3, 4),))


class Outputs(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.plain = randn(4)
        self.register_buffer("kept", randn(2))
        self.parameter = nn.Parameter(randn(3))

    def forward(self, x: Tensor) -> Any:
        y = x + 1
        if self.kind == "missing":
            return y, None, x * 2
        if self.kind == "repeated":
            return y, y, x, x.t(), y[1:]
        return y, self.plain, self.kept, self.parameter, self.parameter * 2, torch.ones(3), 5, 2.5, True, x.shape[0]


@model
def missing_outputs() -> Model:
    return Model(Outputs("missing"), (randn(2, 3),))


@model
def repeated_outputs() -> Model:
    return Model(Outputs("repeated"), (randn(2, 3),))


@model
def constant_outputs() -> Model:
    return Model(
        Outputs("constant"), (randn(2, 3),), dynamic_shapes=({0: DYNAMIC(max=9)},), golden_inputs=calls((randn(7, 3),))
    )


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


@dataclass
class Encoding:
    hidden: Tensor
    pooled: Pair
    extra: dict[Any, Any]


torch.export.register_dataclass(Encoding, serialized_type_name="tests.models.Encoding")


class Structured(nn.Module):
    """Nested containers and constants in; a dataclass that holds a named tuple and a dict out."""

    def forward(
        self, batch: dict[str, Any], scales: list[Tensor], power: float, *, shift: Tensor, double: bool = True
    ) -> Encoding:
        hidden = batch["values"] ** power * scales[0] + scales[1] + shift + batch["more"][7][0] * batch["more"]["n.o"]
        pair = Pair(hidden.sum(0), hidden.mean(0) * (2 if double else 1))
        extra = {"class": batch["more"]["ids"] + 1, "parts": [hidden - 1, (hidden[:1],)], 3: (hidden.shape[0], None)}
        return Encoding(hidden, pair, extra)


@model
def structured() -> Model:
    batch = {"values": randn(2, 3), "more": {"ids": torch.arange(4), 7: (randn(3), None), "n.o": 3}}
    return Model(Structured(), (batch, [randn(3), randn(1)], 2.0), {"shift": torch.tensor(1.5)})


@model
def dict_outputs() -> Model:
    def f(_: Any, x: Tensor, y: Tensor) -> Any:
        return {"sum": x + y, "products": {"outer": x * y, "list": [x, y - 1]}}

    return Model(Compute(f), (randn(3), randn(3)))


@model
def two_dynamic() -> Model:
    def f(self: Any, x: Tensor, y: Tensor) -> Any:
        return self.linear(x).softmax(-1), x.flatten(0, 1).sum(0), torch.cat([x, x], 1), y.unsqueeze(1) * x

    sizes = ({0: DYNAMIC(min=1, max=8), 1: DYNAMIC(min=1, max=64)}, {0: DYNAMIC(min=1, max=8)})
    shapes = ((1, 1), (1, 64), (8, 1), (8, 64), (5, 33))
    return Model(
        Compute(f, linear=nn.Linear(6, 5)),
        (randn(3, 10, 6), randn(3, 6)),
        dynamic_shapes=(sizes,),
        golden_inputs=calls(*((randn(b, t, 6), randn(b, 6)) for b, t in shapes)),
    )


@model
def no_inputs() -> Model:
    return Model(Compute(lambda self: (self.weight * 2, self.weight.sum()), weight=nn.Parameter(randn(3))))


@model
def function() -> Model:
    def matmul(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    return Model(matmul, (randn(3, 4), randn(4, 5)))


@model
def keywords() -> Model:
    def f(_: Any, x: Tensor, *, scale: Tensor | None = None, flag: bool = True) -> Tensor:
        return x * scale if flag and scale is not None else x

    return Model(Compute(f), (randn(3),), {"scale": randn(3), "flag": True})


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Any:
        return self.head(self.embedding(ids))


@model
def tied_weights() -> Model:
    return Model(Tied(), (torch.tensor([[1, 2, 9]]),))


@model
def views() -> Model:
    """Views, slices and permutations as outputs and in between."""

    def f(_: Any, x: Tensor) -> Any:
        return x.permute(2, 0, 1), x[:, ::2], x[..., -1], x.reshape(-1, 2).t(), x.expand(2, 3, 4, 5)[1], x.flip(0)

    return Model(Compute(f), (randn(3, 4, 5),))


@model
def indexing() -> Model:
    def f(_: Any, x: Tensor, ids: Tensor) -> Any:
        y = torch.zeros(4, 6).index_add(0, ids, x)
        z = x.scatter_add(1, ids[:, None].expand(3, 6), x)
        return x[ids - 1], x.gather(0, (ids - 1)[None, :].expand(2, 3)), y, z, x.index_select(1, ids)

    return Model(
        Compute(f), (randn(3, 6), torch.tensor([1, 3, 1])), golden_inputs=calls((randn(3, 6), torch.tensor([3, 2, 1])))
    )


@model
def derived_sizes() -> Model:
    """Sizes that are tied to another one: half of it, and one more."""

    def f(_: Any, x: Tensor, y: Tensor, z: Tensor) -> Any:
        return x.reshape(-1, 2, 3).sum(1) + y, torch.cat([y, z[1:]]), y.shape[0] * 2

    half = torch.export.Dim("half", min=1, max=16)
    sizes = ({0: 2 * half}, {0: half}, {0: half + 1})
    return Model(
        Compute(f),
        (randn(8, 3), randn(4, 3), randn(5, 3)),
        dynamic_shapes=(sizes,),
        golden_inputs=calls((randn(2, 3), randn(1, 3), randn(2, 3)), (randn(32, 3), randn(16, 3), randn(17, 3))),
    )


@model
def related_sizes() -> Model:
    """Sizes that have to fit together, though torch.export ties none to another: conditions that calls check."""

    def f(_: Any, x: Tensor, y: Tensor, z: Tensor) -> Any:
        whole = z.reshape(-1, 12).sum(1)  # of an even number of rows
        return x[: y.shape[0]] + y, x[y.shape[0] :], torch.cat([x, y])[:4], whole

    sizes = ({0: DYNAMIC(max=20)}, {0: DYNAMIC(max=20)}, {0: DYNAMIC(max=20)})
    shapes = ((20, 20, 20), (2, 2, 4), (9, 2, 6))
    return Model(
        Compute(f),
        (randn(8, 3), randn(5, 3), randn(4, 6)),
        dynamic_shapes=(sizes,),
        golden_inputs=calls(*((randn(a, 3), randn(b, 3), randn(c, 6)) for a, b, c in shapes)),
    )


@model
def small_sizes() -> Model:
    """Sizes of 0 and 1: what export traces for 2 and more holds for some dimensions, and others have a larger minimum.

    The lengths: from 0, 1, 2 and 3 on.
    """

    def f(_: Any, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Any:
        free = a.softmax(0), a.roll(2, 0), torch.cat([a, a * 2]), a.cumsum(0), a[:, None] - a[None], a.unbind(1)[0]
        last = b[-1:], b[:1] + b, b.amax(0), torch.stack([b[0], b[-1]])
        ends = c[:2].mean(0) + c[-2:].mean(0), c.flatten()[:7], c[torch.arange(2)]
        return *free, *last, *ends, d.unfold(0, 3, 1), d[1:-1], functional.conv1d(d.t()[None], torch.ones(2, 4, 3))

    dims = [torch.export.Dim(name, max=32) for name in ("free", "last", "ends")]
    sizes = (*({0: dim} for dim in dims), {0: DYNAMIC(max=32)})

    def args(*lengths: int) -> tuple[Tensor, ...]:
        return tuple(randn(length, 4) for length in lengths)

    golden = calls(args(0, 1, 2, 3), args(1, 1, 2, 4), args(2, 2, 3, 5), args(32, 32, 32, 32))
    return Model(Compute(f), args(6, 7, 8, 9), dynamic_shapes=(sizes,), golden_inputs=golden)


@model
def unbacked_sizes() -> Model:
    """Sizes that only values tell: what a mask selects, and a slice up to a number that is a tensor."""

    def f(_: Any, x: Tensor, count: Tensor) -> Any:
        end: Any = count.item()
        torch._check(end >= 0)  # type: ignore[no-untyped-call]
        torch._check(end <= x.shape[0])  # type: ignore[no-untyped-call]
        chosen = x[x > 0]
        return chosen * 2, torch.nonzero(x), chosen.shape[0], x[:end].sum(0), x.new_zeros(end, 2) + 1

    cases = ((torch.ones(5, 3), torch.tensor(0)), (-torch.ones(5, 3), torch.tensor(5)))
    return Model(Compute(f), (randn(5, 3), torch.tensor(2)), golden_inputs=calls(*cases))


@model
def numbers() -> Model:
    """Python numbers out: values of every type, sizes, and what is computed from both."""
    kinds = (
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
        torch.float64, torch.float32, torch.float16, torch.bfloat16,
    )  # fmt: skip

    def f(_: Any, x: Tensor, y: Tensor, flag: Tensor, *values: Tensor) -> Any:
        numbers: list[Any] = [value.item() for value in values]
        computed = [number * number + 1 for number in numbers] + [-number for number in numbers]
        size, count, sym = x.shape[0], numbers[1], cast(Any, torch)
        both = (count > 3) & (size > 2), (count > 3) | (size > 99), sym.sym_not(count > 3), size == y.shape[0]
        sizes = size * 2 + 1, size % 2 == 0, size / 4, sym.sym_sqrt(size), sym.sym_max(size, count), -size
        found = (x > 0).nonzero().shape[0]
        flags = flag.item(), (x > 0).any().item(), x.sum().item() > 0, found, found > 2
        repeated = x.repeat(y.shape[0] + count)  # of no upper bound
        return *numbers, *computed, *both, *sizes, *flags, repeated

    def args(size: int, other: int, value: int, flag: bool) -> tuple[Tensor, ...]:
        return randn(size), randn(other), torch.tensor(flag), *(torch.tensor(value, dtype=kind) for kind in kinds)

    sizes = ({0: DYNAMIC(min=1)}, {0: DYNAMIC(min=1)}, None, *(None for _ in kinds))
    golden = calls(args(9, 9, 100, False), args(1, 4, 15, True), args(6, 1, 0, False))
    return Model(Compute(f), args(8, 4, 5, True), dynamic_shapes=(sizes,), golden_inputs=golden)


@model
def selected() -> Model:
    """A row whose number is a tensor, counted from the end where it is negative."""

    def f(_: Any, x: Tensor, n: Tensor) -> Any:
        row: Any = n.item()
        return x[row] * 2

    cases = ((randn(1, 3), torch.tensor(0)), (randn(7, 3), torch.tensor(-7)))
    sizes = ({0: torch.export.Dim("rows", min=1, max=16)}, None)
    return Model(Compute(f), (randn(5, 3), torch.tensor(3)), dynamic_shapes=(sizes,), golden_inputs=calls(*cases))


@model
def strided_inputs() -> Model:
    """The example's layout is the promise: a transposed matrix, and every second column of one."""

    def f(_: Any, x: Tensor, y: Tensor) -> Any:
        return x + 1, x.sum(0), y * 2, y.t() @ x

    return Model(Compute(f), (randn(4, 3).t(), randn(3, 8)[:, ::2]))


@model
def written_inputs() -> Model:
    """The caller's cache is written in place, and returned too; the first input is only read."""

    def f(_: Any, x: Tensor, cache: dict[str, Tensor], position: Tensor) -> Any:
        cache["rows"].index_copy_(0, position.reshape(1), x[None] * 2)
        cache["count"].add_(1)
        return cache["rows"].sum(0), cache["rows"], x + 1

    cache = {"rows": randn(6, 3), "count": torch.zeros((), dtype=torch.int64)}
    return Model(Compute(f), (randn(3), cache, torch.tensor(4)))


# --- state and control flow


class Cache(nn.Module):
    """Appends to a buffer and counts: each call sees what the calls before it wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cache", torch.zeros(8, 4))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        self.cache: Tensor
        self.position: Tensor

    def forward(self, x: Tensor) -> Any:
        self.cache.index_copy_(0, self.position.reshape(1), x)
        self.position.add_(1)
        return self.cache.sum(0), self.position


@model
def kv_cache() -> Model:
    return Model(Cache(), (randn(1, 4),))


class Recorder(nn.Module):
    """Methods over one projection and one cache; ``read`` writes to nothing. ``scale`` is a constant of all three."""

    scale: Tensor
    rows: Tensor
    count: Tensor
    total: Tensor

    def __init__(self, room: int = 16) -> None:
        super().__init__()
        self.projection = nn.Linear(4, 8)
        self.register_buffer("scale", torch.linspace(0.5, 2, 8), persistent=False)
        self.register_buffer("rows", torch.zeros(room, 8), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("total", torch.full((8,), 0.25))

    def begin(self, x: Tensor) -> Tensor:
        return self._write(x, 0)

    def append(self, x: Tensor) -> Tensor:
        start = self.count.item()
        torch._check(start >= 0)  # type: ignore[no-untyped-call]
        torch._check(start < self.rows.shape[0])  # type: ignore[no-untyped-call]
        return self._write(x, start)

    def read(self) -> dict[str, Tensor]:
        return {"rows": self.rows * self.scale, "count": self.count.clone(), "total": self.total / 2}

    def _write(self, x: Tensor, start: Any) -> Tensor:
        y = self.projection(x) * self.scale
        self.rows[start : start + x.shape[0]] = y
        self.count.fill_(start + x.shape[0])
        self.total.add_(y.sum(0))
        return self.rows[: start + x.shape[0]].sum(0)


def recorder() -> Model:
    """Not in MODELS: its methods are called in tests/models/test_methods.py."""
    torch.manual_seed(0)
    rows = torch.export.Dim("rows", min=1, max=8)
    methods = {
        "begin": Method((randn(3, 4),), dynamic_shapes={"x": {0: rows}}),
        "append": Method((randn(1, 4),), golden_inputs=[((randn(1, 4),), {})]),
        "read": Method(),
    }
    return Model(Recorder(), methods=methods)


def generator() -> Model:
    """The decoder of examples/generate, small. Not in MODELS either."""
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "generate" / "decoder.py"))
    sizes = {"vocabulary": 512, "width": 64, "hidden": 160, "layers": 2, "heads": 4, "kv_heads": 2, "max_length": 256}
    model: Model = example["build"](**sizes)
    return model


def hostile_names() -> Model:
    """Its generated test is run. Not in MODELS either."""
    model: Model = runpy.run_path(str(Path(__file__).with_name("hostile_names.py")))["build"]()
    return model


@model
def condition() -> Model:
    def f(_: Any, x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos() * 2, (x,))

    return Model(Compute(f), (torch.ones(3),), golden_inputs=calls((-torch.ones(3),)))


@model
def loops() -> Model:
    """while_loop, scan and map."""
    operators: Any = torch._higher_order_ops

    def f(_: Any, x: Tensor, limit: Tensor) -> Any:
        count, doubled = operators.while_loop(
            lambda n, y: n < limit, lambda n, y: (n + 1, y * 2), (torch.zeros_like(limit), x)
        )
        carry, sums = operators.scan(lambda c, row: (c + row, (c + row).sin()), torch.zeros_like(x[0]), x)
        mapped = operators.map(lambda row, shift: row.cos() + shift, x, x.sum(0))
        return count, doubled, carry, sums, mapped

    cases = ((randn(4, 3), torch.tensor(0)), (randn(4, 3), torch.tensor(7)))
    return Model(Compute(f), (randn(4, 3), torch.tensor(3)), golden_inputs=calls(*cases))


@model
def lstm() -> Model:
    return Model(nn.LSTM(4, 8, num_layers=2, batch_first=True), (randn(2, 5, 4),))


@model
def recurrent() -> Model:
    """Any length and batch; called with others than the example's."""
    layers = [nn.GRU(4, 20, num_layers=2, bidirectional=True, batch_first=True), nn.LSTM(40, 7, batch_first=True)]
    module = Compute(lambda self, x: self.second(self.first(x)[0]), first=layers[0], second=layers[1])
    dims = {0: torch.export.Dim("batch", min=1, max=20), 1: torch.export.Dim("length", min=1, max=90)}
    return Model(
        module,
        (randn(2, 5, 4),),
        dynamic_shapes={"args": (dims,)},
        golden_inputs=calls((randn(1, 1, 4),), (randn(9, 33, 4),)),
    )


@model
def streaming() -> Model:
    """A chunk of a sequence, with the state that the one before has left."""
    layer = nn.LSTM(4, 20, num_layers=2)
    module = Compute(lambda self, x, h, c: self.layer(x, (h, c)), layer=layer)
    length = {0: torch.export.Dim("length", min=1, max=50)}
    state = (randn(2, 3, 20), randn(2, 3, 20))
    return Model(
        module,
        (randn(6, 3, 4), *state),
        dynamic_shapes={"args": (length, None, None)},
        golden_inputs=calls((randn(1, 3, 4), *state)),
    )


@model
def gru_cell() -> Model:
    return Model(nn.GRUCell(4, 8), (randn(2, 4), randn(2, 8)))


# --- element types


class LayersToRound(nn.Module):
    """Convolutions with and without a normalisation, joined and paired layers, a matrix product, a tied weight."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, width)
        self.stem = nn.Sequential(nn.Conv1d(width, width, 3, padding=1), nn.BatchNorm1d(width), nn.ReLU())
        self.depthwise = nn.Conv1d(width, width, 5, padding=2, groups=width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 6 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.matrix = nn.Parameter(randn(width, 33) / 10)
        self.odd = nn.Linear(33, 5)
        self.head = nn.Linear(width, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embedding(ids)
        x = x + self.depthwise(self.stem(x.mT)).mT
        for block in self.blocks:
            x = block(x)
        return self.odd(x @ self.matrix), self.head(x)


@model
def layers_to_round() -> Model:
    module = LayersToRound()
    module.stem[1].running_mean.uniform_(-1, 1)  # type: ignore[operator]
    module.stem[1].running_var.uniform_(0.5, 2)  # type: ignore[operator]
    length = torch.export.Dim("length", min=1, max=40)
    ids = torch.randint(0, 50, (2, 17))
    return Model(
        module,
        (ids,),
        dynamic_shapes=({1: length},),
        golden_inputs=calls([ids[:, :9].clone(memory_format=torch.contiguous_format)]),
    )


@model
def bfloat16() -> Model:
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.LayerNorm(8)).to(torch.bfloat16)
    return Model(network, (randn(3, 8).bfloat16(),))


@model
def float16() -> Model:
    network = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8), nn.Softmax(-1)).to(torch.float16)
    return Model(network, (randn(3, 8).half(),))


@model
def float64() -> Model:
    network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8), nn.LogSoftmax(-1)).double()
    return Model(network, (randn(3, 8).double(),))


@model
def integers() -> Model:
    def f(_: Any, x: Tensor, y: Tensor, flags: Tensor) -> Any:
        arithmetic = (x // 3, x % 3, x.bool(), x.to(torch.uint8), y + 100, y.float() / 2, x.sum(), y.amax())
        logic = (~flags, flags & (x > 0), torch.where(flags, x, -x), flags.any(), flags.sum(), x << 2)
        return *arithmetic, *logic, torch._int_mm(y[:, None], y[None])

    def args() -> tuple[Tensor, ...]:
        return torch.randint(-9, 9, (11,)), torch.randint(-128, 127, (11,), dtype=torch.int8), randn(11) > 0

    return Model(Compute(f), args(), golden_inputs=calls(args(), args()))


if not hasattr(torch.ops.torchao, "dequantize_affine"):  # torchao's operator; these tests do not install torchao
    _library: Any = torch.library.Library
    _torchao = _library("torchao", "FRAGMENT")
    _torchao.define(
        "dequantize_affine(Tensor input, SymInt[] block_size, Tensor scale, Tensor? zero_point, ScalarType input_dtype,"
        " Scalar? quant_min=None, Scalar? quant_max=None, ScalarType output_dtype=float) -> Tensor"
    )

    def _dequantize_affine(input: Tensor, block_size: Sequence[int], scale: Tensor, zero: Tensor, *_: Any) -> Tensor:
        values = input.float().view(len(input), -1, block_size[1])
        return ((values - zero.unsqueeze(2)) * scale.unsqueeze(2)).flatten(1)

    _torchao.impl("dequantize_affine", _dequantize_affine, "CompositeImplicitAutograd")


class Quantized(nn.Module):
    """Products with int8 weights: of integers, of converted weights, and of weights in groups with 8 and 4 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bytes", torch.randint(-128, 128, (37, 65), dtype=torch.int8))
        self.register_buffer("grouped", torch.randint(-128, 128, (21, 66), dtype=torch.int8))
        self.register_buffer("halves", torch.randint(-8, 8, (5, 64), dtype=torch.int8))
        for name, shape in (("grouped", (21, 2)), ("halves", (5, 2))):
            self.register_buffer(f"{name}_scale", torch.rand(shape) / 64)
            self.register_buffer(f"{name}_zero", torch.randint(-8, 8, shape, dtype=torch.int8))
        self.bias = nn.Parameter(torch.randn(5))

    def dequantized(self, name: str, *limits: int) -> Tensor:
        weight, scale, zero = (getattr(self, name + part) for part in ("", "_scale", "_zero"))
        block = [1, weight.shape[1] // scale.shape[1]]
        values: Tensor = torch.ops.torchao.dequantize_affine(weight, block, scale, zero, torch.int8, *limits)
        return values

    def forward(self, integers: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        weights: Any = self.bytes
        sums = torch._int_mm(integers, weights.t())
        grouped = nn.functional.linear(x, self.dequantized("grouped", -128, 127))
        halves = nn.functional.linear(x[..., :64], self.dequantized("halves", -8, 7), self.bias)
        return sums, torch.mm(x[..., 0, :65], weights.t().float()) / 64, grouped.relu(), halves


@model
def quantized() -> Model:
    def args(rows: int) -> tuple[Tensor, ...]:
        return torch.randint(-128, 128, (rows, 65), dtype=torch.int8), randn(rows, 2, 66)

    rows = torch.export.Dim("rows", min=0, max=64)
    shapes = ({0: rows}, {0: rows})
    golden = calls(args(1), args(33), args(0))
    return Model(Quantized().eval(), args(3), dynamic_shapes=shapes, golden_inputs=golden)


@model
def integer_division() -> Model:
    def f(_: Any, x: Tensor, y: Tensor) -> Any:
        return x // y, x % y, torch.div(x, y, rounding_mode="trunc"), torch.fmod(x, y), x.int() // y.int()

    def args() -> tuple[Tensor, ...]:
        return torch.randint(-99, 99, (3000,)), torch.randint(1, 9, (3000,)) * torch.randn(3000).sign().long()

    return Model(Compute(f), args(), golden_inputs=calls(args()))


@model
def truncating_division() -> Model:
    def f(_: Any, x: Tensor, y: Tensor) -> Any:
        quotients = [torch.div(x.to(t), y.to(t), rounding_mode="trunc") for t in (torch.int64, torch.int32, torch.int8)]
        return *quotients, torch.div(x[:3, None], y[None, :3], rounding_mode="trunc").sum(0)

    return Model(Compute(f), (torch.randint(-99, 99, (101,)), torch.randint(1, 9, (101,))))


@model
def conversions() -> Model:
    def f(_: Any, x: Tensor) -> Any:
        kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int16, torch.bool)
        return [x.to(kind) for kind in kinds]

    return Model(Compute(f), (randn(5, 7) * 50,))


# --- indices and sizes


@model
def embedding() -> Model:
    return Model(
        nn.Embedding(10, 64), (torch.arange(10).repeat(500),), dynamic_shapes=({0: DYNAMIC(min=0, max=10000)},)
    )


@model
def empty() -> Model:
    """Sizes of zero, in and out."""

    def f(self: Any, x: Tensor) -> Any:
        return self.linear(x), x.sum(0), x.softmax(-1), torch.cat([x, x[:0]]), x.new_zeros(0, 3), x @ x.t()

    return Model(
        Compute(f, linear=nn.Linear(4, 3)),
        (randn(3, 4),),
        dynamic_shapes=(({0: DYNAMIC(min=0, max=8)},),),
        golden_inputs=calls((randn(0, 4),), (randn(1, 4),), (randn(8, 4),)),
    )


# --- linear layers


@model
def linear_activations() -> Model:
    names = ("relu", "gelu", "silu", "tanh", "sigmoid", "hardswish", "leaky_relu")

    def f(self: Any, x: Tensor) -> Any:
        for layer, name in zip(self.layers, names):
            x = getattr(functional, name)(layer(x))
        return functional.gelu(self.last(x), approximate="tanh"), functional.leaky_relu(self.last(x), 0.3)

    layers = nn.ModuleList(nn.Linear(24, 24) for _ in names)
    return Model(
        Compute(f, layers=layers, last=nn.Linear(24, 7, bias=False)),
        (randn(5, 24),),
        dynamic_shapes=(({0: DYNAMIC(min=1, max=300)},),),
        golden_inputs=calls((randn(1, 24),), (randn(300, 24),)),
    )


@model
def grouped_linears() -> Model:
    """Layers of one input, as query, key and value have; with and without biases, and with their own users."""

    def f(self: Any, x: Tensor) -> Any:
        return self.q(x) * 2, self.k(x), torch.relu(self.v(x)), self.k(x + 1)

    parts = {"q": nn.Linear(16, 16), "k": nn.Linear(16, 8, bias=False), "v": nn.Linear(16, 24)}
    return Model(Compute(f, **parts), (randn(2, 5, 16),))


@model
def groups() -> Model:
    """Products of groups in all their forms, one group empty, and with int8 weights that are packed for it."""

    def f(self: Any, x: Tensor, experts: Tensor, ends: Tensor, columns: Tensor) -> Any:
        rows = torch._grouped_mm(x, experts, offs=ends)
        wide = torch._grouped_mm(experts.mT, columns, offs=ends)
        summed = torch._grouped_mm(x.t(), x, offs=ends)
        each = torch._grouped_mm(experts, experts.mT)
        return rows, wide, summed, each, torch.ops.aten._weight_int8pack_mm(x, self.weight, self.scale)

    parts = {"weight": torch.randint(-128, 128, (32, 16), dtype=torch.int8), "scale": torch.rand(32).bfloat16()}
    ends = torch.tensor([2, 5, 5, 8], dtype=torch.int32)
    inputs = (randn(8, 16).bfloat16(), randn(4, 16, 32).bfloat16(), ends, randn(16, 8).bfloat16())
    return Model(Compute(f, **parts), inputs)


@model
def packed_layers() -> Model:
    """Layers that lie packed in the library, of sizes that fill no whole blocks: joined, halved, in pairs."""

    def f(self: Any, x: Tensor) -> Any:
        return self.q(x) * self.k(x), self.down(functional.gelu(self.up(x)))

    parts = {"q": nn.Linear(272, 88), "k": nn.Linear(272, 88, bias=False)}
    mlp = {"up": nn.Linear(272, 600), "down": nn.Linear(600, 250)}
    return Model(Compute(f, **parts, **mlp), (randn(3, 272),), golden_inputs=calls((randn(3, 272),)))


@model
def products_with_constants() -> Model:
    """GPT-2's Conv1D, which has its weight as [K, N]; a head over the embedding's weight; others that are no layers."""

    def f(self: Any, tokens: Tensor, x: Tensor) -> Any:
        hidden = torch.addmm(self.bias, self.embedding(tokens), self.matrix)
        active = functional.silu(hidden) @ self.second
        others = x @ self.matrix.transpose(0, 1), torch.addmm(self.bias, x.t(), self.matrix[:3], beta=2)
        return active, active @ self.embedding.weight.t(), torch.addmm(x, x, self.square), *others

    parts = {"embedding": nn.Embedding(50, 64)}
    values = {
        "matrix": randn(64, 100) / 8,
        "bias": randn(100),
        "second": randn(100, 64) / 10,
        "square": randn(100, 100),
    }
    weights = {name: nn.Parameter(value) for name, value in values.items()}
    x = (torch.tensor([3, 49, 0]), randn(3, 100))
    return Model(Compute(f, **parts, **weights), x, golden_inputs=calls(x))


@model
def linears_of_any_rank() -> Model:
    def f(self: Any, vector: Tensor, matrix: Tensor, block: Tensor, strided: Tensor) -> Any:
        computed = functional.linear(matrix, self.linear.weight * 2, self.linear.bias)
        return self.linear(vector), self.linear(matrix), self.linear(block), self.linear(strided.t()), computed

    return Model(Compute(f, linear=nn.Linear(6, 5)), (randn(6), randn(3, 6), randn(2, 3, 4, 6), randn(6, 3)))


@model
def products() -> Model:
    def f(_: Any, a: Tensor, b: Tensor, c: Tensor) -> Any:
        return a @ b, torch.bmm(c, c.mT), torch.baddbmm(c[:, :, :3], c, c.mT[:, :, :3]), a.t() @ a, a @ b[:, 0]

    return Model(Compute(f), (randn(3, 4), randn(4, 5), randn(2, 4, 4)))


# --- convolutions


@model
def conv1d() -> Model:
    network = nn.Sequential(
        nn.Conv1d(4, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose1d(8, 4, 4, stride=2), nn.AvgPool1d(2)
    )
    return Model(
        network,
        (randn(2, 4, 16),),
        dynamic_shapes=({0: DYNAMIC(min=1, max=5), 2: DYNAMIC(min=4, max=50)},),
        golden_inputs=calls((randn(5, 4, 33),), (randn(1, 4, 4),)),
    )


@model
def conv2d() -> Model:
    """Plain, strided, dilated, grouped and depthwise, with batch norm and activations; any image size."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=2, dilation=2), nn.SiLU(),
        nn.Conv2d(8, 12, 3, groups=4, stride=2), nn.Hardswish(),
        nn.Conv2d(12, 6, 1), nn.MaxPool2d(2), nn.Flatten(2),
    )  # fmt: skip
    for statistics in (network[1].running_mean, network[1].running_var):
        assert isinstance(statistics, Tensor)
        statistics.uniform_(0.5, 1.5)
    sizes = {0: DYNAMIC(min=1, max=4), 2: DYNAMIC(min=6, max=40), 3: DYNAMIC(min=6, max=40)}
    others = ((1, 3, 6, 6), (4, 3, 40, 40), (2, 3, 17, 31))
    return Model(
        network, (randn(2, 3, 16, 20),), dynamic_shapes=(sizes,), golden_inputs=calls(*((randn(s),) for s in others))
    )


@model
def conv3d() -> Model:
    network = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, (1, 2, 3), stride=(1, 2, 1)))
    return Model(network, (randn(1, 2, 4, 6, 8),))


@model
def transposed_convolutions() -> Model:
    network = nn.Sequential(
        nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1, groups=2), nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 3, dilation=2), nn.UpsamplingNearest2d(scale_factor=2),
    )  # fmt: skip
    return Model(network, (randn(2, 4, 5, 6),))


@model
def computed_convolution() -> Model:
    """A convolution whose weight is an input cannot be packed; nor can one over a channels-last view."""

    def f(self: Any, x: Tensor, weight: Tensor) -> Any:
        return functional.conv2d(x, weight, padding=1), self.conv(x.permute(0, 3, 1, 2).contiguous()[:, :3])

    return Model(Compute(f, conv=nn.Conv2d(3, 4, 3)), (randn(1, 3, 8, 8), randn(5, 3, 3, 3)))


# --- attention


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, mask, **options)


LENGTHS = (1, 7, 130, 700)


@model
def causal_attention() -> Model:
    return Model(
        Compute(lambda _, q, k, v: attention(q, k, v, is_causal=True)),
        (randn(1, 2, 16, 20), randn(1, 2, 16, 20), randn(1, 2, 16, 20)),
        dynamic_shapes=(tuple({2: DYNAMIC(min=1, max=1024)} for _ in range(3)),),
        golden_inputs=calls(*((randn(1, 2, n, 20), randn(1, 2, n, 20), randn(1, 2, n, 20)) for n in LENGTHS)),
    )


@model
def grouped_query_attention() -> Model:
    """Two heads of key and value for eight of query, head_dim 128, values of another width, any lengths."""

    def args(queries: int, keys: int) -> tuple[Tensor, ...]:
        return randn(2, 8, queries, 128), randn(2, 2, keys, 128), randn(2, 2, keys, 64)

    return Model(
        Compute(lambda _, q, k, v: attention(q, k, v, enable_gqa=True, scale=0.07)),
        args(5, 9),
        dynamic_shapes=(tuple({2: DYNAMIC(min=1, max=1024)} for _ in range(3)),),
        golden_inputs=calls(args(1, 700), args(130, 7), args(7, 130), args(70, 1)),
    )


@model
def masked_attention() -> Model:
    """Boolean and additive masks, some of whose rows let nothing through."""

    def f(_: Any, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, bias: Tensor) -> Any:
        return attention(q, k, v, allowed), attention(q, k, v, bias)

    def args(n: int) -> tuple[Tensor, ...]:
        allowed = torch.rand(2, 1, n, n) > 0.3
        allowed[0, :, n // 2] = False
        return randn(2, 3, n, 64), randn(2, 3, n, 64), randn(2, 3, n, 64), allowed, randn(n, n)

    n = torch.export.Dim("n", min=1, max=1024)
    sizes = ({2: n}, {2: n}, {2: n}, {2: n, 3: n}, {0: n, 1: n})
    return Model(Compute(f), args(16), dynamic_shapes=(sizes,), golden_inputs=calls(*map(args, LENGTHS)))


@model
def written_out_attention() -> Model:
    """Attention as older models write it, which TorchInductor's patterns find."""

    def f(self: Any, x: Tensor) -> Any:
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (4, 8)).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1)
        return self.out((scores @ v).transpose(1, 2).flatten(2))

    parts = {"qkv": nn.Linear(32, 96), "out": nn.Linear(32, 32)}
    return Model(Compute(f, **parts), (randn(2, 10, 32),))


@model
def transformer() -> Model:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
    sizes = {0: DYNAMIC(min=1, max=4), 1: DYNAMIC(min=1, max=200)}
    return Model(
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        (randn(2, 9, 32),),
        dynamic_shapes=(sizes,),
        golden_inputs=calls((randn(1, 1, 32),), (randn(4, 200, 32),)),
    )


# --- mathematics


@model
def mathematics() -> Model:
    """Functions that kernels take from a vector library, with values at which they are special."""

    def f(_: Any, x: Tensor) -> Any:
        positive = x.abs() + 0.1
        unary = ("sin", "cos", "tan", "tanh", "exp", "expm1", "erf", "sigmoid", "atan", "round", "sign")
        unary_positive = ("log", "log1p", "log2", "sqrt", "rsqrt", "lgamma")
        return [
            *(getattr(torch, name)(x) for name in unary),
            *(getattr(torch, name)(positive) for name in unary_positive),
            torch.pow(positive, x), torch.atan2(x, positive), torch.hypot(x, x), torch.fmod(x, 0.7),
        ]  # fmt: skip

    special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-40, 80.0, -80.0, 1.0])
    return Model(Compute(f), (randn(3, 37) * 3,), golden_inputs=calls((special.repeat(3, 5)[:, :37].contiguous(),)))


@model
def eager_values() -> Model:
    """What TorchInductor computes otherwise than eager PyTorch: test_eager_values.py compares it bit by bit."""

    def f(_: Any, x: Tensor, y: Tensor) -> Any:
        results = []
        for value in (x, x.double()):
            for divisor in (3, -2.5, 0.1, 6.283185307179586, float("inf")):
                small = value.clamp(-1e30, 1e30)
                results += [small % divisor, small // divisor, torch.fmod(small, divisor)]
                results += [torch.div(small, divisor, rounding_mode=mode) for mode in ("floor", "trunc")]
            results += [getattr(torch, name)(value) for name in ("log1p", "acosh", "asinh", "atanh", "expm1", "erf")]
            results += [
                nn.functional.elu(value),
                nn.functional.relu6(value),
                nn.functional.softshrink(value).abs(),  # the sign of a zero depends on the size in eager PyTorch
                value * 0,
            ]
            results += [value * 0, torch.clamp(value, min=0), value**-0.5, value**0.5, value.round(decimals=-2)]
        other = y.clamp(-1e30, 1e30)
        kept = torch.where(other.abs() < 1e-3, 0.7, other)
        results += [x.clamp(-1e30, 1e30) % kept, x.clamp(-1e30, 1e30) // kept, 7.5 % kept, -5 // kept]
        whole = y.nan_to_num(0, 0, 0).clamp(-1e9, 1e9).int()
        return [*results, nn.functional.threshold(whole, 1, 7), whole // 7, torch.div(whole, -1, rounding_mode="trunc")]

    size = torch.export.Dim("size", min=1, max=4096)
    return Model(Compute(f), (randn(67), randn(67)), dynamic_shapes=(({0: size},) * 2,))


@model
def half_types() -> Model:
    """Conversions, and operators of half types with a number: test_eager_values.py compares all with eager."""

    def numbers(x: Tensor, y: Tensor, number: float) -> list[Tensor]:
        """x and y in a half type; the number is none of it."""
        results = [x + number, x - number, number - x, x * number, x / number, x % number, x // number, number // y]
        results += [
            torch.fmod(x, number),
            number % y,
            torch.div(x, number, rounding_mode="trunc"),
            x // y,
            x % y,
            x / y,
        ]
        results += [getattr(torch, name)(x, number) for name in ("eq", "ne", "lt", "le", "gt", "ge", "isin")]
        results += [torch.where(x > 0, x, number).float(), x.masked_fill(x > 0, number).float()]
        results += [torch.full_like(x, number).float(), x.clamp(-number, number).float()]
        results += [nn.functional.hardshrink(x, number), nn.functional.threshold(x, number, 5.0)]
        results += [x / y, torch.lerp(x, y, number), torch.nextafter(x, y), torch.div(x, y, rounding_mode="trunc")]
        other = torch.tensor(number)
        return [*results, x + other, x * other, x == other, torch.maximum(x, other).float(), x // other, x.pow(number)]

    def f(model: Any, x: Tensor, h: Tensor, b: Tensor) -> Any:
        rounded = x.half()
        results = [rounded, rounded.float() * 2, x.bfloat16().float(), h.bfloat16().half().float(), x.type_as(h) * 3.0]
        results += [x.double().half().float(), x.long().half().float(), x.int().bfloat16().float(), b.half().bfloat16()]
        results += [h.clone().copy_(x).float(), x.half().float().t().contiguous(), h.clone().add_(x).float()]
        with torch.autocast("cpu", torch.bfloat16):
            results += [torch.mm(x.reshape(-1, 1), x[:1].reshape(1, 1)).float() * 1.5]
        index = torch.arange(3000)
        results += [index.half().float(), index.bfloat16().float(), torch.arange(3000, dtype=torch.bfloat16).float()]
        results += [index.to(torch.int8).long(), index.to(torch.uint8).float(), index.bool().long()]
        results += [index.to(torch.int16).to(torch.uint8).int(), (torch.arange(100, dtype=torch.int8) * 2).long()]
        model.narrow.copy_(index[:3])
        results += [model.narrow + 1, model.narrow.float()]
        for half, number in ((h, 1 / 3), (b, 0.1), (b, 257.0)):
            results += numbers(half, half.flip(0), number)
        return results

    size = torch.export.Dim("size", min=1, max=4096)
    module = Compute(f)
    module.register_buffer("narrow", torch.zeros(3, dtype=torch.float16))
    return Model(module, (randn(67), randn(67).half(), randn(67).bfloat16()), dynamic_shapes=(({0: size},) * 3,))


@model
def wrapping_integers() -> Model:
    """Integers of each type where their results wrap, and booleans: test_eager_values.py compares all with eager."""

    def results(x: Tensor, y: Tensor) -> list[Tensor]:
        divisor = torch.where((y == 0) | (y == -1), 1, y)  # the least integer by -1 ends eager's process
        bits = torch.iinfo(x.dtype).bits
        found = [x + y, x - y, x * y, -x, x.abs(), x * 3, 5 - x, ~x, x & y, x ^ y, x.sign(), x.square(), x**3]
        found += [x // divisor, x % divisor, torch.fmod(x, divisor), torch.div(x, divisor, rounding_mode="trunc")]
        found += [x // 7, x % 7, x / 2.5, x ** y.abs(), torch.pow(x, y) if x.dtype.is_signed else x // 3]
        found += [shift for count in (1, bits - 1, bits, bits + 1, -1) for shift in (x << count, x >> count)]
        found += [x << y, x >> y, x < y, x == y, torch.maximum(x, y), x.clamp(-3 if x.dtype.is_signed else 3, 50)]
        found += [x.bool(), x.float(), x.half().float(), x.to(torch.uint8), x.to(torch.int16), x.int().long()]
        found += [*torch.stack([x, y]).min(1), *x.max(0), x.argmin(), torch.stack([x, y]).argmax(1)]
        for part in (x.clamp(3, 100), -x.clamp(1, 100) if x.dtype.is_signed else x.clamp(min=200)):
            found += [
                part.amin(),
                part.max(),
                part.sum(dtype=x.dtype),
                torch.stack([part, part]).prod(1, dtype=x.dtype),
            ]
        found += [x.any().to(x.dtype), (x > 3).all(), torch.stack([x, y]).any(0), x.all()]
        return [*found, torch.stack([x, y]).sum(0), torch.stack([x, y], 1).amax(1), torch.stack([x, y, x]).argmin(0)]

    def booleans(x: Tensor, y: Tensor) -> list[Tensor]:
        found = [torch.add(x, y, alpha=alpha) for alpha in (0, 1, 2, 256, False)]
        found += [torch.add(x, True, alpha=0), torch.addr(x[:1, None], x, y, beta=2, alpha=0)[0]]
        found += torch._foreach_add([x, y], [y, x], alpha=2)
        both = torch.stack([x, y])
        found += [x.sum(dtype=torch.bool), both.sum(0, dtype=torch.bool), both.sum(1, True, dtype=torch.bool)]
        found += [part for dim in (0, 1) for extreme in (both.min(dim), both.max(dim, True)) for part in extreme]
        found += [*x.min(0), *y.max(0)]
        return [*found, both.prod(0, dtype=torch.bool), x * y, x | y, torch.maximum(x, y), x.square()]

    def f(_: Any, x: Tensor, y: Tensor) -> list[Tensor]:
        dtypes = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
        found = [result for dtype in dtypes for result in results(x.to(dtype), y.to(dtype))]
        return found + booleans(x > 0, y > 3)

    size = torch.export.Dim("size", min=1, max=4096)
    return Model(Compute(f), (torch.arange(-3, 64), torch.arange(-9, 58)), dynamic_shapes=(({0: size},) * 2,))


@model
def wrapping_products() -> Model:
    """Integers that wrap, in one kernel: tests/test_sanitizers.py calls it with the largest and the least."""

    def f(_: Any, x: Tensor, y: Tensor) -> list[Tensor]:
        found = [part for dtype in (torch.int32, torch.int64) for part in (x.to(dtype), y.to(dtype))]
        return [
            result for a, b in (found[:2], found[2:]) for result in (a * b, a + b, a - b, -a, a**3, a.sum(), b.abs())
        ]

    size = torch.export.Dim("size", min=1, max=4096)
    edges = [edge for bits in (31, 63) for edge in (2**bits - 1, -(2**bits))]
    x, y = torch.tensor([*edges, *range(17)]), torch.tensor([*range(-2, 15), *edges])
    return Model(Compute(f), (x, y), dynamic_shapes=(({0: size},) * 2,))


@model
def narrow_products() -> Model:
    """Products of one row and one column of integers, whose sums stay in their type: upstream writes them as int64."""

    def f(_: Any, x: Tensor, y: Tensor) -> list[Tensor]:
        found = []
        for dtype in (torch.int32, torch.int16, torch.int8, torch.uint8):
            a, b = x.to(dtype), y.to(dtype)
            row, column = a.reshape(1, -1), b.reshape(-1, 1)
            found += [row @ column, row[None] @ column[None], torch.addmm(column[:1], row, column, beta=2, alpha=3)]
            found += [torch.einsum("ij,kj->ik", row.reshape(2, -1), b[: a.numel() // 2].reshape(1, -1))]
        return found

    return Model(Compute(f), (torch.arange(-9, 11), torch.arange(100, 120)))


@model
def reductions() -> Model:
    def f(_: Any, x: Tensor) -> Any:
        variance, mean = torch.var_mean(x, 1)
        return x.sum((0, 2)), mean, variance, x.amax(-1), x.argmax(-1), x.prod(1), x.norm(), x.logsumexp(-1), x.all()

    return Model(Compute(f), (randn(3, 37, 5),))
