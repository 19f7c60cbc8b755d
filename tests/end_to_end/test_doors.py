"""Her own labels, synthetic sentences, test site and subgroups, from the command line's overrides
to
what a cell yields."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd
import pytest
from preloaded import completed

from touchstone import tracking
from touchstone.cli import main
from touchstone.configuration import checked
from touchstone.errors import UserError
from touchstone.pipeline import run_cell
from touchstone.report import reading
from touchstone.run.conf_files import composed

SAYS = {
    "cognitive_impairment": "forgets names again",
    "requires_assistance": "is washed by the nurse",
    "": "walks to the shop",
}


def rows(n_patients: int, first: int = 0, site: str = "p") -> list[dict[str, str]]:
    """Sentences of made-up patients, told apart by their words."""
    out = []
    for patient in range(first, first + n_patients):
        for number, (label, text) in enumerate(SAYS.items()):
            out.append(
                {
                    "patient": f"{site}{patient}",
                    "note": f"{site}{patient}-n",
                    "text": f"Patient {site}{patient} {text}, day {number}.",
                    "labels": label,
                    "sex": "F" if patient % 2 else "M",
                    "confidence": "high",
                }
            )
    return out


def write(path: Path, records: list[dict[str, str]]) -> Path:
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return path


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """Runs a cell on a small table of gold, with the overrides given."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "gold.csv", rows(20))
    (tmp_path / "conf" / "corpus").mkdir(parents=True)
    (tmp_path / "conf" / "corpus" / "ward.yaml").write_text(
        "name: ward\ngold: {reader: table, path: gold.csv, doc_field: note, patient_field: "
        "patient}\n"
        "pool: {reader: notes, path: pool.csv}\n"
    )

    def run(*overrides: str):
        config = composed(
            [
                "corpus=ward",
                "task=ad_multilabel",
                "task.gold_patients=null",
                "mixture=gold",
                f"paths.cache={tmp_path / 'cache'}",
                *overrides,
            ]
        )
        return run_cell(checked(config))

    return run


def test_her_table_is_trained_and_tested_on(cell):
    assert cell().metrics["n_test"] == 24


def test_a_site_is_scored_and_never_learned_from(cell, tmp_path):
    site = [row for row in rows(6, site="r") if row["labels"] != "requires_assistance"]
    write(tmp_path / "rural.csv", site)
    files = "{reader: table, path: rural.csv, doc_field: note, patient_field: patient}"
    plain, made = cell(), cell(f"+corpus.sites={{rural: {files}}}")
    assert made.predictions.equals(plain.predictions)
    assert set(made.sites["rural"]["patient_id"]) == {f"r{number}" for number in range(6)}
    assert made.metrics["site/rural/n"] == 12 and made.metrics["site/rural/macro_f1"] > 0
    scores = made.tables["sites"].set_index(["site", "category", "metric"])["value"]
    assert pd.isna(scores["rural", "requires_assistance", "f1"])
    assert "rural" not in str(made.datasets["training"].frame["example_id"].tolist())
    assert len(made.datasets["site_rural"]) == 12


def test_people_of_a_site_must_not_be_trained_on(cell, tmp_path):
    write(tmp_path / "rural.csv", rows(20))
    files = "{reader: table, path: rural.csv, doc_field: note, patient_field: patient}"
    with pytest.raises(
        UserError, match=r"patients of train stand in rural too .*corpus.overlap=dr"
    ):
        cell(f"+corpus.sites={{rural: {files}}}")


def test_people_on_both_sides_of_a_published_split_stop_the_run(cell, tmp_path):
    write(tmp_path / "train.csv", rows(10))
    held = [
        row | {"note": row["note"] + "2", "patient": f" {row['patient']}"} for row in rows(12, 8)
    ]
    write(tmp_path / "test.csv", held)
    split = ("corpus.gold.path=null", "corpus.gold.train=train.csv", "corpus.gold.test=test.csv")
    with pytest.raises(UserError, match="^2 patients of train stand in test too .the first: p8"):
        cell(*split)
    made = cell(*split, "corpus.overlap=drop")
    learned = set(made.datasets["training"].frame["patient_id"])
    assert learned and not learned & {"p8", "p9"}
    assert made.datasets["test"].provenance["left_out_of_training"] > 0
    assert {"p8", "p9"} <= set(cell(*split, "corpus.overlap=allow").tables["splits"]["patient_id"])


def test_ids_that_differ_in_form_are_one_person(cell, tmp_path):
    write(
        tmp_path / "train.csv",
        [row | {"patient": row["patient"].replace("p", "00")} for row in rows(9)],
    )
    write(
        tmp_path / "test.csv",
        [row | {"patient": row["patient"][1:], "note": "t" + row["note"]} for row in rows(9)],
    )
    split = ("corpus.gold.path=null", "corpus.gold.train=train.csv", "corpus.gold.test=test.csv")
    with pytest.raises(UserError, match="the first: 000, written 0 there"):
        cell(*split)


def bronze(*overrides: str) -> tuple[str, ...]:
    return ("mixture=gold_bronze", "corpus.bronze.path=theirs.csv", *overrides)


def test_bronze_made_elsewhere_asks_no_llm(cell, tmp_path):
    theirs = rows(5, site="x")
    theirs[0]["text"] = rows(20)[0]["text"]  # perhaps a test sentence
    write(tmp_path / "theirs.csv", theirs)
    made = cell(*bronze("corpus.bronze.made_by=GAN of a colleague", "mixture.leakage=100"))
    (stage,) = made.generated
    assert stage.usage.requests == 0 and len(stage.dataset) == 15
    assert stage.dataset.provenance["made_by"] == "GAN of a colleague"
    assert list(stage.dataset.provenance["files"]) == ["theirs.csv"]
    composition = made.tables["composition"].set_index("source")
    assert composition.loc["bronze", "available"] == 15
    assert composition.loc["bronze", "used"] > 0


def test_several_sets_are_mixed_and_filtered_by_their_confidence(cell, tmp_path):
    write(tmp_path / "theirs.csv", [row | {"confidence": "low"} for row in rows(5, site="x")])
    write(tmp_path / "ours.csv", rows(4, site="y"))
    more = ("corpus.bronze.path=[theirs.csv,ours.csv]", "corpus.bronze.confidence_field=confidence")
    made = cell(*bronze(*more), "mixture.bronze.filter=confident")
    composition = made.tables["composition"].set_index("source").loc["bronze"]
    assert (composition["available"], composition["filtered"]) == (27, 15)
    assert made.generated[0].dataset.frame["example_id"].str.split("/").str[0].nunique() == 2


def test_silver_of_people_who_are_tested_on_stops_the_run(cell, tmp_path):
    write(tmp_path / "theirs.csv", rows(20))
    more = (
        "mixture=gold_silver",
        "corpus.silver.path=theirs.csv",
        "corpus.silver.doc_field=note",
        "corpus.silver.patient_field=patient",
    )
    with pytest.raises(UserError, match=r"patients of silver stand in (dev, )?test too"):
        cell(*more)
    made = cell(*more, "corpus.overlap=drop")
    assert any("sentences of silver left out" in warning for warning in made.warnings)
    tested = set(made.datasets["test"].frame["patient_id"])
    assert not tested & set(made.datasets["training"].frame["patient_id"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ("corpus.bronze.text_field=note", "mixture=gold_bronze"),
            r"corpus.bronze.text_field=note: changes nothing without a file",
        ),
        (("corpus.bronze.path=[]", "mixture=gold_bronze"), "must be a file or a list of files"),
        (
            ("corpus.bronze.path=gold.csv", "corpus.bronze.tag_column=2", "mixture=gold_bronze"),
            "corpus.bronze.tag_column=2: corpus.bronze.reader=table does not read it",
        ),
        (
            ("corpus.bronze.path=[gold.csv,./gold.csv]", "mixture=gold_bronze"),
            "two files called gold",
        ),
        (("corpus.gold.test=gold.csv",), "corpus.gold.path and corpus.gold.test are both set"),
        (("+corpus.sites={rural: {reader: table}}",), "corpus.sites.rural needs path"),
        (("task.subgroups=[age]",), 'no field "age" .fields: patient, note, text'),
    ],
)
def test_what_is_named_and_not_used_is_refused(cell, overrides, said):
    with pytest.raises(UserError, match=said):
        cell(*overrides)


def test_scores_by_subgroup_with_gaps(cell):
    made = cell("task.subgroups=[sex]")
    table = made.tables["subgroups"].set_index("group")
    small = table["n_patients"] < 5
    assert set(table.index) == {"F", "M"} and table["n_patients"].sum() == 8
    assert table.loc[small, "note"].eq("fewer than 5 patients: not scored").all()
    assert table.loc[~small, ["low", "value", "high"]].notna().all(axis=None)
    scored = {name for name in made.metrics if name.startswith("subgroup/")}
    assert scored == {f"subgroup/sex/{group}/macro_f1" for group in table.index[~small]} | (
        {"subgroup/sex/gap"} if (~small).any() else set()
    )


def test_experts_on_the_pool_tell_what_silver_is_worth(cell, tmp_path):
    notes = [
        {"note_id": f"n{number}", "text": f"Patient z{number} {SAYS['requires_assistance']}."}
        for number in range(4)
    ]
    write(
        tmp_path / "theirs.csv",
        [
            {"note": row["note_id"], "text": row["text"], "labels": "requires_assistance"}
            for row in notes
        ],
    )
    (tmp_path / "experts.tsv").write_text(
        "note_id\tsentence\tlabels\ntheirs/n0\t0\trequires_assistance\ntheirs/n1\t0\tnone\n"
    )
    made = cell(
        "mixture=gold_silver",
        "corpus.silver.path=theirs.csv",
        "corpus.silver.doc_field=note",
        "corpus.pool.labels=experts.tsv",
    )
    row = made.tables["silver_by_experts"].set_index("category").loc["requires_assistance"]
    assert (row["n"], row["tp"], row["fp"], row["precision"]) == (2, 1, 1, 0.5)


def test_gold_is_not_needed_to_begin(cell, tmp_path, monkeypatch, capsys):
    (tmp_path / "conf" / "corpus" / "new.yaml").write_text(
        "name: new\npool: {reader: notes, path: pool.csv}\n"
    )
    (tmp_path / "pool.csv").write_text("note_id,text\nn1,She forgets names. Walks alone.\n")
    ask = ("generate", "corpus=new", "task=ad_multilabel", "llm=batch_file")
    assert main([*ask, "mixture=silver"]) == 0
    assert "1 request" in capsys.readouterr().out and list((tmp_path / "batch").rglob("*.jsonl"))
    assert main([*ask, "mixture=silver", "prompt=guideline_fewshot"]) == 1
    assert "has no gold. Choose prompt=guideline" in capsys.readouterr().err
    assert main([*ask, "mixture=silver", "corpus.pool={reader: rest_of_train, path: null}"]) == 1
    assert "its pool is the rest of its gold" in capsys.readouterr().err


def test_what_is_generated_is_written_as_a_set_that_is_read(cell, tmp_path, capsys):
    write(tmp_path / "theirs.csv", rows(3, site="x"))
    assert main(["generate", "corpus=ward", "task=ad_multilabel", *bronze(), "--out", "g"]) == 0
    assert "use it: corpus.bronze.path=g/bronze.jsonl" in capsys.readouterr().out
    again = cell("mixture=gold_bronze", "corpus.bronze.path=g/bronze.jsonl", "mixture.leakage=100")
    assert len(again.generated[0].dataset) == 9
    assert main(["generate", "corpus=ward", "task=ad_multilabel", *bronze(), "--out", "g"]) == 1
    assert "is there already" in capsys.readouterr().err


def test_tables_and_card_say_where_a_set_of_others_is_from(cell, tmp_path, capsys):
    write(tmp_path / "theirs.csv", rows(5, site="x"))
    done = completed(
        "corpus=ward",
        "task=ad_multilabel",
        "task.gold_patients=null",
        "tracking.log_models=false",
        *bronze("corpus.bronze.made_by='GAN of a colleague'", "study=ward"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "tables"
    assert main(["table", "ward", "--format", "markdown", "--no-figures", "--out", str(out)]) == 0
    page = "".join(path.read_text() for path in out.glob("*.md"))
    said = r"bronze: read from theirs.csv \([0-9a-f]{12}\), made by: GAN of a colleague; no LLM was"
    assert re.search(said, page)
    run = reading.search(tracking.open_existing("mlflow"), kind="cell")[-1].info.run_id
    assert main(["export", run, "--out", str(tmp_path / "data")]) == 0
    card = (tmp_path / "data" / "README.md").read_text()
    assert re.search(r"\*\*bronze\*\*: read from theirs.csv \(.*made by: GAN of a colleague", card)
