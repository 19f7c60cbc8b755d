"""Reader of labelled sentences, on small files and on the Hallmarks of Cancer corpus."""

from __future__ import annotations

import json

import pytest
from grid import DATA, group, small_taxonomy

from touchstone.data.examples import check
from touchstone.data.readers.sentences_jsonl import read as read_sentences
from touchstone.errors import UserError
from touchstone.schema import CategoryConfig, CorpusConfig, GoldFiles, TaxonomyConfig
from touchstone.taxonomy import taxonomy_of

ROWS = [
    {"doc_id": "d1", "text": "Fell  at\nhome.", "labels": ["falls"]},
    {"doc_id": "d2", "text": "Well.", "labels": []},
    {"doc_id": "d1", "text": "Forgets.", "labels": ["Memory", "falls"]},
    {"doc_id": "d2", "text": "Also well.", "labels": "none"},
    {"doc_id": 3, "text": "Falls and forgets.", "labels": "memory; falls"},
]


def write(folder, rows, name="gold.jsonl"):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def gold(**changes) -> GoldFiles:
    return GoldFiles(**{"reader": "sentences_jsonl", "path": "gold.jsonl", **changes})


def test_labels_are_ids_or_names_in_a_list_or_a_string(tmp_path):
    frame, counted = read_sentences(gold(), small_taxonomy(), write(tmp_path, ROWS))
    check(frame, small_taxonomy().ids)
    assert list(frame["example_id"]) == ["d1/0", "d2/0", "d1/1", "d2/1", "3/0"]
    assert list(frame["labels"]) == [["falls"], [], ["memory", "falls"], [], ["memory", "falls"]]
    assert frame["text"].iloc[0] == "Fell at home." and list(frame["patient_id"]) == list(
        frame["doc_id"]
    )
    looks = {"gold.jsonl": "JSONL"}
    assert counted == {"documents": 3, "sentences": 5, "labelled": 3, "looks": looks}


def test_fields_are_named_by_the_configuration_also_in_csv(tmp_path):
    (tmp_path / "gold.csv").write_text(
        'note,who,said,what\nn1,p1,"Fell, again.",falls\nn2,p1,Well.,\n'
    )
    config = gold(
        path="gold.csv",
        doc_field="note",
        patient_field="who",
        text_field="said",
        labels_field="what",
    )
    frame, _ = read_sentences(config, small_taxonomy(), tmp_path)
    assert (
        list(frame["labels"]) == [["falls"], []]
        and list(frame["patient_id"]) == ["p1", "p1"]
        and list(frame["doc_id"]) == ["n1", "n2"]
    )


def test_published_parts_become_splits(tmp_path):
    write(tmp_path, ROWS[:1], "train.jsonl")
    write(tmp_path, ROWS[1:2], "test.jsonl")
    frame, _ = read_sentences(
        gold(path=None, train="train.jsonl", test="test.jsonl"), small_taxonomy(), tmp_path
    )
    assert list(frame["split"]) == ["train", "test"]
    write(tmp_path, ROWS[:1], "test.jsonl")
    with pytest.raises(UserError, match="test.jsonl, line 1: document d1 stands in train too"):
        read_sentences(
            gold(path=None, train="train.jsonl", test="test.jsonl"), small_taxonomy(), tmp_path
        )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"doc_id": "d1", "text": "x", "labels": ["fals"]},
            r'gold.jsonl, line 1: no category "fals". Did you mean falls\?',
        ),
        (
            {"doc_id": "d1", "sentence": "x", "labels": []},
            r'no field "text" \(fields: doc_id, sentence, labels\)',
        ),
        ({"doc": "d1", "text": "x", "labels": []}, 'no field "doc_id" .*corpus.gold.doc_field='),
        (
            {"doc_id": "d1", "text": "x", "label": "falls"},
            'no field "labels" .*corpus.gold.labels_field=label$',
        ),
        *(
            (
                {"doc_id": "d1", "text": "x", "labels": value},
                'line 1: field "labels" must be a list of categories, or a string$',
            )
            for value in (None, {"falls": 1})
        ),
        *(
            (
                {"doc_id": "d1", "text": "x", "labels": value},
                'line 1: no category "5". There are: falls, memory, none. Another word for one: '
                r"\+corpus.gold.label_map=",
            )
            for value in ([5], 5, "5", 5.0)
        ),
        (
            {"doc_id": "d1", "text": " \n", "labels": []},
            'gold.jsonl, line 1: field "text" is empty',
        ),
    ],
)
def test_a_wrong_line_is_an_error_with_file_and_line(tmp_path, row, said):
    with pytest.raises(UserError, match=said):
        read_sentences(gold(), small_taxonomy(), write(tmp_path, [row]))


def test_no_sentences_and_no_files_are_errors(tmp_path):
    with pytest.raises(UserError, match="gold.jsonl: no sentences"):
        read_sentences(gold(), small_taxonomy(), write(tmp_path, []))
    with pytest.raises(
        UserError, match="needs corpus.gold.path, or corpus.gold.train and corpus.gold.test"
    ):
        read_sentences(gold(path=None), small_taxonomy(), tmp_path)


def test_hallmarks_of_cancer():
    path = DATA / "hoc" / "hoc.jsonl"
    if not path.exists():
        pytest.skip(f"HoC is not in {DATA}; set TOUCHSTONE_DATA")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = sorted({label for record in records for label in record["labels"]})
    categories = [
        CategoryConfig(id=name.lower().replace(" ", "_"), name=name, counts=name) for name in names
    ]
    taxonomy = taxonomy_of(
        TaxonomyConfig(name="hoc", version=1, title="hallmarks", categories=categories)
    )
    frame, counted = read_sentences(group("corpus", "hoc", CorpusConfig).gold, taxonomy, DATA)
    # Baker et al. 2016: 1,852 abstracts; the sentence count is that of BLURB's preparation
    assert counted["documents"] == 1852 and counted["sentences"] == 17464
    assert list(frame["example_id"]) == [
        f"{record['doc_id']}/{record['sent']}" for record in records
    ]
    assert frame["labels"].explode().value_counts()["sustaining_proliferative_signaling"] == 993
