"""Scores of the user's own: `metrics: [my_metrics.specificity]`, functions of (true, predicted).

    def specificity(true, predicted):
        negatives = [row for row, labels in enumerate(true) if not labels]
        return sum(not predicted[row] for row in negatives) / len(negatives)

Both are lists with an entry for each test sentence: the list of its categories, or for entities of
its spans; a function must not change them. They get what the built-in scores get: the mean over
repetitions, intervals by bootstrap over patients and draws, and the paired permutation test by
patients, where up to `EXACT` patients on which two systems differ are enumerated. A function is
called once for each resample, so fewer are drawn than for counts (intervals.py, permutation.py,
whose methods these are). A value that is undefined (NaN) in a resample is left out of it. Does not
know the tables (report/own_scores.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from touchstone import plugins
from touchstone.errors import UserError
from touchstone.evaluate import predictions as rows
from touchstone.evaluate.metrics import safe

KEY = "metrics"
RESAMPLES = 500
EXACT = 10  # 2 ** 9 swaps
SWAPS = 999
TIE = 1e-12  # differences closer than this are the same number computed in another order


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
    metrics: dict[str, Metric] = {}
    for path in paths:
        function = plugins.load_path(KEY, path)
        if not callable(function):
            raise UserError(f"{KEY}={path}: must be a function, not {type(function).__name__}")
        name = name_of(path)
        if name in metrics:
            other = metrics[name].path
            raise UserError(f"{KEY}={path}: {other} has the name {name} too; rename one")
        metrics[name] = Metric(name, path, function, restricted)
    return tuple(metrics.values())


def name_of(path: str) -> str:
    """Return the name that a score has in MLflow and tables.

    >>> name_of("my_metrics.specificity"), name_of("metrics/mine.py:specificity")
    ('specificity', 'specificity')
    """
    return safe(path.replace(":", ".").rpartition(".")[2])


def value_of(metric: Metric, predictions: pd.DataFrame) -> float:
    """Return the score of a cell's predictions, averaged over repetitions; NaN if undefined."""
    return float(np.mean(_system(predictions).scores(metric)))


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
    intervals.py for what it covers and its source. NaN where the score is undefined, or there is
    one cluster.
    """
    system = _system(predictions, unit)
    rng = np.random.default_rng([seed, 11])
    draws = np.empty(n_resamples)
    for number in range(n_resamples):
        scores = system.scores(metric, _resample(system.members, rng))
        draws[number] = np.mean(scores) + _deviation(scores, rng)
    return _bounds(draws, len(system.members), level)


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
    """Compare two cells on the same test set: `difference`, `low`, `high`, `p` and `exact`.

    The difference is that of the means over repetitions; its interval is by paired bootstrap over
    clusters with the deviation of the draws, p by the two-sided permutation test that swaps the
    systems for a whole cluster, `exact` whether all swaps were enumerated. Not corrected for
    several comparisons.

    Raises
    ------
    UserError
        If they are not of the same test examples, or have different numbers of repetitions, none
        of which is one.
    """
    a, b = _paired(_system(baseline, unit), _system(predictions, unit))
    rng = np.random.default_rng([seed, 12])
    draws = np.empty(n_resamples)
    for number in range(n_resamples):
        indices = _resample(a.members, rng)
        differences = b.scores(metric, indices) - a.scores(metric, indices)
        draws[number] = np.mean(differences) + _deviation(differences, rng)
    low, high = _bounds(draws, len(a.members), level)
    differences = b.scores(metric) - a.scores(metric)
    p, exact = _permutation(metric, a, b, differences, rng)
    return {
        "difference": float(np.mean(differences)),
        "low": low,
        "high": high,
        "p": p,
        "exact": exact,
    }


@dataclass(frozen=True)
class _System:
    """What a cell predicted, as a function takes it: label lists in object arrays (n_examples,).

    `predicted` has an array for each repetition, `members` the row numbers of each cluster.
    """

    ids: list[str]
    true: np.ndarray
    predicted: list[np.ndarray]
    members: list[np.ndarray]

    def scores(self, metric: Metric, indices: np.ndarray | None = None) -> np.ndarray:
        """Return the score of each repetition, of all examples or of some rows."""
        chosen = slice(None) if indices is None else indices
        true = self.true[chosen].tolist()
        return np.array([metric(true, one[chosen].tolist()) for one in self.predicted])


def _system(predictions: pd.DataFrame, unit: str = "patient_id") -> _System:
    parts = [part for _, part in rows.seeds_of(predictions)]
    codes = pd.factorize(parts[0][unit])[0]
    return _System(
        parts[0]["example_id"].tolist(),
        _lists(parts[0]["true"]),
        [_lists(part["pred"]) for part in parts],
        [np.flatnonzero(codes == code) for code in range(codes.max() + 1)],
    )


def _lists(labels: pd.Series) -> np.ndarray:
    out = np.empty(len(labels), dtype=object)
    for row, names in enumerate(labels):
        out[row] = list(names)
    return out


def _resample(members: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])


def _draw_error(scores: np.ndarray) -> float:
    """Return the standard error of the mean over repetitions; 0 with one."""
    return float(np.std(scores, ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else 0.0


def _deviation(scores: np.ndarray, rng: np.random.Generator) -> float:
    """Return what another draw of the repetitions would move the mean by: Student's t times its
    standard error; 0 with one repetition. See intervals.py."""
    if len(scores) == 1:
        return 0.0
    return float(rng.standard_t(len(scores) - 1) * _draw_error(scores))


def _bounds(draws: np.ndarray, n_clusters: int, level: float) -> tuple[float, float]:
    from touchstone.evaluate.intervals import tail

    if n_clusters < 2 or np.isnan(draws).all():
        return math.nan, math.nan
    outside = tail(n_clusters, level)
    low, high = np.nanquantile(draws, [outside, 1 - outside])
    return float(low), float(high)


def _paired(a: _System, b: _System) -> tuple[_System, _System]:
    """Give both the same number of repetitions: a single one stands for each of the other's."""
    if a.ids != b.ids:
        raise UserError("the systems were not scored on the same test examples")
    n = max(len(a.predicted), len(b.predicted))
    if {len(a.predicted), len(b.predicted)} - {1, n}:
        raise UserError(
            f"{len(b.predicted)} seeds against {len(a.predicted)}: compare systems of the same "
            "number of seeds, or of one"
        )
    a, b = (
        one if len(one.predicted) == n else replace(one, predicted=one.predicted * n)
        for one in (a, b)
    )
    return a, b


def _permutation(
    metric: Metric, a: _System, b: _System, differences: np.ndarray, rng: np.random.Generator
) -> tuple[float, bool]:
    """Return p and whether all swaps were enumerated; see permutation.py."""
    observed = abs(float(np.mean(differences)))
    differing = [indices for indices in a.members if _differ(a, b, indices)]
    n = len(differing)
    exact = n <= EXACT
    if math.isnan(observed):
        return math.nan, exact
    if n == 0:
        return 1.0, exact
    swaps = (
        [[bool(code >> i & 1) for i in range(n)] for code in range(2 ** (n - 1))]
        if exact
        else rng.integers(0, 2, (SWAPS, n)).astype(bool).tolist()
    )
    error, freedom = _draw_error(differences), len(differences) - 1
    extreme, total = 0.0, 0
    for swap in swaps:
        moved = np.zeros(len(a.true), dtype=bool)
        for swapped, indices in zip(swap, differing, strict=True):
            moved[indices] = swapped
        first, second = _swapped(a, b, moved), _swapped(b, a, moved)
        value = float(np.mean(second.scores(metric) - first.scores(metric)))
        if math.isnan(value):
            continue
        total += 1
        if error <= TIE:
            extreme += abs(value) >= observed - TIE
        else:
            above, below = (-(observed - value) / error, (-observed - value) / error)
            extreme += float(special.stdtr(freedom, above) + special.stdtr(freedom, below))
    return min(extreme / total if exact else (extreme + 1) / (total + 1), 1.0), exact


def _swapped(a: _System, b: _System, moved: np.ndarray) -> _System:
    """Return the first system with the second's predictions in the rows that are moved."""
    pairs = zip(a.predicted, b.predicted, strict=True)
    return replace(a, predicted=[np.where(moved, theirs, ours) for ours, theirs in pairs])


def _differ(a: _System, b: _System, indices: np.ndarray) -> bool:
    return any(
        ours[row] != theirs[row]
        for ours, theirs in zip(a.predicted, b.predicted, strict=True)
        for row in indices
    )
