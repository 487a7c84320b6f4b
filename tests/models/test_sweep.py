"""A part of the sweep: operators of every kind that the runtime implements."""

from __future__ import annotations

import subprocess
import sys

import pytest
from model_builds import HERE, ROOT
from sweep_outcomes import PASSES, Log

# One of each kind of library kernel, and what else once was wrong.
NAMES = (
    "_segment_reduce_lengths", "assume_constant_result", "cdist", "cfloat", "cumsum", "fft_rfft", "grid_sampler_3d",
    "index_reduce_mean", "kthvalue", "masked_scatter", "masked_select", "multinomial", "nn.AdaptiveMaxPool3d",
    "nn_functional_embedding_bag", "nonzero", "searchsorted", "sort", "topk", "unique",
)  # fmt: skip


@pytest.mark.slow
def test_samples_of_pytorchs_databases_give_eagers_results() -> None:
    folder = ROOT / "build" / "sweep-test"
    (folder / "results.jsonl").unlink(missing_ok=True)
    # A process of its own, because each sample is a fork, and forks must come before any parallel loop.
    command = [sys.executable, str(HERE / "sweep.py"), "--folder", str(folder), "--batch", "32", "--only", *NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    results = Log(folder / "results.jsonl").read().values()
    assert {result.name for result in results} == set(NAMES)
    assert [result for result in results if result.outcome != PASSES] == []
