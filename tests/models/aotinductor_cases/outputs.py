"""What a model returns: constants, aliases, views, numbers, structures."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.export import Dim

from aotinductor_cases.case import case, model, rand


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


class Constant(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.cst = rand(5, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return x, self.function(self.cst)


case("return_constant", Constant(lambda t: t.clone()), rand(5))
case("return_view_constant", Constant(lambda t: t.transpose(0, 1)), rand(5))
case("return_constant_itself", Constant(lambda t: t), rand(5))
case("return_part_of_constant", Constant(lambda t: t[1:, ::2]), rand(5))


@model("return_parameter", rand(3))
class ReturnsParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(rand(3))

    def forward(self, x: torch.Tensor) -> Any:
        return x + 1, self.p


def _repeat(x: torch.Tensor) -> Any:
    y = torch.sin(x)
    return y, y


def _views(x: torch.Tensor) -> Any:
    y = torch.sin(x)
    return y, y.view(*y.shape), y.view(1, *y.shape), y.t(), y[1:]


def _aliases(x: torch.Tensor) -> Any:
    squared = x * x
    return squared, squared.contiguous(), squared.reshape(squared.shape), squared * x


def _contiguous(x: torch.Tensor) -> Any:
    transposed = (x * x).t()
    return transposed, transposed.contiguous()


def _misaligned(x: torch.Tensor, y: torch.Tensor) -> Any:
    both = torch.cat([x.unsqueeze(0), y.unsqueeze(0)])
    return torch.sigmoid(both[0]), both[1]


case("repeat_output", _repeat, rand(3, 10))
case("view_outputs", _views, rand(3, 10))
case("multiple_output_alias", _aliases, rand(3, 4))
case("non_contiguous_output_alias", _contiguous, rand(3, 4, dtype=torch.float16))
case("output_misaligned", _misaligned, rand(10, 10), rand(10, 10))
case("return_input_and_view", lambda x: (x, x.t(), x[1:], x.unsqueeze(0)), rand(3, 4))
case("return_inputs_in_other_order", lambda x, y: (y, x), rand(3), rand(4))
case("return_same_input_twice", lambda x: (x, x), rand(3))
case("return_none_and_tensor", lambda x: (None, x + 1, None), rand(3))
case("return_constants", lambda x: (x + 1, 3, 2.5, True), rand(3))
case("return_only_number", lambda x: x.sum().item(), rand(3), more=[(rand(3),)])
case("return_dict", lambda x: {"a": x + 1, "b": {"c": x * 2}}, rand(3))
case("return_list_of_tuples", lambda x: [(x + 1, x - 1), [x * 2]], rand(3))
case("return_namedtuple", lambda x: Pair(x + 1, x - 1), rand(3))
case("return_empty_tensor", lambda x: (x[:, :0], x.sum()), rand(3, 4))
case("return_scalar_tensor", lambda x: x.sum(), rand(3, 4))
case("return_broadcast", lambda x: x.expand(5, 3), rand(1, 3))
case("return_strided", lambda x: (x * 2)[::2, 1:], rand(6, 5))
case(
    "return_shape",
    lambda x: (x + 1, x.shape[0], x.numel()),
    rand(6, 5),
    dynamic={"x": {0: Dim("b", max=9)}},
    more=[(rand(3, 5),)],
)
case("return_bool_of_a_size", lambda x: (x + 1, x.shape[0] > 4), rand(6, 5), more=[(rand(6, 5),)])
for _dtype in (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8):
    case(
        f"symint_item_{str(_dtype).removeprefix('torch.')}",
        lambda x: x.item(),
        torch.tensor([1], dtype=_dtype),
        more=[(torch.tensor([7], dtype=_dtype),)],
    )
case(
    "symbool_item",
    lambda x: x.item(),
    torch.tensor([0], dtype=torch.bool),
    more=[(torch.tensor([1], dtype=torch.bool),)],
)
for _dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
    case(
        f"symfloat_item_{str(_dtype).removeprefix('torch.')}",
        lambda x: x.item(),
        torch.tensor([3.14], dtype=_dtype),
        more=[(torch.tensor([-7.5], dtype=_dtype),)],
    )


class Statistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.criterion = nn.CrossEntropyLoss(reduction="none")

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor, split_index: Any = None) -> Any:
        loss = self.criterion(inputs, targets).sum()
        return loss, {"dl": loss.item()}


case("dynamic_scalar", Statistics(), rand(4, 4, 4, 4), rand(4, 4, 4, 4).abs())
case(
    "item_used_as_value",
    lambda x, y: x * y.item() + y.item(),
    rand(3),
    torch.tensor(2.5),
    more=[(rand(3), torch.tensor(-1.0))],
)
case("item_of_int_as_value", lambda x, y: x * y.item(), rand(3), torch.tensor(2), more=[(rand(3), torch.tensor(-5))])
case(
    "tolist_as_values",
    lambda x, y: x * y.tolist()[0] + y.tolist()[1],
    rand(3),
    torch.tensor([2, 3]),
    more=[(rand(3), torch.tensor([-5, 7]))],
)
