"""What the readers of annotation tools' files count, refuse and leave out, on files as the tools
write them; that they read the same data is test_formats.py's."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from grid import DATA, small_taxonomy
from omegaconf import OmegaConf
from report_store import composed

from touchstone.data.readers import read_gold_files
from touchstone.errors import UserError
from touchstone.report.tables.data import agreement_table
from touchstone.schema import CategoryConfig, GoldFiles, TaxonomyConfig
from touchstone.taxonomy import taxonomy_of

CASES = DATA.parent / "cases"


def read(reader: str, folder, path: str = ".", *, taxonomy=None, **keys):
    files = GoldFiles(reader=reader, path=str(folder / path), **keys)
    return read_gold_files(files, taxonomy or small_taxonomy(), None)


def one(*names: str):
    categories = [CategoryConfig(name, name, name) for name in names]
    return taxonomy_of(TaxonomyConfig(name="t", version=1, title="t", categories=categories))


def spans(frame) -> list[str]:
    return [
        f"{row.text[span['start'] : span['end']]}={span['type']}"
        for row in frame.itertuples()
        for span in row.spans
    ]


def brat(folder, text: str, annotations: str):
    (folder / "n1.txt").write_bytes(text.encode())
    (folder / "n1.ann").write_bytes(annotations.encode())
    return folder


def test_brat_with_a_byte_order_mark_and_windows_lines_loses_nothing(tmp_path):
    text = "Had gout.\r\nFell twice.\r\n"
    brat(tmp_path, text, "\ufeffT1\tmemory 4 8\tgout\r\nT2\tfalls 10 14\tFell\r\n")
    frame, _ = read("brat", tmp_path)
    assert spans(frame) == ["gout=memory", "Fell=falls"]


def test_brat_parts_negation_relations_and_notes(tmp_path, caplog):
    annotations = (
        "T1\tmemory 0 3;8 12\tHad gout\nA1\tNegation T1\nT2\tfalls 14 18\tFell\n"
        "R1\tafter Arg1:T2 Arg2:T1\n#1\tAnnotatorNotes T1\tunsure\n"
    )
    brat(tmp_path, "Had the gout. Fell twice.", annotations)
    frame, counted = read("brat", tmp_path)
    assert spans(frame) == ["Had the gout=memory", "Fell=falls"]
    assert counted["discontinuous"] == 1 and counted["relations"] == 1
    assert counted["unused_attributes"] == {"Negation": 1}
    frame, _ = read(
        "brat", tmp_path, spans_as="labels", label_map={"after": "memory", "memory": "none"}
    )
    assert frame["labels"].tolist() == [[], ["memory", "falls"]]


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ("T1\tmemory 2 8\tgout\n", "n1.ann: the annotation 2..8 of n1 is not where"),
        ("T1 memory 4 8 gout\n", "n1.ann, line 1: not brat stand-off"),
        ("T1\tsleep 4 8\tgout\n", 'n1.ann: no category "sleep"'),
        ("A1\tNegation T7\n", "an attribute of T7, which the file does not have"),
    ],
)
def test_brat_refuses_what_it_does_not_understand(tmp_path, annotations, said):
    with pytest.raises(UserError, match=said):
        read("brat", brat(tmp_path, "Had gout.", annotations))


def test_a_brat_note_without_annotations_file_is_named(tmp_path):
    (brat(tmp_path, "Had gout.", "") / "n1.ann").unlink()
    with pytest.raises(UserError, match="n1.txt: no n1.ann beside it"):
        read("brat", tmp_path)


def xml(folder, text: str, tags: str, name: str = "n1.xml"):
    body = f"<R><TEXT><![CDATA[{text}]]></TEXT><TAGS>{tags}</TAGS></R>"
    (folder / name).write_text(body)
    return folder


def test_n2c2_tags_of_whole_notes_are_their_labels(tmp_path):
    xml(tmp_path, "Fell. Forgets.", '<FALLS met="met"/><MEMORY met="not met"/>')
    words = {"FALLS": "falls", "MEMORY": "memory"}
    frame, _ = read("i2b2_xml", tmp_path, label_map=words)
    assert frame["text"].tolist() == ["Fell. Forgets."] and frame["labels"].tolist() == [["falls"]]


def test_mae_tags_in_parts_and_without_place(tmp_path):
    tags = '<memory id="M0" spans="0~3,8~12" text="Had ... gout"/><LINK fromID="M0" toID="M1"/>'
    frame, counted = read("i2b2_xml", xml(tmp_path, "Had the gout. Well.", tags))
    assert spans(frame) == ["Had the gout=memory"] and counted["links"] == 1
    xml(tmp_path, "Had gout.", '<memory spans="4~8" text="gout"/><falls spans="-1~-1" text=""/>')
    with pytest.raises(
        UserError, match="tags of places and tags of whole notes. Which are the gold"
    ):
        read("i2b2_xml", tmp_path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<R><TEXT>x</R>", "n1.xml, line 1: not well-formed XML"),
        ("<R><NOTE>x</NOTE></R>", "n1.xml: no TEXT in it"),
        (
            '<R><TEXT>Had gout.</TEXT><TAGS><memory start="0" end="4" text="gout"/></TAGS></R>',
            "n1.xml: the annotation 0..4 of n1 is not where",
        ),
    ],
)
def test_xml_that_is_not_this_is_refused(tmp_path, body, said):
    (tmp_path / "n1.xml").write_text(body)
    with pytest.raises(UserError, match=said):
        read("i2b2_xml", tmp_path)


def task(number: int, *said: tuple[str, list[str]], **more):
    annotations = [
        {
            "completed_by": {"id": 1, "email": who},
            "result": [{"type": "choices", "value": {"choices": choices}}] if choices else [],
            **more,
        }
        for who, choices in said
    ]
    return {"id": number, "data": {"text": f"Text {number}."}, "annotations": annotations}


def studio(folder, *tasks, **keys):
    (folder / "ls.json").write_text(json.dumps(list(tasks)))
    return read("label_studio", folder, "ls.json", doc_field=None, **keys)


def test_label_studio_with_several_annotators(tmp_path):
    tasks = (
        task(1, ("ann", ["falls"]), ("bob", ["falls", "memory"]), ("cy", [])),
        task(2, ("ann", ["falls"]), ("bob", [])),
        task(3),
        task(4, ("ann", ["memory"]), was_cancelled=True),
    )
    frame, counted = studio(tmp_path, *tasks)
    assert frame["labels"].tolist() == [["falls"], []]
    assert counted["annotators"] == {"ann": 2, "bob": 2, "cy": 1} and len(counted["ties"]) == 1
    assert counted["unlabelled tasks"] == 2 and counted["skipped annotations"] == 1
    frame, _ = studio(tmp_path, *tasks, annotator="bob")
    assert frame["labels"].tolist() == [["memory", "falls"], []]


def test_the_annotators_of_an_export_have_an_agreement_table(tmp_path):
    def said(number: int, first: list[str], second: list[str]):
        one = task(number, ("ann", first), ("bob", second))
        one["data"] |= {"note": f"n{number}", "patient": f"p{number % 7}"}
        return one

    both = ["Fall"], ["Fall"]
    tasks = [
        said(n, *(both if n % 3 else (["Fall"], []) if n % 2 else ([], []))) for n in range(21)
    ]
    (tmp_path / "ls.json").write_text(json.dumps(tasks))
    gold = (
        f"{{reader: label_studio, path: {tmp_path}/ls.json, doc_field: note, patient_field: "
        "patient, labels: null, annotators: [], label_map: {Fall: requires_assistance}}"
    )
    config = composed(f"+corpus.gold={gold}", f"paths.cache={tmp_path}", "task=ad_multilabel")
    plain = OmegaConf.to_container(config, resolve=True)
    grid = SimpleNamespace(study="s", cells=[SimpleNamespace(config=plain)])
    table, why = agreement_table(grid)
    assert why == "" and "2 annotators" in table.caption and "7 patients" in table.caption
    entries = {row.labels[0]: row.entries for row in table.rows}
    kappa = entries["any category"]["cohen_kappa"]
    assert entries["any category"]["n"].value == 21
    # 14 texts both say Fall, 3 only ann does, 4 neither: p_o = 18/21, p_e = (17*14 + 4*7)/441
    expected = (18 / 21 - (17 * 14 + 4 * 7) / 441) / (1 - (17 * 14 + 4 * 7) / 441)
    assert kappa.value == pytest.approx(expected) and kappa.low < kappa.value < kappa.high


def test_label_studio_json_min_and_html(tmp_path):
    mark = {"start": 4, "end": 8, "text": "gout", "labels": ["memory"]}
    (tmp_path / "ls.json").write_text(
        json.dumps([{"id": 1, "text": "Had gout.", "label": [mark], "annotator": 2}])
    )
    frame, _ = read("label_studio", tmp_path, "ls.json", doc_field=None)
    assert spans(frame) == ["gout=memory"]
    value = {"start": "/p[1]/text()[1]", "end": "/p[1]", "labels": ["memory"]}
    html = task(1, ("ann", []))
    html["annotations"][0]["result"] = [{"type": "labels", "value": value}]
    with pytest.raises(UserError, match="task 1: offsets of HTML, not of a text"):
        studio(tmp_path, html)


def jsonl(folder, *rows, name="t.jsonl"):
    (folder / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return folder


def test_doccano_both_forms_and_a_file_for_each_person(tmp_path):
    old = {"id": 1, "text": "Had gout.", "label": [[4, 8, "memory"]]}
    new = {
        "id": 2,
        "text": "Fell.",
        "entities": [{"id": 9, "label": "falls", "start_offset": 0, "end_offset": 4}],
        "relations": [{"id": 1}],
        "cats": [],
    }
    frame, counted = read("doccano", jsonl(tmp_path, old, new), "t.jsonl", doc_field=None)
    assert spans(frame) == ["gout=memory", "Fell=falls"] and counted["relations"] == 1
    people = tmp_path / "people"
    people.mkdir()
    jsonl(people, {"id": 1, "text": "A.", "label": ["falls"]}, name="ann.jsonl")
    jsonl(people, {"id": 1, "text": "A.", "label": ["falls", "memory"]}, name="bob.jsonl")
    jsonl(people, {"id": 1, "text": "A.", "label": []}, name="all.jsonl")
    frame, counted = read("doccano", people, doc_field="id")
    assert frame["labels"].tolist() == [["falls"]] and counted["annotators"] == {"ann": 1, "bob": 1}


def test_doccano_must_say_how_it_counts_where_that_matters(tmp_path):
    jsonl(tmp_path, {"text": "😀 had gout", "label": [[6, 10, "memory"]]})
    with pytest.raises(UserError, match="corpus.gold.offsets=characters, or utf16"):
        read("doccano", tmp_path, "t.jsonl", doc_field=None)
    frame, _ = read("doccano", tmp_path, "t.jsonl", doc_field=None, offsets="characters")
    assert spans(frame) == ["gout=memory"]


def test_prodigy_answers(tmp_path):
    rows = [
        {"text": "Fell.", "label": "falls", "answer": "accept", "_input_hash": 1},
        {"text": "Fell.", "label": "memory", "answer": "reject", "_input_hash": 1},
        {"text": "Hm.", "label": "falls", "answer": "ignore", "_input_hash": 2},
        {"text": "Both.", "options": [], "accept": ["memory", "falls"], "answer": "accept"},
        {"text": "Well.", "label": "falls", "answer": "reject", "_input_hash": 4},
        {
            "text": "Had gout.",
            "spans": [{"start": 4, "end": 8, "label": "memory"}],
            "answer": "reject",
        },
    ]
    frame, counted = read("prodigy", jsonl(tmp_path, *rows), "t.jsonl", doc_field=None)
    assert frame["text"].tolist() == ["Fell.", "Both.", "Well."]
    assert frame["labels"].tolist() == [["falls"], ["memory", "falls"], []]
    assert counted["ignored or rejected tasks"] == 2


@pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not here")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("space_separated.tsv", "lung cancer"),
        ("two_spaces.tsv", "lung cancer"),
        ("trailing_tab.tsv", "lung cancer"),
        ("plain_bio_no_type.tsv", "lung cancer"),
        ("comment_multiconer.tsv", "gout"),
        ("conll2003.tsv", "EU"),
    ],
)
def test_column_files_as_they_come(name, expected):
    frame, _ = read("conll", CASES / "bio", name, taxonomy=one("Disease"))
    assert spans(frame)[0] == f"{expected}=Disease"


def test_a_tag_without_a_type_is_told_where_it_could_be_any(tmp_path):
    (tmp_path / "t.txt").write_text("Had O\ngout B\n")
    with pytest.raises(UserError, match=r"line 2: a tag without a type.*entity_type: TYPE"):
        read("conll", tmp_path, "t.txt")
    frame, _ = read("conll", tmp_path, "t.txt", options={"entity_type": "memory"})
    assert spans(frame) == ["gout=memory"]
    with pytest.raises(UserError, match="options.kind: conll has entity_type alone"):
        read("conll", tmp_path, "t.txt", options={"kind": "memory"})


@pytest.mark.skipif(not (DATA / "ncbi_disease").exists(), reason="shared/data is not here")
def test_a_real_corpus_is_the_same_through_conll_and_bio_tsv():
    names = {part: str(DATA / "ncbi_disease" / f"{part}.tsv") for part in ("train", "test")}
    taxonomy = one("Disease")
    frames = [
        read_gold_files(GoldFiles(reader=reader, **names), taxonomy, None)[0]
        for reader in ("conll", "bio_tsv")
    ]
    columns = ["example_id", "text", "spans", "split", "doc_id"]
    assert frames[0][columns].equals(frames[1][columns])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1|t|Gout\n1\t0\t4\tgut\tmemory\n", "the annotation 0..4 of 1 is not where"),
        ("1\t0\t4\tGout\tmemory\n", "line 1: not PubTator"),
        ("1|t|Gout\n1|t|Gout\n", "line 2: document 1 has this part twice"),
    ],
)
def test_pubtator_is_strict(tmp_path, text, said):
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(UserError, match=said):
        read("pubtator", tmp_path, "p.txt")


def test_pubtator_counts_relations(tmp_path):
    (tmp_path / "p.txt").write_text("1|t|Gout.\n1|a|\n1\t0\t4\tGout\tmemory\tD1\n1\tCID\tD1\tD2\n")
    frame, counted = read("pubtator", tmp_path, "p.txt")
    assert spans(frame) == ["Gout=memory"] and counted["relations"] == 1


def test_medcattrainer_takes_what_was_validated(tmp_path):
    marks = [
        {
            "cui": "1",
            "value": "gout",
            "start": 4,
            "end": 8,
            "correct": True,
            "meta_anns": {"Presence": {"name": "Presence", "value": "False"}},
        },
        {"cui": "1", "value": "Had", "start": 0, "end": 3, "correct": False, "killed": True},
        {"cui": "1", "value": "Had", "start": 0, "end": 3, "correct": False},
    ]
    documents = [{"id": 1, "name": "n1", "text": "Had gout.", "annotations": marks}]
    (tmp_path / "m.json").write_text(
        json.dumps({"projects": [{"name": "p", "documents": documents}]})
    )
    frame, counted = read("medcattrainer", tmp_path, "m.json", label_map={"1": "memory"})
    assert spans(frame) == ["gout=memory"]
    assert (counted["deleted"], counted["not_validated"]) == (1, 1)
    absent = {"1": "memory", "1/Presence=False": "none"}
    frame, _ = read("medcattrainer", tmp_path, "m.json", label_map=absent, attributes=["Presence"])
    assert spans(frame) == []


def test_webanno_asks_for_the_feature_that_holds_the_types(tmp_path):
    lines = "#FORMAT=WebAnno TSV 3.3\n#T_SP=custom.Finding|certainty|kind\n\n\n#Text=Had gout.\n"
    tokens = "1-1\t0-3\tHad\t_\t_\t\n1-2\t4-8\tgout\tsure\tmemory\t\n1-3\t8-9\t.\t_\t_\t\n"
    (tmp_path / "n1.tsv").write_text(lines + tokens)
    with pytest.raises(UserError, match="several layers and features .custom.Finding.certainty, "):
        read("webanno_tsv", tmp_path)
    frame, _ = read("webanno_tsv", tmp_path, options={"feature": "kind"})
    assert spans(frame) == ["gout=memory"]
    with pytest.raises(UserError, match='"kin". There are: custom.Finding.certainty, '):
        read("webanno_tsv", tmp_path, options={"feature": "kin"})


def hub_folder(folder, name: str, rows: list[dict]):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / name).mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / name / "0000.parquet")


def test_bigbio_knowledge_base_as_parquet_with_its_splits(tmp_path):
    def row(name):
        return {
            "id": name,
            "document_id": name,
            "passages": [
                {"id": "a", "type": "title", "text": ["Had gout."], "offsets": [[0, 9]]},
                {"id": "b", "type": "abstract", "text": ["Fell twice."], "offsets": [[10, 21]]},
            ],
            "entities": [
                {"id": "e", "type": "memory", "text": ["gout"], "offsets": [[4, 8]]},
                {"id": "f", "type": "falls", "text": ["Fell"], "offsets": [[10, 14]]},
            ],
        }

    for name in ("train", "validation", "test"):
        hub_folder(tmp_path, name, [row(name)])
    frame, _ = read("huggingface", tmp_path)
    assert spans(frame) == ["gout=memory", "Fell=falls"] * 3
    assert frame["split"].tolist() == ["train"] * 2 + ["dev"] * 2 + ["test"] * 2
    frame, _ = read("huggingface", tmp_path, options={"splits": ["train"]})
    assert frame["split"].tolist() == ["", ""]
    with pytest.raises(UserError, match='no split "tran". Did you mean train'):
        read("huggingface", tmp_path, options={"splits": ["tran"]})


def test_a_data_set_that_is_not_there_says_how_to_save_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    files = GoldFiles(reader="huggingface", path="nobody/nothing-at-all")
    with pytest.raises(UserError, match=r"not to be had from the hub .*save_to_disk"):
        read_gold_files(files, small_taxonomy(), None)
