"""Sizes at which an exported program is not the model: minimums are raised or refused, and guards become conditions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from aotbuild.capture import Captured, Source, capture, export_program, load_source
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model

pytestmark = pytest.mark.quick

AUTO, DYNAMIC, Dim = torch.export.Dim.AUTO, torch.export.Dim.DYNAMIC, torch.export.Dim
Function = Callable[..., Any]
X = torch.arange(64.0).reshape(8, 8)


def captured(f: Function, shapes: Any, *args: Tensor, **options: Any) -> Captured:
    return capture(Source(Model(f, args or (X,), dynamic_shapes=shapes), None, ()), **options)


def loaded(f: Function, shapes: Any, folder: Path, *args: Tensor) -> Captured:
    """The same by way of a .pt2 file."""
    torch.export.save(export_program(Model(f, args or (X,), dynamic_shapes=shapes), (), "model"), folder / "model.pt2")
    return capture(load_source("model.pt2", {}, folder))


def ranges(model: Captured) -> list[tuple[int, int]]:
    return [(dim.min, dim.max) for spec in model.signature.inputs for dim in spec.dims if not dim.is_static]


def conditions(model: Captured) -> list[str]:
    return [condition.text for condition in model.signature.conditions]


def head_and_tail(x: Tensor) -> Tensor:
    return x[:2].mean(0) + x[-2:].mean(0)


# What each holds from. torch.export guards none of these sizes.
UNGUARDED: dict[str, tuple[int, Function]] = {
    "both ends": (2, head_and_tail),
    "first": (1, lambda x: x[:1]),
    "last": (1, lambda x: x[-1:]),
    "joined": (1, lambda x: torch.cat([x, x[:1]])),
    "a row": (1, lambda x: x[-1]),
    "second row": (2, lambda x: x[1]),
    "squeezed": (2, lambda x: x.squeeze(0)),
    "largest": (1, lambda x: x.amax(0)),
    "flat": (2, lambda x: x.flatten()[:9]),
    "constant index": (2, lambda x: x[torch.arange(2)]),
    "another way at 1": (2, lambda x: x * 2 if x.shape[0] == 1 else x * 3),
    "within a branch": (2, lambda x: torch.cond(x.sum() > 0, lambda y: y[:2] + 1, lambda y: y[-2:] * 2, (x,))),
    "softmax": (0, lambda x: x.softmax(0)),
    "rolled": (0, lambda x: x.roll(2, 0)),
}


@pytest.mark.parametrize("case", UNGUARDED)
def test_a_minimum_that_nobody_declared_is_what_holds(case: str) -> None:
    minimum, f = UNGUARDED[case]
    model = captured(f, ({0: Dim("rows", max=64)},))
    assert ranges(model) == [(minimum, 64)]
    assert "rows_min" in {golden.name for golden in model.golden}


def test_other_dimensions_are_looked_at_too() -> None:
    assert ranges(captured(lambda x: x[:, 1:2], ({1: Dim("columns", max=64)},))) == [(2, 64)]
    assert ranges(captured(lambda x: x[:, :1], ({1: Dim("columns", max=64)},))) == [(1, 64)]


def test_a_declared_minimum_that_does_not_hold_is_refused_with_the_line() -> None:
    for options in ({}, {"runs": False}):
        with pytest.raises(AotbuildError) as error:
            captured(head_and_tail, ({0: Dim("rows", min=1, max=64)},), **options)
        first, where, remedy = str(error.value).splitlines()
        assert first == (
            "model: input 'x' dimension 0 (rows) has the declared minimum 1, but torch.export has traced the model for "
            "larger sizes only: with 1, slice.Tensor gives the sizes [1, 8] where the exported program has the sizes "
            "[2, 8]"
        )
        assert where.startswith(f"  at {__file__}:")
        assert remedy == "  Declare the minimum 2, or write that line so that it does the same at every size."


@pytest.mark.parametrize(
    ("f", "minimum"),
    [
        (lambda x: x[:5], 5),
        (lambda x: x[:-3], 3),
        (lambda x: x.narrow(0, 1, 3), 4),
        (lambda x: x.unfold(0, 4, 2), 4),
        (lambda x: functional.avg_pool1d(x.t()[None], 3, 1), 3),
        (lambda x: functional.conv1d(x.t()[None], torch.ones(4, 8, 3)), 3),
        (lambda x: functional.pad(x.t(), (2, 2), mode="reflect"), 3),
        (lambda x: x.kthvalue(3, 0)[0], 3),
        (lambda x: torch.multinomial(x.t() + 1, 3), 3),  # which torch.export does not guard
    ],
)
def test_larger_minimums_are_found_and_a_declared_smaller_one_is_refused(f: Function, minimum: int) -> None:
    for hint in (DYNAMIC(max=64), AUTO(max=64)):
        assert ranges(captured(f, ({0: hint},))) == [(minimum, 64)]
    with pytest.raises(AotbuildError, match=f"has the declared minimum 1, but(.|\n)*Declare the minimum {minimum}"):
        captured(f, ({0: DYNAMIC(min=1, max=64)},))


def test_sizes_that_are_too_small_only_together_are_left_out() -> None:
    model = captured(lambda x, y: torch.cat([x, y])[:4], ({0: Dim("a", max=9)}, {0: Dim("b", max=9)}), X, X[:6])
    (a, _), (b, _) = ranges(model)
    assert a + b >= 4


# --- conditions


@pytest.mark.parametrize(
    ("f", "condition"),
    [
        (lambda x: x * 2 if x.shape[0] % 2 == 0 else x * 3, "(x.shape[0] % 2) == 0"),
        (lambda x: x * 2 if x.shape[0] != 7 else x * 3, "x.shape[0] != 7"),
        (lambda x: x.split(3), "((2 + x.shape[0]) // 3) == 3"),
        (lambda x: x.reshape(-1, 16) * 1, "((8*x.shape[0]) % 16) == 0"),
    ],
)
def test_what_export_guards_is_a_condition_of_calls(f: Function, condition: str, tmp_path: Path) -> None:
    assert conditions(captured(f, ({0: DYNAMIC(max=64)},))) == [condition]
    assert conditions(loaded(f, ({0: DYNAMIC(max=64)},), tmp_path)) == [condition]


def test_relations_between_sizes_are_conditions_under_their_names(tmp_path: Path) -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        return x[: y.shape[0]] + 1

    named = captured(f, ({0: Dim("whole", max=64)}, {0: Dim("part", max=64)}), X, X[:6])
    assert conditions(named) == ["part <= whole"]
    assert named.signature.conditions[0].code == "sizes[1] <= sizes[0]"
    assert conditions(loaded(f, ({0: DYNAMIC()}, {0: DYNAMIC()}), tmp_path, X, X[:6])) == ["y.shape[0] <= x.shape[0]"]


def test_a_guard_that_no_result_depends_on_is_no_condition() -> None:
    """A feature map that is one wide: export guards against it, and the program is right there."""
    model = captured(lambda x: functional.conv1d(x.t()[None], torch.ones(4, 8, 3)), ({0: DYNAMIC(min=3, max=64)},))
    assert ranges(model) == [(3, 64)]
    assert conditions(model) == []


# --- golden cases


def test_extremes_that_the_guards_refuse_are_skipped_and_said() -> None:
    model = captured(lambda x: x * 2 if x.shape[0] % 2 == 0 else x * 3, ({0: AUTO(min=2, max=63)},))
    assert {golden.name: golden.inputs[0].shape[0] for golden in model.golden} == {
        "example": 8,
        "s0_min": 2,
        "s0_max": 62,
    }
    assert model.notes == (
        "input 'x' dimension 0 is not tested at its maximum 63: the model needs (x.shape[0] % 2) == 0; 62 is tested "
        "instead",
    )


@pytest.mark.parametrize("by_position", [True, False])
def test_lengths_that_attention_needs_equal_vary_together(by_position: bool) -> None:
    """Eager reads behind the shorter of keys and values, so no result of it at such sizes says anything."""

    def f(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attention = functional.scaled_dot_product_attention
        return attention(q, k, v) if by_position else attention(query=q, key=k, value=v)

    length = {2: DYNAMIC(min=1, max=64)}
    model = captured(f, (length, length, length), *(torch.rand(1, 2, 8, 16) for _ in range(3)))
    assert ranges(model) == [(1, 64)] * 3


def test_sizes_that_must_fit_together_are_tested_together() -> None:
    """An index ties them, which export does not see: one alone at its minimum is out of bounds."""

    def f(x: Tensor, y: Tensor) -> Tensor:
        return x[torch.arange(y.shape[0])] + y

    model = captured(f, ({0: Dim("a", min=1, max=32)}, {0: Dim("b", min=1, max=32)}), X, X * 2)
    shapes = {golden.name: [data.shape[0] for data in golden.inputs] for golden in model.golden}
    assert shapes == {"example": [8, 8], "a_min": [1, 1], "a_max": [32, 8], "b_min": [8, 1], "b_max": [32, 32]}
    assert model.notes == (
        "input 'x' dimension 0 is tested at 1 together with b = 1",
        "input 'y' dimension 0 is tested at 32 together with a = 32",
    )
    assert ranges(model) == [(1, 32), (1, 32)]


def test_sizes_that_no_values_of_the_example_fit_are_not_tested_and_said() -> None:
    def f(x: Tensor, more: Tensor, repeats: Tensor) -> Tensor:
        count: Any = more.item()
        torch._check(count >= 0)  # type: ignore[no-untyped-call]
        return torch.cat([x.new_zeros(x.shape[0] + count, 1), torch.repeat_interleave(repeats).unsqueeze(1)], 1)

    dynamic = ({0: DYNAMIC(min=4, max=8)}, None, None)
    model = captured(f, dynamic, X, torch.tensor(2), torch.tensor([7, 3]))
    assert [golden.name for golden in model.golden] == ["example"]
    (note,) = model.notes
    assert note.startswith("input 'x' dimension 0 is not tested at 4: other sizes come from the values of inputs, and ")


def test_without_a_test_the_model_is_not_run() -> None:
    runs = []

    def f(x: Tensor) -> Tensor:
        if type(x) is Tensor:  # not while it is exported
            runs.append(x.shape)
        return x + 1

    model = captured(f, ({0: DYNAMIC(min=2, max=64)},), runs=False)
    assert runs == []
    (golden,) = model.golden
    assert (golden.name, len(golden.inputs), golden.outputs) == ("example", 1, ())
    captured(f, ({0: DYNAMIC(min=2, max=64)},))
    assert runs


@pytest.mark.parametrize("file", [False, True])
def test_derived_dims_are_run_at_their_minimum(file: bool, tmp_path: Path) -> None:
    half = Dim("half", min=1, max=16)

    def f(x: Tensor, y: Tensor) -> Tensor:
        return x.reshape(-1, 2, 8).sum(1) + y

    shapes = ({0: 2 * half}, {0: half})
    model = loaded(f, shapes, tmp_path, X, X[:4]) if file else captured(f, shapes, X, X[:4])
    assert ranges(model) == [(2, 32), (1, 16)]
    assert conditions(model) == []
    assert len(model.golden) == 3
