"""Buffers that calls write to, inputs that are written, weights that are not stored in rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from aotinductor_cases.case import case, model, rand


@model("buffer_mutation_1", rand(4, 4), more=[(rand(4, 4),)] * 2)
class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.foo = nn.Buffer(rand(4, 4))

    def forward(self, x: torch.Tensor) -> Any:
        self.foo.add_(1)
        return self.foo + x


@model("buffer_mutation_2", rand(10), more=[(rand(10),)] * 2)
class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.foo, self.bar = nn.Buffer(torch.arange(10)), nn.Buffer(torch.arange(10))

    def forward(self, x: torch.Tensor) -> Any:
        self.bar.mul_(2)
        self.foo[5] = self.bar[0]
        return x + self.bar, x * self.foo


@model(
    "buffer_mutation_3",
    torch.tensor([0]),
    rand(1, 6, 1, 8),
    rand(1, 6, 1, 8),
    more=[(torch.tensor([3]), rand(1, 6, 1, 8), rand(1, 6, 1, 8))] * 2,
)
class Cache(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.k, self.v = nn.Buffer(torch.zeros(1, 6, 32, 8)), nn.Buffer(torch.zeros(1, 6, 32, 8))

    def forward(self, position: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
        self.k[:, :, position] = k
        self.v[:, :, position] = v
        return self.k + 1, self.v / 2


@model("buffer_mutation_4", torch.zeros(8, dtype=torch.int64))
class Added(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_tensor_constant0", torch.arange(8))

    def forward(self, x: torch.Tensor) -> Any:
        return x + self._tensor_constant0


@model("buffer_copy", rand(3), more=[(rand(3),)] * 3)
class Delayed(nn.Module):
    """Returns what the last call was given."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Buffer(torch.zeros(3))

    def forward(self, x: torch.Tensor) -> Any:
        before = self.last.clone()
        self.last.copy_(x)
        return before


@model("buffer_index_put", rand(2), more=[(rand(2),)] * 3)
class Ring(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ring, self.at = nn.Buffer(torch.zeros(4, 2)), nn.Buffer(torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> Any:
        self.ring.index_copy_(0, self.at.unsqueeze(0), x.unsqueeze(0))
        self.at.copy_((self.at + 1) % 4)
        return self.ring.sum(0)


@model("buffer_scalar", more=[()] * 3)
class Calls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = nn.Buffer(torch.tensor(0))

    def forward(self) -> Any:
        self.count.add_(1)
        return self.count.clone()


@model("buffer_of_half", rand(4, dtype=torch.float16), more=[(rand(4, dtype=torch.float16),)])
class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(4, dtype=torch.float16))

    def forward(self, x: torch.Tensor) -> Any:
        self.mean.lerp_(x, 0.1)
        return x - self.mean


@model("batch_norm_statistics", rand(4, 3, 5))
class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.norm.running_mean = rand(3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(x)


def _writes(x: torch.Tensor) -> Any:
    x.add_(1)
    return x * 2


def _writes_part(x: torch.Tensor, y: torch.Tensor) -> Any:
    x[1:] = y
    return x.sum()


case("input_mutation", _writes, rand(3, 4), more=[(rand(3, 4),)])
case("input_mutation_of_a_slice", _writes_part, rand(3, 4), rand(2, 4), more=[(rand(3, 4), rand(2, 4))])
case("input_mutation_index_put", lambda x, i, y: x.index_put_((i,), y), rand(5, 2), torch.tensor([0, 3]), rand(2, 2))
case("input_mutation_copy", lambda x, y: x.copy_(y) + 1, rand(3), rand(3))


@model("transposed_parameter", rand(2, 4))
class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(rand(4, 3).t().contiguous().t())

    def forward(self, x: torch.Tensor) -> Any:
        return x @ self.weight


@model("expanded_buffer", rand(3, 4))
class Expanded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", rand(4).expand(3, 4))

    def forward(self, x: torch.Tensor) -> Any:
        return x * self.scale


@model("channels_last_parameter", rand(1, 2, 5, 5))
class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> Any:
        return self.conv(x)


@model("tied_weights", torch.tensor([[1, 2, 3]]))
class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> Any:
        return self.head(self.embed(ids))


@model("views_of_one_parameter", rand(2, 4))
class Views(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Parameter(rand(8, 4))

    def forward(self, x: torch.Tensor) -> Any:
        first, second = self.both.chunk(2)
        return x @ first.t() + x @ second.t()


@model("buffer_not_persistent", rand(4))
class NotPersistent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(4.0), persistent=False)

    def forward(self, x: torch.Tensor) -> Any:
        return x * self.table


@model("conjugated_buffer", rand(3))
class Conjugated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("z", torch.complex(rand(3), rand(3)).conj())

    def forward(self, x: torch.Tensor) -> Any:
        return x * self.z


@model("negated_buffer", rand(3))
class Negated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("z", torch.complex(rand(3), rand(3)).conj().imag)

    def forward(self, x: torch.Tensor) -> Any:
        return x * self.z
