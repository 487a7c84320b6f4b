"""Figures of README.md and docs/ are those of benchmarks/results, and the charts are drawn of them."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of benchmarks/ by name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


def saved(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def test_the_table_of_the_page_is_what_was_measured(benchmark: Any) -> None:
    measured = saved("web")
    text = (ROOT / "docs/platforms.md").read_text()
    assert benchmark("web").markdown(measured) in text
    kilobytes, compressed = (round(measured["module"][name] / 1000) for name in ("bytes", "gzip"))
    assert f"is {kilobytes} KB, {compressed} KB by gzip" in text
    assert kilobytes <= 1000
    assert compressed <= 400
    assert all(row["ratio"] <= 0.9 and row["difference"] < 1e-5 for row in measured["tokens"].values())


def test_the_readmes_table_is_what_the_command_prints(benchmark: Any) -> None:
    table = benchmark("deploy").markdown(saved("deploy")["contenders"])
    assert table in (ROOT / "README.md").read_text()
    assert "on a machine with other work" in (ROOT / "README.md").read_text() or not saved("deploy")["busy"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_chart_is_drawn_of_the_saved_figures(benchmark: Any, theme: str) -> None:
    chart = benchmark("chart")
    drawn = chart.draw(saved("deploy"), chart.THEMES[theme])
    assert drawn == (ROOT / f"docs/images/deploy-{theme}.svg").read_text()


def test_pictures_of_examples_are_drawn_of_their_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    draw_outputs = importlib.import_module("draw_outputs")
    pictured = draw_outputs.pictured()
    pages = {page.parent.name for page in ROOT.glob("examples/*/README.md")}
    assert set(pictured) == pages
    for name in pictured:
        drawn = draw_outputs.picture(name)
        assert drawn == (ROOT / f"examples/{name}/output.svg").read_text(), "run python examples/draw_outputs.py"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_diagrams_are_those_of_their_description(theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    diagrams = importlib.import_module("make_diagrams")
    for name, diagram in diagrams.DIAGRAMS.items():
        drawn = diagrams.draw(diagram, diagrams.THEMES[theme])
        assert drawn == (ROOT / f"docs/images/{name}-{theme}.svg").read_text(), "run python docs/make_diagrams.py"


def test_the_models_of_the_comparison_are_those_of_peers() -> None:
    results = {each["model"]: each["contenders"] for each in saved("peers")["results"]}
    page = (ROOT / "docs/comparison.md").read_text()
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) > 5
    for model, *cells in rows:
        names = ("aotbuild", "onnxruntime", "openvino", "eager")
        assert cells == [f"{results[model][f'{name}-float32']['milliseconds']:.1f}" for name in names], model


def test_steps_and_sizes_are_those_of_the_stopwatch() -> None:
    measured = saved("stopwatch")
    page = (ROOT / "docs/getting-started.md").read_text()
    for step, seconds in measured["seconds"].items():
        name = step if step == "in all" else f"`{step}`"
        assert f"| {name} | {seconds:.1f} |" in page
    files = saved("deploy")["contenders"]["aotbuild"]["files"]
    sizes = [files["libminilm_1x128_float32.so"], files["libaotbuild_runtime_shared.so.0.1.0"]]
    sizes += [measured["program_megabytes"], measured["wheel_megabytes"]]
    shipping = (ROOT / "docs/shipping.md").read_text()
    assert re.findall(r"\| ([\d.]+) MB \|", shipping) == [f"{size:.1f}" for size in sizes]
