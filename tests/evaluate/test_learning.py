"""Learning curves and gold equivalents."""

import numpy as np
import pytest
from evaluation_data import CATEGORIES, patients
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from touchstone.errors import UserError
from touchstone.evaluate.counts import from_indicators
from touchstone.evaluate.learning import (
    GoldEquivalent,
    gold_equivalent,
    monotone,
    read_off,
    score_index,
)

SIZES = np.array([100.0, 200.0, 400.0, 800.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_monotone_is_the_isotonic_fit_of_sklearn(values):
    expected = IsotonicRegression().fit_transform(np.arange(len(values)), values)
    assert monotone(np.array(values)) == pytest.approx(expected)
    assert monotone(np.array([values, values]))[1] == pytest.approx(expected)


def test_reading_off_is_linear_in_log_size():
    curve = np.array([[0.2, 0.3, 0.5, 0.6]])
    assert read_off(SIZES, curve, np.array([0.3]))[0] == pytest.approx(200)
    assert read_off(SIZES, curve, np.array([0.4]))[0] == pytest.approx(np.sqrt(200 * 400))
    assert read_off(SIZES, curve, np.array([0.2]))[0] == pytest.approx(100)
    assert read_off(SIZES, curve, np.array([0.6]))[0] == pytest.approx(800)


def test_outside_the_curve_is_more_than_or_less_than():
    curve = np.array([[0.2, 0.3, 0.5, 0.6]] * 3)
    assert read_off(SIZES, curve, np.array([0.61, 0.19, np.nan])).tolist()[:2] == [np.inf, -np.inf]
    assert np.isnan(read_off(SIZES, curve, np.array([0.61, 0.19, np.nan]))[2])


def test_on_a_plateau_the_smallest_size_counts():
    assert read_off(SIZES, np.array([[0.2, 0.5, 0.5, 0.6]]), np.array([0.5]))[0] == pytest.approx(
        200
    )
    # 0.5, 0.3 pool to 0.4 over 200 and 400
    assert read_off(SIZES, np.array([[0.2, 0.5, 0.3, 0.6]]), np.array([0.4]))[0] == pytest.approx(
        200
    )


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_a_better_score_is_never_worth_less(curve, a, b):
    worth = read_off(SIZES, np.array([curve] * 2), np.array([min(a, b), max(a, b)]))
    assert worth[0] <= worth[1] * (1 + 1e-9) or worth[0] == worth[1]


def system(rng, flip, truth, clusters):
    return from_indicators(truth, truth ^ (rng.random(truth.shape) < flip), clusters, CATEGORIES)


def study(rng, mixture_flip):
    truth = rng.random((900, 3)) < 0.3
    clusters = patients(rng, 900, 40)
    curve = {
        n: [system(rng, flip, truth, clusters)]  # one draw: two would allow no narrow interval
        for n, flip in zip(SIZES, (0.4, 0.3, 0.2, 0.1), strict=True)
    }
    return curve, [system(rng, mixture_flip, truth, clusters)]


def test_gold_equivalent_of_a_mixture_between_two_sizes():
    curve, mixture = study(np.random.default_rng(0), 0.25)
    worth = gold_equivalent(curve, mixture, rng=np.random.default_rng(0))
    assert 200 < worth.low < worth.value < worth.high < 400
    assert str(worth) == f"{worth.value:,.0f} ({worth.low:,.0f} to {worth.high:,.0f})"


def test_gold_equivalent_of_a_size_on_the_curve_is_that_size():
    curve, _ = study(np.random.default_rng(0), 0.25)
    worth = gold_equivalent(curve, curve[400.0], rng=np.random.default_rng(0))
    assert (worth.value, worth.low, worth.high) == pytest.approx((400, 400, 400))


def test_gold_equivalent_outside_the_curve_says_so():
    curve, better = study(np.random.default_rng(0), 0.02)
    assert (
        str(gold_equivalent(curve, better, rng=np.random.default_rng(0)))
        == "more than 800 (more than 800 to more than 800)"
    )
    curve, worse = study(np.random.default_rng(0), 0.5)
    assert str(gold_equivalent(curve, worse, rng=np.random.default_rng(0))).startswith(
        "less than 100 (less than 100 to "
    )
    assert str(GoldEquivalent(np.nan, np.nan, np.nan, 1, 2)) == "undefined"


def test_gold_equivalent_repeats_with_its_seed():
    curve, mixture = study(np.random.default_rng(0), 0.25)
    first, again, other = (
        gold_equivalent(curve, mixture, rng=np.random.default_rng(seed), n_resamples=200)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first.value == other.value and first.low != other.low


def test_mistakes_are_told():
    curve, mixture = study(np.random.default_rng(0), 0.25)
    with pytest.raises(UserError, match="at least two sizes above 0; found 100"):
        gold_equivalent({100: curve[100.0]}, mixture, rng=np.random.default_rng(0))
    with pytest.raises(UserError, match='no metric "macrof1". Did you mean macro_f1'):
        score_index(CATEGORIES, "macrof1")
    _, elsewhere = study(np.random.default_rng(9), 0.25)
    with pytest.raises(UserError, match="not the same test set"):
        gold_equivalent(curve, elsewhere, rng=np.random.default_rng(0))


@pytest.mark.slow
def test_the_interval_of_the_gold_equivalent_covers_the_true_size():
    """400 test sets; the mixture is as good as sqrt(200 * 400) sentences of gold: its interval says
    so in about 95 % of them."""
    rng = np.random.default_rng(3)
    flips = {100: 0.35, 200: 0.30, 400: 0.20, 800: 0.15}
    inside = 0
    # micro recall of a system that flips a share f of cells is 1 - f, linear between the sizes by
    # construction
    for _ in range(400):
        truth = rng.random((600, 3)) < 0.3
        clusters = np.repeat(np.arange(30), 20)
        curve = {n: system(rng, flip, truth, clusters) for n, flip in flips.items()}
        worth = gold_equivalent(
            curve, system(rng, 0.25, truth, clusters), "micro_recall", rng=rng, n_resamples=500
        )
        inside += worth.low <= np.sqrt(200 * 400) <= worth.high
    assert 0.90 <= inside / 400 <= 0.99
