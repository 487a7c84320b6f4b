"""`torch.cond` and `while_loop`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch._higher_order_ops import while_loop as upstreams_while_loop
from torch.export import Dim

from aotinductor_cases.case import case, rand

while_loop: Any = upstreams_while_loop


def _rows(*names: str, least: int = 2, apart: str = "") -> dict[str, Any]:
    """The first dimension of each input is dynamic, and the same for all but those whose names are in ``apart``."""
    shared = Dim("s0", min=least, max=1024)
    return {name: {0: Dim(f"s_{name}", min=least, max=1024)} if name in apart else {0: shared} for name in names}


def _both(*inputs: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    """Calls with either branch, with these inputs and with three times as many rows."""
    larger = tuple(torch.cat([tensor] * 3) for tensor in inputs)
    return [(torch.tensor(False), *inputs), (torch.tensor(True), *larger), (torch.tensor(False), *larger)]


def _conditional(name: str, module: Any, inputs: Sequence[torch.Tensor], dynamic: Any) -> None:
    case(name, module, torch.tensor(True), *inputs, dynamic={"p": {}, **dynamic}, more=_both(*inputs))


a, b, c = rand(10, 20), rand(10, 20), rand(10, 20)
_conditional("cond_simple", lambda p, a, b: torch.cond(p, torch.add, torch.sub, (a, b)), (a, b), _rows("a", "b"))


class Deep(nn.Module):
    def forward(self, p: torch.Tensor, q: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
        def inner_true(x: torch.Tensor, y: torch.Tensor) -> Any:
            return (x - y) * 3.14

        def inner_false(x: torch.Tensor, y: torch.Tensor) -> Any:
            return (x * y) / 2.71

        def outer_true(x: torch.Tensor, y: torch.Tensor) -> Any:
            return torch.cond(q, inner_true, inner_false, (x, y))

        def outer_false(x: torch.Tensor, y: torch.Tensor) -> Any:
            return torch.cond(q, inner_false, inner_true, (y, x))

        return torch.cond(p, outer_true, outer_false, (a, b))


_flags = [torch.tensor(True), torch.tensor(False)]
case(
    "cond_nested", Deep(), _flags[0], _flags[1], a, b, dynamic={"p": {}, "q": {}, **_rows("a", "b")},
    more=[(p, q, a[:n], b[:n]) for p in (torch.tensor(True), torch.tensor(False))
          for q in (torch.tensor(True), torch.tensor(False)) for n in (10, 3)],
)  # fmt: skip


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(20, 30), nn.Linear(20, 30)

    def forward(self, p: torch.Tensor, a: torch.Tensor) -> Any:
        return torch.cond(p, lambda x: self.first(x), lambda x: self.second(x) + 1, (a,))


_conditional("cond_with_parameters", Layers(), (a,), _rows("a"))


def _slices(p: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
    def sums(x: torch.Tensor, y: torch.Tensor) -> Any:
        return (x + y)[2:].clone(), (x - y)[:, 4:].clone()

    def differences(x: torch.Tensor, y: torch.Tensor) -> Any:
        return (x - y)[2:].clone(), (x + y)[:, 4:].clone()

    return torch.cond(p, sums, differences, (a[:-1], b[:-1]))


_conditional("cond_with_reinterpret_view_inputs_outputs", _slices, (a, b), _rows("a", "b", least=5))


def _several(p: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Any:
    def first(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Any:
        return x * y, z / 2.71, (y - x).sum(dim=1)

    def second(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Any:
        return y / x, z * 3.14, (x + y).mean(dim=1)

    return torch.cond(p, first, second, (a, b, c))


_conditional("cond_with_multiple_outputs", _several, (a, b, rand(30, 40)), _rows("a", "b", "c", apart="c"))
_conditional(
    "cond_with_outer_code_before_after",
    lambda p, a, b: torch.cond(p, torch.add, torch.sub, (a * b + 3.14, a / b - 2.71)).square() / 1.41,
    (a, b), _rows("a", "b"),
)  # fmt: skip


def _closure(p: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Any:
    d, e = a * 2, b / 2
    return torch.cond(p, lambda x: x + d, lambda x: x - e, (c,))


_conditional("cond_use_buffers_from_outer_scope", _closure, (a, b, c), _rows("a", "b", "c"))
case(
    "cond_non_tensor_predicates_static",
    lambda a, b: torch.cond(a.shape[0] > b.shape[0], lambda: a.sin(), lambda: a + 1, ()),
    a,
    rand(15, 20),
)
case(
    "cond_non_tensor_predicates_dynamic",
    lambda a, b: torch.cond(a.size(0) > b.size(0), lambda x: x.sin(), lambda x: x + 1, (a,)), a, rand(15, 20),
    dynamic=_rows("a", "b", apart="b"), more=[(a, rand(5, 20))],
)  # fmt: skip


def _counted(p: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Any:
    count = z.shape[0] + y.shape[0]
    return torch.cond(p, lambda x: x + count, lambda x: x - count, (x,))


case(
    "cond_symint_closure_static",
    _counted,
    torch.tensor(True),
    a,
    rand(15, 20),
    c,
    more=[(torch.tensor(False), a, rand(15, 20), c)],
)
_conditional("cond_symint_closure_dynamic", _counted, (a, rand(15, 20), c), _rows("x", "y", "z", apart="y"))


def _items(p: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Any:
    count = (z > 0).sum().item()
    return torch.cond(p, lambda x: x + count, lambda x: x - count, (x,))


case("cond_unbacked_symint_closure_static", _items, torch.tensor(True), a, b, c, more=[(torch.tensor(False), a, b, c)])
_conditional("cond_unbacked_symint_closure_dynamic", _items, (a, rand(15, 20), c), _rows("x", "y", "z", apart="y"))


def _mismatched(p: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Any:
    result = torch.cond(p, lambda x: (x + z)[2:].clone(), lambda x: (x - z)[2:].clone(), (x,))
    return result.sum(0) + y.sum(0)


_conditional(
    "cond_mismatched_branch_output", _mismatched, (a, rand(15, 20), c), _rows("x", "y", "z", apart="y", least=4)
)


def _of_size(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Any:
    rows, others = y.shape[0], z.shape[0]
    return torch.cond(x.shape[0] > 5, lambda x: x + rows, lambda x: x + others * z, (x,))


case(
    "cond_symint_input", _of_size, torch.ones(3, 3), torch.ones(5), torch.ones(3, 3),
    dynamic=(lambda d: {"x": {0: d}, "y": {0: Dim("d1", max=64)}, "z": {0: d}})(Dim("d", max=64)),
    more=[(torch.ones(10, 3), torch.ones(6), torch.ones(10, 3))],
)  # fmt: skip


def _shared(predicate: torch.Tensor, x: torch.Tensor) -> Any:
    y = torch.cond(predicate, lambda x: x + 1, lambda x: x + 2, (x,))
    return (torch.cond(predicate, lambda y: y + 1, lambda y: y + 2, (y,)),)


case(
    "cond_share_predicte",
    _shared,
    torch.tensor([True]),
    torch.tensor([1, 2, 3]),
    more=[(torch.tensor([False]), torch.tensor([1, 2, 3]))],
)


# --- while_loop


def _counts(*inputs: Any) -> list[tuple[Any, ...]]:
    return [(torch.tensor(count), *inputs) for count in (0, 1, 5)]


def _loop(name: str, module: Any, inputs: Sequence[Any], dynamic: Any = None) -> None:
    dynamic = None if dynamic is None else {"c": {}, **dynamic}
    case(name, module, torch.tensor(3), *inputs, dynamic=dynamic, more=_counts(*inputs))


def _simple(c: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
    return while_loop(lambda c, x, y: c > 0, lambda c, x, y: (c - 1, x + y, y - x), (c, a, b))


_loop("while_loop_simple", _simple, (a, b), _rows("a", "b"))


def _nest(c: torch.Tensor, d: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
    def body(i: torch.Tensor, j: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Any:
        _, u, v = while_loop(
            lambda k, u, v: k > 0, lambda k, u, v: (k.clone() - 1, u * 1.5, v + 1.25), (j.clone(), x.clone(), y.clone())
        )
        return i.clone() - 1, j.clone(), u * 2, v - 3.14

    return while_loop(lambda i, j, x, y: i > 0, body, (c, d, a, b))


case(
    "while_loop_nested", _nest, torch.tensor(2), torch.tensor(3), a, b, dynamic={"c": {}, "d": {}, **_rows("a", "b")},
    more=[(torch.tensor(0), torch.tensor(2), a, b), (torch.tensor(3), torch.tensor(0), a[:4], b[:4])],
)  # fmt: skip


def _outer_code(c: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
    d, e = a * b + 3.14, a / b - 2.71
    _, x, y = while_loop(lambda c, x, y: c > 0, lambda c, x, y: (c - 1, y - x, x + y), (c, d, e))
    return x * y / 1.41, x + y


_loop("while_loop_with_outer_code", _outer_code, (a, b), _rows("a", "b"))


class LoopLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(20, 30), nn.Linear(30, 20)

    def forward(self, c: torch.Tensor, a: torch.Tensor) -> Any:
        return while_loop(lambda c, x: c > 0, lambda c, x: (c - 1, self.second(self.first(x))), (c, a))


_loop("while_loop_with_parameters", LoopLayers(), (a,), _rows("a"))


def _outer_buffers(c: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
    d, e = a * 2, b / 2
    return while_loop(lambda c, x, y: c > 0, lambda c, x, y: (c - 1, x + d, y - e), (c, a, b))


_loop("while_loop_with_outer_buffers", _outer_buffers, (a, b))


def _pytrees(c: torch.Tensor, pair: Any) -> Any:
    def body(c: torch.Tensor, pair: Any) -> Any:
        (x,), parts = pair
        return c + 1, ([x + 1], {"x": parts["x"] + 1, "y": parts["y"] * 2})

    return while_loop(lambda c, pair: c < 5, body, (c, pair))


case(
    "while_loop_with_pytree_inputs",
    _pytrees,
    torch.tensor(0),
    ([a], {"x": b, "y": c}),
    more=[(torch.tensor(7), ([a], {"x": b, "y": c}))],
)


def _closed(c: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
    count = (b > 0).sum().item()
    return while_loop(lambda c, x: c > 0, lambda c, x: (c - 1, x + count), (c, a))


_loop("while_loop_with_unbacked_symint_closure_static", _closed, (a, b))
_loop("while_loop_with_unbacked_symint_closure_dynamic", _closed, (a, b), _rows("a", "b"))


def _sizes(c: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Any:
    rows = a.shape[0] + b.shape[0] * 2
    return while_loop(lambda c, x: c + rows < 64, lambda c, x: (c + rows, x + rows), (c, a))


_loop("while_loop_with_sym_expr_cond_static", _sizes, (a, b))
_loop("while_loop_with_sym_expr_cond_dynamic", _sizes, (a, b), _rows("a", "b"))
_loop(
    "while_loop_with_mixed_device_static",
    lambda c, a, b: while_loop(lambda c, x: c > 0, lambda c, x: (c - 1, x + b), (c, a)),
    (a, b),
)
_loop(
    "while_loop_with_mixed_device_dynamic",
    lambda c, a, b: while_loop(lambda c, x: c > 0, lambda c, x: (c - 1, x + b), (c, a)),
    (a, b),
    _rows("a", "b"),
)


class LoopConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, dtype=torch.float64)

    def forward(self, c: torch.Tensor, x: torch.Tensor) -> Any:
        return while_loop(lambda c, x: c > 0, lambda c, x: (c - 1, self.conv(x)), (c, x))


_image = rand(2, 4, 4, 4, dtype=torch.float64)
_loop("while_loop_with_conv_static", LoopConvolution(), (_image,))
_loop("while_loop_with_conv_dynamic", LoopConvolution(), (_image,), {"x": {0: Dim("n", min=2, max=16)}})
case(
    "cond_returns_operands",
    lambda x, y: torch.cond(x.sum() > 0, lambda x, y: (x, y[:2]), lambda x, y: (x + 1, y[:2] * 2), (x, y)),
    rand(4),
    rand(5, 2),
    more=[(torch.ones(4), rand(5, 2)), (-torch.ones(4), rand(5, 2))],
)
