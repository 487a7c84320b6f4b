"""The page of examples/semantic_search in headless Chromium, as elements and as pixels: part of `make wasm-test`."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import sys
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from png import Pixels, pixels_of

from browser import Browser, Handler, Page, served

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/semantic_search"
SCREENSHOT = ROOT / "build/page/search.png"
QUERIES = (EXAMPLE / "queries.txt").read_text().splitlines()
LINES = (EXAMPLE / "corpus.txt").read_text().splitlines()
SHOWN = 5

ACCENT = (0x25, 0x63, 0xEB)
GREY = (0xD4, 0xD4, 0xD8)
RED = (0xDC, 0x26, 0x26)
WHITE = (255, 255, 255)

READY = "!document.getElementById('query').disabled"
FAILED = "!document.getElementById('error').hidden"
MESSAGE = "document.getElementById('message').textContent"


class Reference:
    """What eager PyTorch says of the lines."""

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        sys.path.insert(0, str(EXAMPLE))
        encoder = importlib.import_module("encoder")
        tokenizers = importlib.import_module("tokenizers")
        folder = encoder.model_folder()
        return encoder.SentenceEncoder(folder).eval(), tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"))

    def _embedding(self, text: str) -> torch.Tensor:
        model, tokenizer = self._model
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.inference_mode():
            result: torch.Tensor = model(ids, torch.ones_like(ids))[0]
        return result

    @cached_property
    def _rows(self) -> torch.Tensor:
        return torch.stack([self._embedding(line) for line in LINES])

    def ranking(self, query: str) -> list[tuple[str, float]]:
        scores = self._rows @ self._embedding(query)
        order = torch.argsort(scores, descending=True)[:SHOWN]
        return [(LINES[int(i)], float(scores[i])) for i in order]


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference()


@pytest.fixture(scope="session")
def page_folder() -> Path:
    """What `make page` has built."""
    folder = ROOT / "build/page/page"
    assert (folder / "encoder.web/encoder.core.wasm").is_file(), "make page builds the page"
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with contextlib.closing(Browser()) as browser:
        yield browser


class Weights(Handler):
    """Gives out the first half of the weights, then waits for ``goes_on``, and breaks off where ``breaks`` is set."""

    goes_on: threading.Event
    breaks: threading.Event

    def do_GET(self) -> None:  # noqa: N802
        path = Path(self.translate_path(self.path))
        if path.suffix != ".safetensors":
            return super().do_GET()
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        if not self.breaks.is_set():
            self.goes_on.wait()
            self.wfile.write(content[len(content) // 2 :])


@pytest.fixture
def weights() -> type[Weights]:
    class Own(Weights):
        goes_on = threading.Event()
        breaks = threading.Event()

    return Own


def is_colour(pixels: Pixels, colour: tuple[int, int, int], within: int = 24) -> np.ndarray[Any, np.dtype[np.bool_]]:
    difference = np.abs(pixels.astype(np.int16) - np.array(colour, np.int16))
    return np.asarray((difference <= within).all(axis=2))


def box(page: Page, element: str) -> tuple[slice, slice]:
    """Where an element is seen, as rows and columns of pixels."""
    left, top, right, bottom = page.evaluate(
        f"(({{left, top, right, bottom}}) => [left, top, right, bottom])(({element}).getBoundingClientRect())"
    )
    return slice(round(top), round(bottom)), slice(round(left), round(right))


def pixels_of_page(page: Page) -> Pixels:
    pixels = pixels_of(page.screenshot())
    assert pixels.shape == (640, 800, 3)
    return pixels


def search(page: Page, query: str) -> list[dict[str, Any]]:
    """The rows that the page shows for a query, which is typed."""
    page.evaluate("document.getElementById('query').select()")
    page.type(query)
    page.wait_for(
        "document.getElementById('status').textContent.startsWith('Answered in')"
        f" && document.getElementById('results').dataset.query === {json.dumps(query)}"
    )
    rows: list[dict[str, Any]] = page.evaluate(
        "[...document.querySelectorAll('#results li')].map((row) => ({"
        " line: row.querySelector('.line').textContent, score: Number(row.querySelector('.score').textContent) }))"
    )
    return rows


def test_progress_then_ranked_lines(
    browser: Browser, page_folder: Path, weights: type[Weights], reference: Reference
) -> None:
    with served(page_folder, weights) as address:
        page = browser.open(address)
        page.wait_for("Math.abs(document.getElementById('progress').value - 0.5) < 0.005")
        assert page.evaluate("document.getElementById('query').disabled")
        check_progress_bar(page)
        weights.goes_on.set()
        page.wait_for(READY)
        assert page.evaluate("document.getElementById('status').textContent") == f"{len(LINES)} lines are ready."
        assert page.evaluate("document.getElementById('compare').hidden"), "there is nothing to compare with"
        for query in QUERIES:
            rows = search(page, query)
            expected = reference.ranking(query)
            assert [row["line"] for row in rows] == [line for line, _ in expected], query
            assert [row["score"] for row in rows] == pytest.approx([score for _, score in expected], abs=1e-3)
        rows = search(page, "a bug in the software")
        check_results(page, rows)
        SCREENSHOT.write_bytes(page.screenshot())


def check_progress_bar(page: Page) -> None:
    """Half of the bar is filled."""
    bar = pixels_of_page(page)[box(page, "document.getElementById('progress')")]
    middle = bar[bar.shape[0] // 2]
    filled = is_colour(middle[None], ACCENT)[0]
    assert filled.mean() == pytest.approx(0.5, abs=0.02)
    assert filled[4 : len(filled) // 2 - 8].all()
    assert is_colour(middle[None], GREY)[0][len(filled) // 2 + 8 : -4].all()


def check_results(page: Page, rows: list[dict[str, Any]]) -> None:
    """Each row has a bar as long as its score, and text that is seen; the rest of the page is empty."""
    pixels = pixels_of_page(page)
    ends = []
    for i, row in enumerate(rows):
        element = f"document.querySelectorAll('#results li')[{i}]"
        bar = pixels[box(page, f"{element}.querySelector('.bar')")]
        filled = is_colour(bar[bar.shape[0] // 2][None], ACCENT)[0]
        assert filled.mean() == pytest.approx(row["score"], abs=0.04)
        for part in (".line", ".score"):
            text = pixels[box(page, f"{element}.querySelector({part!r})")]
            inked = (text.max(axis=2) < 160).mean()
            assert 0.01 < inked < 0.4, (part, inked)
        ends.append(box(page, element)[0])
    assert all(above.stop <= below.start for above, below in itertools.pairwise(ends)), "rows overlap"
    assert is_colour(pixels[ends[-1].stop + 2 :], WHITE).all()
    heading = pixels[box(page, "document.querySelector('h1')")]
    assert (heading.max(axis=2) < 100).mean() > 0.02


def test_download_that_breaks_off_and_is_loaded_again(
    browser: Browser, page_folder: Path, weights: type[Weights]
) -> None:
    weights.breaks.set()
    (file,) = (page_folder / "encoder.web").glob("*.safetensors")
    size = file.stat().st_size
    with served(page_folder, weights) as address:
        page = browser.open(address)
        page.wait_for(FAILED)
        assert page.evaluate(MESSAGE) == (
            f"encoder: the weights {address}encoder.web/{file.name}: the download broke off after {size // 2} of "
            f"{size} bytes (network error); load it again"
        )
        error = pixels_of_page(page)[box(page, "document.getElementById('error')")]
        assert is_colour(error[:, :4], RED).mean() > 0.8, "the error's edge"
        weights.breaks.clear()
        weights.goes_on.set()
        page.evaluate("document.getElementById('again').click()")
        page.wait_for(READY)
        assert page.evaluate("document.getElementById('error').hidden")


def test_truncated_weights(browser: Browser, page_folder: Path, tmp_path: Path) -> None:
    """A server that has half of the file and knows of no more."""
    folder = tmp_path / "page"
    folder.mkdir()
    for path in page_folder.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "encoder.web").unlink()
    (folder / "encoder.web").mkdir()
    for path in (page_folder / "encoder.web").iterdir():
        (folder / "encoder.web" / path.name).symlink_to(path)
    (file,) = (folder / "encoder.web").glob("*.safetensors")
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:1000])
    with served(folder) as address:
        page = browser.open(address)
        page.wait_for(FAILED)
        assert page.evaluate(MESSAGE) == (
            f"encoder: the weights {address}encoder.web/{file.name} has 1000 bytes in the place of {len(content)}; "
            "load it again, or copy the file that was built"
        )


def test_browser_without_vectors(page_folder: Path) -> None:
    """V8 makes vectors of WebAssembly out of SSE4.1, and refuses them without."""
    with contextlib.closing(Browser("--js-flags=--no-enable-sse4-1")) as browser, served(page_folder) as address:
        page = browser.open(address)
        page.wait_for(FAILED)
        assert page.evaluate(MESSAGE) == (
            "encoder: this browser has no vectors of WebAssembly (SIMD); use Chrome 91, Firefox 89, Safari 16.4 or "
            "later"
        )


def test_module_is_small(page_folder: Path) -> None:
    """What a browser fetches beside the weights: the WebAssembly, as it is and by gzip."""
    import gzip

    module = (page_folder / "encoder.web/encoder.core.wasm").read_bytes()
    print(f"encoder.core.wasm: {len(module)} bytes, {len(gzip.compress(module, 9))} by gzip")
    assert len(module) <= 1_000_000
    assert len(gzip.compress(module, 9)) <= 400_000
