"""From the predictions table to counts, also after a round trip through Parquet."""

import numpy as np
import pandas as pd
import pytest

from touchstone.errors import UserError
from touchstone.evaluate.auc import auc
from touchstone.evaluate.metrics import named
from touchstone.evaluate.predictions import (
    COLUMNS,
    any_counts_of,
    class_counts_of,
    counts_of,
    scores_of,
    seeds_of,
)


def table(rows, tmp_path):
    """Rows of (seed, example, patient, true, pred, score), written and read as a run's artefact
    is."""
    frame = pd.DataFrame(
        [(s, e, f"d{p}", p, t, q, x) for s, e, p, t, q, x in rows], columns=list(COLUMNS)
    )
    frame.to_parquet(tmp_path / "predictions.parquet")
    return pd.read_parquet(tmp_path / "predictions.parquet")


def test_categories_of_two_seeds(tmp_path):
    rows = [
        (seed, e, p, t, q, [0.5, 0.5])
        for seed in (1, 0)
        for e, p, t, q in (("e2", "p2", ["a", "b"], ["a"] if seed else []), ("e1", "p1", [], ["b"]))
    ]
    frame = table(rows, tmp_path)
    zero, one = counts_of(frame, "multilabel", ["a", "b"])
    assert zero.clusters == ("p1", "p2")
    assert zero.values.tolist() == [[[0, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]]]
    assert one.total.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert [c.total.tolist() for c in any_counts_of(frame)] == [[[0, 1, 1]], [[1, 1, 0]]]
    assert counts_of(frame, "multilabel", ["a", "b"], unit="doc_id")[0].clusters == ("dp1", "dp2")


def test_multiclass_takes_primary_labels_only(tmp_path):
    frame = table([(0, "e1", "p", ["a"], [], [0.1]), (0, "e2", "p", ["b"], ["b"], [0.1])], tmp_path)
    assert counts_of(frame, "multiclass", ["a", "b"])[0].total.tolist() == [[0, 0, 1], [1, 0, 0]]
    frame = table([(0, "e1", "p", ["a", "b"], [], [0.1])], tmp_path)
    with pytest.raises(UserError, match="example e1: 2 labels in a multi-class task"):
        counts_of(frame, "multiclass", ["a", "b"])


def test_spans_survive_parquet(tmp_path):
    span = {"start": 0, "end": 4, "type": "Disease"}
    rows = [
        (0, "e1", "p", [span], [span], []),
        (0, "e2", "p", [span], [{**span, "end": 5}], []),
        (0, "e3", "q", [], [], []),
    ]
    frame = table(rows, tmp_path)
    assert counts_of(frame, "ner", ["Disease"])[0].values.tolist() == [[[1, 1, 1]], [[0, 0, 0]]]
    assert counts_of(frame, "ner", ["Disease"], match="relaxed")[0].total.tolist() == [[2, 0, 0]]


def test_relation_and_binary(tmp_path):
    rows = [
        (seed, f"e{i}", f"p{i}", ["related"] if t else [], ["related"] if q else [], [x])
        for seed in (0, 1)
        for i, (t, q, x) in enumerate([(1, 1, 0.9), (0, 1, 0.6), (0, 0, 0.2), (1, 0, 0.3 + seed)])
    ]
    frame = table(rows, tmp_path)
    for kind in ("relation", "binary"):
        positive = counts_of(frame, kind, ["related"])
        assert positive[0].total.tolist() == [[1, 1, 1]]
        both = named(class_counts_of(frame, kind, "related"))
        assert both["micro_f1"] == 0.5  # accuracy
        true, seed_scores, clusters = scores_of(frame, kind, "related")
        assert [auc(true, score) for score in seed_scores] == [0.75, 1.0]
        assert clusters == ["p0", "p1", "p2", "p3"]


def test_seeds_must_cover_the_same_examples(tmp_path):
    frame = table([(0, "e1", "p", [], [], [0.1]), (1, "e2", "p", [], [], [0.1])], tmp_path)
    with pytest.raises(UserError, match="seeds 0 and 1 do not predict the same examples"):
        seeds_of(frame)
    with pytest.raises(UserError, match="predictions table is empty"):
        seeds_of(frame.head(0))


def test_a_missing_patient_names_the_example(tmp_path):
    frame = table([(0, "n1/3", None, ["a"], [], [0.1])], tmp_path)
    with pytest.raises(UserError, match="example n1/3: no patient"):
        counts_of(frame, "multilabel", ["a"])


def test_unknown_category_is_told(tmp_path):
    frame = table([(0, "e", "p", ["aa"], [], [0.1])], tmp_path)
    with pytest.raises(UserError, match='no category "aa"'):
        counts_of(frame, "multilabel", ["a"])
    assert np.array_equal(counts_of(frame, "binary", ["any"])[0].total, [[0, 0, 1]])
