"""The MIMIC readers: filters, quoting, samples, damaged files, and the synthetic NOTEEVENTS they
are tested and timed on."""

from __future__ import annotations

import csv
import gzip
import logging
import re
import traceback
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_noteevents import HEADER, write_noteevents

from touchstone.data.readers import noteevents
from touchstone.data.readers.noteevents import iter_noteevents, read_noteevents
from touchstone.data.readers.notes import COLUMNS
from touchstone.data.segment import sentences
from touchstone.errors import UserError
from touchstone.schema import PoolFiles

NAMES = HEADER.split(",")


def pool(**changes) -> PoolFiles:
    return PoolFiles(**{"reader": "noteevents", **changes})


def write(path: Path, *notes: dict, header: list[str] = NAMES) -> Path:
    """Write rows as MIMIC does; what a note leaves out is empty."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, header, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(notes)
    return path


def note(number, text="Pt stable.", patient=1, category="Nursing", error=""):
    return {
        "ROW_ID": number,
        "SUBJECT_ID": patient,
        "CATEGORY": category,
        "ISERROR": error,
        "TEXT": text,
    }


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mimic") / "NOTEEVENTS.csv.gz"
    write_noteevents(path, megabytes=6, seed=1)
    return path


@pytest.fixture(scope="module")
def slow(synthetic) -> pd.DataFrame:
    """The same file read by Python's csv module."""
    with gzip.open(synthetic, "rt", newline="") as handle:
        return pd.DataFrame(list(csv.DictReader(handle)))


def expected(slow: pd.DataFrame, categories=None, keep=None) -> pd.DataFrame:
    frame = slow[slow["ISERROR"] != "1"]
    if categories:
        frame = frame[frame["CATEGORY"].str.strip().isin(categories)]
    if keep:
        frame = frame[[re.search(keep, text, re.IGNORECASE) is not None for text in frame["TEXT"]]]
    return frame.reset_index(drop=True)


@pytest.mark.parametrize(
    ("categories", "keep"),
    [
        ([], None),
        (["Physician", "Nursing"], None),
        ([], "DEMENTIA|wanders"),
        (["Nursing/other"], r"forgetful(?= since)|\bwanders\b"),
    ],
)
def test_the_filters_agree_with_a_slow_reading(synthetic, slow, categories, keep):
    found = read_noteevents(synthetic, pool(categories=categories, keep=keep), 0)
    right = expected(slow, categories, keep)
    assert 0 < len(right) < len(slow) and tuple(found.columns) == COLUMNS
    assert list(found["note_id"]) == list(right["ROW_ID"]) and list(found["text"]) == list(
        right["TEXT"]
    )
    assert list(found["note_type"]) == list(right["CATEGORY"].str.strip()) and list(
        found["patient_id"]
    ) == list(right["SUBJECT_ID"])


def test_quoted_line_breaks_and_quotes_belong_to_the_note(tmp_path):
    text = 'Says "fine, thanks"\n\nPlan:\r\n1. Rest, "bed"\n'
    path = write(tmp_path / "NOTEEVENTS.csv", note(1, text), note(2, ""), note(3, "Ends"))
    assert list(read_noteevents(path, pool(), 0)["text"]) == [text, "", "Ends"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), min_size=1
    ),
    zipped=st.booleans(),
)
def test_any_text_is_read_as_it_was_written(tmp_path, texts, zipped):
    path = tmp_path / ("a.csv.gz" if zipped else "a.csv")
    with (gzip.open if zipped else open)(path, "wt", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, quoting=csv.QUOTE_ALL)
        writer.writerows(
            [
                NAMES,
                *(
                    list({**dict.fromkeys(NAMES, ""), **note(number, text)}.values())
                    for number, text in enumerate(texts)
                ),
            ]
        )
    assert list(read_noteevents(path, pool(), 0)["text"]) == texts


def test_rows_entered_in_error_are_dropped_and_categories_lose_their_spaces(tmp_path):
    path = write(
        tmp_path / "n.csv.gz",
        note(1, error="1"),
        note(2, category="Physician "),
        note(3, category="nursing"),
        note(4, error=" 1"),
    )
    found = read_noteevents(path, pool(categories=["physician", "Nursing "]), 0)
    assert list(found["note_id"]) == ["2", "3"] and list(found["note_type"]) == [
        "Physician",
        "nursing",
    ]


def test_a_category_nobody_knows_is_an_error_but_a_part_of_the_release_is_not(tmp_path):
    path = write(tmp_path / "n.csv", note(1), note(2, category="Ward X"))
    with pytest.raises(
        UserError,
        match=(
            r'corpus.pool.categories: no category "Nursng". Did you mean Nursing\? There are: '
            r"Nursing, Ward X"
        ),
    ):
        read_noteevents(path, pool(categories=["Nursng"]), 0)
    assert len(read_noteevents(path, pool(categories=["Consult", "Ward X"]), 0)) == 1
    empty = read_noteevents(path, pool(categories=["Consult"]), 0)
    assert empty.empty and tuple(empty.columns) == COLUMNS


def test_a_sample_takes_whole_patients_and_does_not_depend_on_the_order_of_the_file(tmp_path):
    notes = [
        note(number, f"Forgets {number}." if number % 2 else "Well.", patient=number % 7)
        for number in range(70)
    ]
    forward, backward = (
        write(tmp_path / "f.csv", *notes),
        write(tmp_path / "b.csv", *reversed(notes)),
    )
    for keep in (None, "forgets"):
        sampled = read_noteevents(forward, pool(max_notes=10, keep=keep), 3)
        assert len(sampled) == 10 and sampled["patient_id"].nunique() == (1 if keep is None else 2)
        again = read_noteevents(backward, pool(max_notes=10, keep=keep), 3)
        assert sorted(again["note_id"]) == sorted(sampled["note_id"])
    seeds = {
        tuple(read_noteevents(forward, pool(max_notes=10), seed)["note_id"]) for seed in range(5)
    }
    assert len(seeds) > 1


def test_a_sample_over_many_blocks_is_exact(synthetic, slow, monkeypatch):
    monkeypatch.setattr(noteevents, "BLOCK_BYTES", 100_000)
    found = read_noteevents(synthetic, pool(max_notes=60, keep="dementia"), 0)
    right = expected(slow, keep="dementia")
    assert len(found) == 60 and set(found["note_id"]) <= set(right["ROW_ID"])
    counts, all_counts = found["patient_id"].value_counts(), right["SUBJECT_ID"].value_counts()
    assert (counts < all_counts[counts.index]).sum() <= 1


def test_mimic_iv_note_has_its_own_columns(tmp_path):
    names = [
        "note_id",
        "subject_id",
        "hadm_id",
        "note_type",
        "note_seq",
        "charttime",
        "storetime",
        "text",
    ]
    path = tmp_path / "discharge.csv.gz"
    row = {
        "note_id": "10000032-DS-21",
        "subject_id": 10000032,
        "note_type": "DS",
        "text": " \nName:  ___\nForgets.\n",
    }
    write(path, row, header=names)
    found = read_noteevents(path, pool(reader="mimic_iv_note"), 0)
    assert found.iloc[0].to_dict() == {
        "note_id": "10000032-DS-21",
        "patient_id": "10000032",
        "note_type": "DS",
        "text": row["text"],
    }


def test_column_names_in_small_letters_are_read_too(tmp_path):
    lower = [name.lower() for name in NAMES]
    path = write(
        tmp_path / "n.csv", {key.lower(): value for key, value in note(5).items()}, header=lower
    )
    assert list(read_noteevents(path, pool(), 0)["note_id"]) == ["5"]


def test_missing_columns_are_named(tmp_path):
    path = write(tmp_path / "n.csv", {"id": 1, "TEXT": "x"}, header=["id", "TEXT"])
    with pytest.raises(
        UserError,
        match=(
            r"no column ROW_ID \(columns: id, TEXT\), which corpus.pool.reader=noteevents "
            r"needs.*reader=notes"
        ),
    ):
        read_noteevents(path, pool(), 0)


def test_damaged_files_are_errors_without_text_of_notes(tmp_path):
    canary = "Zebulon, who forgets,\n" * 50
    whole = write(
        tmp_path / "whole.csv", *[note(number, canary) for number in range(1000)]
    ).read_bytes()
    zipped = gzip.compress(whole)
    cases = {
        "cut.csv": (
            whole[: whole.rindex(b"Zebulon") + 22],
            r"ends inside a quoted note \(its quotation marks do not pair up\); the file was cut",
        ),
        "cut.csv.gz": (zipped[: len(zipped) // 2], "damaged or cut gzip file"),
        "garbled.csv.gz": (zipped[:500] + b"\x00" * 200 + zipped[700:], "garbled.csv.gz"),
        "plain.csv.gz": (whole, "damaged or cut gzip file"),
        "latin.csv": (whole.replace(b"999", b"\xe999", 1), r"not UTF-8 \(byte 0xe9\)"),
        "ragged.csv": (
            whole + b"1,2,Zebulon\n",
            r"line 51002: 3 columns where the header names 11",
        ),
        "quote.csv": (
            whole + b'1,1,,,,,Nursing,,,,"Zebulon' + b" forgets" * 700_000,
            "ends inside a quoted note",
        ),
        "long.csv": (
            whole.replace(b"forgets", b"forgets " * 2_000_000, 1),
            "a row of more than 4 MB, or a quotation mark that is never closed",
        ),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=said) as caught:
            read_noteevents(tmp_path / name, pool(), 0)
        assert "Zebulon" not in "".join(traceback.format_exception(caught.value)), name


def test_reading_may_stop_anywhere(synthetic, monkeypatch):
    monkeypatch.setattr(noteevents, "BLOCK_BYTES", 100_000)
    frames = iter_noteevents(synthetic, pool(), 0)
    assert len(next(frames))
    frames.close()


def test_progress_is_logged_once_a_minute_where_there_is_no_terminal(
    synthetic, monkeypatch, caplog
):
    import touchstone.progress as progress

    monkeypatch.setattr(noteevents, "BLOCK_BYTES", 100_000)
    clock = iter(range(0, 100_000, 25))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "touchstone"):
        blocks = len(list(noteevents._blocks(synthetic, ["TEXT"], "reading x", True)))
    assert blocks // 4 <= len(caplog.records) <= blocks // 2
    assert re.match(
        r"reading x: [\d,]+ of [\d,]+ MB, [\d,]+ MB/s, \d+ min left", caplog.records[0].getMessage()
    )


def test_the_synthetic_file_looks_like_the_real_one(synthetic, slow):
    assert list(slow.columns) == NAMES and slow["ROW_ID"].is_unique
    assert "Physician " in set(slow["CATEGORY"]) and slow["CATEGORY"].nunique() >= 10
    assert 0 < (slow["ISERROR"] == "1").mean() < 0.05
    assert slow["SUBJECT_ID"].nunique() < len(slow) / 5
    texts = slow["TEXT"]
    assert (
        texts.str.contains("\n").all()
        and texts.str.contains('"').any()
        and texts.str.contains(r"\[\*\*").all()
    )
    size = sum(texts.str.len())
    assert 2.5 < size / synthetic.stat().st_size < 4.5
    found = [sentence for text in texts[:200] for sentence in sentences(text)]
    assert 5 < sum(len(sentence.split()) for sentence in found) / len(found) < 30


def test_the_synthetic_file_is_seeded_and_has_the_size_asked_for(tmp_path):
    for name, seed in {"a.csv.gz": 0, "b.csv.gz": 0, "c.csv.gz": 1}.items():
        write_noteevents(tmp_path / name, megabytes=0.5, seed=seed)
    contents = [(tmp_path / name).read_bytes() for name in ("a.csv.gz", "b.csv.gz", "c.csv.gz")]
    assert contents[0] == contents[1] != contents[2]
    rows = write_noteevents(tmp_path / "d.csv", megabytes=2, patients=3)
    frame = pd.read_csv(tmp_path / "d.csv", dtype=str)
    assert len(frame) == rows and set(frame["SUBJECT_ID"]) == {"0", "1", "2"}
    assert 2e6 <= (tmp_path / "d.csv").stat().st_size < 4e6
