"""`touchstone inspect`: every command of docs/your-data.md, what is odd, and the YAML that it
saves."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from grid import ROOT

from touchstone import plugins
from touchstone.cli import main
from touchstone.configuration import checked
from touchstone.data.corpus import read_gold
from touchstone.data.inspection import corpus_yaml, inspect, taxonomy_yaml
from touchstone.data.readers import FOLDER, read_gold_files
from touchstone.errors import UserError
from touchstone.run.conf_files import composed
from touchstone.schema import CategoryConfig, GoldFiles, TaxonomyConfig
from touchstone.taxonomy import taxonomy_of

CASES = ROOT.parent / "shared" / "cases" / "labels"

PAIRS = ("8 texts, ", "1 categories, relation: ", " 4\n")
PAGE = (ROOT / "docs" / "your-data.md").read_text()
TABLE = re.findall(
    r"^\| (?:`(\w+)` )?\| .* \| `touchstone inspect (\S+) ?(.*)` \|$", PAGE, re.MULTILINE
)


def test_the_page_has_every_format():
    readers = {reader for reader, _, _ in TABLE if reader}
    files = {Path(path).name for _, path, _ in TABLE}
    there = {path.name for path in (ROOT / "examples" / "formats").iterdir()}
    assert readers == set(plugins.names(FOLDER, "read"))
    assert there - files == {"bioc.json", "uima_cas_json", "labelled_notes"}


@pytest.mark.parametrize(("reader", "path", "keys"), TABLE)
def test_every_command_of_the_page_reads_the_file_beside_it(
    capsys, monkeypatch, reader, path, keys
):
    monkeypatch.chdir(ROOT)
    if path.endswith(".xlsx"):
        pytest.importorskip("python_calamine")
    if reader in ("bioc", "uima_cas"):
        pytest.importorskip({"bioc": "bioc", "uima_cas": "cassis"}[reader])
    assert main(["inspect", path, *shlex.split(keys)]) == 0
    printed = capsys.readouterr().out
    assert f": {reader or 'table'}" in printed and f"reader: {reader or 'table'}" in printed
    expected = PAIRS if "relation" in path else ("40 texts, 8 documents", "memory 12, falls 10")
    assert all(one in printed for one in expected)


def test_both_files_of_relations_hold_the_same_pairs(monkeypatch):
    monkeypatch.chdir(ROOT / "examples" / "formats")
    one = inspect("brat_relations", spans_as="relations").frame
    other = inspect("relation_tsv.tsv", reader="relation_tsv").frame
    assert one["text"].tolist() == other["text"].tolist()
    assert [bool(x) for x in one["labels"]] == [bool(x) for x in other["labels"]]


@pytest.mark.parametrize(("path", "keys"), [(path, keys) for _, path, keys in TABLE[-5:]])
def test_the_yaml_that_is_shown_reads_the_file_again(monkeypatch, path, keys):
    monkeypatch.chdir(ROOT)
    given = dict(one.split("=", 1) for one in shlex.split(keys))
    found = inspect(path, **given)
    files = GoldFiles(**yaml.safe_load(corpus_yaml(found, "ward"))["gold"])
    taxonomy = yaml.safe_load(taxonomy_yaml(found, "ward"))
    categories = [CategoryConfig(**one) for one in taxonomy.pop("categories")]
    config = TaxonomyConfig(**taxonomy, categories=categories)
    frame, _ = read_gold_files(files, taxonomy_of(config), None)
    assert frame.drop(columns="origin").equals(found.frame.drop(columns="origin"))


def write(folder: Path, *lines: str) -> Path:
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


def test_columns_are_told_apart_and_what_is_odd_is_said(tmp_path):
    found = inspect(
        write(
            tmp_path,
            "MRN;note_id;sentence;finding",
            "001;a;Fell on the stairs twice.;Fall Risk",
            "1;b;Fell on the stairs twice.;none",
            "2;c;Walks to the shop.;Memory",
        )
    )
    files = found.files
    assert (files.text_field, files.labels_field) == ("sentence", "finding")
    assert (files.patient_field, files.doc_field) == ("MRN", "note_id")
    assert files.label_map == {"Fall Risk": "fall_risk", "Memory": "memory"}
    odd = " | ".join(found.odd)
    assert "1 texts stand several times with different labels" in odd
    assert "of one patient only" in odd and "fall_risk, memory" in odd
    assert "1 patients have ids that differ in form alone" in odd


def test_rows_sorted_by_label_and_rows_without_documents(tmp_path):
    rows = [f"Sentence number {n} of them.,{'falls' if n < 15 else 'memory'}" for n in range(30)]
    odd = " | ".join(inspect(write(tmp_path, "text,label", *rows)).odd)
    assert "sorted by label" in odd and "each row is a document of its own" in odd


def test_what_is_saved_runs(tmp_path, monkeypatch, capsys):
    from touchstone.configuration import checked
    from touchstone.pipeline import run_cell
    from touchstone.run.conf_files import composed

    monkeypatch.chdir(tmp_path)
    rows = [
        f"p{n},n{n},Patient {n} {text}.,{label}"
        for n in range(20)
        for text, label in (("forgets names", "Memory loss"), ("walks alone", ""))
    ]
    write(tmp_path, "patient,note,text,label", *rows)
    assert main(["inspect", "t.csv", "--save", "ward"]) == 0
    assert "touchstone run task=ward" in capsys.readouterr().out
    assert composed(["task=ward"]).study == "ward"  # its results are not the demo's
    assert composed(["task=ward", "study=mine"]).study == "mine"
    made = run_cell(checked(composed(["task=ward", "mixture=gold"])))
    assert made.metrics["n_test"] == 16 and made.metrics["macro_f1"] == 1
    assert main(["inspect", "t.csv", "--save", "ward"]) == 1
    assert "is there already; choose another name" in capsys.readouterr().err


@pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not here")
def test_texts_with_several_labels_are_warned_of_at_a_run(tmp_path, caplog):
    overrides = (
        f"corpus.gold={{reader: sentences_jsonl, path: {CASES}/contradicting_duplicates.jsonl, "
        "labels: null, annotators: [], doc_field: doc_id, patient_field: patient_id}",
        f"paths.cache={tmp_path}",
    )
    config = checked(composed(overrides))
    read_gold(config.corpus, config.task, taxonomy_of(config.taxonomy), None, tmp_path)
    assert "200 texts stand several times with different labels" in caplog.text


@pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not here")
def test_patients_whose_ids_differ_in_case_between_splits_are_told(tmp_path):
    config = checked(
        composed(
            (
                f"corpus.gold={{reader: sentences_jsonl, path: {CASES}/pid_case.jsonl, "
                "labels: null, annotators: [], doc_field: doc_id, patient_field: patient_id}",
            )
        )
    )
    with pytest.raises(UserError, match=r"\d+ patients of train stand in test too"):
        read_gold(config.corpus, config.task, taxonomy_of(config.taxonomy), None, tmp_path)


def test_an_unknown_key_or_folder_is_told(tmp_path, capsys):
    assert main(["inspect", str(write(tmp_path, "text,label", "A.,b")), "txt_field=x"]) == 1
    assert "txt_field=x: KEY=VALUE with one of reader, path" in capsys.readouterr().err
    (tmp_path / "f").mkdir()
    with pytest.raises(UserError, match=r"a folder of no known format \(empty\)"):
        inspect(tmp_path / "f")


def test_a_project_can_begin_from_her_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "patient,note,text,label", "p1,n1,Forgets the names.,Memory", "p2,n2,Walks.,")
    assert main(["init", "my ward", "--from", "t.csv"]) == 0
    printed = capsys.readouterr().out
    assert "2 texts, 2 documents, 2 patients" in printed and "run task=my_ward" in printed
    corpus = (tmp_path / "my ward" / "conf" / "corpus" / "my_ward.yaml").read_text()
    assert f"path: {tmp_path / 't.csv'}" in corpus and "labels_field: label" in corpus
    taxonomy = (tmp_path / "my ward" / "conf" / "taxonomy" / "my_ward.yaml").read_text()
    assert "id: memory" in taxonomy
    assert main(["init", "other", "--from", "none.csv"]) == 1
    assert not (tmp_path / "other").exists()
