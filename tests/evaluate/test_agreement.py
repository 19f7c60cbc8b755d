"""Agreement against published examples, other packages and hand calculation."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

import touchstone
from touchstone.errors import UserError
from touchstone.evaluate.agreement import agreement, cohen_kappa, fleiss_kappa, krippendorff_alpha

# Krippendorff 2011, Computing Krippendorff's alpha-reliability, part C: 4 observers, 12 units,
# missing values; nominal alpha 0.743
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
# Ten subjects, five values, fourteen raters: the worked example of Fleiss' kappa (0.210) of the
# encyclopedias
FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def test_krippendorff_alpha_published():
    assert krippendorff_alpha(OBSERVERS) == pytest.approx(0.743, abs=5e-4)


def test_fleiss_kappa_published():
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_cohen_kappa_by_hand():
    # 50 grants: both yes 20, both no 15, A alone 5, B alone 10. Observed 0.7, expected 0.5 * 0.6 +
    # 0.5 * 0.4 = 0.5
    a, b = ["y"] * 25 + ["n"] * 25, ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(a, b) == pytest.approx((0.7 - 0.5) / 0.5)


def test_alpha_by_hand_with_two_annotators():
    # Units ab, aa, bb, bb: coincidences aa 2, bb 4, ab 1, ba 1; n = 8, a 3, b 5.
    # alpha = 1 - (n - 1) * off-diagonal / sum over pairs of n_c * n_k = 1 - 7 * 1 / (3 * 5)
    assert krippendorff_alpha(["aabb", "babb"]) == pytest.approx(1 - 7 / 15)


LABELS = st.lists(st.tuples(*[st.sampled_from("abc")] * 3), min_size=2, max_size=30)


@settings(deadline=None)
@given(LABELS)
def test_kappas_agree_with_sklearn_and_statsmodels(rows):
    first, second, _ = zip(*rows, strict=True)
    if len(set(first + second)) > 1:
        assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))
    table, _ = inter_rater.aggregate_raters(np.array(rows))
    if (table.sum(axis=0) > 0).sum() > 1:
        assert fleiss_kappa(table) == pytest.approx(inter_rater.fleiss_kappa(table))


def test_perfect_worse_than_chance_and_undefined():
    assert (
        cohen_kappa("ab", "ab")
        == fleiss_kappa([[2, 0], [0, 2]])
        == krippendorff_alpha(["ab", "ab"])
        == 1
    )
    assert cohen_kappa("ab", "ba") == -1
    assert krippendorff_alpha(["ab", "ba"]) < 0
    assert (
        np.isnan(cohen_kappa("aa", "aa"))
        and np.isnan(krippendorff_alpha(["aa", "aa"]))
        and np.isnan(fleiss_kappa([[2], [2]]))
    )
    assert np.isnan(cohen_kappa([None, "a"], ["a", None]))
    assert np.isnan(krippendorff_alpha([[None, "a"], ["a", None]]))


def test_items_that_one_annotator_skipped_do_not_count():
    assert cohen_kappa(["a", "b", None, "a"], ["a", "b", "b", "b"]) == cohen_kappa(
        ["a", "b", "a"], ["a", "b", "b"]
    )
    with pytest.raises(ValueError, match="same number of annotators"):
        fleiss_kappa([[2, 0], [1, 0]])


def test_agreement_table_by_category():
    one = [["a"], ["a", "b"], [], ["b"], None]
    two = [["a"], ["a"], [], ["b"], ["a"]]
    table = agreement({"one": one, "two": two}, ["a", "b"]).set_index(["category", "measure"])
    assert table.loc[("a", "cohen_kappa"), "value"] == 1
    assert table.loc[("a", "cohen_kappa"), "n"] == 4
    assert table.loc[("b", "observed"), "value"] == 0.75
    assert table.loc[("b", "cohen_kappa"), "value"] == pytest.approx(
        cohen_kappa([0, 1, 0, 1], [0, 0, 0, 1])
    )
    assert table.loc[("any", "observed"), "value"] == 1
    assert table.loc[("label_set", "observed"), "value"] == 0.75
    assert table.loc[("b", "fleiss_kappa"), "value"] == pytest.approx(
        fleiss_kappa([[2, 0], [1, 1], [2, 0], [0, 2]])
    )


def test_with_three_annotators_cohen_is_the_mean_over_pairs():
    labels = {"x": [["a"], [], ["a"], []], "y": [["a"], [], [], []], "z": [["a"], ["a"], ["a"], []]}
    table = agreement(labels, ["a"]).set_index(["category", "measure"])
    codes = {name: [bool(s) for s in sets] for name, sets in labels.items()}
    pairs = [("x", "y"), ("x", "z"), ("y", "z")]
    assert table.loc[("a", "cohen_kappa"), "value"] == pytest.approx(
        np.mean([cohen_kappa(codes[p], codes[q]) for p, q in pairs])
    )


def test_mistakes_are_told():
    with pytest.raises(UserError, match="at least two annotators; found 1"):
        agreement({"one": [[]]}, ["a"])
    with pytest.raises(UserError, match="one has 1, two has 2"):
        agreement({"one": [[]], "two": [[], []]}, ["a"])
    with pytest.raises(UserError, match='no category "c"'):
        agreement({"one": [["c"]], "two": [[]]}, ["a"])


def test_the_demo_corpus_has_the_agreement_that_its_readme_states():
    folder = Path(touchstone.__file__).parent / "demo" / "ad_corpus"

    def read(name):
        with open(folder / name, encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
        return [[] if row["labels"] == "none" else row["labels"].split(",") for row in rows]

    first, second = read("annotator_1.tsv"), read("annotator_2.tsv")
    categories = sorted({label for labels in first + second for label in labels})
    table = agreement({"1": first, "2": second}, categories).set_index(["category", "measure"])[
        "value"
    ]
    assert len(categories) == 9
    assert 0.94 < table["any", "cohen_kappa"] < 0.99
    assert all(0.85 < table[category, "cohen_kappa"] <= 1 for category in categories)
    assert table["any", "krippendorff_alpha"] == pytest.approx(
        table["any", "cohen_kappa"], abs=0.001
    )
