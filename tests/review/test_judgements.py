"""Judgements are checked against the review, brought together, and replace the LLM's labels."""

import json

import pandas as pd
import pytest
from review_population import NAMES, drawn, population

from touchstone.errors import UserError
from touchstone.review import results
from touchstone.review.judgements import (
    COLUMNS,
    agreed,
    checked,
    correct,
    corrections,
    read_corrections,
    write_corrections,
)


def judged(review, expert="A", change=None):
    """The LLM's own labels as an expert's, with changes by item."""
    rows = [
        dict.fromkeys(COLUMNS, "")
        | {"item": row.item, "expert": expert, "labels": list(row.labels) or ["none"], "spans": []}
        for row in review.items.itertuples()
    ]
    for row in rows:
        row["labels"] = (change or {}).get(row["item"], row["labels"])
    return pd.DataFrame(rows)


def test_wrong_items_labels_and_answers_are_told_with_their_place():
    review = drawn()
    good, item = judged(review), review.items["item"].iloc[0]
    with pytest.raises(UserError, match=f"f.csv, item x-1: not of review {review.id}, whose items"):
        checked(good.assign(item=["x-1", *good["item"][1:]]), review, "f.csv")
    with pytest.raises(UserError, match='no category "fall". Did you mean falls.*none, wandering'):
        checked(judged(review, change={item: ["fall"]}), review, "f.csv")
    with pytest.raises(UserError, match='"none" cannot stand beside'):
        checked(judged(review, change={item: ["none", "falls"]}), review, "f.csv")
    with pytest.raises(UserError, match="realistic: must be yes or no"):
        checked(good.assign(realistic="maybe"), review, "f.csv")
    with pytest.raises(UserError, match=f"item {item}: judged twice by expert A"):
        checked(pd.concat([good.head(1), good]), review, "f.csv")
    with pytest.raises(UserError, match="no item is judged yet"):
        checked(good.head(0), review, "f.csv")


def test_more_than_half_agree_and_half_is_unresolved():
    review = drawn()
    first, second = review.items["item"][:2]
    three = [judged(review, "A", {first: ["falls"], second: ["falls"]})]
    three += [judged(review, "B", {first: ["falls"], second: ["none"]})]
    both = agreed(checked(pd.concat(three), review, "f"), review).set_index("item")
    assert both.at[first, "labels"] == ["falls"] and both.at[first, "resolved"]
    assert not both.at[second, "resolved"]
    three += [judged(review, "C", {first: ["none"], second: ["none"]})]
    all_three = agreed(checked(pd.concat(three), review, "f"), review).set_index("item")
    assert all_three.at[first, "labels"] == ["falls"]
    assert all_three.at[second, "labels"] == [] and all_three.at[second, "resolved"]


def test_corrected_labels_come_back_and_replace_the_llms(tmp_path):
    review = drawn()
    silver = review.items[review.items["source"] == "silver"]
    item, name = silver["item"].iloc[0], silver["example_id"].iloc[0]
    rows = checked(judged(review, change={item: ["wandering"]}), review, "f")
    write_corrections(corrections(rows, review), tmp_path / "c.jsonl")
    labels = read_corrections(tmp_path / "c.jsonl", list(NAMES))
    frame = population()
    frame = frame[frame["source"] == "silver"].drop(columns="stratum")
    changed, ids = correct(frame, labels, "silver", "c.jsonl")
    assert changed.set_index("example_id").at[name, "labels"] == ["wandering"]
    assert ids == set(silver["example_id"])
    others = ~frame["example_id"].isin(ids)
    assert changed[others].equals(frame[others])
    with pytest.raises(UserError, match="none of its .* examples is in the silver data"):
        correct(
            frame.assign(example_id=[f"x{i}" for i in range(len(frame))]), labels, "silver", "c"
        )


def test_a_broken_line_of_corrections_is_named(tmp_path):
    path = tmp_path / "c.jsonl"
    for line, told in (
        ('{"example_id": "a"}', "line 1: needs example_id, labels and spans"),
        (json.dumps({"example_id": "a", "labels": ["x"], "spans": []}), 'no category "x"'),
    ):
        path.write_text(line + "\n")
        with pytest.raises(UserError, match=told):
            read_corrections(path, list(NAMES))
    with pytest.raises(UserError, match="cannot be read"):
        read_corrections(tmp_path / "no.jsonl", list(NAMES))


def test_precision_of_a_category_counts_what_experts_confirm():
    review = drawn()
    falls = review.items[
        (review.items["source"] == "silver") & (review.items["stratum"] == "falls")
    ]["item"].tolist()
    rows = checked(judged(review, change={falls[0]: ["none"]}), review, "f")
    tables = results.tables(rows, review, list(NAMES), pd.DataFrame())
    quality = tables["quality"].set_index(["source", "category", "measure"])
    row = quality.loc[("silver", "falls", "precision")]
    assert row["value"] == pytest.approx(1 - 1 / len(falls)) and row["method"] == "exact"
    # that stratum has 8 of the 100 silver sentences, and each of its draws stands for 8 / n of them
    right = quality.loc[("silver", "all", "correct")]
    assert right["value"] == pytest.approx(1 - 8 / len(falls) / 100)
    errors = tables["errors"]
    wrong = errors[errors["llm"] != errors["expert"]]
    assert wrong[["source", "llm", "expert", "n"]].values.tolist() == [
        ["silver", "falls", "none", 1]
    ]
    assert wrong["estimated"].iloc[0] == pytest.approx(8 / len(falls))


def test_the_claim_needs_a_difference_beyond_chance():
    review = drawn(n=120)
    silver = review.items[review.items["source"] == "silver"]["item"].tolist()
    none = checked(judged(review), review, "f")
    claim = results.tables(none, review, list(NAMES), pd.DataFrame())["claim"].iloc[0]
    assert claim["verdict"] == "undecided" and claim["difference"] == 0
    wrong = {item: ["falls"] if i % 2 else ["wandering"] for i, item in enumerate(silver)}
    bad = checked(judged(review, change=wrong), review, "f")
    claim = results.tables(bad, review, list(NAMES), pd.DataFrame())["claim"].iloc[0]
    assert claim["verdict"] == "supported" and claim["high"] < 0 and claim["p"] < 0.01


def test_several_experts_have_their_agreement_and_gold_shows_who_meets_it():
    gold = population().query("stratum == 'falls'").head(4).assign(source="gold")
    gold["example_id"] = [f"g{i}" for i in range(4)]
    review = drawn(calibration=gold)
    items = review.items[review.items["source"] == "gold"]["item"].tolist()
    both = pd.concat([judged(review, "A"), judged(review, "B", {items[0]: ["none"]})])
    tables = results.tables(checked(both, review, "f"), review, list(NAMES), pd.DataFrame())
    experts = tables["experts"].set_index("expert")
    assert experts["correct"].to_dict() == {"A": 1.0, "B": 0.75}
    assert experts["calibration"].tolist() == [4, 4]
    alpha = tables["agreement"].query("measure == 'krippendorff_alpha'").set_index("category")
    assert 0.8 < alpha.at["falls", "value"] < 1 and alpha.at["wandering", "value"] == 1
