"""Draws benchmarks/results/deploy.json as docs/images/deploy-light.svg and deploy-dark.svg, for README.md.

python benchmarks/chart.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from deploy import CONTENDERS
from harness import RESULTS

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PANEL_WIDTH, PANEL_GAP, LABEL_WIDTH = 210, 26, 150
ROW_HEIGHT, BAR_HEIGHT, TOP = 26, 14, 62
PANELS = (
    ("milliseconds", "a call", "ms", "{:.1f}"),
    ("start_ms", "open the model, first result", "ms", "{:.0f}"),
    ("megabytes", "libraries to ship", "MB", "{:.1f}"),
)


@dataclass(frozen=True)
class Theme:
    """Colours of a page."""

    text: str
    faint: str
    bar: str
    own: str


THEMES = {
    "light": Theme(text="#1f2328", faint="#59636e", bar="#b6bec9", own="#0b6bcb"),
    "dark": Theme(text="#e6edf3", faint="#9198a1", bar="#57606a", own="#58a6ff"),
}


def text(
    x: float, y: float, words: str, colour: str, *, size: int = 12, weight: int = 400, anchor: str = "start"
) -> str:
    style = f'font-size="{size}" font-weight="{weight}" fill="{colour}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def panel(left: float, measure: Sequence[str], results: Mapping[str, Mapping[str, Any]], theme: Theme) -> Iterator[str]:
    key, title, unit, form = measure
    yield text(left, TOP - 16, f"{title}, {unit}", theme.faint)
    most = max(about[key] for about in results.values())
    for row, (name, about) in enumerate(results.items()):
        width = max(2.0, (PANEL_WIDTH - 50) * about[key] / most)
        y = TOP + row * ROW_HEIGHT
        own = name == "aotbuild"
        colour = theme.own if own else theme.bar
        yield f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" fill="{colour}"/>'
        weight = 600 if own else 400
        yield text(left + width + 6, y + 11.5, form.format(about[key]), theme.text, weight=weight)


def draw(saved: Mapping[str, Any], theme: Theme) -> str:
    results = saved["contenders"]
    width = LABEL_WIDTH + len(PANELS) * (PANEL_WIDTH + PANEL_GAP)
    height = TOP + len(results) * ROW_HEIGHT + 26
    title = "MiniLM sentence encoder, 1 x 128 tokens, float32, one thread: less is better"
    busy = ", with other work beside it" if saved["busy"] else ""
    parts = [text(0, 18, title, theme.text, size=14, weight=600)]
    for row, name in enumerate(results):
        own = 600 if name == "aotbuild" else 400
        parts.append(text(0, TOP + row * ROW_HEIGHT + 11.5, CONTENDERS[name][0], theme.text, weight=own))
    for number, measure in enumerate(PANELS):
        parts += panel(LABEL_WIDTH + number * (PANEL_WIDTH + PANEL_GAP), measure, results, theme)
    machine = saved["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores{busy}; benchmarks/deploy.py"
    parts.append(text(0, height - 6, where, theme.faint, size=11))
    font = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
    label = escape(title, quote=True)
    return f'{head} font-family="{font}" role="img" aria-label="{label}">\n' + "\n".join(parts) + "\n</svg>\n"


def main() -> None:
    saved = json.loads((RESULTS / "deploy.json").read_text())
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, theme in THEMES.items():
        path = IMAGES / f"deploy-{name}.svg"
        path.write_text(draw(saved, theme))
        print(path.relative_to(IMAGES.parents[1]))


if __name__ == "__main__":
    main()
