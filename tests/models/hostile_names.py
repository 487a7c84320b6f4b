"""A model whose inputs, outputs, weights and constants have names that C++ or generated code has for something else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aotbuild import Model

# All are legal names of arguments in Python.
ARGUMENTS = (
    # of generated run functions, kernels, and Inductor's buffers
    *("inputs", "outputs", "context", "buf0", "int_array_0", "launch", "context_allocate", "context_weight", "in_ptr0"),
    *("out_ptr0", "tmp0", "s0", "u0", "run", "prepare", "cuda", "kernels", "images", "derive", "derived_0", "products"),
    *("CallContext", "BorrowedTensor", "RAIIAtenTensorHandle", "new_handle", "match_strides", "XBLOCK", "tl", "triton"),
    # keywords and alternative tokens
    *("float", "int", "bool", "new", "delete", "template", "typename", "namespace", "operator", "this", "register"),
    *("auto", "asm", "typeof", "co_await", "constexpr", "xor", "bitand", "restrict", "struct", "nullptr"),
    # macros
    *("NULL", "EOF", "stdin", "errno", "major", "minor", "INFINITY", "NAN", "M_PI", "linux", "I", "AOTBUILD_EXPORT"),
    *("AOTBUILD_MODEL_HPP_", "TEST"),
    # namespaces, types and members that the header uses
    *("std", "aotbuild", "Inputs", "Outputs", "OutputViews", "DeviceOutputs", "HostileNames", "model_", "TensorView"),
    *("c_tensor", "info", "results", "stream"),
    # reserved, of other scripts, and such as differ in an ending alone
    *("_Bool", "_X", "__x__", "__LINE__", "a__b", "_", "__", "größe", "数", "x", "x_", "x_size", "float_", "parts_0"),
    *("input0_inputs", "self_", "args", "p_scale"),
)
# Keys of a mapping, of which C++ tells some apart by nothing.
KEYS = (
    "x.y",
    "x y",
    "x_y",
    "x-y",
    "3",
    "",
    "state",
    "Inputs",
    "lambda",
    "None",
    "class",
    "assert",
    "½",
    "a\nb",
    "NULL",
)
# Names of buffers, in the state_dict and not.
BUFFERS = ("a b", "größe", "NULL", "__x__", "constant_c d", "weights", "a??/b", "x_size", "scale")
CONSTANTS = ("c d", "m_n", "template", "λ")


class HostileNames(nn.Module):
    """Sums its inputs, each with another factor, and gives the elements of the sum."""

    def __init__(self) -> None:
        super().__init__()
        count = len(ARGUMENTS) + len(KEYS)
        for number, name in enumerate((*BUFFERS, *CONSTANTS)):
            value = torch.linspace(0, 1, count) * (number + 1)
            self.register_buffer(name, value, persistent=name in BUFFERS)
        self.m = nn.Module()
        self.m.register_buffer("n", torch.linspace(2, 3, count), persistent=False)

    def sum(self, tensors: list[Tensor], state: dict[str, Tensor], parts: list[Tensor]) -> Any:
        total = sum((x * (number + 1) for number, x in enumerate((*tensors, *state.values(), *parts))), torch.zeros(()))
        for name in (*BUFFERS, *CONSTANTS):
            total = total + getattr(self, name)
        total = total * self.get_buffer("m.n")
        elements = dict(zip(ARGUMENTS, total.unbind()))
        nested = dict(zip(KEYS, total[len(ARGUMENTS) :].unbind()))
        return {**elements, "nested": nested, "nested_x": [total, total + 1], "nested_x_0": total * 2}


def build() -> Model:
    """The model; ``forward`` is written out, so that each argument has a name."""
    torch.manual_seed(0)
    scope: dict[str, Any] = {}
    arguments = ", ".join(ARGUMENTS)
    exec(f"def forward(self, {arguments}, state, parts): return self.sum([{arguments}], state, parts)", scope)
    module = type("HostileNames", (HostileNames,), {"forward": scope["forward"]})()
    count = len(ARGUMENTS) + len(KEYS)
    tensors = [torch.randn(count) for _ in ARGUMENTS]
    return Model(
        module, (*tensors, {key: torch.randn(count) for key in KEYS}, [torch.randn(count), torch.randn(count)])
    )
