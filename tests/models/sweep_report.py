"""The report of the sweep: how many samples of each kind and element type have each outcome, and what is refused."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweep_outcomes import Result

_TITLES = {"op": "operators", "module": "modules", "example": "export examples"}
_HEAD = """\
# Coverage

What the sweep (`tests/models/sweep.py`) found on the CPU: samples of PyTorch's own databases of operators (`op_db`) and
modules (`module_db`), in every element type that an operator declares, and the examples of `torch._export.db`; each
generated, compiled, called, and compared with eager PyTorch. Samples that differ in values alone count once. Variants:
inputs with gaps between their elements, inputs without rows, and a dynamic first dimension, called with twice as many
rows too. Tolerances are those of `torch.testing` for each type, but 1e-4 and 1e-5 for float32; where eager's own error
against float64 is the larger one, ours may be twice that. What is random is compared by sizes and types, as is what
eager reads from memory never written; of decompositions that are not unique, such as eigenvectors, what is.

This page is written by `python tests/models/sweep.py --report docs` and lists what does not pass.

"""
_TITLE = "## Operators that the runtime lacks"
_REST_TITLE = "## Everything else that does not pass"
_GPU_HEAD = """\
## On a GPU

The same samples built for CUDA (`sm_90`) on a machine without a GPU, and run with the driver alone: float32 on an H100,
half types on an H200. Each was called three times, with its kernels launched one by one, captured into a CUDA graph,
and replayed from that; all three results are compared with eager PyTorch's on the CPU, with the tolerances above. They
are in
`benchmarks/results/h100-sweep.json`; [CUDA](cuda.md#the-sweep) has the commands. This section is written by
`python tests/models/sweep_cuda.py compare`.

"""
_GPU_TITLE = "### Operators without a Triton kernel"
_GPU_REST_TITLE = "### Everything else that does not pass on a GPU"
# What stands in front of the operators in a short refusal.
NO_KERNEL = "no Triton kernel for "
_MISSING = re.compile(r"^  (\S+?)(?: \(\d+ calls?\))?$", re.MULTILINE)


_MODELS_HEAD = """\
# Models

Architectures of transformers, made from their configuration classes at small sizes with random weights
(`tests/models/architectures.py`), built for the CPU with the standalone runtime and compared with eager PyTorch in
float32. Batch is dynamic from 1 to 4 and length from 2 to 32 where the architecture allows it; each was run at the
example's sizes and with each size at its least and its greatest. The error is the greatest difference in parts of the
greatest value. This page is written by `python tests/models/sweep.py --report docs`.

| architecture | kind | result | error |
|---|---|---|---|
"""


def models(results: Iterable[Result]) -> str:
    """The page of the architectures."""
    from architectures import ARCHITECTURES

    found = {result.name: result for result in results if result.kind == "architecture"}
    lines = []
    for name, (kind, _) in ARCHITECTURES.items():
        if name in found:
            passes = found[name].outcome == "passes"
            detail = found[name].detail.removeprefix("error ") if passes else first_reason(found[name].detail)
            lines.append(f"| {name} | {kind} | {found[name].outcome} | {detail} |\n")
    return _MODELS_HEAD + "".join(lines)


def coverage(results: Iterable[Result], on_gpu: Iterable[Result]) -> str:
    """The page of operators, modules and examples. Samples that the databases do not have are left out."""
    found = _of_databases(results)
    parts = [_HEAD, _counts(found), _missing(found, _TITLE), _reasons(found, _REST_TITLE)]
    return with_gpu("".join(parts), on_gpu)


def with_gpu(page: str, results: Iterable[Result]) -> str:
    """The page with a new section of what ran on a GPU."""
    found = _of_databases(results)
    parts = [_GPU_HEAD, _counts(found), _missing(found, _GPU_TITLE), _reasons(found, _GPU_REST_TITLE)]
    return f"{page.partition(_GPU_HEAD)[0].rstrip()}\n\n{''.join(parts)}"


def _of_databases(results: Iterable[Result]) -> list[Result]:
    return [result for result in results if result.outcome != "no such sample" and result.kind in _TITLES]


_TORCH_TITLE = "\n## With `RUNTIME torch`\n"
_TORCH_HEAD = f"""{_TORCH_TITLE}
The first sample in float32 of every operator and module of the databases, and the export examples, by the same rules,
linked with libtorch (`sweep.py --runtime torch`). What does not pass was given to AOTInductor itself (`--runtime
aotinductor`), so that what AOTInductor passes and `RUNTIME torch` does not is in the table below.

"""


def parts(page: str) -> list[str]:
    """The page's part on the standalone runtime and the one on libtorch, which may have run on other days."""
    before, title, section = page.partition(_TORCH_TITLE)
    return [before, title + section]


def on_torch(results: Iterable[Result], by_aotinductor: Iterable[Result]) -> str:
    """The section of what ran with RUNTIME torch; ``by_aotinductor``: what did not pass, by AOTInductor itself."""
    found = _of_databases(results)
    upstream = {result.id: _outcome(result) for result in by_aotinductor}
    others = [result for result in found if result.outcome != "passes"]
    text = _TORCH_HEAD + _counts(found).rstrip("\n") + "\n"
    if others:
        text += "\n| entry | element type | with `RUNTIME torch` | by AOTInductor itself |\n|---|---|---|---|\n"
    for result in others:
        theirs = upstream.get(result.id, "did not run")
        text += f"| {result.name} | {result.dtype} | {_outcome(result)} | {theirs} |\n"
    return text


def _outcome(result: Result) -> str:
    return result.outcome if result.outcome == "passes" else f"{result.outcome}: {first_reason(result.detail)}"


_VARIANTS = ("noncontiguous", "empty", "dynamic")


def _counts(results: list[Result]) -> str:
    outcomes = list(dict.fromkeys(["passes", *sorted({result.outcome for result in results})]))
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for result in results:
        variant = next((f", {variant}" for variant in _VARIANTS if result.id.endswith(f"_{variant}")), "")
        rows[result.kind, result.dtype + variant][result.outcome] += 1
    lines = ["| samples | element type | " + " | ".join(outcomes) + " |", "|---|---|" + "---:|" * len(outcomes)]
    for (kind, dtype), counts in sorted(rows.items(), key=lambda row: (list(_TITLES).index(row[0][0]), row[0][1])):
        numbers = " | ".join(str(counts[outcome]) for outcome in outcomes)
        lines.append(f"| {_TITLES[kind]} | {dtype} | {numbers} |")
    total = Counter(result.outcome for result in results)
    lines.append(f"| all | | {' | '.join(str(total[outcome]) for outcome in outcomes)} |")
    return "\n".join(lines) + "\n\n"


def missing_operators(detail: str) -> list[str]:
    """The operators that a refusal names."""
    if detail.startswith(NO_KERNEL):
        return detail.removeprefix(NO_KERNEL).split(", ")
    return _MISSING.findall(detail) if "has no kernel for" in detail or "no Triton kernel serves" in detail else []


def _missing(results: list[Result], title: str) -> str:
    calls: dict[str, set[str]] = defaultdict(set)
    for result in results:
        for operator in missing_operators(result.detail):
            calls[operator].add(result.name)
    if not calls:
        return ""
    lines = [title, "", "| operator | needed by |", "|---|---|"]
    for operator, names in sorted(calls.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"| `{operator}` | {', '.join(sorted(names))} |")
    return "\n".join(lines) + "\n\n"


def _reasons(results: list[Result], title: str) -> str:
    """One line for each reason, with the entries and types that have it."""
    rest: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        if result.outcome != "passes" and not missing_operators(result.detail):
            dtypes = rest[result.outcome, first_reason(result.detail)][result.name]
            if result.dtype not in dtypes:
                dtypes.append(result.dtype)
    if not rest:
        return ""
    lines = [title, "", "| entries | outcome | reason |", "|---|---|---|"]
    for (outcome, reason), entries in sorted(rest.items(), key=lambda item: (item[0][0], sorted(item[1]))):
        names = [f"{name} ({', '.join(sorted(dtypes))})" for name, dtypes in sorted(entries.items())]
        lines.append(f"| {', '.join(names)} | {outcome} | {reason} |")
    return "\n".join(lines) + "\n"


def first_reason(detail: str) -> str:
    """One line, without paths and the sample's own name."""
    lines = [line.strip() for line in detail.splitlines() if line.strip() and not line.strip().startswith("at /")]
    text = " ".join(lines[:2]).partition(" While executing %")[0]
    text = re.sub(r"\S*/\S*", "", text)
    text = re.sub(r"\b(?:op|module|example)_\w+: ", "", text)
    text = re.sub(r"\[[\d, ]*\]", "[...]", text)
    return text.replace("|", "\\|")[:200].strip()
