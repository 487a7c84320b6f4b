"""Dynamic shapes: ranges, relations between sizes, sizes that are known only after a run, checks of inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional

from aotinductor_cases.case import case, ints, model, rand


def _same(*names: str, least: int = 1, most: int = 2048) -> dict[str, Any]:
    rows = Dim("rows", min=least, max=most)
    return {name: {0: rows} for name in names}


def _relu_of_sum(x: torch.Tensor, y: torch.Tensor) -> Any:
    return torch.relu(x + y)


case("simple_dynamic", _relu_of_sum, rand(128, 32), rand(128, 32), dynamic=_same("x", "y"))
case(
    "poi_multiple_dynamic", _relu_of_sum, rand(128, 32), rand(128, 32), dynamic=_same("x", "y"),
    more=[(rand(n, 32), rand(n, 32)) for n in (64, 211, 1)],
)  # fmt: skip
case(
    "addmm_multiple_dynamic", nn.Linear(16, 6), rand(2, 8, 16), dynamic=_same("input"),
    more=[(rand(n, 8, 16),) for n in (1, 128, 2048)],
)  # fmt: skip
case(
    "bmm_multiple_dynamic",
    lambda a, b: torch.bmm(a, b),
    rand(16, 8, 16),
    rand(16, 16, 6),
    dynamic=({0: Dim.DYNAMIC}, {0: Dim.DYNAMIC}),
    more=[(rand(n, 8, 16), rand(n, 16, 6)) for n in (2, 48)],
)
case(
    "foreach_multiple_dynamic", lambda x, y: torch.cat([x.unsqueeze(0), y.unsqueeze(0)]), rand(128, 20), rand(128, 20),
    dynamic=_same("x", "y"), more=[(rand(n, 20), rand(n, 20)) for n in (64, 211)],
)  # fmt: skip
case(
    "dynamic_cat", lambda a, b: torch.cat([a, b]), rand(2, 4), rand(3, 4),
    dynamic={"a": {0: Dim("da", min=1, max=10)}, "b": {0: Dim("db", min=1, max=20)}},
    more=[(rand(1, 4), rand(20, 4)), (rand(10, 4), rand(1, 4))],
)  # fmt: skip
case(
    "zero_grid_with_backed_symbols", lambda x, b: x + b, rand(3, 2), rand(1, 2), dynamic=({0: Dim("dx", max=64)}, None),
    more=[(rand(0, 2), rand(1, 2)), (rand(1, 2), rand(1, 2))],
)  # fmt: skip
case(
    "shifted_constraint_ranges", lambda x, y: x.sum(0) + y.sum(0), rand(4, 5), rand(5, 5),
    dynamic=(lambda d: {"x": {0: d}, "y": {0: d + 1}})(Dim("rows", min=2, max=1024)), more=[(rand(7, 5), rand(8, 5))],
)  # fmt: skip


@model(
    "shifted_constraint_ranges_checked", rand(4, 5), rand(5, 5), more=[(rand(9, 5), rand(10, 5))],
    dynamic=(lambda d: {"x": {0: d}, "y": {0: d + 1}})(Dim("rows", min=2, max=1024)),
)  # fmt: skip
class Checked(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        torch._check(y.size(0) == x.size(0) + 1)
        return x.sum(0) * y.sum(0)


case(
    "composed_dynamic_size",
    lambda x: x + 1,
    rand(10),
    dynamic={"x": {0: 2 * Dim("half", max=64)}},
    more=[(rand(4),), (rand(64),)],
)
case(
    "composed_dynamic_size_three",
    lambda x: x.view(-1, 3).sum(1),
    rand(12),
    dynamic={"x": {0: 3 * Dim("third", max=64)}},
    more=[(rand(6),)],
)
case(
    "input_codegen_with_sympy_expr",
    lambda a, b, c, d, e: (torch.cat([c, d]) + (a | b), d[:-1] + e),
    ints(24, high=2, dtype=torch.uint8),
    ints(24, high=2, dtype=torch.uint8),
    rand(16),
    rand(8),
    ints(7, high=100, dtype=torch.uint8),
    dynamic={"a": (Dim.AUTO,), "b": (Dim.AUTO,), "c": (2 * Dim("half", max=64),), "d": (Dim.AUTO,), "e": (Dim.AUTO,)},
)
case("shape_env_reuse", lambda x: x + 2, rand(4, 4), dynamic={"x": {0: Dim.AUTO, 1: Dim.AUTO}}, more=[(rand(7, 3),)])
case(
    "reuse_kernel_dynamic",
    lambda x, y: torch.bmm((x + x).permute(1, 0, 2), y.permute(1, 2, 0)).sin() * 0.123, rand(6, 4, 8), rand(6, 4, 8),
    dynamic=({0: Dim("n", min=1, max=64)},) * 2, more=[(rand(1, 4, 8), rand(1, 4, 8)), (rand(9, 4, 8), rand(9, 4, 8))],
)  # fmt: skip
case("dynamic_reshape", lambda x: x.reshape(x.shape[0] * 2, -1), rand(4, 6), dynamic=_same("x"), more=[(rand(1, 6),)])
case("dynamic_mean", lambda x: x.mean(0), rand(4, 6), dynamic=_same("x"), more=[(rand(1, 6),), (rand(33, 6),)])
case(
    "dynamic_softmax",
    lambda x: x.softmax(1),
    rand(4, 6),
    dynamic={"x": {0: Dim("a", max=99), 1: Dim("b", max=99)}},
    more=[(rand(3, 40),), (rand(1, 1),)],
)
case(
    "dynamic_arange",
    lambda x: x + torch.arange(x.shape[0]),
    rand(5),
    dynamic=_same("x"),
    more=[(rand(1),), (rand(50),)],
)
case(
    "dynamic_linspace",
    lambda x: x + torch.linspace(0, 1, x.shape[0]),
    rand(5),
    dynamic=_same("x"),
    error="your code specialized it to be a constant",
)
case(
    "dynamic_expand",
    lambda x, y: x.expand(y.shape[0], 4) + y,
    rand(1, 4),
    rand(3, 4),
    dynamic=(None, {0: Dim("n", max=64)}),
    more=[(rand(1, 4), rand(9, 4))],
)
case(
    "dynamic_tril",
    lambda x: torch.tril(torch.ones(x.shape[0], x.shape[0])) @ x,
    rand(5, 2),
    dynamic=_same("x", most=64),
    more=[(rand(9, 2),), (rand(1, 2),)],
)
case(
    "dynamic_pad",
    lambda x: functional.pad(x, (1, 2), value=3.0),
    rand(5, 2),
    dynamic=_same("x", most=64),
    more=[(rand(9, 2),)],
)
case(
    "dynamic_size_output",
    lambda x: (x.shape[0] * 2, x + x.shape[0]),
    rand(5, 2),
    dynamic=_same("x", most=64),
    more=[(rand(9, 2),)],
)
case(
    "dynamic_max_pool",
    lambda x: functional.max_pool2d(x, 2),
    rand(1, 2, 8, 8),
    dynamic={"x": {2: Dim("h", min=4, max=32), 3: Dim("w", min=4, max=32)}},
    more=[(rand(1, 2, 9, 15),)],
)
case(
    "dynamic_conv",
    nn.Conv2d(2, 4, 3, padding=1),
    rand(2, 2, 8, 8),
    dynamic={"input": {0: Dim("n", min=1, max=9), 2: Dim("h", min=3, max=32), 3: Dim("w", min=3, max=32)}},
    more=[(rand(3, 2, 9, 15),), (rand(1, 2, 3, 4),)],
)
case(
    "dynamic_interpolate",
    lambda x: functional.interpolate(x, scale_factor=2.0),
    rand(1, 2, 8, 8),
    dynamic={"x": {2: Dim("h", min=4, max=32)}},
    more=[(rand(1, 2, 5, 8),)],
)
case(
    "dynamic_sort",
    lambda x: x.sort(dim=0, stable=True),
    rand(5, 2),
    dynamic=_same("x", most=64),
    more=[(rand(9, 2),), (rand(1, 2),)],
)
case(
    "dynamic_cumsum",
    lambda x: x.cumsum(0),
    rand(5, 2),
    dynamic=_same("x", most=64),
    more=[(rand(9, 2),), (rand(1, 2),)],
)
case(
    "dynamic_einsum",
    lambda x, y: torch.einsum("bi,bj->bij", x, y),
    rand(5, 2),
    rand(5, 3),
    dynamic=_same("x", "y", most=64),
    more=[(rand(9, 2), rand(9, 3))],
)
case(
    "dynamic_flip_roll",
    lambda x: x.flip(0).roll(1, 0),
    rand(5, 2),
    dynamic=_same("x", most=64),
    more=[(rand(9, 2),), (rand(1, 2),)],
)
case(
    "masked_select_dynamic", lambda x: torch.masked_select(x, x.ge(0.5)), rand(3, 4, 5),
    dynamic={"x": {0: Dim("a", max=100), 1: Dim("b", max=7)}}, more=[(rand(9, 7, 5),), (torch.zeros(2, 2, 5),)],
)  # fmt: skip
case("nonzero", lambda x: torch.nonzero(x > 0), rand(5, 4), more=[(torch.zeros(5, 4),), (torch.ones(5, 4),)])
case(
    "zero_grid_with_unbacked_symbols",
    lambda x, y: (torch.ones_like(torch.nonzero(x), dtype=torch.float32) @ y).sum(),
    torch.tensor([1, 1, 1]),
    rand(1, 32),
    more=[(torch.tensor([0, 0, 0]), rand(1, 32))],
)


@model(
    "stride_with_unbacked_expr",
    torch.scalar_tensor(2, dtype=torch.int),
    torch.ones(8),
    more=[(torch.scalar_tensor(3, dtype=torch.int), torch.ones(8))],
)
class OfItem(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        count = x.item()
        torch._check(count >= 1)
        torch._check(count <= 100)
        expression = count * y.size(0)
        return torch.empty_strided((10, expression, 32), (expression * 32, 32, 1)).fill_(7) * 3


class Repeats(nn.Module):
    def forward(
        self,
        values: torch.Tensor,
        repeats: torch.Tensor,
        embeddings: torch.Tensor,
        x: torch.Tensor,
        z: torch.Tensor,
        scalar: torch.Tensor,
    ) -> Any:
        index = torch.clamp(torch.repeat_interleave(values, repeats), min=0, max=400).int()
        selected = torch.index_select(embeddings, 0, index)
        count = scalar.item()
        torch._check(count >= 0)
        return torch.cat([x.repeat(z.size(0) + count, 1), selected], dim=1)


case(
    "size_with_unbacked_add_expr",
    Repeats(),
    torch.ones(64, dtype=torch.int64),
    torch.ones(64, dtype=torch.int64) * 12,
    rand(401, 8),
    rand(1, 16),
    torch.ones(758, 7),
    torch.scalar_tensor(10, dtype=torch.int32),
    dynamic={
        "values": (Dim.DYNAMIC,),
        "repeats": (Dim.DYNAMIC,),
        "embeddings": (Dim.DYNAMIC, Dim.STATIC),
        "x": None,
        "z": (Dim.DYNAMIC, Dim.STATIC),
        "scalar": (),
    },
    more=[
        (torch.ones(70, dtype=torch.int64) * 3, torch.arange(70), rand(77, 8), rand(1, 16), torch.ones(2404, 7),
         torch.scalar_tensor(11, dtype=torch.int32)),
    ],
    refused=[
        ((torch.ones(64, dtype=torch.int64), torch.ones(64, dtype=torch.int64) * 12, rand(401, 8), rand(1, 16),
         torch.ones(758, 7), torch.scalar_tensor(9, dtype=torch.int32)), "Expected Eq(u0, "),
    ],
)  # fmt: skip
case("repeat_interleave", lambda x: torch.repeat_interleave(x, output_size=12), torch.ones(1, dtype=torch.int32) * 12)
case(
    "repeat_interleave_unbacked",
    lambda x: torch.repeat_interleave(x),
    torch.tensor([1, 0, 3]),
    more=[(torch.tensor([0, 0, 0]),), (torch.tensor([2, 2, 2]),)],
)


def _twice_selected(x: torch.Tensor) -> Any:
    large = x.abs().ge(0.001)
    return x[large].sin() / x[large]


case("dup_unbacked_sym_decl", _twice_selected, rand(4, 4, 4, 4))


@model("dup_unbacked_sym_decl_with_refinement", torch.ones(4, 4, 4, 4))
class Refined(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        large = x.abs().ge(0.001)
        first = x[large]
        torch._check(first.size(0) == 4**4)
        return first.sin() / x[large]


@model(
    "unbacked_equals_input_size_runtime_assertion",
    torch.ones(64),
    rand(32),
    rand(64, 32),
    refused=[((torch.zeros(64), rand(32), rand(64, 32)), "")],
)
class SizeOfNonzero(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Any:
        ones = a.new_ones([torch.nonzero(a).size(0), b.size(0)])
        torch._check(ones.size(0) == 64)
        return ones + c


@model(
    "aoti_runtime_asserts",
    rand(100),
    torch.tensor(10),
    more=[(rand(100), torch.tensor(99))],
    refused=[((rand(100), torch.tensor(2)), ""), ((rand(100), torch.tensor(101)), "")],
)
class CheckedItem(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        count = b.item()
        torch._check(count > 3)
        torch._check(count < a.shape[0])
        return a[count - 3]


case(
    "aoti_runtime_asserts_backed_symint", lambda x: x.reshape(100, -1).clone() + 1, rand(200),
    dynamic={"x": {0: Dim.DYNAMIC}}, more=[(rand(400),)], refused=[((rand(2099),), "")],
)  # fmt: skip
case(
    "unique", lambda x: torch.unique(x, sorted=True, return_inverse=True), ints(20, high=5), more=[(ints(20, high=2),)]
)


class SizeFromMultiOutput(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        values, inverse = torch.unique(x, sorted=True, return_inverse=True)
        return torch.relu(values.detach().clone()), inverse


case("size_from_multi_output", SizeFromMultiOutput(), rand(8))


class Jagged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3), nn.Sigmoid())

    def forward(self, values: torch.Tensor, offsets: torch.Tensor) -> Any:
        return self.mlp(torch.nested.nested_tensor_from_jagged(values, offsets)).values()


case(
    "nested_tensor_from_jagged", Jagged(), rand(15, 12), torch.tensor([0, 3, 4, 10, 15]),
    dynamic={"values": {0: Dim("values", min=1, max=128)}, "offsets": {0: Dim("offsets", min=1, max=9)}},
    more=[(rand(31, 12), torch.tensor([0, 1, 20, 25, 31])), (rand(15, 12), torch.tensor([0, 3, 10, 15]))],
)  # fmt: skip


class ResizeToItems(nn.Module):
    def forward(self, image: torch.Tensor, target: torch.Tensor) -> Any:
        height, width = target.tolist()
        for size in (height, width):
            torch._check(size > 1)
            torch._check(size <= 400)
        return functional.interpolate(image.unsqueeze(0), (height, width), mode="bilinear", align_corners=False)


case(
    "torchvision_transforms_functional_tensor_resize", ResizeToItems(), rand(3, 80, 60), torch.tensor([44, 33]),
    dynamic={"image": {1: Dim("height", min=2, max=400), 2: Dim("width", min=2, max=400)}, "target": None},
    more=[(rand(3, 20, 30), torch.tensor([10, 70]))],
)  # fmt: skip

_TYPES = (
    torch.float16,
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.bool,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
)
_of_types = tuple(torch.ones(4, 8, 10, dtype=dtype) for dtype in _TYPES)
case("runtime_checks", lambda *x: tuple(t + t for t in x), *_of_types)
case(
    "runtime_checks_dynamic", lambda *x: tuple(t | t if t.dtype is torch.bool else t * 2 for t in x), *_of_types,
    dynamic=(tuple({0: Dim.AUTO} for _ in _of_types),), more=[tuple(t[:3] for t in _of_types)],
)  # fmt: skip
case("runtime_checks_large", lambda *x: sum(x[1:], x[0]), *(torch.ones(2, 3, dtype=torch.float16) for _ in range(200)))
case(
    "runtime_checks_complex",
    lambda a, b: (a * 2, b + a[0]),
    torch.tensor([1 + 1j, -2j]),
    torch.tensor(128, dtype=torch.complex128),
)
case(
    "runtime_checks_dtype_failed",
    lambda x: x.float(),
    rand(1, 4, dtype=torch.float16),
    refused=[((rand(1, 4),), "float16")],
)
case(
    "runtime_checks_shape_failed", lambda x: x + 1, rand(8, 4, 4, dtype=torch.float16),
    dynamic={"x": {0: Dim("rows", min=4, max=1024)}}, more=[(rand(4, 4, 4, dtype=torch.float16),)],
    refused=[
        ((rand(4, 8, 4, dtype=torch.float16),), ""),
        ((rand(2048, 3, 4, dtype=torch.float16),), ""),
        ((rand(2048, 4, 4, dtype=torch.float16),), ""),
        ((rand(3, 4, 4, dtype=torch.float16),), ""),
        ((rand(8, 4, 4, dtype=torch.float16).transpose(1, 2),), "stride"),
        ((rand(8, 4, dtype=torch.float16),), ""),
    ],
)  # fmt: skip
case(
    "slice_of_first_rows",
    lambda x: x[:2].mean(0) + x[-2:].mean(0),
    rand(5, 3),
    dynamic={"x": {0: Dim("b", min=2, max=64)}},
    more=[(rand(2, 3),), (rand(3, 3),)],
)
case(
    "cat_with_first_row",
    lambda x: torch.cat([x, x[:1]]),
    rand(5, 3),
    dynamic={"x": {0: Dim("b", min=1, max=64)}},
    more=[(rand(1, 3),), (rand(3, 3),)],
)
case(
    "two_inputs_of_one_size",
    lambda x, y: x @ y.t(),
    rand(5, 3),
    rand(7, 3),
    dynamic={"x": {0: Dim("a", max=9)}, "y": {0: Dim("b", max=9)}},
    more=[(rand(7, 3), rand(7, 3)), (rand(1, 3), rand(9, 3))],
)
case(
    "floor_of_a_size",
    lambda x: x[: x.shape[0] // 2] * (x.shape[0] // 3),
    rand(7),
    dynamic={"x": {0: Dim("b", min=4, max=64)}},
    more=[(rand(8),), (rand(9),)],
)
