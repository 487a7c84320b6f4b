"""Groups: many samples of one operator and type as one model, and what they give in eager PyTorch.

Export, headers and a process cost more than most samples do. A group in which something fails is taken apart until the
sample that fails is alone, so every outcome but "passes" is that of a model with one sample.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from model_builds import leaves
from sweep_calls import tensor_of
from sweep_outcomes import EXPORT, FAILED, NONE, REFUSED
from sweep_samples import Call, Sample, first_dynamic

from aotbuild import capture, emit
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model
from aotbuild.spec.program import EmitOptions, Signature


@dataclass
class Group:
    """Samples that are one model; ``target`` is its name, and that of its folder in ``parent``."""

    samples: list[Sample]
    target: str
    parent: Path

    @property
    def folder(self) -> Path:
        return self.parent / self.target

    @property
    def is_alone(self) -> bool:
        return len(self.samples) == 1

    def halves(self) -> list[Group]:
        middle = len(self.samples) // 2
        parts = (self.samples[:middle], self.samples[middle:])
        return [self.part(part, side) for part, side in zip(parts, "ab")]

    def part(self, samples: list[Sample], side: str) -> Group:
        return Group(samples, samples[0].id if len(samples) == 1 else f"{self.target}{side}", self.parent)


@dataclass
class Case:
    """A call of a group and eager's results. ``sizes``: for a message, where they are not those of the samples.

    ``written``: the inputs that the call writes to, by their numbers, and what they hold after it.
    """

    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]
    sizes: str = ""
    written: dict[int, torch.Tensor] = field(default_factory=dict)


@dataclass
class Recorded:
    """The cases of a group. ``counts``: the outputs of each sample; ``random``: whether its values are defined."""

    cases: list[Case]
    counts: list[int]
    random: list[bool]


class _Calls(torch.nn.Module):
    """Several calls, each on its part of the tensors."""

    def __init__(self, calls: Sequence[Call]) -> None:
        super().__init__()
        self._calls = torch.nn.ModuleList(calls)
        self._counts = [len(call.inputs()) for call in calls]

    def forward(self, *tensors: torch.Tensor) -> Any:
        results: list[Any] = []
        begin = 0
        for call, count in zip(self._calls, self._counts):
            results.append(call(*tensors[begin : begin + count]))
            begin += count
        return tuple(results)


def generate(group: Group, is_known: Callable[[str], bool]) -> tuple[str, str, list[str]]:
    """Writes a group's sources and eager's results. Success is the outcome "" with the digest of the sources.

    Nothing is written where ``is_known`` says of the digest that its results are there already. Where the group cannot
    be captured, the last part of the result names the samples that are the reason.
    """
    from sweep_cmake import lower

    warnings.simplefilter("ignore")
    torch.set_grad_enabled(False)
    models: list[Model] = []
    eager: list[tuple[int, bool]] = []
    failing: dict[str, str] = {}
    for sample in group.samples:
        try:
            models.append(sample.make())
            eager.append(_run(models[-1]))
        except Exception as error:
            failing[sample.id] = f"it does not run eagerly: {type(error).__name__}: {error}"
    if failing:
        return NONE, next(iter(failing.values())), list(failing)
    model = models[0] if group.is_alone else _joined(group.samples)
    try:
        captured = capture.capture(capture.Source(model, None, ()), (), group.target)
    except Exception as error:
        outcome, detail = _refusal(error)
        return outcome, detail, [] if group.is_alone else _refused(group.samples)
    try:
        compiled = lower(captured, group.target, "cpu")
        files = emit.render(compiled, EmitOptions(group.target, test=False))
    except Exception as error:
        return *_refusal(error), []
    digest = _digest(files)
    if is_known(digest):
        return "", digest, []
    emit.write(files, group.folder, group.folder / "stamp", None, ())
    golden = [[tensor_of(data) for data in case.outputs] for case in captured.golden]
    writes = [index for index, spec in enumerate(captured.signature.inputs) if spec.written]
    written = [dict(zip(writes, map(tensor_of, case.written))) for case in captured.golden]
    inputs = [[tensor_of(data) for data in case.inputs] for case in captured.golden]
    if group.samples[0].call is not None:
        inputs[0] = [tensor.detach().resolve_conj().resolve_neg() for tensor in model.example_inputs]
        inputs[1:] = [list(map(_laid_out, given, inputs[0])) for given in inputs[1:]]
    sizes = [str([list(tensor.shape) for tensor in given]) if number else "" for number, given in enumerate(inputs)]
    cases = [Case(*parts) for parts in zip(inputs, golden, sizes, written)]
    cases += _larger(group.samples, captured.signature, cases[0])
    counts = [len(golden[0])] if group.is_alone else [count for count, _ in eager]
    random = [_is_free(sample) or is_random for sample, (_, is_random) in zip(group.samples, eager)]
    recorded = Recorded(cases, counts, random)
    with (group.folder / "recorded.pickle").open("wb") as file:
        pickle.dump(recorded, file)
    return "", digest, []


def _is_free(sample: Sample) -> bool:
    """Whether eager's values are none.

    Its exponential of matrices of 16-bit numbers and its multi-margin loss of no rows read memory never written.
    """
    is_of_nothing = sample.variant == "empty" and sample.name == "nn.MultiMarginLoss"
    is_unwritten = sample.name == "matrix_exp" and sample.dtype in ("float16", "bfloat16")
    return "empty" in sample.name or is_of_nothing or is_unwritten


def _refusal(error: Exception) -> tuple[str, str]:
    if not isinstance(error, AotbuildError):
        return FAILED, f"{type(error).__name__}: {error}"
    return (EXPORT if "cannot be exported by torch.export" in str(error) else REFUSED), str(error)


def _refused(samples: Sequence[Sample]) -> list[str]:
    """The samples that cannot be captured alone."""
    found = []
    for sample in samples:
        try:
            capture.capture(capture.Source(sample.make(), None, ()), (), sample.id)
        except Exception:
            found.append(sample.id)
    return found


def _joined(samples: Sequence[Sample]) -> Model:
    calls = [sample.call for sample in samples if sample.call]
    inputs = tuple(tensor for call in calls for tensor in call.inputs())
    is_dynamic = samples[0].variant == "dynamic"
    return Model(_Calls(calls), inputs, dynamic_shapes=(tuple(map(first_dynamic, inputs)),) if is_dynamic else None)


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)} ".encode() + data)
    return digest.hexdigest()


def _run(model: Model) -> tuple[int, bool]:
    """How many outputs the model has, and whether their values are free: random numbers, or memory never written."""

    def called() -> list[Any]:
        args, kwargs = copy.deepcopy((model.example_inputs, dict(model.example_kwargs)))  # it may write to them
        return leaves(capture.as_module(model)(*args, **kwargs))

    before = torch.get_rng_state()
    outputs = called()
    is_random = not torch.equal(before, torch.get_rng_state())
    torch.use_deterministic_algorithms(True, warn_only=True)  # new memory holds NaN
    try:
        again = called()
    finally:
        torch.use_deterministic_algorithms(False)
    return len(outputs), is_random or any(map(_differ_in_nans, outputs, again))


def _differ_in_nans(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or one.layout is not torch.strided:
        return False
    return one.is_floating_point() and not torch.equal(one.isnan(), other.isnan())


def _larger(samples: Sequence[Sample], signature: Signature, case: Case) -> list[Case]:
    """With a dynamic first dimension, a call with twice as many rows of the samples that take them."""
    inputs: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []
    for sample in samples if samples[0].variant == "dynamic" else ():
        assert sample.call is not None
        given = list(sample.call.inputs())
        specs = signature.inputs[len(inputs) : len(inputs) + len(given)]
        grown = [_twice(tensor) if spec.dims and tensor.shape[0] < spec.dims[0].max else tensor
                 for tensor, spec in zip(given, specs)]  # fmt: skip
        if any(tensor.shape[0] > spec.dims[0].max for tensor, spec in zip(grown, specs) if spec.dims):
            grown = given
        try:
            results = leaves(sample.call(*copy.deepcopy(grown)))
        except Exception:
            grown, results = given, leaves(sample.call(*copy.deepcopy(given)))
        inputs += grown
        outputs += results
    if not inputs:
        return []
    return [Case(inputs, [leaf.detach().clone() for leaf in outputs], "of twice as many rows")]


def _twice(tensor: torch.Tensor) -> torch.Tensor:
    """The rows, and once more with their elements in another order, where they have such."""
    again = tensor.roll(1, -1) if tensor.dim() > 1 and tensor.is_floating_point() else tensor
    return _laid_out(torch.cat([tensor, again]), tensor)


def _laid_out(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """With its dimensions in the order that another's have in memory."""
    order = sorted(range(like.dim()), key=like.stride, reverse=True)
    return tensor.permute(order).contiguous().permute([order.index(dim) for dim in range(like.dim())])


def in_float64(sample: Sample) -> list[torch.Tensor]:
    """The results of a call whose numbers are float64 or complex128."""
    assert sample.call is not None

    def wide(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value.double()
        return value.to(torch.complex128) if isinstance(value, torch.Tensor) and value.is_complex() else value

    call = copy.deepcopy(sample.call).with_inputs(wide)
    if isinstance(call.function, torch.nn.Module):
        call.function = call.function.double()
    call.copies = True
    return leaves(call(*call.inputs()))
