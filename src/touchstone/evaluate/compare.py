"""Is a mixture better than gold? Paired, clustered comparisons on the same test sentences.

- p: permutation test over patients, and draws where there are several (permutation.py).
- difference with interval: the effect size, by bootstrap of the same patients for both systems, and
  the same deviation of the draws (intervals.py).
- p_holm: Holm 1979 over the grid; see `holm_over` for what counts as one family.
- detectable: the smallest true difference that this test set would find, at 5 % (two-sided, not
  corrected), in 80 % of draws. None (NaN) where the patients are so few that no p below 5 % exists.

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
from touchstone.evaluate.auc import seed_aucs
from touchstone.evaluate.counts import Counts, check_aligned, cluster_codes, stack
from touchstone.evaluate.intervals import (
    bootstrap_seeds,
    bounds,
    draw_error,
    over_draws,
    resampling,
    standard_error,
)
from touchstone.evaluate.metrics import METRICS, as_seeds, columns, scores, seed_means
from touchstone.evaluate.permutation import SWAPS, floor, paired, permutation

COLUMNS = (
    "system scope category metric value low high baseline difference difference_low "
    "difference_high p exact p_holm detectable"
).split()


def compare(
    systems: Mapping[str, Counts | Sequence[Counts]],
    baseline: str = "gold",
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    n_permutations: int = SWAPS,
    level: float = 0.95,
    power: float = 0.8,
    tested: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """Compare every system with the baseline, score by score.

    Parameters
    ----------
    systems : name -> counts of each seed; all on the same test set. A system with one seed is
        compared with each seed of the other.
    baseline : the name that the others are compared with.
    rng : generator; the same state gives the same table.
    n_resamples : bootstrap resamples, the same clusters for all systems.
    n_permutations : swaps drawn where the clusters are too many to enumerate them all.
    level : of the intervals; 1 - level is the error rate of `detectable`.
    power : share of test sets in which a true difference of `detectable` would be found.
    tested : metrics (precision, recall, f1) that get a p; the others have none.

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
    drawn = resampling(n_clusters, n_resamples, rng)
    swaps = int(rng.integers(1 << 62))
    of_seeds = {name: scores(stack(group).sum(axis=0)) for name, group in seeds.items()}
    value = {name: seed_means(one, axis=0) for name, one in of_seeds.items()}
    draws = {name: bootstrap_seeds(group, drawn.weights) for name, group in seeds.items()}
    parts = []
    for name, group in seeds.items():
        part = (
            columns(group[0].categories)
            .drop(columns="name")
            .assign(system=name, value=value[name], baseline=value[baseline])
        )
        ours = over_draws(draws[name], drawn)
        part["low"], part["high"] = bounds(ours, n_clusters, level, within=(0, 1))
        if name != baseline:
            change = ours - over_draws(draws[baseline], drawn)
            pair = paired(draws[name], draws[baseline])
            spread = standard_error((pair[0] - pair[1]).mean(axis=1))
            between = of_seeds[name] - of_seeds[baseline]  # one seed stands for each
            part["difference"] = value[name] - value[baseline]
            part["difference_low"], part["difference_high"] = bounds(change, n_clusters, level)
            part["p"], part["exact"] = permutation(
                group,
                seeds[baseline],
                rng=np.random.default_rng(swaps),
                n_permutations=n_permutations,
                tested=tested,
            )
            part["detectable"] = detectable(
                spread, n_clusters, level, power, draw_error(between), len(between)
            )
        undefined = part["value"].isna()
        part.loc[undefined, [c for c in part.columns if c in COLUMNS[4:] and c != "exact"]] = np.nan
        parts.append(part)
    return holm_over(pd.concat(parts, ignore_index=True))[list(COLUMNS)]


def holm(p: Sequence[float]) -> np.ndarray:
    """Return Holm's step-down p-values; NaN stays NaN and does not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    plain = np.asarray(p, dtype=float)
    out = np.full(plain.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(plain))
    order = tested[np.argsort(plain[tested], kind="stable")]
    steps = plain[order] * np.arange(len(order), 0, -1)
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
    standard_error: np.ndarray,
    n_clusters: int,
    level: float = 0.95,
    power: float = 0.8,
    draw_error: np.ndarray | float = 0.0,
    n_draws: int = 1,
) -> np.ndarray:
    """Return the minimum detectable difference: (t(1 - alpha/2) + t(power)) * SE.

    SE is that of patients and draws together; its degrees of freedom are those of Satterthwaite
    (1946): n_clusters - 1 where nothing was drawn twice.

    Parameters
    ----------
    standard_error : bootstrap standard error of the paired difference over clusters; sqrt(n / (n -
        1)) undoes its narrowness.
    n_clusters : clusters in the test set, n.
    level : 1 - alpha. Not corrected for the grid: with Holm, the best of m comparisons needs alpha
        / m.
    power : chance of finding a true difference of this size.
    draw_error : standard error of the difference over draws, see `intervals.draw_error`.
    n_draws : how many draws it comes from.

    Returns
    -------
    array shaped like `standard_error`; NaN where n_clusters are so few that the permutation test
    has no p below 1 - level, whatever the difference (five patients: no p below 0.0625).
    """
    spread, freedom = _together(standard_error, n_clusters, draw_error, n_draws)
    if n_clusters < 2 or floor(n_clusters) > 1 - level:
        return np.full_like(spread, np.nan)
    factor = special.stdtrit(freedom, (1 + level) / 2) + special.stdtrit(freedom, power)
    return factor * spread


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

    p is Student's t test of the difference over its clustered bootstrap standard error and that of
    the draws (the resampling counterpart of Obuchowski 1997). `systems` maps a name to one float
    array (n_examples,) per seed.
    """
    if baseline not in systems:
        raise UserError(no_such("baseline", baseline, systems))
    names, codes = cluster_codes(clusters)
    n_clusters = len(names)
    drawn = resampling(n_clusters, n_resamples, rng)
    one = np.ones((1, n_clusters))
    of_seeds = {name: seed_aucs(true, group, codes, one)[0] for name, group in systems.items()}
    draws = {
        name: seed_aucs(true, group, codes, drawn.weights)[:, :, None]
        for name, group in systems.items()
    }
    rows = []
    for name in systems:
        value, theirs = of_seeds[name].mean(), of_seeds[baseline].mean()
        ours = over_draws(draws[name], drawn)
        low, high = bounds(ours, n_clusters, level, within=(0, 1))
        row = {
            "system": name,
            "scope": "class",
            "category": "",
            "metric": "auc",
            "value": value,
            "low": low[0],
            "high": high[0],
            "baseline": theirs,
        }
        if name != baseline:
            change = ours - over_draws(draws[baseline], drawn)
            pair = paired(draws[name], draws[baseline])
            spread = standard_error((pair[0] - pair[1]).mean(axis=1))
            between = of_seeds[name] - of_seeds[baseline]
            error = draw_error(between[:, None])
            low, high = bounds(change, n_clusters, level)
            row |= {
                "difference": value - theirs,
                "difference_low": low[0],
                "difference_high": high[0],
                "exact": False,
                "p": _t_test(value - theirs, spread, n_clusters, error, len(between)),
                "detectable": detectable(spread, n_clusters, level, power, error, len(between))[0],
            }
        rows.append(row)
    return holm_over(pd.DataFrame(rows, columns=COLUMNS))


def _together(
    standard_error: np.ndarray, n_clusters: int, draw_error: np.ndarray | float, n_draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the standard error over clusters and draws, and its degrees of freedom
    (Satterthwaite)."""
    n = max(n_clusters, 2)
    patients = np.asarray(standard_error, dtype=float) ** 2 * n / (n - 1)
    draws = np.broadcast_to(np.asarray(draw_error, dtype=float) ** 2, patients.shape)
    whole = patients + draws
    parts = patients**2 / (n - 1) + (draws**2 / (n_draws - 1) if n_draws > 1 else 0.0)
    freedom = np.divide(whole**2, parts, out=np.full(whole.shape, n - 1.0), where=parts > 0)
    return np.sqrt(whole), freedom


def _t_test(
    difference: float,
    spread: np.ndarray,
    n_clusters: int,
    draw_error: np.ndarray | float,
    n_draws: int,
) -> float:
    if n_clusters < 2 or np.isnan(difference):
        return np.nan
    whole, freedom = _together(spread, n_clusters, draw_error, n_draws)
    if whole[0] == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * special.stdtr(freedom[0], -abs(difference) / whole[0]))
