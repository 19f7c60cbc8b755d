"""Corrected labels are a source: they replace the LLM's in a cell, and name what was reviewed."""

import json

import pytest
import report_store as made

from touchstone.configuration import checked
from touchstone.errors import UserError
from touchstone.mixture import compose
from touchstone.pipeline import corrected
from touchstone.run.identity import cell_key
from touchstone.taxonomy import taxonomy_of


def config(*overrides):
    return checked(made.composed("mixture=gold_silver", *overrides))


def test_judged_labels_replace_the_llms_and_reviewed_keeps_them_alone(tmp_path):
    gold, _ = made.demo_gold("ad_multiclass", made.cache())
    rest = gold.part("train").head(40)
    silver = rest.assign(source="silver", example_id=[f"pool/{i}" for i in rest["example_id"]])
    path = tmp_path / "c.jsonl"
    judged = silver["example_id"].tolist()[:7]
    rows = [{"example_id": name, "labels": ["coping_strategy"], "spans": []} for name in judged]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = config(f"mixture.silver.corrections={path}", "mixture.silver.filter=reviewed")
    sources, reviewed = corrected(
        settings, taxonomy_of(settings.taxonomy), {"gold": rest, "silver": silver}
    )
    mixed = compose(sources, settings.mixture, test_texts=[], seed=0, reviewed=reviewed)
    ours = mixed.train[mixed.train["source"] == "silver"]
    assert set(ours["example_id"]) <= set(judged) and len(ours) >= 5
    assert all(labels == ["coping_strategy"] for labels in ours["labels"])
    row = mixed.composition.set_index("source").loc["silver"]
    assert row["filtered"] == 33


def test_another_content_of_the_file_is_another_cell(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text("{}\n")
    before = cell_key(config(f"mixture.silver.corrections={path}"))
    path.write_text("{ }\n")
    assert cell_key(config(f"mixture.silver.corrections={path}")) != before


@pytest.mark.parametrize(
    "overrides, told",
    [
        (["mixture.silver.filter=reviewed"], "used with mixture.silver.corrections=FILE"),
        (["mixture.gold.corrections=a"], "null for gold, which experts labelled"),
        (["mixture.bronze.corrections=a"], "a source that is not used"),
    ],
)
def test_what_would_do_nothing_is_refused(overrides, told):
    with pytest.raises(UserError, match=told):
        config(*overrides)
