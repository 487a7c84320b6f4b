"""Draws the diagrams of docs/architecture.md: docs/images/pipeline-light.svg, call-light.svg, and the same in dark.

python docs/make_diagrams.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
BOX_WIDTH, LINE, PADDING = 168, 16, 12


@dataclass(frozen=True)
class Theme:
    text: str
    faint: str
    line: str
    box: str
    own: str


THEMES = {
    "light": Theme("#1f2328", "#59636e", "#8c959f", "#f6f8fa", "#0b6bcb"),
    "dark": Theme("#e6edf3", "#9198a1", "#6e7681", "#161b22", "#58a6ff"),
}


@dataclass(frozen=True)
class Box:
    """A step or a thing at ``x``, ``y``: a title, and lines that say more. ``own``: of aotbuild."""

    x: int
    y: int
    title: str
    lines: Sequence[str] = ()
    own: bool = False

    @property
    def height(self) -> int:
        return 2 * PADDING + LINE * (1 + len(self.lines)) - 4


@dataclass(frozen=True)
class Arrow:
    """From one box to another, by their numbers: to the right, or down where the other is below."""

    start: int
    end: int
    label: str = ""


@dataclass(frozen=True)
class Group:
    """A frame around what is on one machine or in one part of a process."""

    x: int
    y: int
    width: int
    height: int
    title: str


@dataclass(frozen=True)
class Diagram:
    title: str
    width: int
    height: int
    groups: Sequence[Group]
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]


PIPELINE = Diagram(
    "From a model file to a library",
    852,
    338,
    (
        Group(8, 8, 836, 222, "where models are built: Python, PyTorch, CMake, a compiler"),
        Group(8, 246, 836, 84, "where they run"),
    ),
    (
        Box(24, 40, "model.py", ("build() returns a module", "and example inputs")),
        Box(236, 40, "capture", ("torch.export, once;", "golden cases recorded"), own=True),
        Box(448, 40, "lower", ("TorchInductor, once;", "kernels as C++"), own=True),
        Box(660, 40, "emit", ("typed header, C ABI,", "weights, test"), own=True),
        Box(660, 144, "CMake, compiler", ("the project's own,", "with its flags")),
        Box(448, 144, "libencoder", ("kernels, weights,", "the runtime"), own=True),
        Box(236, 144, "ctest", ("against what eager", "PyTorch gave")),
        Box(448, 270, "your program", ("no Python, no libtorch",)),
    ),
    (Arrow(0, 1), Arrow(1, 2), Arrow(2, 3), Arrow(3, 4), Arrow(4, 5), Arrow(5, 6), Arrow(5, 7, "link or dlopen")),
)
CALL = Diagram(
    "A call of a model",
    852,
    338,
    (
        Group(8, 8, 204, 322, "your code"),
        Group(224, 8, 620, 322, "the model's library: no exception, no C++ type crosses its border"),
    ),
    (
        Box(24, 40, "encoder.run({ids})", ("typed views of your", "memory, not copied")),
        Box(236, 40, "encoder_run", ("the C ABI: element types,", "sizes and strides checked"), own=True),
        Box(
            448,
            40,
            "workspace",
            ("memory of this call, kept", "for the next; weights", "held as they are now"),
            own=True,
        ),
        Box(660, 40, "run function", ("for the best instruction", "set of the machine"), own=True),
        Box(660, 168, "kernels", ("fused loops that", "TorchInductor wrote"), own=True),
        Box(448, 168, "layers", ("products and convolutions", "over packed weights"), own=True),
        Box(448, 256, "OpenMP threads", ("num_threads of them",)),
        Box(236, 168, "outputs", ("written where you said,", "or memory that you own"), own=True),
        Box(24, 168, "a status", ("or an exception with", "what to do")),
    ),
    (
        Arrow(0, 1),
        Arrow(1, 2),
        Arrow(2, 3),
        Arrow(3, 4),
        Arrow(4, 5),
        Arrow(5, 6),
        Arrow(5, 7),
        Arrow(7, 8),
    ),
)
DIAGRAMS = {"pipeline": PIPELINE, "call": CALL}


def draw(diagram: Diagram, theme: Theme) -> str:
    return "\n".join(_svg(diagram, theme)) + "\n"


def _svg(diagram: Diagram, theme: Theme) -> Iterator[str]:
    size = f'width="{diagram.width}" height="{diagram.height}" viewBox="0 0 {diagram.width} {diagram.height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="12">'
    yield f"<title>{escape(diagram.title)}</title>"
    yield (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{theme.line}"/></marker></defs>'
    )
    for group in diagram.groups:
        yield (
            f'<rect x="{group.x}" y="{group.y}" width="{group.width}" height="{group.height}" rx="8" fill="none" '
            f'stroke="{theme.line}" stroke-dasharray="4 4"/>'
        )
        yield f'<text x="{group.x + 12}" y="{group.y + 20}" fill="{theme.faint}">{escape(group.title)}</text>'
    for arrow in diagram.arrows:
        yield from _arrow(diagram.boxes[arrow.start], diagram.boxes[arrow.end], arrow.label, theme)
    for box in diagram.boxes:
        border = theme.own if box.own else theme.line
        yield (
            f'<rect x="{box.x}" y="{box.y}" width="{BOX_WIDTH}" height="{box.height}" rx="6" fill="{theme.box}" '
            f'stroke="{border}"/>'
        )
        texts = [(box.title, theme.own if box.own else theme.text, 600)]
        texts += [(line, theme.faint, 400) for line in box.lines]
        for number, (words, colour, weight) in enumerate(texts):
            place = f'x="{box.x + PADDING}" y="{box.y + PADDING + 9 + number * LINE}"'
            yield f'<text {place} fill="{colour}" font-weight="{weight}">{escape(words)}</text>'
    yield "</svg>"


def _arrow(start: Box, end: Box, label: str, theme: Theme) -> Iterator[str]:
    if start.x == end.x:
        x, y = start.x + BOX_WIDTH // 2, start.y + start.height
        path = f"M{x} {y}V{end.y}"
        place = f'x="{x + 8}" y="{end.y - 10}"'
    else:
        right = end.x > start.x
        y = min(start.y + start.height // 2, end.y + end.height // 2)
        path = f"M{start.x + (BOX_WIDTH if right else 0)} {y}H{end.x + (0 if right else BOX_WIDTH)}"
        place = f'x="{(start.x + end.x + BOX_WIDTH) // 2}" y="{y - 6}" text-anchor="middle"'
    yield f'<path d="{path}" fill="none" stroke="{theme.line}" stroke-width="1.5" marker-end="url(#head)"/>'
    if label:
        yield f'<text {place} fill="{theme.faint}">{escape(label)}</text>'


if __name__ == "__main__":
    for name, diagram in DIAGRAMS.items():
        for scheme, theme in THEMES.items():
            (IMAGES / f"{name}-{scheme}.svg").write_text(draw(diagram, theme))
