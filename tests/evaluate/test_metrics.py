"""Scores from counts against scikit-learn and by hand; AUC against the pair definition."""

import re

import numpy as np
import pytest
from evaluation_data import CATEGORIES, indicators, patients
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name
from sklearn import metrics as sk

from touchstone.errors import UserError
from touchstone.evaluate.auc import auc, weighted_auc
from touchstone.evaluate.counts import from_indicators
from touchstone.evaluate.metrics import (
    columns,
    confusion,
    named,
    safe,
    score_table,
    scores,
    trivial,
)


def scored(true, pred, clusters=None):
    clusters = clusters if clusters is not None else ["p"] * len(true)
    return named(from_indicators(true, pred, clusters, CATEGORIES[: true.shape[1]]))


def test_scores_by_hand():
    # a: 3 hits, 1 false alarm, 2 misses. b: 1 hit, 1 false alarm, 0 misses.
    named = dict(
        zip(columns(["a", "b"])["name"], scores(np.array([[3, 1, 2], [1, 1, 0]])), strict=True)
    )
    assert named["precision/a"] == 3 / 4
    assert named["recall/a"] == 3 / 5
    assert named["f1/a"] == pytest.approx(6 / 9)
    assert named["f1/b"] == pytest.approx(2 / 3)
    assert named["micro_f1"] == pytest.approx(8 / 12)
    assert named["macro_precision"] == pytest.approx((0.75 + 0.5) / 2)
    assert named["weighted_recall"] == pytest.approx((5 * 0.6 + 1 * 1) / 6)


def test_scores_agree_with_sklearn():
    rng = np.random.default_rng(1)
    true, pred = indicators(rng)
    got = scored(true, pred, patients(rng))
    for average in ("macro", "micro", "weighted"):
        p, r, f, _ = sk.precision_recall_fscore_support(true, pred, average=average)
        assert [got[f"{average}_{m}"] for m in ("precision", "recall", "f1")] == pytest.approx(
            [p, r, f]
        )
    assert [got[f"f1/{c}"] for c in CATEGORIES] == pytest.approx(
        sk.f1_score(true, pred, average=None).tolist()
    )


def test_a_category_that_is_never_predicted_scores_zero():
    true, pred = np.array([[1], [0]], bool), np.array([[0], [0]], bool)
    assert set(scored(true, pred).values()) == {0.0}


def test_a_category_without_gold_is_undefined_and_left_out_of_macro_whatever_a_system_predicts():
    true = np.array([[1, 0], [0, 0], [1, 0]], bool)
    silent = scored(true, np.array([[1, 0], [0, 0], [0, 0]], bool))
    alarmed = scored(true, np.array([[1, 1], [0, 1], [0, 0]], bool))
    assert silent["macro_f1"] == alarmed["macro_f1"] == silent["f1/a"]
    assert "f1/b" not in silent and "f1/b" not in alarmed
    assert alarmed["micro_f1"] < silent["micro_f1"]
    table = score_table(from_indicators(true, true, ["p"] * 3, ["a", "b"]))
    assert table.loc[table["category"] == "b", "value"].isna().tolist() == [True, True, True, False]


def test_no_gold_at_all_leaves_nothing_defined():
    assert scored(np.zeros((2, 2), bool), np.ones((2, 2), bool)) == {}


def test_scores_of_many_resamples_are_the_scores_of_each():
    totals = np.random.default_rng(0).integers(0, 9, (5, 4, 3, 3))
    together = scores(totals)
    assert together.shape == (5, 4, 18)
    np.testing.assert_array_equal(together[2, 3], scores(totals[2, 3]))


def test_seeds_are_scored_then_averaged():
    rng = np.random.default_rng(2)
    true, first = indicators(rng)
    second = true ^ (rng.random(true.shape) < 0.4)
    clusters = patients(rng)
    seeds = [from_indicators(true, pred, clusters, CATEGORIES) for pred in (first, second)]
    assert named(seeds)["macro_f1"] == pytest.approx(
        np.mean([named(seed)["macro_f1"] for seed in seeds])
    )


def test_score_table_columns_and_support():
    true, pred = indicators(np.random.default_rng(0))
    table = score_table(from_indicators(true, pred, ["p"] * len(true), CATEGORIES))
    assert list(table.columns) == ["scope", "category", "metric", "value"]
    support = table[table["metric"] == "support"].set_index("category")["value"]
    assert support.to_dict() == dict(zip(CATEGORIES, true.sum(axis=0), strict=True))


def test_metric_names_are_safe_for_the_tracker_and_never_the_same():
    ids = ["sustaining proliferative", "a@b(c)[d]é", "疾病", "药物", "a b", "a:b", "a/b"]
    names = [safe(name) for name in ids]
    assert names[0] == ids[0] and names[2:4] == ids[2:4]
    assert re.fullmatch(r"a_b_c__d_é-[0-9a-f]{4}", names[1])
    assert len(set(names)) == len(ids)
    for name in names:
        _validate_metric_name(f"test/f1/{name}")


def test_confusion_matrix_with_none():
    matrix = confusion(["a", "b", "none", None], ["a", "a", "b", ""], ["a", "b"])
    assert matrix.index.tolist() == matrix.columns.tolist() == ["a", "b", "none"]
    assert matrix.to_numpy().tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]
    with pytest.raises(UserError, match='no category "c"'):
        confusion(["c"], ["a"], ["a", "b"])


def test_trivial_rows():
    true = np.array([[1], [1], [0]], bool)
    rows = trivial(true)
    assert scored(true, rows["always_positive"])["micro_f1"] == pytest.approx(0.8)
    assert rows["majority_class"].all()
    several = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]], bool)
    rows = trivial(several, exclusive=True)
    assert rows["always_positive"].tolist() == [[True, False]] * 6
    assert not rows["majority_class"].any()  # none is the most frequent class
    assert trivial(several[:3], exclusive=True)["majority_class"][:, 0].all()
    assert (
        trivial(several)["always_positive"].all() and not trivial(several)["majority_class"].any()
    )
    assert trivial(np.array([1, 1, 0]))["always_positive"].shape == (3, 1)


def pairs_won(true, score):
    """The definition: the chance that a positive scores higher than a negative, ties one half."""
    wins = [(p > n) + 0.5 * (p == n) for p in score[true] for n in score[~true]]
    return np.mean(wins)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=25))
def test_auc_is_the_share_of_pairs_won(rows):
    true, score = np.array([t for t, _ in rows]), np.array([s for _, s in rows], float)
    got = auc(true, score)
    if true.all() or not true.any():
        assert np.isnan(got)
    else:
        assert got == pytest.approx(pairs_won(true, score))
        assert got == pytest.approx(sk.roc_auc_score(true, score))


def test_weighted_auc_is_the_auc_of_the_repeated_examples():
    rng = np.random.default_rng(0)
    true, score, codes = rng.random(60) < 0.4, rng.integers(0, 9, 60) / 9, rng.integers(0, 6, 60)
    weights = rng.multinomial(6, np.ones(6) / 6, size=20)
    got = weighted_auc(true, score, codes, weights)
    for row, value in zip(weights, got, strict=True):
        repeated = np.repeat(np.arange(60), row[codes])
        assert value == pytest.approx(pairs_won(true[repeated], score[repeated]))
