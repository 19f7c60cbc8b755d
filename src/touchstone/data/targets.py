"""From example tables to what classifiers learn and back, for each kind of task.

binary and relation: 1 where the sentence has a category. multiclass: 0 for none, i for the i-th
category in taxonomy order, taken from the primary label. multilabel: an indicator row. ner: the
spans themselves. Does not score anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from touchstone.taxonomy import NONE, Taxonomy


def categories(kind: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    """Return the categories that are scored: one for binary tasks, else those of the taxonomy in
    table order."""
    return (taxonomy.positive_name,) if kind == "binary" else taxonomy.ids


def n_classes(kind: str, taxonomy: Taxonomy) -> int:
    """Return how many columns a classifier's scores have: 2 for binary and relation, categories +
    none for multiclass, else categories."""
    return {"binary": 2, "relation": 2, "multiclass": len(taxonomy.ids) + 1}.get(
        kind, len(taxonomy.ids)
    )


def encode(frame: pd.DataFrame, taxonomy: Taxonomy, kind: str) -> Any:
    """Return the target of each row: int array (n,), indicator array (n, k), or for ner a list of
    span lists."""
    if kind == "ner":
        return [list(spans) for spans in frame["spans"]]
    if kind in ("binary", "relation"):
        return np.array([int(bool(len(labels))) for labels in frame["labels"]], dtype=int)
    if kind == "multiclass":
        index = {name: number for number, name in enumerate((NONE, *taxonomy.ids))}
        return np.array([index[taxonomy.primary(labels)] for labels in frame["labels"]], dtype=int)
    column = {name: number for number, name in enumerate(taxonomy.ids)}
    target = np.zeros((len(frame), len(column)), dtype=int)
    for row, labels in enumerate(frame["labels"]):
        target[row, [column[label] for label in labels]] = 1
    return target


def decode(target: Any, taxonomy: Taxonomy, kind: str) -> list[list[Any]]:
    """Return the predictions table's form of a target: lists of scored categories, or for ner of
    spans."""
    if kind == "ner":
        return [list(spans) for spans in target]
    names = categories(kind, taxonomy)
    if kind in ("binary", "relation"):
        return [[names[0]] if value else [] for value in target]
    if kind == "multiclass":
        return [[names[value - 1]] if value else [] for value in target]
    return [[names[column] for column in np.flatnonzero(row)] for row in target]


def category_scores(probabilities: np.ndarray, kind: str) -> np.ndarray:
    """Return one score per scored category, shape (n, n_categories): the positive class for
    two-class tasks, without none for multiclass."""
    return probabilities[:, 1:] if kind in ("binary", "relation", "multiclass") else probabilities


def unseen(target: Any, taxonomy: Taxonomy, kind: str) -> list[str]:
    """Return the categories that no training example has: a classifier can never predict them."""
    present = {label for labels in decode(target, taxonomy, kind) for label in _names(labels)}
    return [name for name in categories(kind, taxonomy) if name not in present]


def _names(labels: Sequence[Any]) -> list[str]:
    return [label["type"] if isinstance(label, dict) else label for label in labels]
