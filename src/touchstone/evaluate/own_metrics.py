"""Scores of the user's own: `metrics: [my_metrics.specificity]`, functions of (true, predicted).

    def specificity(true, predicted):
        negatives = [row for row, labels in enumerate(true) if not labels]
        return sum(not predicted[row] for row in negatives) / len(negatives)

Both are lists with an entry for each test sentence: the list of its categories, or for entities of
its spans. They get what the built-in scores get: the mean over repetitions, intervals by bootstrap
over patients, and the paired permutation test by patients, where up to `EXACT` patients on which
two systems differ are enumerated. A function is called once for each resample, so fewer are drawn
than for counts (intervals.py). A value that is undefined (NaN) in a resample is left out of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from touchstone import plugins
from touchstone.errors import UserError
from touchstone.evaluate import predictions as rows
from touchstone.evaluate.metrics import safe

KEY = "metrics"
RESAMPLES = 500
EXACT = 10  # 2 ** 9 swaps
SWAPS = 999


@dataclass(frozen=True)
class Metric:
    """A score of the user's: its name in MLflow and tables, where it is from, and the function."""

    name: str
    path: str
    function: Callable[[list[Any], list[Any]], float]
    restricted: bool = False

    def __call__(self, true: list[Any], predicted: list[Any]) -> float:
        """Return the score of predictions; NaN where it is undefined.

        Raises
        ------
        UserError
            If the function fails or gives no number.
        """
        with plugins.blaming(KEY, self.path, withheld=self.restricted):
            value = self.function(true, predicted)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise UserError(
                f"{KEY}={self.path}: must return a number, not {type(value).__name__}"
            ) from None


def metrics_of(paths: Sequence[str], *, restricted: bool = False) -> tuple[Metric, ...]:
    """Return the scores that `metrics` names.

    Raises
    ------
    UserError
        If one is not there, is no function, or two have the same name.
    """
    found: dict[str, Metric] = {}
    for path in paths:
        function = plugins.load_path(KEY, path)
        if not callable(function):
            raise UserError(f"{KEY}={path}: must be a function, not {type(function).__name__}")
        name = safe(path.replace(":", ".").rpartition(".")[2])
        if name in found:
            raise UserError(f"{KEY}={path}: {found[name].path} has the name {name} too; rename one")
        found[name] = Metric(name, path, function, restricted)
    return tuple(found.values())


def value_of(metric: Metric, predictions: pd.DataFrame) -> float:
    """Return the score of a cell's predictions, averaged over repetitions; NaN if undefined."""
    return float(np.mean([_score(metric, part) for _, part in rows.seeds_of(predictions)]))


def interval_of(
    metric: Metric,
    predictions: pd.DataFrame,
    *,
    seed: int = 0,
    unit: str = "patient_id",
    level: float = 0.95,
    n_resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Return the bounds of a score's interval, by bootstrap over clusters and repetitions.

    Clusters are drawn as for the built-in scores, with the expanded percentile interval; see
    intervals.py for what it covers and its source. NaN where the score is undefined.
    """
    from touchstone.evaluate.intervals import tail

    parts = [part for _, part in rows.seeds_of(predictions)]
    members = _members(parts[0], unit)
    rng = np.random.default_rng([seed, 11])
    draws = np.empty(n_resamples)
    for number in range(n_resamples):
        chosen = _resample(members, rng)
        scores = [_score(metric, part.iloc[chosen]) for part in parts]
        draws[number] = np.mean(scores) + _deviation(scores, rng)
    if np.isnan(draws).all():
        return math.nan, math.nan
    outside = tail(len(members), level)
    low, high = np.nanquantile(draws, [outside, 1 - outside])
    return float(low), float(high)


def change_of(
    metric: Metric,
    baseline: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    seed: int = 0,
    unit: str = "patient_id",
    level: float = 0.95,
    n_resamples: int = RESAMPLES,
) -> dict[str, float]:
    """Compare two cells on the same test set: `difference`, `low`, `high` and `p`.

    The difference is that of the means over repetitions, its interval is by paired bootstrap over
    clusters, p by the two-sided permutation test that swaps the systems for a whole cluster. Not
    corrected for several comparisons.

    Raises
    ------
    UserError
        If they are not of the same test examples.
    """
    from touchstone.evaluate.intervals import tail

    a, b = _paired(baseline, predictions)
    members = _members(a[0], unit)
    rng = np.random.default_rng([seed, 12])
    seen = _difference(metric, a, b)
    draws = np.empty(n_resamples)
    for number in range(n_resamples):
        chosen = _resample(members, rng)
        draws[number] = _difference(
            metric, [part.iloc[chosen] for part in a], [part.iloc[chosen] for part in b]
        )
    outside = tail(len(members), level)
    low, high = (
        np.nanquantile(draws, [outside, 1 - outside])
        if not np.isnan(draws).all()
        else (math.nan, math.nan)
    )
    p = _permutation(metric, a, b, members, seen, rng)
    return {"difference": seen, "low": float(low), "high": float(high), "p": p}


def _score(metric: Metric, part: pd.DataFrame) -> float:
    return metric(
        [list(labels) for labels in part["true"]], [list(labels) for labels in part["pred"]]
    )


def _members(part: pd.DataFrame, unit: str) -> list[np.ndarray]:
    """Return the row numbers of each cluster."""
    codes = pd.factorize(part[unit])[0]
    return [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]


def _resample(members: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])


def _deviation(scores: Sequence[float], rng: np.random.Generator) -> float:
    """Return what another draw of the repetitions would move the mean by: Student's t times its
    standard error; 0 with one repetition. See intervals.py."""
    if len(scores) == 1:
        return 0.0
    return float(rng.standard_t(len(scores) - 1) * np.std(scores, ddof=1) / math.sqrt(len(scores)))


def _paired(
    baseline: pd.DataFrame, predictions: pd.DataFrame
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Return both systems' repetitions in pairs with their rows in the same order."""
    first, second = (
        [part.sort_values("example_id").reset_index(drop=True) for _, part in rows.seeds_of(table)]
        for table in (baseline, predictions)
    )
    if first[0]["example_id"].tolist() != second[0]["example_id"].tolist():
        raise UserError("the systems were not scored on the same test examples")
    n = max(len(first), len(second))
    return [first[i % len(first)] for i in range(n)], [second[i % len(second)] for i in range(n)]


def _difference(metric: Metric, a: list[pd.DataFrame], b: list[pd.DataFrame]) -> float:
    return float(
        np.mean([_score(metric, y) - _score(metric, x) for x, y in zip(a, b, strict=True)])
    )


def _permutation(
    metric: Metric,
    a: list[pd.DataFrame],
    b: list[pd.DataFrame],
    members: list[np.ndarray],
    seen: float,
    rng: np.random.Generator,
) -> float:
    if math.isnan(seen):
        return math.nan
    differing = [rows_ for rows_ in members if _differ(a, b, rows_)]
    n = len(differing)
    if n == 0:
        return 1.0
    exact = n <= EXACT
    swaps = (
        ([bool(code >> i & 1) for i in range(n)] for code in range(2 ** (n - 1)))
        if exact
        else (rng.integers(0, 2, n).astype(bool).tolist() for _ in range(SWAPS))
    )
    extreme = total = 0
    for swapped in swaps:
        moved = np.zeros(len(a[0]), dtype=bool)
        for swap, rows_ in zip(swapped, differing, strict=True):
            moved[rows_] = swap
        value = _difference(
            metric,
            [x.assign(pred=y["pred"].where(moved, x["pred"])) for x, y in zip(a, b, strict=True)],
            [y.assign(pred=x["pred"].where(moved, y["pred"])) for x, y in zip(a, b, strict=True)],
        )
        total += 1
        extreme += abs(value) >= abs(seen) - 1e-12
    return extreme / total if exact else (extreme + 1) / (total + 1)


def _differ(a: list[pd.DataFrame], b: list[pd.DataFrame], rows_: np.ndarray) -> bool:
    return any(
        list(x) != list(y)
        for one, other in zip(a, b, strict=True)
        for x, y in zip(one["pred"].iloc[rows_], other["pred"].iloc[rows_], strict=True)
    )
