"""Odd files of labels and notes: each is read, or refused in one line that quotes none of it."""

import pytest
from grid import small_taxonomy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from touchstone.data.readers import read_gold_files
from touchstone.data.readers.noteevents import read_noteevents
from touchstone.errors import UserError
from touchstone.schema import GoldFiles, PoolFiles

CANARY = "kanarienvogel sang twice"  # stands in every text, and in no message
PIECES = st.sampled_from(
    [
        CANARY,
        ",",
        '"',
        '""',
        "\n",
        "\r\n",
        "\t",
        "memory",
        "none",
        "1",
        "\\",
        "{",
        "}",
        "[",
        ":",
        "text",
        "label",
        f"{CANARY},memory,d1\n",
        f'{{"text": "{CANARY}", "label": "memory", "doc_id": "d1"}}\n',
        "\x00",
        "é",
        "😀",
        "\ufeff",
        "|",
        ";",
        " ",
        "'",
        "null",
        "1e999",
        "\ud800",
    ]
)
BODIES = st.lists(PIECES, max_size=40).map("".join).map(lambda s: s.encode("utf-8", "replace"))
BODIES = BODIES | st.binary(max_size=80)
HEADS = st.sampled_from(
    [b"text,label,doc_id\n", b"text,label,doc_id\r\n", b"\xef\xbb\xbftext,label,doc_id\n", b""]
)
EVENTS = b"ROW_ID,SUBJECT_ID,CATEGORY,TEXT,ISERROR\n1,2,Nursing,"


def runs(n):
    return settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck))


def read_or_refused(read):
    try:
        read()
    except UserError as error:
        assert CANARY not in str(error) and "\n" not in str(error)


def labels(folder, ending, raw):
    path = folder / f"gold{ending}"
    path.write_bytes(raw)
    gold = GoldFiles(reader="table", path=str(path), text_field="text", labels_field="label")
    read_or_refused(lambda: read_gold_files(gold, small_taxonomy(), None, restricted=True))


def notes(folder, raw):
    path = folder / "NOTEEVENTS.csv"
    path.write_bytes(EVENTS + raw)
    pool = PoolFiles(reader="noteevents", path=str(path))
    read_or_refused(lambda: read_noteevents(path, pool, 0, shown=False))


ENDINGS = st.sampled_from([".csv", ".tsv", ".jsonl", ".json"])


def test_the_plain_file_is_read(tmp_path):
    path = tmp_path / "gold.csv"
    path.write_text(f"text,label,doc_id\n{CANARY},memory,d1\n")
    gold = GoldFiles(reader="table", path=str(path), text_field="text", labels_field="label")
    assert len(read_gold_files(gold, small_taxonomy(), None, restricted=True)[0]) == 1


@runs(200)
@given(ENDINGS, HEADS, BODIES)
def test_odd_files_of_labels(tmp_path_factory, ending, head, body):
    labels(tmp_path_factory.getbasetemp(), ending, head + body)


@runs(200)
@given(BODIES)
def test_odd_noteevents(tmp_path_factory, body):
    notes(tmp_path_factory.getbasetemp(), body)


@pytest.mark.slow
@runs(10_000)
@given(ENDINGS, HEADS, BODIES)
def test_ten_thousand_odd_files_of_labels(tmp_path_factory, ending, head, body):
    labels(tmp_path_factory.getbasetemp(), ending, head + body)


@pytest.mark.slow
@runs(10_000)
@given(BODIES)
def test_ten_thousand_odd_noteevents(tmp_path_factory, body):
    notes(tmp_path_factory.getbasetemp(), body)
