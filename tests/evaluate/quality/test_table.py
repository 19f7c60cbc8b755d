"""The quality table of synthetic data, and what a classifier can tell about it."""

import builtins

import numpy as np
import pandas as pd
import pytest

from touchstone.data.examples import examples
from touchstone.errors import UserError
from touchstone.evaluate.quality.fidelity import (
    NotApplicable,
    label_errors,
    out_of_fold,
    two_sample_auc,
)
from touchstone.evaluate.quality.table import COLUMNS, MEASURES, quality

TOPICS = {
    "memory": "forgets recalls misplaces repeats remembers memory names dates keys questions".split(),  # noqa: E501
    "driving": "driving lost car road turns parking route highway garage accident".split(),
    "none": "knee sodium cough rash dose tablet refill blood pressure weight".split(),
}
FILLER = (
    "the patient was seen today and says that it is often hard at home with family lately".split()
)


def made_up(rng, source, n_docs=12, per_doc=10, topics=TOPICS, filler=FILLER, noise=0.0):
    rows = []
    for doc in range(n_docs):
        for i in range(per_doc):
            topic = list(topics)[rng.integers(len(topics))]
            text = " ".join([*rng.choice(topics[topic], 3), *rng.choice(filler, 5)])
            label = list(topics)[rng.integers(len(topics))] if rng.random() < noise else topic
            labels = [] if label == "none" else [label]
            name = f"{source}{doc}"
            rows.append(
                {
                    "example_id": f"{name}/{i}",
                    "text": text,
                    "labels": labels,
                    "source": source,
                    "doc_id": name,
                    "patient_id": name,
                }
            )
    return examples(rows)


def value(table, source, category, measure):
    rows = table[
        (table["source"] == source)
        & (table["category"] == category)
        & (table["measure"] == measure)
    ]
    assert len(rows) == 1, (source, category, measure, len(rows))
    return rows.iloc[0]["value"]


def note(table, source, category, measure):
    rows = table[
        (table["source"] == source)
        & (table["category"] == category)
        & (table["measure"] == measure)
    ]
    return rows.iloc[0]["note"]


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    gold, silver, bronze = (made_up(rng, source) for source in ("gold", "silver", "bronze"))
    bronze.loc[1, "text"] = bronze.loc[0, "text"]
    bronze.loc[2, "text"] = "Seen by Dr. Example on 3/14/2021 about the keys"
    bronze.loc[3, "text"] = "forgets keys " + " ".join(FILLER[:9])
    return gold, silver, bronze


@pytest.fixture(scope="module")
def table(tables):
    gold, silver, bronze = tables
    truth = {row.example_id: list(row.labels) for row in silver.itertuples()}
    truth[silver["example_id"][0]] = ["memory"]
    silver = silver.copy()
    silver.at[0, "labels"] = ["driving"]
    again = {row.example_id: list(row.labels) for row in bronze.itertuples() if row.Index % 2 == 0}
    first = bronze.loc[
        bronze["labels"].map(lambda names: names == ["memory"]) & (bronze.index % 2 == 0),
        "example_id",
    ].iloc[0]
    again[first] = []
    references = {"bronze": {"pool": [" ".join(FILLER)]}}
    synthetic = pd.concat([silver, bronze], ignore_index=True)
    return quality(
        gold,
        synthetic,
        ["memory", "driving"],
        references=references,
        adjudicated=truth,
        round_trip=again,
    )


def test_every_measure_is_described_and_every_row_has_a_value_or_a_reason(table):
    assert list(table.columns) == list(COLUMNS)
    assert {measure.split("/")[0] for measure in table["measure"]} == set(MEASURES)
    assert (table.loc[table["value"].isna(), "note"] != "").all()
    assert not table.duplicated(["source", "category", "measure"]).any()
    assert set(table["source"]) == {"gold", "silver", "bronze"}
    assert set(table["category"]) == {"all", "memory", "driving", "none"}


def test_counts_and_shares(table, tables):
    gold = tables[0]
    n_memory = sum(labels == ["memory"] for labels in gold["labels"])
    assert value(table, "gold", "memory", "count") == n_memory
    assert value(table, "gold", "memory", "share") == n_memory / 120
    assert value(table, "bronze", "all", "count") == 120
    assert value(table, "gold", "all", "length_mean") == 8


def test_repeated_copied_and_identifying_sentences_are_counted(table):
    assert value(table, "bronze", "all", "near_duplicates") == pytest.approx(1 / 120)
    assert value(table, "bronze", "all", "copied_longest/pool") == 9
    assert value(table, "bronze", "all", "copied_share/pool") == pytest.approx(1 / 120)
    assert value(table, "bronze", "all", "identifiers") == 1
    assert (
        value(table, "bronze", "all", "identifiers/date")
        == value(table, "bronze", "all", "identifiers/titled_name")
        == 1
    )
    assert value(table, "gold", "all", "identifiers") == 0
    assert (
        not table[table["source"] == "silver"]["measure"].str.startswith("copied").any()
    )  # no reference was given for it


def test_true_precision_and_recall_of_silver(table):
    n_driving = value(table, "silver", "driving", "true_n")
    assert value(table, "silver", "driving", "true_precision") == pytest.approx(
        n_driving / (n_driving + 1)
    )
    assert value(table, "silver", "driving", "true_recall") == 1
    assert value(table, "silver", "memory", "true_recall") < 1
    assert value(table, "bronze", "all", "true_n") == 0
    assert note(table, "bronze", "all", "true_n") == "no adjudicated labels"


def test_round_trip(table):
    n = value(table, "bronze", "memory", "round_trip_n")
    assert value(table, "bronze", "memory", "round_trip") == pytest.approx((n - 1) / n)
    assert (
        value(table, "bronze", "driving", "round_trip")
        == value(table, "bronze", "none", "round_trip")
        == 1
    )
    assert value(table, "bronze", "all", "round_trip") == pytest.approx(59 / 60)
    assert 0.9 < value(table, "bronze", "memory", "round_trip_kappa") < 1
    assert note(table, "silver", "all", "round_trip_n") == "not labelled a second time"


def test_diversity_is_measured_on_the_same_number_of_sentences(table):
    for category in ("all", "memory", "driving", "none"):
        sizes = {
            value(table, source, category, "diversity_n") for source in ("gold", "silver", "bronze")
        }
        assert len(sizes) == 1
        assert sizes == {
            min(value(table, source, category, "count") for source in ("gold", "silver", "bronze"))
        }


def test_quality_repeats_with_its_seed(tables):
    gold, silver, _ = tables
    first, again, other = (
        quality(gold, silver, ["memory", "driving"], seed=seed) for seed in (0, 0, 1)
    )
    assert first.equals(again)
    assert value(first, "silver", "all", "two_sample_auc") != value(
        other, "silver", "all", "two_sample_auc"
    )


def test_too_little_data_is_a_row_with_a_reason(tables):
    gold = tables[0]
    few = made_up(np.random.default_rng(1), "bronze", n_docs=2, per_doc=3)
    table = quality(gold.head(0), few, ["memory", "driving"])
    assert note(table, "bronze", "all", "two_sample_auc") == "fewer than 20 sentences"
    assert note(table, "bronze", "all", "vocabulary_overlap") == "gold has no sentences"
    assert (
        note(table, "bronze", "all", "label_error_rate")
        == "fewer than two labels in 5 documents or more"
    )
    assert note(table, "gold", "all", "length_mean") == "no sentences"
    assert (table.loc[table["value"].isna(), "note"] != "").all()


def test_spans_count_as_categories():
    rows = [
        {
            "example_id": f"{s}{i}",
            "text": f"ataxia in case {i}",
            "labels": [],
            "source": s,
            "doc_id": f"{i}",
            "patient_id": f"{i}",
            "spans": [{"start": 0, "end": 6, "type": "Disease"}] if i % 3 else [],
        }
        for s in ("gold", "bronze")
        for i in range(9)
    ]
    frame = examples(rows)
    table = quality(
        frame[frame["source"] == "gold"], frame[frame["source"] == "bronze"], ["Disease"]
    )
    assert value(table, "bronze", "Disease", "count") == 6
    assert value(table, "bronze", "none", "count") == 3
    assert value(table, "bronze", "all", "category_divergence") == pytest.approx(0)


def test_two_sample_auc_tells_different_text_and_not_the_same():
    rng = np.random.default_rng(0)

    def draw(filler=FILLER):
        frame = made_up(rng, "gold", n_docs=20, filler=filler)
        return frame["text"].tolist(), frame["doc_id"].tolist()

    same = two_sample_auc(*draw(), *draw(), seed=0)
    other = two_sample_auc(
        *draw(), *draw(filler=[*FILLER, "moreover", "delve", "testament"]), seed=0
    )
    assert 0.4 < same < 0.6
    assert other > 0.7
    with pytest.raises(NotApplicable, match="fewer than two documents"):
        two_sample_auc(["a", "b"], ["d", "d"], ["c", "d"], ["e", "f"], seed=0)


def test_documents_are_never_split_between_folds():
    frame = made_up(np.random.default_rng(0), "gold")
    codes = np.array([len(labels) for labels in frame["labels"]])
    probabilities, folds = out_of_fold(
        frame["text"].tolist(), codes, frame["doc_id"].tolist(), seed=0
    )
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(frame)))
    docs = [set(frame["doc_id"].iloc[fold]) for fold in folds]
    assert sum(len(names) for names in docs) == frame["doc_id"].nunique()
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(frame)))


def test_label_errors_are_found_where_labels_were_changed():
    pytest.importorskip("cleanlab", reason="optional extra `noise`")
    rng = np.random.default_rng(0)
    frame = made_up(rng, "silver", n_docs=30)
    true = [labels[0] if labels else "none" for labels in frame["labels"]]
    flipped = rng.random(len(true)) < 0.1
    given = [
        {"memory": "driving", "driving": "none", "none": "memory"}[name] if flip else name
        for name, flip in zip(true, flipped, strict=True)
    ]
    found = label_errors(frame["text"].tolist(), given, frame["doc_id"].tolist(), seed=0)
    assert found[flipped].mean() > 0.9
    assert found[~flipped].mean() < 0.05
    with pytest.raises(NotApplicable, match="all labels are the same"):
        label_errors(["a", "b"], ["x", "x"], ["d", "e"], seed=0)


def test_without_cleanlab_one_line_says_how_to_get_it(monkeypatch, tables):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("cleanlab"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        UserError,
        match=r"need cleanlab, which is not installed: pip install 'touchstone-nlp\[noise\]'",
    ):
        label_errors(["a"], ["x"], ["d"], seed=0)
    table = quality(tables[0], tables[1], ["memory", "driving"])
    assert np.isnan(value(table, "silver", "all", "label_error_rate"))
    assert "cleanlab" in note(table, "silver", "all", "label_error_rate")
