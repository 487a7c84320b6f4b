"""Classifies sentences of word numbers; needs NumPy and no PyTorch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sentiment._classifier import Classifier

_classifier = Classifier()


def probabilities(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The probability of each class for each row of ``ids``."""
    return _classifier(ids)["probabilities"]
