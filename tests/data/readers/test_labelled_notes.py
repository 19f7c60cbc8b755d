"""Reader of notes with sentence labels: the demo gold, and every way in which a label file can be
wrong."""

from __future__ import annotations

import json

import pytest
from grid import alzheimer, group, small_taxonomy

from touchstone.data.examples import check
from touchstone.data.files import DEMO
from touchstone.data.readers.labelled_notes import (
    parse_labels,
    read_annotators,
)
from touchstone.data.readers.labelled_notes import (
    read as read_labelled_notes,
)
from touchstone.errors import UserError
from touchstone.schema import CorpusConfig, GoldFiles

NOTE = {
    "note_id": "n1",
    "patient_id": "p1",
    "note_type": "Ward",
    "text": "Fell at\nhome.  Forgets names.\n",
    "sentences": [[0, 13], [15, 29]],
}
LABELS = "note_id\tsentence\tlabels\nn1\t0\tfalls\nn1\t1\tmemory,falls\n"
GOLD = {
    "reader": "labelled_notes",
    "path": "notes.jsonl",
    "labels": "labels.tsv",
    "doc_field": "note_id",
    "patient_field": "patient_id",
}


def write(folder, note=NOTE, labels=LABELS):
    (folder / "notes.jsonl").write_text(
        (note if isinstance(note, str) else json.dumps(note)) + "\n"
    )
    (folder / "labels.tsv").write_text(labels)
    return folder


def test_one_row_a_sentence_with_labels_in_the_taxonomys_order(tmp_path):
    frame, counted = read_labelled_notes(GoldFiles(**GOLD), small_taxonomy(), write(tmp_path))
    check(frame, small_taxonomy().ids)
    assert list(frame["example_id"]) == ["n1/0", "n1/1"] and list(frame["text"]) == [
        "Fell at home.",
        "Forgets names.",
    ]
    assert list(frame["labels"]) == [["falls"], ["memory", "falls"]]
    assert (
        set(frame["patient_id"]) == {"p1"}
        and set(frame["note_type"]) == {"Ward"}
        and set(frame["split"]) == {""}
    )
    assert counted == {"notes": 1, "patients": 1, "sentences": 2, "labelled": 2}


def test_the_origin_changes_with_either_file(tmp_path):
    def origin(**changes):
        return read_labelled_notes(GoldFiles(**GOLD), small_taxonomy(), write(tmp_path, **changes))[
            0
        ]["origin"].iloc[0]

    assert (
        len(
            {
                origin(),
                origin(labels=LABELS.replace("memory,falls", "none")),
                origin(note={**NOTE, "note_type": "ICU"}),
            }
        )
        == 3
    )


def test_without_a_patient_field_each_note_is_a_patient(tmp_path):
    frame, _ = read_labelled_notes(
        GoldFiles(**{**GOLD, "patient_field": None}), small_taxonomy(), write(tmp_path)
    )
    assert set(frame["patient_id"]) == {"n1"}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            LABELS.replace("\tfalls", "\tfals"),
            r'labels.tsv, line 2: no category "fals". Did you mean falls\? There are: falls, '
            r"memory, none",
        ),
        (
            LABELS.replace("memory,falls", "none,falls"),
            r'labels.tsv, line 3: "none" beside a category \(none, falls\)',
        ),
        (
            LABELS.replace("memory,falls", ""),
            'labels.tsv, line 3: no category "". There are: falls, memory, none',
        ),
        (LABELS.replace("n1\t1", "n2\t1"), "labels.tsv, line 3: no note n2 in the notes file"),
        (
            LABELS.replace("n1\t1", "n1\t2"),
            "labels.tsv, line 3: note n1 has no sentence 2; sentences are numbered from 0",
        ),
        (
            LABELS.replace("n1\t1", "n1\t0"),
            r"labels.tsv, line 3: sentence n1/0 is labelled twice \(first on line 2\)",
        ),
        (
            "note_id\tsentence\tlabels\nn1\t1\tfalls\n",
            "labels.tsv: 1 of 2 sentences have no labels, the first is n1/0",
        ),
        (
            LABELS.replace("labels\n", "label\n"),
            r'line 2: no field "labels" \(fields: note_id, sentence, label\); a label file is a '
            r"TSV with note_id",
        ),
        (LABELS + "n1\t0\n", "labels.tsv, line 4: 2 columns where the header names 3"),
    ],
)
def test_a_wrong_label_file_is_an_error_with_file_and_line(tmp_path, labels, said):
    with pytest.raises(UserError, match=said):
        read_labelled_notes(GoldFiles(**GOLD), small_taxonomy(), write(tmp_path, labels=labels))


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (
            {**NOTE, "sentences": [[0, 13], [12, 29]]},
            r"notes.jsonl, line 1: sentence 1 must be \[start, end\] with 13 <= start < end <= 30",
        ),
        ({**NOTE, "sentences": [[0, 13], [15, 99]]}, "sentence 1 must be"),
        ({**NOTE, "sentences": [[0, 13], [15, True]]}, "sentence 1 must be"),
        ({**NOTE, "sentences": [[0, 13], [13, 15]]}, r"sentence 1 \(13..15\) of note n1 is empty"),
        (
            {key: value for key, value in NOTE.items() if key != "sentences"},
            'line 1: no list "sentences" .*sentences_jsonl',
        ),
        ({**NOTE, "text": None}, 'line 1: field "text" must be a string, not null'),
        (
            {"id": "n1", "text": "x"},
            r'no field "note_id" \(fields: id, text\). Name the one to read: '
            r"corpus.gold.doc_field=id",
        ),
        ("{", "notes.jsonl, line 1: not JSON"),
        (
            json.dumps(NOTE) + "\n" + json.dumps(NOTE),
            r"notes.jsonl, line 2: note n1 stands twice \(first on line 1\)",
        ),
        ("", "notes.jsonl: no notes"),
    ],
)
def test_a_wrong_notes_file_is_an_error_with_file_and_line(tmp_path, note, said):
    with pytest.raises(UserError, match=said) as caught:
        read_labelled_notes(GoldFiles(**GOLD), small_taxonomy(), write(tmp_path, note=note))
    assert "Forgets" not in str(caught.value)


def test_missing_settings_and_files_are_errors(tmp_path):
    with pytest.raises(UserError, match="needs corpus.gold.path .* and corpus.gold.labels"):
        read_labelled_notes(GoldFiles(**{**GOLD, "labels": None}), small_taxonomy(), tmp_path)
    with pytest.raises(UserError, match="notes.jsonl: no such file. Looked in paths.data"):
        read_labelled_notes(GoldFiles(**GOLD), small_taxonomy(), tmp_path)
    with pytest.raises(
        UserError, match=r"set corpus.gold.path and corpus.gold.annotators=\[FILE,FILE\]"
    ):
        read_annotators(GoldFiles(**GOLD), small_taxonomy(), tmp_path)


def test_annotators_are_columns_over_the_same_sentences(tmp_path):
    write(tmp_path)
    (tmp_path / "anna.tsv").write_text(LABELS.replace("memory,falls", "none"))
    frame = read_annotators(
        GoldFiles(**GOLD, annotators=["labels.tsv", "anna.tsv"]), small_taxonomy(), tmp_path
    )
    assert list(frame.columns) == ["labels", "anna"] and list(frame.index) == ["n1/0", "n1/1"]
    assert list(frame["anna"]) == [["falls"], []] and list(frame["labels"]) == [
        ["falls"],
        ["memory", "falls"],
    ]


def test_synonyms_are_other_spellings():
    assert parse_labels(["Memory", " falls"], small_taxonomy(), {"Memory": "memory"}, "x") == [
        "memory",
        "falls",
    ]
    assert (
        parse_labels(["none"], small_taxonomy(), {}, "x")
        == parse_labels([], small_taxonomy(), {}, "x")
        == []
    )


def test_the_demo_gold():
    gold = group("corpus", "ad_demo", CorpusConfig).gold
    frame, counted = read_labelled_notes(gold, alzheimer(), None)
    check(frame, alzheimer().ids)
    assert counted == {"notes": 150, "patients": 50, "sentences": 2846, "labelled": 1042}
    counts = frame["labels"].explode().value_counts()
    assert counts["cognitive_impairment"] == 429 and counts["diagnostic_tests"] == 70
    annotators = read_annotators(gold, alzheimer(), None)
    assert list(annotators.columns) == ["annotator_1", "annotator_2"] and list(
        annotators.index
    ) == list(frame["example_id"])
    same = (annotators["annotator_1"] == annotators["annotator_2"]).mean()
    assert 0.9 < same < 1
    assert (DEMO / gold.labels).exists()
