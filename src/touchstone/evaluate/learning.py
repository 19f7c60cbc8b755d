"""Learning curve over gold size, and how many gold sentences a mixture is worth.

The curve: the score of gold alone at several sizes, made monotone (more gold cannot be worth less:
least-squares isotonic fit, pool adjacent violators), and straight between the sizes on a
logarithmic axis. Gold-equivalent of a mixture: the smallest size at which that curve reaches the
mixture's score. The interval draws the same test patients (and, with several repetitions, the same
deviation of the draws) for the curve and the mixture, and reads the curve anew in each resample. No
parametric law is fitted: five sizes do not carry one, and it would extrapolate; outside the sizes
the answer is "more than the largest" or "less than the smallest".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from touchstone.errors import UserError, no_such
from touchstone.evaluate.counts import Counts, check_aligned, stack
from touchstone.evaluate.intervals import bootstrap_seeds, over_draws, resampling, tail
from touchstone.evaluate.metrics import as_seeds, columns, scores, seed_means


@dataclass(frozen=True)
class GoldEquivalent:
    """How many gold sentences a mixture is worth.

    Attributes
    ----------
    value, low, high : sentences; -inf stands for less than `smallest`, inf for more than `largest`,
        NaN for undefined.
    smallest, largest : ends of the measured curve, in gold sentences.
    """

    value: float
    low: float
    high: float
    smallest: float
    largest: float

    def __str__(self) -> str:
        """Say it as a table does: `410 (less than 150 to 1,200)`."""
        if np.isnan(self.value):
            return "undefined"
        return f"{self._say(self.value)} ({self._say(self.low)} to {self._say(self.high)})"

    def _say(self, n: float) -> str:
        if n == np.inf:
            return f"more than {self.largest:,.0f}"
        if n == -np.inf:
            return f"less than {self.smallest:,.0f}"
        return f"{n:,.0f}"


def gold_equivalent(
    curve: Mapping[float, Counts | Sequence[Counts]],
    mixture: Counts | Sequence[Counts],
    name: str = "macro_f1",
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> GoldEquivalent:
    """Return how many gold sentences a mixture is worth, with an interval over test patients.

    Parameters
    ----------
    curve : number of gold training sentences -> counts of each seed of gold alone; at least two
        sizes.
    mixture : counts of each seed of the mixture, on the same test set. Its own gold counts:
        subtract it for what was added.
    name : which score to compare by.
    rng, n_resamples, level : as in `intervals.intervals`.

    Raises
    ------
    UserError
        If there are fewer than two sizes, a size is not positive, or the test sets differ.
    """
    sizes, seeds = _ordered(curve)
    mixture = as_seeds(mixture)
    at = score_index(mixture[0].categories, name)
    check_aligned([*(counts for group in seeds for counts in group), *mixture])
    n_clusters = len(mixture[0].clusters)
    draws = _draws([*seeds, mixture], at, rng, n_resamples)
    worth = read_off(sizes, draws[:, :-1], draws[:, -1])
    value = read_off(
        sizes, np.array([[_point(group, at) for group in seeds]]), np.array([_point(mixture, at)])
    )[0]
    low, high = (
        _order_statistics(worth, tail(n_clusters, level)) if n_clusters > 1 else (np.nan, np.nan)
    )
    return GoldEquivalent(float(value), low, high, float(sizes[0]), float(sizes[-1]))


def monotone(values: np.ndarray) -> np.ndarray:
    """Return the non-decreasing sequence nearest to each row in least squares: shape (..., m) ->
    (..., m).

    By the max-min formula, fit[i] = max over a <= i of min over b >= i of mean(values[a..b])
    (Barlow et al. 1972), for all rows at once; m is the handful of sizes of a curve.
    """
    values = np.asarray(values, dtype=float)
    m = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    fit = np.empty_like(values)
    for i in range(m):
        lowest = [
            np.min([(sums[..., b + 1] - sums[..., a]) / (b + 1 - a) for b in range(i, m)], axis=0)
            for a in range(i + 1)
        ]
        fit[..., i] = np.max(lowest, axis=0)
    return fit


def read_off(sizes: np.ndarray, curves: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the smallest size at which each curve, made monotone, reaches its target.

    Parameters
    ----------
    sizes : (m,) increasing numbers of gold sentences.
    curves : (n_rows, m) scores of gold alone.
    targets : (n_rows,) scores of the mixture.

    Returns
    -------
    (n_rows,) sentences, linear in log(size) between two sizes; -inf below the curve's start, inf
    above its end, NaN if undefined.
    """
    fit, logs = monotone(curves), np.log(sizes)
    reached = fit >= targets[:, None] - 1e-12
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), len(sizes) - 1)
    before = np.maximum(first - 1, 0)
    rows = np.arange(len(fit))
    start, end = fit[rows, before], fit[rows, first]
    part = np.divide(targets - start, end - start, out=np.ones_like(targets), where=end > start)
    worth = np.exp(logs[before] + np.clip(part, 0, 1) * (logs[first] - logs[before]))
    worth = np.where(targets < fit[:, 0] - 1e-12, -np.inf, worth)
    worth = np.where(~reached.any(axis=1), np.inf, worth)
    return np.where(np.isnan(targets) | np.isnan(curves).any(axis=1), np.nan, worth)


def score_index(categories: Sequence[str], name: str) -> int:
    """Return the position of a score by its name in the last axis of `metrics.scores`."""
    names = columns(categories)["name"].tolist()
    if name not in names:
        raise UserError(no_such("metric", name, names))
    return names.index(name)


def _ordered(
    curve: Mapping[float, Counts | Sequence[Counts]],
) -> tuple[np.ndarray, list[Sequence[Counts]]]:
    sizes = np.array(sorted(curve), dtype=float)
    if len(sizes) < 2 or sizes[0] <= 0:
        raise UserError(
            "a learning curve needs at least two sizes above 0; found "
            f"{', '.join(f'{n:g}' for n in sizes) or 'none'}"
        )
    seeds = [as_seeds(curve[size]) for size in sorted(curve)]
    check_aligned([counts for group in seeds for counts in group])
    return sizes, seeds


def _draws(
    groups: Sequence[Sequence[Counts]], at: int, rng: np.random.Generator, n_resamples: int
) -> np.ndarray:
    drawn = resampling(len(groups[0][0].clusters), n_resamples, rng)
    return np.stack(
        [over_draws(bootstrap_seeds(group, drawn.weights)[:, :, at], drawn) for group in groups],
        axis=1,
    )


def _point(seeds: Sequence[Counts], at: int) -> float:
    return float(seed_means(scores(stack(seeds).sum(axis=0)), axis=0)[at])


def _order_statistics(worth: np.ndarray, outer: float) -> tuple[float, float]:
    """Percentiles without interpolation, outwards: between a size and `more than` there is nothing
    to interpolate."""
    ordered = np.sort(worth[~np.isnan(worth)])
    if not len(ordered):
        return np.nan, np.nan
    last = len(ordered) - 1
    return float(ordered[int(np.floor(outer * last))]), float(
        ordered[int(np.ceil((1 - outer) * last))]
    )
