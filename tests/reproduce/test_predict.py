"""`touchstone predict`: new notes, labelled by a logged cell, in three forms."""

from __future__ import annotations

import json
import stat

import numpy as np
import pandas as pd
import pytest
from grid import run, small_taxonomy

from touchstone.cli import main
from touchstone.data.readers import read_gold_files
from touchstone.reproduce.predict import notes_of, predicted, sentences_of, write
from touchstone.schema import GoldFiles

NOTE = "Well today.\n\nHe  forgets   names. She fell 😀 twice."


class Finds:
    """A tagger that finds one word, and a classifier that is sure of it."""

    def __init__(self, word: str) -> None:
        self.word = word

    def predict(self, texts):
        return [
            [
                {
                    "start": text.index(self.word),
                    "end": text.index(self.word) + len(self.word),
                    "type": "memory",
                }
            ]
            if self.word in text
            else []
            for text in texts
        ]

    def predict_proba(self, texts):
        return np.array([[0.9, 0.2] if self.word in text else [0.1, 0.2] for text in texts])


def test_spans_are_offsets_into_the_note_as_it_was():
    sentences = sentences_of([("n1", NOTE)], whole=False)
    table = predicted(Finds("forgets names"), sentences, small_taxonomy(), "ner")
    (span,) = [span for spans in table["spans"] for span in spans]
    assert NOTE[span["start"] : span["end"]] == "forgets   names"
    assert [NOTE[row.start : row.end] for row in table.itertuples()][0] == "Well today."


def test_labels_come_with_probabilities_and_their_place(tmp_path):
    sentences = sentences_of([("n1", NOTE)], whole=False)
    table = predicted(Finds("fell"), sentences, small_taxonomy(), "multilabel")
    assert table["labels"].tolist()[-1] == ["memory"]
    write(table, [("n1", NOTE)], "csv", tmp_path / "p.csv")
    flat = pd.read_csv(tmp_path / "p.csv")
    assert flat["p_memory"].tolist() == [0.1, 0.1, 0.9] and flat["labels"].iloc[-1] == "memory"
    assert stat.S_IMODE((tmp_path / "p.csv").stat().st_mode) == 0o600


def test_brat_comes_back_through_the_reader(tmp_path):
    sentences = sentences_of([("n1", NOTE)], whole=False)
    table = predicted(Finds("fell 😀"), sentences, small_taxonomy(), "ner")
    write(table, [("n1", NOTE)], "brat", tmp_path / "b")
    files = GoldFiles(reader="brat", path=str(tmp_path / "b"))
    frame, _ = read_gold_files(files, small_taxonomy(), None)
    spans = [row.text[s["start"] : s["end"]] for row in frame.itertuples() for s in row.spans]
    assert spans == ["fell 😀"]


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """A project in which one cell has run."""
    folder = tmp_path_factory.mktemp("ward")
    result = run("mixture=gold", "task=ad_multilabel", "task.gold_patients=3", cwd=folder)
    assert result.returncode == 0, result.stderr
    import sqlite3

    with sqlite3.connect(folder / "mlflow" / "mlflow.db") as database:
        (run_id,) = database.execute(
            "select run_uuid from tags where key = 'touchstone.kind' and value = 'cell'"
        ).fetchone()
    return folder, run_id


def test_a_logged_cell_labels_new_notes(ward, monkeypatch, capsys):
    folder, run_id = ward
    monkeypatch.chdir(folder)
    rows = [{"id": f"n{n}", "note": f"She repeats questions {n}. Lungs clear."} for n in range(3)]
    (folder / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ("--text-field", "note", "--id-field", "id", "--format", "jsonl")
    assert main(["predict", run_id[:8], "new.jsonl", *names]) == 0
    assert "predictions.jsonl: 3 notes, 6 sentences" in capsys.readouterr().out
    made = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert [row["note_id"] for row in made] == ["n0", "n0", "n1", "n1", "n2", "n2"]
    assert set(made[0]["probabilities"]) > {"cognitive_impairment"}
    assert main(["predict", run_id, "new.jsonl", *names]) == 1
    assert "is there already; choose another name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "xml"), 'no format "xml".*There are: brat, csv, jsonl'),
        (("--text-field", "txt"), r'no field "txt" .fields: text.*--text-field FIELD'),
    ],
)
def test_what_is_wrong_with_the_command_is_told(tmp_path, capsys, arguments, said):
    import re

    (tmp_path / "n.csv").write_text("text\nShe fell.\n")
    assert main(["predict", "0" * 32, str(tmp_path / "n.csv"), *arguments]) == 1
    assert re.search(said, capsys.readouterr().err)


def test_folders_and_single_files_are_notes(tmp_path):
    (tmp_path / "a.txt").write_text("One.")
    (tmp_path / "b.txt").write_text("Two.")
    assert notes_of(tmp_path, None, None) == [("a", "One."), ("b", "Two.")]
    assert notes_of(tmp_path / "a.txt", None, None) == [("a", "One.")]
