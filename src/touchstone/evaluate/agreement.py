"""Agreement of annotators: Cohen's kappa, Fleiss' kappa and Krippendorff's alpha, per category,
from their label sets.

All are (observed - expected) / (1 - expected) in some form: 1 is perfect, 0 is chance, below 0 is
worse than chance. They differ in what chance is: Cohen keeps each annotator's own rates, Fleiss and
Krippendorff pool them; alpha also takes missing labels and corrects for few items (without that
correction it is Fleiss' kappa, which is how it is computed here). Cohen's is scikit-learn's, alpha
that of the package krippendorff. Nominal
categories throughout. Sources: Cohen 1960; Fleiss 1971; Krippendorff 2011 (Computing Krippendorff's
alpha-reliability). Undefined (NaN) where nobody ever varies: all labels the same leave no
disagreement to expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from touchstone.errors import UserError
from touchstone.evaluate.counts import indicators

MISSING = -1  # code of an item that an annotator did not label


def cohen_kappa(a: Sequence[Any], b: Sequence[Any]) -> float:
    """Return Cohen's kappa of two annotators over the items that both labelled.

    Parameters
    ----------
    a, b : labels of the same items, None where missing.

    Examples
    --------
    >>> one, two = ["y"] * 25 + ["n"] * 25, ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    >>> round(cohen_kappa(one, two), 3)
    0.4
    """
    from sklearn.metrics import cohen_kappa_score

    codes = _codes([a, b])
    first, second = codes[:, (codes != MISSING).all(axis=0)]
    if len(set(first.tolist()) | set(second.tolist())) < 2:
        return np.nan
    return float(cohen_kappa_score(first, second))


def fleiss_kappa(table: np.ndarray) -> float:
    """Return Fleiss' kappa.

    Parameters
    ----------
    table : int array (n_items, n_values): how many annotators gave each item each value; the same
        number for every item.

    Raises
    ------
    ValueError
        If the items were not all labelled by the same number of annotators, at least two.
    """
    table = np.asarray(table)
    if not len(table):
        return np.nan
    raters = table[0].sum()
    if raters < 2 or not np.all(table.sum(axis=1) == raters):
        raise ValueError(
            "Fleiss' kappa needs the same number of annotators, at least two, for every item"
        )
    n = table.sum()
    return float(1 - (1 - _alpha(table)) * n / (n - 1))


def krippendorff_alpha(annotators: Sequence[Sequence[Any]]) -> float:
    """Return Krippendorff's alpha for nominal labels.

    Parameters
    ----------
    annotators : for each annotator the label of every item, None where missing. Items with fewer
        than two labels do not count.
    """
    table = _value_counts(_codes(annotators))
    return _alpha(table[table.sum(axis=1) >= 2])


def _alpha(table: np.ndarray) -> float:
    """Return alpha from how many annotators gave each item each value; NaN where nobody varies."""
    import krippendorff

    if (table.sum(axis=0) > 0).sum() < 2:
        return np.nan
    return float(krippendorff.alpha(value_counts=table, level_of_measurement="nominal"))


def agreement(
    annotators: Mapping[str, Sequence[Sequence[str] | None]], categories: Sequence[str]
) -> pd.DataFrame:
    """Return the agreement on each category, on any/none and on the whole label set.

    Parameters
    ----------
    annotators : name -> label set of each item ([] is none, None is not labelled), the same items
        in the same order; at least two.
    categories : ids in the order of the tables.

    Returns
    -------
    DataFrame[category, measure, value, n]: category is an id (present or not), `any` (any category
    or none) or `label_set` (the set as one value); measure is `cohen_kappa` (mean over pairs of
    annotators), `fleiss_kappa` (items that all labelled), `krippendorff_alpha` (all items that two
    or more labelled) or `observed` (share of agreeing pairs); n is the number of items behind the
    value. NaN where undefined.

    Raises
    ------
    UserError
        If there are fewer than two annotators, or they did not go over the same items.
    """
    names = list(annotators)
    if len(names) < 2:
        raise UserError(f"agreement needs at least two annotators; found {len(names)}")
    lengths = {name: len(annotators[name]) for name in names}
    if len(set(lengths.values())) > 1:
        raise UserError(
            "annotators did not go over the same items: "
            f"{', '.join(f'{k} has {v}' for k, v in lengths.items())}"
        )
    present = {
        name: indicators(
            [labels if labels is not None else [] for labels in annotators[name]], categories
        )
        for name in names
    }
    given = {name: [labels is not None for labels in annotators[name]] for name in names}
    views: dict[str, list[list[Any]]] = {}
    for i, category in enumerate(categories):
        views[category] = [_or_none(present[name][:, i].tolist(), given[name]) for name in names]
    views["any"] = [_or_none(present[name].any(axis=1).tolist(), given[name]) for name in names]
    views["label_set"] = [
        _or_none([tuple(row) for row in present[name].tolist()], given[name]) for name in names
    ]
    rows = [row for category, view in views.items() for row in _measures(category, view)]
    return pd.DataFrame(rows, columns=["category", "measure", "value", "n"])


def _measures(category: str, view: list[list[Any]]) -> list[tuple[str, str, float, int]]:
    codes = _codes(view)
    labelled = (codes != MISSING).sum(axis=0)
    complete = _value_counts(codes[:, labelled == len(view)])
    pairs = [(a, b) for a, b in combinations(codes, 2)]
    kappas = [cohen_kappa(*(_decoded(labels) for labels in pair)) for pair in pairs]
    both = [(a != MISSING) & (b != MISSING) for a, b in pairs]
    agree = sum(int(((a == b) & kept).sum()) for (a, b), kept in zip(pairs, both, strict=True))
    n_pairs = sum(int(kept.sum()) for kept in both)
    n_two = int((labelled >= 2).sum())
    return [
        (category, "cohen_kappa", float(np.mean(kappas)), n_two),
        (category, "fleiss_kappa", fleiss_kappa(complete), len(complete)),
        (
            category,
            "krippendorff_alpha",
            krippendorff_alpha([_decoded(labels) for labels in codes]),
            n_two,
        ),
        (category, "observed", agree / n_pairs if n_pairs else np.nan, n_two),
    ]


def _codes(annotators: Sequence[Sequence[Any]]) -> np.ndarray:
    """Number the distinct labels in order of appearance: int array (n_annotators, n_items), MISSING
    where None."""
    number: dict[Any, int] = {}
    rows = [
        [MISSING if label is None else number.setdefault(label, len(number)) for label in labels]
        for labels in annotators
    ]
    return np.array(rows, dtype=int).reshape(len(rows), -1)


def _decoded(codes: np.ndarray) -> list[int | None]:
    return [None if code == MISSING else code for code in codes.tolist()]


def _value_counts(codes: np.ndarray) -> np.ndarray:
    """Count how many annotators gave each item each value: (n_items, n_values)."""
    values = np.arange(codes.max() + 1 if codes.size else 0)
    return (codes[:, :, None] == values).sum(axis=0)


def _or_none(values: Any, given: list[bool]) -> list[Any]:
    return [value if has else None for value, has in zip(values, given, strict=True)]
