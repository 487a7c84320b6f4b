"""Pictures of shapes, to train on and to try: python shapes.py writes circle.ppm, square.ppm and triangle.ppm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

NAMES = ("circle", "square", "triangle")


def draw(name: str, height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One shape of a random place, size and colour, uint8 [height, width, 3]."""
    radius = rng.uniform(0.2, 0.4) * min(height, width)
    row, column = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
    down = (np.arange(height)[:, None] + 0.5 - row) / radius
    right = (np.arange(width)[None, :] + 0.5 - column) / radius
    inside = {
        "circle": down**2 + right**2 < 1,
        "square": (abs(down) < 0.8) & (abs(right) < 0.8),
        "triangle": (down < 0.8) & (2 * abs(right) < down + 1),
    }[name]
    dark, light = rng.integers(0, 100, 3), rng.integers(150, 256, 3)
    noise = rng.integers(-15, 16, (height, width, 3))
    return np.clip(np.where(inside[:, :, None], light, dark) + noise, 0, 255).astype(np.uint8)


def write_ppm(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    height, width, _ = picture.shape
    path.write_bytes(b"P6\n%d %d\n255\n" % (width, height) + picture.tobytes())


if __name__ == "__main__":
    for number, name in enumerate(NAMES):
        write_ppm(Path(__file__).with_name(f"{name}.ppm"), draw(name, 48, 64, np.random.default_rng(number + 100)))
