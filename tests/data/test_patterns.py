"""Regular expressions of users end, and say in one line what was wrong."""

import re
import threading
import time

import pandas as pd
import pytest

from touchstone.data import patterns
from touchstone.data.annotated import patient_of
from touchstone.data.pool import marked
from touchstone.data.readers.noteevents import read_noteevents
from touchstone.data.readers.notes import read_notes
from touchstone.errors import UserError
from touchstone.schema import GoldFiles, PoolFiles

ENDLESS = ("(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*a){25}$", "([a-z]+)*!", "(a*)*b", "^(\\w+\\s?)*$")
TEXT = "a" * 60 + "?"


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(patterns, "LIMIT_S", 0.2)


@pytest.mark.parametrize("pattern", ENDLESS)
def test_an_endless_search_ends_in_one_line_without_the_text(short, pattern):
    started = time.process_time()
    with pytest.raises(UserError) as raised:
        patterns.searched(patterns.compiled(pattern, "corpus.pool.keep"), ["fine", TEXT], "KEY")
    assert time.process_time() - started < 5
    assert str(raised.value).startswith(f"KEY={pattern}: takes more than 0.2 s for one text of 61")
    assert TEXT not in str(raised.value) and "\n" not in str(raised.value)


def test_the_limit_is_of_one_text_not_of_all(short):
    slow = ["a" * 17 + "?"] * 200  # some milliseconds each
    assert patterns.searched(re.compile("(a+)+$"), slow, "KEY") == [False] * 200


def test_every_key_that_is_a_regular_expression_is_bounded(short, tmp_path):
    (tmp_path / "n.csv").write_text(f"note_id,text\n1,{TEXT}\n")
    header = "ROW_ID,SUBJECT_ID,CATEGORY,TEXT,ISERROR"
    (tmp_path / "NOTEEVENTS.csv").write_text(f'{header}\n1,2,Nursing,"{TEXT}",\n')
    events = PoolFiles(reader="noteevents", path="x", keep="(a+)+$")
    for call, key in (
        (lambda: marked(pd.DataFrame({"text": [TEXT]}), "(a+)+$"), "corpus.pool.candidates"),
        (
            lambda: read_notes(
                tmp_path / "n.csv",
                PoolFiles(reader="notes", id_field="note_id", text_field="text", keep="(a+)+$"),
                0,
            ),
            "corpus.pool.keep",
        ),
        (
            lambda: read_noteevents(tmp_path / "NOTEEVENTS.csv", events, 0, shown=False),
            "corpus.pool.keep",
        ),
        (
            lambda: patient_of(TEXT, GoldFiles(reader="brat", patient_pattern="((a+)+)$")),
            "corpus.gold.patient_pattern",
        ),
    ):
        with pytest.raises(UserError, match=re.escape(key)):
            call()


def test_a_search_outside_the_main_thread_finds_the_same():
    results = []
    search = lambda: results.extend(patterns.searched(re.compile("b"), ["abc", "a"], "KEY"))  # noqa: E731
    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert results == [True, False]


def test_a_broken_expression_names_its_key():
    with pytest.raises(UserError, match="KEY: not a regular expression: missing"):
        patterns.compiled("(", "KEY")
