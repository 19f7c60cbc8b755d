"""The scan for identifiers: what it finds, what it must leave alone. All names and numbers are made
up."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import touchstone
from touchstone.evaluate.quality.phi import KINDS, identifiers, scan

FOUND = [
    ("Seen on 3/14/2021 in clinic.", "date", "3/14/2021"),
    ("Seen on 03-14-21.", "date", "03-14-21"),
    ("Admitted 2021-03-14 at noon.", "date", "2021-03-14"),
    ("Next visit March 3, 2022 please.", "date", "March 3, 2022"),
    ("Last seen 14 Nov with his wife.", "date", "14 Nov"),
    ("Call (555) 010-4477 after five.", "phone", "(555) 010-4477"),
    ("Call 555-010-4477.", "phone", "555-010-4477"),
    ("SSN 078-05-1120 on file.", "ssn", "078-05-1120"),
    ("MRN: 00123456", "record_number", "MRN: 00123456"),
    ("Medical record number 8812345 was used.", "record_number", "Medical record number 8812345"),
    ("Write to j.doe@example.org today.", "email", "j.doe@example.org"),
    ("See https://example.org/a for more.", "url", "https://example.org/a"),
    ("Referred by Dr. J. Example-Smith.", "titled_name", "Dr. J. Example-Smith"),
    ("Mrs Example is worried.", "titled_name", "Mrs Example"),
    ("A 93-year-old woman.", "age_over_89", "93-year-old"),
    ("Pt is 101 y/o.", "age_over_89", "101 y/o"),
    ("Father died aged 94.", "age_over_89", "aged 94"),
    ("Lives at 12 North Elm Street.", "address", "12 North Elm Street"),
    ("Boston, MA 02115", "address", "MA 02115"),
    ("Seen by [**Name 3/14/2021**].", "placeholder", "[**Name 3/14/2021**]"),
]
ORDINARY = [
    "An 84-year-old man scored 22/30 on the MMSE and 4/5 on strength.",
    "BP 140/90, pulse 72, sodium 138, weight 81.5 kg.",
    "Donepezil 10 mg daily; may 5 mg be enough?",
    "She draws the clock at ten past eleven, 3 of 3 words.",
    "L2-3 disc, T12 fracture, vitamin B12 432.",
    "His daughter drives him on Tuesdays since last March.",
    "Range 1-2-3 steps, doctor to be called.",
    "Diagnosed in 2014; stable since.",
    "ECG 120 ms, QTc 430-450-ish.",
]


@pytest.mark.parametrize(
    ("text", "kind", "what"), FOUND, ids=[kind + "-" + what for _, kind, what in FOUND]
)
def test_identifiers_are_found_where_they_stand(text, kind, what):
    assert [(item.kind, text[item.start : item.end]) for item in identifiers(text)] == [
        (kind, what)
    ]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_clinical_text_is_left_alone(text):
    assert identifiers(text) == []


def test_the_scan_counts_and_never_repeats_text():
    table = scan(
        ["Dr. Example and Dr. Other on 3/14/2021", "nothing here", "[**Name**]"]
    ).set_index("kind")
    assert list(table.index) == list(KINDS)
    assert table.loc["titled_name"].tolist() == [2, 1]
    assert table.loc["date"].tolist() == [1, 1]
    assert table.loc["placeholder"].tolist() == [1, 1]
    assert table["n"].sum() == 4
    assert "Example" not in table.to_csv()


def test_placeholders_of_the_demo_pool_are_counted():
    pool = Path(touchstone.__file__).parent / "demo" / "ad_corpus" / "pool_notes.jsonl"
    texts = [json.loads(line)["text"] for line in pool.read_text(encoding="utf-8").splitlines()]
    table = scan(texts).set_index("kind")
    assert table.loc["placeholder", "n"] == sum(text.count("[**") for text in texts) > 50
    assert table.loc[["ssn", "email", "url", "record_number"], "n"].sum() == 0


@given(st.text("0123456789/-. ()[]*abMRN@DrJan,", max_size=60))
def test_findings_do_not_overlap_and_lie_within_the_text(text):
    found = identifiers(text)
    assert all(0 <= item.start < item.end <= len(text) for item in found)
    assert all(a.end <= b.start for a, b in zip(found, found[1:], strict=False))
