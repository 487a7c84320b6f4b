"""Draws what each example prints, as its page says, as the terminal that is seen on that page: <example>/output.svg.

python examples/draw_outputs.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

EXAMPLES = Path(__file__).parent
BLOCK = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
PICTURE = '<img src="output.svg"'

FONT_SIZE, CHARACTER_WIDTH, LINE_HEIGHT = 13, 7.83, 19
PADDING, BAR = 14, 26
BACKGROUND, BAR_COLOUR, TEXT, COMMAND, FAINT = "#0d1117", "#21262d", "#e6edf3", "#7ee787", "#8b949e"


def blocks(page: str) -> list[str]:
    """The indented blocks of a page, without their indentation: commands, and what they print."""
    return ["".join(line[4:] for line in found.splitlines(keepends=True)) for found in BLOCK.findall(page)]


def draw(title: str, commands: str, printed: str) -> str:
    """A terminal, which is dark on light pages too."""
    lines = [*(("$ ", line) for line in commands.splitlines()), *(("", line) for line in printed.splitlines())]
    columns = max(len(prompt) + len(line) for prompt, line in lines)
    width = round(2 * PADDING + columns * CHARACTER_WIDTH)
    height = BAR + 2 * PADDING + len(lines) * LINE_HEIGHT - 4
    return "\n".join(_svg(title, lines, width, height)) + "\n"


def _svg(title: str, lines: list[tuple[str, str]], width: int, height: int) -> Iterator[str]:
    font = f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="{FONT_SIZE}"'
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    yield f"<title>{escape(title)}</title>"
    yield f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>'
    yield f'<path d="M0 {BAR}V8a8 8 0 0 1 8-8h{width - 16}a8 8 0 0 1 8 8v{BAR - 8}z" fill="{BAR_COLOUR}"/>'
    yield f'<text x="{width / 2:.1f}" y="17" fill="{FAINT}" text-anchor="middle" font-size="12">{escape(title)}</text>'
    for number, (prompt, line) in enumerate(lines):
        y = BAR + PADDING + number * LINE_HEIGHT + 11
        colour = COMMAND if prompt else TEXT
        kept = escape(prompt + line).replace(" ", "&#160;")  # viewers join several spaces to one
        yield f'<text x="{PADDING}" y="{y}" fill="{colour}">{kept}</text>'
    yield "</svg>"


def picture(name: str) -> str:
    """Of the example of that name, whose page has commands, then what they print, and then the picture."""
    page = (EXAMPLES / name / "README.md").read_text()
    commands, printed = blocks(page[: page.index(PICTURE)])[-2:]
    return draw(f"examples/{name}", commands, printed)


def pictured() -> list[str]:
    """The examples whose pages show a picture."""
    return sorted(page.parent.name for page in EXAMPLES.glob("*/README.md") if PICTURE in page.read_text())


if __name__ == "__main__":
    for example in pictured():
        (EXAMPLES / example / "output.svg").write_text(picture(example))
