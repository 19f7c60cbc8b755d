"""`touchstone export`: other tools read what it writes, and a restricted corpus stays in."""

import json

import pandas as pd
import pytest
import report_store as made

from touchstone import cli
from touchstone.data.export import COLUMNS, write
from touchstone.report import reading


@pytest.fixture(scope="module")
def sweep():
    return made.shared()


def export(sweep, out, *arguments, run=None) -> int:
    folder, _, parent = sweep
    where = ["--store", str(folder / "mlflow"), "--out", str(out)]
    return cli.main(["export", run or parent[:12], *where, *arguments])


def test_datasets_reads_the_folder_with_its_features(sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    assert export(sweep, tmp_path / "d") == 0
    read = datasets.load_dataset(str(tmp_path / "d"), cache_dir=str(tmp_path / "cache"))
    store = sweep[1]
    runs = [
        run for run in reading.search(store, kind="generation") if "silver" in run.info.run_name
    ]
    frame = reading.examples(store, runs[-1], "examples.parquet")
    assert {"silver", "bronze"} <= set(read)
    label = read["silver"].features["labels"].feature
    back = [[label.int2str(i) for i in row] for row in read["silver"]["labels"]]
    assert read["silver"]["text"][:] == frame["text"].tolist()
    assert back == frame["labels"].tolist()


def test_the_cards_hold_for_the_hub_and_say_how_the_data_were_made(sweep, tmp_path):
    from huggingface_hub import DatasetCard, ModelCard

    assert export(sweep, tmp_path / "d") == 0
    card = DatasetCard.load(tmp_path / "d" / "README.md")
    assert card.data.license == "cc0-1.0" and card.data.language == ["en"]
    assert card.data.task_categories == ["text-classification"]
    assert card.data.size_categories == ["n<1K"] or card.data.size_categories == ["1K<n<10K"]
    for words in (
        "prompt guideline version",
        "First request",
        "0.12 USD",
        "## What it must not be used for",
        "## Scan for identifiers",
        "## Experts' review",
    ):
        assert words in card.content
    cell = reading.search(sweep[1], kind="cell")[-1]
    assert export(sweep, tmp_path / "c", run=cell.info.run_id) == 0
    model = ModelCard.load(tmp_path / "c" / "MODEL_CARD.md")
    assert model.data.eval_results[0].metric_value == pytest.approx(
        cell.data.metrics.get("test/score", cell.data.metrics["test/macro_f1"])
    )
    assert f"touchstone reproduce {cell.info.run_id}" in model.content
    assert {"train", "test"} <= set(
        path.stem for path in (tmp_path / "c" / "data").glob("*.parquet")
    )


def entities() -> pd.DataFrame:
    spans = [{"start": 5, "end": 8, "type": "Disease"}]
    row = {"example_id": "a/1", "text": "\U0001f600 No flu here.", "labels": [], "spans": spans}
    row |= {"source": "bronze", "doc_id": "a", "confidence": ""}
    return pd.DataFrame([row, row | {"example_id": "a/2", "spans": []}])[list(COLUMNS)]


def test_spans_stand_in_every_format(tmp_path):
    for name in ("huggingface", "jsonl", "csv", "brat", "label_studio"):
        write({"bronze": entities()}, tmp_path / name, name, kind="ner", categories=["Disease"])
    line = json.loads((tmp_path / "jsonl" / "bronze.jsonl").read_text().splitlines()[0])
    assert line["spans"] == [{"start": 5, "end": 8, "type": "Disease"}] and "labels" not in line
    notes = sorted((tmp_path / "brat" / "bronze").glob("*.ann"))
    assert notes[0].read_text() == "T1\tDisease 5 8\tflu\n" and notes[1].read_text() == ""
    assert "Disease" in (tmp_path / "brat" / "annotation.conf").read_text()
    task = json.loads((tmp_path / "label_studio" / "bronze.json").read_text())[0]
    value = task["annotations"][0]["result"][0]["value"]
    assert (value["start"], value["end"], value["text"]) == (6, 9, "flu")
    table = pd.read_csv(tmp_path / "csv" / "bronze.csv")
    assert json.loads(table["spans"][0])[0]["type"] == "Disease"
    parquet = pd.read_parquet(tmp_path / "huggingface" / "data" / "bronze.parquet")
    assert [dict(span) for span in parquet["spans"][0]] == [{"start": 5, "end": 8, "type": 0}]


def test_what_cannot_be_exported_is_told(sweep, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("")
    assert export(sweep, tmp_path / "full") == 1
    assert "not an empty folder" in capsys.readouterr().err
    assert export(sweep, tmp_path / "d", "--format", "xml") == 1
    assert 'no format "xml". There are: brat, csv, huggingface' in capsys.readouterr().err


def test_nothing_is_sent_before_it_was_shown(sweep, tmp_path, capsys, monkeypatch):
    import huggingface_hub

    def never(*_, **__):
        raise AssertionError("asked the hub")

    monkeypatch.setattr(huggingface_hub, "HfApi", never)
    assert export(sweep, tmp_path / "d", "--push", "me/demo") == 0
    told = capsys.readouterr().out
    assert "would be public" in told and "Nothing was sent" in told
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert export(sweep, tmp_path / "e", "--push", "me/demo", "--yes") == 1
    assert "no token of the hub" in capsys.readouterr().err


def test_a_restricted_corpus_needs_the_agreement_by_name(tmp_path, capsys):
    store = made.empty_study("export_restricted")
    parent = made.log_sweep(store, "export_restricted")
    made.log(
        store,
        parent,
        "task=ad_multiclass",
        "mixture=gold_bronze",
        "corpus.access=restricted",
        cache=made.cache(),
        restricted=True,
    )
    out = tmp_path / "d"
    words = ["export", parent, "--store", store.uri, "--out", str(out)]
    assert cli.main(words) == 1
    assert "nothing was written" in capsys.readouterr().err and not out.exists()
    assert cli.main([*words, "--agreement", "DUA 7", "--push", "me/x"]) == 1
    assert "are not sent anywhere" in capsys.readouterr().err
