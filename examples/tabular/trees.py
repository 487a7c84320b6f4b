"""Gradient boosted trees of scikit-learn as tensors: all trees of all rows take a step down at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from homes import COLUMNS, homes
from sklearn.ensemble import GradientBoostingRegressor
from torch import Tensor, nn

import aotbuild

DEPTH = 4


class Trees(nn.Module):
    """Features, float32 [rows, columns], to predictions, float32 [rows]."""

    def __init__(self, trees: Sequence[Any], rate: float, start: float) -> None:
        super().__init__()
        self.rate, self.start = rate, start
        nodes = max(tree.node_count for tree in trees)
        # A leaf leads to itself.
        left, right = (np.tile(np.arange(nodes), (len(trees), 1)) for _ in range(2))
        column, threshold, value = (np.zeros((len(trees), nodes)) for _ in range(3))
        for row, tree in enumerate(trees):
            inner = np.flatnonzero(tree.children_left >= 0)
            left[row, inner], right[row, inner] = tree.children_left[inner], tree.children_right[inner]
            column[row, inner], threshold[row, inner] = tree.feature[inner], tree.threshold[inner]
            value[row, : tree.node_count] = tree.value[:, 0, 0]
        first = nodes * np.arange(len(trees))  # a node's number among those of all trees
        self.register_buffer("first", torch.from_numpy(first))
        self.register_buffer("left", torch.from_numpy(left + first[:, None]).flatten())
        self.register_buffer("right", torch.from_numpy(right + first[:, None]).flatten())
        self.register_buffer("column", torch.from_numpy(column.astype(np.int64)).flatten())
        self.register_buffer("threshold", torch.from_numpy(rounded_down(threshold)).flatten())
        self.register_buffer("value", torch.from_numpy(value.astype(np.float32)).flatten())

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        node = self.first.expand(features.shape[0], -1)
        for _ in range(DEPTH):
            goes_left = features.gather(1, self.column[node]) <= self.threshold[node]
            node = torch.where(goes_left, self.left[node], self.right[node])
        return {"prices": self.start + self.rate * self.value[node].sum(1)}


def rounded_down(thresholds: Any) -> Any:
    """What float32 values are compared with: scikit-learn compares them with float64 thresholds."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def build() -> aotbuild.Model:
    features, prices = homes(2000, seed=0)
    learned = GradientBoostingRegressor(n_estimators=100, max_depth=DEPTH, random_state=0).fit(features, prices)
    model = Trees([tree.tree_ for tree in learned.estimators_[:, 0]], learned.learning_rate, float(prices.mean()))
    others, _ = homes(64, seed=2)
    predicted = model(torch.from_numpy(others))["prices"]
    torch.testing.assert_close(predicted, torch.from_numpy(learned.predict(others)).float(), rtol=1e-5, atol=1e-3)
    rows = torch.export.Dim("rows", min=1, max=100_000)
    return aotbuild.Model(model, (torch.ones(2, len(COLUMNS)),), dynamic_shapes={"features": {0: rows}})
