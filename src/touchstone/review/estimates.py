"""What judgements say about the whole data set: estimates and intervals that follow the sampling
design.

    precision   share of the LLM's labels of a category that the experts confirm
    recall      share of the experts' labels of a category that the LLM gave
    correct     share of sentences whose label the experts confirm (primary label in multi-class
                tasks, the label set elsewhere, all spans for entities)

The population is the generated data set itself: intervals cover which of its sentences were drawn,
not another answer of the LLM. With several experts a judgement is their mean. Ratio estimator with
stratified variance and finite-population correction (Cochran 1977, section 6.11); bounds after Korn
and Graubard 1998 (Survey Methodology 24, 193-201): Clopper-Pearson at the effective sample size.
Ours: half a right and half a wrong judgement are added to each stratum for the variance alone,
since a large stratum without an error among 40 would pass for free of errors (simulated coverage
0.89 without, 0.95 and more with them). A share within one stratum is exact: the hypergeometric
bounds. Differences: MOVER (Zou and Donner 2008, Statistics in Medicine 27, 1693-1702).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """An estimated share with its interval; NaN where there is nothing to estimate it from.

    Attributes
    ----------
    value, low, high : in 0..1.
    n : judged items (or mentions) behind it, in numbers of the sample.
    exact : whether the bounds are hypergeometric.
    """

    value: float
    low: float
    high: float
    n: float
    exact: bool = False


NOTHING = Share(np.nan, np.nan, np.nan, 0)


def share(
    part: Sequence[float],
    whole: Sequence[float],
    strata: Sequence[str],
    population: Mapping[str, int],
    level: float = LEVEL,
    *,
    known: bool = True,
) -> Share:
    """Estimate sum(part) / sum(whole) over a population from a stratified sample of it.

    Parameters
    ----------
    part, whole : float arrays of shape (n_items,), part <= whole: confirmed labels and labels.
    strata : the stratum of each item; every stratum of the population is in it.
    population : stratum -> number of items it was drawn from.
    level : of the interval.
    known : whether `whole` is known of the whole population, as the LLM's labels are. Where experts
        say it (recall), sentences that were not drawn may count too, and no stratum is left out.

    Returns
    -------
    NaN with n = 0 where no item counts in `whole`.

    Examples
    --------
    Eight of ten judged, drawn from a single stratum of 1,000:

    >>> one = share([1] * 8 + [0] * 2, [1] * 10, ["a"] * 10, {"a": 1000})
    >>> round(one.value, 2), round(one.low, 3), round(one.high, 3), one.exact
    (0.8, 0.446, 0.974, True)
    """
    y, x, names = np.asarray(part, float), np.asarray(whole, float), np.asarray(strata)
    groups = {name: np.flatnonzero(names == name) for name in dict.fromkeys(strata)}
    weight = np.zeros(len(y))
    for name, rows in groups.items():
        weight[rows] = population[name] / len(rows)
    total = float(weight @ x)
    if total <= 0:
        return NOTHING
    value = float(weight @ y) / total
    n = float(x.sum())
    used = [name for name, rows in groups.items() if x[rows].any() or not known]
    alone = groups[used[0]]
    whole_numbers = np.isin(y[alone], (0, 1)).all() and (x[alone] == 1).all()
    if len(used) == 1 and whole_numbers:
        low, high = hypergeometric(int(y[alone].sum()), len(alone), population[used[0]], level)
        return Share(value, low, high, n, True)
    residual = (y - value * x) / total
    variance, freedom = 0.0, 0
    for name in used:
        rows, size = groups[name], population[name]
        # half a confirmed and half a refuted label more in each stratum, or half an undrawn
        # sentence that was missed: where nothing was wrong, something may be
        reach = x[rows].mean() if known else 1.0
        more = np.array([0.0 if not known else reach * (1 - value), -reach * value]) / total
        variance += size**2 * (1 - len(rows) / size) * _spread(residual[rows], more) / len(rows)
        freedom += len(rows) - 1
    if all(len(groups[name]) == population[name] for name in used):
        return Share(value, value, value, n)  # everything was judged
    weights = weight * x
    effective = weights.sum() ** 2 / (weights @ weights)  # Kish, where no item differs
    if 0 < value < 1:
        effective = min(value * (1 - value) / variance, 1e9)
        if freedom > 0 and len(y) > 1:
            quantile = (1 + level) / 2
            effective *= (
                special.stdtrit(len(y) - 1, quantile) / special.stdtrit(freedom, quantile)
            ) ** 2
    low, high = clopper_pearson(value * effective, effective, level)
    return Share(value, low, high, n)


def _spread(values: np.ndarray, halves: np.ndarray) -> float:
    """Return the variance of values and of further ones that count by half."""
    n = len(values) + len(halves) / 2
    mean = (values.sum() + halves.sum() / 2) / n
    squares = ((values - mean) ** 2).sum() + ((halves - mean) ** 2).sum() / 2
    return float(squares / (n - 1))


def clopper_pearson(k: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact binomial bounds; k and n need not be whole."""
    tail = (1 - level) / 2
    low = 0.0 if k <= 0 else float(special.betaincinv(k, n - k + 1, tail))
    high = 1.0 if k >= n else float(special.betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def hypergeometric(k: int, n: int, size: int, level: float = LEVEL) -> tuple[float, float]:
    """Return exact bounds of the share of `size` items, k of n drawn without replacement having it.

    The smallest and the largest number in the population that would not make k a surprise; all
    drawn leaves the share itself.
    """
    from scipy.stats import hypergeom  # half a second to import

    tail = (1 - level) / 2

    def first(low: int, high: int, holds: Any) -> int:
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle + 1, high)
        return low

    least, most = k, size - (n - k)
    low = first(least, most, lambda count: hypergeom.sf(k - 1, size, count, n) > tail)
    high = first(least, most + 1, lambda count: hypergeom.cdf(k, size, count, n) <= tail) - 1
    return low / size, max(high, low) / size


def difference(a: Share, b: Share) -> tuple[float, float, float]:
    """Return a - b with its interval from the intervals of both (MOVER)."""
    value = a.value - b.value
    low = value - np.hypot(a.value - a.low, b.high - b.value)
    high = value + np.hypot(a.high - a.value, b.value - b.low)
    return float(value), float(low), float(high)


def difference_p(at_level: Any) -> float:
    """Return the two-sided p of a difference: 1 - the highest level whose interval leaves out 0.

    Parameters
    ----------
    at_level : level -> (value, low, high), such as `difference` gives.
    """
    low, high = 1e-6, 1 - 1e-6
    if at_level(high)[1] > 0 or at_level(high)[2] < 0:
        return 1 - high
    if at_level(low)[1] <= 0 <= at_level(low)[2]:
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        outside = at_level(middle)[1] > 0 or at_level(middle)[2] < 0
        low, high = (middle, high) if outside else (low, middle)
    return 1 - low


def compare_shares(
    a: tuple[Sequence[float], Sequence[str], Mapping[str, int]],
    b: tuple[Sequence[float], Sequence[str], Mapping[str, int]],
) -> tuple[float, float, float, float]:
    """Compare a share in two populations: difference, low, high, p. Each side is values, strata and
    the population of the strata."""

    def at(level: float) -> tuple[float, float, float]:
        one, two = (
            share(values, [1.0] * len(values), strata, sizes, level)
            for values, strata, sizes in (a, b)
        )
        return difference(one, two)

    return (*at(LEVEL), difference_p(at))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return rows as a frame with these columns, empty ones too."""
    return pd.DataFrame(list(rows), columns=list(columns))
