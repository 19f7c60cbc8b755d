"""Confidence intervals by bootstrap over clusters: patients (or documents) are drawn with
replacement, not sentences; and over draws, where a cell was repeated.

Sentences of one patient are alike, so resampling sentences makes intervals too narrow. A resample
is a row of weights (how often each cluster was drawn); its counts are a matrix product; nothing is
scored sentence by sentence.

What an interval covers: which patients happened to be in the test set, and, with several
repetitions, which gold, sample and initialisation happened to be drawn (the column `seed` of the
predictions). It does not cover another answer of the LLM.

Patients: the expanded percentile interval (Hesterberg 2015, The American Statistician 69(4),
section 4.4): the percentiles are taken further out, by the t distribution, because a bootstrap of n
clusters is too narrow by about sqrt((n - 1) / n) and takes its spread for known. Simulated with 400
test sets of each size and 95 % asked for, macro-F1 was covered in 94 to 96 % of those of 8 and 12
patients, 92 to 95 % of 16 to 100 (plain percentile: 90 to 95 %), F1 of the rarest category, one
sentence in fifty, in 89 to 93 % of 8 to 40 patients (plain: 84 to 92 %). BCa was no better than
plain and is left out. Rare categories in few patients remain the weak spot: their F1 moves in steps
that no bootstrap sees.

Draws: there are three to ten of them, too few to resample (a bootstrap of three values knows a
third less variance than there is). So each resample adds to the mean of the S draws a deviation
from Student's t with S - 1 degrees of freedom, scaled by their standard error: patients and draws
are crossed (Owen 2007, Annals of Applied Statistics 1(2)), and the sum of a bootstrap and a t
deviate is the solution of Behrens and Fisher (Fisher 1935, Annals of Eugenics 6) for a spread known
from few values. The deviation is the same for all systems of a resample, so what is paired within a
draw stays paired. Two draws allow no more than very wide intervals, as they should (t of one degree
of freedom); with one nothing is added. `tests/evaluate/test_intervals.py` has the coverage (slow).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special  # not scipy.stats, which takes half a second to import

from touchstone.errors import UserError, no_such
from touchstone.evaluate.auc import seed_aucs
from touchstone.evaluate.counts import Counts, cluster_codes, stack
from touchstone.evaluate.metrics import as_seeds, columns, scores, seed_means

METHODS = ("expanded", "percentile")
CHUNK = 1 << 22  # numbers held at once


def resamples(n_clusters: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw clusters with replacement.

    Returns
    -------
    int array of shape (n_resamples, n_clusters): how often each cluster was drawn; each row sums to
    n_clusters. Multinomial.
    """
    drawn = rng.integers(0, n_clusters, size=(n_resamples, n_clusters))
    drawn += np.arange(n_resamples)[:, None] * n_clusters
    return np.bincount(drawn.ravel(), minlength=n_resamples * n_clusters).reshape(
        n_resamples, n_clusters
    )


def draw_weights(n_draws: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return how much each repetition counts in each resample: shape (n_resamples, n_draws).

    A row sums to 1 and moves the mean of the draws by t * standard error, t of Student's
    distribution with n_draws - 1 degrees of freedom; with one draw it is 1. See the module.
    """
    if n_draws == 1:
        return np.ones((n_resamples, 1))
    normal = rng.standard_normal((n_resamples, n_draws))
    normal -= normal.mean(axis=1, keepdims=True)
    spread = np.sqrt((n_draws - 1) / rng.chisquare(n_draws - 1, size=n_resamples))
    return 1 / n_draws + normal * spread[:, None] / np.sqrt(n_draws * (n_draws - 1))


def draw_error(seed_scores: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the standard error of the mean of repetitions: sd / sqrt(n); 0 with a single one."""
    n = seed_scores.shape[axis]
    if n == 1:
        return np.zeros(np.delete(seed_scores.shape, axis))
    return seed_scores.std(axis=axis, ddof=1) / np.sqrt(n)


@dataclass(frozen=True)
class Resampling:
    """One set of resamples, shared by all systems of a table, which makes their differences paired.

    Attributes
    ----------
    weights : int array (n_resamples, n_clusters), see `resamples`.
    root : of the deviations of draws: one set for each number of repetitions.
    """

    weights: np.ndarray
    root: int

    def draws(self, n_draws: int) -> np.ndarray:
        """Return the weights of n_draws repetitions, see `draw_weights`."""
        rng = np.random.default_rng([self.root, n_draws])
        return draw_weights(n_draws, len(self.weights), rng)


def resampling(n_clusters: int, n_resamples: int, rng: np.random.Generator) -> Resampling:
    """Draw clusters, and the root from which the deviations of draws follow."""
    weights = resamples(n_clusters, n_resamples, rng)
    return Resampling(weights, int(rng.integers(1 << 62)))


def over_draws(seed_scores: np.ndarray, drawn: Resampling) -> np.ndarray:
    """Average the scores of each resample over draws, (n_resamples, n_draws, ...) -> (n_resamples,
    ...), with the deviation of the draws."""
    return np.einsum("rs,rs...->r...", drawn.draws(seed_scores.shape[1]), seed_scores)


def bootstrap(seeds: Counts | Sequence[Counts], weights: np.ndarray) -> np.ndarray:
    """Score every resample of the clusters, averaged over seeds; without the deviation of draws.

    Parameters
    ----------
    seeds : counts of each seed, on the same test set.
    weights : array (n_resamples, n_clusters) from `resamples`; the same one for all systems makes
        their differences paired.

    Returns
    -------
    float array of shape (n_resamples, n_scores), in the order of `metrics.columns`; NaN where
    undefined.
    """
    return seed_means(bootstrap_seeds(seeds, weights), axis=1)


def bootstrap_seeds(seeds: Counts | Sequence[Counts], weights: np.ndarray) -> np.ndarray:
    """Score every resample of the clusters, each seed by itself: (n_resamples, n_seeds,
    n_scores)."""
    values = stack(as_seeds(seeds)).astype(float)
    n_clusters, *shape = values.shape
    flat = values.reshape(n_clusters, math.prod(shape))
    rows = max(1, CHUNK // max(1, n_clusters, flat.shape[1]))
    parts = [
        scores((weights[i : i + rows].astype(float) @ flat).reshape(-1, *shape))
        for i in range(0, len(weights), rows)
    ]
    return np.concatenate(parts)


def intervals(
    seeds: Counts | Sequence[Counts],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
    method: str = "expanded",
) -> pd.DataFrame:
    """Return every score with its interval: DataFrame[scope, category, metric, value, low, high].

    Parameters
    ----------
    seeds : counts of each seed, on the same test set.
    rng : generator; the same state gives the same table.
    n_resamples : 2,000 moves a bound by about 0.002 from one seed to another.
    level : share of test sets, drawn like this one, whose interval is to hold the true value.
    method : `expanded` or `percentile`; see the module.

    Returns
    -------
    One row per score of `metrics.columns`; low and high are NaN where the score is undefined or
    there is a single cluster.
    """
    seeds = as_seeds(seeds)
    table = columns(seeds[0].categories).drop(columns="name")
    table["value"] = seed_means(scores(stack(seeds).sum(axis=0)), axis=0)
    n_clusters = len(seeds[0].clusters)
    drawn = resampling(n_clusters, n_resamples, rng)
    draws = over_draws(bootstrap_seeds(seeds, drawn.weights), drawn)
    table["low"], table["high"] = bounds(draws, n_clusters, level, method, within=(0, 1))
    table.loc[table["value"].isna(), ["low", "high"]] = np.nan
    return table


def auc_interval(
    true: np.ndarray,
    seed_scores: Sequence[np.ndarray],
    clusters: Sequence[Any],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
    method: str = "expanded",
) -> tuple[float, float, float]:
    """Return the AUC, averaged over seeds, with its interval over clusters: value, low, high.

    Parameters
    ----------
    true : int or bool array of shape (n_examples,).
    seed_scores : one float array of shape (n_examples,) per seed.
    clusters : patient or document id of each example.
    rng, n_resamples, level, method : as in `intervals`.
    """
    names, codes = cluster_codes(clusters)
    value = seed_aucs(true, seed_scores, codes, np.ones((1, len(names))))[0].mean()
    drawn = resampling(len(names), n_resamples, rng)
    draws = over_draws(seed_aucs(true, seed_scores, codes, drawn.weights), drawn)
    low, high = bounds(draws[:, None], len(names), level, method, within=(0, 1))
    return float(value), float(low[0]), float(high[0])


def bounds(
    draws: np.ndarray,
    n_clusters: int,
    level: float,
    method: str = "expanded",
    within: tuple[float, float] = (-1, 1),
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper bound of each column of `draws` (n_resamples, n_scores); undefined
    resamples are left out. No bound lies outside of `within`, where the score cannot lie."""
    if n_clusters < 2:
        empty = np.full(draws.shape[1], np.nan)
        return empty, empty.copy()
    outer = tail(n_clusters, level, method)
    low, high = _quantiles(draws, [outer, 1 - outer])
    return np.clip(low, *within), np.clip(high, *within)


def tail(n_clusters: int, level: float, method: str = "expanded") -> float:
    """Return the share of resamples to leave out on each side, e.g. 0.025 for a plain 95 %
    percentile interval."""
    if method not in METHODS:
        raise UserError(no_such("interval method", method, METHODS))
    if not 0 < level < 1:
        raise UserError(f"level={level}: must be between 0 and 1")
    plain = (1 - level) / 2
    if method == "percentile":
        return plain
    return float(
        special.ndtr(t_quantile(plain, n_clusters) * np.sqrt(n_clusters / (n_clusters - 1)))
    )


def t_quantile(q: float, n_clusters: int) -> float:
    """Return the quantile of Student's t with n_clusters - 1 degrees of freedom."""
    return float(special.stdtrit(n_clusters - 1, q))


def standard_error(draws: np.ndarray) -> np.ndarray:
    """Return the bootstrap standard error of each column; undefined resamples are left out."""
    defined = ~np.isnan(draws)
    n = defined.sum(axis=0)
    values = np.where(defined, draws, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # nothing defined: NaN
        mean = values.sum(axis=0) / n
        return np.sqrt((np.where(defined, draws - mean, 0.0) ** 2).sum(axis=0) / n)


def covers(n_clusters: str, unit: str, n_draws: int, n_resamples: int, level: float = 0.95) -> str:
    """Return the sentence for a table's caption that says what its intervals cover.

    Parameters
    ----------
    n_clusters : how many patients or documents the test sets have, as words: "20", "12 and 100".
    unit : what is resampled: patients, documents or sentences.
    n_draws : repetitions that differ in what they drew; 1 where nothing was drawn twice.

    >>> covers("16", "patients", 1, 2000)
    'Brackets: 95 % intervals over the 16 test patients (2,000 resamples, one draw).'
    """
    if n_draws == 1:
        over, how = f"the {n_clusters} test {unit}", "one draw"
    else:
        over, how = f"the {n_clusters} test {unit} and {n_draws} draws", f"mean of {n_draws} draws"
    return f"Brackets: {level * 100:g} % intervals over {over} ({n_resamples:,} resamples, {how})."


def _quantiles(draws: np.ndarray, qs: Sequence[float]) -> list[np.ndarray]:
    """Linear-interpolation quantiles of each column without its NaN; like np.nanquantile, which
    loops over columns."""
    ordered = np.sort(draws, axis=0)  # NaN last
    n = np.count_nonzero(~np.isnan(ordered), axis=0)
    indices = np.arange(draws.shape[1])
    out = []
    for q in qs:
        position = q * np.maximum(n - 1, 0)
        below = np.floor(position).astype(int)
        above = np.minimum(below + 1, np.maximum(n - 1, 0))
        part = position - below
        out.append(ordered[below, indices] * (1 - part) + ordered[above, indices] * part)
    return out
