"""Tables of labelled texts as clinics have them: what is found in the file, and what is refused."""

from __future__ import annotations

import json

import pytest
from grid import ROOT, small_taxonomy

from touchstone.data.readers import pool_reader, read_gold_files, sentences_jsonl
from touchstone.data.readers.table import read
from touchstone.errors import UserError
from touchstone.schema import CategoryConfig, GoldFiles, PoolFiles, TaxonomyConfig
from touchstone.taxonomy import taxonomy_of

CASES = ROOT.parent / "shared" / "cases" / "labels"
cases = pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not here")
NINE = (
    "cognitive_impairment notice_by_others requires_assistance coping_strategy "
    "cognitive_assessment "
    "neuropsychiatric_symptoms physiological_changes cognitive_intervention diagnostic_tests"
).split()


def alzheimer():
    categories = [CategoryConfig(name, name, name) for name in NINE]
    return taxonomy_of(TaxonomyConfig(name="t", version=1, title="t", categories=categories))


def case(name: str, **more):
    files = GoldFiles(
        **{"reader": "table", "path": str(CASES / name), "patient_field": "patient_id", **more}
    )
    return read(files, alzheimer(), None)


@cases
@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("excel_semicolon.csv", "CSV, utf-8 with a byte order mark, semicolon-separated"),
        ("excel_utf16.csv", "CSV, utf-16, tab-separated"),
        ("json_string.csv", "CSV, utf-8, comma-separated"),
        ("python_list.csv", "CSV, utf-8, comma-separated"),
        ("plain.csv", "CSV, utf-8, comma-separated"),
    ],
)
def test_the_same_table_in_five_dresses_is_the_same_data(name, look):
    frame, counted = case(name)
    plain, _ = case("plain.csv")
    assert counted["looks"] == {name: look} and counted["labelled"] == 300
    columns = ["example_id", "text", "labels", "patient_id"]
    assert frame[columns].equals(plain[columns])


@cases
def test_labels_between_vertical_bars_are_several():
    frame, _ = case("label_pipe.csv")
    assert frame["labels"].iloc[0] == ["cognitive_impairment", "notice_by_others"]


@cases
def test_patients_read_as_measurements_are_whole_numbers_and_told(caplog):
    frame, _ = case("pid_float.jsonl")
    assert set(frame["patient_id"]) == {str(number) for number in range(40)}
    assert caplog.text.count('the column "patient_id" holds numbers with a fraction') == 1


@cases
def test_leading_zeros_of_patients_are_kept():
    frame, _ = case("pid_zero.jsonl")
    assert {"000", "0", "001"} <= set(frame["patient_id"])


@cases
def test_a_document_of_two_patients_is_named():
    with pytest.raises(UserError, match="document d0 belongs to patient 005 here and to 000 above"):
        case("doc_two_patients.jsonl")


@cases
def test_a_label_that_differs_in_case_is_told_with_the_one_that_is_meant():
    with pytest.raises(UserError, match="Did you mean cognitive_impairment"):
        case("label_case.csv", doc_field="doc_id")


@cases
@pytest.mark.parametrize(
    "name", ["label_case.csv", "pid_case.jsonl", "contradicting_duplicates.jsonl"]
)
def test_a_missing_field_is_told_with_the_one_that_looks_like_it(name):
    """The document's, not the patient's, which stands first; the demo corpus names `note_id`."""
    with pytest.raises(UserError, match=r"corpus\.gold\.doc_field=doc_id"):
        sentences_jsonl.read(
            GoldFiles(reader="sentences_jsonl", path=str(CASES / name), doc_field="note_id"),
            alzheimer(),
            None,
        )


def test_long_names_of_columns_are_shown_of_a_public_corpus_only(tmp_path):
    header = "sentence as the nurse wrote it;note_id;labels"
    files = GoldFiles(
        reader="table", path=str(write(tmp_path, f"{header}\nFell.;n;falls\n") / "t.csv")
    )
    hidden = r"fields: \[text not shown\], note_id, labels; are these the names of columns"
    with pytest.raises(UserError, match=hidden):
        read_gold_files(files, small_taxonomy(), None)
    with pytest.raises(UserError, match="fields: sentence as the nurse wrote it, note_id, labels"):
        read_gold_files(files, small_taxonomy(), None, public=True)


def test_names_of_a_public_pool_are_shown(tmp_path):
    path = write(tmp_path, "what the note says,id\nFell.,1\n") / "t.csv"
    pool = PoolFiles(path=str(path))
    for public, shown in ((False, "text not shown"), (True, "what the note says, id")):
        with pytest.raises(UserError, match=shown):
            list(pool_reader(pool, public=public)(path, pool, 0))


def write(folder, text, name="t.csv", **options):
    (folder / name).write_text(text, **options)
    return folder


def table(folder, name="t.csv", **more):
    return read(GoldFiles(reader="table", path=name, **more), small_taxonomy(), folder)


def test_codes_and_columns_of_zero_and_one(tmp_path):
    write(tmp_path, "doc_id,text,labels\nd1,Fell.,2\nd2,Well.,0\nd3,Forgets.,1;2\n")
    codes = {"0": "none", "1": "memory", "2": "falls"}
    frame, _ = table(tmp_path, label_map=codes)
    assert frame["labels"].tolist() == [["falls"], [], ["memory", "falls"]]
    write(tmp_path, "doc_id,text,memory,falls\nd1,Fell.,0,1\nd2,Well.,,0.0\nd3,Both.,True,1\n")
    frame, _ = table(tmp_path, label_columns=["memory", "falls"])
    assert frame["labels"].tolist() == [["falls"], [], ["memory", "falls"]]
    write(tmp_path, "doc_id,text,memory,falls\nd1,Fell.,0,yes\n")
    with pytest.raises(UserError, match='line 2: the label column "falls" must hold 0 or 1'):
        table(tmp_path, label_columns=["memory", "falls"])


def test_every_other_word_can_be_left_out(tmp_path):
    write(tmp_path, "doc_id,text,labels\nd1,Fell.,falls\nd2,Well.,appetite\n")
    with pytest.raises(UserError, match='no category "appetite".*label_map={WORD: CATEGORY}'):
        table(tmp_path)
    frame, _ = table(tmp_path, label_map={"*": "none"})
    assert frame["labels"].tolist() == [["falls"], []]
    with pytest.raises(UserError, match='label_map: no category "fall". Did you mean falls'):
        table(tmp_path, label_map={"x": "fall"})


def test_a_separator_in_a_text_is_told_with_its_line(tmp_path):
    write(tmp_path, "doc_id,text,labels\nd1,Fell, again.,falls\n")
    with pytest.raises(UserError, match="line 2: 4 columns where the header names 3 .*quotation"):
        table(tmp_path)


def test_encodings_are_found_or_named(tmp_path):
    text = "doc_id;text;labels\nd1;Lives in Zürich – alone.;falls\n"
    write(tmp_path, text, encoding="cp1252")
    frame, counted = table(tmp_path)
    assert "Zürich – alone" in frame["text"].iloc[0] and "cp1252" in counted["looks"]["t.csv"]
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252") + b"d2;\x81;\n")
    with pytest.raises(UserError, match="not utf-8 or cp1252. Name its encoding: corpus.gold.enc"):
        table(tmp_path)
    frame, _ = table(tmp_path, encoding="latin-1")
    assert len(frame) == 2
    with pytest.raises(UserError, match="encoding=utf-9: no such encoding"):
        table(tmp_path, encoding="utf-9")


def test_a_separator_or_encoding_is_refused_where_the_file_has_none(tmp_path):
    row = {"doc_id": "d", "text": "Fell.", "labels": []}
    write(tmp_path, json.dumps(row) + "\n", "t.jsonl")
    with pytest.raises(UserError, match="corpus.gold.separator=;: a .jsonl file has none"):
        table(tmp_path, "t.jsonl", separator=";")


def test_without_documents_each_row_is_its_own(tmp_path):
    write(tmp_path, "text,labels\nFell.,falls\nFell again.,falls\n")
    frame, counted = table(tmp_path, doc_field=None)
    assert frame["patient_id"].nunique() == 2 and counted["own_documents"]
    with pytest.raises(UserError, match='no field "doc_id" .fields: text, labels'):
        table(tmp_path)


def test_the_patient_can_stand_in_the_documents_name(tmp_path):
    write(tmp_path, "doc_id,text,labels\n7-1,Fell.,falls\n7-2,Well.,\n8-1,Well.,\n")
    frame, _ = table(tmp_path, patient_pattern=r"^(\d+)-")
    assert frame["patient_id"].tolist() == ["7", "7", "8"]
    with pytest.raises(UserError, match="names no patient in document 7-1"):
        table(tmp_path, patient_pattern=r"x(\d+)")


def test_confidence_is_a_word_or_a_probability(tmp_path):
    write(tmp_path, "doc_id,text,labels,p\nd1,A.,,0.95\nd2,B.,,0.8\nd3,C.,,low\nd4,D.,,\n")
    frame, _ = table(tmp_path, confidence_field="p")
    assert frame["confidence"].tolist() == ["high", "medium", "low", ""]
    write(tmp_path, "doc_id,text,labels,p\nd1,A.,,95\n")
    with pytest.raises(UserError, match='field "p" must be high, medium or low, or a probability'):
        table(tmp_path, confidence_field="p")


def test_a_part_and_the_whole_are_not_both_read(tmp_path):
    write(tmp_path, "doc_id,text,labels\nd1,Fell.,falls\n")
    with pytest.raises(UserError, match="corpus.gold.path and corpus.gold.test are both set"):
        table(tmp_path, test="t.csv")
