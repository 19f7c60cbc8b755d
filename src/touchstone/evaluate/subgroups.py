"""Scores by subgroup: sex, service, age band, or whatever column of the gold names them.

Macro-F1 of each subgroup with its interval over patients, and its gap to the other subgroups'
best. A subgroup with fewer than `FEWEST` patients is named and not scored: an interval over a
handful of people says nothing. Does not test differences (evaluate/compare.py does, between
mixtures).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from touchstone.evaluate import predictions as read
from touchstone.evaluate.intervals import intervals
from touchstone.evaluate.metrics import safe

FEWEST = 5  # patients
COLUMNS = (
    "field", "group", "n_patients", "n_sentences", "metric", "value", "low", "high", "gap", "note",
)  # fmt: skip


def subgroup_table(
    predictions: pd.DataFrame,
    subgroups: Sequence[str],
    names: Sequence[str],
    categories: Sequence[str],
    kind: str,
) -> pd.DataFrame:
    """Score each subgroup.

    Parameters
    ----------
    predictions : see `pipeline.Cell`, several seeds.
    subgroups : for each row of `predictions`, its values as JSON (data/examples.py).
    names : the columns to tell apart.

    Returns
    -------
    DataFrame of `COLUMNS`: one row a field and group. `gap` is the best group's value of the field
    minus this one's, at least 0. Where a group is empty of patients or too small, `value` is NaN
    and `note` says why.
    """
    values = [json.loads(one) if one else {} for one in subgroups]
    rows = []
    for name in names:
        groups = np.array([str(one.get(name, "")) for one in values], dtype=object)
        found = [
            _row(predictions[groups == group], name, group, categories, kind)
            for group in sorted(set(groups))
        ]
        scored = [row["value"] for row in found if not np.isnan(row["value"])]
        for row in found:
            row["gap"] = max(scored) - row["value"] if scored else np.nan
        rows += found
    return pd.DataFrame(rows, columns=list(COLUMNS))


def subgroup_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Return the scored groups as metrics: `subgroup/sex/F/macro_f1`, and `subgroup/sex/gap`, the
    largest gap between the groups of a field."""
    scored = table[table["value"].notna()]
    metrics = {
        f"subgroup/{safe(row.field)}/{safe(row.group)}/macro_f1": row.value
        for row in scored.itertuples(index=False)
    }
    gaps = scored.groupby("field")["gap"].max()
    return metrics | {f"subgroup/{safe(str(field))}/gap": float(gap) for field, gap in gaps.items()}


def _row(
    part: pd.DataFrame,
    name: str,
    group: str,
    categories: Sequence[str],
    kind: str,
) -> dict[str, Any]:
    patients = part["patient_id"].nunique()
    row: dict[str, Any] = {
        "field": name,
        "group": group or "(not known)",
        "n_patients": patients,
        "n_sentences": part["example_id"].nunique(),
        "metric": "macro_f1",
        "value": np.nan,
        "low": np.nan,
        "high": np.nan,
        "note": "",
    }
    present = {
        one["type"] if isinstance(one, dict) else one for labels in part["true"] for one in labels
    }
    if patients < FEWEST:
        return row | {"note": f"fewer than {FEWEST} patients: not scored"}
    if not present:
        return row | {"note": "no sentence with a category: not scored"}
    if kind in ("binary", "relation"):
        counts = read.class_counts_of(part, kind, categories[0])
    else:
        counts = read.counts_of(part, kind, categories)
    scores = intervals(counts, rng=np.random.default_rng(0))
    macro = scores[(scores["scope"] == "macro") & (scores["metric"] == "f1")].iloc[0]
    return row | {name: float(macro[name]) for name in ("value", "low", "high")}
