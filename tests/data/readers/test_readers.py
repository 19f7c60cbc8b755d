"""The reader that a corpus names: the package's own or the user's, and keys that it does not
read."""

import pytest
from grid import small_taxonomy

from touchstone.data.corpus import read_gold, read_pool
from touchstone.data.readers import pool_reader, read_gold_files
from touchstone.errors import UserError
from touchstone.schema import CorpusConfig, GoldFiles, PoolFiles, TaskConfig

CHARTS = """
from touchstone.data.examples import examples

KEYS = ("path", "doc_field")


def read(files, taxonomy, data_folder):
    lines = open(files.path).read().splitlines()
    rows = (
        {"example_id": f"d{n}/0", "doc_id": f"d{n}", "patient_id": f"d{n}", "text": text,
         "labels": labels.split(",") if labels else [], "source": "gold", "origin": "charts"}
        for n, (text, labels) in enumerate(line.split("|") for line in lines)
    )
    return examples(rows), {"lines": len(lines)}


def iter_notes(path, pool, seed):
    for n, line in enumerate(open(path)):
        yield f"n{n}", f"p{n}", "chart", line.strip()
"""


def write(project, charts=CHARTS):
    (project / "charts.py").write_text(charts)
    lines = [f"Forgets name {n}.|memory" for n in range(6)] + [f"Fell {n}.|falls" for n in range(6)]
    (project / "charts.txt").write_text("\n".join(lines))
    (project / "notes.txt").write_text("Forgets names. Fell twice.\nSleeps well.\n")


def corpus(**changes):
    gold = GoldFiles(reader="charts.py:read", path="charts.txt")
    pool = PoolFiles(reader="charts.iter_notes", path="notes.txt")
    return CorpusConfig(**{"name": "ward", "gold": gold, "pool": pool, **changes})


def gold_of(project, corpus):
    task = TaskConfig(name="t", kind="multiclass")
    return read_gold(corpus, task, small_taxonomy(), None, project / "cache")


def test_a_readers_file_of_the_user_reads_gold_and_pool(project):
    write(project)
    gold = gold_of(project, corpus())
    assert len(gold.frame) == 12 and gold.provenance["lines"] == 12
    pool = read_pool(corpus(), 0, None, project / "cache", gold.frame)
    (part,) = pool.parts()
    assert part["text"].tolist() == ["Forgets names.", "Fell twice.", "Sleeps well."]
    assert set(part["note_type"]) == {"chart"}


def test_another_text_of_the_users_reader_reads_again(project):
    write(project)
    before, pool = gold_of(project, corpus()), read_pool(corpus(), 0, None, "c", None)
    write(project, CHARTS.replace('"text": text', '"text": text.upper()'))
    after = gold_of(project, corpus())
    assert before.frame["text"].str.upper().tolist() == after.frame["text"].tolist()
    assert before.frame["text"].tolist() != after.frame["text"].tolist()
    assert read_pool(corpus(), 0, None, "c", None).key != pool.key


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (
            GoldFiles(reader="bio_tsv", train="a", test="b", fold=2),
            r"^corpus.gold.fold=2: corpus.gold.reader=bio_tsv does not read it. It reads: dev, "
            r"docs_of, ",
        ),
        (
            GoldFiles(reader="charts.read", path="charts.txt", labels="l.tsv"),
            "^corpus.gold.labels=l.tsv: corpus.gold.reader=charts.read does not read it. It "
            "reads: doc_field, path$",
        ),
        (
            GoldFiles(reader="labelled_notes", path="a", labels="b", labels_field="l"),
            "^corpus.gold.labels_field=l: ",
        ),
        (GoldFiles(reader="notes", path="a"), "^corpus.gold.reader=notes: not for this key"),
        (GoldFiles(reader="bio_tvs"), "Did you mean bio_tsv.*Your own: "),
    ],
)
def test_a_key_that_the_reader_does_not_read_is_refused(project, gold, message):
    write(project)
    with pytest.raises(UserError, match=message):
        read_gold_files(gold, small_taxonomy(), None)


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (
            PoolFiles(reader="notes", path="notes.txt", categories=["Nursing"]),
            r"^corpus.pool.categories=\['Nursing'\]: corpus.pool.reader=notes does not read it",
        ),
        (
            PoolFiles(reader="rest_of_train", path="notes.txt"),
            "^corpus.pool.path=notes.txt: corpus.pool.reader=rest_of_train does not read it. "
            "It reads: candidates, max_notes, reserve$",
        ),
        (PoolFiles(reader="bio_tsv", path="notes.txt"), "not for this key. There are: .*notes"),
        (PoolFiles(reader="note", path="notes.txt"), "Did you mean notes.*rest_of_train"),
    ],
)
def test_so_is_a_key_of_the_pool(project, pool, message):
    write(project)
    with pytest.raises(UserError, match=message):
        read_pool(corpus(pool=pool), 0, None, "cache", None)


def test_an_error_in_the_users_reader_names_file_and_line(project):
    write(project, CHARTS.replace("lines = open", "lines = opened"))
    with pytest.raises(
        UserError, match=r"^corpus.gold.reader=charts.py:read: \S+charts.py, line 8: NameError: "
    ):
        gold_of(project, corpus())


def test_a_restricted_corpus_keeps_its_text_out_of_that_error(project):
    write(
        project,
        CHARTS.replace("lines = open", "raise ValueError(open(files.path).read())\n    x = open"),
    )
    for access, withheld in (("restricted", True), ("public", False)):
        with pytest.raises(UserError) as error:
            gold_of(project, corpus(access=access))
        assert ("Forgets" in str(error.value)) is not withheld


@pytest.mark.parametrize(
    ("returned", "kind"),
    [("None", "NoneType"), ("examples(rows)", "DataFrame"), ("(1, 2)", r"\(int, int\)")],
)
def test_what_a_users_reader_must_return(project, returned, kind):
    write(
        project,
        CHARTS.replace('return examples(rows), {"lines": len(lines)}', f"return {returned}"),
    )
    with pytest.raises(UserError, match=rf"must return \(example table, counts\), not {kind}"):
        gold_of(project, corpus())


def test_what_a_users_reader_of_notes_must_yield(project):
    write(project, CHARTS.replace('"chart", line.strip()', "line.strip()"))
    notes = pool_reader(PoolFiles(reader="charts.iter_notes"))
    with pytest.raises(UserError, match=r"four strings, not \(str, str, str\)"):
        list(notes(project / "notes.txt", PoolFiles(), 0))
