"""Recurrent layers in a lowering: one operator where the runtime has a kernel for it, and step by step elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from aotbuild.capture import recurrent
from aotbuild.spec.errors import AotbuildError

OPERATOR = torch.ops.aotbuild.recurrent.default


def recurrent_table(preserved: Sequence[Any]) -> dict[Any, Callable[..., Any]]:
    """Decompositions to as many cells as the sequence has steps, or where ``OPERATOR`` is preserved to that.

    PyTorch's operators are in programs that ``torch.export`` has made elsewhere.
    """
    if OPERATOR not in preserved:
        return {OPERATOR: _unrolled}
    return {operator: _as_one(cell) for cell, operator in recurrent.OPERATORS.items()}


def _as_one(cell: str) -> Callable[..., Any]:
    def decomposition(input: Tensor, hx: Any, params: Sequence[Tensor], *options: Any) -> Any:
        has_biases, num_layers, dropout, train, bidirectional, batch_first = options
        if train and dropout > 0:
            return NotImplemented
        state = list(hx) if cell == "lstm" else [hx]
        results = OPERATOR(input, state, list(params), cell, has_biases, num_layers, bidirectional, batch_first)
        return results if cell == "lstm" else results[:2]

    return decomposition


def _unrolled(input: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], cell: str, *options: Any) -> Any:
    *_, batch_first = options
    if isinstance(input.shape[1 if batch_first else 0], torch.SymInt):
        raise AotbuildError(
            f"a recurrent layer ({cell}) over a sequence of any length: DEVICE cuda and RUNTIME torch write out its "
            "steps\n  Declare that dimension static, or build for the CPU with the standalone runtime."
        )
    return recurrent.in_pytorchs(input, state, weights, cell, *options)
