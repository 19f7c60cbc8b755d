"""Relations of annotation tools' files become pairs of masked entities: by which rule, what is left
out and counted, and that every tool's file of one text gives the same examples."""

from __future__ import annotations

import importlib.util
import json

import pytest

from touchstone.cli import main
from touchstone.configuration import checked
from touchstone.data.annotated import Document
from touchstone.data.annotators import Vote, settled
from touchstone.data.pairs import Relation
from touchstone.data.readers import read_gold_files
from touchstone.errors import UserError
from touchstone.pipeline import run_cell
from touchstone.run.conf_files import composed
from touchstone.schema import CategoryConfig, GoldFiles, TaxonomyConfig
from touchstone.taxonomy import taxonomy_of

TEXT = "Gold salts caused  gout, not asthma. Iron helps gout."
ENTITIES = (  # id, concept, type, start, end
    ("T1", "C1", "Drug", 0, 10),
    ("T2", "D1", "Disease", 19, 23),
    ("T3", "D2", "Disease", 29, 35),
    ("T4", "C2", "Drug", 37, 41),
    ("T5", "D1", "Disease", 48, 52),
)
PAIRS = [
    ("@DRUG$ caused @DISEASE$, not asthma.", ["causes"]),
    ("@DRUG$ caused gout, not @DISEASE$.", []),
    ("@DRUG$ helps @DISEASE$.", []),
]


def taxonomy(*marks: str, ids=("causes",)):
    categories = [CategoryConfig(one, one, one) for one in ids]
    return taxonomy_of(
        TaxonomyConfig("t", version=1, title="t", marks=list(marks), categories=categories)
    )


def read(reader: str, path, *, marks=("@DRUG$", "@DISEASE$"), **keys):
    if reader not in ("label_studio", "doccano", "prodigy"):
        keys.setdefault("doc_field", "doc_id")
    else:
        keys.setdefault("doc_field", None)
    files = GoldFiles(reader=reader, path=str(path), **{"spans_as": "relations", **keys})
    return read_gold_files(files, taxonomy(*marks), None)


def pairs(frame):
    return list(zip(frame["text"], frame["labels"], strict=True))


def brat(folder, text=TEXT, entities=ENTITIES, relations="R1\tcauses Arg1:T1 Arg2:T2\n"):
    (folder / "n1.txt").write_text(text)
    lines = [f"{n}\t{kind} {a} {b}\t{text[a:b]}\n" for n, _, kind, a, b in entities]
    (folder / "n1.ann").write_text("".join(lines) + relations)
    return folder


def jsonl(folder, record):
    (folder / "t.jsonl").write_text(json.dumps(record) + "\n")
    return folder / "t.jsonl"


def label_studio(folder):
    result = [
        {
            "id": name,
            "type": "labels",
            "value": {"start": a, "end": b, "text": TEXT[a:b], "labels": [kind]},
        }
        for name, _, kind, a, b in ENTITIES
    ]
    result.append({"type": "relation", "from_id": "T2", "to_id": "T1", "labels": ["causes"]})
    tasks = [{"id": 1, "data": {"text": TEXT}, "annotations": [{"id": 1, "result": result}]}]
    (folder / "ls.json").write_text(json.dumps(tasks))
    return folder / "ls.json"


def doccano(folder):
    entities = [
        {"id": n, "label": kind, "start_offset": a, "end_offset": b}
        for n, (_, _, kind, a, b) in enumerate(ENTITIES, start=1)
    ]
    relations = [{"id": 9, "from_id": 1, "to_id": 2, "type": "causes"}]
    return jsonl(folder, {"id": 1, "text": TEXT, "entities": entities, "relations": relations})


def prodigy(folder):
    spans = [{"start": a, "end": b, "label": kind} for _, _, kind, a, b in ENTITIES]
    relations = [{"head_span": spans[0], "child_span": spans[1], "label": "causes"}]
    return jsonl(folder, {"text": TEXT, "spans": spans, "relations": relations, "answer": "accept"})


def pubtator(folder, relations="1\tcauses\tC1\tD1\n"):
    lines = [f"1\t{a}\t{b}\t{TEXT[a:b]}\t{kind}\t{c}\n" for _, c, kind, a, b in ENTITIES]
    (folder / "p.txt").write_text(f"1|t|{TEXT}\n" + "".join(lines) + relations)
    return folder / "p.txt"


NODES = '<infon key="type">causes</infon><node refid="T1" role="a"/><node refid="T2" role="b"/>'
CONCEPTS = (
    '<infon key="relation">causes</infon><infon key="Drug">C1</infon>'
    '<infon key="Disease">D1</infon>'
)


def bioc(folder, relation=NODES):
    marks = "".join(
        f'<annotation id="{n}"><infon key="type">{kind}</infon><infon key="MESH">{c}</infon>'
        f'<location offset="{a}" length="{b - a}"/><text>{TEXT[a:b]}</text></annotation>'
        for n, c, kind, a, b in ENTITIES
    )
    (folder / "b.xml").write_text(
        "<?xml version='1.0' encoding='utf-8'?><collection><source/><date/><key/><document><id>1"
        f"</id><passage><offset>0</offset><text>{TEXT}</text>{marks}</passage>"
        f'<relation id="R1">{relation}</relation></document></collection>'
    )
    return folder / "b.xml"


def mae(folder):
    tags = "".join(
        f'<{kind} id="{n}" start="{a}" end="{b}" text="{TEXT[a:b]}"/>'
        for n, _, kind, a, b in ENTITIES
    )
    tags += '<causes id="R1" fromID="T1" toID="T2"/>'
    (folder / "n1.xml").write_text(f"<R><TEXT>{TEXT}</TEXT><TAGS>{tags}</TAGS></R>")
    return folder / "n1.xml"


def bigbio(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {
        "document_id": "1",
        "passages": [{"id": "p", "type": "t", "text": [TEXT], "offsets": [[0, len(TEXT)]]}],
        "entities": [
            {"id": n, "type": kind, "text": [TEXT[a:b]], "offsets": [[a, b]]}
            for n, _, kind, a, b in ENTITIES
        ],
        "relations": [{"id": "r", "type": "causes", "arg1_id": "T1", "arg2_id": "T2"}],
    }
    (folder / "train").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), folder / "train" / "0.parquet")
    return folder


FILES = {
    "brat": brat,
    "label_studio": label_studio,
    "doccano": doccano,
    "prodigy": prodigy,
    "bioc": bioc,
    "i2b2_xml": mae,
    "huggingface": bigbio,
}


@pytest.mark.parametrize("reader", FILES)
def test_every_tool_gives_the_same_pairs(tmp_path, reader):
    if reader == "bioc" and importlib.util.find_spec("bioc") is None:
        pytest.skip("bioc is not installed (extra formats)")
    keys = {"options": {"splits": ["train"]}} if reader == "huggingface" else {}
    frame, counted = read(reader, FILES[reader](tmp_path), **keys)
    assert pairs(frame) == PAIRS and not frame["spans"].any()
    assert [counted[name] for name in ("pairs", "related", "sentences", "entities")] == [3, 1, 2, 5]


def test_a_relation_of_concepts_holds_for_all_their_mentions(tmp_path):
    frame, counted = read("pubtator", pubtator(tmp_path, "1\tcauses\tC2\tD1\n1\tcauses\tC9\tD1\n"))
    assert [labels for _, labels in pairs(frame)] == [[], [], ["causes"]]
    assert counted["relations"] == 2 and counted["relations_left_out"] == 1


def test_a_relation_of_concepts_in_bioc(tmp_path):
    pytest.importorskip("bioc")
    assert pairs(read("bioc", bioc(tmp_path, CONCEPTS))[0]) == PAIRS


def test_relations_between_sentences_are_left_out_counted_and_told(tmp_path, caplog):
    relations = "R1\tcauses Arg1:T1 Arg2:T2\nR2\tcauses Arg1:T1 Arg2:T5\n"
    frame, counted = read("brat", brat(tmp_path, relations=relations))
    assert pairs(frame) == PAIRS and counted["relations_left_out"] == 1
    assert "1 relations left out: their entities are no pair in one sentence" in caplog.text


def test_whole_texts_are_one_sentence_where_segment_says_so(tmp_path):
    frame, counted = read("brat", brat(tmp_path), segment=False)
    assert counted["pairs"] == 6 and counted["sentences"] == 1
    assert frame["text"][2] == "@DRUG$ caused gout, not asthma. Iron helps @DISEASE$."


def test_overlapping_entities_are_no_pair(tmp_path, caplog):
    nested = (*ENTITIES, ("T6", "", "Drug", 17, 23))
    text = TEXT.replace("caused  gout", "caused X gout")
    _, counted = read("brat", brat(tmp_path, text.replace("X gout", "x gout"), nested))
    assert counted["overlapping_pairs"] == 1
    assert "1 pairs of entities left out, since the two overlap" in caplog.text


def test_types_that_no_mark_names_take_no_part_unless_label_map_names_one(tmp_path, caplog):
    brat(tmp_path, relations="R1\tCID Arg1:T1 Arg2:T2\n")
    words = {"CID": "causes"}
    with pytest.raises(UserError, match="no sentence holds a pair of @CHEMICAL[$] and @DISEASE[$]"):
        read("brat", tmp_path, marks=("@CHEMICAL$", "@DISEASE$"), label_map=words)
    assert "2 entities of types without a mark of the taxonomy take part in no pair" in caplog.text
    named = words | {"Drug": "@CHEMICAL$"}
    frame, _ = read("brat", tmp_path, marks=("@CHEMICAL$", "@DISEASE$"), label_map=named)
    assert frame["text"][0] == "@CHEMICAL$ caused @DISEASE$, not asthma."
    with pytest.raises(UserError, match="the taxonomy has no mark @CHEMICAL"):
        read("brat", tmp_path, label_map=named)


def test_a_taxonomy_without_marks_takes_the_types_that_relations_join(tmp_path):
    frame, _ = read("brat", brat(tmp_path), marks=())
    assert pairs(frame) == PAIRS


def test_one_mark_pairs_entities_of_that_type(tmp_path):
    relations = "R1\tcauses Arg1:T3 Arg2:T2\n"
    frame, _ = read("brat", brat(tmp_path, relations=relations), marks=("@DISEASE$",))
    assert pairs(frame) == [("Gold salts caused @DISEASE$, not @DISEASE$.", ["causes"])]


def test_a_relation_that_label_map_leaves_out_is_none(tmp_path):
    relations = "R1\tcauses Arg1:T1 Arg2:T2\nR2\thelps Arg1:T4 Arg2:T5\n"
    frame, _ = read("brat", brat(tmp_path, relations=relations), label_map={"helps": "none"})
    assert pairs(frame) == PAIRS
    with pytest.raises(UserError, match='no category "helps"'):
        read("brat", tmp_path)


def test_a_negated_relation_can_be_told_apart(tmp_path):
    relations = "R1\tcauses Arg1:T1 Arg2:T2\nA1\tNegation R1\n"
    keys = {"attributes": ["Negation"], "label_map": {"causes/Negation": "none"}}
    with pytest.raises(UserError, match="the files hold no relation, or none that is a category"):
        read("brat", brat(tmp_path, relations=relations), **keys)


def test_files_without_relations_and_readers_that_read_none_are_told(tmp_path):
    with pytest.raises(UserError, match="spans_as=relations: the files hold no relation"):
        read("brat", brat(tmp_path, relations=""))
    (tmp_path / "c.txt").write_text("Gold B-Drug\nhelps O\n\n")
    with pytest.raises(UserError, match="or this reader reads none. spans_as=spans reads"):
        read("conll", tmp_path / "c.txt")


def test_inspect_tells_of_relations_and_saves_a_task_that_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    for number in range(20):
        text = f"Salt {number} caused gout but zinc did not harm {number} kidneys, scans say."
        names = [("Drug", f"Salt {number}"), ("Disease", "gout"), ("Drug", "zinc")]
        marks = [(kind, text.index(one), text.index(one) + len(one)) for kind, one in names]
        (tmp_path / "notes" / f"p{number}-1.txt").write_text(text)
        (tmp_path / "notes" / f"p{number}-1.ann").write_text(
            "".join(
                f"T{n}\t{kind} {a} {b}\t{text[a:b]}\n"
                for n, (kind, a, b) in enumerate(marks, start=1)
            )
            + "R1\tInduces Arg1:T1 Arg2:T2\n"
        )
    assert main(["inspect", "notes"]) == 0
    assert "20 relations between entities, not read; a task of relations: spans_as=relations" in (
        capsys.readouterr().out
    )
    assert main(["inspect", "notes", "spans_as=relations", "--save", "harm"]) == 0
    assert "1 categories, relation: induces 20" in capsys.readouterr().out
    config = checked(composed(["task=harm", "mixture=gold"]))
    assert config.taxonomy.marks == ["@DISEASE$", "@DRUG$"]
    made = run_cell(config)
    assert made.metrics["n_test"] == 16 and made.metrics["f1"] == 1
    assert "@DRUG$ caused @DISEASE$ but zinc" in made.datasets["test"].frame["text"][0]
    entities = (
        "corpus.gold.spans_as=spans",
        "+corpus.gold.label_map={Drug: induces, Disease: induces}",
    )
    with pytest.raises(UserError, match="task.kind=relation learns from pairs .*=relations$"):
        run_cell(checked(composed(["task=harm", "mixture=gold", *entities])))
    with pytest.raises(UserError, match="task.kind=ner learns from entities"):
        run_cell(checked(composed(["task=harm", "task.kind=ner", "classifier=tagger"])))


def test_annotators_vote_on_relations(tmp_path):
    one = Relation("causes", ((0, 4, "Drug"),), ((5, 9, "Disease"),))
    votes = [
        Vote(str(n), Document("n", "Gold gout", relations=(one,) if n else ())) for n in range(3)
    ]
    assert settled([votes], None, "f").documents[0].relations == (one,)
    tie = settled([votes[:2]], None, "f")
    assert tie.documents[0].relations == () and tie.counted["ties"] == ["n"]
