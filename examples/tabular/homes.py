"""The table that the example learns from, made up: python homes.py writes homes.csv, eight other homes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

COLUMNS = ("area", "rooms", "built", "garden", "distance")


def homes(count: int, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Square metres, rooms, the year, 1 for a garden, kilometres to the centre: [count, 5]. Prices in thousands."""
    rng = np.random.default_rng(seed)
    area = rng.integers(25, 180, count)
    rooms = np.clip(area // 25 + rng.integers(-1, 2, count), 1, 8)
    built, garden, distance = rng.integers(1900, 2024, count), rng.integers(0, 2, count), rng.integers(1, 30, count)
    price = area * (4 - 0.08 * distance) + 30 * garden + 0.5 * (built - 1900) + 5 * rooms
    return np.stack([area, rooms, built, garden, distance], 1).astype(np.float32), price.astype(np.float32)


if __name__ == "__main__":
    with Path(__file__).with_name("homes.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(homes(8, seed=1)[0].astype(int).tolist())
