"""Finding corpus files, and reading their records with file and line in every message."""

from __future__ import annotations

import csv
import doctest
import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from touchstone.data import files
from touchstone.data.files import DEMO, find, id_field, quoted, rows, text_field
from touchstone.errors import UserError

CANARY = "Zebulon repeats himself"


def test_a_relative_path_is_found_in_the_data_folder_then_the_demo_then_the_working_folder(
    tmp_path, monkeypatch
):
    data, work = tmp_path / "data", tmp_path / "work"
    for folder in (data / "ad_corpus", work):
        folder.mkdir(parents=True)
    monkeypatch.chdir(work)
    (work / "notes.csv").write_text("x")
    assert find("notes.csv", data) == work / "notes.csv"
    (data / "notes.csv").write_text("x")
    assert find("notes.csv", data) == data / "notes.csv"
    assert find("ad_corpus/gold_notes.jsonl", data) == DEMO / "ad_corpus" / "gold_notes.jsonl"
    (data / "ad_corpus" / "gold_notes.jsonl").write_text("x")
    assert find("ad_corpus/gold_notes.jsonl", data) == data / "ad_corpus" / "gold_notes.jsonl"
    assert find(str(data / "notes.csv")) == data / "notes.csv"


def test_a_missing_file_is_an_error_that_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(
        UserError,
        match=(
            r"^nope.csv: no such file. Looked in paths.data \(.*\); the built-in demo \(.*\); "
            r"the working folder"
        ),
    ):
        find("nope.csv", tmp_path)
    with pytest.raises(
        UserError, match=r"paths.data \(not set\).*Set paths.data=FOLDER or TOUCHSTONE_DATA"
    ):
        find("nope.csv", None)
    with pytest.raises(UserError, match="no such file"):
        find(tmp_path / "nope.csv")


def test_a_folder_where_a_file_is_expected_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, data in (("notes", tmp_path), ("notes", None), (tmp_path / "notes", None)):
        with pytest.raises(UserError, match=r"notes: is a folder. Name a file in it$"):
            find(name, data)


def test_jsonl_csv_and_tsv_give_the_same_records(tmp_path):
    records = [{"id": "1", "text": "a b"}, {"id": "2", "text": "c"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n\n")
    (tmp_path / "a.csv").write_bytes("\ufeffid,text\r\n1,a b\r\n\r\n2,c\r\n".encode())
    (tmp_path / "a.tsv").write_text("id\ttext\n1\ta b\n2\tc\n")
    with gzip.open(tmp_path / "b.csv.gz", "wt") as handle:
        handle.write('id,text\n1,"a b"\n2,c\n')
    for name in ("a.jsonl", "a.csv", "a.tsv", "b.csv.gz"):
        assert [record for _, record in rows(tmp_path / name)] == records, name


def test_csv_records_may_span_lines_and_carry_the_line_they_begin_on(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"two\nlines, and ""quotes"""\n\n2,"x"\n')
    assert list(rows(path)) == [
        (2, {"id": "1", "text": 'two\nlines, and "quotes"'}),
        (5, {"id": "2", "text": "x"}),
    ]


def test_a_field_longer_than_the_csv_default_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1," + "x" * 200_000 + "\n")
    assert len(next(rows(path))[1]["text"]) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.jsonl",
            f'{{"text": "{CANARY}"}}\n{{"text": "{CANARY}\n',
            r"a.jsonl, line 2: not JSON .Invalid control character at column 34",
        ),
        ("a.jsonl", f'\n\n["{CANARY}"]\n', "a.jsonl, line 3: must be a JSON object, not a list"),
        (
            "a.csv",
            f"id,text\n1,{CANARY}\n2,{CANARY},x\n",
            r"a.csv, line 3: 3 columns where the header names 2 \(id, text\)",
        ),
        ("a.csv", f'id,text\n1,"{CANARY}\n', r"a.csv, line 2: not CSV \(unexpected end of data\)"),
        ("a.csv", "", "a.csv: empty, a header line"),
        ("a.tsv", "\n", "a.tsv: empty, a header line"),
        ("a.tsv", f"id\ttext\n1 {CANARY}\n", "a.tsv, line 2: 1 columns where the header names 2"),
        (
            "a.csv",
            f"id,text,text\n1,{CANARY},x\n",
            r'a.csv: the header names the column "text" twice \(columns: id, text, text\)',
        ),
        (
            "a.tsv",
            f"{CANARY}.\t0\t0\n1\t2\t3\n",
            'a.tsv: the header names the column "0" twice .* has the file no header line',
        ),
        (
            "a.csv",
            f"1,{CANARY}.\n2\n",
            r"line 2: 1 columns where the header names 2 \(1, \[text not shown\]",
        ),
        (
            "a.jsonl",
            f'{{"text": "{CANARY} \\ud800"}}\n',
            "a.jsonl, line 1: holds .ud800 or another half of a character",
        ),
        (
            "a.jsonl",
            '{"text": ' + "[" * 200_000 + "]" * 200_000 + "}",
            "a.jsonl, line 1: nested too deeply",
        ),
        ("a.jsonl", '{"text": ' + "1" * 5000 + "}", "a.jsonl, line 1: a number that is too long"),
        ("a.xlsx", "", "a.xlsx: unknown kind of file. Its name must end in .jsonl, .csv, .tsv"),
    ],
)
def test_a_malformed_file_is_an_error_with_its_line_and_without_its_text(
    tmp_path, name, content, said
):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        list(rows(tmp_path / name))
    assert "Zebulon" not in str(caught.value)


def test_bytes_that_are_not_utf8_and_cut_archives_are_errors(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,caf\xe9\n")
    with pytest.raises(UserError, match=r"a.csv: not UTF-8 \(byte 0xe9\)"):
        list(rows(tmp_path / "a.csv"))
    whole = gzip.compress(b"id,text\n" + b"1,a\n" * 1000)
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged or cut gzip file"):
        list(rows(tmp_path / "cut.csv.gz"))
    (tmp_path / "zeros.csv.gz").write_bytes(whole[:20] + b"\xff" * 40 + whole[60:])
    with pytest.raises(UserError, match="zeros.csv.gz"):
        list(rows(tmp_path / "zeros.csv.gz"))
    (tmp_path / "plain.csv.gz").write_bytes(b"id,text\n1,a\n")
    with pytest.raises(UserError, match="damaged or cut gzip file"):
        list(rows(tmp_path / "plain.csv.gz"))


def test_a_missing_field_names_the_fields_there_and_the_override(tmp_path):
    where = {"path": tmp_path / "notes.jsonl", "line": 41}
    with pytest.raises(UserError) as caught:
        text_field({"id": 7, "note": CANARY}, "text", **where, key="corpus.pool.text_field")
    assert str(caught.value).endswith(
        'notes.jsonl, line 41: no field "text" (fields: id, note). Name the one to read: '
        "corpus.pool.text_field=note"
    )
    with pytest.raises(UserError, match="corpus.pool.id_field=ID$"):
        id_field({"text": CANARY, "ID": 7}, "note_id", **where, key="corpus.pool.id_field")
    with pytest.raises(UserError, match="=FIELD$"):
        id_field({"text": CANARY}, "note_id", **where, key="corpus.pool.id_field")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (["x"], "a list"),
        (3, "a number"),
        ({}, "an object"),
        (True, "true or false"),
    ],
)
def test_a_text_that_is_no_string_is_an_error(tmp_path, value, kind):
    with pytest.raises(UserError, match=f'line 1: field "text" must be a string, not {kind}'):
        text_field({"text": value}, "text", path=tmp_path, line=1, key="k")


def test_an_id_is_a_name_or_a_whole_number(tmp_path):
    assert id_field({"id": 7}, "id", path=tmp_path, line=1, key="k") == "7"
    for value in ("", None, 1.5, True, []):
        with pytest.raises(UserError, match="must be a name or a whole number"):
            id_field({"id": value}, "id", path=tmp_path, line=1, key="k")


@pytest.mark.parametrize("value", ["x" * 101, "two\nlines", "two\u2028lines", 10**101])
def test_an_id_is_no_text(tmp_path, value):
    with pytest.raises(
        UserError,
        match='line 1: field "id" must be an id, at most 100 characters in one line.*: k=FIELD$',
    ) as caught:
        id_field({"id": value}, "id", path=tmp_path, line=1, key="k")
    assert str(value) not in str(caught.value)
    assert id_field({"id": "x" * 100}, "id", path=tmp_path, line=1, key="k") == "x" * 100


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *(
            (value, True)
            for value in (
                "",
                "n1/3",
                "cognitive_impairment",
                "Discharge summary",
                "Resisting cell death",
                "v1.2",
                "Größe",
            )
        ),
        *(
            (value, False)
            for value in (
                f"{CANARY}.",
                "a b c d",
                "x" * 41,
                "a  b",
                "a\nb",
                "a ",
                "fell, again",
                "Mrs. Smith",
            )
        ),
    ],
)
def test_only_what_looks_like_a_name_or_a_label_is_quoted(value, shown):
    assert quoted(value) == value if shown else quoted(value) == "[text not shown]"


def test_the_docstring_examples_hold():
    assert doctest.testmod(files).failed == 0


def test_an_escaped_pair_of_surrogates_is_one_character(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "\\ud83d\\ude00 C:\\\\ud800"}\n')
    assert next(rows(tmp_path / "a.jsonl"))[1]["text"] == "\U0001f600 C:\\ud800"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.text(min_size=1),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
        )
    )
)
def test_any_text_survives_csv_and_jsonl(tmp_path, pairs):
    texts = [text for _, text in pairs]
    with open(tmp_path / "a.csv", "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, quoting=csv.QUOTE_ALL)
        writer.writerows(
            [("id", "text"), *((str(number), text) for number, text in enumerate(texts))]
        )
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8"
    )
    assert [record["text"] for _, record in rows(tmp_path / "a.csv")] == texts
    assert [record["text"] for _, record in rows(tmp_path / "a.jsonl")] == texts
