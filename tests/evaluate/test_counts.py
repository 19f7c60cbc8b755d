"""Counts per cluster, from categories and from spans."""

import numpy as np
import pytest
from evaluation_data import CATEGORIES, indicators, patients
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from touchstone.errors import UserError
from touchstone.evaluate import counts as module
from touchstone.evaluate.counts import (
    FN,
    FP,
    TP,
    Counts,
    check_aligned,
    from_indicators,
    from_spans,
    stack,
)


def test_counts_by_hand():
    true = [[1, 0], [1, 1], [0, 0]]
    pred = [[1, 1], [0, 1], [0, 1]]
    counts = from_indicators(np.array(true), np.array(pred), ["p2", "p1", "p2"], ["a", "b"])
    assert counts.clusters == ("p1", "p2")
    assert counts.values.tolist() == [[[0, 0, 1], [1, 0, 0]], [[1, 0, 0], [0, 2, 0]]]
    assert counts.total.tolist() == [[1, 0, 1], [1, 2, 0]]


def test_counts_equal_a_loop_over_clusters():
    rng = np.random.default_rng(0)
    true, pred = indicators(rng)
    clusters = patients(rng)
    counts = from_indicators(true, pred, clusters, CATEGORIES)
    for i, name in enumerate(counts.clusters):
        rows = np.array(clusters) == name
        assert counts.values[i, :, TP].tolist() == (true[rows] & pred[rows]).sum(axis=0).tolist()
        assert counts.values[i, :, FP].tolist() == (~true[rows] & pred[rows]).sum(axis=0).tolist()
        assert counts.values[i, :, FN].tolist() == (true[rows] & ~pred[rows]).sum(axis=0).tolist()


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_missing_group_id_names_the_example(missing):
    with pytest.raises(UserError, match="example n2/7: no patient or document id"):
        from_indicators(
            np.ones((2, 1)), np.ones((2, 1)), ["p1", missing], ["a"], example_ids=["n1/1", "n2/7"]
        )
    with pytest.raises(UserError, match="row 1: no patient"):
        from_spans([[], []], [[], []], ["p1", missing], ["a"])


def test_indicators_refuse_an_unknown_category():
    assert module.indicators([["b"], [], ["a", "b"]], ["a", "b"]).tolist() == [
        [False, True],
        [False, False],
        [True, True],
    ]
    with pytest.raises(UserError, match='no category "bb". Did you mean b'):
        module.indicators([["bb"]], ["a", "b"])


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        from_indicators(np.ones((2, 1)), np.ones((3, 1)), ["p", "p"], ["a"])
    with pytest.raises(ValueError, match="expected"):
        Counts(np.zeros((1, 2, 3)), ("p",), ("a",))


def test_binary_views():
    assert module.both_classes([0, 1]).tolist() == [[True, False], [False, True]]
    one = from_indicators(np.array([1, 0]), np.array([1, 1]), ["p", "p"], ["a"])
    assert one.values.tolist() == [[[1, 1, 0]]]


def span(start, end, kind="x"):
    return {"start": start, "end": end, "type": kind}


def test_strict_spans_by_hand():
    true = [[span(0, 5), span(10, 14, "y")], [span(3, 6)]]
    pred = [[span(0, 5), span(10, 15, "y")], [span(3, 6, "y"), span(3, 6, "y")]]
    counts = from_spans(true, pred, ["d1", "d2"], ["x", "y"])
    assert counts.values.tolist() == [[[1, 0, 0], [0, 1, 1]], [[0, 0, 1], [0, 1, 0]]]


def test_relaxed_spans_by_hand():
    def relaxed(true, pred):
        return from_spans([true], [pred], ["d"], ["x", "y"], "relaxed").total[0].tolist()

    assert relaxed([span(0, 5)], [span(4, 9)]) == [1, 0, 0]
    assert relaxed([span(0, 5)], [span(5, 9)]) == [
        0,
        1,
        1,
    ]  # end is exclusive: they touch, they do not overlap
    assert relaxed([span(0, 5)], [span(0, 5, "y")]) == [0, 0, 1]  # another type is no match
    assert relaxed([span(0, 5), span(6, 9)], [span(0, 9)]) == [
        1,
        0,
        1,
    ]  # one prediction matches one gold span
    assert relaxed([span(0, 9)], [span(0, 3), span(4, 9)]) == [1, 1, 0]


def test_span_errors():
    with pytest.raises(UserError, match='no entity type "z"'):
        from_spans([[span(0, 1, "z")]], [[]], ["d"], ["x"])
    with pytest.raises(UserError, match="no span match"):
        from_spans([[]], [[]], ["d"], ["x"], match="exact")


TAGS = st.lists(st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y"]), min_size=1, max_size=12)


def spans_of(tags):
    """IOB2, strict: a span begins with B-."""
    spans, open_ = [], None
    for i, tag in enumerate([*tags, "O"]):
        if open_ and tag != f"I-{open_['type']}":
            spans.append({**open_, "end": i})
            open_ = None
        if tag.startswith("B-"):
            open_ = {"start": i, "type": tag[2:]}
    return spans


@pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # seqeval averages over nothing where there is no entity
@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=6))
def test_strict_spans_agree_with_seqeval_strict(pairs):
    true = [t[: min(len(t), len(p))] for t, p in pairs]
    pred = [p[: min(len(t), len(p))] for t, p in pairs]
    ours = from_spans(
        [spans_of(t) for t in true], [spans_of(p) for p in pred], ["d"] * len(true), ["x", "y"]
    ).total
    try:
        theirs = classification_report(
            true, pred, mode="strict", scheme=IOB2, output_dict=True, zero_division=0
        )
    except ValueError:  # seqeval cannot score tables without any entity
        assert ours.sum() == 0
        return
    for i, kind in enumerate(["x", "y"]):
        row = theirs.get(kind, {"support": 0, "recall": 0, "precision": 0})
        tp, fp, fn = ours[i].tolist()
        assert tp + fn == row["support"]
        assert tp / max(tp + fn, 1) == pytest.approx(row["recall"])
        assert tp / max(tp + fp, 1) == pytest.approx(row["precision"])


@st.composite
def disjoint(draw):
    cuts = sorted(draw(st.sets(st.integers(0, 30), max_size=12)))
    return [span(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]


@given(disjoint(), disjoint())
def test_relaxed_matching_is_the_largest_possible(true, pred):
    got = from_spans([true], [pred], ["d"], ["x"], "relaxed").total[0]
    overlap = np.array(
        [[t["start"] < p["end"] and p["start"] < t["end"] for p in pred] for t in true]
    ).reshape(len(true), len(pred))
    best = 0
    if overlap.size:
        best = int((maximum_bipartite_matching(csr_matrix(overlap), perm_type="column") >= 0).sum())
    assert got.tolist() == [best, len(pred) - best, len(true) - best]


def test_systems_on_different_test_sets_are_refused():
    rng = np.random.default_rng(0)
    true, pred = indicators(rng, n=20)
    clusters = patients(rng, 20, 4)
    base = from_indicators(true, pred, clusters, CATEGORIES)
    assert stack([base, base]).shape == (4, 2, 3, 3)
    other_patients = from_indicators(true, pred, ["q" + c for c in clusters], CATEGORIES)
    with pytest.raises(UserError, match="not the same test set: 8 patients or documents"):
        check_aligned([base, other_patients])
    with pytest.raises(UserError, match="not the same categories"):
        check_aligned([base, from_indicators(true, pred, clusters, ["a", "b", "d"])])
    other_gold = true.copy()
    row = clusters.index("p002")
    other_gold[row, 0] = not other_gold[row, 0]
    with pytest.raises(UserError, match="the gold labels of 'p002' differ"):
        check_aligned([base, from_indicators(other_gold, pred, clusters, CATEGORIES)])
