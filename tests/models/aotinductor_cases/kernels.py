"""Loops that TorchInductor writes: tilings, tails, fusion, reductions over views, names of all kinds."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.export import Dim

from aotinductor_cases.case import case, ints, rand

for _size in (1, 7, 8, 15, 16, 17, 31, 33):
    case(f"vector_tail_{_size}", lambda x: (x.exp().sum(-1), (x * 2).sin(), x.max(-1).values), rand(3, _size))
for _rows, _columns in ((1, 1), (3, 17), (16, 16), (17, 33), (64, 5)):
    case(
        f"transpose_add_{_rows}_{_columns}",
        lambda x, y: (x.t() + y).contiguous(),
        rand(_rows, _columns),
        rand(_columns, _rows),
    )
    case(f"transposed_softmax_{_rows}_{_columns}", lambda x: x.t().softmax(0), rand(_rows, _columns))
case("horizontal_fusion", lambda x, y: (x.sum(1), y.sum(1), x + 1, y * 2), rand(9, 33), rand(9, 33))
case(
    "outer_loop_fusion",
    lambda x: ((x - x.amax(-1, keepdim=True)).exp() / x.sum(-1, keepdim=True), x.mean(-1)),
    rand(9, 33),
)
case("welford", lambda x: torch.nn.functional.layer_norm(x, (33,)) * 2, rand(9, 33))
case("reduce_middle", lambda x: (x.sum(1), x.amax(1), x.argmax(1)), rand(4, 9, 17))
case("reduce_all_but_one", lambda x: x.sum((0, 2)), rand(4, 9, 17))
case("split_reduction", lambda x: x.reshape(-1).sum() + x.max(), rand(40, 1000))
case("non_contiguous_input", lambda x: x * 2 + x.sum(), rand(6, 8)[::2, 1::3])
case("transposed_input", lambda x: x.relu().sum(0), rand(6, 8).t())
case("expanded_input", lambda x: x + 1, rand(1, 8).expand(5, 8))
case(
    "channels_last_input",
    lambda x: x.mean((2, 3)) + x[:, :, 0, 0],
    rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
)
case("zero_dim_inputs", lambda x, y: (x + y, x * 3), torch.tensor(2.0), torch.tensor(5))
case("size_zero_inputs", lambda x: (x + 1, x.sum(), torch.cat([x, x])), rand(0, 4))
case("constant_pad", lambda x: torch.nn.functional.pad(x, (1, -1, 2, 3), value=7.0), rand(4, 5))
case("reflection_pad", lambda x: torch.nn.functional.pad(x, (1, 2, 1, 0), mode="reflect"), rand(1, 2, 4, 5))
case("cat_of_many", lambda *x: torch.cat(x, 1), *(rand(3, n) for n in (1, 5, 8, 16, 3, 2)))
case("cat_of_types", lambda x, y: torch.cat([x, y]), rand(3), ints(4))
case("stack_and_unbind", lambda x: torch.stack([t * i for i, t in enumerate(x.unbind(0))], 1), rand(4, 5))
case("as_strided", lambda x: x.as_strided((3, 4), (2, 1), 1) + 1, rand(4, 5))
case("as_strided_scatter", lambda x, y: x.as_strided_scatter(y, (2, 3), (5, 1), 2), rand(4, 5), rand(2, 3))
case("slice_scatter", lambda x, y: torch.slice_scatter(x, y, 1, 1, 5, 2), rand(4, 6), rand(4, 2))
case("select_scatter", lambda x, y: torch.select_scatter(x, y, 1, 2), rand(4, 6), rand(4))
case("diagonal", lambda x: (x.diagonal(), torch.diag_embed(x), x.tril(-1), x.triu(1)), rand(4, 5))
case(
    "index",
    lambda x, i, j: (x[i], x[:, j], x[i, j], x[None, i]),
    rand(5, 6),
    torch.tensor([0, -1, 3]),
    torch.tensor([5, 2, -6]),
)
case("index_mask", lambda x: torch.where(x > 0, x, torch.zeros(())), rand(5, 6))
case(
    "index_out_of_range",
    lambda x, i: x[i],
    rand(5),
    torch.tensor([1]),
    refused=[((rand(5), torch.tensor([5])), "index"), ((rand(5), torch.tensor([-6])), "index")],
)
case("embedding_out_of_range", nn.Embedding(5, 3), torch.tensor([1]), refused=[((torch.tensor([5]),), "index")])
case("gather", lambda x, i: torch.gather(x, 1, i), rand(5, 6), ints(5, 2, high=6))
case("scatter_add", lambda x, i, s: x.scatter_add(0, i, s), rand(5, 3), ints(7, 3, high=5), rand(7, 3))
case(
    "scatter_reduce_amax", lambda x, i, s: x.scatter_reduce(0, i, s, "amax"), rand(5, 3), ints(7, 3, high=5), rand(7, 3)
)
case(
    "scatter_reduce_mean",
    lambda x, i, s: x.scatter_reduce(0, i, s, "mean", include_self=False),
    rand(5, 3),
    ints(7, 3, high=5),
    rand(7, 3),
)
for _dtype in (torch.float32, torch.bfloat16, torch.float16, torch.int64):
    # Eighths, whose sums are exact in every type: the order of additions is no part of the result.
    case(
        f"index_add_{str(_dtype).removeprefix('torch.')}",
        lambda x, i, s: x.index_add(0, i, s),
        (ints(5, 3) / 8).to(_dtype),
        ints(7, high=5),
        (ints(7, 3) / 8).to(_dtype),
    )
case(
    "index_copy_fill",
    lambda x, i, s: (x.index_copy(0, i, s), x.index_fill(0, i, 3.0)),
    rand(5, 3),
    torch.tensor([4, 0]),
    rand(2, 3),
)
case(
    "bucketize",
    lambda x, b: (torch.bucketize(x, b), torch.searchsorted(b, x, right=True)),
    rand(9),
    torch.tensor([-1.0, 0.0, 1.0]),
)
case(
    "sort_and_topk",
    lambda x: (
        *x.sort(stable=True, dim=1, descending=True),
        x.topk(3).values,
        x.kthvalue(2).values,
        x.median(1).values,
    ),
    rand(4, 9),
)
case("unfold", lambda x: (x.unfold(1, 3, 2), torch.nn.functional.unfold(x[None, None], 2)), rand(4, 9))
case("roll_flip_rot", lambda x: (x.roll(2, 1), x.flip(0), torch.rot90(x), x.T), rand(4, 9))
case("repeat_tile", lambda x: (x.repeat(2, 3), torch.tile(x, (2,)), x.repeat_interleave(2, 0)), rand(2, 3))
case("einsum", lambda x, y: torch.einsum("abc,cd->abd", x, y), rand(2, 3, 4), rand(4, 5))
case(
    "baddbmm", lambda x, y, z: torch.baddbmm(x, y, z, beta=0.5, alpha=2.0), rand(2, 3, 5), rand(2, 3, 4), rand(2, 4, 5)
)
case(
    "addmv_addr_dot",
    lambda x, y, m: (m @ x, torch.outer(x, y), x @ x, torch.addmv(y, m, x)),
    rand(4),
    rand(3),
    rand(3, 4),
)
case("mm_of_zero_inner", lambda x, y: x @ y + 1, rand(3, 0), rand(0, 4))
case("addmm_of_zero_inner", lambda b, x, y: torch.addmm(b, x, y), rand(4), rand(3, 0), rand(0, 4))
case("matmul_of_views", lambda x, y: x.t() @ y[::2], rand(4, 3), rand(8, 5))
case("set_element", lambda x: _set(x), rand(4))
case("set_element_of_tensor", lambda x, v: _set(x, v), rand(4), torch.tensor(2.0))
case("repeat_scalar", lambda x: torch.tensor(3.0).repeat(3) + x, rand(3))
case(
    "full_like_fill",
    lambda x: (torch.full_like(x, 3), x.new_full((2,), 4), x.clone().fill_(5), torch.zeros_like(x)),
    rand(3),
)
case("clone_and_copy", lambda x, y: _copied(x, y), rand(3, 4), rand(4))
case("uniform", lambda x: torch.rand_like(x) + 1, rand(10), random=True)
case(
    "bernoulli_of_probabilities",
    lambda x, p: (
        (torch.bernoulli(x, 0.3).mean() - 0.3).abs() < 0.05,
        x.clone().bernoulli_(0.3).unique(),
        torch.empty_like(p).bernoulli_(p),
        torch.bernoulli(x, 1.0).min(),
        torch.nn.functional.feature_alpha_dropout(x, 0.5, True).unique(),
        torch.nn.functional.dropout2d(x.view(100, 100, 1), 0.5, True).unique(),
    ),
    torch.ones(100, 100),
    torch.tensor([0.0, 1.0, 1.0, 0.0]),
)
case("bernoulli1", lambda x: torch.bernoulli(x.sigmoid()), rand(10), random=True)
case("randint", lambda: torch.randint(0, 10, (5,)), random=True)
case("multinomial", lambda x: torch.multinomial(x.softmax(-1), 3), rand(2, 8), random=True)
case(
    "linalg",
    lambda x: (torch.linalg.inv(x), torch.linalg.det(x), torch.linalg.solve(x, x[:, 0])),
    rand(4, 4) + 4 * torch.eye(4),
)
case("cholesky", lambda x: torch.linalg.cholesky(x @ x.t() + torch.eye(4)), rand(4, 4))
case("logsumexp", lambda x: (x.logsumexp(1), x.log_softmax(1)), rand(4, 9) * 50)
case(
    "polynomials",
    lambda x: (
        torch.erf(x),
        torch.lgamma(x.abs() + 1),
        torch.special.i0(x),
        torch.digamma(x.abs() + 1),
        torch.erfinv(x.clamp(-0.9, 0.9)),
    ),
    rand(9),
)
case("trigonometric", lambda x: (x.tan(), x.atan(), torch.atan2(x, x.flip(0)), x.sinh(), x.acosh(), x.asin()), rand(9))


def _set(x: torch.Tensor, value: Any = 5) -> Any:
    y = x.clone()
    y[0] = value
    return y


def _copied(x: torch.Tensor, y: torch.Tensor) -> Any:
    result = torch.empty_like(x)
    result.copy_(y)
    result[0] += x[0]
    return result


# --- names

_NAMES = (
    "inputs",
    "outputs",
    "context",
    "buf0",
    "int_array_0",
    "launch",
    "context_allocate",
    "float",
    "new",
    "template",
    "handle",
    "class_",
)
for _name in _NAMES:
    _scope: dict[str, Any] = {}
    exec(f"def function({'class' if False else _name}, y): return {_name} * 2 + y", _scope)
    case(f"input_named_{_name}", _scope["function"], rand(3, 4), rand(3, 4))
    case(f"output_named_{_name}", lambda x, name=_name: {name: x + 1, "other": x * 2}, rand(3))
case(
    "keys_that_are_no_identifiers",
    lambda x: {"a.b": x["x.y"] + x["x y"], "a b": x["x.y"], "7": x["x y"]},
    {"x.y": rand(3), "x y": rand(3)},
)
case("buffer_names", nn.ModuleDict({"context": nn.Linear(3, 3), "inputs": nn.Linear(3, 3)})["context"], rand(2, 3))
case(
    "dimension_named_as_an_input",
    lambda x, s: x + s,
    rand(4),
    rand(4),
    dynamic=({0: Dim("s", max=9)},) * 2,
    more=[(rand(2), rand(2))],
)
