"""Scores of the user's own: the same mean, intervals and tests as the built-in ones."""

import math

import numpy as np
import pandas as pd
import pytest

from touchstone.errors import UserError
from touchstone.evaluate import own_metrics
from touchstone.evaluate.own_metrics import change_of, interval_of, metrics_of, value_of

CODE = """
def accuracy(true, predicted):
    return sum(t == p for t, p in zip(true, predicted)) / len(true)


def specificity(true, predicted):
    negatives = [p for t, p in zip(true, predicted) if not t]
    return sum(not p for p in negatives) / len(negatives) if negatives else float("nan")


def words(true, predicted):
    return "high"


def f_score(true, predicted):
    hits = sum(bool(t) and bool(p) for t, p in zip(true, predicted))
    return 2 * hits / (sum(map(bool, true)) + sum(map(bool, predicted)))


def broken(true, predicted):
    return true[0].nothing
"""


@pytest.fixture
def named(project):
    (project / "my_metrics.py").write_text(CODE)

    def load(*names):
        return metrics_of([f"my_metrics.{name}" for name in names])

    return load


def predictions(wrong=(), seeds=1, patients=8, per_patient=5):
    n = patients * per_patient
    true = [["x"] if row % 2 else [] for row in range(n)]
    parts = []
    for seed in range(seeds):
        pred = [([] if t else ["x"]) if row in wrong else list(t) for row, t in enumerate(true)]
        parts.append(
            pd.DataFrame(
                {
                    "seed": seed,
                    "example_id": [f"e{row:03}" for row in range(n)],
                    "doc_id": "d",
                    "patient_id": [f"p{row // per_patient}" for row in range(n)],
                    "true": true,
                    "pred": pred,
                    "score": [[]] * n,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def test_the_value_is_the_functions_averaged_over_repetitions(named):
    accuracy, specificity = named("accuracy", "specificity")
    table = pd.concat([predictions(wrong=[0, 1, 2, 3]), predictions().assign(seed=1)])
    assert value_of(accuracy, table) == pytest.approx((0.9 + 1.0) / 2)
    assert value_of(specificity, table) == pytest.approx((0.9 + 1.0) / 2)
    assert (accuracy.name, specificity.name) == ("accuracy", "specificity")


def test_the_interval_is_by_patient_and_that_of_the_same_builtin_score(named):
    from touchstone.evaluate.counts import from_indicators
    from touchstone.evaluate.intervals import intervals

    (accuracy,) = named("accuracy")
    table = predictions(wrong=[0, 1, 2, 5, 6, 10])  # in three of eight patients
    low, high = interval_of(accuracy, table, n_resamples=1500)
    hit = np.array([[t == p] for t, p in zip(table["true"], table["pred"], strict=True)])
    counts = from_indicators(  # recall of "was right" is the accuracy
        np.ones_like(hit), hit, table["patient_id"].tolist(), ["right"]
    )
    builtin = intervals(counts, rng=np.random.default_rng(1), n_resamples=1500)
    row = builtin[(builtin["scope"] == "micro") & (builtin["metric"] == "recall")].iloc[0]
    assert (low, high) == pytest.approx((row["low"], row["high"]), abs=0.03)
    assert interval_of(accuracy, table) == interval_of(accuracy, table)
    narrow = table.assign(patient_id=table["example_id"])
    assert np.diff(interval_of(accuracy, narrow))[0] < high - low


def test_repetitions_that_differ_widen_the_interval(named):
    (accuracy,) = named("accuracy")
    same = predictions(wrong=[0, 6, 12], seeds=3)
    other = same.copy()
    worse = other["seed"] == 2
    other.loc[worse, "pred"] = pd.Series([["x"]] * int(worse.sum()), index=other.index[worse])
    low, high = interval_of(accuracy, same)
    wide_low, wide_high = interval_of(accuracy, other)
    assert wide_high - wide_low > 2 * (high - low)


def test_p_is_exact_where_few_patients_differ(named):
    (accuracy,) = named("accuracy")
    worse = predictions(wrong=[0, 5, 10, 15, 20])  # one sentence of each of five patients
    change = change_of(accuracy, worse, predictions(), n_resamples=200)
    assert change["difference"] == pytest.approx(5 / 40) and change["low"] > 0
    assert change["p"] == 1 / 16  # all five in one direction, two-sided: 2 / 2**5
    assert change_of(accuracy, worse, worse, n_resamples=20)["p"] == 1.0


def test_p_is_drawn_where_many_patients_differ(named, monkeypatch):
    (accuracy,) = named("accuracy")
    monkeypatch.setattr(own_metrics, "SWAPS", 199)
    worse = predictions(wrong=range(0, 60, 5), patients=12)
    change = change_of(accuracy, worse, predictions(patients=12), n_resamples=20)
    assert change["p"] <= 0.02


@pytest.mark.parametrize("draws", [1, 3])
def test_change_and_p_are_those_of_the_same_builtin_score(named, draws):
    from touchstone.evaluate.compare import compare
    from touchstone.evaluate.predictions import counts_of

    (f_score,) = named("f_score")

    def system(*wrong):
        return pd.concat(
            [predictions(wrong=rows, patients=9).assign(seed=i) for i, rows in enumerate(wrong)],
            ignore_index=True,
        )

    first = [[0, 5, 10, 15, 20, 25, 31, 36], [1, 5, 12, 17, 20, 30, 31], [0, 7, 11, 25, 40]][:draws]
    second = [[2, 31], [0, 33], [0, 1, 2, 7, 11, 12]][:draws]
    a, b = system(*first), system(*second)
    counts = {name: counts_of(table, "binary", ["x"]) for name, table in (("gold", a), ("b", b))}
    table = compare(counts, "gold", rng=np.random.default_rng(5))
    builtin = table.query("system == 'b' and scope == 'macro' and metric == 'f1'").iloc[0]
    change = change_of(f_score, a, b, n_resamples=1500)
    assert change["difference"] == pytest.approx(builtin["difference"])
    # the built-in test adds the deviation of draws in bins of differences
    assert change["exact"] and change["p"] == pytest.approx(builtin["p"], rel=0.02)
    bounds = (builtin["difference_low"], builtin["difference_high"])
    assert (change["low"], change["high"]) == pytest.approx(bounds, abs=0.06 * draws)


def test_numbers_of_repetitions_that_do_not_pair_are_refused(named):
    (accuracy,) = named("accuracy")
    assert change_of(accuracy, predictions(), predictions(seeds=3), n_resamples=20)["p"] == 1.0
    with pytest.raises(UserError, match="3 seeds against 2: compare systems of the same number"):
        change_of(accuracy, predictions(seeds=2), predictions(seeds=3), n_resamples=20)


def test_one_patient_has_no_interval(named):
    (accuracy,) = named("accuracy")
    one = predictions(patients=1, wrong=[1])
    assert all(math.isnan(bound) for bound in interval_of(accuracy, one, n_resamples=20))


def test_other_examples_are_refused(named):
    (accuracy,) = named("accuracy")
    with pytest.raises(UserError, match="not scored on the same test examples"):
        change_of(accuracy, predictions(), predictions(patients=7))


def test_undefined_is_nan_and_left_out_of_resamples(named):
    (specificity,) = named("specificity")
    table = predictions(patients=2, per_patient=1)
    assert value_of(specificity, table) == 1.0
    assert interval_of(specificity, table) == (1.0, 1.0)
    positives = table[table["true"].map(bool)]
    assert math.isnan(value_of(specificity, positives))
    assert all(math.isnan(bound) for bound in interval_of(specificity, positives))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("words", "^metrics=my_metrics.words: must return a number, not str$"),
        ("broken", r"^metrics=my_metrics.broken: \S+my_metrics.py, line 21: AttributeError"),
    ],
)
def test_a_fault_in_the_function_is_told_as_the_users(named, name, message):
    (metric,) = named(name)
    with pytest.raises(UserError, match=message):
        value_of(metric, predictions())


def test_names_are_functions_and_differ(project, named):
    named("accuracy")
    (project / "others.py").write_text("accuracy = max\nnumber = 3\n")
    with pytest.raises(
        UserError, match="my_metrics.accuracy has the name accuracy too; rename one"
    ):
        metrics_of(["my_metrics.accuracy", "others.accuracy"])
    with pytest.raises(UserError, match="metrics=others.number: must be a function, not int"):
        metrics_of(["others.number"])
