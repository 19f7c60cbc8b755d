"""The same forty sentences, written in every format, are the same data: one content digest."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from touchstone.data.examples import check, dataset
from touchstone.data.readers import read_gold_files
from touchstone.errors import UserError
from touchstone.schema import CategoryConfig, GoldFiles, TaxonomyConfig
from touchstone.taxonomy import Taxonomy, taxonomy_of

FORMATS = Path(__file__).parents[3] / "examples" / "formats"
RECORDS = {"doc_field": "note", "patient_field": "patient"}
NOTES = {"patient_pattern": r"^(p\d+)-"}
TABLE = {"text_field": "sentence", **RECORDS}
# file -> reader and keys; those of LABELS hold no places
SPANS = {
    "brat": ("brat", NOTES),
    "i2b2_xml": ("i2b2_xml", NOTES),
    "medtator": ("medtator", NOTES),
    "label_studio.json": ("label_studio", RECORDS),
    "doccano.jsonl": ("doccano", RECORDS | {"offsets": "characters"}),
    "prodigy.jsonl": ("prodigy", RECORDS),
    "conll.txt": ("conll", NOTES),
    "bioc.xml": ("bioc", NOTES),
    "bioc.json": ("bioc", NOTES),
    "pubtator.txt": ("pubtator", NOTES),
    "uima_cas": ("uima_cas", NOTES),
    "uima_cas_json": ("uima_cas", NOTES),
    "webanno_tsv": ("webanno_tsv", NOTES | {"options": {"feature": "value"}}),
    "medcattrainer.json": ("medcattrainer", NOTES),
    "huggingface": ("huggingface", RECORDS),
}
NAMELESS = {"bio_tsv.tsv": ("bio_tsv", {})}  # formats that hold no names of documents
LABELS = {
    "table.csv": ("table", TABLE),
    "table_columns.tsv": ("table", TABLE | {"label_columns": ["memory", "falls"]}),
    "table.xlsx": ("table", TABLE),
    "table.parquet": ("table", TABLE),
    "sentences_jsonl.jsonl": ("sentences_jsonl", RECORDS),
    "labelled_notes/notes.jsonl": (
        "labelled_notes",
        RECORDS | {"labels": str(FORMATS / "labelled_notes" / "labels.tsv")},
    ),
}
NEEDS = {"bioc": "bioc", "uima_cas": "cassis", "table.xlsx": "python_calamine"}
ABSENT = {package for package in NEEDS.values() if importlib.util.find_spec(package) is None}


def taxonomy() -> Taxonomy:
    """The categories of the example files."""
    categories = [CategoryConfig(name, name, f"{name} of the patient") for name in CATEGORIES]
    return taxonomy_of(
        TaxonomyConfig(name="ward", version=1, title="what the ward asks", categories=categories)
    )


CATEGORIES = ("memory", "falls")


def read(name: str, **more):
    reader, keys = (SPANS | LABELS | NAMELESS)[name]
    for start, package in NEEDS.items():
        if name.startswith(start) and package in ABSENT:
            pytest.skip(f"{package} is not installed (extra formats)")
    files = GoldFiles(reader=reader, path=str(FORMATS / name), **{**keys, **more})
    return read_gold_files(files, taxonomy(), None)


def digest_of(name: str, **more) -> str:
    frame, _ = read(name, **more)
    return dataset(check(frame, CATEGORIES), name).digest


@pytest.mark.parametrize("name", [*SPANS, *LABELS])
def test_every_format_gives_the_same_labelled_sentences(name):
    more = {"spans_as": "labels"} if name in SPANS else {}
    frame, counted = read(name, **more)
    assert len(frame) == 40 and frame["patient_id"].nunique() == 4
    assert counted.get("documents", counted.get("notes")) == 8
    assert digest_of(name, **more) == digest_of("table.csv")


@pytest.mark.parametrize("name", SPANS)
def test_every_format_of_places_gives_the_same_spans(name):
    frame, counted = read(name)
    assert counted["entities"] == 22
    row = frame[frame["text"].str.startswith("He smiled")].iloc[0]
    (span,) = row["spans"]
    assert row["text"][span["start"] : span["end"]] == "lost track of the date"
    assert digest_of(name) == digest_of("conll.txt")


def test_a_file_without_names_of_documents_gives_the_same_sentences_and_spans():
    frame, counted = read("bio_tsv.tsv")
    other, _ = read("conll.txt")
    assert frame[["text", "spans"]].equals(other[["text", "spans"]])
    assert frame["doc_id"].nunique() == counted["all"]["documents"] == 8


def test_every_reader_of_the_package_has_an_example():
    from touchstone import plugins
    from touchstone.data import readers

    ours = {reader for reader, _ in (SPANS | LABELS | NAMELESS).values()}
    pairs = {"relation_tsv"}  # see test_inspection.py
    assert set(plugins.names(readers.FOLDER, "read")) == ours | pairs


@pytest.mark.parametrize(("name", "package"), NEEDS.items())
def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch, name, package):
    name = next(one for one in SPANS | LABELS if one.startswith(name))
    read(name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install 'touchstone-nlp\[formats\]'"):
        read(name)
