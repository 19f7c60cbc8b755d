"""From a cell's predictions to its headline metrics and score tables.

Point estimates only; intervals and comparisons between cells are made from the same predictions by
report/.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from touchstone.evaluate import metrics
from touchstone.evaluate import predictions as rows
from touchstone.evaluate.auc import auc
from touchstone.evaluate.counts import indicators


def score(
    predictions: pd.DataFrame, categories: Sequence[str], kind: str
) -> tuple[dict[str, float], dict[str, pd.DataFrame]]:
    """Score the predictions of one cell.

    Parameters
    ----------
    predictions : one row per seed and test example, see `pipeline.Cell`.
    categories : scored categories, or entity types, in the order of the tables.
    kind : of the task.

    Returns
    -------
    metrics : name -> value, averaged over seeds; `macro_f1` is always there, and `macro_f1_sd` with
        several seeds.
    tables : `scores` (scope, category, metric, value), `seeds` (headline metrics of each seed),
        `trivial` (systems that read nothing; not for ner), `confusion` (multiclass: the first
        seed's).
    """
    values = headline(predictions, categories, kind)
    parts = rows.seeds_of(predictions)
    seeds = (
        {seed: headline(part, categories, kind) for seed, part in parts}
        if len(parts) > 1
        else {parts[0][0]: values}
    )
    tables = {
        "scores": metrics.score_table(rows.counts_of(predictions, kind, categories)),
        "seeds": pd.DataFrame(
            [
                {"seed": seed, "metric": name, "value": value}
                for seed, named in seeds.items()
                for name, value in named.items()
            ]
        ),
    }
    if len(seeds) > 1:
        values["macro_f1_sd"] = float(
            np.std([named["macro_f1"] for named in seeds.values()], ddof=1)
        )
    first = parts[0][1]
    if kind != "ner":
        tables["trivial"] = trivial(first, categories, kind)
    if kind == "multiclass":
        one = [
            [names[0] if len(names) else "" for names in first[side]] for side in ("true", "pred")
        ]
        tables["confusion"] = metrics.confusion(*one, categories).reset_index()
    return values, tables


def headline(predictions: pd.DataFrame, categories: Sequence[str], kind: str) -> dict[str, float]:
    """Return the metrics of the run list, averaged over seeds.

    binary and relation: precision, recall and f1 of the positive class, macro_f1 over both classes,
    accuracy, auc. multiclass and multilabel: macro, micro and weighted averages, per category, and
    the any/none view. ner: the same over entity types, strict; relaxed ones with the prefix
    `relaxed_`. With one type macro_f1 is its f1.
    """
    if kind in ("binary", "relation"):
        true, scores, _ = rows.scores_of(predictions, kind, categories[0])
        predicted = [
            np.array([len(names) > 0 for names in part["pred"]])
            for _, part in rows.seeds_of(predictions)
        ]
        areas = [auc(true, one) for one in scores]
        return metrics.binary_headline(true, predicted) | (
            {} if np.isnan(areas).any() else {"auc": float(np.mean(areas))}
        )
    strict = rows.counts_of(predictions, kind, categories)
    if kind == "ner":
        relaxed = metrics.headline(rows.counts_of(predictions, kind, categories, match="relaxed"))
        values = metrics.headline(strict) | {
            f"relaxed_{name}": value for name, value in relaxed.items()
        }
        return values | ({} if "macro_f1" in values else {"macro_f1": values.get("f1", 0.0)})
    return metrics.headline(strict, rows.any_counts_of(predictions))


def trivial(test: pd.DataFrame, categories: Sequence[str], kind: str) -> pd.DataFrame:
    """Score systems that read nothing on a test set: DataFrame[system, metric, value].

    Parameters
    ----------
    test : predictions of any one seed; only `true` and the ids are used.
    """
    true = indicators(list(test["true"]), categories)
    found = []
    for system, guessed in metrics.trivial(true, exclusive=kind == "multiclass").items():
        labels = [[categories[column] for column in np.flatnonzero(row)] for row in guessed]
        table = test.assign(pred=labels, score=guessed.astype(float).tolist())
        found += [
            {"system": system, "metric": name, "value": value}
            for name, value in headline(table, categories, kind).items()
        ]
    return pd.DataFrame(found)
