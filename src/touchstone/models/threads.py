"""One thread count for everything that computes: the number changes the bits of a sum, so it
belongs to the cell.

Sets what is loaded already (torch, BLAS, OpenMP) and what will be loaded later (through the
environment that those libraries read when they start). Loads none of them.
"""

from __future__ import annotations

import os
import sys

# Read by BLAS and OpenMP when they are loaded, and by the Hugging Face tokenizers when they first
# run.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def limit_threads(n: int) -> None:
    """Let torch, BLAS, OpenMP and the tokenizers use `n` threads from here on, whether they are
    loaded yet or not.

    Parameters
    ----------
    n : at least 1. Estimators that use torch call this again in `fit` and `predict`, since torch
        may have come later.
    """
    if n < 1:
        raise ValueError(f"threads must be at least 1, got {n}")
    for name in VARIABLES:
        os.environ[name] = str(n)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(n)
