"""Models of public bug reports about AOTInductor and TorchInductor: wrong results, crashes, code that did not compile.

The numbers are those of the reports at pytorch/pytorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from aotinductor_cases.case import case, ints, rand


def _both_products(m: torch.Tensor, v: torch.Tensor) -> Any:
    return torch.bmm(m, v.unsqueeze(2)).squeeze(2), torch.sum(m * v.unsqueeze(1), dim=2)


def _gathered_add(x: torch.Tensor, y: torch.Tensor) -> Any:
    y = y.clone()
    x = x + 10
    y[x] += y[x]
    return y


def _sum_then_max(x: torch.Tensor) -> Any:
    part, strided = x[-10:-9], x[-10::3]
    return strided.sum(0), torch.max(part, -strided)


def _padded(x: torch.Tensor) -> Any:
    pad = functional.pad(x.abs(), (0, 4, 3, 0), "replicate")
    return pad + pad, pad


def _flat_product(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Any:
    most = torch.max(a, b)
    flat = torch.max(most, c).flatten()
    return most + a, torch.cat((c, c)), torch.matmul(flat, flat)


def _tangent(a: torch.Tensor, b: torch.Tensor) -> Any:
    product = torch.cat((a, a), 2) * torch.max(b, b.flip(0))
    return product, product.tan()


def _argmax_of_transposed(x: torch.Tensor) -> Any:
    x = x.clone()
    x.sin_()
    return x.t().argmax(1)


def _arange(x: torch.Tensor) -> Any:
    return torch.arange(0, x.shape[0] * 3, 3, dtype=torch.float32) * x


def _rope(q: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, ids: torch.Tensor) -> Any:
    c, s = cos[ids].unsqueeze(1), sin[ids].unsqueeze(1)
    half = q.shape[-1] // 2
    return q * c + torch.cat((-q[..., half:], q[..., :half]), dim=-1) * s


def _specialized(x: torch.Tensor) -> Any:
    return x.sin() if x.shape[0] > 5 else x.cos()


case("report_122784", _both_products, rand(1, 3, 4), rand(1, 4))
case("report_138908", _gathered_add, ints(1, 2, low=-10, high=-9), rand(2, 32))
case("report_113015", _sum_then_max, rand(20, 5))
case("report_115157", _padded, rand(1, 2, 5, 6))
case("report_115261", _flat_product, *(ints(2, 3, high=255, dtype=torch.uint8) for _ in range(3)))
case("report_115260", _tangent, rand(2, 3, 4), rand(2, 3, 8))
case("report_183082", _argmax_of_transposed, rand(5, 7))
case("report_175966", _arange, rand(9))
case("report_159239", _rope, rand(1, 2, 4, 8), rand(16, 8), rand(16, 8), torch.tensor([[0, 1, 2, 3]]))
case("report_141561", torch.nn.Conv2d(4, 1, 3, padding=1), rand(1, 4, 16, 16))
case("report_150364", _specialized, rand(6, 5))
