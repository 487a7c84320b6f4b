"""Linear layers, constants, parameters, nested modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from aotinductor_cases.case import case, ints, model, rand


class Residual(nn.Module):
    def __init__(self, inputs: int = 10, outputs: int = 10) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return x + self.linear(y)


case("simple", Residual(), rand(10, 10), rand(10, 10))
case("simple_multi_arch", Residual(10, 16), rand(10, 16), rand(10, 10))
case("small_constant", nn.Linear(4, 4), rand(4, 4))
case("large_weight", Residual(256, 4096), rand(1, 4096), rand(1, 256))
case("inf", Residual(), torch.full((10, 10), float("inf")), rand(10, 10))
case("nan", Residual(), torch.full((10, 10), float("nan")), rand(10, 10))
case("bias_none", nn.Linear(6, 3, bias=False), rand(2, 6))
case("linear_of_one_feature", nn.Linear(1, 1), rand(16, 1), more=[(rand(16, 1),)])
case(
    "linear_dynamic_maxautotune", nn.Linear(1, 1), rand(64, 1),
    dynamic={"input": {0: torch.export.Dim("rows", min=2, max=2048)}}, more=[(rand(10, 1),), (rand(100, 1),)],
)  # fmt: skip


class Folded(nn.Module):
    """Weights that the model derives from tensors that are no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.w = rand(4, 4)
        self.b = rand(4)

    def forward(self, x: torch.Tensor) -> Any:
        return x @ (torch.relu(self.w.t()) + self.b)


case("constant_folding", Folded(), rand(4, 4))
case("constant_type_propagation", Folded(), rand(2, 4))


@model("empty_constant_folding", rand(4, 4))
class AffineOfAttributes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = rand(4, 4), rand(4)

    def forward(self, x: torch.Tensor) -> Any:
        return torch.matmul(x, self.w) + self.b


@model("with_offset", rand(10, 10), rand(10, 10))
class Offsets(nn.Module):
    """Views into the middle of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = rand(2, 15, 10)[0]
        self.part = self.whole[5:]

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return x + functional.linear(y, self.whole[:10]) + self.part


@model("freezing", rand(10, 10), rand(10, 10))
class PaddedWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.padding = rand(9, 10), rand(1, 10)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return x + functional.linear(y, torch.cat((self.weight, self.padding)))


class Weights(nn.Module):
    """An operator of its input and tensors that are attributes."""

    def __init__(self, function: Any, *weights: torch.Tensor) -> None:
        super().__init__()
        self.function = function
        for index, weight in enumerate(weights):
            setattr(self, f"weight{index}", weight)
        self.count = len(weights)

    def forward(self, x: torch.Tensor) -> Any:
        weights = [getattr(self, f"weight{index}") for index in range(self.count)]
        return self.function(x, *weights)


for groups in (1, 2):
    for dtype in (torch.float32, torch.bfloat16):
        name = f"{groups}_{str(dtype).removeprefix('torch.')}"
        case(
            f"conv_freezing_{name}",
            Weights(
                lambda x, w, groups=groups: functional.conv2d(x, w, groups=groups),
                rand(3 * groups, 2, 3, 3, dtype=dtype),
            ),
            rand(2, 2 * groups, 10, 10, dtype=dtype),
        )
        case(
            f"deconv_freezing_{name}",
            Weights(
                lambda x, w, groups=groups: functional.conv_transpose2d(x, w, groups=groups),
                rand(4 * groups, 2, 2, 2, dtype=dtype),
            ),
            rand(1, 4 * groups, 3, 3, dtype=dtype),
        )
for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
    name = str(dtype).removeprefix("torch.")
    case(
        f"linear_freezing_{name}", Weights(functional.linear, rand(10, 10, dtype=dtype), rand(10, dtype=dtype)),
        rand(10, 10, dtype=dtype),
    )  # fmt: skip
case("addmm", Weights(functional.linear, rand(6, 16), rand(6)), rand(2, 8, 16))
case("model_modified_weights", Weights(functional.linear, rand(10, 32) + 1, rand(10)), rand(2, 16, 32))
case("aoti_constant_tensor", Weights(torch.ops.aten.linear.default, torch.ones(4, 4), torch.ones(4)), torch.ones(4, 4))
case(
    "duplicate_constant_folding", Weights(lambda x, *w: torch.cat((x, *w)), *(rand(4, 4) for _ in range(4))), rand(4, 4)
)
case(
    "autotune_with_constant_folding",
    Weights(lambda x, w: (w.abs(), x.abs()), rand(64, 64, dtype=torch.float16)),
    rand(64, 64, dtype=torch.float16),
)
case("run_with_grad_enabled", lambda x, w, b: torch.addmm(b, w, x), rand(8, 8), rand(8, 8), rand(8))
case("missing_output", lambda x, y: torch.cos(torch.sin(x) @ y), rand(10, 10), rand(10, 10))
case("reuse_kernel", lambda x, y: torch.sin(x).mm(y) @ torch.sin(torch.sin(x).mm(y)), rand(17, 17), rand(17, 17))
case("simple_split", lambda x: torch.cat(torch.split(x, 4, dim=1), dim=-2), rand(2, 8))
case("empty_graph", lambda x: x, rand(8, 4, 4))
case("int_list_input", lambda x, i: x * i[0] * i[1], rand(3, 3), [3, 4])
case("bool_input", lambda x, b: x * x if b else x + x, rand(3, 3), True)
case("bool_input_false", lambda x, b: x * x if b else x + x, rand(3, 3), False)
case(
    "non_tensor_input", lambda a, b, alpha=1.0: torch.add(a, b, alpha=alpha), rand(10), rand(10), kwargs={"alpha": 2.0}
)
case("none_input", lambda x, mask: x if mask is None else x * mask, rand(4), None)
case("string_input", lambda x, mode: x.sin() if mode == "sin" else x.cos(), rand(4), "cos")
case("with_profiler", nn.Sequential(nn.Linear(10, 10), nn.GELU()), rand(10, 10))
case("with_no_triton_profiler", lambda x: x.permute(1, 0), rand(10, 7))
case("consecutive_compiles", lambda x: x + 1, rand(1))


@model("duplicated_params", rand(6))
class SharedParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(rand(6))
        self.q = self.p

    def forward(self, x: torch.Tensor) -> Any:
        return self.p * x + self.q


@model("no_args")
class OfWeightsAlone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.alpha = nn.Parameter(rand(6, 4)), nn.Parameter(rand(6, 4))

    def forward(self) -> Any:
        return self.weight * self.alpha


_norm = nn.LayerNorm(10)
case("seq", nn.Sequential(_norm, nn.ReLU(), _norm, nn.ReLU()), rand(10))


@model("fqn", rand(2, 3))
class Nested(nn.Module):
    """Parameters and buffers at three depths."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"a": nn.ModuleList([nn.LayerNorm(3)]), "b": nn.Sequential(nn.Linear(3, 3))})
        self.root = nn.Parameter(torch.ones(2, 3) * 4)
        self.register_buffer("scale", torch.ones(2, 3) * 2)

    def forward(self, x: torch.Tensor) -> Any:
        for norm in self.inner["a"]:
            x = norm(x * self.root)
        return self.inner["b"](x) - self.scale


class Named(nn.Module):
    """Parameters whose names are numbers, and the same names at two depths."""

    def __init__(self, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.register_parameter("0", nn.Parameter(rand(3, 4)))
        self.register_parameter("test_param", nn.Parameter(rand(3, 4)))
        self.test_buf = nn.Buffer(rand(3, 4))
        self.foo_bar = inner

    def forward(self, x: torch.Tensor) -> Any:
        x = x if self.foo_bar is None else self.foo_bar(x)
        return (x + self.test_buf) * getattr(self, "0") / (self.test_param.abs() + 1)


case("constant_original_fqn_and_dtype", Named(Named()), rand(3, 4))


class Constants(nn.Module):
    """Buffers with the names that export gives to constants."""

    def __init__(self, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.register_buffer("_tensor_constant0", torch.ones(1))
        self.register_buffer("_tensor_constant1", torch.ones(1) * 2)
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        inner = () if self.inner is None else self.inner(x)
        return (torch.index_select(x, 1, torch.tensor([1])), self._tensor_constant0, self._tensor_constant1, *inner)


case("aoti_constant_tensor_name_collision", Constants(Constants()), torch.ones(4, 4))


@model("constant", rand(5, 5))
class OfASize(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return x * torch.sqrt(torch.tensor(x.size(-1), dtype=torch.float) * 3)


case("pytree_inputs", lambda x: [sum(x.values(), torch.zeros(5)), x["x"] * x["y"]], {"x": rand(5), "y": rand(5)})
case("nested_inputs", lambda x: x[0][0] + x[1]["k"][0] * x[1]["l"], [(rand(3),), {"k": [rand(3)], "l": rand(3)}])
case("dict_order", lambda x: (x["b"] - x["a"], x["a"] * 2), {"b": rand(3), "a": rand(3)})
case(
    "keyword_inputs",
    lambda x, *, scale, shift=None: x * scale + shift,
    rand(3),
    kwargs={"shift": rand(3), "scale": rand(3)},
)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32), nn.Sigmoid())
        self.emb = nn.EmbeddingBag(128, 32)
        self.over = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.Sigmoid())

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return self.over(torch.concat([self.mlp(x), self.emb(y)], dim=1))


case("misc_1", Mlp(), rand(16, 128), ints(16, 10, high=128))
case(
    "zero_size_weight",
    nn.Sequential(nn.Linear(4, 0, bias=False), nn.ReLU(), nn.Linear(0, 4, bias=False), nn.Sigmoid()),
    rand(4, 4),
)


@model("zero_size_buffer", rand(4, 4))
class EmptyBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.foo = nn.Buffer(torch.zeros(0, 0))

    def forward(self, x: torch.Tensor) -> Any:
        return x + 1, self.foo


@model("issue_140766", rand(2, 128, 256))
class WindowAttention(nn.Module):
    """Attention over windows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 128))
        self.norm = nn.LayerNorm(128)

    def forward(self, x: torch.Tensor) -> Any:
        x = x.transpose(1, 2)
        for _ in range(2):
            short = x
            x = self.norm(x).reshape(x.shape[0], 16, 16, 128)
            x = functional.scaled_dot_product_attention(x, x, x)
            x = x.reshape(x.shape[0], 4, 4, 4, 4, -1).transpose(2, 3).reshape(x.shape[0], 256, -1)
            x = short + x
            x = x + self.mlp(self.norm(x))
        return x
