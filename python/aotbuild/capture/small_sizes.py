"""The sizes at which an exported program is the model: what of the declared ranges and of export's guards holds.

``torch.export`` takes every size that varies for at least 2 and records no guard for it, so at 0 and 1 the program may
say sizes that its values do not have, and what is compiled from it would read memory that is not the input's. And it
records guards that no result depends on, such as that a feature map is not one wide. Both are tried here, at sizes
where they matter: every value of the program is compared with the sizes that the program says of it, and its results
with the model's.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
from torch.utils import _pytree as pytree

from aotbuild.capture import triton_kernels
from aotbuild.capture.frames import user_line
from aotbuild.capture.guards import Guard, guards
from aotbuild.capture.modules import buffers_kept
from aotbuild.capture.operands import CheckedOperands
from aotbuild.capture.replay import Fault, replay, sizes_fault
from aotbuild.capture.sizes import Point, Size, Sizes
from aotbuild.spec.errors import AotbuildError

# Runs of the model itself, which take as long as the model does.
_MOST_RUNS = 24
# Points of several small sizes at once.
_MOST_POINTS = 64
# By how much a minimum that nobody declared is raised at most.
_MOST_RAISED = 8
# Values among which one is looked for at which a guard does not hold.
_SCANNED = 1024


@dataclass(frozen=True)
class Smallness:
    """That a symbol is not ``value``, 0 or 1: what export takes for granted."""

    symbol: sympy.Symbol
    value: int


@dataclass
class Held:
    """What holds: the ``guards`` that calls have to keep, the least size of each symbol, and why it is no less."""

    guards: list[Guard]
    minimums: dict[sympy.Symbol, int]
    reasons: dict[sympy.Symbol, Fault] = field(default_factory=dict)


def settle(module: torch.nn.Module, sizes: Sizes, target: str, *, is_program: bool = False) -> Held:
    """Finds out which guards matter and from which sizes on the program holds, and writes that into its ranges.

    Args:
        module: the model.
        is_program: the model is known as the program alone, so that nobody can say which way the model itself takes
            where a guard does not hold.

    Raises:
        AotbuildError: for a declared minimum that does not hold.
    """
    ranges = {size.symbol: sizes.range(size.symbol) for size in sizes.sizes}
    found = [guard for guard in guards(sizes.program, sizes.sizes) if not guard.is_implied(ranges)]
    trial = _Trial(module, sizes, found, [guard for guard in found if is_program and not guard.is_technical])
    trial.run([*_small_points(sizes, ranges), *_guard_points(sizes, ranges, found)])
    held = Held([], {symbol: low for symbol, (low, _) in ranges.items()})
    for assumption in sorted(trial.kept_smallness, key=lambda one: one.value):
        held.minimums[assumption.symbol] = assumption.value + 1
        held.reasons[assumption.symbol] = trial.faults[assumption]
    for size in sizes.sizes:
        if size.declared is None:
            _raise_minimum(size, ranges, trial, held)
        elif size.declared < held.minimums[size.symbol]:
            _refuse(size, ranges, trial, held, target)
    limits = {symbol: (held.minimums[symbol], high) for symbol, (_, high) in ranges.items()}
    kept = [guard for guard in found if trial.is_kept(guard) and not guard.is_implied(limits)]
    held.guards = _needed(kept, limits)
    for symbol, minimum in held.minimums.items():
        sizes.raise_minimum(symbol, minimum)
    return held


def _raise_minimum(size: Size, ranges: Mapping[sympy.Symbol, tuple[int, int]], trial: _Trial, held: Held) -> None:
    """From which size on the model takes a size whose minimum nobody declared, in the neighbourhood of export's."""
    least = held.minimums[size.symbol]
    for value in range(least, min(least + _MOST_RAISED, size.example)):
        fault = trial.fault_at(size.symbol, value, ranges)
        if fault is None:
            return
        held.minimums[size.symbol] = value + 1
        held.reasons[size.symbol] = fault


def _needed(kept: Sequence[Guard], limits: Mapping[sympy.Symbol, tuple[int, int]]) -> list[Guard]:
    """The guards without those that others imply, where there are few enough sizes to look at each."""
    needed = list(kept)
    for guard in reversed(kept):
        count = 1
        for symbol in guard.symbols:
            count *= limits[symbol][1] - limits[symbol][0] + 1
        if count > _SCANNED:
            continue
        others = [other for other in needed if other is not guard and set(other.symbols) <= set(guard.symbols)]
        choices = ([(symbol, value) for value in range(low, high + 1)] for symbol, (low, high) in _of(guard, limits))
        points = map(dict, itertools.product(*choices))
        if all(guard.holds(point) or not all(other.holds(point) for other in others) for point in points):
            needed.remove(guard)
    return needed


def _of(guard: Guard, limits: Mapping[sympy.Symbol, tuple[int, int]]) -> Iterator[tuple[sympy.Symbol, tuple[int, int]]]:
    return ((symbol, limits[symbol]) for symbol in guard.symbols)


class _Trial:
    """Tries points, fewest broken assumptions first; one of a point that fails is kept if no other point refuted it."""

    def __init__(
        self, module: torch.nn.Module, sizes: Sizes, found: Sequence[Guard], certain: Iterable[Guard] = ()
    ) -> None:
        self._module = module
        self._sizes = sizes
        self._guards = found
        self._refuted: set[Guard | Smallness] = set()
        self._kept: set[Guard | Smallness] = {*certain}
        self._runs = 0
        self._are_sizes_known = True
        self._is_comparable: bool | None = None
        self.faults: dict[Guard | Smallness, Fault] = {}

    @property
    def kept_smallness(self) -> list[Smallness]:
        return [one for one in self._kept if isinstance(one, Smallness)]

    def is_kept(self, guard: Guard) -> bool:
        """A guard that nothing refuted stays, also one that no point that was tried breaks."""
        return guard in self._kept or guard not in self._refuted

    def run(self, points: Iterable[dict[sympy.Symbol, int]]) -> None:
        broken = {tuple(sorted(point.items(), key=str)): self._broken(point) for point in points}
        if not broken:
            return
        self._are_sizes_known = sizes_fault(self._sizes.program, self._sizes.example()) is None
        refused: dict[Guard | Smallness, Fault] = {}
        for point, assumptions in sorted(broken.items(), key=lambda item: (len(item[1]), self._cost(item[0]))):
            if assumptions & self._kept:
                continue
            untried = assumptions - self._refuted
            fault, is_refused = self._try(dict(point), bool(untried))
            if fault is None:
                self._refuted |= assumptions
            elif is_refused:
                for one in untried:
                    refused.setdefault(one, fault)
            else:
                self._keep(untried or self._least(assumptions), fault)
        for one, fault in refused.items():
            if one not in self._refuted:
                self._keep({one}, fault)

    def fault_at(self, symbol: sympy.Symbol, size: int, ranges: Mapping[sympy.Symbol, tuple[int, int]]) -> Fault | None:
        """Why the model does not take a size, alone or together with others; None where it does, or guards speak."""
        example = self._sizes.example()
        alone = {**example, symbol: size}
        together = {**alone, **{other: size for other, same in example.items() if same == example[symbol]}}
        everywhere = {other: min(max(size, low), high) for other, (low, high) in ranges.items()}
        first: Fault | None = None
        for point in (alone, together, everywhere):
            if self._broken(point) - self._refuted:
                return None
            fault, _ = self._try(point, True)
            if fault is None:
                return None
            first = first or fault
        return first

    def sizes_fault(self, symbol: sympy.Symbol, size: int) -> Fault | None:
        return sizes_fault(self._sizes.program, {**self._sizes.example(), symbol: size})

    def _keep(self, assumptions: Iterable[Guard | Smallness], fault: Fault) -> None:
        for one in assumptions:
            self._kept.add(one)
            self.faults.setdefault(one, fault)

    def _least(self, assumptions: Iterable[Guard | Smallness]) -> set[Guard | Smallness]:
        """Of assumptions that only matter together, the one to keep: of a minimum that nobody declared, if there is."""
        declared = {size.symbol: (size.declared is not None, index) for index, size in enumerate(self._sizes.sizes)}
        small = [one for one in assumptions if isinstance(one, Smallness)]
        return {min(small, key=lambda one: declared[one.symbol])} if small else set(assumptions)

    def _broken(self, point: Point) -> frozenset[Guard | Smallness]:
        small = [Smallness(symbol, size) for symbol, size in point.items() if size < 2]
        return frozenset([*small, *(guard for guard in self._guards if not guard.holds(point))])

    def _cost(self, point: Iterable[tuple[sympy.Symbol, int]]) -> int:
        return self._sizes.elements(dict(point))

    def _try(self, point: Point, is_new: bool) -> tuple[Fault | None, bool]:
        """What is wrong at a point, and whether the model itself refuses such sizes."""
        fault = sizes_fault(self._sizes.program, point) if self._are_sizes_known else None
        if fault is not None and not fault.raised:
            return fault, False
        if not is_new or self._runs >= _MOST_RUNS:
            return fault, True
        self._runs += 1
        for zero_integers in (False, True):
            args, kwargs = self._sizes.call(point, zero_integers=zero_integers)
            outputs, refusal = _eager(self._module, args, kwargs)
            if refusal is None:
                different = self._difference(point, args, kwargs, outputs)
                return different, False
        return refusal, True

    def _difference(self, point: Point, args: Any, kwargs: Any, outputs: Sequence[Any]) -> Fault | None:
        """How the program's results differ from the model's; None too where they differ at the example already."""
        if self._is_comparable is False:
            return None
        fault = _compare(self._sizes, point, args, kwargs, outputs)
        if fault is not None and self._is_comparable is None:
            example = self._sizes.example()
            args, kwargs = self._sizes.call(example)
            outputs, refusal = _eager(self._module, args, kwargs)
            self._is_comparable = refusal is None and _compare(self._sizes, example, args, kwargs, outputs) is None
        return fault if self._is_comparable else None


def _eager(module: Any, args: Any, kwargs: Any) -> tuple[list[Any], Fault | None]:
    args, kwargs = pytree.tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
    # The module of a loaded program prints its errors.
    with torch.no_grad(), triton_kernels.interpreted(), buffers_kept(module), contextlib.redirect_stderr(io.StringIO()):
        torch.manual_seed(0)
        try:
            with CheckedOperands():
                outputs = pytree.tree_leaves(module(*args, **kwargs))
        except Exception as error:
            text = f"{type(error).__name__}: {error}".strip().removesuffix(".")
            return [], Fault(text, user_line(error.__traceback__), raised=True)
        return pytree.tree_map_only(torch.Tensor, torch.clone, outputs), None


def _compare(sizes: Sizes, point: Point, args: Any, kwargs: Any, outputs: Sequence[Any]) -> Fault | None:
    with torch.no_grad(), triton_kernels.interpreted():
        torch.manual_seed(0)
        found, fault = replay(sizes.program, point, pytree.tree_leaves((args, kwargs)))
    if fault is not None or len(found) != len(outputs):
        return fault
    for index, (wanted, got) in enumerate(zip(outputs, found)):
        if not _same(wanted, got):
            text = "the exported program gives another {} than the model, which takes another way at such sizes"
            return Fault(text.format("result" if len(found) == 1 else f"result {index}"), None)
    return None


def _same(wanted: Any, got: Any) -> bool:
    """Whether two results are of one shape and type, with values as near as other kernels of PyTorch make them."""
    if not isinstance(wanted, torch.Tensor) or not isinstance(got, torch.Tensor):
        return isinstance(wanted, torch.Tensor) == isinstance(got, torch.Tensor) and (
            wanted == got or wanted != wanted or not isinstance(wanted, int | float | bool)
        )
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        return False
    if wanted.numel() == 0 or wanted.layout is not torch.strided:
        return True
    if not wanted.is_floating_point() and not wanted.is_complex():
        return torch.equal(wanted, got)
    wide = torch.complex128 if wanted.is_complex() else torch.float64
    wanted, got = wanted.to(wide), got.to(wide)
    finite = wanted[wanted.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(got, wanted, rtol=1e-3, atol=1e-3 * scale, equal_nan=True)


# --- where to try


def _small_points(sizes: Sizes, ranges: Mapping[sympy.Symbol, tuple[int, int]]) -> Iterator[dict[sympy.Symbol, int]]:
    """Sizes of 0 and 1, alone and together with others that are small or as in the example."""
    example = sizes.example()
    choices = []
    for symbol, (low, high) in ranges.items():
        values = {example[symbol], max(low, 2), *range(low, 2)}
        choices.append([(symbol, value) for value in sorted(values) if low <= value <= high])
    most = len(choices)
    while most > 2 and sum(1 for _ in _products(choices, example, most)) > _MOST_POINTS:
        most -= 1
    yield from _products(choices, example, most)


def _products(
    choices: Sequence[Sequence[tuple[sympy.Symbol, int]]], example: Point, most: int
) -> Iterator[dict[sympy.Symbol, int]]:
    """Points with a size below 2, in which at most ``most`` sizes are not the example's."""
    others = [[pair for pair in pairs if pair[1] != example[pair[0]]] for pairs in choices]
    for count in range(1, most + 1):
        for chosen in itertools.combinations(others, count):
            for pairs in itertools.product(*chosen):
                if any(value < 2 for _, value in pairs):
                    yield {**example, **dict(pairs)}


def _guard_points(
    sizes: Sizes, ranges: Mapping[sympy.Symbol, tuple[int, int]], found: Iterable[Guard]
) -> Iterator[dict[sympy.Symbol, int]]:
    """For each guard up to three points at which it does not hold, with sizes of 2 and more."""
    example = sizes.example()
    for guard in found:
        broken = (point for point in _grid(guard, example, ranges) if not guard.holds(point))
        yield from itertools.islice(broken, 3)


def _grid(
    guard: Guard, example: Point, ranges: Mapping[sympy.Symbol, tuple[int, int]]
) -> Iterator[dict[sympy.Symbol, int]]:
    """Sizes in the neighbourhood of the smallest and of the example, the smallest first."""
    width = _SCANNED if len(guard.symbols) == 1 else max(4, int(_SCANNED ** (1 / len(guard.symbols))))
    choices = []
    for symbol in guard.symbols:
        low, high = max(2, ranges[symbol][0]), ranges[symbol][1]
        near = {*range(low, min(high, low + width) + 1), example[symbol], min(high, example[symbol] + 1)}
        choices.append([(symbol, value) for value in sorted(near) if low <= value <= high])
    for pairs in sorted(itertools.product(*choices), key=lambda pairs: sum(value for _, value in pairs)):
        yield {**example, **dict(pairs)}


# --- what is said of it


def _refuse(size: Size, ranges: Mapping[sympy.Symbol, tuple[int, int]], trial: _Trial, held: Held, target: str) -> None:
    """Raises for a declared minimum below what holds.

    torch.export may have narrowed the range for no reason that a result shows; that is as its documentation has it.
    """
    assert size.declared is not None
    wrong = held.minimums[size.symbol] - 1
    fault = held.reasons.get(size.symbol)
    if fault is None:
        wrong, fault = size.declared, trial.sizes_fault(size.symbol, size.declared)
    if fault is None:
        return
    _raise_minimum(size, ranges, trial, held)
    name = "" if size.label.startswith((size.input, "(")) else f" ({size.label})"
    where = f"  at {fault.place}\n" if fault.place else ""
    head = f"{target}: {size.place}{name} has the declared minimum {size.declared}, but "
    remedy = f"Declare the minimum {held.minimums[size.symbol]}"
    if fault.raised:
        shared = ", or let sizes that vary together share one torch.export.Dim in dynamic_shapes"
        raise AotbuildError(
            f"{head}the model raises {fault.text} when it runs eagerly with {wrong}\n"
            f"{where}  {remedy}{shared if len(ranges) > 1 else ''}."
        )
    raise AotbuildError(
        f"{head}torch.export has traced the model for larger sizes only: with {wrong}, {fault.text}\n"
        f"{where}  {remedy}, or write that line so that it does the same at every size."
    )
