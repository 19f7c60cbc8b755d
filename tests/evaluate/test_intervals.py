"""Clustered bootstrap: against a slow loop that repeats the examples, and by simulation of its
coverage."""

import numpy as np
import pytest
from evaluation_data import CATEGORIES, counts, indicators, patients, population
from scipy import stats
from sklearn.metrics import f1_score

from touchstone.errors import UserError
from touchstone.evaluate.auc import auc
from touchstone.evaluate.compare import compare
from touchstone.evaluate.counts import Counts, from_indicators
from touchstone.evaluate.intervals import (
    auc_interval,
    bootstrap,
    bounds,
    covers,
    draw_error,
    draw_weights,
    intervals,
    resamples,
    standard_error,
    tail,
)
from touchstone.evaluate.metrics import columns, named, scores
from touchstone.evaluate.permutation import permutation


def test_resamples_draw_as_many_clusters_as_there_are():
    weights = resamples(7, 500, np.random.default_rng(0))
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
    # multinomial: each cluster is binomial(7, 1/7)
    assert weights.var() == pytest.approx(7 * (1 / 7) * (6 / 7), rel=0.1)


def test_bootstrap_equals_scoring_the_repeated_examples():
    rng = np.random.default_rng(0)
    true, pred = indicators(rng)
    clusters = np.array(patients(rng))
    counts_ = from_indicators(true, pred, clusters, CATEGORIES)
    weights = resamples(len(counts_.clusters), 20, rng)
    draws = bootstrap(counts_, weights)
    name = columns(CATEGORIES)["name"].tolist()
    for row, draw in zip(weights, draws, strict=True):
        rows = np.concatenate(
            [
                np.repeat(np.flatnonzero(clusters == c), n)
                for c, n in zip(counts_.clusters, row, strict=True)
            ]
        )
        assert draw[name.index("macro_f1")] == pytest.approx(
            f1_score(true[rows], pred[rows], average="macro")
        )
        assert draw[name.index("f1/b")] == pytest.approx(f1_score(true[rows, 1], pred[rows, 1]))


def test_bootstrap_in_chunks_is_the_same(monkeypatch):
    from touchstone.evaluate import intervals as module

    seeds = [counts(np.random.default_rng(0))] * 2
    weights = resamples(12, 50, np.random.default_rng(1))
    whole = bootstrap(seeds, weights)
    monkeypatch.setattr(module, "CHUNK", 200)
    np.testing.assert_array_equal(bootstrap(seeds, weights), whole)


def test_one_seed_repeats_and_another_differs():
    counts_ = counts(np.random.default_rng(0))
    table, again, other = (
        intervals(counts_, rng=np.random.default_rng(seed), n_resamples=200) for seed in (5, 5, 6)
    )
    assert table.equals(again)
    assert not table.equals(other)
    assert (table["value"] == other["value"]).all()


def test_interval_table_holds_every_score_inside_its_interval():
    counts_ = counts(np.random.default_rng(0))
    table = intervals(counts_, rng=np.random.default_rng(0))
    assert list(table.columns) == ["scope", "category", "metric", "value", "low", "high"]
    assert len(table) == 3 * (3 + len(CATEGORIES))
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()
    macro = table[(table["scope"] == "macro") & (table["metric"] == "f1")].iloc[0]
    assert macro["value"] == named(counts_)["macro_f1"]


def test_more_level_is_wider_and_expanded_is_wider_than_percentile():
    counts_ = counts(np.random.default_rng(0))

    def width(**options):
        table = intervals(counts_, rng=np.random.default_rng(0), **options)
        return (table["high"] - table["low"]).mean()

    assert width(level=0.8) < width(level=0.95) < width(level=0.99)
    assert width(method="percentile") < width(method="expanded")
    with pytest.raises(UserError, match="no interval method"):
        width(method="bca")
    with pytest.raises(UserError, match="must be between 0 and 1"):
        width(level=95)


def test_expanded_tail_is_that_of_hesterberg():
    # Hesterberg 2015, section 4.4: for n = 10, alpha/2 = 0.025 becomes Phi(-sqrt(10/9) * 2.262) =
    # 0.0085
    assert tail(10, 0.95) == pytest.approx(stats.norm.cdf(-np.sqrt(10 / 9) * 2.262157), rel=1e-6)
    assert tail(10_000, 0.95) == pytest.approx(0.025, abs=1e-4)
    assert tail(10, 0.95, "percentile") == pytest.approx(0.025)


def test_bounds_leave_out_undefined_resamples():
    rng = np.random.default_rng(0)
    draws = rng.random((500, 3))
    draws[rng.random(500) < 0.3, 1] = np.nan
    draws[:, 2] = np.nan
    low, high = bounds(draws, 9, 0.9, "percentile")
    expected = np.nanquantile(draws[:, :2], [0.05, 0.95], axis=0)
    assert low[:2] == pytest.approx(expected[0])
    assert high[:2] == pytest.approx(expected[1])
    assert np.isnan(low[2]) and np.isnan(high[2])
    assert standard_error(draws)[:2] == pytest.approx(np.nanstd(draws[:, :2], axis=0))
    assert np.isnan(standard_error(draws)[2])


def test_a_single_cluster_has_no_interval():
    counts_ = from_indicators(*indicators(np.random.default_rng(0)), ["p"] * 300, CATEGORIES)
    table = intervals(counts_, rng=np.random.default_rng(0), n_resamples=50)
    assert table["value"].notna().all()
    assert table["low"].isna().all() and table["high"].isna().all()


def test_seeds_are_averaged_before_the_interval_is_taken():
    rng = np.random.default_rng(0)
    true, _ = indicators(rng)
    clusters = patients(rng)
    seeds = [
        from_indicators(true, true ^ (rng.random(true.shape) < 0.2), clusters, CATEGORIES)
        for _ in range(4)
    ]
    weights = resamples(12, 30, rng)
    assert bootstrap(seeds, weights) == pytest.approx(
        np.mean([bootstrap(seed, weights) for seed in seeds], axis=0)
    )


def test_auc_interval():
    rng = np.random.default_rng(0)
    true = rng.random(400) < 0.4
    seeds = [true + rng.normal(0, 1, 400) for _ in range(2)]
    clusters = patients(rng, 400, 40)
    value, low, high = auc_interval(
        true, seeds, clusters, rng=np.random.default_rng(1), n_resamples=500
    )
    assert value == pytest.approx(np.mean([auc(true, score) for score in seeds]))
    assert low < value < high
    assert (value, low, high) == auc_interval(
        true, seeds, clusters, rng=np.random.default_rng(1), n_resamples=500
    )
    assert (
        low != auc_interval(true, seeds, clusters, rng=np.random.default_rng(2), n_resamples=500)[1]
    )


def test_draw_weights_move_the_mean_by_a_t_deviate():
    rng = np.random.default_rng(0)
    weights = draw_weights(4, 200_000, rng)
    assert weights.sum(axis=1) == pytest.approx(1)
    draws = np.array([0.1, 0.4, 0.2, 0.9])
    moved = (weights @ draws - draws.mean()) / draw_error(draws)
    for q in (0.05, 0.25, 0.75, 0.95):
        assert np.quantile(moved, q) == pytest.approx(stats.t.ppf(q, 3), abs=0.03)
    assert draw_error(draws) == pytest.approx(stats.sem(draws))
    assert np.array_equal(draw_weights(1, 3, rng), np.ones((3, 1))) and draw_error(draws[:1]) == 0


def test_draws_that_differ_widen_the_interval_and_equal_ones_do_not():
    rng = np.random.default_rng(0)
    true, _ = indicators(rng)
    clusters = patients(rng)
    seeds = [
        from_indicators(true, true ^ (rng.random(true.shape) < error), clusters, CATEGORIES)
        for error in (0.1, 0.3, 0.2)
    ]

    def width(group):
        row = intervals(group, rng=np.random.default_rng(1)).iloc[5]
        return row["high"] - row["low"]

    assert width([seeds[2]] * 3) == pytest.approx(width(seeds[2]))
    assert width(seeds) > 2 * width(seeds[2])


@pytest.mark.slow
@pytest.mark.parametrize("n_draws", [3, 5, 10])
def test_coverage_over_patients_and_draws(n_draws):
    """20 test patients and a few draws of gold, each of which makes a system of another skill: the
    score and the paired difference, over all patients and draws, lie in about 95 % of the
    intervals, and the test errs in about 5 % or fewer where there is no difference.

    An interval over patients alone covers far less."""
    rng = np.random.default_rng([9, n_draws])
    n_sets, inside, paired_inside, of_patients, wrong = 200, 0, 0, 0, 0
    for _ in range(n_sets):
        hard = rng.beta(8, 4, 20)  # a patient's sentences are alike
        true = np.ones((20 * 30, 1), dtype=bool)
        clusters = np.repeat(np.arange(20), 30)

        def system(skill, hard=hard, true=true, clusters=clusters):
            chance = np.clip(np.repeat(hard, 30) + skill, 0, 1)[:, None]
            return from_indicators(true, rng.random(true.shape) < chance, clusters, ["x"])

        gold = [system(rng.normal(0, 0.06)) for _ in range(n_draws)]
        other = [system(rng.normal(0, 0.06)) for _ in range(n_draws)]
        table = compare({"gold": gold, "x": other}, rng=rng, n_resamples=400, tested=())
        recall = table[(table["scope"] == "micro") & (table["metric"] == "recall")]
        scored, row = recall.iloc[0], recall.iloc[1]
        inside += scored["low"] <= 8 / 12 <= scored["high"]
        paired_inside += row["difference_low"] <= 0 <= row["difference_high"]
        p, _ = permutation(other, gold, rng=rng, n_permutations=999, exact=0, tested=("recall",))
        wrong += p[columns(["x"])["name"].tolist().index("micro_recall")] <= 0.05
        low, high = intervals(gold[0], rng=rng, n_resamples=400).loc[4, ["low", "high"]]
        of_patients += low <= 8 / 12 <= high
    # 200 sets: 3 draws 1.00, 0.98, 0.69, 0.04; 5 draws 0.96, 0.96, 0.67, 0.05
    assert inside / n_sets >= 0.92
    assert paired_inside / n_sets >= 0.92
    assert of_patients / n_sets < 0.85
    assert wrong / n_sets <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n_sets)


def test_caption_says_what_the_interval_covers():
    assert "over the 16 test patients and 3 draws" in covers("16", "patients", 3, 2000)
    assert "2,000 resamples, mean of 3 draws" in covers("16", "patients", 3, 2000)
    assert "5 test documents (100 resamples, one draw)" in covers("5", "documents", 1, 100)


@pytest.mark.slow
@pytest.mark.parametrize("n_patients", [16, 40])
def test_coverage_of_the_95_percent_interval(n_patients):
    """800 test sets from one population: the true score lies in about 95 % of their intervals; rare
    categories may fall short."""
    rng = np.random.default_rng(7)
    truth = scores(population(rng, 200_000)[0].total)
    inside, defined = np.zeros(len(truth)), np.zeros(len(truth))
    for _ in range(800):
        counts_ = population(rng, n_patients)[0]
        table = intervals(counts_, rng=rng, n_resamples=1000)
        ok = table["value"].notna().to_numpy()
        inside += np.where(ok, (table["low"] <= truth) & (truth <= table["high"]), 0)
        defined += ok
    coverage = dict(zip(columns(CATEGORIES)["name"], inside / defined, strict=True))
    for name in ("macro_f1", "micro_f1", "weighted_f1", "f1/a", "micro_precision", "micro_recall"):
        assert 0.92 <= coverage[name] <= 0.985, (name, coverage)
    assert coverage["f1/c"] >= 0.87  # about 1.6 sentences a patient


@pytest.mark.slow
def test_resampling_sentences_instead_of_patients_is_too_narrow():
    """Why clusters: the same simulation with every sentence its own cluster covers far less than it
    says."""
    rng = np.random.default_rng(8)
    n_patients, n_sentences, inside = 16, 40, 0

    def draw(n):
        hard = np.repeat(rng.beta(2, 2, n), n_sentences)
        true = rng.random(n * n_sentences) < 0.4
        return true, true & (rng.random(n * n_sentences) < hard)

    def f1_of(true, pred):
        return 2 * (true & pred).sum() / (true.sum() + pred.sum())

    truth = f1_of(*draw(50_000))
    for _ in range(300):
        true, pred = draw(n_patients)
        row = intervals(
            from_indicators(true, pred, range(len(true)), ["a"]), rng=rng, n_resamples=300
        ).iloc[5]
        assert (row["scope"], row["metric"]) == ("micro", "f1")
        inside += row["low"] <= truth <= row["high"]
    assert inside / 300 < 0.75


def test_counts_are_not_changed_by_scoring():
    counts_ = counts(np.random.default_rng(0))
    before = counts_.values.copy()
    intervals(counts_, rng=np.random.default_rng(0), n_resamples=10)
    assert isinstance(counts_, Counts)
    np.testing.assert_array_equal(counts_.values, before)
