"""The training sentences whose gold labels are not used: the pool of corpora that bring no other
text.

They are sentences already, so nothing is read or segmented, and their labels are not looked at.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from touchstone.data.pool import COLUMNS, marked
from touchstone.schema import PoolFiles

POOL_KEYS = ("reserve", "max_notes", "candidates")


def sentences(frame: pd.DataFrame, pool: PoolFiles, seed: int) -> pd.DataFrame:
    """Return examples as pool sentences, without their labels; `pool.max_notes` samples
    documents."""
    if pool.max_notes is not None:
        documents = sorted(frame["doc_id"].unique())
        chosen = np.random.default_rng([seed, 3]).permutation(len(documents))[: pool.max_notes]
        frame = frame[frame["doc_id"].isin([documents[index] for index in chosen])]
    return marked(frame[list(COLUMNS[:-1])].reset_index(drop=True), pool.candidates)
