"""Precision, recall and F1 from counts: per category, micro, macro and weighted, over any number of
resamples at once.

Conventions, the same for every system on a test set, so that no system can change what is averaged:
- P = TP / (TP + FP), R = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN); 0 where the denominator is
  0, as in scikit-learn.
- A category without gold examples in the (resampled) test set is undefined (NaN), and left out of
  macro and weighted averages. scikit-learn would count it as 0, which pulls resamples without a
  rare category down. Its false alarms still count in micro.
- macro_f1 is the mean of the categories' F1 (not the F1 of macro precision and recall); weighted is
  weighted by gold support.
- Several seeds: each seed is scored, then the scores are averaged.

Binary and relation tasks have one column, the positive class. Not here: which of these scores a
kind of task has and what they are called (`headline.py`), AUC (`auc.py`), intervals
(`intervals.py`), comparisons (`compare.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from touchstone.digest import digest
from touchstone.errors import UserError, no_such
from touchstone.evaluate.counts import FN, FP, TP, Counts, stack

METRICS = ("precision", "recall", "f1")
AVERAGES = ("macro", "micro", "weighted")
NONE = "none"


def columns(categories: Sequence[str]) -> pd.DataFrame:
    """Return what each position of the last axis of `scores` is: DataFrame[scope, category, metric,
    name].

    `scope` is macro, micro, weighted or category; `name` is `macro_f1`, `f1/cognitive_impairment`.
    """
    rows = [
        (average, "", metric, f"{average}_{metric}") for average in AVERAGES for metric in METRICS
    ]
    rows += [
        ("category", category, metric, f"{metric}/{safe(category)}")
        for category in categories
        for metric in METRICS
    ]
    return pd.DataFrame(rows, columns=["scope", "category", "metric", "name"])


def scores(totals: np.ndarray) -> np.ndarray:
    """Score summed counts.

    Parameters
    ----------
    totals : array of shape (..., n_categories, 3): TP, FP, FN; weighted sums over clusters are
        welcome.

    Returns
    -------
    array of shape (..., 3 * (3 + n_categories)) in the order of `columns`: values in [0, 1], NaN
    where undefined.
    """
    tp, fp, fn = (np.asarray(totals, dtype=float)[..., i] for i in (TP, FP, FN))
    support = tp + fn
    defined = support > 0
    per_category = _prf(tp, fp, fn)
    per_category[~defined] = 0.0  # for the sums; NaN again below
    n_defined = defined.sum(axis=-1)[..., None]
    total_support = support.sum(axis=-1)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):  # nothing defined: NaN
        macro = per_category.sum(axis=-2) / n_defined
        weighted = (per_category * support[..., None]).sum(axis=-2) / total_support
    micro = _prf(tp.sum(axis=-1), fp.sum(axis=-1), fn.sum(axis=-1))
    micro[total_support[..., 0] == 0] = np.nan
    per_category[~defined] = np.nan
    flat = per_category.reshape(*per_category.shape[:-2], -1)
    return np.concatenate([macro, micro, weighted, flat], axis=-1)


def seed_means(seed_scores: np.ndarray, axis: int) -> np.ndarray:
    """Average scores over seeds. Support is that of the test set, so a score is undefined for all
    seeds or for none."""
    return seed_scores.mean(axis=axis)


def score_table(seeds: Counts | Sequence[Counts]) -> pd.DataFrame:
    """Return all scores as DataFrame[scope, category, metric, value], averaged over seeds.

    Besides precision, recall and F1 each category has a row `support` (its gold examples in the
    test set); NaN is undefined.
    """
    seeds = as_seeds(seeds)
    table = columns(seeds[0].categories).drop(columns="name")
    table["value"] = seed_means(scores(stack(seeds).sum(axis=0)), axis=0)
    support = seeds[0].total[:, TP] + seeds[0].total[:, FN]
    rows = pd.DataFrame(
        {
            "scope": "category",
            "category": seeds[0].categories,
            "metric": "support",
            "value": support.astype(float),
        }
    )
    return pd.concat([table, rows], ignore_index=True)


def averaged(seeds: Counts | Sequence[Counts]) -> np.ndarray:
    """Return every score on the whole test set, averaged over seeds: (n_scores,), in the order of
    `columns`."""
    return seed_means(scores(stack(as_seeds(seeds)).sum(axis=0)), axis=0)


def named(seeds: Counts | Sequence[Counts]) -> dict[str, float]:
    """Return the scores of one way to count by their names in `columns`, averaged over seeds;
    undefined ones are left out.

    What a kind of task calls its scores stands in headline.py.
    """
    seeds = as_seeds(seeds)
    pairs = zip(columns(seeds[0].categories)["name"], averaged(seeds).tolist(), strict=True)
    return {name: value for name, value in pairs if not np.isnan(value)}


def confusion(true: Sequence[str], pred: Sequence[str], categories: Sequence[str]) -> pd.DataFrame:
    """Return the confusion matrix of a single-label task: rows are gold, columns are predicted,
    `none` last.

    Parameters
    ----------
    true, pred : primary category id of each example; `none`, '' and None all mean no category.
    categories : ids in the order of the tables; unknown labels raise UserError.
    """
    labels = [*categories, NONE]
    row = {label: i for i, label in enumerate(labels)}
    codes = []
    for names in (true, pred):
        names = [name if name else NONE for name in names]
        unknown = sorted(set(names) - set(row))
        if unknown:
            raise UserError(no_such("category", unknown[0], labels))
        codes.append(np.array([row[name] for name in names], dtype=int))
    n = len(labels)
    matrix = np.bincount(codes[0] * n + codes[1], minlength=n * n).reshape(n, n)
    return pd.DataFrame(
        matrix, index=pd.Index(labels, name="gold"), columns=pd.Index(labels, name="predicted")
    )


def trivial(true: np.ndarray, exclusive: bool = False) -> dict[str, np.ndarray]:
    """Return the predictions of systems that read nothing, for the rows that every table carries.

    Parameters
    ----------
    true : bool array (n_examples, n_categories) of the test set.
    exclusive : whether an example has at most one category (multi-class).

    Returns
    -------
    dict of bool arrays shaped like `true`: `always_positive`: every category on every example; for
        exclusive categories the most frequent one on every example. `majority_class`: what most
        examples have, taken from the test set itself and so the best such row: per category, or for
        exclusive categories the most frequent class, `none` included.
    """
    true = np.asarray(true, dtype=bool)
    if true.ndim == 1:
        true = true[:, None]
    if not exclusive:
        return {
            "always_positive": np.ones_like(true),
            "majority_class": np.broadcast_to(true.mean(axis=0) > 0.5, true.shape).copy(),
        }
    counts = true.sum(axis=0)
    always = np.zeros_like(true)
    always[:, counts.argmax()] = True
    majority = always.copy() if counts.max() > (~true.any(axis=1)).sum() else np.zeros_like(true)
    return {"always_positive": always, "majority_class": majority}


def as_seeds(seeds: Counts | Sequence[Counts]) -> Sequence[Counts]:
    """Return counts as a list of seeds: a single one stands for itself."""
    return [seeds] if isinstance(seeds, Counts) else list(seeds)


def safe(name: str) -> str:
    """Return a category id as part of a metric name: characters that MLflow refuses become `_`, and
    a few characters of the id's digest follow, so that two ids never share a name.

    >>> safe("cognitive_impairment"), safe("疾病")
    ('cognitive_impairment', '疾病')
    """
    plain = re.sub(r"[^\w\-. ]", "_", name)
    return plain if plain == name else f"{plain}-{digest(name)[:4]}"


def _prf(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """Stack precision, recall and F1 on a new last axis; 0 where the denominator is 0."""
    above = np.stack([tp, tp, 2 * tp], axis=-1)
    below = np.stack([tp + fp, tp + fn, 2 * tp + fp + fn], axis=-1)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
