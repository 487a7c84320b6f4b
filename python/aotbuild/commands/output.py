"""What commands print."""

from __future__ import annotations

import logging
import os
import warnings


def quieten() -> None:
    """Keeps other packages' warnings out of the build log; ``--verbose`` shows them."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of the processes that compile kernels
