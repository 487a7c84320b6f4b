"""What `make reliability` does for hours, in small: the fuzz targets of Python over their corpora, its page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "reliability"
sys.path[:0] = [str(FOLDER), str(FOLDER / "fuzz")]


@pytest.mark.quick
@pytest.mark.parametrize("target", ["tuning_database", "tuning_results", "manifest", "cache_entry", "plan"])
def test_fuzz_targets_keep_their_promises_over_the_corpus(target: str) -> None:
    import python_targets

    assert python_targets.replay(target, FOLDER / "corpus" / target) >= 3


def test_every_target_has_a_corpus_and_a_planted_fault() -> None:
    import fuzzing
    import python_targets

    targets = {*fuzzing.CPP_TARGETS, *fuzzing.PYTHON_TARGETS}
    assert {path.name for path in (FOLDER / "corpus").iterdir()} == targets
    assert set(python_targets.TARGETS) == set(fuzzing.PYTHON_TARGETS)
    assert {planted.target for planted in fuzzing.PLANTED} == targets
    for planted in fuzzing.PLANTED:
        assert (ROOT / planted.file).read_text().count(planted.old) == 1, planted
        assert planted.old != planted.new


def test_page_says_what_was_run_and_what_was_not() -> None:
    from trial import Outcome, Trial

    import reliability

    def run(*_: object) -> None:
        raise AssertionError

    outcomes = [
        (Trial("fuzz:a", "Fuzzing", "files", run), Outcome({"executions": 1000000}, True, "", "abc", "2026-12-01")),
        (Trial("fuzz:b", "Fuzzing", "tensors", run), Outcome({"executions": 5}, False, "", "abc", "2026-12-01")),
        (Trial("soak", "Long runs", "calls", run), Outcome()),
    ]
    page = reliability.page(outcomes)
    assert "| `fuzz:a` | files | executions 1,000,000 | 2026-12-01, abc |" in page
    assert "| `fuzz:b` | tensors | executions 5 | 2026-12-01, abc, not to its end |" in page
    assert "| `soak` | calls |  | not run |" in page


def test_trials_have_names_of_their_own() -> None:
    import reliability

    names = [trial.name for trial in reliability.trials()]
    assert len(names) == len(set(names))


def test_the_package_is_hardened() -> None:
    import processes

    facts = processes.package_hardening(processes.installed_package())
    assert len(facts) == 9
    assert all(facts.values()), facts
