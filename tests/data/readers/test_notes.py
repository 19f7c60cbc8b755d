"""Readers of unlabelled notes: field names from the configuration, filters, seeded samples of
patients."""

from __future__ import annotations

import json
from collections import Counter

import pandas as pd
import pytest
from grid import DATA
from hypothesis import given
from hypothesis import strategies as st

from touchstone.data.corpus import read_pool
from touchstone.data.files import DEMO
from touchstone.data.readers.notes import COLUMNS, read_notes
from touchstone.data.sampling import sample_patients
from touchstone.errors import UserError
from touchstone.schema import CorpusConfig, PoolFiles


@pytest.fixture
def ward(tmp_path):
    """Thirty notes of ten patients."""
    path = tmp_path / "ward.jsonl"
    records = [
        {
            "id": number,
            "who": f"p{number % 10}",
            "note": f"Note {number}. Forgets names." if number % 3 else "Well.",
        }
        for number in range(30)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def pool(**changes) -> PoolFiles:
    return PoolFiles(**{"text_field": "note", "id_field": "id", "patient_field": "who", **changes})


def test_fields_are_named_by_the_configuration(ward):
    notes = read_notes(ward, pool(), 0)
    assert tuple(notes.columns) == COLUMNS and len(notes) == 30
    assert notes.iloc[1].to_dict() == {
        "note_id": "1",
        "patient_id": "p1",
        "note_type": "",
        "text": "Note 1. Forgets names.",
    }
    assert list(read_notes(ward, pool(patient_field=None), 0)["patient_id"]) == list(
        notes["note_id"]
    )
    assert list(read_notes(ward, pool(type_field="who"), 0)["note_type"]) == list(
        notes["patient_id"]
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"text_field": "text"},
            r'ward.jsonl, line 1: no field "text" \(fields: id, who, note\). Name the one to '
            r"read: corpus.pool.text_field=",
        ),
        ({"id_field": "note_id"}, r'no field "note_id" .*corpus.pool.id_field=id$'),
        ({"patient_field": "patient"}, r'no field "patient" .*corpus.pool.patient_field='),
        ({"type_field": "kind"}, r'no field "kind" .*corpus.pool.type_field='),
        (
            {"id_field": "who"},
            r"line 11: note p0 stands twice \(first on line 1\); corpus.pool.id_field must name "
            r"unique ids",
        ),
        ({"keep": "forgets ("}, "corpus.pool.keep: not a regular expression"),
    ],
)
def test_a_wrong_field_is_answered_with_the_override_to_use(ward, changes, said):
    with pytest.raises(UserError, match=said):
        read_notes(ward, pool(**changes), 0)


def test_keep_is_a_regex_that_ignores_case(ward):
    kept = read_notes(ward, pool(keep=r"\bforgets\b"), 0)
    assert len(kept) == 20 and all("Forgets" in text for text in kept["text"])


def test_max_notes_takes_whole_patients_in_a_seeded_order(ward):
    sampled = read_notes(ward, pool(max_notes=6), 0)
    counts = Counter(sampled["patient_id"])
    assert len(sampled) == 6 and sorted(counts.values()) == [3, 3]
    assert read_notes(ward, pool(max_notes=6), 0).equals(sampled)
    assert any(
        set(read_notes(ward, pool(max_notes=6), seed)["patient_id"]) != set(counts)
        for seed in range(1, 5)
    )
    assert set(sampled["note_id"]) < set(read_notes(ward, pool(max_notes=9), 0)["note_id"])
    assert len(read_notes(ward, pool(max_notes=7), 0)) == 7
    assert len(read_notes(ward, pool(max_notes=1000), 0)) == 30


def test_the_sample_counts_only_notes_that_pass_the_filter(ward):
    assert len(read_notes(ward, pool(max_notes=15, keep="forgets"), 0)) == 15


@given(
    st.dictionaries(st.text(max_size=5), st.integers(1, 9)), st.integers(0, 40), st.integers(0, 3)
)
def test_a_sample_has_the_size_asked_for_and_does_not_depend_on_order(counts, max_notes, seed):
    quota = sample_patients(counts, max_notes, seed)
    assert sum(quota.values()) == min(max_notes, sum(counts.values()))
    assert all(0 < taken <= counts[patient] for patient, taken in quota.items())
    assert sum(taken < counts[patient] for patient, taken in quota.items()) <= 1
    assert sample_patients(dict(reversed(counts.items())), max_notes, seed) == quota


def test_the_demo_pool():
    notes = read_notes(
        DEMO / "ad_corpus" / "pool_notes.jsonl",
        PoolFiles(patient_field="patient_id", type_field="note_type"),
        0,
    )
    assert len(notes) == 60 and notes["note_type"].str.len().min() > 0


def test_mts_dialog_sections_with_quoted_line_breaks():
    path = DATA / "mts_dialog" / "MTS-Dialog-TrainingSet.csv"
    if not path.exists():
        pytest.skip(f"MTS-Dialog is not in {DATA}; set TOUCHSTONE_DATA")
    notes = read_notes(
        path, PoolFiles(text_field="section_text", id_field="ID", type_field="section_header"), 0
    )
    assert len(notes) == 1201 and notes["note_id"].is_unique
    assert {"GENHX", "FAM/SOCHX", "ROS"} <= set(notes["note_type"])
    with pytest.raises(
        UserError,
        match=r"line 2: no field \"text\" \(fields: ID, section_header, section_text, dialogue\)",
    ):
        read_notes(path, PoolFiles(id_field="ID"), 0)


def test_a_pool_without_a_file_is_an_error(tmp_path):
    corpus = CorpusConfig(name="ward", pool=PoolFiles(reader="notes"))
    with pytest.raises(
        UserError, match="corpus.pool.path=null: corpus.pool.reader=notes needs a file of notes"
    ):
        read_pool(corpus, 0, None, tmp_path, pd.DataFrame())
