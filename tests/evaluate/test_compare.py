"""Paired comparisons: permutation against enumeration and scipy, Holm against statsmodels, error
rates by simulation."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from evaluation_data import CATEGORIES, counts, indicators, pair, patients, population
from scipy import stats
from statsmodels.stats.multitest import multipletests

from touchstone.errors import UserError
from touchstone.evaluate.compare import (
    COLUMNS,
    compare,
    compare_auc,
    detectable,
    holm,
    holm_over,
)
from touchstone.evaluate.counts import Counts, from_indicators
from touchstone.evaluate.intervals import intervals
from touchstone.evaluate.metrics import columns, named, scores
from touchstone.evaluate.permutation import floor, permutation

NAMES = columns(CATEGORIES)["name"].tolist()


def enumerated(a, b):
    """The definition: score every one of the 2^n ways to swap the systems' clusters."""
    seen = scores(a.total) - scores(b.total)
    extreme = np.zeros(len(seen))
    swaps = list(product([False, True], repeat=len(a.clusters)))
    for swap in swaps:
        swap = np.array(swap)[:, None, None]
        x, y = np.where(swap, b.values, a.values), np.where(swap, a.values, b.values)
        extreme += np.abs(scores(x.sum(axis=0)) - scores(y.sum(axis=0))) >= np.abs(seen) - 1e-12
    return extreme / len(swaps)


def test_exact_permutation_equals_enumeration():
    a, b = pair(np.random.default_rng(0), n_patients=7, n=80)
    p, exact = permutation(a, b, rng=np.random.default_rng(0))
    assert exact
    assert p == pytest.approx(enumerated(a, b))


def test_random_permutation_approaches_enumeration():
    a, b = pair(np.random.default_rng(0), n_patients=10, n=100)
    p, exact = permutation(a, b, rng=np.random.default_rng(0), n_permutations=9_999, exact=9)
    assert not exact
    assert p == pytest.approx(enumerated(a, b), abs=0.02)
    assert (p >= 1 / 10_000).all()


def test_up_to_twenty_clusters_p_does_not_depend_on_what_is_drawn():
    a, b = pair(np.random.default_rng(3), n_patients=20, n=200)
    first, exact = permutation(a, b, rng=np.random.default_rng(0))
    assert exact
    again, _ = permutation(a, b, rng=np.random.default_rng(99), n_permutations=1)
    assert np.array_equal(first, again)
    # the tail of 2^20 swaps, by a different road: a large draw of them
    drawn, exact = permutation(a, b, rng=np.random.default_rng(1), exact=19)
    assert not exact and drawn == pytest.approx(first, abs=0.006)


def test_only_the_metrics_asked_for_are_tested():
    a, b = pair(np.random.default_rng(0), n_patients=7, n=80)
    every, _ = permutation(a, b, rng=np.random.default_rng(0))
    f1, _ = permutation(a, b, rng=np.random.default_rng(0), tested=("f1",))
    of_f1 = columns(CATEGORIES)["metric"].to_numpy() == "f1"
    assert np.array_equal(f1[of_f1], every[of_f1]) and np.isnan(f1[~of_f1]).all()


def test_the_smallest_p_is_that_of_the_number_of_patients():
    assert floor(5) == 0.0625 and floor(20) == 0.5**19 and floor(21, n_permutations=999) == 0.001
    true = np.ones(5, dtype=bool)
    all_right, all_wrong = (
        from_indicators(true, pred, list("abcde"), ["x"]) for pred in (true, ~true)
    )
    p, exact = permutation(all_right, all_wrong, rng=np.random.default_rng(0))
    assert exact and p[columns(["x"])["name"].tolist().index("recall/x")] == floor(5)


def test_a_difference_that_changes_from_draw_to_draw_is_less_certain():
    """The same mean difference: alike in each draw, or of one draw only."""
    rng = np.random.default_rng(5)
    true = rng.random((400, 3)) < 0.3
    clusters = patients(rng, 400, 16)
    gold = from_indicators(true, true ^ (rng.random(true.shape) < 0.3), clusters, CATEGORIES)
    better = from_indicators(true, true ^ (rng.random(true.shape) < 0.2), clusters, CATEGORIES)
    at = NAMES.index("micro_f1")
    steady, _ = permutation([better] * 3, [gold] * 3, rng=rng)
    single, _ = permutation(better, gold, rng=rng)
    assert steady[at] == single[at]  # draws that do not differ add nothing
    changing, _ = permutation([better, better, gold], [gold] * 3, rng=rng)
    table = compare({"gold": [gold] * 3, "x": [better, better, gold]}, rng=np.random.default_rng(0))
    row = table[table["system"] == "x"].iloc[at]
    steady_row = compare({"gold": gold, "x": better}, rng=np.random.default_rng(0)).iloc[
        len(NAMES) + at
    ]
    assert changing[at] > 5 * steady[at]
    width = row["difference_high"] - row["difference_low"]
    assert width > 1.5 * (steady_row["difference_high"] - steady_row["difference_low"])
    assert row["detectable"] > 1.5 * steady_row["detectable"]


def test_permutation_of_recall_agrees_with_scipy():
    # With one gold sentence in every cluster, recall is a mean over clusters: scipy's paired
    # permutation test of means applies.
    rng = np.random.default_rng(1)
    hit_a, hit_b = rng.random(12) < 0.9, rng.random(12) < 0.4
    systems = [
        Counts(
            np.stack([h, 0 * h, 1 - h], axis=-1)[:, None].astype(int), tuple("abcdefghijkl"), ("x",)
        )
        for h in (hit_a, hit_b)
    ]
    p, exact = permutation(*systems, rng=rng)
    theirs = stats.permutation_test(
        (hit_a * 1.0, hit_b * 1.0),
        lambda x, y: x.mean() - y.mean(),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert exact
    assert p[columns(["x"])["name"].tolist().index("recall/x")] == pytest.approx(theirs.pvalue)


def test_only_clusters_on_which_systems_differ_are_enumerated():
    rng = np.random.default_rng(0)
    a = counts(rng, n=600, n_patients=60)
    values = a.values.copy()
    values[:3, 0, 0] += values[:3, 0, 2]  # three patients better
    values[:3, 0, 2] = 0
    b = Counts(values, a.clusters, a.categories)
    p, exact = permutation(a, b, rng=rng)
    assert exact
    assert p[NAMES.index("recall/a")] == 2 / 2**3
    same, exact = permutation(a, a, rng=rng)
    assert exact and (same == 1).all()


def test_holm_agrees_with_statsmodels():
    rng = np.random.default_rng(0)
    p = rng.random(30) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_gap = np.insert(p, 4, np.nan)
    assert np.isnan(holm(with_gap)[4])
    assert np.delete(holm(with_gap), 4) == pytest.approx(holm(p))


def grid(n_seeds=1):
    rng = np.random.default_rng(4)
    true = rng.random((400, 3)) < 0.3
    clusters = patients(rng, 400, 20)
    flips = {"gold": 0.3, "gold_silver": 0.15, "gold_bronze": 0.29}
    return {
        name: [
            from_indicators(true, true ^ (rng.random(true.shape) < flip), clusters, CATEGORIES)
            for _ in range(n_seeds)
        ]
        for name, flip in flips.items()
    }


def test_comparison_table():
    systems = grid()
    table = compare(systems, rng=np.random.default_rng(0), n_permutations=999)
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 3 * len(NAMES)
    macro = table[(table["scope"] == "macro") & (table["metric"] == "f1")].set_index("system")
    gold, better, same = macro.loc["gold"], macro.loc["gold_silver"], macro.loc["gold_bronze"]
    assert np.isnan(gold["difference"]) and np.isnan(gold["p"]) and np.isnan(gold["p_holm"])
    assert better["difference"] == pytest.approx(
        named(systems["gold_silver"])["macro_f1"] - named(systems["gold"])["macro_f1"]
    )
    assert (
        better["difference_low"] > 0
        and better["p"] < 0.01
        and better["p_holm"] == pytest.approx(2 * better["p"])
    )
    assert same["difference_low"] < 0 < same["difference_high"] and same["p"] > 0.05
    assert 0 < better["detectable"] < better["difference"]
    assert (macro["baseline"] == gold["value"]).all()


def test_intervals_of_the_comparison_are_those_of_the_intervals_module():
    systems = grid()
    table = compare(systems, rng=np.random.default_rng(3), n_permutations=99)
    alone = intervals(systems["gold_silver"], rng=np.random.default_rng(3))
    mine = table[table["system"] == "gold_silver"].reset_index(drop=True)
    assert mine["low"].tolist() == alone["low"].tolist()
    assert mine["value"].tolist() == alone["value"].tolist()


def test_paired_difference_is_narrower_than_the_two_intervals():
    rng = np.random.default_rng(0)
    true, pred = indicators(rng)
    clusters = patients(rng)
    gold, mixture = (
        from_indicators(true, p, clusters, CATEGORIES)
        for p in (pred, pred ^ (rng.random(pred.shape) < 0.03))
    )
    table = compare({"gold": gold, "mixture": mixture}, rng=rng, n_permutations=99)
    row = table[
        (table["system"] == "mixture") & (table["scope"] == "micro") & (table["metric"] == "recall")
    ].iloc[0]
    assert row["difference_high"] - row["difference_low"] < 0.6 * (row["high"] - row["low"])


def test_one_seed_repeats_and_another_differs():
    first, again, other = (
        compare(grid(), rng=np.random.default_rng(seed), n_permutations=99, n_resamples=99)
        for seed in (0, 0, 1)
    )
    assert first.equals(again)
    assert not first["difference_low"].equals(other["difference_low"])
    assert first["p"].equals(other["p"])  # 20 patients: all swaps are enumerated, none is drawn


def test_swapping_the_roles_mirrors_the_difference():
    a, b = pair(np.random.default_rng(0), n_patients=8)
    forth = compare({"gold": a, "x": b}, rng=np.random.default_rng(0))
    back = compare({"gold": b, "x": a}, rng=np.random.default_rng(0))
    forth, back = (t[t["system"] == "x"].reset_index(drop=True) for t in (forth, back))
    assert forth["difference"].tolist() == pytest.approx((-back["difference"]).tolist())
    assert forth["p"].tolist() == back["p"].tolist()


def test_undefined_scores_stay_undefined():
    rng = np.random.default_rng(0)
    true, pred = indicators(rng)
    true[:, 2] = False
    clusters = patients(rng)
    systems = {
        "gold": from_indicators(true, pred, clusters, CATEGORIES),
        "x": from_indicators(true, true, clusters, CATEGORIES),
    }
    table = compare(systems, rng=rng, n_permutations=99, n_resamples=99)
    rows = table[table["category"] == "c"]
    numbers = [
        "value",
        "low",
        "high",
        "baseline",
        "difference",
        "difference_low",
        "difference_high",
        "p",
        "p_holm",
        "detectable",
    ]
    assert rows[numbers].isna().all(axis=None)
    assert (
        table.loc[(table["system"] == "x") & (table["category"] == "a"), numbers]
        .notna()
        .all(axis=None)
    )


def test_a_family_is_one_metric_of_one_scope_over_the_grid():
    first = compare(grid(), rng=np.random.default_rng(0), n_permutations=999, n_resamples=99)
    second = first.assign(system=first["system"] + "_other")
    both = holm_over(pd.concat([first, second], ignore_index=True))
    family = both[(both["scope"] == "category") & (both["metric"] == "f1")]
    assert family["p"].count() == 2 * 2 * 3  # runs x systems x categories
    assert family["p_holm"].min() == pytest.approx(min(1, 12 * family["p"].min()))


def test_systems_that_cannot_be_compared_are_refused():
    a, b = pair(np.random.default_rng(0))
    with pytest.raises(UserError, match='no baseline "gold". There are: silver'):
        compare({"silver": a}, rng=np.random.default_rng(0))
    with pytest.raises(UserError, match="2 seeds against 3"):
        compare({"gold": [a] * 3, "x": [b] * 2}, rng=np.random.default_rng(0), n_permutations=9)
    with pytest.raises(UserError, match="not the same test set"):
        compare({"gold": a, "x": counts(np.random.default_rng(5))}, rng=np.random.default_rng(0))


def test_a_single_seed_is_compared_with_every_seed():
    a, b = pair(np.random.default_rng(0), n_patients=8)
    once = compare({"gold": [a], "x": [b, b]}, rng=np.random.default_rng(0))
    assert once["p"].equals(
        compare({"gold": [a, a], "x": [b, b]}, rng=np.random.default_rng(0))["p"]
    )


def test_detectable_difference_by_hand():
    # 10 patients, SE 0.02: (t9(0.975) + t9(0.8)) * 0.02 * sqrt(10 / 9)
    assert detectable(np.array([0.02]), 10)[0] == pytest.approx(
        (2.26216 + 0.88340) * 0.02 * np.sqrt(10 / 9), rel=1e-4
    )
    assert np.isnan(detectable(np.array([0.02]), 1)[0])
    # five patients allow no p below 0.0625: nothing would be found at 5 %
    assert np.isnan(detectable(np.array([0.02]), 5)[0])
    assert detectable(np.array([0.02]), 6)[0] > 0


def test_auc_comparison():
    rng = np.random.default_rng(0)
    true = rng.random(600) < 0.4
    clusters = patients(rng, 600, 60)
    base = true + rng.normal(0, 2, 600)
    systems = {"gold": [base], "better": [true + rng.normal(0, 1, 600)], "same": [base * 3 + 1]}
    table = compare_auc(
        true, systems, clusters, rng=np.random.default_rng(0), n_resamples=500
    ).set_index("system")
    assert table.loc["better", "difference_low"] > 0 and table.loc["better", "p"] < 0.001
    assert (
        table.loc["same", "difference"] == pytest.approx(0, abs=1e-12)
        and table.loc["same", "p"] == 1
    )
    assert np.isnan(table.loc["gold", "p"])
    with pytest.raises(UserError, match="no baseline"):
        compare_auc(true, systems, clusters, baseline="silver", rng=rng)


@pytest.mark.slow
def test_false_positive_rate_under_the_null():
    """1,000 pairs of exchangeable systems: the test says `different` at 5 % in about 5 % of them,
    never much more."""
    rng = np.random.default_rng(11)
    p = np.array(
        [permutation(*population(rng, 16), rng=rng, n_permutations=499)[0] for _ in range(1000)]
    )
    rate = dict(zip(NAMES, np.mean(p <= 0.05, axis=0), strict=True))
    bound = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)
    assert all(value <= bound for value in rate.values()), rate
    for name in ("macro_f1", "micro_f1", "f1/a", "micro_precision"):
        assert rate[name] >= 0.03, rate  # not merely never significant


@pytest.mark.slow
def test_holm_keeps_the_error_of_the_whole_grid():
    """Six mixtures no better than gold, three categories each: in about 5 % of grids, or fewer,
    anything is significant."""
    rng = np.random.default_rng(12)
    wrong = 0
    for _ in range(200):
        true = rng.random((480, 3)) < 0.2
        clusters = np.repeat(np.arange(16), 30)
        systems = {
            name: from_indicators(
                true, true ^ (rng.random(true.shape) < 0.15), clusters, CATEGORIES
            )
            for name in ("gold", "m1", "m2", "m3", "m4", "m5", "m6")
        }
        table = compare(systems, rng=rng, n_permutations=999, n_resamples=20)
        wrong += (
            table.loc[(table["scope"] == "category") & (table["metric"] == "f1"), "p_holm"] <= 0.05
        ).any()
    assert wrong / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.slow
def test_a_detectable_difference_is_detected_in_80_percent():
    """Draw test sets from a population whose true difference is about what they call detectable:
    the test finds most of them."""
    rng = np.random.default_rng(13)
    gap = 0.16
    at = NAMES.index("micro_recall")
    true_difference = np.subtract(
        *[scores(system.total)[at] for system in reversed(population(rng, 200_000, gap=gap))]
    )
    found, sizes = [], []
    for _ in range(400):
        a, b = population(rng, 16, gap=gap)
        table = compare({"gold": a, "x": b}, rng=rng, n_permutations=999, n_resamples=300)
        row = table[table["system"] == "x"].iloc[at]
        found.append(row["p"] <= 0.05)
        sizes.append(row["detectable"])
    assert np.mean(sizes) == pytest.approx(abs(true_difference), rel=0.1)
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)
