"""Readers of entity and relation corpora: schemes, repairs, every malformed line, and the published
counts on the real files.

Published counts. NCBI-disease: Dogan et al. 2014 give 5,145 / 787 / 960 mentions; Crichton et al.
2017 (MTL-Bioinformatics-2016), whose files these are, 5,424 / 923 / 940 sentences; these hold 5,134
/ 787 / 960 mentions, 11 fewer in train than the original. BC5CDR: Li et al. 2016 give 4,182 / 4,244
/ 4,424 disease and 5,203 / 5,347 / 5,385 chemical mentions; the preparation has two more diseases
in dev. GAD: Lee et al. 2020 give 5,330 sentences, EU-ADR 355.
"""

from __future__ import annotations

import doctest
import gzip
import logging
from collections import Counter

import pytest
from grid import DATA, group, small_taxonomy
from hypothesis import given
from hypothesis import strategies as st

from touchstone.data.examples import check
from touchstone.data.readers import bio_tsv
from touchstone.data.readers.bio_tsv import joined, marks_ends, spans_of
from touchstone.data.readers.relation_tsv import read as read_relations
from touchstone.errors import UserError
from touchstone.schema import CorpusConfig, GoldFiles, TaskConfig, TaxonomyConfig
from touchstone.taxonomy import taxonomy_of

NER = "ncbi_disease", "bc5cdr_disease", "bc5cdr_chemical"
RE = "gad", "euadr"
KINDS = st.sampled_from(["Disease", "Chemical"])
TAGS = st.sampled_from(["O", "B-x", "I-x", "E-x", "S-x", "L-x", "U-x", "B-y", "I-y", "E-y", "S-y"])


def bio(folder, train, test="a\tO\n", **changes):
    (folder / "train.tsv").write_text(train)
    (folder / "test.tsv").write_text(test)
    return bio_tsv.read(
        GoldFiles(**{"reader": "bio_tsv", "train": "train.tsv", "test": "test.tsv", **changes}),
        None,
        folder,
    )


def relations(folder, train, test="@GENE$ in @DISEASE$\t1\n", **changes):
    (folder / "train.tsv").write_text(train)
    (folder / "test.tsv").write_text(test)
    gold = GoldFiles(
        **{"reader": "relation_tsv", "train": "train.tsv", "test": "test.tsv", **changes}
    )
    return read_relations(gold, taxonomy("gene_disease"), folder)


def taxonomy(name):
    return taxonomy_of(group("taxonomy", name, TaxonomyConfig))


def corpus(name):
    config = group("corpus", name, CorpusConfig)
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not there; touchstone fetch {name} gets it")
    return config


@st.composite
def layouts(draw):
    """(n_tokens, disjoint spans in order), spans often touching."""
    spans, at = [], 0
    for _ in range(draw(st.integers(0, 5))):
        start = at + draw(st.integers(0, 2))
        at = start + draw(st.integers(1, 4))
        spans.append((start, at, draw(KINDS)))
    return at + draw(st.integers(0, 2)), spans


def encoded(n_tokens, spans, scheme):
    begin, inside, end, single = {"IOB": "BIIB", "IOBES": "BIES", "BILOU": "BILU"}[scheme]
    tags = ["O"] * n_tokens
    for start, stop, kind in spans:
        letters = single if stop - start == 1 else begin + inside * (stop - start - 2) + end
        tags[start:stop] = [f"{letter}-{kind}" for letter in letters]
    return tags


@given(layouts(), st.sampled_from(["IOB", "IOBES", "BILOU"]))
def test_every_scheme_decodes_to_the_spans_it_was_written_from(layout, scheme):
    n_tokens, spans = layout
    tags = encoded(n_tokens, spans, scheme)
    assert spans_of(tags, marks_ends(tags)) == (spans, [])


@given(st.lists(TAGS, max_size=20), st.booleans())
def test_any_tag_sequence_is_repaired_to_a_legal_one(tags, ends_marked):
    spans, repairs = spans_of(tags, ends_marked)
    tokens = [token for start, end, _ in spans for token in range(start, end)]
    assert tokens == sorted(set(tokens)) == [token for token, tag in enumerate(tags) if tag != "O"]
    assert all(start < end for start, end, _ in spans)
    assert all(
        tags[token].partition("-")[2] == kind
        for start, end, kind in spans
        for token in range(start, end)
    )
    legal = encoded(len(tags), spans, "IOBES" if ends_marked else "IOB")
    assert spans_of(legal, ends_marked) == (spans, [])
    if not ends_marked and not marks_ends(tags):
        assert len(repairs) == sum(a != b for a, b in zip(legal, tags, strict=True))


@pytest.mark.parametrize(
    ("tags", "ends_marked", "spans", "repairs"),
    [
        ("O I-x", False, [(1, 2, "x")], [(1, "no_begin")]),
        ("B-x I-y", False, [(0, 1, "x"), (1, 2, "y")], [(1, "no_begin")]),
        ("I-x I-x O B-x B-x", False, [(0, 2, "x"), (3, 4, "x"), (4, 5, "x")], [(0, "no_begin")]),
        ("B-x O", True, [(0, 1, "x")], [(0, "no_end")]),
        ("B-x I-x", True, [(0, 2, "x")], [(1, "no_end")]),
        ("O E-x", True, [(1, 2, "x")], [(1, "no_begin")]),
        ("S-x I-x E-x", True, [(0, 1, "x"), (1, 3, "x")], [(1, "no_begin")]),
        ("B-x B-x E-x", True, [(0, 1, "x"), (1, 3, "x")], [(0, "no_end")]),
        ("B-x L-x U-x", True, [(0, 2, "x"), (2, 3, "x")], []),
    ],
)
def test_broken_sequences_are_repaired_as_conlleval_reads_them(tags, ends_marked, spans, repairs):
    assert spans_of(tags.split(), ends_marked) == (spans, repairs)


@given(
    st.lists(
        st.text(min_size=1).filter(lambda token: not any(c.isspace() for c in token)), max_size=8
    )
)
def test_offsets_cut_the_tokens_out_of_the_joined_text(tokens):
    text, offsets = joined(tokens)
    assert [text[start:end] for start, end in offsets] == tokens


def test_tokens_become_text_and_tags_become_spans(tmp_path):
    frame, counted = bio(
        tmp_path, "The\tO\nfragile\tB-Disease\nX\tI-Disease\n\nBRCA1\tO\n\n", "Gout\tB-Disease\n"
    )
    check(frame, ["Disease"])
    assert list(frame["text"]) == ["The fragile X", "BRCA1", "Gout"]
    assert list(frame["spans"]) == [
        [{"start": 4, "end": 13, "type": "Disease"}],
        [],
        [{"start": 0, "end": 4, "type": "Disease"}],
    ]
    assert list(frame["example_id"]) == ["train-00000/0", "train-00001/0", "test-00000/0"]
    assert (
        list(frame["split"]) == ["train", "train", "test"]
        and (frame["doc_id"] == frame["patient_id"]).all()
    )
    assert counted["train"] == {
        "sentences": 2,
        "tokens": 4,
        "documents": 2,
        "entities": {"Disease": 1},
        "repaired_tags": {},
    }
    assert counted["repaired_tags"] == 0 and "dev" not in counted
    assert frame["labels"].map(len).sum() == 0 and frame["origin"].nunique() == 2


def test_columns_may_stand_in_any_order_and_lines_may_end_in_crlf(tmp_path):
    frame, _ = bio(
        tmp_path,
        "1\tB-x\tNN\tgout\r\n2\tO\tVB\tis\r\n\r\n",
        "1\tO\tNN\tno\r\n",
        token_column=-1,
        tag_column=1,
    )
    assert list(frame["text"]) == ["gout is", "no"] and frame["spans"].iloc[0] == [
        {"start": 0, "end": 4, "type": "x"}
    ]


def test_repaired_tags_are_counted_and_logged_with_the_first_line_and_no_text(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        frame, counted = bio(tmp_path, "no\tO\n\nsecret\tO\ngout\tI-x\n\nx\tB-x\ny\tI-y\n")
    assert [span["type"] for spans in frame["spans"] for span in spans] == ["x", "x", "y"]
    assert counted["train"]["repaired_tags"] == {"no_begin": 2} and counted["repaired_tags"] == 2
    assert "train.tsv: 2 tags repaired (no_begin 2), the first on line 4" in caplog.text
    assert "secret" not in caplog.text and "gout" not in caplog.text


def test_the_scheme_is_that_of_the_whole_file(tmp_path):
    _, counted = bio(tmp_path, "a\tB-x\nb\tI-x\n\nc\tS-x\n", "a\tB-x\nb\tI-x\n")
    assert (
        counted["train"]["repaired_tags"] == {"no_end": 1}
        and counted["test"]["repaired_tags"] == {}
    )


def test_documents_are_those_of_the_file_or_runs_of_sentences(tmp_path):
    sentences = "a\tO\n\nb\tO\n\nc\tO\n\n"
    frame, _ = bio(tmp_path, sentences, docs_of=2)
    assert list(frame["example_id"][:3]) == ["train-00000/0", "train-00000/1", "train-00001/0"]
    frame, counted = bio(tmp_path, f"-DOCSTART-\tO\n\n{sentences}-DOCSTART-\tO\n\nd\tO\n")
    assert (
        list(frame["doc_id"][:4]) == ["train-00000"] * 3 + ["train-00001"]
        and counted["train"]["documents"] == 2
    )
    with pytest.raises(UserError, match="corpus.gold.docs_of=0: must be at least 1"):
        bio(tmp_path, sentences, docs_of=0)


@pytest.mark.parametrize(
    ("train", "changes", "message"),
    [
        (
            "a\tO\nsecret\n",
            {},
            r"train.tsv, line 2: 1 tab-separated columns where the lines before it have 2",
        ),
        (
            "secret O\n",
            {},
            r"train.tsv, line 1: corpus.gold.token_column and corpus.gold.tag_column are both "
            r"column 0 of 1",
        ),
        ("a\tO\n\nb\tO\n \tO\n", {}, r"train.tsv, line 4: empty token"),
        (
            "a\tB\n",
            {},
            r"train.tsv, line 1: column -1 is no tag; a tag is O, or B-, I-, E-, S-, L- or U- "
            r"with an entity type",
        ),
        ("a\tB-\n", {}, "line 1: column -1 is no tag"),
        ("a\tDisease\n", {}, "line 1: column -1 is no tag"),
        (
            "a\tO\n",
            {"tag_column": 2},
            r"line 1: no column 2 among 2 .* corpus.gold.tag_column=NUMBER",
        ),
        (
            "a\tO\n",
            {"token_column": -3},
            r"line 1: no column -3 among 2 .* corpus.gold.token_column=NUMBER",
        ),
        ("\n\n", {}, "train.tsv: no sentences"),
        ("a\tO\n", {"dev": "absent.tsv"}, "absent.tsv: no such file. Looked in"),
    ],
)
def test_a_malformed_bio_file_is_told_with_file_and_line_and_no_text(
    tmp_path, train, changes, message
):
    with pytest.raises(UserError, match=message) as error:
        bio(tmp_path, train, **changes)
    assert "secret" not in str(error.value)


def test_entities_need_train_and_test(tmp_path):
    with pytest.raises(UserError, match="needs corpus.gold.train and corpus.gold.test"):
        bio_tsv.read(GoldFiles(reader="bio_tsv", train="train.tsv"), None, tmp_path)


def test_a_file_that_is_not_utf8_is_told(tmp_path):
    (tmp_path / "latin.tsv").write_bytes("na\xefve\tO\n".encode("latin-1"))
    with pytest.raises(UserError, match="latin.tsv: not UTF-8"):
        bio(tmp_path, "a\tO\n", test="a\tO\n", dev="latin.tsv")
    with pytest.raises(UserError, match="latin.tsv: not UTF-8"):
        relations(tmp_path, "@GENE$ @DISEASE$\t0\n", dev="latin.tsv")


@pytest.mark.parametrize(
    "train",
    [
        "@GENE$  causes @DISEASE$.\t1\n@GENE$, not @DISEASE$\t0\n",
        "index\tsentence\tlabel\n0\t@GENE$ causes @DISEASE$.\t1\n1\t@GENE$, not @DISEASE$\t0\n",
        "0\t@GENE$ causes @DISEASE$.\t1\n1\t@GENE$, not @DISEASE$\t0\n",
        "Label\tSentence\nrelated\t@GENE$ causes @DISEASE$.\nnone\t@GENE$, not @DISEASE$\n",
    ],
    ids=["no header", "header", "index without header", "columns by name"],
)
def test_relations_are_read_with_and_without_header(tmp_path, train):
    frame, counted = relations(tmp_path, train, "index\tsentence\tlabel\n0\tonly @GENE$ here\t1\n")
    check(frame, ["related"])
    assert list(frame["text"][:2]) == ["@GENE$ causes @DISEASE$.", "@GENE$, not @DISEASE$"]
    assert list(frame["labels"]) == [["related"], [], ["related"]] and list(frame["split"]) == [
        "train",
        "train",
        "test",
    ]
    assert counted["train"] == {"sentences": 2, "related": 1, "not_two_marks": 0}
    assert counted["test"]["not_two_marks"] == 1
    assert list(frame["example_id"]) == ["train-00000/0", "train-00001/0", "test-00000/0"]


def test_a_fold_is_read_from_its_folder_and_fold_1_also_without_one(tmp_path):
    def read(fold):
        gold = GoldFiles(
            reader="relation_tsv", train="{fold}/train.tsv", test="{fold}/test.tsv", fold=fold
        )
        return read_relations(gold, taxonomy("gene_disease"), tmp_path)[0]["text"].iloc[0]

    relations(tmp_path, "@GENE$ alone @DISEASE$\t1\n")
    assert read(1) == "@GENE$ alone @DISEASE$"
    with pytest.raises(UserError, match=r"^2/train.tsv: no such file"):
        read(2)
    for fold in ("1", "2"):
        (tmp_path / fold).mkdir()
        relations(tmp_path / fold, f"@GENE$ fold {fold} @DISEASE$\t1\n")
    assert read(1) == "@GENE$ fold 1 @DISEASE$" and read(2) == "@GENE$ fold 2 @DISEASE$"
    with pytest.raises(UserError, match="which fold. Set corpus.gold.fold=NUMBER"):
        read(None)
    with pytest.raises(UserError, match="corpus.gold.fold=3 changes nothing"):
        relations(tmp_path, "@GENE$ @DISEASE$\t1\n", fold=3)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            "secret @GENE$\t1\n@GENE$\n",
            "train.tsv, line 2: 1 tab-separated columns where the lines before it have 2",
        ),
        ("secret @GENE$\t2\n", "train.tsv, line 1: the label must be 1 or related, 0 or none"),
        (
            "secret @GENE$\n",
            "train.tsv, line 1: 1 tab-separated columns; sentence and label, or index, sentence, "
            "label, were expected",
        ),
        ("a\tb\tc\tsecret\n", "line 1: 4 tab-separated columns"),
        ("@GENE$\t1\n\n \t0\n", "train.tsv, line 3: empty sentence"),
        ("index\tsentence\tlabel\n", "train.tsv: no sentences"),
    ],
)
def test_a_malformed_relation_file_is_told_with_file_and_line_and_no_text(tmp_path, train, message):
    with pytest.raises(UserError, match=message) as error:
        relations(tmp_path, train)
    assert "secret" not in str(error.value)


def test_relations_need_one_category_and_both_parts(tmp_path):
    with pytest.raises(UserError, match="taxonomy=small has 2 categories"):
        read_relations(
            GoldFiles(reader="relation_tsv", train="a", test="b"), small_taxonomy(), tmp_path
        )
    with pytest.raises(UserError, match="needs corpus.gold.train and corpus.gold.test"):
        read_relations(
            GoldFiles(reader="relation_tsv", train="a"), taxonomy("gene_disease"), tmp_path
        )
    with pytest.raises(UserError, match="corpus.gold.docs_of=0"):
        relations(tmp_path, "@GENE$\t1\n", docs_of=0)


@pytest.mark.parametrize("cut", [True, False])
def test_a_gzip_file_that_is_cut_or_none_is_named(tmp_path, cut):
    for name, line in (("ner.tsv.gz", b"word\tO\n"), ("re.tsv.gz", b"word\t0\n")):
        (tmp_path / name).write_bytes(gzip.compress(line * 5000)[:60] if cut else line)
    with pytest.raises(UserError, match="ner.tsv.gz: damaged or cut gzip file"):
        bio_tsv.read(
            GoldFiles(reader="bio_tsv", train="ner.tsv.gz", test="ner.tsv.gz"), None, tmp_path
        )
    with pytest.raises(UserError, match="re.tsv.gz: damaged or cut gzip file"):
        read_relations(
            GoldFiles(reader="relation_tsv", train="re.tsv.gz", test="re.tsv.gz"),
            taxonomy("gene_disease"),
            tmp_path,
        )


def test_a_relation_file_with_two_columns_of_a_name_is_an_error(tmp_path):
    with pytest.raises(UserError, match='train.tsv: the header names the column "label" twice'):
        relations(tmp_path, "sentence\tlabel\tlabel\n@GENE$\t1\t0\n")


def test_the_docstring_examples_hold():
    assert doctest.testmod(bio_tsv).failed == 0


@pytest.mark.parametrize("name", [*NER, *RE, "hoc", "hoc_binary"])
def test_task_corpus_and_taxonomy_fit_together(name):
    task = group("task", name, TaskConfig)
    config = group("corpus", name.removesuffix("_binary"), CorpusConfig)
    assert task.name == name and config.name == name.removesuffix("_binary")
    assert task.kind == {"bio_tsv": "ner", "relation_tsv": "relation"}.get(
        config.gold.reader, task.kind
    )
    assert config.access == "public" and config.source and config.pool.reader == "rest_of_train"


@pytest.mark.parametrize("name", ["hallmarks", "disease", "chemical", "gene_disease"])
def test_guidelines_are_complete(name):
    guideline = taxonomy(name)
    assert guideline.variety and guideline.look_alikes and guideline.always_none
    for category in guideline.categories:
        assert category.counts and category.does_not_count and category.examples and category.facets


@pytest.mark.parametrize(
    ("name", "sentences", "tokens", "mentions"),
    [
        ("ncbi_disease", (5424, 923, 940), (135701, 23969, 24497), (5134, 787, 960)),
        ("bc5cdr_disease", (4560, 4581, 4797), (118170, 117453, 124750), (4182, 4246, 4424)),
    ],
)
def test_entity_corpora_have_their_published_counts(name, sentences, tokens, mentions):
    config, guideline = corpus(name), taxonomy(name.rpartition("_")[2])
    frame, counted = bio_tsv.read(config.gold, None, DATA)
    check(frame, guideline.ids)
    parts = [counted[split] for split in ("train", "dev", "test")]
    assert tuple(part["sentences"] for part in parts) == sentences
    assert tuple(part["tokens"] for part in parts) == tokens
    assert tuple(part["entities"][guideline.ids[0]] for part in parts) == mentions
    assert counted["repaired_tags"] == 0
    assert frame["text"].str.split(" ").map(len).sum() == sum(tokens)


def test_bc5cdr_chemicals_are_about_as_many_as_published():
    _, counted = bio_tsv.read(corpus("bc5cdr_chemical").gold, None, DATA)
    mentions = [counted[split]["entities"]["Chemical"] for split in ("train", "dev", "test")]
    assert mentions == pytest.approx(
        [5203, 5347, 5385], rel=0.01
    )  # tokenisation loses or splits a few


def test_gad_has_its_published_counts():
    config = corpus("gad")
    frame, counted = read_relations(config.gold, taxonomy("gene_disease"), DATA)
    check(frame, ["related"])
    assert counted["train"] == {"sentences": 4796, "related": 2520, "not_two_marks": 0}
    assert counted["test"] == {"sentences": 534, "related": 281, "not_two_marks": 0}
    train, test = (frame.loc[frame["split"] == split, "text"] for split in ("train", "test"))
    assert test.isin(set(train)).sum() == 8  # the leakage guard must find these
    precision = counted["test"]["related"] / counted["test"]["sentences"]
    assert 2 * precision / (precision + 1) == pytest.approx(
        0.690, abs=5e-4
    )  # always positive: recall is 1


def test_euadr_has_its_published_counts():
    config = corpus("euadr")
    _, counted = read_relations(config.gold, taxonomy("gene_disease"), DATA)
    assert counted["train"]["sentences"] + counted["test"]["sentences"] == 355


def test_hallmark_names_are_the_labels_of_the_corpus():
    from touchstone.data.readers.sentences_jsonl import read as read_sentences

    guideline = taxonomy("hallmarks")
    frame, counted = read_sentences(corpus("hoc").gold, guideline, DATA)
    counts = {name: counted[name] for name in ("documents", "sentences", "labelled")}
    assert counts == {"documents": 1852, "sentences": 17464, "labelled": 17464 - 13021}
    found = Counter(label for labels in frame["labels"] for label in labels)
    assert set(found) == set(guideline.ids)
    assert (
        found["sustaining_proliferative_signaling"] == 993 and found["cellular_energetics"] == 213
    )
