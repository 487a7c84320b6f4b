"""Composite operators: those that have no other way in a table are left to the dispatcher."""

from __future__ import annotations

import torch

from aotbuild.lower.common import composite
from aotbuild.lower.common.graph import decomposition_table

aten = torch.ops.aten


def test_only_operators_with_another_way_are_replaced() -> None:
    table = decomposition_table([aten.linear.default])
    changed, others = composite._split(table)
    assert aten.linear.default in changed  # whole
    assert aten.einsum.default in table and aten.einsum.default not in changed
    assert len(changed) < 50
    assert others.keys() == table.keys() - composite.decompositions().keys()


def test_operators_of_a_library_that_comes_later_are_found() -> None:
    before = composite.decompositions()
    library = torch.library.Library("aotbuild_test_composite", "DEF")  # type: ignore[no-untyped-call]
    library.define("twice(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
    library.impl("twice", lambda x: x + x, "CompositeImplicitAutograd")  # type: ignore[no-untyped-call]
    assert composite.decompositions().keys() - before.keys() == {torch.ops.aotbuild_test_composite.twice.default}
