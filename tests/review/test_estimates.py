"""Shares and their intervals follow the design of the sample: worked by hand, checked against
scipy, and simulated."""

import numpy as np
import pytest
from scipy import stats

from touchstone.review.estimates import (
    clopper_pearson,
    compare_shares,
    difference,
    hypergeometric,
    share,
)


def test_a_stratified_share_by_hand():
    # two strata of 900 and 100; 9 of 10 and 2 of 5 are right: 0.9 * 0.9 + 0.1 * 0.4 = 0.85
    right = [1] * 9 + [0] + [1] * 2 + [0] * 3
    strata = ["none"] * 10 + ["falls"] * 5
    one = share(right, [1] * 15, strata, {"none": 900, "falls": 100})
    assert one.value == pytest.approx(0.85)
    # with half a right and half a wrong one more in each stratum: 9.5 of 11 and 2.5 of 6
    s2 = [11 * (9.5 / 11) * (1.5 / 11) / 10, 6 * (2.5 / 6) * (3.5 / 6) / 5]
    variance = 0.81 * (1 - 10 / 900) * s2[0] / 10 + 0.01 * (1 - 5 / 100) * s2[1] / 5
    effective = 0.85 * 0.15 / variance * (stats.t.ppf(0.975, 14) / stats.t.ppf(0.975, 13)) ** 2
    low = stats.beta.ppf(0.025, 0.85 * effective, 0.15 * effective + 1)
    high = stats.beta.ppf(0.975, 0.85 * effective + 1, 0.15 * effective)
    assert (one.low, one.high) == (pytest.approx(low), pytest.approx(high))
    assert not one.exact


def test_a_share_within_one_stratum_is_exact():
    one = share([1] * 4 + [0], [1] * 5, ["a"] * 5, {"a": 12})
    assert one.exact and one.value == pytest.approx(0.8)
    # of 12, the fewest K with P(at least 4 of 5) > 0.025 and the most with P(at most 4) > 0.025
    fewest = min(k for k in range(4, 12) if stats.hypergeom.sf(3, 12, k, 5) > 0.025)
    most = max(k for k in range(4, 12) if stats.hypergeom.cdf(4, 12, k, 5) > 0.025)
    assert (one.low, one.high) == (fewest / 12, most / 12)


def test_a_stratum_judged_whole_leaves_no_doubt():
    assert hypergeometric(3, 4, 4) == (0.75, 0.75)
    one = share([1, 1, 0, 1, 1], [1] * 5, ["a", "a", "a", "b", "b"], {"a": 3, "b": 2})
    assert (one.low, one.value, one.high) == (0.8, 0.8, 0.8)


def test_recall_is_not_exact_since_undrawn_sentences_may_count():
    strata, sizes = ["a", "a", "b", "b"], {"a": 10, "b": 500}
    known = share([1, 1, 0, 0], [1, 1, 0, 0], strata, sizes)
    recall = share([1, 1, 0, 0], [1, 1, 0, 0], strata, sizes, known=False)
    assert known.exact and not recall.exact


def test_nothing_judged_is_no_share():
    one = share([0.0], [0.0], ["a"], {"a": 10})
    assert np.isnan(one.value) and one.n == 0


def test_clopper_pearson_as_scipy_has_it():
    for k, n in ((0, 12), (3, 12), (12, 12)):
        ours = clopper_pearson(k, n)
        theirs = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        assert ours == (pytest.approx(theirs.low), pytest.approx(theirs.high))


def test_the_interval_of_a_stratified_share_covers_the_truth():
    rng = np.random.default_rng(0)
    sizes = {"a": 800, "b": 150, "c": 50}
    truth = {"a": 0.97, "b": 0.8, "c": 0.6}
    values = {name: np.arange(size) < truth[name] * size for name, size in sizes.items()}
    target = sum(int(v.sum()) for v in values.values()) / 1000
    covered = 0
    for _ in range(400):
        y, strata = [], []
        for name, n in (("a", 40), ("b", 20), ("c", 15)):
            y += rng.choice(values[name], n, replace=False).tolist()
            strata += [name] * n
        one = share(y, [1] * len(y), strata, sizes)
        covered += one.low <= target <= one.high
    assert covered / 400 >= 0.94


def test_a_difference_and_its_test_agree_on_what_is_significant():
    many = ([0.0] * 60 + [1.0] * 20, ["a"] * 80, {"a": 4000})
    few = ([0.0] * 78 + [1.0] * 2, ["a"] * 80, {"a": 4000})
    value, low, high, p = compare_shares(few, many)
    assert value == pytest.approx(2 / 80 - 20 / 80) and high < 0 and p < 0.05
    same = compare_shares(few, few)
    assert same[0] == 0 and same[1] < 0 < same[2] and same[3] > 0.9
    a, b = share(*_sides(few)), share(*_sides(many))
    assert difference(a, b)[0] == pytest.approx(value)


def _sides(side):
    values, strata, sizes = side
    return values, [1.0] * len(values), strata, sizes
