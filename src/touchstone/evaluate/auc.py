"""Area under the ROC curve: the chance that a positive example scores higher than a negative one; a
tie counts one half.

By average ranks, and for many weightings of the clusters at once (the clustered bootstrap), without
sorting again: the examples are sorted once, each resample is a row of weights. Source: Hanley and
McNeil 1982; ties as in Mann and Whitney 1947. Does not draw the resamples (`intervals.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHUNK = 1 << 22  # weights held at once, in numbers: 32 MiB of float64


def auc(true: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the ROC curve, in [0, 1]; 0.5 is chance, NaN where a class is absent.

    Parameters
    ----------
    true : int or bool array of shape (n_examples,).
    score : float array of shape (n_examples,): higher means more likely positive; only the order
        counts.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    true = np.asarray(true, dtype=bool)
    return float(weighted_auc(true, score, np.arange(len(true)), np.ones((1, len(true))))[0])


def weighted_auc(
    true: np.ndarray, score: np.ndarray, codes: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the AUC under each row of cluster weights.

    Parameters
    ----------
    true : bool array of shape (n_examples,).
    score : float array of shape (n_examples,).
    codes : int array of shape (n_examples,): the cluster of each example.
    weights : array of shape (n_resamples, n_clusters): how often each cluster was drawn.

    Returns
    -------
    float array of shape (n_resamples,); NaN where a resample holds one class only.
    """
    true, score = np.asarray(true, dtype=bool), np.asarray(score, dtype=float)
    order = np.argsort(score, kind="stable")
    codes, true = np.asarray(codes)[order], true[order]
    ties = (
        np.concatenate([[True], np.diff(score[order]) > 0])
        if len(order)
        else np.zeros(0, dtype=bool)
    )
    starts = np.flatnonzero(ties)  # first example of each distinct score
    rows = max(1, CHUNK // max(1, len(true)))
    return np.concatenate(
        [_auc_of(true, codes, starts, weights[i : i + rows]) for i in range(0, len(weights), rows)]
    )


def seed_aucs(
    true: np.ndarray, seed_scores: Sequence[np.ndarray], codes: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the AUC of each seed under each row of cluster weights, shape (n_resamples, n_seeds);
    see `weighted_auc`."""
    return np.stack([weighted_auc(true, score, codes, weights) for score in seed_scores], axis=1)


def _auc_of(
    true: np.ndarray, codes: np.ndarray, starts: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    if not len(starts):
        return np.full(len(weights), np.nan)
    drawn = weights[:, codes].astype(float)
    positive = np.add.reduceat(drawn * true, starts, axis=1)
    negative = np.add.reduceat(drawn * ~true, starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    won = (positive * (below + negative / 2)).sum(axis=1)
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
