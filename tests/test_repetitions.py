"""Repetitions: each has its own draw of gold; what is equal is fitted once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from grid import table
from report_store import composed

from touchstone.configuration import checked
from touchstone.data.split import scarce_gold
from touchstone.pipeline import run_cell

FEW = ("task.gold_patients=3", "seeds=3", "paths.cache={}")


def cell(tmp_path, *overrides: str):
    return run_cell(checked(composed(*overrides, f"paths.cache={tmp_path / 'cache'}")))


def test_draws_are_nested_and_differ_and_the_first_is_that_of_the_split() -> None:
    frame = table(*[(f"p{i}/0", f"text {i}", []) for i in range(20)])
    sizes = {
        (draw, n): set(scarce_gold(frame, patients=n, sentences=None, seed=0, draw=draw)["doc_id"])
        for draw in range(4)
        for n in (3, 8)
    }
    for draw in range(4):
        assert sizes[draw, 3] < sizes[draw, 8]
    assert len({frozenset(sizes[draw, 8]) for draw in range(4)}) == 4
    assert sizes[0, 3] == set(scarce_gold(frame, patients=3, sentences=None, seed=0)["doc_id"])


@pytest.mark.parametrize("size", [{"patients": None}, {"patients": 20}])
def test_where_all_gold_is_taken_every_draw_is_the_first(size: dict) -> None:
    frame = table(*[(f"p{i}/0", f"text {i}", []) for i in range(20)])
    first, other = (
        scarce_gold(frame, **size, sentences=None, seed=0, draw=draw)["example_id"].tolist()
        for draw in (0, 3)
    )
    assert first == other


def test_each_repetition_learns_from_its_own_patients_and_is_scored_on_one_test_set(tmp_path):
    made = cell(tmp_path, "task.gold_patients=3", "seeds=3")
    by_seed = {seed: rows for seed, rows in made.predictions.groupby("seed")}
    assert sorted(by_seed) == [0, 1, 2]
    assert len({tuple(rows["example_id"]) for rows in by_seed.values()}) == 1
    assert len({str(rows["pred"].tolist()) for rows in by_seed.values()}) == 3
    repetitions = made.tables["repetitions"]
    assert repetitions["fitted_with_seed"].tolist() == [0, 1, 2]
    assert made.metrics["n_train"] == round(repetitions["n_train"].mean())
    alone = cell(tmp_path, "task.gold_patients=3", "seed=2")
    pd.testing.assert_frame_equal(
        alone.predictions.reset_index(drop=True), by_seed[2].reset_index(drop=True)
    )


def test_a_classifier_in_which_nothing_is_drawn_is_fitted_once_on_equal_data(tmp_path):
    made = cell(tmp_path, "task.gold_patients=null", "seeds=3")
    assert made.tables["repetitions"]["fitted_with_seed"].tolist() == [0, 0, 0]
    assert sorted(set(made.predictions["seed"])) == [0, 1, 2]
    assert made.metrics["score_sd"] == 0
    svm = cell(tmp_path, "task.gold_patients=null", "seeds=2", "classifier=tfidf_svm")
    assert svm.tables["repetitions"]["fitted_with_seed"].tolist() == [0, 1]


def test_a_subsampled_source_is_drawn_anew(tmp_path):
    made = cell(tmp_path, "mixture=bronze", "mixture.bronze.count=60", "seeds=2")
    assert made.tables["repetitions"]["fitted_with_seed"].tolist() == [0, 1]
    parts = [rows["pred"].tolist() for _, rows in made.predictions.groupby("seed")]
    assert str(parts[0]) != str(parts[1])


def test_documents_that_a_repetition_has_as_gold_leave_its_silver() -> None:
    from touchstone.data.corpus import Gold
    from touchstone.pipeline import drawn_gold, mix
    from touchstone.taxonomy import taxonomy_of

    config = checked(
        composed(
            "mixture=gold_silver",
            "corpus.pool.reader=rest_of_train",
            "corpus.pool.path=null",
            "corpus.pool.patient_field=null",
            "corpus.pool.type_field=null",
            "task.gold_patients=8",
        )
    )
    texts = [
        " ".join(f"w{np.random.default_rng(i * 9 + j).integers(1e6)}" for j in range(8))
        for i in range(20)
    ]
    frame = table(*[(f"p{i}/0", text, ["memory"]) for i, text in enumerate(texts)])
    gold = Gold(frame, pd.DataFrame(), {})
    first = drawn_gold(gold, config)
    silver = frame[~frame["doc_id"].isin(first["doc_id"])].assign(source="silver")
    taxonomy = taxonomy_of(config.taxonomy)
    test = table(("t", "nothing alike", []), split="test")
    for seed, expected in ((0, 0), (1, None)):
        train = drawn_gold(gold, config, seed)
        mixed = mix(config, taxonomy, train, {"silver": silver}, test, None, seed)
        counts = mixed.composition.set_index("source")["is_gold"].to_dict()
        both = set(train["doc_id"]) & set(silver["doc_id"])
        assert counts == {"gold": 0, "silver": len(both)}
        assert (len(both) == 0) is (expected == 0)
        assert mixed.train["doc_id"].is_unique
