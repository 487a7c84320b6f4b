"""A model's GPU kernels, run in Triton's interpreter on this machine."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from aotbuild import Model
from aotbuild.capture import Source, capture, triton_kernels
from aotbuild.lower.cuda.compile.device import declared
from aotbuild.lower.cuda.compile.kernels import load_kernel
from aotbuild.lower.cuda.compile.lowering import kernels_to_tune
from aotbuild.lower.cuda.compile.tunable import TunableKernel
from aotbuild.spec.target import cuda_target

# The GPU's own instructions, and what they do.
_INSTRUCTION = r'tl\.inline_asm_elementwise\("{}", "=r[,r]+", \[([\w, ]+)\], tl\.int32, True, 1\)'
_HALVES = re.compile(_INSTRUCTION.format(r"lop3\.b32 \$0, \$1, 0x0F0F0F0F, 0x08080808, 0x6A;"))
_PRODUCTS = re.compile(_INSTRUCTION.format(r"dp4a\.(\w)32\.s32 \$0, \$1, \$2, \$3;"))
_UNPACKED = re.compile(r'tl\.inline_asm_elementwise\(\s*"\{ \.reg[^\]]*\[(\w+, \w+)\], \([^)]*\), True, 2\)')
_FUNCTIONS = """
@triton.jit
def value(word, scale, place: tl.constexpr):
    return (((word >> (4 * place)) & 15) - 8).to(scale.dtype) * scale


@triton.jit
def unpacked(b, s):
    return (
        value(b, s, 0),
        value(b, s, 1),
        value(b, s, 2),
        value(b, s, 3),
        value(b, s, 4),
        value(b, s, 5),
        value(b, s, 6),
        value(b, s, 7),
    )


@triton.jit
def signed_byte(word, place: tl.constexpr):
    return (((word >> (8 * place)) & 0xFF) ^ 128) - 128


@triton.jit
def dp4a_u(a, b, c):
    for place in tl.static_range(4):
        c += ((a >> (8 * place)) & 0xFF) * signed_byte(b, place)
    return c


@triton.jit
def dp4a_s(a, b, c):
    for place in tl.static_range(4):
        c += signed_byte(a, place) * signed_byte(b, place)
    return c


"""


def kernels_of(module: Any, *inputs: Tensor, architecture: str = "90") -> list[TunableKernel]:
    captured = capture(Source(Model(module, inputs), None, ()), (), "net", runs=False)
    _, kernels, _ = kernels_to_tune(captured, architecture, target="net")
    return kernels


def plain(source: str) -> str:
    """Without what it says of the next kernel's start, and with Triton's own functions for the GPU's library."""
    source = re.sub(r"tl\.extra\.cuda\.gdc_\w+\(\)", "pass", source)
    source = _UNPACKED.sub(r"unpacked(\1)", source)
    source = _HALVES.sub(r"((\1 & 0x0F0F0F0F) ^ 0x08080808)", source)
    source = _PRODUCTS.sub(r"dp4a_\1(\2)", source)
    source = source.replace("@triton_heuristics", f"{_FUNCTIONS}@triton_heuristics", 1)
    # Halves are rounded to even; the interpreter has no function for it. Of numbers below 2 ** 22.
    source = re.sub(r"\blibdevice\.nearbyint\((\w+)\)", r"(\1 + 12582912.0 - 12582912.0)", source)
    return re.sub(r"\blibdevice\.(?=exp|erf|rsqrt)", "tl.", source)


def run(kernel: TunableKernel, blocks: int | tuple[int, int], *arguments: Any, **constants: int) -> None:
    grid = (*((blocks,) if isinstance(blocks, int) else blocks), 1, 1)[:3]
    source, parameters = plain(kernel.kernel.source), {}
    for name, value in constants.items():
        source, count = re.subn(rf"^(    {name} : tl\.constexpr) = .*$", rf"\1 = {value}", source, flags=re.MULTILINE)
        if count == 0:
            parameters[name] = value
    with declared(cuda_target("90").architecture):
        function = load_kernel(dataclasses.replace(kernel.kernel, source=source)).fn
    with triton_kernels.interpreted():
        function[grid](*arguments, **parameters)


def constant(kernel: TunableKernel, name: str) -> Any:
    found = re.search(rf"^    {name} : tl\.constexpr = (\S+)$", kernel.kernel.source, re.MULTILINE)
    assert found is not None, name
    return found[1]


class Gated(nn.Module):
    def __init__(self, width: int, hidden: int, activation: Any = functional.silu) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        nn.init.normal_(self.norm.weight)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        result: Tensor = self.activation(self.gate(normed)) * self.up(normed)
        return result
