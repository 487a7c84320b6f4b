"""Divisions of integers: which line of the model each is from, for the error of a divisor of zero."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch._inductor import ir
from torch._inductor.loop_body import LightTracer
from torch._inductor.utils import Placeholder
from torch._inductor.virtualized import V

from aotbuild import capture
from aotbuild.lower.common.checks import in_literal
from aotbuild.spec.upstream import patched

_META = "aotbuild_place"


def dividing(function: Callable[..., str]) -> Callable[..., str]:
    """A function that writes a division of integers, which throws where the divisor is zero."""

    def write(*operands: Any) -> str:
        return divided(function(*operands))

    return write


def divided(expression: str) -> str:
    """The expression, whose error names the line of the model that is being written, or else the kernel."""
    V.kernel.divides = True
    node = getattr(V.interpreter, "current_node", None)
    place = node.meta.get(_META) if node is not None else None
    name = f"in {Placeholder.KERNEL_NAME}" if place is None else in_literal(place)
    return f'aotbuild::detail::divided("{name}", [&] {{ return {expression}; }})'


@contextlib.contextmanager
def divisions_placed() -> Iterator[None]:
    """Within: what the loops of a division compute is noted with the division's line.

    A loop computes the operators that were fused into it too, so its own origins would leave open which of them it is.
    """
    create = ir.Loops.__dict__["create"].__func__
    create_node = LightTracer.create_node
    places: list[str] = []

    def create_placed(cls: Any, *args: Any, **kwargs: Any) -> Any:
        place = capture.division_place(V.graph.current_node)
        if place is not None and "inner_fn" in kwargs:
            kwargs["inner_fn"] = placed(kwargs["inner_fn"], place)
        return create(cls, *args, **kwargs)

    def placed(compute: Callable[..., Any], place: str) -> Callable[..., Any]:
        def inner(*indices: Any) -> Any:
            places.append(place)
            try:
                return compute(*indices)
            finally:
                places.pop()

        return inner

    def create_node_placed(self: Any, *args: Any, **kwargs: Any) -> Any:
        node = create_node(self, *args, **kwargs)
        if places:
            node.meta[_META] = places[-1]
        return node

    with (
        patched(ir.Loops, "create", classmethod(create_placed)),
        patched(LightTracer, "create_node", create_node_placed),
    ):
        yield
