"""MIMIC's NOTEEVENTS as databases, pandas, Spark and spreadsheets rewrite it."""

from __future__ import annotations

import csv
import re

import pytest
from grid import DATA

from touchstone.data.readers.noteevents import read_noteevents
from touchstone.data.readers.notes import read_notes
from touchstone.errors import UserError
from touchstone.schema import PoolFiles

CASES = DATA.parent / "cases" / "mimic"
cases = pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not here")
HEADER = ("ROW_ID", "SUBJECT_ID", "CATEGORY", "ISERROR", "TEXT")


def read(path, **filters):
    return read_noteevents(path, PoolFiles(reader="noteevents", **filters), 0, shown=False)


@cases
@pytest.mark.parametrize("name", ["original", "postgres_true", "true_word", "index_column"])
def test_notes_entered_in_error_are_left_out_however_they_are_marked(name):
    assert read(CASES / f"{name}.csv")["note_id"].tolist() == ["1", "3"]


@cases
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("error_mark_unknown", "ISERROR has 1 marks that are neither 1, t or true"),
        ("cp1252", r"not UTF-8 \(byte 0x96\)"),
        ("utf16", r"not UTF-8 \(byte 0xff\)"),
        ("spark_backslash_comma", "line 2: not CSV .*backslash"),
        ("swallowed", "line 2: not CSV .*backslash"),
        ("after_quote", "line 2: "),
    ],
)
def test_what_would_corrupt_or_swallow_notes_is_one_line_with_file_and_line(name, said):
    with pytest.raises(UserError, match=said) as error:
        read(CASES / f"{name}.csv")
    message = str(error.value)
    assert f"{name}.csv" in message and "\n" not in message and "memory" not in message


def write(path, *notes):
    with open(path, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(HEADER)
        writer.writerows(notes)
    return path


def test_a_row_that_stands_twice_is_read_once_and_told(tmp_path, caplog):
    note = ("1", "11", "Nursing", "", "Forgets names.")
    path = write(tmp_path / "N.csv", note, ("2", "11", "Nursing", "", "Well."), note)
    assert read(path)["note_id"].tolist() == ["1", "2"]
    assert "1 rows stand twice; each note is read once" in caplog.text
    write(path, note, ("1", "11", "Nursing", "", "Another text."))
    with pytest.raises(UserError, match="note 1 stands twice with different texts"):
        read(path)


TEXTS = [
    "naïve",
    "Ｋelvin \u212a",
    "ſleep",
    "Ísland",
    "mem\nory",
    "confus",
    "x1",
    "x१",
    "é!",
    "İzmir",
]


@pytest.mark.parametrize(
    "keep",
    [
        "k",
        "sleep",
        r"\w+ve",
        r"x\d",
        "izmir",
        "confus|memory",
        r"^confus$",
        "x.",
        r"\bé",
        "[a-z]{5}",
    ],
)
def test_keep_means_the_same_in_every_reader(tmp_path, keep):
    events = write(
        tmp_path / "N.csv", *((n, n, "Nursing", "", text) for n, text in enumerate(TEXTS))
    )
    with open(tmp_path / "n.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([("note_id", "text"), *enumerate(TEXTS)])
    found = read(events, keep=keep)["note_id"].tolist()
    slow = [str(n) for n, text in enumerate(TEXTS) if re.search(keep, text, re.IGNORECASE)]
    same = read_notes(tmp_path / "n.csv", PoolFiles(keep=keep), 0)["note_id"].tolist()
    assert found == same == slow
