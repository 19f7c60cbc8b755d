"""Draw synthetic sentences so that they follow gold's distribution of categories and lengths.

Li, Wang, Yu 2023 find that LLM-written sentences differ from real ones in length and in their
categories; here that difference is switched off by sampling, to see what it costs. Does not change
a sentence, and does not weigh: what does not fit is left out (mixture.py counts it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from touchstone.controls import rarest_labels

BINS = 5  # of length: fifths of gold's sentences by their number of words
MET = 0.9  # share of the sample that must be found in its own cell; the rest is what is lacking


def matching(frame: pd.DataFrame, gold: pd.DataFrame, method: str, seed: int) -> np.ndarray:
    """Return the positions of a sample of `frame` that follows `gold`'s training distribution.

    A cell is a category (of several the rarest in the table; none is one), a fifth of gold's
    lengths, or both. Where p(cell) is its share in gold and n(cell) the number of sentences there
    are, the sample takes min(n(cell), m p(cell)) of each cell, with the largest m for which at
    least nine tenths of m are found. Cells that gold lacks are left out, cells that `frame` lacks
    are not filled.

    Parameters
    ----------
    frame : n example rows of one synthetic source.
    gold : example rows of the training gold.
    method : `labels`, `lengths`, `both`, or `uniform`: every category in equal number, whatever
        gold has.
    seed : of the draw within each cell.

    Returns
    -------
    int array, ascending.
    """
    cells = _cells(frame, gold, method)
    counts = Counter(cells)
    if method == "uniform":
        share = {cell: 1 / len(counts) for cell in counts}
    else:
        shares = Counter(cell for cell in _cells(gold, gold, method) if cell in counts)
        share = {cell: n / max(1, shares.total()) for cell, n in shares.items()}
    size = _largest(share, counts)
    order = np.random.default_rng([seed, 8]).permutation(len(frame))
    taken: Counter[str] = Counter()
    positions = []
    for position in order.tolist():
        cell = cells[position]
        if taken[cell] < round(size * share.get(cell, 0.0)):
            taken[cell] += 1
            positions.append(position)
    return np.sort(np.array(positions, dtype=int))


def _largest(share: dict[str, float], counts: Counter[str]) -> int:
    """Return the largest sample of which at least `MET` is found in its cells."""
    sizes = range(1, sum(counts.values()) + 1)
    found = [
        size
        for size in sizes
        if sum(min(counts[cell], size * part) for cell, part in share.items()) >= MET * size
    ]
    return max(found, default=0)


def _cells(frame: pd.DataFrame, gold: pd.DataFrame, method: str) -> list[str]:
    labels = rarest_labels(frame) if method != "lengths" else [""] * len(frame)
    if method in ("labels", "uniform"):
        return labels
    edges = np.quantile(_words(gold["text"]), np.linspace(0, 1, BINS + 1)[1:-1])
    bins = np.searchsorted(edges, _words(frame["text"]), side="left")
    return [f"{label}/{length}" for label, length in zip(labels, bins.tolist(), strict=True)]


def _words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]
