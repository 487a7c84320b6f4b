"""Recurrent layers whole in the exported program: one operator for ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``.

``torch.export`` runs PyTorch's own operators step by step to learn the sizes of their results, and so fixes the length
of the sequence. This one says its sizes for any length.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import rnn

from aotbuild.spec.upstream import patched

aten = torch.ops.aten

# PyTorch's functions and operators, by the name of the cell.
FUNCTIONS = {"lstm": "lstm", "gru": "gru", "tanh": "rnn_tanh", "relu": "rnn_relu"}
OPERATORS = {cell: getattr(aten, function).input for cell, function in FUNCTIONS.items()}

# `state`: h_0 and, of an LSTM, c_0, each [layers * directions, batch, features]. `weights`: as in `_flat_weights` of
# torch.nn.RNNBase. Returns the output, h_n and c_n, the last with no elements where the cell has none.
_library = torch.library.Library("aotbuild", "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "recurrent(Tensor input, Tensor[] state, Tensor[] weights, str cell, bool has_biases, int num_layers, "
    "bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)"
)


@torch.library.register_fake("aotbuild::recurrent", lib=_library)  # type: ignore[untyped-decorator]
def _sizes(
    input: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], cell: str, *options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    _, _, bidirectional, _ = options
    features = state[0].shape[2] * (2 if bidirectional else 1)
    output = input.new_empty((*input.shape[:2], features))
    return output, torch.empty_like(state[0]), torch.empty_like(state[1]) if cell == "lstm" else input.new_empty(0)


def in_pytorchs(
    input: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    cell: str,
    has_biases: bool,
    num_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same by PyTorch's operator, which needs the length."""
    initial = list(state) if cell == "lstm" else state[0]
    options = (has_biases, num_layers, 0.0, False, bidirectional, batch_first)
    results = OPERATORS[cell](input, initial, list(weights), *options)
    output, hidden = results[:2]
    return output, hidden.clone(), results[2].clone() if cell == "lstm" else input.new_empty(0)


_library.impl("recurrent", in_pytorchs, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]


class _Functions:
    """``torch._VF`` as ``torch.nn.modules.rnn`` sees it while a model is exported."""

    def __init__(self, functions: Any) -> None:
        self._functions = functions
        for cell, name in FUNCTIONS.items():
            setattr(self, name, _whole(cell, getattr(functions, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._functions, name)


def _whole(cell: str, function: Any) -> Any:
    """The function, as the operator where the input is no packed sequence and nothing is dropped at random."""

    def call(input: Tensor, *args: Any) -> Any:
        if len(args) != 8 or isinstance(args[1], Tensor):
            return function(input, *args)
        state, weights, has_biases, num_layers, dropout, is_training, bidirectional, batch_first = args
        if is_training and dropout > 0:
            return function(input, *args)
        initial = list(state) if cell == "lstm" else [state]
        shape = (cell, has_biases, num_layers, bidirectional, batch_first)
        results = torch.ops.aotbuild.recurrent(input, initial, list(weights), *shape)
        return results if cell == "lstm" else results[:2]

    return call


@contextlib.contextmanager
def whole_layers() -> Iterator[None]:
    """Within: modules call ``aotbuild::recurrent`` in the place of PyTorch's operators, and stay as they are."""
    with patched(rnn, "_VF", _Functions(torch._VF)):
        yield
