import numpy as np
import pandas as pd
import pytest
from grid import table
from hypothesis import given, settings
from hypothesis import strategies as st

from touchstone.data.split import assign_splits, scarce_gold, split_table, training_order
from touchstone.errors import UserError


def corpus(n_patients: int = 20, per_patient: int = 6) -> pd.DataFrame:
    rows = [
        (
            f"p{p:02}/{s}",
            f"sentence {s} of {p}",
            ["a"] if s == 0 else ["b"] if s == p % 6 else [],
            f"p{p:02}",
        )
        for p in range(n_patients)
        for s in range(per_patient)
    ]
    return table(*rows, split="")


def test_no_patient_stands_in_two_parts():
    split = assign_splits(corpus(), test_fraction=0.4, dev_fraction=0.1, seed=0)
    assert (split.groupby("patient_id")["split"].nunique() == 1).all()
    assert split.groupby("split")["patient_id"].nunique().to_dict() == {
        "dev": 2,
        "test": 8,
        "train": 10,
    }


def test_a_seed_repeats_the_split_whatever_the_row_order_and_another_seed_changes_it():
    frame = corpus()
    one = assign_splits(frame, test_fraction=0.4, dev_fraction=0.1, seed=0).set_index("example_id")[
        "split"
    ]
    shuffled = assign_splits(
        frame.sample(frac=1, random_state=3), test_fraction=0.4, dev_fraction=0.1, seed=0
    ).set_index("example_id")["split"]
    other = assign_splits(frame, test_fraction=0.4, dev_fraction=0.1, seed=1).set_index(
        "example_id"
    )["split"]
    pd.testing.assert_series_equal(one, shuffled[one.index])
    assert (one != other[one.index]).any()


def test_categories_are_balanced_better_than_by_an_average_random_split():
    frame = corpus(30)
    split = assign_splits(frame, test_fraction=0.4, dev_fraction=0.1, seed=0)
    overall = np.mean([labels == ["b"] for labels in frame["labels"]])
    test = np.mean([labels == ["b"] for labels in split.loc[split["split"] == "test", "labels"]])
    assert abs(test - overall) < 0.02


@given(n=st.integers(1, 9), m=st.integers(1, 9), seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_fewer_gold_patients_are_a_subset_of_more(n, m, seed):
    frame = assign_splits(corpus(), test_fraction=0.4, dev_fraction=0.1, seed=0)
    few, more = sorted((n, m))
    small = set(scarce_gold(frame, patients=few, sentences=None, seed=seed)["example_id"])
    assert small <= set(scarce_gold(frame, patients=more, sentences=None, seed=seed)["example_id"])
    assert len({i[:3] for i in small}) == few


def test_too_many_gold_patients_is_an_error_with_the_number_there_is():
    frame = assign_splits(corpus(), test_fraction=0.4, dev_fraction=0.1, seed=0)
    with pytest.raises(
        UserError, match="task.gold_patients=11: the training split has 10 patients"
    ):
        scarce_gold(frame, patients=11, sentences=None, seed=0)
    with pytest.raises(
        UserError, match="task.gold_sentences=99: the training gold has 60 sentences"
    ):
        scarce_gold(frame, patients=None, sentences=99, seed=0)


def test_gold_by_sentences_takes_the_first_of_the_order():
    frame = assign_splits(corpus(), test_fraction=0.4, dev_fraction=0.1, seed=0)
    chosen = scarce_gold(frame, patients=None, sentences=8, seed=0)
    order = training_order(frame, 0)
    assert chosen["patient_id"].tolist() == [order[0]] * 6 + [order[1]] * 2


def test_too_few_patients_cannot_be_split():
    with pytest.raises(UserError, match="2 patients cannot be split"):
        assign_splits(corpus(2), test_fraction=0.4, dev_fraction=0.4, seed=0)


def test_a_published_split_is_kept_and_only_a_missing_dev_part_is_cut_from_training():
    frame = corpus()
    frame["split"] = ["test" if p >= "p15" else "train" for p in frame["patient_id"]]
    split = assign_splits(frame, test_fraction=0.4, dev_fraction=0.2, seed=0)
    assert set(split.loc[split["split"] == "test", "patient_id"]) == {
        f"p{p}" for p in range(15, 20)
    }
    assert split.loc[split["split"] == "dev", "patient_id"].nunique() == 3


def test_the_saved_table_tells_every_patient():
    frame = assign_splits(corpus(), test_fraction=0.4, dev_fraction=0.1, seed=0)
    saved = split_table(frame, 0)
    assert saved["n_sentences"].sum() == len(frame) and saved["patient_id"].is_unique
    assert saved.loc[saved["split"] == "train", "order"].tolist() != [-1] * 10
    assert (saved.loc[saved["split"] != "train", "order"] == -1).all()
