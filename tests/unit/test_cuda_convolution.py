"""The kernel of convolutions, run by Triton's interpreter, against eager PyTorch; what becomes part of the weights."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from aotbuild import capture
from aotbuild.capture import triton_kernels
from aotbuild.spec.model import Model

pytest.importorskip("triton")

from triton.runtime.interpreter import InterpretedFunction

from aotbuild.lower.cuda.compile import lowering
from aotbuild.lower.cuda.compile.device import declared
from aotbuild.lower.cuda.graph.derived import SplitGraph
from aotbuild.lower.cuda.graph.graph import prepare
from aotbuild.spec.target import cuda_target

aten = torch.ops.aten


def prepared(module: nn.Module, *inputs: torch.Tensor) -> SplitGraph:
    captured = capture.capture(capture.Source(Model(module.eval(), inputs), None, ()))
    with declared(cuda_target("90").architecture):
        return prepare(captured.program)


def code_of(graphs: SplitGraph) -> Any:
    return lowering._code(graphs.main, cuda_target("90"), "model", "default", {})


def launch_interpreted(source: str, name: str, arguments: Sequence[torch.Tensor], grid: tuple[int, ...]) -> None:
    """Runs the kernel of a source that TorchInductor wrote, on tensors of the CPU."""
    text = re.sub(r"@triton_heuristics\.template\(.*?\n\)\n@triton\.jit\n", "", source, flags=re.DOTALL)
    module = ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    with triton_kernels.interpreted():
        InterpretedFunction(getattr(module, name)).run(*arguments, grid=grid, warmup=False)


@pytest.mark.parametrize(
    ("module", "size"),
    [
        (nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False), (2, 3, 15, 12)),
        (nn.Conv2d(4, 8, 3, stride=(2, 1), padding=(0, 1), bias=False), (1, 4, 9, 8)),
        (nn.Conv2d(16, 24, 3, padding=1, bias=False), (2, 16, 7, 6)),
        (nn.Conv2d(20, 12, (3, 2), stride=2, dilation=(2, 1), bias=False), (1, 20, 11, 9)),
        (nn.Conv2d(32, 16, 3, padding=2, dilation=2, groups=2, bias=False), (1, 32, 6, 6)),
        (nn.Conv2d(32, 40, 1, stride=2, padding=1, bias=False), (2, 32, 6, 5)),
        (nn.Conv2d(132, 24, 3, padding=1, bias=False), (1, 132, 6, 6)),
    ],
    ids=["image", "few_channels", "channels", "dilated", "grouped", "padded_1x1", "divided_sum"],
)
def test_kernel_is_eager_pytorchs(module: nn.Conv2d, size: tuple[int, ...]) -> None:
    x = torch.randn(size)
    with torch.no_grad():
        expected = module(x)
        code = code_of(prepared(module, x))
        (kernel,) = [kernel for kernel in code.triton_kernels if "triton_tem" in kernel.name]
        missing = -size[1] % 4 if module.groups == 1 and size[1] < 16 else 0
        source, weight = (
            nn.functional.pad(value, (0, 0, 0, 0, 0, missing)).to(memory_format=torch.channels_last)
            for value in (x, module.weight.detach())
        )
        pixels = expected.numel() // expected.shape[1]
        values = re.findall(r"(BLOCK_[MN]|SPLITS) : tl.constexpr = (\d+)", kernel.source)
        constants = {name: int(value) for name, value in values}
        parts = constants["SPLITS"]
        assert parts == (2 if size[1] == 132 else 1)
        result = torch.full((parts * pixels, expected.shape[1]), math.nan)
        columns = expected.shape[1] // module.groups
        grid = (-(-pixels // constants["BLOCK_M"]), -(-columns // constants["BLOCK_N"]), module.groups * parts)
        launch_interpreted(kernel.source, kernel.name, (source, weight, result), grid)
    result = result.view(parts, pixels, -1).sum(0)
    actual = result.view(expected.shape[0], *expected.shape[2:], -1).permute(0, 3, 1, 2)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_strided_1x1_is_a_product_over_the_pixels_that_count() -> None:
    module, x = nn.Conv2d(32, 40, 1, stride=2, bias=False), torch.randn(2, 32, 6, 5)
    with torch.no_grad():
        expected = module(x)
        code = code_of(prepared(module, x))
    (copy, product) = code.triton_kernels
    assert "triton_tem" in product.name and "KERNEL_H" not in product.source and "triton_poi" in copy.name
    pixels = expected.numel() // 40
    rows = x[:, :, ::2, ::2].permute(0, 2, 3, 1).reshape(pixels, 32).contiguous()
    values = re.findall(r"(BLOCK_[MN]) : tl.constexpr = (\d+)", product.source)
    constants = {name: int(value) for name, value in values}
    blocks = -(-pixels // constants["BLOCK_M"]) * -(-40 // constants["BLOCK_N"])
    result = torch.full((pixels, 40), math.nan)
    launch_interpreted(product.source, product.name, (rows, module.weight.detach(), result), (blocks, 1, 1))
    actual = result.view(2, 3, 3, 40).permute(0, 3, 1, 2)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(16, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.norm.running_mean = torch.randn(16)
        self.norm.running_var = torch.rand(16) + 0.5
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.convolution(x)) + x)


def values_of(graphs: SplitGraph) -> list[torch.Tensor]:
    """What is derived from the model's weights, computed on the CPU."""
    assert graphs.derived is not None
    prepared = graphs.derived
    arguments = []
    for name in prepared.weight_index:
        data = prepared.weights[prepared.weight_index[name]].tensor
        values = torch.from_numpy(data.data.copy()).view(getattr(torch, data.dtype))
        arguments.append(values.view(data.shape))
    return list(prepared.module(*arguments))


def test_batch_normalisation_becomes_part_of_the_weights() -> None:
    block = Block().eval()
    x = torch.randn(2, 16, 6, 6)
    graphs = prepared(block, x)
    weight, shift = values_of(graphs)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        normalised = nn.functional.conv2d(x, weight, padding=1) + shift.view(-1, 1, 1)
        torch.testing.assert_close(torch.relu(normalised + x), block(x))
    kernels = [kernel.name for kernel in code_of(graphs).triton_kernels if "triton_tem" in kernel.name]
    launches = [launch.kernel for launch in code_of(graphs).launches]
    assert len(kernels) == 1 and len(launches) <= 3, "the convolution, and copies of input and output at most"


def test_products_of_one_operand_are_joined() -> None:
    class Projections(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(32, 64) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part(x).view(2, 5, 4, 16).transpose(1, 2) for part in (self.query, self.key, self.value))
            return nn.functional.scaled_dot_product_attention(q, k, v)

    module = Projections().eval()
    graphs = prepared(module, torch.randn(2, 5, 32))
    weight, bias = values_of(graphs)
    assert torch.equal(weight, torch.cat([module.query.weight, module.key.weight, module.value.weight]))
    assert torch.equal(bias, torch.cat([module.query.bias, module.key.bias, module.value.bias]))
    assert len(graphs.unread) == 6
    launches = [launch.kernel for launch in code_of(graphs).launches]
    assert len(launches) == 2, "a product and the attention, without copies between them"


def test_large_products_keep_what_follows_in_their_kernels() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.up = nn.Linear(64, 2048, bias=False), nn.Linear(64, 2048, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            gated: torch.Tensor = nn.functional.silu(self.gate(x)) * self.up(x)
            return gated

    assert prepared(Gated(), torch.randn(2048, 64)).derived is None
    assert prepared(Gated(), torch.randn(16, 64)).derived is not None


def test_buffers_that_the_model_writes_are_not_derived_from() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(4))
            self.register_buffer("scale", torch.rand(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.get_buffer("count").add_(1)
            return x * torch.exp(self.get_buffer("count")) + torch.exp(self.get_buffer("scale"))

    graphs = prepared(Counter(), torch.randn(4))
    assert graphs.derived is not None
    assert [graphs.derived.weights[index].name for index in graphs.derived.weight_index.values()] == ["scale"]
    assert [graphs.main.weights[index].name for index in graphs.unread] == ["scale"]


def test_dilated_convolution_in_a_branch() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(16, 16, 3, padding=2, dilation=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            chosen: torch.Tensor = torch.cond(x.sum() > 0, lambda x: self.convolution(x), lambda x: x * 2, (x,))
            return chosen

    code = code_of(prepared(Branches(), torch.randn(1, 16, 8, 8)))
    assert any("KERNEL_H : tl.constexpr = 3" in kernel.source for kernel in code.triton_kernels)
