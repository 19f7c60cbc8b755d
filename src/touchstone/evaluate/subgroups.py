"""Scores by subgroup: sex, service, age band, or whatever column of the gold names them.

The main score of each subgroup with its interval over patients, and its gap to the other subgroups'
best. A subgroup with fewer than `FEWEST` patients is named and not scored: an interval over a
handful of people says nothing. Does not test differences (evaluate/compare.py does, between
mixtures).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from touchstone.evaluate.headline import headline
from touchstone.evaluate.intervals import bounds, resamples

FEWEST = 5  # patients
RESAMPLES = 500
COLUMNS = (
    "field", "group", "n_patients", "n_sentences", "metric", "value", "low", "high", "gap", "note",
)  # fmt: skip


def subgroup_table(
    predictions: pd.DataFrame,
    subgroups: Sequence[str],
    names: Sequence[str],
    categories: Sequence[str],
    kind: str,
    metric: str = "macro_f1",
) -> pd.DataFrame:
    """Score each subgroup.

    Parameters
    ----------
    predictions : see `pipeline.Cell`, several seeds.
    subgroups : for each row of `predictions`, its values as JSON (data/examples.py).
    names : the columns to tell apart.
    metric : of `headline.headline`.

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
            _row(predictions[groups == group], name, group, categories, kind, metric)
            for group in sorted(set(groups))
        ]
        scored = [row["value"] for row in found if not np.isnan(row["value"])]
        for row in found:
            row["gap"] = max(scored) - row["value"] if scored else np.nan
        rows += found
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
    part: pd.DataFrame,
    name: str,
    group: str,
    categories: Sequence[str],
    kind: str,
    metric: str,
) -> dict[str, object]:
    patients = part["patient_id"].nunique()
    row: dict[str, object] = {
        "field": name,
        "group": group or "(not known)",
        "n_patients": patients,
        "n_sentences": part["example_id"].nunique(),
        "metric": metric,
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
    value = headline(part, categories, kind)[metric]
    by_patient = dict(list(part.groupby("patient_id", sort=True)))
    weights = resamples(patients, RESAMPLES, np.random.default_rng(0))
    draws = np.array([_drawn(by_patient, weight, categories, kind, metric) for weight in weights])
    low, high = bounds(draws[:, None], patients)
    return row | {"value": value, "low": float(low[0]), "high": float(high[0])}


def _drawn(
    by_patient: dict[str, pd.DataFrame],
    weight: np.ndarray,
    categories: Sequence[str],
    kind: str,
    metric: str,
) -> float:
    parts = []
    for number, (frame, times) in enumerate(zip(by_patient.values(), weight, strict=True)):
        for copy in range(times):
            parts.append(
                frame.assign(
                    example_id=[f"{copy}|{one}" for one in frame["example_id"]],
                    patient_id=f"{number}|{copy}",
                )
            )
    return headline(pd.concat(parts, ignore_index=True), categories, kind)[metric]
