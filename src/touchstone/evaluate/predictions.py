"""From the predictions table of a cell to counts, one per seed.

The table (a run's `predictions.parquet`) has the columns seed, example_id, doc_id, patient_id,
true, pred (lists of category ids, or of spans) and score (one number per category). Everything in
the published tables can be computed again from it alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from touchstone.errors import UserError
from touchstone.evaluate.counts import Counts, both_classes, from_indicators, from_spans, indicators

COLUMNS = ("seed", "example_id", "doc_id", "patient_id", "true", "pred", "score")


def counts_of(
    predictions: pd.DataFrame,
    kind: str,
    categories: Sequence[str],
    match: str = "strict",
    unit: str = "patient_id",
) -> list[Counts]:
    """Return the counts of each seed, in the order of the seeds.

    Parameters
    ----------
    predictions : table with `COLUMNS`.
    kind : binary, relation (one column: `categories[0]`, for binary tasks true where there is any
        label), multiclass, multilabel or ner.
    categories : ids, or entity types, in the order of the tables.
    match : `strict` or `relaxed`; NER only.
    unit : column of the clusters.

    Raises
    ------
    UserError If the seeds do not cover the same examples, a label is unknown, an example has no
        unit, or a multi-class example has more than one label.
    """
    out = []
    for _, rows in seeds_of(predictions):
        ids, clusters = rows["example_id"].tolist(), rows[unit].tolist()
        if kind == "ner":
            out.append(from_spans(rows["true"], rows["pred"], clusters, categories, match, ids))
        else:
            true, pred = (
                _indicators(rows[side], kind, categories, ids) for side in ("true", "pred")
            )
            out.append(from_indicators(true, pred, clusters, categories[: true.shape[1]], ids))
    return out


def view_of(
    predictions: pd.DataFrame, kind: str, categories: Sequence[str], view: str
) -> list[Counts]:
    """Return the counts of each seed in one view.

    Parameters
    ----------
    view : `main` (strict spans, the positive class, or the categories), `relaxed` (overlapping
        spans), `any` (any category or none), `classes` (both classes of a binary task).
    """
    if view == "any":
        return any_counts_of(predictions)
    if view == "classes":
        return class_counts_of(predictions, kind, categories[0])
    match = "relaxed" if view == "relaxed" else "strict"
    return counts_of(predictions, kind, categories, match)


def any_counts_of(predictions: pd.DataFrame, unit: str = "patient_id") -> list[Counts]:
    """Return the counts of the binary any/none view of category predictions, one column named
    `any`, for each seed."""
    return counts_of(predictions, "binary", ["any"], unit=unit)


def class_counts_of(
    predictions: pd.DataFrame, kind: str, category: str, unit: str = "patient_id"
) -> list[Counts]:
    """Return the counts of both classes of a binary or relation task, columns `negative` and
    `positive`, for each seed.

    Their macro-F1 is the macro-F1 over both classes, their micro-F1 is accuracy.
    """
    out = []
    for _, rows in seeds_of(predictions):
        ids = rows["example_id"].tolist()
        true, pred = (
            both_classes(_indicators(rows[side], kind, [category], ids))
            for side in ("true", "pred")
        )
        out.append(from_indicators(true, pred, rows[unit].tolist(), ["negative", "positive"], ids))
    return out


def scores_of(
    predictions: pd.DataFrame, kind: str, category: str, column: int = 0, unit: str = "patient_id"
) -> tuple[np.ndarray, list[np.ndarray], list[str]]:
    """Return what AUC needs for one category: true (n,), one score array (n,) per seed, and the
    cluster of each example."""
    groups = seeds_of(predictions)
    first = groups[0][1]
    true = indicators(
        [[label for label in labels if label == category] for labels in first["true"]], [category]
    )[:, 0]
    if kind == "binary":
        true = np.array([len(labels) > 0 for labels in first["true"]])
    return (
        true,
        [np.array([score[column] for score in rows["score"]], dtype=float) for _, rows in groups],
        first[unit].tolist(),
    )


def seeds_of(predictions: pd.DataFrame) -> list[tuple[int, pd.DataFrame]]:
    """Return (seed, its rows ordered by example id) for each seed.

    Raises
    ------
    UserError
        If the table is empty, or the seeds do not cover the same examples.
    """
    groups = [
        (int(seed), rows.sort_values("example_id", kind="stable"))
        for seed, rows in predictions.groupby("seed", sort=True)
    ]
    if not groups:
        raise UserError("the predictions table is empty")
    ids = groups[0][1]["example_id"].tolist()
    for seed, rows in groups[1:]:
        if rows["example_id"].tolist() != ids:
            raise UserError(
                f"seeds {groups[0][0]} and {seed} do not predict the same examples; they cannot "
                "be averaged"
            )
    return groups


def _indicators(
    labels: pd.Series, kind: str, categories: Sequence[str], ids: Sequence[str]
) -> np.ndarray:
    if kind == "binary":
        return np.array([len(names) > 0 for names in labels], dtype=bool)[:, None]
    if kind == "relation":
        return np.array([categories[0] in list(names) for names in labels], dtype=bool)[:, None]
    if kind == "multiclass":
        for name, names in zip(ids, labels, strict=True):
            if len(names) > 1:
                raise UserError(
                    f"example {name}: {len(names)} labels in a multi-class task; write the "
                    "primary one only"
                )
    return indicators(list(labels), categories)
