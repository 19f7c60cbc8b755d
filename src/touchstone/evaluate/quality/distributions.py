"""Lengths and categories of a source against gold: the plain facts about a data set, as rows and
for the figures.

Sentences with several categories count in each; in a category distribution they count once for each
label, `none` is a category.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from touchstone.evaluate.quality.diversity import words
from touchstone.taxonomy import NONE

ALL = "all"  # the scope that is every sentence of a source


def label_sets(frame: pd.DataFrame) -> list[set[str]]:
    """Return the categories of each example: its labels, or the types of its spans."""
    return [
        set(labels) | {span["type"] for span in spans}
        for labels, spans in zip(frame["labels"], frame["spans"], strict=True)
    ]


def masks(labels: Sequence[set[str]], categories: Sequence[str]) -> dict[str, np.ndarray]:
    """Return which examples belong to each scope: `all`, every category, `none`; bool arrays of
    shape (n_examples,)."""
    out = {ALL: np.ones(len(labels), dtype=bool)}
    out |= {
        category: np.array([category in names for names in labels], dtype=bool)
        for category in categories
    }
    return out | {NONE: np.array([not names for names in labels], dtype=bool)}


def lengths(frame: pd.DataFrame) -> np.ndarray:
    """Return the number of words of each example."""
    return np.array([len(words(text)) for text in frame["text"]], dtype=int)


def category_distribution(labels: Sequence[set[str]], categories: Sequence[str]) -> np.ndarray:
    """Return the share of each category, `none` last: (n_categories + 1,), summing to 1 (zeros for
    an empty table)."""
    counts = np.array(
        [mask.sum() for scope, mask in masks(labels, categories).items() if scope != ALL],
        dtype=float,
    )
    return counts / max(counts.sum(), 1)


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Return the Jensen-Shannon divergence of two distributions in bits: 0 is the same, 1 is
    nothing in common.

    The mean Kullback-Leibler divergence of both from their mixture (Lin 1991); not its square root,
    which scipy returns.
    """
    middle = (p + q) / 2
    if not p.sum() or not q.sum():
        return np.nan
    return float(
        sum(
            (side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum() / 2
            for side in (p, q)
        )
    )


def length_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Kolmogorov-Smirnov distance of two samples: the largest gap of their cumulative
    shares, in [0, 1]."""
    if not len(a) or not len(b):
        return np.nan
    at = np.union1d(a, b)
    return float(
        np.abs(
            np.searchsorted(np.sort(a), at, side="right") / len(a)
            - np.searchsorted(np.sort(b), at, side="right") / len(b)
        ).max()
    )
