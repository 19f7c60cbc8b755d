"""Is a mixture better than gold? Paired, clustered comparisons on the same test sentences.

- p: permutation test. If two systems are equally good, swapping their predictions for a whole
  patient changes nothing; so they are swapped for every patient with probability 1/2, and p is the
  share of swaps whose difference is at least as large as the one seen (two-sided). All sentences
  and seeds of a patient are swapped together. Source: Edgington and Onghena 2007; the paired form
  for F1 is Yeh 2000 (approximate randomization), here by cluster.
- difference with interval: the effect size, by bootstrap of the same patients for both systems.
- p_holm: Holm 1979 over the grid; see `holm_over` for what counts as one family.
- detectable: the smallest true difference that this test set would find, at 5 % (two-sided, not
  corrected), in 80 % of draws.

AUC has no counts to swap; its p comes from the bootstrap standard error. Does not decide what to
compare: give it the systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from touchstone.errors import UserError, no_such
from touchstone.evaluate.auc import seed_auc
from touchstone.evaluate.counts import Counts, check_aligned, cluster_codes, stack
from touchstone.evaluate.intervals import (
    bootstrap,
    bounds,
    resamples,
    standard_error,
    t_quantile,
    weighted_scores,
)
from touchstone.evaluate.metrics import as_seeds, columns, scores, seed_means

COLUMNS = (
    "system scope category metric value low high baseline difference difference_low difference_high p exact p_holm detectable"
).split()
TIE = 1e-12  # differences closer than this are the same number computed in another order


def compare(
    systems: Mapping[str, Counts | Sequence[Counts]],
    baseline: str = "gold",
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    n_permutations: int = 9999,
    level: float = 0.95,
    power: float = 0.8,
) -> pd.DataFrame:
    """Compare every system with the baseline, score by score.

    Parameters
    ----------
    systems : name -> counts of each seed; all on the same test set. A system with one seed is
        compared with each seed of the other.
    baseline : the name that the others are compared with.
    rng : generator; the same state gives the same table.
    n_resamples : bootstrap resamples, the same clusters for all systems.
    n_permutations : random swaps; the smallest p is 1 / (n_permutations + 1). All swaps are
        enumerated where there are no more.
    level : of the intervals; 1 - level is the error rate of `detectable`.
    power : share of test sets in which a true difference of `detectable` would be found.

    Returns
    -------
    DataFrame with the columns of `COLUMNS`, a row per system and score: value with its interval,
    the baseline's value, difference (system - baseline) with its interval, p, whether p is exact,
    Holm's p within this table, and the detectable difference. For the baseline itself everything
    after `baseline` is NaN. Undefined scores are NaN.

    Raises
    ------
    UserError If the baseline is not among the systems, or the systems were not scored on the same
        test set.
    """
    if baseline not in systems:
        raise UserError(no_such("baseline", baseline, systems))
    seeds = {name: as_seeds(counts) for name, counts in systems.items()}
    check_aligned([counts for group in seeds.values() for counts in group])
    n_clusters = len(seeds[baseline][0].clusters)
    weights = resamples(n_clusters, n_resamples, rng)
    signs = rng.choice(np.array([-1, 1], dtype=np.int8), size=(n_permutations, n_clusters))
    value = {
        name: seed_means(scores(stack(group).sum(axis=0)), axis=0) for name, group in seeds.items()
    }
    draws = {name: bootstrap(group, weights) for name, group in seeds.items()}
    parts = []
    for name, group in seeds.items():
        part = (
            columns(group[0].categories)
            .drop(columns="name")
            .assign(system=name, value=value[name], baseline=value[baseline])
        )
        part["low"], part["high"] = bounds(draws[name], n_clusters, level)
        if name != baseline:
            change = draws[name] - draws[baseline]
            part["difference"] = value[name] - value[baseline]
            part["difference_low"], part["difference_high"] = bounds(change, n_clusters, level)
            part["p"], part["exact"] = _permutation(group, seeds[baseline], signs)
            part["detectable"] = detectable(standard_error(change), n_clusters, level, power)
        undefined = part["value"].isna()
        part.loc[undefined, [c for c in part.columns if c in COLUMNS[4:] and c != "exact"]] = np.nan
        parts.append(part)
    return holm_over(pd.concat(parts, ignore_index=True))[list(COLUMNS)]


def permutation(
    a: Counts | Sequence[Counts],
    b: Counts | Sequence[Counts],
    *,
    rng: np.random.Generator,
    n_permutations: int = 9999,
) -> tuple[np.ndarray, bool]:
    """Test whether two systems differ, by swapping them cluster by cluster.

    Returns
    -------
    p : array of shape (n_scores,), two-sided, in the order of `metrics.columns`; NaN where
        undefined. In (0, 1]; 1 where the systems do not differ. Monte Carlo p is (1 + extreme
        swaps) / (1 + n_permutations), so never 0.
    exact : whether all swaps were enumerated: when the clusters on which the systems differ are so
        few that there are at most n_permutations of them.
    """
    a, b = as_seeds(a), as_seeds(b)
    check_aligned([*a, *b])
    signs = rng.choice(np.array([-1, 1], dtype=np.int8), size=(n_permutations, len(a[0].clusters)))
    return _permutation(a, b, signs)


def holm(p: Sequence[float]) -> np.ndarray:
    """Return Holm's step-down p-values; NaN stays NaN and does not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=float)
    out = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def holm_over(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `p_holm` over the whole grid it holds; call it again on tables put
    together.

    A family is one question asked of the whole grid: one metric of one scope (macro_f1; the F1 of
    the categories), over all its rows: every system, and every category. Precision and recall are
    not in the family of F1: they explain it, they do not give it another chance.
    """
    table = table.copy()
    table["p_holm"] = np.nan
    if "p" in table:
        for _, rows in table.groupby(["scope", "metric"], sort=False).groups.items():
            table.loc[rows, "p_holm"] = holm(table.loc[rows, "p"])
    return table


def detectable(
    standard_error: np.ndarray, n_clusters: int, level: float = 0.95, power: float = 0.8
) -> np.ndarray:
    """Return the minimum detectable difference: (t(1 - alpha/2) + t(power)) * SE * sqrt(n / (n -
    1)), n - 1 degrees of freedom.

    Parameters
    ----------
    standard_error : bootstrap standard error of the paired difference; sqrt(n / (n - 1)) undoes its
        narrowness.
    n_clusters : clusters in the test set, n.
    level : 1 - alpha. Not corrected for the grid: with Holm, the best of m comparisons needs alpha
        / m.
    power : chance of finding a true difference of this size.
    """
    if n_clusters < 2:
        return np.full_like(standard_error, np.nan)
    factor = t_quantile((1 + level) / 2, n_clusters) + t_quantile(power, n_clusters)
    return factor * standard_error * np.sqrt(n_clusters / (n_clusters - 1))


def compare_auc(
    true: np.ndarray,
    systems: Mapping[str, Sequence[np.ndarray]],
    clusters: Sequence[Any],
    baseline: str = "gold",
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
    power: float = 0.8,
) -> pd.DataFrame:
    """Compare AUCs; the same columns as `compare`, scope `class`, metric `auc`.

    p is Student's t test of the difference over its clustered bootstrap standard error (n_clusters
    - 1 degrees of freedom; the resampling counterpart of Obuchowski 1997). `systems` maps a name to
    one float array (n_examples,) per seed.
    """
    if baseline not in systems:
        raise UserError(no_such("baseline", baseline, systems))
    names, codes = cluster_codes(clusters)
    n_clusters = len(names)
    weights = resamples(n_clusters, n_resamples, rng)
    one = np.ones((1, n_clusters))
    value = {name: seed_auc(true, group, codes, one)[0] for name, group in systems.items()}
    draws = {
        name: seed_auc(true, group, codes, weights)[:, None] for name, group in systems.items()
    }
    rows = []
    for name in systems:
        low, high = bounds(draws[name], n_clusters, level)
        row = {
            "system": name,
            "scope": "class",
            "category": "",
            "metric": "auc",
            "value": value[name],
            "low": low[0],
            "high": high[0],
        }
        row["baseline"] = value[baseline]
        if name != baseline:
            change = draws[name] - draws[baseline]
            spread = standard_error(change)
            difference = value[name] - value[baseline]
            low, high = bounds(change, n_clusters, level)
            row |= {
                "difference": difference,
                "difference_low": low[0],
                "difference_high": high[0],
                "exact": False,
            }
            row |= {
                "p": _t_test(difference, spread[0], n_clusters),
                "detectable": detectable(spread, n_clusters, level, power)[0],
            }
        rows.append(row)
    return holm_over(pd.DataFrame(rows, columns=COLUMNS))


def _permutation(
    a: Sequence[Counts], b: Sequence[Counts], signs: np.ndarray
) -> tuple[np.ndarray, bool]:
    values_a, values_b = _paired(stack(a).astype(float), stack(b).astype(float))
    half_sum, half_change = (values_a + values_b).sum(axis=0) / 2, (values_a - values_b) / 2
    differ = np.flatnonzero(
        np.any(half_change != 0, axis=(1, 2, 3))
    )  # swapping the others changes nothing
    half_change = half_change[differ]
    exact = len(differ) < 63 and 2 ** len(differ) <= len(signs)
    if exact:
        signs = 1 - 2 * ((np.arange(2 ** len(differ))[:, None] >> np.arange(len(differ))) & 1)
    else:
        signs = signs[:, differ]

    def change(swaps: np.ndarray) -> np.ndarray:
        return weighted_scores(half_change, swaps, half_sum) - weighted_scores(
            half_change, -swaps, half_sum
        )

    seen = change(np.ones((1, len(differ))))[0]
    swapped = change(signs)
    extreme = np.count_nonzero(np.abs(swapped) >= np.abs(seen) - TIE, axis=0)
    p = extreme / len(signs) if exact else (1 + extreme) / (1 + len(signs))
    return np.where(np.isnan(seen), np.nan, p), exact


def _paired(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give both the same number of seeds: a single seed (a system without randomness) stands for
    each."""
    n = max(a.shape[1], b.shape[1])
    for values in (a, b):
        if values.shape[1] not in (1, n):
            raise UserError(
                f"{a.shape[1]} seeds against {b.shape[1]}: compare systems of the same number of seeds, or of one"
            )
    return (values if values.shape[1] == n else np.repeat(values, n, axis=1) for values in (a, b))


def _t_test(difference: float, spread: float, n_clusters: int) -> float:
    if n_clusters < 2 or np.isnan(difference):
        return np.nan
    corrected = spread * np.sqrt(n_clusters / (n_clusters - 1))
    if corrected == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * special.stdtr(n_clusters - 1, -abs(difference) / corrected))
